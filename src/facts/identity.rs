//! What makes this cluster itself and no other.

use serde::{Deserialize, Serialize};

/// Host and cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// `/etc/machine-id`; empty where the host has none.
    pub machine_id: String,
    /// UID of the namespace kube-system: the cluster's.
    pub cluster_uid: String,
    /// Every namespace.
    pub namespaces: Vec<String>,
}
