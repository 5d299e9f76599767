//! Nodes of the cluster. Stackspin has one.

use serde::{Deserialize, Serialize};

/// One node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    /// Its name.
    pub name: String,
    /// Whether its Ready condition is True.
    pub ready: bool,
    /// `status.nodeInfo.kubeletVersion`: the k3s that runs.
    pub version: String,
    /// Pressure conditions that are True: `DiskPressure`.
    pub pressure: Vec<String>,
}
