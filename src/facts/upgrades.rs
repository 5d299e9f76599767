//! Upgrades under way.

use serde::{Deserialize, Serialize};

use super::kubernetes::List;
use crate::remote::Command;

/// Who is upgrading something right now.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Upgrades {
    /// Jobs `apply-<plan>-on-…` of the system-upgrade-controller that are active (facts section 3.7): `namespace/name`.
    pub k3s_jobs: Vec<String>,
    /// Replicas of the system-upgrade-controller; `None` where it is not installed.
    pub controller_replicas: Option<u64>,
    /// Its namespace; empty where it is not installed.
    #[serde(default)]
    pub controller_namespace: String,
    /// Helm releases left in a `pending-…` state: `namespace/name`, from Helm's release records.
    pub pending_releases: Vec<String>,
}

/// Asks for Helm's release records that are left in the middle of something. A record holds the chart's values.
#[must_use]
pub fn ask() -> Command {
    Command::new("k3s kubectl get secrets -A -l")
        .arg("owner=helm,status in (pending-install,pending-upgrade,pending-rollback)")
        .fixed("-o json")
        .limit(32 << 20)
        .sensitive()
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct JobStatus {
    active: u64,
}

#[derive(Deserialize)]
#[serde(default)]
struct DeploymentSpec {
    replicas: u64,
}

impl Default for DeploymentSpec {
    /// Kubernetes' own default.
    fn default() -> Self {
        Self { replicas: 1 }
    }
}

/// Reads the jobs and deployments, and the answer to [`ask`].
pub fn read(objects: &List, pending: &List) -> Result<Upgrades, String> {
    let mut upgrades = Upgrades::default();
    for item in objects.of("Job").filter(|item| item.metadata.name.starts_with("apply-")) {
        if item.status::<JobStatus>()?.active > 0 {
            upgrades.k3s_jobs.push(format!("{}/{}", item.metadata.namespace, item.metadata.name));
        }
    }
    for item in objects.of("Deployment").filter(|item| item.metadata.name == "system-upgrade-controller") {
        upgrades.controller_replicas = Some(item.spec::<DeploymentSpec>()?.replicas);
        upgrades.controller_namespace.clone_from(&item.metadata.namespace);
    }
    upgrades.pending_releases = pending
        .of("Secret")
        .map(|item| {
            let release = item.metadata.labels.get("name").unwrap_or(&item.metadata.name);
            format!("{}/{release}", item.metadata.namespace)
        })
        .collect();
    upgrades.pending_releases.sort();
    upgrades.pending_releases.dedup();
    Ok(upgrades)
}
