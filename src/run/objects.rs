//! Carrying out `Action::Objects`: secrets saved from a cluster, completed, and put back byte for byte.
//!
//! The data is in the backup's folder (files 0600 in folders 0700) and in memory while it is needed; it is in no plan, journal or log.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rand::RngExt;
use serde_json::{Value, json};

use super::job::Place as Spot;
use super::scribe::here;
use super::{Scribe, Trouble, keep};
use crate::backup::Folder;
use crate::event::Failure;
use crate::files::write_whole;
use crate::plan::{Object, Objects};
use crate::remote::{Command, Remote};

mod renamed;

/// Letters of a made password; upstream's own generator makes 32 ASCII letters (facts section 3.4).
const PASSWORD_LETTERS: usize = 32;
/// How often a set is put back if somebody else (Flux) writes the same objects meanwhile.
const ATTEMPTS: usize = 3;

/// Does what the plan says with the set in the folder. What is saved is put on the host's spool as well, for another machine to go on.
pub async fn carry<R: Remote>(
    remote: &R,
    what: &Objects,
    folder: &Folder,
    spot: Spot<'_>,
    scribe: &mut Scribe<'_>,
) -> Result<(), Trouble> {
    match what {
        Objects::Save { set, objects } => {
            let set = set_path(folder, set)?;
            save(remote, &set, objects, scribe).await?;
            keep::set(remote, spot, &set, objects, scribe).await
        }
        Objects::AddPassword { set, object, key } => {
            let set = set_path(folder, set)?;
            add_password(&set, object, key, scribe)?;
            keep::set(remote, spot, &set, std::slice::from_ref(object), scribe).await
        }
        Objects::Restore { set, objects } => restore(remote, &set_path(folder, set)?, objects, scribe).await,
        Objects::Copy { copies } => renamed::copy(remote, copies, scribe).await,
    }
}

/// Whether every one of these objects has its saved copy.
pub(super) fn are_kept(folder: &Folder, set: &str, objects: &[Object]) -> bool {
    set_path(folder, set).is_ok_and(|set| objects.iter().all(|object| file(&set, object).is_file()))
}

fn set_path(folder: &Folder, set: &str) -> Result<PathBuf, Trouble> {
    folder.kept(set).map_err(|error| here(&error))
}

fn file(set: &Path, object: &Object) -> PathBuf {
    set.join(file_name(object))
}

/// What an object's file is called in its set.
pub(super) fn file_name(object: &Object) -> String {
    format!("{}_{}.json", object.namespace, object.name)
}

async fn save<R: Remote>(
    remote: &R,
    set: &Path,
    objects: &[Object],
    scribe: &mut Scribe<'_>,
) -> Result<(), Trouble> {
    let live = fetch(remote, objects, scribe).await?;
    for object in objects {
        let Some(found) = live.get(object) else {
            return Err(failed(
                "secret-missing",
                format!("secret {object} was there when the plan was made and is gone"),
            ));
        };
        // A saved copy is never overwritten by a later, perhaps poorer one: the first is what 0.6 had.
        if !file(set, object).exists() {
            store(set, object, &bare(found)).map_err(|error| here(&error))?;
        }
    }
    scribe.note(format!("{} secrets saved", objects.len()))
}

fn add_password(set: &Path, object: &Object, key: &str, scribe: &mut Scribe<'_>) -> Result<(), Trouble> {
    let mut saved = load(set, object).map_err(|error| here(&error))?;
    if saved["data"][key].as_str().is_some_and(|value| !value.is_empty()) {
        return scribe.note(format!("the saved {object} has {key} already"));
    }
    let letters = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
    let mut random = rand::rng();
    let password: Vec<u8> = (0..PASSWORD_LETTERS)
        .map(|_| letters.get(random.random_range(0..letters.len())).copied().unwrap_or(b'x'))
        .collect();
    saved["data"][key] = Value::String(STANDARD.encode(password));
    store(set, object, &saved).map_err(|error| here(&error))?;
    scribe.note(format!("the saved {object} now has {key}"))
}

async fn restore<R: Remote>(
    remote: &R,
    set: &Path,
    objects: &[Object],
    scribe: &mut Scribe<'_>,
) -> Result<(), Trouble> {
    let mut wanted = BTreeMap::new();
    for object in objects {
        wanted.insert(object.clone(), load(set, object).map_err(|error| here(&error))?);
    }
    let mut complaint = String::new();
    for _ in 0..ATTEMPTS {
        let live = fetch(remote, objects, scribe).await?;
        let (absent, other): (Vec<_>, Vec<_>) = wanted
            .iter()
            .filter(|(object, saved)| !live.get(object).is_some_and(|found| same_data(found, saved)))
            .partition(|(object, _)| !live.contains_key(object));
        if absent.is_empty() && other.is_empty() {
            return scribe.note(format!("{} secrets are in the cluster, equal byte for byte", wanted.len()));
        }
        for (verb, some) in [
            ("k3s kubectl create --validate=false -f -", absent),
            ("k3s kubectl replace --validate=false -f -", other),
        ] {
            if some.is_empty() {
                continue;
            }
            let list = json!({
                "apiVersion": "v1", "kind": "List",
                "items": some.into_iter().map(|(_, saved)| saved).collect::<Vec<_>>(),
            });
            let output = scribe
                .ask(remote, &Command::new(verb).stdin(list.to_string().into_bytes()).sensitive())
                .await?;
            if !output.success() {
                // Judged by what the next look finds: an AlreadyExists is Flux having been quicker.
                complaint = format!("; {verb} ended with {}", output.exit);
            }
        }
    }
    let live = fetch(remote, objects, scribe).await?;
    let differing: Vec<String> = wanted
        .iter()
        .filter(|(object, saved)| !live.get(object).is_some_and(|found| same_data(found, saved)))
        .map(|(object, _)| object.to_string())
        .collect();
    if differing.is_empty() {
        return scribe.note(format!("{} secrets are in the cluster, equal byte for byte", wanted.len()));
    }
    Err(failed(
        "secrets-differ",
        format!(
            "not as saved after {ATTEMPTS} attempts: {}{complaint}. The saved copies are in {}",
            differing.join(", "),
            set.display()
        ),
    ))
}

/// The objects that are there, one question a kind and namespace.
pub(super) async fn fetch<R: Remote>(
    remote: &R,
    objects: &[Object],
    scribe: &mut Scribe<'_>,
) -> Result<BTreeMap<Object, Value>, Trouble> {
    let mut places: BTreeMap<(&str, &str), Vec<&str>> = BTreeMap::new();
    for object in objects {
        places.entry((&object.kind, &object.namespace)).or_default().push(&object.name);
    }
    let mut found = BTreeMap::new();
    for ((kind, namespace), names) in places {
        let command = Command::new("k3s kubectl get")
            .arg(kind)
            .args(names)
            .fixed("-n")
            .arg(namespace)
            .fixed("--ignore-not-found -o json")
            .limit(16 << 20)
            .sensitive();
        let output = scribe.demand(remote, &command).await?;
        let text = output.text();
        // kubectl prints nothing at all where nothing was found, one object where one was, a List otherwise.
        if text.trim().is_empty() {
            continue;
        }
        let answer: Value = serde_json::from_str(&text).map_err(|_| {
            failed("unreadable-answer", "kubectl's answer about secrets is no JSON".to_owned())
        })?;
        let items = match answer["items"].as_array() {
            Some(items) => items.clone(),
            None => vec![answer],
        };
        for item in items {
            if let Some(name) = item["metadata"]["name"].as_str() {
                let (kind, namespace, name) = (kind.to_owned(), namespace.to_owned(), name.to_owned());
                found.insert(Object { kind, namespace, name }, item);
            }
        }
    }
    Ok(found)
}

/// The object with its metadata reduced to name and namespace, as the guide does: owner, labels and versions of the old life would
/// have it refused or removed.
fn bare(object: &Value) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": object["metadata"]["name"], "namespace": object["metadata"]["namespace"]},
        "type": object["type"],
        "data": object["data"].as_object().cloned().unwrap_or_default(),
    })
}

/// Whether two Secrets hold the same keys with the same bytes. Base64 as Kubernetes writes it is canonical, so text is compared.
fn same_data(one: &Value, other: &Value) -> bool {
    let data = |object: &Value| object["data"].as_object().cloned().unwrap_or_default();
    data(one) == data(other)
}

fn store(set: &Path, object: &Object, value: &Value) -> io::Result<()> {
    write_whole(&file(set, object), value.to_string().as_bytes())
}

fn load(set: &Path, object: &Object) -> io::Result<Value> {
    crate::files::read_json(&file(set, object))
}

fn failed(cause: &str, message: String) -> Trouble {
    Trouble::Failed(Failure::new(cause, message).read("docs/migrations.md#to-07"))
}
