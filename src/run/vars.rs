//! Putting changed variables of `.flux.env` into one cluster (guide row G2; facts section 2.4).

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use secrecy::zeroize::Zeroizing;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::scribe::{Scribe, Trouble, here, well};
use super::unasked;
use super::window::ended;
use crate::event::{Failure, Outcome, What};
use crate::files::{make_folder, write_whole};
use crate::flux_env::{Change, Values, changes, is_something};
use crate::form::hex;
use crate::inventory::Cluster;
use crate::journal::Journal;
use crate::plan::Class;
use crate::remote::{Command, Remote, RemoteError, printable, quote};

/// The step's id.
pub const STEP: &str = "vars/apply";
/// Where to read on.
const READ: &str = "docs/windows.md#when-variables-are-not-applied";
/// The Secrets that may be it, newest first: after the renaming to Stackspin both are there until the clean-up.
const NAMES: [&str; 2] = ["stackspin-cluster-variables", "oas-cluster-variables"];

/// What is wanted of one cluster.
#[derive(Clone)]
pub struct Wanted {
    /// The variables of `.flux.env`.
    pub here: Values,
    /// [`Live::hash`] of the Secret as it was shown to the operator.
    pub shown: String,
    /// How long one kustomization may take to be reconciled.
    pub each: Duration,
}

impl std::fmt::Debug for Wanted {
    /// No values.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Wanted").field("keys", &self.here.keys()).finish_non_exhaustive()
    }
}

/// The Secret of a cluster, with its data. It has no `Debug` on purpose.
pub struct Live {
    /// Its name.
    pub name: String,
    /// Its values.
    pub values: Values,
    /// SHA-256 over its name and data.
    pub hash: String,
    object: Value,
}

/// Asks a cluster for its variables. `Ok(Err)` is why they cannot be told.
pub async fn look<R: Remote>(remote: &R) -> Result<Result<Live, String>, RemoteError> {
    let output = remote.ask(&question(), &mut io::sink()).await?;
    if !output.success() {
        // What it printed may hold the data.
        return Ok(Err(format!("kubectl ended with {}", output.exit)));
    }
    Ok(read(&Zeroizing::new(output.text().into_owned())))
}

fn question() -> Command {
    Command::new("k3s kubectl get secrets")
        .args(NAMES)
        .fixed("-n flux-system --ignore-not-found -o json")
        .limit(8 << 20)
        .sensitive()
}

fn read(answer: &str) -> Result<Live, String> {
    let none = || format!("flux-system has neither {} nor {}", NAMES[0], NAMES[1]);
    if answer.trim().is_empty() {
        return Err(none());
    }
    let answer: Value = serde_json::from_str(answer).map_err(|_| "kubectl's answer is no JSON".to_owned())?;
    let items = match answer["items"].as_array() {
        Some(items) => items.clone(),
        None => vec![answer],
    };
    let called = |name: &str| items.iter().find(|item| item["metadata"]["name"] == name);
    let (name, object) =
        NAMES.into_iter().find_map(|name| Some((name.to_owned(), called(name)?.clone()))).ok_or_else(none)?;
    let mut values = Values::new();
    let mut sum = Sha256::new();
    for (key, value) in object["data"].as_object().into_iter().flatten() {
        let text = value.as_str().unwrap_or_default();
        let bytes = STANDARD
            .decode(text)
            .map_err(|_| format!("the value of {} in {name} is no base64", printable(key)))?;
        sum.update(json!([key, text]).to_string());
        values.insert(key.clone(), Zeroizing::new(bytes));
    }
    sum.update(&name);
    Ok(Live { name, values, hash: hex(&sum.finalize()), object })
}

/// Puts what differs into the Secret, reads it back, and has every kustomization reconciled. The cluster's trouble is an [`Outcome`];
/// `Err` is this machine's own. `folder` is the cluster's folder in the run, where the old Secret is kept.
pub async fn carry<R: Remote>(
    remote: &R,
    cluster: &Cluster,
    wanted: &Wanted,
    (folder, log): (&Path, &Path),
    journal: &mut Journal,
) -> io::Result<Outcome> {
    let refused =
        |cause: &str, said: String| Outcome::Refused { failure: Failure::new(cause, said).read(READ) };
    let live = match look(remote).await {
        Ok(Ok(live)) => live,
        Ok(Err(why)) => return Ok(refused("no-variables", why)),
        Err(error) => return Ok(unasked(&error)),
    };
    let changes = changes(&wanted.here, &live.values);
    if !is_something(&changes) {
        journal
            .record(What::Noted { step: STEP.to_owned(), text: format!("{} has them already", live.name) })?;
        return Ok(Outcome::NothingToDo);
    }
    if live.hash != wanted.shown {
        let said = format!(
            "{} has changed since it was shown: look at the difference again, and type it again",
            live.name
        );
        return Ok(refused("vars-changed", said));
    }
    log.parent().map_or(Ok(()), make_folder)?;
    let kept = folder.join("kept").join(format!("{}.json", live.name));
    kept.parent().map_or(Ok(()), make_folder)?;
    write_whole(&kept, bare(&live.object).to_string().as_bytes())?;
    journal.record(What::StepStarted {
        step: STEP.to_owned(),
        title: format!("Change {} and have every kustomization reconciled", live.name),
        class: Class::Undoable,
        expected_seconds: 300,
    })?;
    let began = Instant::now();
    let mut scribe = Scribe::new(journal, STEP, log)?;
    let done = apply(remote, cluster, &live, wanted, (&changes, &kept), &mut scribe).await;
    ended(STEP, done, began, journal)
}

async fn apply<R: Remote>(
    remote: &R,
    cluster: &Cluster,
    live: &Live,
    wanted: &Wanted,
    (changes, kept): (&BTreeMap<String, Change>, &Path),
    scribe: &mut Scribe<'_>,
) -> Result<(), Trouble> {
    remote.changes();
    let mut object = live.object.clone();
    for (key, value) in &wanted.here {
        object["data"][key] = Value::String(STANDARD.encode(&**value));
    }
    // With the version that was read: if somebody else changes it meanwhile, this is refused.
    let replace = Command::new("k3s kubectl replace --validate=false -f -");
    let replaced = scribe.ask(remote, &replace.stdin(object.to_string().into_bytes()).sensitive()).await;
    let now = read_back(remote, scribe).await?;
    let same = |(key, value): (&String, &Zeroizing<Vec<u8>>)| {
        now.values.get(key).is_some_and(|now| **now == **value)
    };
    if !wanted.here.iter().all(same) {
        let how = match replaced {
            Ok(output) => output.exit.to_string(),
            Err(Trouble::Failed(failure) | Trouble::InDoubt(failure)) => failure.message,
        };
        let said = format!("{} is not as it should be: kubectl replace ended with {how}", live.name);
        return Err(Trouble::Failed(Failure::new("vars-not-set", said).read(READ)));
    }
    for (key, change) in changes {
        scribe.note(format!("{key} {change}"))?;
    }
    let (login, kept) = (cluster.login(), quote(&kept.display().to_string()));
    scribe.note(format!(
        "the old {} is kept in {kept}, for you alone to read. To put it back: ssh ssh://{login} k3s kubectl replace -f - < {kept}",
        live.name
    ))?;
    super::reconcile::all(remote, wanted.each, scribe).await
}

async fn read_back<R: Remote>(remote: &R, scribe: &mut Scribe<'_>) -> Result<Live, Trouble> {
    let output = well(&question(), scribe.repeat(remote, &question()).await?)?;
    let text = Zeroizing::new(output.text().into_owned());
    read(&text).map_err(|why| here(&io::Error::other(why)))
}

/// The Secret as it can be put back later: without what belongs to its present life alone.
pub(super) fn bare(object: &Value) -> Value {
    let mut object = object.clone();
    if let Some(metadata) = object["metadata"].as_object_mut() {
        for key in ["resourceVersion", "uid", "creationTimestamp", "managedFields", "generation"] {
            metadata.remove(key);
        }
    }
    object
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newer_secret_counts_and_its_hash_follows_its_data() {
        let secret = |name: &str, data: &str| {
            format!(r#"{{"metadata":{{"name":"{name}","resourceVersion":"7"}},"data":{data}}}"#)
        };
        let list = |items: &[String]| format!(r#"{{"items":[{}]}}"#, items.join(","));
        let of = |text: &str| read(text).ok().map(|live| (live.name, live.hash));
        let (old, new) = (secret(NAMES[1], r#"{"a":"MQ=="}"#), secret(NAMES[0], r#"{"a":"MQ=="}"#));
        let (name, hash) = of(&list(&[old.clone(), new.clone()])).unwrap();
        assert_eq!(name, NAMES[0]);
        assert_eq!(of(&new), Some((name, hash.clone())), "one alone is no list");
        assert_ne!(of(&old).unwrap().1, hash);
        assert_ne!(of(&secret(NAMES[0], r#"{"a":"Mg=="}"#)).unwrap().1, hash);
        assert!(read("").is_err_and(|why| why.contains("neither")));
        assert!(read(&secret(NAMES[0], r#"{"a":"hunter2!"}"#)).is_err_and(|why| !why.contains("hunter2")));
        assert_eq!(bare(&read(&new).ok().unwrap().object)["metadata"], json!({"name": NAMES[0]}));
    }
}
