//! `k3s kubectl`, as far as `fleet` and its tests use it, over the same REST API that a real kubectl uses. Here is how it asks and
//! reads; [`write`](mod@write) has the verbs that send whole objects, [`change`] those that change or delete what is there.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::Done;
use super::request::{Answer, Server};
use super::typed::{Resource, Typed, named, read};
use crate::lab::kinds::Kind;

mod change;
mod write;

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
    folder: PathBuf,
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
        Ok(Self { folder: folder.to_owned(), server, address })
    }

    fn dispatch(&mut self, typed: &Typed, done: &mut Done) -> Result<(), Complaint> {
        let (verb, words) = match typed.words.split_first() {
            Some((verb, words)) => (verb.as_str(), words),
            None => return Err("kubectl controls the Kubernetes cluster manager.".to_owned()),
        };
        match (verb, &typed.raw) {
            ("get", Some(path)) => self.raw(path, done),
            ("get", None) => self.get(typed, words, done),
            ("replace", Some(path)) => self.put(typed, path, done),
            ("create" | "replace", _) => self.write(typed, verb, done),
            ("patch", _) => self.patch(typed, words, done),
            ("delete", _) => self.delete(typed, words, done),
            ("annotate" | "label", _) => self.mark(typed, verb, words, done),
            ("scale", _) => self.scale(typed, words, done),
            ("exec", _) => self.exec(typed, words, done),
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
