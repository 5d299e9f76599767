//! Nodes of the cluster. Stackspin has one.

use serde::{Deserialize, Serialize};

use super::kubernetes::List;

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

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Status {
    conditions: Vec<Condition>,
    node_info: Info,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Condition {
    #[serde(rename = "type")]
    kind: String,
    status: String,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Info {
    kubelet_version: String,
}

/// Reads the nodes.
pub fn read(objects: &List) -> Result<Vec<Node>, String> {
    objects
        .of("Node")
        .map(|item| {
            let status: Status = item.status()?;
            let is_true = |condition: &&Condition| condition.status == "True";
            let pressure = |kind: &str| kind.ends_with("Pressure") || kind == "NetworkUnavailable";
            Ok(Node {
                name: item.metadata.name.clone(),
                ready: status.conditions.iter().filter(is_true).any(|condition| condition.kind == "Ready"),
                version: status.node_info.kubelet_version,
                pressure: status
                    .conditions
                    .iter()
                    .filter(is_true)
                    .filter(|condition| pressure(&condition.kind))
                    .map(|condition| condition.kind.clone())
                    .collect(),
            })
        })
        .collect()
}
