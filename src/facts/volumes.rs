//! Persistent volumes and their folders on the host (facts section 3.2).

use serde::{Deserialize, Serialize};

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
}
