//! What makes this cluster itself and no other.

use serde::{Deserialize, Serialize};

use super::kubernetes::List;
use crate::remote::Command;

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

/// Asks for the machine's id.
#[must_use]
pub fn ask() -> Command {
    Command::new("cat /etc/machine-id 2>/dev/null || true")
}

/// Reads the machine's id and the namespaces.
pub fn read(machine_id: &str, objects: &List) -> Result<Identity, String> {
    let cluster_uid = objects
        .of("Namespace")
        .find(|namespace| namespace.metadata.name == "kube-system")
        .map(|namespace| namespace.metadata.uid.clone())
        .filter(|uid| !uid.is_empty())
        .ok_or("the cluster shows no namespace kube-system")?;
    let mut namespaces: Vec<String> =
        objects.of("Namespace").map(|namespace| namespace.metadata.name.clone()).collect();
    namespaces.sort();
    Ok(Identity { machine_id: machine_id.trim().to_owned(), cluster_uid, namespaces })
}
