//! What was typed after `kubectl`, and how answers are shown.

use serde_json::{Value, json};

use super::kubectl::Complaint;
use crate::lab::kinds::{About, Kind};

/// What was typed.
#[derive(Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "one for each switch that kubectl has")]
pub(super) struct Typed {
    pub(super) words: Vec<String>,
    pub(super) namespace: Option<String>,
    pub(super) everywhere: bool,
    pub(super) labels: String,
    pub(super) fields: String,
    pub(super) output: String,
    pub(super) raw: Option<String>,
    pub(super) file: Option<String>,
    pub(super) patch: String,
    pub(super) patch_type: String,
    pub(super) replicas: Option<u64>,
    pub(super) all: bool,
    pub(super) overwrite: bool,
    pub(super) ignore_missing: bool,
    pub(super) no_wait: bool,
    pub(super) kubeconfig: Option<String>,
    /// What stands after `--`: a command for a container.
    pub(super) inside: Vec<String>,
}

/// A kind with the version that the server prefers.
#[derive(Debug, Clone)]
pub(super) struct Resource {
    pub(super) about: &'static About,
    pub(super) version: String,
}

pub(super) fn read(words: &[String]) -> Result<Typed, Complaint> {
    let mut typed = Typed { patch_type: "strategic".to_owned(), ..Typed::default() };
    let verb = words.first().cloned().unwrap_or_default();
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let (name, joined) = match word.split_once('=') {
            Some((name, value)) if word.starts_with('-') => (name, Some(value.to_owned())),
            _ if word.len() > 2 && word.starts_with('-') && !word.starts_with("--") => {
                (&word[..2], Some(word[2..].to_owned()))
            }
            _ => (word.as_str(), None),
        };
        let yes = joined.as_deref() != Some("false");
        let mut value = || {
            joined.clone().or_else(|| words.next().cloned()).ok_or_else(|| {
                format!("error: flag needs an argument: {name}\nSee 'kubectl {verb} --help' for usage.")
            })
        };
        match name {
            "-n" | "--namespace" => typed.namespace = Some(value()?),
            "-A" | "--all-namespaces" => typed.everywhere = yes,
            "-l" | "--selector" => typed.labels = value()?,
            "--field-selector" => typed.fields = value()?,
            "-o" | "--output" => typed.output = value()?,
            "--raw" => typed.raw = Some(value()?),
            "-f" | "--filename" => typed.file = Some(value()?),
            "-p" | "--patch" => typed.patch = value()?,
            "--type" => typed.patch_type = value()?,
            "--replicas" => typed.replicas = value()?.parse().ok(),
            "--kubeconfig" => typed.kubeconfig = Some(value()?),
            "--" => typed.inside = words.by_ref().cloned().collect(),
            "-c" | "--container" | "--timeout" | "--request-timeout" | "--grace-period"
            | "--field-manager" => {
                value()?;
            }
            "--all" => typed.all = yes,
            "--overwrite" => typed.overwrite = yes,
            "--ignore-not-found" => typed.ignore_missing = yes,
            "--wait" => typed.no_wait = !yes,
            "--validate" | "--force" | "--now" | "--cascade" => {}
            _ if word.starts_with('-') && word != "-" => {
                return Err(format!("error: unknown flag: {name}\nSee 'kubectl {verb} --help' for usage."));
            }
            _ => typed.words.push(word.clone()),
        }
    }
    Ok(typed)
}

impl Typed {
    /// Where objects of this kind are asked for.
    pub(super) fn place(&self, resource: &Resource) -> String {
        let namespace = self.namespace.as_deref().unwrap_or("default");
        resource.place((!self.everywhere).then_some(namespace))
    }

    /// The selectors as a query.
    pub(super) fn selection(&self) -> String {
        format!("?labelSelector={}&fieldSelector={}", escape(&self.labels), escape(&self.fields))
    }

    pub(super) fn shown(&self, mut items: Vec<Value>, single: bool) -> String {
        match self.output.as_str() {
            "json" if single && items.is_empty() => String::new(),
            "json" if single => pretty(&items.remove(0)),
            "json" => pretty(
                &json!({"apiVersion": "v1", "kind": "List", "metadata": {"resourceVersion": ""}, "items": items}),
            ),
            path if path.starts_with("jsonpath=") => {
                items.iter().map(|item| template(&path["jsonpath=".len()..], item)).collect()
            }
            "name" => items
                .iter()
                .filter_map(|item| {
                    let about = Kind::called(item["kind"].as_str()?)?.about();
                    Some(format!("{}\n", Resource { about, version: String::new() }.called(item)))
                })
                .collect(),
            _ if items.is_empty() => String::new(),
            _ => {
                let rows = items.iter().map(|item| {
                    let metadata = &item["metadata"];
                    let text = |name: &str| metadata[name].as_str().unwrap_or("").to_owned();
                    let namespace =
                        if self.everywhere { format!("{:<16}", text("namespace")) } else { String::new() };
                    format!("{namespace}{:<48}{}\n", text("name"), text("creationTimestamp"))
                });
                let head = if self.everywhere { format!("{:<16}", "NAMESPACE") } else { String::new() };
                std::iter::once(format!("{head}{:<48}CREATED\n", "NAME")).chain(rows).collect()
            }
        }
    }
}

impl Resource {
    pub(super) fn place(&self, namespace: Option<&str>) -> String {
        let About { group, plural, namespaced, .. } = self.about;
        let base =
            if group.is_empty() { "/api/v1".to_owned() } else { format!("/apis/{group}/{}", self.version) };
        match namespace {
            Some(namespace) if *namespaced => format!("{base}/namespaces/{namespace}/{plural}"),
            _ => format!("{base}/{plural}"),
        }
    }

    /// `deployment.apps`.
    pub(super) fn singular(&self) -> String {
        let About { group, singular, .. } = self.about;
        if group.is_empty() { (*singular).to_owned() } else { format!("{singular}.{group}") }
    }

    /// `deployment.apps/x`.
    pub(super) fn called(&self, object: &Value) -> String {
        format!("{}/{}", self.singular(), object["metadata"]["name"].as_str().unwrap_or(""))
    }
}

/// Kinds and names of `KIND NAME…`, `KIND/NAME` or `KIND`.
pub(super) fn named(words: &[String], verb: &str) -> Result<(String, Vec<String>), Complaint> {
    let Some((first, rest)) = words.split_first() else {
        return Err(format!("error: You must specify the type of resource to {verb}."));
    };
    match first.split_once('/') {
        Some((kind, name)) => Ok((kind.to_owned(), vec![name.to_owned()])),
        None => Ok((first.clone(), rest.to_vec())),
    }
}

/// kubectl's `-o jsonpath=`, as far as it is used: fields in braces, and text between them as it stands. What is missing is empty.
fn template(text: &str, object: &Value) -> String {
    let mut shown = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('{') {
        let (path, after) = after.split_once('}').unwrap_or((after, ""));
        let found = path.split('.').filter(|name| !name.is_empty()).try_fold(object, |at, name| at.get(name));
        shown.push_str(before);
        match found {
            None | Some(Value::Null) => {}
            Some(Value::String(text)) => shown.push_str(text),
            Some(other) => shown.push_str(&other.to_string()),
        }
        rest = after;
    }
    shown + rest
}

/// JSON as kubectl prints it: four blanks.
pub(super) fn pretty(value: &Value) -> String {
    let mut bytes = Vec::new();
    let format = serde_json::ser::PrettyFormatter::with_indent(b"    ");
    let mut writer = serde_json::Serializer::with_formatter(&mut bytes, format);
    // Writing into memory does not fail.
    let _ = serde::Serialize::serialize(value, &mut writer);
    bytes.push(b'\n');
    String::from_utf8_lossy(&bytes).into_owned()
}

/// A text for a query.
pub(super) fn escape(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'/' => {
                char::from(byte).to_string()
            }
            byte => format!("%{byte:02X}"),
        })
        .collect()
}
