//! The Kubernetes REST API of a simulated cluster, on loopback, as far as `fleet` and kubectl use it.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;

use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::{Bytes, Frame, Incoming};
use hyper::{Method, Request, Response};
use serde_json::{Value, json};

use super::changes::Change;
use super::discovery;
use super::host::Host;
use super::kinds::{self, Kind};
use super::patch;
use super::refusal::Refusal;
use super::selector::Selector;
use super::store::{Key, Part, Store};
use super::webhooks;

/// A whole answer, or the events of a watch as they come.
pub(super) type Body = UnsyncBoxBody<Bytes, Infallible>;

/// Where a request points.
#[derive(Debug)]
struct Target {
    kind: Kind,
    version: String,
    namespace: Option<String>,
    name: Option<String>,
    part: Option<String>,
}

/// Answers one request.
pub(super) async fn answer(
    host: Arc<Host>,
    request: Request<Incoming>,
) -> Result<Response<Body>, Infallible> {
    let (head, body) = request.into_parts();
    let path = head.uri.path().to_owned();
    let query = query(head.uri.query().unwrap_or(""));
    let body = match body.collect().await {
        Ok(body) => body.to_bytes(),
        Err(error) => return Ok(refuse(&Refusal::bad_request(error.to_string()))),
    };
    let sent =
        head.headers.get("content-type").and_then(|value| value.to_str().ok()).unwrap_or("").to_owned();
    let answer = match about(&host, &path) {
        Some(answer) => Ok(answer),
        None => objects(&host, &head.method, &path, &query, &sent, &body),
    };
    Ok(answer.unwrap_or_else(|refusal| refuse(&refusal)))
}

/// What the API says of itself.
fn about(host: &Host, path: &str) -> Option<Response<Body>> {
    let vintage = host.spec().flux;
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    let value = match parts.as_slice() {
        ["version"] => Some(discovery::version(host.k3s_version())),
        ["readyz" | "livez" | "healthz"] => return Some(respond(200, "text/plain", "ok")),
        ["api"] => Some(discovery::core()),
        ["apis"] => Some(discovery::groups(vintage)),
        ["api", version] => discovery::resources(vintage, "", version),
        ["apis", group] => discovery::group(vintage, group),
        ["apis", group, version] => discovery::resources(vintage, group, version),
        _ => return None,
    };
    Some(value.map_or_else(|| refuse(&nothing_there()), |value| reply(200, &value)))
}

/// Everything about objects.
fn objects(
    host: &Host,
    method: &Method,
    path: &str,
    query: &BTreeMap<String, String>,
    sent: &str,
    body: &Bytes,
) -> Result<Response<Body>, Refusal> {
    let target = target(host, path).ok_or_else(nothing_there)?;
    let said = |name: &str| query.get(name).map_or("", String::as_str);
    let selector = Selector::read(target.kind, said("labelSelector"), said("fieldSelector"))?;
    let mut store = host.store();
    if *method == Method::GET && target.name.is_none() {
        return if matches!(said("watch"), "true" | "1") {
            watch(&store, target, selector, said("resourceVersion"))
        } else {
            Ok(list(&store, &target, &selector))
        };
    }
    let Some(name) = target.name.clone() else {
        let namespace = target.namespace.clone().unwrap_or_default();
        let answer = match *method {
            Method::POST => {
                let object = read(body)?;
                webhooks::ask(&store, target.kind)?;
                let object = store.create(target.kind, &namespace, object)?;
                reply(201, &target.shown(&object))
            }
            Method::DELETE => {
                let keys: Vec<Key> = store
                    .list(target.kind, target.namespace.as_deref())
                    .filter(|(_, object)| selector.takes(object))
                    .map(|(key, _)| key.clone())
                    .collect();
                for key in keys {
                    store.delete(&key)?;
                }
                reply(
                    200,
                    &json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"}),
                )
            }
            _ => return Err(not_allowed()),
        };
        drop(store);
        host.poke();
        return Ok(answer);
    };
    let key = Key::new(target.kind, target.namespace.clone().unwrap_or_default(), name);
    let found = store.get(&key).ok_or_else(|| Refusal::not_found(key.kind, &key.name))?;
    let part = match target.part.as_deref() {
        Some("status") => Part::Status,
        Some("scale") if target.kind.about().scale => return scale(host, store, &key, &found, method, body),
        None => Part::Main,
        Some(_) => return Err(nothing_there()),
    };
    if matches!(*method, Method::PUT | Method::PATCH) && part == Part::Main {
        webhooks::ask(&store, key.kind)?;
    }
    let answer = match *method {
        Method::GET => return Ok(reply(200, &target.shown(&found))),
        Method::PUT => {
            let written = store.replace(&key, read(body)?, part)?;
            reply(200, &target.shown(&written))
        }
        Method::PATCH => {
            let patched = patched(&found, sent, &read(body)?)?;
            let written = store.replace(&key, patched, part)?;
            reply(200, &target.shown(&written))
        }
        Method::DELETE => {
            let left = store.delete(&key)?;
            if store.get(&key).is_some() {
                reply(200, &target.shown(&left))
            } else {
                let about = key.kind.about();
                let details = json!({"name": key.name, "group": about.group, "kind": about.plural, "uid": left["metadata"]["uid"]});
                reply(
                    200,
                    &json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details}),
                )
            }
        }
        _ => return Err(not_allowed()),
    };
    drop(store);
    host.poke();
    Ok(answer)
}

/// `/scale`: the replicas alone.
fn scale(
    host: &Host,
    mut store: std::sync::MutexGuard<'_, Store>,
    key: &Key,
    found: &Arc<Value>,
    method: &Method,
    body: &Bytes,
) -> Result<Response<Body>, Refusal> {
    let mut now = found.clone();
    if *method != Method::GET {
        let asked = read(body)?["spec"]["replicas"].clone();
        let mut object = (**found).clone();
        object["spec"]["replicas"] = asked;
        now = store.replace(key, object, Part::Main)?;
        drop(store);
        host.poke();
    }
    let metadata = &now["metadata"];
    let shown = json!({
        "kind": "Scale", "apiVersion": "autoscaling/v1",
        "metadata": {"name": key.name, "namespace": key.namespace, "uid": metadata["uid"],
            "resourceVersion": metadata["resourceVersion"], "creationTimestamp": metadata["creationTimestamp"]},
        "spec": {"replicas": now["spec"]["replicas"]},
        "status": {"replicas": now["status"]["replicas"].as_u64().unwrap_or(0)},
    });
    Ok(reply(200, &shown))
}

/// The object with a patch of whatever kind applied.
fn patched(found: &Value, sent: &str, patch: &Value) -> Result<Value, Refusal> {
    let mut object = found.clone();
    if sent.contains("json-patch") {
        patch::json_patch(&mut object, patch).map_err(Refusal::bad_request)?;
    } else {
        patch::merge(&mut object, patch);
    }
    Ok(object)
}

fn list(store: &Store, target: &Target, selector: &Selector) -> Response<Body> {
    let about = target.kind.about();
    let version = if about.group.is_empty() {
        target.version.clone()
    } else {
        format!("{}/{}", about.group, target.version)
    };
    let mut text = format!(
        "{{\"kind\":\"{}List\",\"apiVersion\":\"{version}\",\"metadata\":{{\"resourceVersion\":\"{}\"}},\"items\":[",
        about.kind,
        store.revision()
    );
    let mut first = true;
    for (_, object) in store.list(target.kind, target.namespace.as_deref()) {
        if selector.takes(object) {
            if !std::mem::take(&mut first) {
                text.push(',');
            }
            text.push_str(&target.shown(object).to_string());
        }
    }
    text.push_str("]}");
    respond(200, "application/json", text)
}

/// The events of a watch: those that are remembered, then those that come.
fn watch(store: &Store, target: Target, selector: Selector, since: &str) -> Result<Response<Body>, Refusal> {
    let revision: u64 = since.parse().unwrap_or(0);
    let Some((mut past, coming)) = store.watch(if revision == 0 { store.revision() } else { revision })
    else {
        return Err(Refusal {
            code: 410,
            reason: "Expired",
            message: format!("too old resource version: {since}"),
        });
    };
    if revision == 0 {
        past = store
            .list(target.kind, target.namespace.as_deref())
            .map(|(key, object)| Change {
                what: "ADDED",
                key: key.clone(),
                object: object.clone(),
                revision: 0,
            })
            .collect();
    }
    let show = move |change: &Change| -> Option<Frame<Bytes>> {
        let ours = change.key.kind == target.kind
            && target.namespace.as_ref().is_none_or(|wanted| *wanted == change.key.namespace)
            && selector.takes(&change.object);
        ours.then(|| {
            let event = json!({"type": change.what, "object": *target.shown(&change.object)});
            Frame::data(Bytes::from(format!("{event}\n")))
        })
    };
    let first: Vec<Frame<Bytes>> = past.iter().filter_map(&show).collect();
    let later = futures::stream::unfold((coming, show), |(mut coming, show)| async move {
        loop {
            // A watch that cannot keep up ends; clients then list again.
            let change = coming.recv().await.ok()?;
            if let Some(frame) = show(&change) {
                return Some((frame, (coming, show)));
            }
        }
    });
    let stream = futures::StreamExt::chain(futures::stream::iter(first), later);
    let stream = futures::StreamExt::map(stream, Ok::<_, Infallible>);
    let mut response = Response::new(StreamBody::new(stream).boxed_unsync());
    response
        .headers_mut()
        .insert("content-type", hyper::header::HeaderValue::from_static("application/json"));
    Ok(response)
}

impl Target {
    /// The object under the version that was asked for.
    fn shown<'a>(&self, object: &'a Value) -> std::borrow::Cow<'a, Value> {
        let group = self.kind.about().group;
        let said = object["apiVersion"].as_str().unwrap_or("");
        let same = said.rsplit('/').next() == Some(self.version.as_str());
        if same {
            return std::borrow::Cow::Borrowed(object);
        }
        let mut object = object.clone();
        object["apiVersion"] = json!(format!("{group}/{}", self.version));
        std::borrow::Cow::Owned(object)
    }
}

/// Finds the kind, namespace, name and part in a path.
fn target(host: &Host, path: &str) -> Option<Target> {
    let parts: Vec<String> = path.split('/').filter(|part| !part.is_empty()).map(decode).collect();
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    let (group, version, rest) = match parts.as_slice() {
        ["api", version, rest @ ..] => ("", *version, rest),
        ["apis", group, version, rest @ ..] => (*group, *version, rest),
        _ => return None,
    };
    let (namespace, rest) = match rest {
        // `/namespaces/x` is the namespace itself, `/namespaces/x/secrets` is inside it.
        ["namespaces", namespace, inside, ..] if !matches!(*inside, "status" | "finalize") => {
            (Some((*namespace).to_owned()), &rest[2..])
        }
        _ => (None, rest),
    };
    let kind = Kind::served(host.spec().flux, group, version, rest.first()?)?;
    Some(Target {
        kind,
        version: version.to_owned(),
        namespace,
        name: rest.get(1).map(|name| (*name).to_owned()),
        part: rest.get(2).map(|part| (*part).to_owned()),
    })
    .filter(|target| rest.len() <= 3 && (kind != kinds::NAMESPACE || target.namespace.is_none()))
}

fn read(body: &Bytes) -> Result<Value, Refusal> {
    if body.is_empty() {
        return Ok(json!({}));
    }
    serde_json::from_slice(body)
        .map_err(|error| Refusal::bad_request(format!("the object provided is unrecognized: {error}")))
}

fn nothing_there() -> Refusal {
    Refusal {
        code: 404,
        reason: "NotFound",
        message: "the server could not find the requested resource".to_owned(),
    }
}

fn not_allowed() -> Refusal {
    Refusal {
        code: 405,
        reason: "MethodNotAllowed",
        message: "the server does not allow this method on the requested resource".to_owned(),
    }
}

fn refuse(refusal: &Refusal) -> Response<Body> {
    let Refusal { code, reason, message } = refusal;
    reply(
        *code,
        &json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": message, "reason": reason, "code": code}),
    )
}

fn reply(code: u16, value: &Value) -> Response<Body> {
    respond(code, "application/json", value.to_string())
}

/// A whole answer.
pub(super) fn respond(code: u16, kind: &'static str, text: impl Into<Bytes>) -> Response<Body> {
    let mut response = Response::new(Full::new(text.into()).boxed_unsync());
    *response.status_mut() = hyper::StatusCode::from_u16(code).unwrap_or_default();
    response.headers_mut().insert("content-type", hyper::header::HeaderValue::from_static(kind));
    response
}

/// The parameters of a query.
fn query(text: &str) -> BTreeMap<String, String> {
    text.split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .map(|(name, value)| (decode(name), decode(&value.replace('+', " "))))
        .collect()
}

/// Percent signs undone.
fn decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = tail;
        let escaped = (*first == b'%')
            .then(|| tail.get(..2).and_then(|hex| std::str::from_utf8(hex).ok()))
            .flatten()
            .and_then(|hex| u8::from_str_radix(hex, 16).ok());
        match escaped {
            Some(byte) => {
                bytes.push(byte);
                rest = &tail[2..];
            }
            None => bytes.push(*first),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
