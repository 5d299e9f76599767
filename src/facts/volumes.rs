//! Persistent volumes and their folders on the host (facts section 3.2).

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::kubernetes::{List, bytes};
use crate::remote::Command;

/// The annotation of a volume with its policy from before `fleet` moved its claim, for the clean-up to give back (facts section 7).
pub const POLICY_BEFORE: &str = "stackspin-fleet/policy-before-move";

/// A PersistentVolume.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Volume {
    /// Its name.
    pub name: String,
    /// `Bound`, `Released`, `Available`, `Failed`.
    pub phase: String,
    /// `Delete` or `Retain`.
    pub policy: String,
    /// The folder, as the PV says (`spec.hostPath.path` or `spec.local.path`); empty for any other kind of volume.
    pub folder: String,
    /// Whether the folder is there.
    pub exists: bool,
    /// Bytes used in the folder.
    pub used: u64,
    /// Bytes asked for by `spec.capacity.storage`.
    pub size: u64,
    /// The storage class.
    pub class: String,
    /// `pv.kubernetes.io/provisioned-by`.
    pub provisioner: String,
    /// Namespace of `spec.claimRef`; empty where there is none.
    pub claim_namespace: String,
    /// Name of `spec.claimRef`.
    pub claim: String,
    /// What [`POLICY_BEFORE`] says; empty where there is no such annotation.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub policy_before: String,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Spec {
    capacity: BTreeMap<String, String>,
    host_path: Folder,
    local: Folder,
    persistent_volume_reclaim_policy: String,
    storage_class_name: String,
    claim_ref: Reference,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Folder {
    path: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Reference {
    namespace: String,
    name: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Status {
    phase: String,
}

/// Reads the volumes, in order of name. Their folders are not looked into yet: [`measure`] does.
pub fn read(objects: &List) -> Result<Vec<Volume>, String> {
    let mut volumes = objects
        .of("PersistentVolume")
        .map(|item| {
            let spec: Spec = item.spec()?;
            let size = match spec.capacity.get("storage") {
                None => 0,
                Some(text) => bytes(text)
                    .ok_or_else(|| format!("{} has a capacity that is no size: {text:?}", item.title()))?,
            };
            let folder = if spec.host_path.path.is_empty() { spec.local.path } else { spec.host_path.path };
            let provisioner = item.metadata.annotations.get("pv.kubernetes.io/provisioned-by");
            Ok(Volume {
                name: item.metadata.name.clone(),
                phase: item.status::<Status>()?.phase,
                policy: spec.persistent_volume_reclaim_policy,
                folder,
                exists: false,
                used: 0,
                size,
                class: spec.storage_class_name,
                provisioner: provisioner.cloned().unwrap_or_default(),
                claim_namespace: spec.claim_ref.namespace,
                claim: spec.claim_ref.name,
                policy_before: item.metadata.annotations.get(POLICY_BEFORE).cloned().unwrap_or_default(),
            })
        })
        .collect::<Result<Vec<_>, String>>()?;
    volumes.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(volumes)
}

/// The folders in which the volumes' folders lie, each once.
#[must_use]
pub fn parents(volumes: &[Volume]) -> Vec<String> {
    let mut parents: Vec<String> = volumes
        .iter()
        .filter_map(|volume| volume.folder.trim_end_matches('/').rsplit_once('/'))
        .map(|(parent, _)| if parent.is_empty() { "/".to_owned() } else { parent.to_owned() })
        .collect();
    parents.sort();
    parents.dedup();
    parents
}

/// Asks for the folders' sizes. Counting the files of large volumes takes its time.
#[must_use]
pub fn ask(volumes: &[Volume]) -> Command {
    let ask = Command::new(
        r#"n=0; size() { n=$((n + 1)); echo "volume $n"
if [ -d "$1" ]; then du -s --block-size=1 -- "$1" 2>&1 | cut -f 1; else echo absent; fi; }; :"#,
    );
    volumes
        .iter()
        .filter(|volume| !volume.folder.is_empty())
        .fold(ask, |ask, volume| ask.fixed("; size").arg(&volume.folder))
        .deadline(Duration::from_secs(300))
}

/// Reads the sizes into the volumes that were asked about.
pub fn measure(mut volumes: Vec<Volume>, answer: &str) -> Result<Vec<Volume>, String> {
    let mut lines = answer.lines().map(str::trim).peekable();
    for (index, volume) in volumes.iter_mut().filter(|volume| !volume.folder.is_empty()).enumerate() {
        let unknown = |why: &str| format!("the size of {} is not known: {why}", volume.folder);
        if lines.next() != Some(format!("volume {}", index + 1).as_str()) {
            return Err(unknown("the answer lacks it"));
        }
        let mut said = Vec::new();
        while let Some(line) = lines.next_if(|line| !is_heading(line)) {
            // In a living folder files come and go under du's hands; any other complaint means that it did not see all.
            if !line.ends_with("No such file or directory") {
                said.push(line);
            }
        }
        match said[..] {
            ["absent"] => {}
            [size] if size.bytes().all(|byte| byte.is_ascii_digit()) => {
                volume.used = size.parse().map_err(|_| unknown(size))?;
                volume.exists = true;
            }
            [] => return Err(unknown("du told nothing")),
            ref other => return Err(unknown(&other.join(" / "))),
        }
    }
    Ok(volumes)
}

fn is_heading(line: &str) -> bool {
    line.strip_prefix("volume ").is_some_and(|number| number.bytes().all(|byte| byte.is_ascii_digit()))
}
