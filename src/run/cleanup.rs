//! Cleaning up after 0.8: volumes get the policy back that they had before their claims were moved, and what was copied under its new name
//! loses the old one (guide, "Upgrading to 0.8", its clean-up; facts sections 6.2 and 7; guide row G7).

use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::claim::NEW_CLAIM;
use super::onward::{self, Act, Next};
use super::scribe::{Scribe, Trouble, here};
use super::window::ended;
use super::{objects, unasked, vars};
use crate::event::{Failure, Outcome, What};
use crate::facts::kubernetes::{Item, List};
use crate::facts::volumes::POLICY_BEFORE;
use crate::facts::{self, old_names};
use crate::files::{make_folder, read_json, write_whole};
use crate::form::count;
use crate::inventory::Cluster;
use crate::journal::Journal;
use crate::plan::{Class, Object};
use crate::remote::{Command, Remote, RemoteError, quote};

mod listing;
pub use listing::{GiveBack, Listing};

/// The step's id.
pub const STEP: &str = "cleanup-0.8/clean-up";
/// Where to read on when it fails.
const READ: &str = "docs/cleanup.md#when-a-clean-up-fails";
/// What one volume may take.
const EACH: Duration = Duration::from_secs(60);

/// What is wanted of all clusters.
#[derive(Debug, Clone)]
pub struct Wish {
    /// The root of all backups: one of the facts looks there.
    pub backups: PathBuf,
    /// Ids of the warnings that the operator has acknowledged.
    pub acknowledged: Vec<String>,
    /// Old objects, as `namespace/name`, that go though their copy is missing or differs.
    pub also: Vec<String>,
}

/// Asks a cluster what is to be cleaned up. `Ok(Err)` is why nothing must be. Changes nothing.
pub async fn look<R: Remote>(
    remote: &R,
    cluster: &Cluster,
    wish: &Wish,
) -> Result<Result<Listing, Failure>, RemoteError> {
    let facts = facts::gather(remote, cluster, &wish.backups).await?;
    let old = old_names::look(remote).await?;
    Ok(listing::list(&facts, &old, &wish.acknowledged, &wish.also))
}

/// Cleans up what was shown, if that is still what there is. The cluster's trouble is an [`Outcome`]; `Err` is this machine's own. `folder`
/// is the cluster's folder in the run, where the deleted objects are kept.
pub async fn carry<R: Remote>(
    remote: &R,
    cluster: &Cluster,
    (wish, shown): (&Wish, &Listing),
    (folder, log): (&Path, &Path),
    journal: &mut Journal,
) -> io::Result<Outcome> {
    let listing = match look(remote, cluster, wish).await {
        Ok(Ok(listing)) => listing,
        Ok(Err(failure)) => return Ok(Outcome::Refused { failure }),
        Err(error) => return Ok(unasked(&error)),
    };
    if listing.is_nothing() {
        return Ok(Outcome::NothingToDo);
    }
    if !listing.does_the_same(shown) {
        let said =
            "what is to be cleaned up has changed since it was shown: look at it again, and type it again";
        return Ok(Outcome::Refused { failure: Failure::new("cleanup-changed", said).read(listing::READ) });
    }
    log.parent().map_or(Ok(()), make_folder)?;
    journal.record(What::StepStarted {
        step: STEP.to_owned(),
        title: "Give volumes their policy back, and delete what has been copied under its new name"
            .to_owned(),
        class: Class::Irreversible,
        expected_seconds: 30,
    })?;
    let began = Instant::now();
    let mut scribe = Scribe::new(journal, STEP, log)?;
    let done = clean(remote, cluster, &listing, &folder.join("kept"), &mut scribe).await;
    ended(STEP, done, began, journal)
}

async fn clean<R: Remote>(
    remote: &R,
    cluster: &Cluster,
    listing: &Listing,
    kept: &Path,
    scribe: &mut Scribe<'_>,
) -> Result<(), Trouble> {
    remote.changes();
    if !listing.objects.is_empty() {
        keep(remote, cluster, &listing.objects, kept, scribe).await?;
    }
    let ask = onward::objects("persistentvolumes,persistentvolumeclaims");
    for one in &listing.volumes {
        onward::go(remote, &ask, |list| next(one, list), EACH, scribe).await?;
    }
    delete(remote, &listing.objects, scribe).await
}

/// The objects are here, read back, before any is deleted.
async fn keep<R: Remote>(
    remote: &R,
    cluster: &Cluster,
    objects: &[Object],
    kept: &Path,
    scribe: &mut Scribe<'_>,
) -> Result<(), Trouble> {
    make_folder(kept).map_err(|error| here(&error))?;
    let live = objects::fetch(remote, objects, scribe).await?;
    for object in objects {
        // One that is gone meanwhile is as it should be.
        let Some(found) = live.get(object) else { continue };
        let file = kept.join(format!("{}_{}_{}.json", object.kind, object.namespace, object.name));
        let bare = vars::bare(found);
        write_whole(&file, bare.to_string().as_bytes()).map_err(|error| here(&error))?;
        if read_json::<Value>(&file).map_err(|error| here(&error))? != bare {
            return Err(here(&io::Error::other(format!("{} is not as it was written", file.display()))));
        }
    }
    scribe.note(format!(
        "what is deleted is kept in {}, for you alone to read. To put one back: ssh ssh://{} k3s kubectl create -f - < FILE",
        quote(&kept.display().to_string()),
        cluster.login()
    ))
}

/// One question a kind and namespace; nothing that is not listed.
async fn delete<R: Remote>(remote: &R, objects: &[Object], scribe: &mut Scribe<'_>) -> Result<(), Trouble> {
    if objects.is_empty() {
        return Ok(());
    }
    for object in objects {
        let command = Command::new("k3s kubectl delete")
            .arg(&object.kind)
            .arg(&object.name)
            .fixed("-n")
            .arg(&object.namespace)
            .fixed("--ignore-not-found");
        scribe.note(format!("{object} is deleted"))?;
        // Judged by what is still there.
        scribe.repeat(remote, &command).await?;
    }
    let left = objects::fetch(remote, objects, scribe).await?;
    if left.is_empty() {
        return scribe.note(format!("{} deleted", count(objects.len(), "object")));
    }
    let names: Vec<String> = left.keys().map(ToString::to_string).collect();
    let said = format!("still there: {}", names.join(", "));
    Err(Trouble::Failed(Failure::new("not-deleted", said).read(READ)))
}

/// What is next for a volume: its policy, only as long as it is bound to its claim; once that is read back, the records of the move go.
fn next(what: &GiveBack, list: &List) -> Result<Next, String> {
    let GiveBack { volume, namespace, claim, policy } = what;
    let stop = |cause, why: String| Ok(Next::Stop(cause, why));
    let Some(held) = list.of("PersistentVolume").find(|item| item.metadata.name == *volume) else {
        return stop("volume-gone", format!("there is no volume {volume} any more"));
    };
    if !is_bound(what, held, list)? {
        let why =
            format!("volume {volume} is no longer bound to {namespace}/{claim}: its policy stays as it is");
        return stop("volume-not-bound", why);
    }
    let spec: Value = held.spec()?;
    let patch = |change: Value| {
        let mut change = change;
        // Only as it was seen: a volume that loses its claim in between must not be deleted with it.
        change["metadata"]["resourceVersion"] = json!(held.metadata.resource_version);
        let command = Command::new("k3s kubectl patch persistentvolumes").arg(volume);
        command.fixed("--type merge -p").arg(change.to_string())
    };
    if spec["persistentVolumeReclaimPolicy"] != json!(policy) {
        return Ok(Next::Do(Act {
            cause: "policy-not-set",
            says: format!("volume {volume} of {namespace}/{claim} gets policy {policy} back"),
            command: patch(json!({"spec": {"persistentVolumeReclaimPolicy": policy}})),
        }));
    }
    if [POLICY_BEFORE, NEW_CLAIM].iter().any(|name| held.metadata.annotations.contains_key(*name)) {
        return Ok(Next::Do(Act {
            cause: "record-not-removed",
            says: format!("the record of the move is taken from volume {volume}"),
            command: patch(json!({"metadata": {"annotations": {POLICY_BEFORE: null, NEW_CLAIM: null}}})),
        }));
    }
    Ok(Next::Done(format!("volume {volume} of {namespace}/{claim} has policy {policy}")))
}

fn is_bound(what: &GiveBack, held: &Item, list: &List) -> Result<bool, String> {
    let (spec, status): (Value, Value) = (held.spec()?, held.status()?);
    let claim = list
        .of("PersistentVolumeClaim")
        .find(|item| item.metadata.namespace == what.namespace && item.metadata.name == what.claim);
    let Some(claim) = claim.filter(|claim| claim.metadata.deletion_timestamp.is_none()) else {
        return Ok(false);
    };
    let of: Value = claim.spec()?;
    Ok(held.metadata.deletion_timestamp.is_none()
        && status["phase"] == json!("Bound")
        && spec["claimRef"]["uid"] == json!(claim.metadata.uid)
        && of["volumeName"] == json!(what.volume))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn says(policy: &str, annotations: &Value, phase: &str, uid: &str) -> String {
        let what = ["pvc-1", "stackspin-apps", "data", "Delete"].map(str::to_owned);
        let [volume, namespace, claim, back] = what;
        let list = json!({"items": [
            {"kind": "PersistentVolume", "metadata": {"name": "pvc-1", "resourceVersion": "7", "annotations": annotations},
                "spec": {"persistentVolumeReclaimPolicy": policy, "claimRef": {"uid": uid}}, "status": {"phase": phase}},
            {"kind": "PersistentVolumeClaim", "metadata": {"name": "data", "namespace": "stackspin-apps", "uid": "u"},
                "spec": {"volumeName": "pvc-1"}}]});
        let what = GiveBack { volume, namespace, claim, policy: back };
        match next(&what, &List::read(&list.to_string()).unwrap()).unwrap() {
            Next::Done(_) => "done".to_owned(),
            Next::Do(act) => format!("{}: {}", act.cause, act.command),
            Next::Wait(cause, _) => format!("wait: {cause}"),
            Next::Stop(cause, _) => format!("stop: {cause}"),
        }
    }

    #[test]
    fn the_record_goes_when_the_policy_is_read_back_and_an_unbound_volume_is_left_alone() {
        let record = json!({POLICY_BEFORE: "Delete", NEW_CLAIM: "{}"});
        let said = says("Retain", &record, "Bound", "u");
        assert!(
            said.starts_with("policy-not-set: k3s kubectl patch persistentvolumes pvc-1 --type merge"),
            "{said}"
        );
        assert!(said.contains(r#""resourceVersion":"7""#) && !said.contains("annotations"), "{said}");
        let said = says("Delete", &record, "Bound", "u");
        assert!(said.starts_with("record-not-removed: ") && said.contains(r#""annotations""#), "{said}");
        assert_eq!(says("Delete", &json!({}), "Bound", "u"), "done");
        assert_eq!(says("Retain", &record, "Released", "u"), "stop: volume-not-bound");
        assert_eq!(says("Retain", &record, "Bound", "another"), "stop: volume-not-bound");
    }
}
