//! The kustomize controller: dependencies, variables, applying and pruning (facts section 5.3).

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use serde_json::{Value, json};

use super::{Controllers, World};
use crate::lab::encoding::plain;
use crate::lab::faults::Fault;
use crate::lab::kinds::{KUSTOMIZATION, SECRET, SOURCE};
use crate::lab::manifests::{CLIENTS, Product};
use crate::lab::spec::Vintage;
use crate::lab::store::{Key, Store};
use crate::version::{Revision, Version};

/// The labels by which a kustomization knows its objects.
const LABEL: &str = "kustomize.toolkit.fluxcd.io/name";
const LABEL_NAMESPACE: &str = "kustomize.toolkit.fluxcd.io/namespace";

/// What the API server says of a webhook that does not answer (guide, "From 0.8 to 1.0"; facts section 9).
const WEBHOOK: &str = "ClusterIssuer/letsencrypt-production dry-run failed, reason: InternalError, error: Internal error occurred: failed calling webhook \"webhook.cert-manager.io\": Post \"https://cert-manager-webhook.cert-manager.svc:443/mutate?timeout=10s\": dial tcp 10.43.1.2:443: connect: connection refused";

/// Why a kustomization is not ready: reason and message.
type NotReady = (&'static str, String);

pub(super) fn look(controllers: &mut Controllers, store: &mut Store, world: &World<'_>, now: Instant) {
    for (key, kustomization) in super::snapshot(store, KUSTOMIZATION) {
        if super::leaving(&kustomization) {
            if kustomization["spec"]["prune"] == json!(true) && !super::suspended(&kustomization) {
                prune(store, &key, &BTreeSet::new());
            }
            controllers.due.remove(&key);
            super::let_go(store, &key);
            continue;
        }
        if super::suspended(&kustomization) {
            controllers.due.remove(&key);
            continue;
        }
        let revision = revision(store, &key, &kustomization);
        // One that is not ready is tried again after a restart too, of which nothing planned is left.
        let needed = !super::current(&kustomization)
            || !super::is_ready(&kustomization)
            || super::asked(&kustomization)
            || revision
                .as_ref()
                .is_some_and(|revision| kustomization["status"]["lastAttemptedRevision"] != json!(revision));
        if needed && !controllers.planned(&key) {
            store.edit(&key, |object| {
                super::progressing(object, world.spec.flux, "reconciliation in progress");
            });
        }
        if !(needed || controllers.planned(&key)) || !controllers.turn(&key, now, world.spec.pace.apply) {
            continue;
        }
        let outcome = reconcile(controllers, store, world, &key, &kustomization, revision.as_deref(), now);
        if outcome.is_err() {
            controllers.again(&key, now + world.spec.pace.retry);
        }
        store.edit(&key, |object| {
            super::hold(object);
            super::handled(object);
            if let Some(revision) = &revision {
                object["status"]["lastAttemptedRevision"] = json!(revision);
            }
            match outcome {
                Ok(inventory) => {
                    let revision = revision.unwrap_or_default();
                    object["status"]["lastAppliedRevision"] = json!(revision);
                    write_inventory(object, world.spec.flux, &revision, &inventory);
                    let text = super::message(world, format!("Applied revision: {revision}"));
                    super::set_condition(
                        object,
                        world.spec.flux,
                        "Ready",
                        "True",
                        "ReconciliationSucceeded",
                        &text,
                    );
                }
                Err((reason, text)) => {
                    let text = super::message(world, text);
                    super::set_condition(object, world.spec.flux, "Ready", "False", reason, &text);
                }
            }
        });
    }
}

/// The revision of its source's artifact.
fn revision(store: &Store, key: &Key, kustomization: &Value) -> Option<String> {
    let of = &kustomization["spec"]["sourceRef"];
    let source =
        store.peek(SOURCE, of["namespace"].as_str().unwrap_or(&key.namespace), of["name"].as_str()?)?;
    source["status"]["artifact"]["revision"].as_str().map(str::to_owned)
}

/// Does the whole work; gives the keys that it applied.
fn reconcile(
    controllers: &mut Controllers,
    store: &mut Store,
    world: &World<'_>,
    key: &Key,
    kustomization: &Value,
    revision: Option<&str>,
    now: Instant,
) -> Result<BTreeSet<Key>, NotReady> {
    let source = kustomization["spec"]["sourceRef"]["name"].as_str().unwrap_or("");
    let Some(revision) = revision else {
        let known = store.peek(SOURCE, &key.namespace, source).is_some();
        return Err((
            "ArtifactFailed",
            if known {
                "Source is not ready, artifact not found".to_owned()
            } else {
                format!("Source 'GitRepository/{source}' not found")
            },
        ));
    };
    dependencies(store, key, kustomization, revision)?;
    let variables = variables(controllers, store, world, key, kustomization)?;
    let applied_before = kustomization["status"]["lastAppliedRevision"].as_str();
    if world.has(&Fault::WebhookAway)
        && key.name == "kube-system-config"
        && applied_before.is_some_and(|before| before != revision)
        && !super::asked(kustomization)
    {
        return Err(("ReconciliationFailed", WEBHOOK.to_owned()));
    }
    let branch = Revision::parse(revision).map(|revision| revision.branch).unwrap_or_default();
    let version = Version::from_branch(&branch).unwrap_or(world.spec.version);
    // A kustomization of somebody else's source has nothing that the lab knows of.
    let ours = version.source() == Some(source);
    let objects =
        ours.then(|| Product { version }.objects(world.spec, &key.name)).flatten().unwrap_or_default();
    let mut applied = BTreeSet::new();
    for mut object in objects {
        substitute(&mut object, &variables);
        object["metadata"]["labels"][LABEL] = json!(key.name);
        object["metadata"]["labels"][LABEL_NAMESPACE] = json!(key.namespace);
        if world.has(&Fault::SsoEmptyOauth)
            && key.name == "core"
            && object["metadata"]["name"] == json!("single-sign-on")
        {
            // The fault: single-sign-on does not wait for the secret, and gets what core saw last.
            for from in object["spec"]["postBuild"]["substituteFrom"].as_array_mut().into_iter().flatten() {
                from["optional"] = json!(true);
            }
        }
        store.apply(&object);
        applied.extend(Key::of(&object));
    }
    if kustomization["spec"]["prune"] == json!(true) {
        prune(store, key, &applied);
    }
    if key.name == "core" && version >= Version::V0_7 {
        if world.has(&Fault::SsoEmptyOauth) {
            // Its first look at the new version sees nothing; every later one what is there.
            let seen = match controllers.oauth {
                None => BTreeMap::new(),
                Some(_) => secret(store, &key.namespace, &Product { version }.oauth("single-sign-on"))
                    .unwrap_or_default(),
            };
            controllers.oauth = Some(seen);
        }
        // Guide, "Upgrading to 0.7.0": single-sign-on gets its secrets once core is reconciled.
        controllers.again(&Key::new(KUSTOMIZATION, key.namespace.clone(), "single-sign-on"), now);
    }
    Ok(applied)
}

/// Every dependency is ready, of its present generation, and at the same revision where it has the same source.
fn dependencies(store: &Store, key: &Key, kustomization: &Value, revision: &str) -> Result<(), NotReady> {
    for dependency in kustomization["spec"]["dependsOn"].as_array().into_iter().flatten() {
        let namespace = dependency["namespace"].as_str().unwrap_or(&key.namespace);
        let name = dependency["name"].as_str().unwrap_or("");
        let full = format!("{namespace}/{name}");
        let not_ready = |text: String| Err(("DependencyNotReady", text));
        let Some(found) = store.peek(KUSTOMIZATION, namespace, name) else {
            return not_ready(format!(
                "unable to get '{full}' dependency: Kustomization.kustomize.toolkit.fluxcd.io {name:?} not found"
            ));
        };
        if !super::current(found) || !super::is_ready(found) {
            return not_ready(format!("dependency '{full}' is not ready"));
        }
        let same = found["spec"]["sourceRef"] == kustomization["spec"]["sourceRef"];
        if same && found["status"]["lastAppliedRevision"] != json!(revision) {
            return not_ready(format!("dependency '{full}' is not updated yet"));
        }
    }
    Ok(())
}

/// The variables of `substituteFrom`, later ones first in effect.
fn variables(
    controllers: &Controllers,
    store: &Store,
    world: &World<'_>,
    key: &Key,
    kustomization: &Value,
) -> Result<BTreeMap<String, String>, NotReady> {
    let mut found = BTreeMap::new();
    for from in kustomization["spec"]["postBuild"]["substituteFrom"].as_array().into_iter().flatten() {
        let name = from["name"].as_str().unwrap_or("");
        match secret(store, &key.namespace, name) {
            Some(data) => found.extend(data),
            None if from["optional"] == json!(true) => {}
            None => {
                return Err((
                    "BuildFailed",
                    format!(
                        "var substitution failed for '{}': substitute from 'Secret/{name}' error: secrets {name:?} not found",
                        key.name
                    ),
                ));
            }
        }
    }
    if key.name == "single-sign-on"
        && world.has(&Fault::SsoEmptyOauth)
        && let Some(seen) = &controllers.oauth
    {
        for app in CLIENTS {
            let name = format!("{app}_oauth_client_secret");
            let value = seen.get(&name).cloned().unwrap_or_default();
            found.insert(name, value);
        }
    }
    Ok(found)
}

fn secret(store: &Store, namespace: &str, name: &str) -> Option<BTreeMap<String, String>> {
    let secret = store.peek(SECRET, namespace, name)?;
    let data = secret["data"].as_object().into_iter().flatten();
    Some(
        data.map(|(name, value)| {
            (name.clone(), String::from_utf8_lossy(&plain(value.as_str().unwrap_or(""))).into_owned())
        })
        .collect(),
    )
}

/// Puts variables into every text of an object. One that nobody defines becomes the empty text, as Flux does it.
fn substitute(object: &mut Value, variables: &BTreeMap<String, String>) {
    match object {
        Value::String(text) if text.contains("${") => *text = replaced(text, variables),
        Value::Array(list) => list.iter_mut().for_each(|item| substitute(item, variables)),
        Value::Object(map) => map.values_mut().for_each(|item| substitute(item, variables)),
        _ => {}
    }
}

fn replaced(text: &str, variables: &BTreeMap<String, String>) -> String {
    let mut parts = text.split("${");
    let mut done = parts.next().unwrap_or("").to_owned();
    for part in parts {
        if let Some((name, rest)) = part.split_once('}') {
            done.push_str(variables.get(name).map_or("", String::as_str));
            done.push_str(rest);
        } else {
            done.push_str("${");
            done.push_str(part);
        }
    }
    done
}

/// Deletes what bears this kustomization's labels and is not among `kept`.
fn prune(store: &mut Store, key: &Key, kept: &BTreeSet<Key>) {
    let gone: Vec<Key> = store
        .all()
        .filter(|(found, object)| {
            let labels = &object["metadata"]["labels"];
            let disabled = |place: &str| {
                object["metadata"][place]["kustomize.toolkit.fluxcd.io/prune"] == json!("disabled")
            };
            labels[LABEL] == json!(key.name)
                && labels[LABEL_NAMESPACE] == json!(key.namespace)
                && !kept.contains(found)
                && !disabled("labels")
                && !disabled("annotations")
        })
        .map(|(found, _)| found.clone())
        .collect();
    for key in gone {
        let _ = store.delete(&key);
    }
}

/// The record of what was applied: `snapshot` in the oldest vintage, `inventory` since.
fn write_inventory(object: &mut Value, vintage: Vintage, revision: &str, applied: &BTreeSet<Key>) {
    if vintage == Vintage::Beta1 {
        let mut kinds: BTreeMap<&str, BTreeMap<String, &str>> = BTreeMap::new();
        for key in applied {
            let about = key.kind.about();
            let name = format!("{}, Kind={}", key.kind.api_version(vintage), about.kind);
            kinds.entry(&key.namespace).or_default().insert(name, about.kind);
        }
        let entries: Vec<Value> =
            kinds.iter().map(|(namespace, kinds)| json!({"namespace": namespace, "kinds": kinds})).collect();
        object["status"]["snapshot"] =
            json!({"checksum": crate::lab::encoding::sha1(revision), "entries": entries});
        return;
    }
    let entries: Vec<Value> = applied
        .iter()
        .map(|key| {
            let about = key.kind.about();
            let version = key.kind.versions(vintage).first().copied().unwrap_or("v1");
            json!({"id": format!("{}_{}_{}_{}", key.namespace, key.name, about.group, about.kind), "v": version})
        })
        .collect();
    object["status"]["inventory"] = json!({"entries": entries});
}
