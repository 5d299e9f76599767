//! Where the move of a claim stands, and what is next: rules over one answer of the API, pure.
//!
//! | volume | reserved for | old claim | new claim | next |
//! |---|---|---|---|---|
//! | Bound | the old claim | bound | none | once no pod uses it: Retain and the record, both read back; then the old claim is deleted |
//! | Bound | the old claim | being deleted | none | wait |
//! | Released | the old claim | gone | none | reserved for the new claim, without a uid |
//! | Available | the new claim | gone | none | the new claim is made from the record |
//! | Available, Bound | the new claim | gone | pending | wait |
//! | Bound | the new claim | gone | bound | done |
//!
//! Whatever else is found stops the move. Before any row a volume whose policy is not Retain gets it.

use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::facts::kubernetes::{Item, List};
use crate::plan::MoveClaim;
use crate::remote::Command;
use crate::run::onward::{Act, Next};

pub(super) use crate::facts::volumes::POLICY_BEFORE;
/// The annotation of a volume with the claim that is to be made: whoever goes on with the move finds it there, the old claim gone.
pub(in crate::run) const NEW_CLAIM: &str = "stackspin-fleet/new-claim";

/// What is next, by a list of namespaces, volumes, claims and pods.
pub(super) fn next(what: &MoveClaim, list: &List) -> Result<Next, String> {
    Seen::read(what, list).map(|seen| seen.next(what))
}

/// What of the cluster concerns the move.
struct Seen {
    volume: Option<Volume>,
    old: Option<Claim>,
    new: Option<Claim>,
    /// The pods that mount the old claim. One that has ended counts too: Kubernetes holds the claim until it is gone.
    users: Vec<String>,
    /// Whether the new namespace is there to stay.
    ready: bool,
}

struct Volume {
    version: String,
    phase: String,
    policy: String,
    leaving: bool,
    holder: Holder,
    policy_before: Option<String>,
    record: Option<Value>,
}

/// For whom a volume is reserved.
#[derive(PartialEq)]
enum Holder {
    Nobody,
    Old,
    /// The new claim, whichever it is or one of this uid.
    New(String),
    Other(String),
}

struct Claim {
    uid: String,
    phase: String,
    volume: String,
    leaving: bool,
    /// As it would be made in the new namespace.
    anew: Value,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct VolumeSpec {
    persistent_volume_reclaim_policy: String,
    claim_ref: Option<ClaimRef>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ClaimRef {
    namespace: String,
    name: String,
    uid: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Phase {
    phase: String,
}

/// Names of the pods that mount a claim, those that have ended among them: the claim is protected from deletion until they are gone.
pub(super) fn users(namespace: &str, claim: &str, list: &List) -> Result<Vec<String>, String> {
    let mut users = Vec::new();
    for pod in list.of("Pod").filter(|pod| pod.metadata.namespace == namespace) {
        let spec: Value = pod.spec()?;
        let mut volumes = spec["volumes"].as_array().into_iter().flatten();
        if volumes.any(|volume| volume["persistentVolumeClaim"]["claimName"] == *claim) {
            users.push(pod.metadata.name.clone());
        }
    }
    Ok(users)
}

impl Seen {
    fn read(what: &MoveClaim, list: &List) -> Result<Self, String> {
        let claim = |namespace: &str| {
            list.of("PersistentVolumeClaim")
                .find(|item| item.metadata.namespace == *namespace && item.metadata.name == what.claim)
                .map(|item| Claim::read(what, item))
                .transpose()
        };
        let users = users(&what.from, &what.claim, list)?;
        Ok(Self {
            volume: list
                .of("PersistentVolume")
                .find(|item| item.metadata.name == what.volume)
                .map(|item| Volume::read(what, item))
                .transpose()?,
            old: claim(&what.from)?,
            new: claim(&what.to)?,
            users,
            ready: list
                .of("Namespace")
                .any(|item| item.metadata.name == what.to && item.metadata.deletion_timestamp.is_none()),
        })
    }

    fn next(&self, what: &MoveClaim) -> Next {
        let MoveClaim { from, to, claim, volume } = what;
        let Some(held) = &self.volume else {
            return stop(
                "volume-gone",
                format!("there is no volume {volume}; the backup has what was in it"),
            );
        };
        if held.leaving || held.phase == "Failed" {
            return stop("volume-gone", format!("volume {volume} is being deleted, or has failed"));
        }
        if let Holder::Other(other) = &held.holder {
            return stop("volume-taken", format!("volume {volume} is now reserved for {other}"));
        }
        let mine = self.old.as_ref().filter(|old| old.volume == *volume);
        let record = mine.map(|old| &old.anew);
        if held.policy != "Retain" || (record.is_some() && record != held.record.as_ref()) {
            return Next::Do(held.retain(what, record));
        }
        match (&held.holder, &self.old, &self.new) {
            (Holder::Nobody | Holder::Old, Some(old), _) if mine.is_none() => stop(
                "claim-changed",
                format!(
                    "claim {from}/{claim} is bound to {}, not to {volume}: somebody made it anew. Look which of the two holds the data",
                    if old.volume.is_empty() { "nothing" } else { &old.volume }
                ),
            ),
            (Holder::Nobody | Holder::Old, Some(old), new) => self.leave(what, held, old, new.as_ref()),
            (Holder::Nobody | Holder::Old, None, new) if held.is_free() => held.reserve(what, new.is_some()),
            (Holder::New(_), _, Some(new)) if !new.volume.is_empty() && new.volume != *volume => {
                taken(what, new)
            }
            (Holder::New(uid), _, Some(new))
                if new.is_bound() && *uid == new.uid && held.phase == "Bound" =>
            {
                let before = held.policy_before.as_deref().unwrap_or("not known");
                Next::Done(format!(
                    "claim {to}/{claim} is bound to {volume}, whose policy is Retain (before: {before})"
                ))
            }
            (Holder::New(uid), _, None) if !uid.is_empty() && held.phase == "Released" => {
                held.reserve(what, false)
            }
            (Holder::New(uid), _, None) if uid.is_empty() && held.phase == "Available" => held.create(what),
            (_, _, new) => {
                let claim = new.as_ref().map_or("not there", |new| new.phase.as_str());
                let why = format!("volume {volume} is {}, claim {to}/{} is {claim}", held.phase, what.claim);
                Next::Wait("claim-not-moved", why)
            }
        }
    }

    /// The old claim holds the volume: it is deleted once nothing uses it, and not before all that comes after can be done.
    fn leave(&self, what: &MoveClaim, held: &Volume, old: &Claim, new: Option<&Claim>) -> Next {
        let MoveClaim { from, to, claim, volume } = what;
        if let Some(new) = new.filter(|new| new.volume != *volume) {
            return taken(what, new);
        }
        if !self.ready {
            return stop("no-namespace", format!("there is no namespace {to}, or it is being deleted"));
        }
        if !self.users.is_empty() {
            let pods = self.users.join(", ");
            return Next::Wait("claim-in-use", format!("claim {from}/{claim} is used by pods: {pods}"));
        }
        if old.leaving {
            return Next::Wait("claim-not-moved", format!("claim {from}/{claim} is being deleted"));
        }
        if !old.is_bound() || held.phase != "Bound" {
            let why = format!("claim {from}/{claim} is {}, its volume {volume} is {}", old.phase, held.phase);
            return Next::Wait("claim-not-moved", why);
        }
        Next::Do(Act {
            cause: "claim-not-deleted",
            says: format!("the policy of {volume} is read once more, and claim {from}/{claim} deleted"),
            // In one command, so that nothing comes between them but the API's own time.
            command: Command::new(r#"[ "$(k3s kubectl get persistentvolumes"#)
                .arg(volume)
                .fixed(
                    r#"-o jsonpath='{.spec.persistentVolumeReclaimPolicy}')" = Retain ] && k3s kubectl delete persistentvolumeclaims"#,
                )
                .arg(claim)
                .fixed("-n")
                .arg(from)
                .fixed("--wait=false"),
        })
    }
}

impl Volume {
    fn read(what: &MoveClaim, item: &Item) -> Result<Self, String> {
        let spec: VolumeSpec = item.spec()?;
        let holder = match spec.claim_ref {
            None => Holder::Nobody,
            Some(of) if of.name == what.claim && of.namespace == what.from => Holder::Old,
            Some(of) if of.name == what.claim && of.namespace == what.to => Holder::New(of.uid),
            Some(of) => Holder::Other(format!("{}/{}", of.namespace, of.name)),
        };
        let annotation = |name: &str| item.metadata.annotations.get(name).cloned();
        Ok(Self {
            version: item.metadata.resource_version.clone(),
            phase: item.status::<Phase>()?.phase,
            policy: spec.persistent_volume_reclaim_policy,
            leaving: item.metadata.deletion_timestamp.is_some(),
            holder,
            policy_before: annotation(POLICY_BEFORE),
            // One that cannot be read, or is of another move, is none.
            record: annotation(NEW_CLAIM)
                .and_then(|text| serde_json::from_str(&text).ok())
                .filter(|record| is_of(record, what)),
        })
    }

    /// Whether its claim is gone and its data kept.
    fn is_free(&self) -> bool {
        match self.holder {
            Holder::Nobody => self.phase == "Available",
            _ => self.phase == "Released",
        }
    }

    /// Retain, with the record of what was and what is to be. The next look reads it back.
    fn retain(&self, what: &MoveClaim, record: Option<&Value>) -> Act {
        let before = self.policy_before.as_ref().unwrap_or(&self.policy);
        let mut annotations = json!({POLICY_BEFORE: before});
        if let Some(record) = record {
            annotations[NEW_CLAIM] = json!(record.to_string());
        }
        let patch = json!({
            "metadata": {"annotations": annotations},
            "spec": {"persistentVolumeReclaimPolicy": "Retain"},
        });
        Act {
            cause: "not-retained",
            says: format!("volume {} gets policy Retain (found: {})", what.volume, self.policy),
            command: Self::patch(what, &patch),
        }
    }

    /// Kept for the new claim, of whatever uid. Only as the volume was seen: another's change in between refuses it.
    /// Not where nobody could make that claim.
    fn reserve(&self, what: &MoveClaim, made: bool) -> Next {
        if self.record.is_none() && !made {
            return no_record(what);
        }
        let patch = json!({
            "metadata": {"resourceVersion": self.version},
            "spec": {"claimRef": {
                "apiVersion": "v1", "kind": "PersistentVolumeClaim",
                "namespace": what.to, "name": what.claim, "uid": null, "resourceVersion": null,
            }},
        });
        Next::Do(Act {
            cause: "volume-not-reserved",
            says: format!("volume {} is reserved for claim {}/{}", what.volume, what.to, what.claim),
            command: Self::patch(what, &patch),
        })
    }

    fn patch(what: &MoveClaim, patch: &Value) -> Command {
        Command::new("k3s kubectl patch persistentvolumes")
            .arg(&what.volume)
            .fixed("--type merge -p")
            .arg(patch.to_string())
    }

    fn create(&self, what: &MoveClaim) -> Next {
        let MoveClaim { to, claim, volume, .. } = what;
        let Some(record) = &self.record else { return no_record(what) };
        Next::Do(Act {
            cause: "claim-not-made",
            says: format!("claim {to}/{claim} is made for volume {volume}"),
            command: Command::new("k3s kubectl create --validate=false -f -")
                .stdin(record.to_string().into_bytes()),
        })
    }
}

impl Claim {
    fn read(what: &MoveClaim, item: &Item) -> Result<Self, String> {
        let spec: Value = item.spec()?;
        Ok(Self {
            uid: item.metadata.uid.clone(),
            phase: item.status::<Phase>()?.phase,
            volume: spec["volumeName"].as_str().unwrap_or_default().to_owned(),
            leaving: item.metadata.deletion_timestamp.is_some(),
            anew: anew(what, item, &spec),
        })
    }

    fn is_bound(&self) -> bool {
        self.phase == "Bound" && !self.leaving
    }
}

/// The claim as it is made in the new namespace: what was asked for, and the marks of operators; nothing of its binding, of its life, or of
/// who applied it (facts section 7, step 5).
fn anew(what: &MoveClaim, item: &Item, spec: &Value) -> Value {
    const NOT_KEPT: [&str; 9] = [
        "app.kubernetes.io/managed-by",
        "helm.sh/",
        "helm.toolkit.fluxcd.io/",
        "kubectl.kubernetes.io/",
        "kustomize.toolkit.fluxcd.io/",
        "meta.helm.sh/",
        "pv.kubernetes.io/",
        "volume.beta.kubernetes.io/storage-provisioner",
        "volume.kubernetes.io/",
    ];
    let kept = |marks: &std::collections::BTreeMap<String, String>| -> Map<String, Value> {
        let dropped = |name: &str| NOT_KEPT.iter().any(|begin| name.starts_with(begin));
        let marks = marks.iter().filter(|(name, _)| !dropped(name));
        marks.map(|(name, value)| (name.clone(), json!(value))).collect()
    };
    let mut asked = json!({"volumeName": what.volume});
    for field in ["accessModes", "resources", "storageClassName", "volumeMode"] {
        if !spec[field].is_null() {
            asked[field] = spec[field].clone();
        }
    }
    json!({
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {
            "name": what.claim, "namespace": what.to,
            "labels": kept(&item.metadata.labels), "annotations": kept(&item.metadata.annotations),
        },
        "spec": asked,
    })
}

/// Whether a record is that of this very claim.
fn is_of(record: &Value, what: &MoveClaim) -> bool {
    record["kind"] == json!("PersistentVolumeClaim")
        && record["metadata"]["name"] == json!(what.claim)
        && record["metadata"]["namespace"] == json!(what.to)
        && record["spec"]["volumeName"] == json!(what.volume)
}

fn taken(what: &MoveClaim, new: &Claim) -> Next {
    let volume = if new.volume.is_empty() { "no volume yet" } else { &new.volume };
    stop("claim-taken", format!("there is a claim {}/{} already, with {volume}", what.to, what.claim))
}

fn no_record(what: &MoveClaim) -> Next {
    let MoveClaim { from, claim, volume, .. } = what;
    let why = format!(
        "claim {from}/{claim} is gone, and annotation {NEW_CLAIM} of volume {volume} does not say what it was"
    );
    stop("no-record", why)
}

fn stop(cause: &'static str, why: String) -> Next {
    Next::Stop(cause, why)
}
