//! Upgrades under way.

use serde::{Deserialize, Serialize};

/// Who is upgrading something right now.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Upgrades {
    /// Jobs `apply-<plan>-on-…` of the system-upgrade-controller that are active (facts section 3.7): `namespace/name`.
    pub k3s_jobs: Vec<String>,
    /// Replicas of the system-upgrade-controller; `None` where it is not installed.
    pub controller_replicas: Option<u64>,
    /// Helm releases left in a `pending-…` state: `namespace/name`, from Helm's release records.
    pub pending_releases: Vec<String>,
}
