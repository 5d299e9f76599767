//! `k3s kubectl`, as far as `fleet` and its tests use it, over the same REST API that a real kubectl uses.

use std::fs;
use std::io::{self, Read as _};
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::Done;
use super::request::{Answer, Server};
use super::typed::{Resource, Typed, named, pretty, read};
use crate::lab::kinds::Kind;

/// How long `delete` waits for an object to go.
const GONE: Duration = Duration::from_secs(60);

/// Why kubectl ends: its complaint on standard error; the exit status is 1.
pub(super) type Complaint = String;

/// Does what kubectl with these words does.
pub(super) fn run(folder: &Path, words: &[String]) -> Done {
    let mut done = Done::default();
    let result = read(words).and_then(|typed| Session::open(folder, &typed)?.dispatch(&typed, &mut done));
    if let Err(complaint) = result {
        done.err.push_str(&complaint);
        done.err.push('\n');
        done.code = 1;
    }
    done
}

/// A connection to the API.
struct Session {
    server: Server,
    address: String,
}

impl Session {
    fn open(folder: &Path, typed: &Typed) -> Result<Self, Complaint> {
        let default = || folder.join("etc-rancher/k3s.yaml").into_os_string();
        let path = typed.kubeconfig.clone().map(Into::into).or_else(|| std::env::var_os("KUBECONFIG"));
        let path = std::path::PathBuf::from(path.unwrap_or_else(default));
        let text = fs::read_to_string(&path)
            .map_err(|error| format!("error: error loading config file {}: {error}", path.display()))?;
        let address = text
            .lines()
            .find_map(|line| line.trim().strip_prefix("server: http://"))
            .ok_or_else(|| {
                format!("error: error loading config file {}: it names no server", path.display())
            })?
            .to_owned();
        let server = Server::connect(&address).map_err(|_| refused(&address))?;
        Ok(Self { server, address })
    }

    fn dispatch(&mut self, typed: &Typed, done: &mut Done) -> Result<(), Complaint> {
        let (verb, words) = match typed.words.split_first() {
            Some((verb, words)) => (verb.as_str(), words),
            None => return Err("kubectl controls the Kubernetes cluster manager.".to_owned()),
        };
        match (verb, &typed.raw) {
            ("get", Some(path)) => self.raw(path, done),
            ("get", None) => self.get(typed, words, done),
            ("create" | "replace", _) => self.write(typed, verb, done),
            ("patch", _) => self.patch(typed, words, done),
            ("delete", _) => self.delete(typed, words, done),
            ("annotate" | "label", _) => self.mark(typed, verb, words, done),
            ("scale", _) => self.scale(typed, words, done),
            _ => Err(format!("error: unknown command {verb:?} for \"kubectl\"")),
        }
    }

    fn ask(&mut self, method: &str, path: &str, kind: &str, body: &Value) -> Result<Answer, Complaint> {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        self.server.ask(method, path, kind, body.as_bytes()).map_err(|_| refused(&self.address))
    }

    fn fetch(&mut self, path: &str) -> Result<Answer, Complaint> {
        self.ask("GET", path, "application/json", &Value::Null)
    }

    fn raw(&mut self, path: &str, done: &mut Done) -> Result<(), Complaint> {
        let answer = self.fetch(path)?;
        if answer.status >= 400 {
            return Err(refusal(&answer, ""));
        }
        done.out = String::from_utf8_lossy(&answer.body).into_owned();
        Ok(())
    }

    /// Finds kinds by any of the names that kubectl takes.
    fn resources(&mut self, words: &str) -> Result<Vec<Resource>, Complaint> {
        words.split(',').map(|word| self.resource(word)).collect()
    }

    fn resource(&mut self, word: &str) -> Result<Resource, Complaint> {
        let lower = word.to_lowercase();
        let (name, group) = lower.split_once('.').unwrap_or((&lower, ""));
        let unknown = || {
            if group.is_empty() {
                format!("error: the server doesn't have a resource type {word:?}")
            } else {
                format!("error: the server doesn't have a resource type {name:?} in group {group:?}")
            }
        };
        let kind = Kind::all().find(|kind| {
            let about = kind.about();
            let named = about.plural == name || about.singular == name || about.short.contains(&name);
            named && (group.is_empty() || group == about.group)
        });
        let about = kind.ok_or_else(unknown)?.about();
        if about.group.is_empty() {
            return Ok(Resource { about, version: "v1".to_owned() });
        }
        let answer = self.fetch(&format!("/apis/{}", about.group))?;
        let preferred = answer.json()["preferredVersion"]["version"].as_str().map(str::to_owned);
        Ok(Resource { about, version: preferred.ok_or_else(unknown)? })
    }

    fn get(&mut self, typed: &Typed, words: &[String], done: &mut Done) -> Result<(), Complaint> {
        let (kinds, names) = named(words, "get")?;
        let resources = self.resources(&kinds)?;
        if !names.is_empty() && typed.everywhere {
            return Err("error: a resource cannot be retrieved by name across all namespaces".to_owned());
        }
        let mut items = Vec::new();
        let mut complaints = Vec::new();
        for resource in &resources {
            let place = typed.place(resource);
            for name in &names {
                let answer = self.fetch(&format!("{place}/{name}"))?;
                match answer.status {
                    404 if typed.ignore_missing => {}
                    200..=299 => items.push(answer.json()),
                    _ => complaints.push(refusal(&answer, "")),
                }
            }
            if names.is_empty() {
                let answer = self.fetch(&format!("{place}{}", typed.selection()))?;
                if answer.status >= 400 {
                    return Err(refusal(&answer, ""));
                }
                if let Value::Array(found) = answer.json()["items"].take() {
                    items.extend(found);
                }
            }
        }
        let single = names.len() == 1 && resources.len() == 1;
        done.out = typed.shown(items, single);
        if done.out.is_empty() && complaints.is_empty() && !typed.ignore_missing {
            done.err = match (&typed.namespace, typed.everywhere) {
                (_, true) => "No resources found\n".to_owned(),
                (namespace, false) => {
                    format!(
                        "No resources found in {} namespace.\n",
                        namespace.as_deref().unwrap_or("default")
                    )
                }
            };
        }
        if complaints.is_empty() { Ok(()) } else { Err(complaints.join("\n")) }
    }

    /// `create -f -` and `replace -f -`: one object, several, or a List.
    fn write(&mut self, typed: &Typed, verb: &str, done: &mut Done) -> Result<(), Complaint> {
        let file = typed.file.as_deref().ok_or("error: must specify one of -f and -k")?;
        let mut text = String::new();
        let read = if file == "-" {
            io::stdin().read_to_string(&mut text).map(|_| ())
        } else {
            fs::read_to_string(file).map(|content| text = content)
        };
        read.map_err(|error| format!("error: error reading {file:?}: {error}"))?;
        let shown = if file == "-" { "STDIN" } else { file };
        let mut objects = Vec::new();
        for object in serde_json::Deserializer::from_str(&text).into_iter::<Value>() {
            let mut object = object.map_err(|error| format!("error: error parsing {shown}: {error}"))?;
            match object["items"].take() {
                Value::Array(items) if object["kind"].as_str().is_some_and(|kind| kind.ends_with("List")) => {
                    objects.extend(items);
                }
                _ => {
                    crate::lab::store::remove(&mut object, "items");
                    objects.push(object);
                }
            }
        }
        if objects.is_empty() {
            return Err(format!("error: no objects passed to {verb}"));
        }
        let mut complaints = Vec::new();
        for object in objects {
            if let Err(complaint) = self.write_one(typed, verb, shown, object, done) {
                complaints.push(complaint);
            }
        }
        if complaints.is_empty() { Ok(()) } else { Err(complaints.join("\n")) }
    }

    fn write_one(
        &mut self,
        typed: &Typed,
        verb: &str,
        shown: &str,
        mut object: Value,
        done: &mut Done,
    ) -> Result<(), Complaint> {
        let (version, kind) =
            (object["apiVersion"].as_str().unwrap_or(""), object["kind"].as_str().unwrap_or(""));
        if version.is_empty() || kind.is_empty() {
            let missing: Vec<&str> = [("apiVersion", version), ("kind", kind)]
                .iter()
                .filter(|(_, value)| value.is_empty())
                .map(|(name, _)| {
                    if *name == "kind" {
                        "Object 'Kind' is missing"
                    } else {
                        "Object 'apiVersion' is missing"
                    }
                })
                .collect();
            return Err(format!("error: unable to decode {shown:?}: {} in '{object}'", missing.join(", ")));
        }
        let (group, version) = version.split_once('/').unwrap_or(("", version));
        let about =
            Kind::called(kind).map(Kind::about).filter(|about| about.group == group).ok_or_else(|| {
                format!(
                    "error: unable to recognize {shown:?}: no matches for kind {kind:?} in version {:?}",
                    object["apiVersion"].as_str().unwrap_or("")
                )
            })?;
        let resource = Resource { about, version: version.to_owned() };
        let said = object["metadata"]["namespace"].as_str().map(str::to_owned);
        if let (Some(said), Some(asked), true) = (&said, &typed.namespace, about.namespaced)
            && said != asked
        {
            return Err(format!(
                "error: the namespace from the provided object {said:?} does not match the namespace {asked:?}. You must pass '--namespace={said}' to perform this operation."
            ));
        }
        let namespace = said.or_else(|| typed.namespace.clone()).unwrap_or_else(|| "default".to_owned());
        let place = resource.place(Some(&namespace));
        let (answer, word) = if verb == "create" {
            (self.ask("POST", &place, "application/json", &object)?, "created")
        } else {
            let name = object["metadata"]["name"].as_str().unwrap_or("").to_owned();
            let path = format!("{place}/{name}");
            if object["metadata"]["resourceVersion"].as_str().unwrap_or("").is_empty() {
                let now = self.fetch(&path)?.json();
                if now["kind"] != json!("Status") {
                    object["metadata"]["resourceVersion"] = now["metadata"]["resourceVersion"].clone();
                }
            }
            (self.ask("PUT", &path, "application/json", &object)?, "replaced")
        };
        if answer.status >= 400 {
            let doing = if verb == "create" { "creating" } else { "replacing" };
            return Err(refusal(&answer, &format!("error when {doing} {shown:?}: ")));
        }
        let made = answer.json();
        done.print(&match typed.output.as_str() {
            "json" => pretty(&made),
            _ => format!("{} {word}\n", resource.called(&made)),
        });
        Ok(())
    }

    fn patch(&mut self, typed: &Typed, words: &[String], done: &mut Done) -> Result<(), Complaint> {
        let (kinds, names) = named(words, "patch")?;
        let resource = self.resource(&kinds)?;
        let name = names.first().ok_or("error: resource(s) were provided, but no name was specified")?;
        let change: Value = serde_json::from_str(&typed.patch)
            .map_err(|error| format!("error: unable to parse {:?}: {error}", typed.patch))?;
        let kind = match typed.patch_type.as_str() {
            "merge" => "application/merge-patch+json",
            "json" => "application/json-patch+json",
            "strategic" => "application/strategic-merge-patch+json",
            other => {
                return Err(format!("error: --type must be one of [json merge strategic], not {other:?}"));
            }
        };
        let path = format!("{}/{name}", typed.place(&resource));
        let before = self.found(&path)?;
        let answer = self.ask("PATCH", &path, kind, &change)?;
        if answer.status >= 400 {
            return Err(refusal(&answer, ""));
        }
        let after = answer.json();
        done.out = if typed.output == "json" {
            pretty(&after)
        } else {
            let unchanged = before["metadata"]["resourceVersion"] == after["metadata"]["resourceVersion"];
            format!("{} patched{}\n", resource.called(&after), if unchanged { " (no change)" } else { "" })
        };
        Ok(())
    }

    fn delete(&mut self, typed: &Typed, words: &[String], done: &mut Done) -> Result<(), Complaint> {
        let (kinds, names) = named(words, "delete")?;
        let resource = self.resource(&kinds)?;
        let place = typed.place(&resource);
        let mut complaints = Vec::new();
        for path in self.chosen(typed, &place, &names)? {
            let answer =
                self.ask("DELETE", &path, "application/json", &json!({"propagationPolicy": "Background"}))?;
            match answer.status {
                404 if typed.ignore_missing => continue,
                400.. => {
                    complaints.push(refusal(&answer, ""));
                    continue;
                }
                _ => {}
            }
            let name = path.rsplit('/').next().unwrap_or("");
            done.print(&format!("{} {name:?} deleted\n", resource.singular()));
            let began = Instant::now();
            while !typed.no_wait && self.fetch(&path)?.status != 404 {
                if began.elapsed() > GONE {
                    complaints.push(format!("error: timed out waiting for the condition on {name}"));
                    break;
                }
                pause();
            }
        }
        if complaints.is_empty() { Ok(()) } else { Err(complaints.join("\n")) }
    }

    /// `annotate` and `label`.
    fn mark(
        &mut self,
        typed: &Typed,
        verb: &str,
        words: &[String],
        done: &mut Done,
    ) -> Result<(), Complaint> {
        let is_mark = |word: &&String| word.contains('=') || word.ends_with('-');
        let (marks, words): (Vec<&String>, Vec<&String>) = words.iter().partition(is_mark);
        let words: Vec<String> = words.into_iter().cloned().collect();
        let (kinds, names) = named(&words, verb)?;
        let resource = self.resource(&kinds)?;
        let place = typed.place(&resource);
        let part = if verb == "annotate" { "annotations" } else { "labels" };
        let mut change = json!({});
        for mark in marks {
            match mark.split_once('=') {
                Some((name, value)) => change[name] = json!(value),
                None => change[mark.trim_end_matches('-')] = Value::Null,
            }
        }
        for path in self.chosen(typed, &place, &names)? {
            let before = self.found(&path)?;
            let clash = change.as_object().into_iter().flatten().find(|(name, value)| {
                let old = &before["metadata"][part][name.as_str()];
                !value.is_null() && !old.is_null() && old != *value
            });
            if let (Some((name, _)), false) = (clash, typed.overwrite) {
                let old = before["metadata"][part][name.as_str()].as_str().unwrap_or("");
                return Err(format!(
                    "error: --overwrite is false but found the following declared {part}: '{name}' already has a value ({old})"
                ));
            }
            let answer = self.ask(
                "PATCH",
                &path,
                "application/merge-patch+json",
                &json!({"metadata": {part: change}}),
            )?;
            if answer.status >= 400 {
                return Err(refusal(&answer, ""));
            }
            let word = if verb == "annotate" { "annotated" } else { "labeled" };
            done.print(&format!("{} {word}\n", resource.called(&answer.json())));
        }
        Ok(())
    }

    fn scale(&mut self, typed: &Typed, words: &[String], done: &mut Done) -> Result<(), Complaint> {
        let (kinds, names) = named(words, "scale")?;
        let resource = self.resource(&kinds)?;
        let replicas = typed.replicas.ok_or(
            "error: The --replicas=COUNT flag is required, and COUNT must be greater than or equal to 0",
        )?;
        for path in self.chosen(typed, &typed.place(&resource), &names)? {
            let before = self.found(&path)?;
            let body = json!({"spec": {"replicas": replicas}});
            let answer =
                self.ask("PATCH", &format!("{path}/scale"), "application/merge-patch+json", &body)?;
            if answer.status >= 400 {
                return Err(refusal(&answer, ""));
            }
            done.print(&format!("{} scaled\n", resource.called(&before)));
        }
        Ok(())
    }

    /// One object that must be there.
    fn found(&mut self, path: &str) -> Result<Value, Complaint> {
        let answer = self.fetch(path)?;
        if answer.status >= 400 { Err(refusal(&answer, "")) } else { Ok(answer.json()) }
    }

    /// The paths of the objects that were named, or of all that were selected.
    fn chosen(&mut self, typed: &Typed, place: &str, names: &[String]) -> Result<Vec<String>, Complaint> {
        if !names.is_empty() {
            return Ok(names.iter().map(|name| format!("{place}/{name}")).collect());
        }
        if !typed.all && typed.labels.is_empty() {
            return Err("error: resource(s) were provided, but no name was specified".to_owned());
        }
        let answer = self.fetch(&format!("{place}{}", typed.selection()))?;
        if answer.status >= 400 {
            return Err(refusal(&answer, ""));
        }
        let list = answer.json();
        let paths = list["items"].as_array().into_iter().flatten().map(|item| {
            let metadata = &item["metadata"];
            let name = metadata["name"].as_str().unwrap_or("");
            match (metadata["namespace"].as_str(), place.rsplit_once('/')) {
                (Some(namespace), Some((base, plural))) if typed.everywhere => {
                    format!("{base}/namespaces/{namespace}/{plural}/{name}")
                }
                _ => format!("{place}/{name}"),
            }
        });
        Ok(paths.collect())
    }
}

fn refused(address: &str) -> Complaint {
    format!("The connection to the server {address} was refused - did you specify the right host or port?")
}

/// A refusal of the API in kubectl's words.
fn refusal(answer: &Answer, doing: &str) -> Complaint {
    let status = answer.json();
    let message = status["message"].as_str().unwrap_or("the server gave no reason");
    match status["reason"].as_str() {
        Some("") | None => format!("Error from server: {doing}{message}"),
        Some(reason) => format!("Error from server ({reason}): {doing}{message}"),
    }
}

#[expect(clippy::disallowed_methods, reason = "the stand-in is a process of its own, without a runtime")]
fn pause() {
    std::thread::sleep(Duration::from_millis(25));
}
