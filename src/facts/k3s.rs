//! k3s and its datastore.

use serde::{Deserialize, Serialize};

/// The service on the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct K3s {
    /// `v1.27.4+k3s1`, from `k3s --version`.
    pub version: String,
    /// systemd's word: `active`, `inactive`, `failed`…
    pub service: String,
    /// Where the cluster's state is.
    pub datastore: Datastore,
    /// Bytes of `server/db`.
    pub size: u64,
}

/// Kinds of k3s datastore (facts section 3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Datastore {
    /// `server/db/state.db`.
    Sqlite,
    /// `server/db/etcd/`.
    Etcd,
    /// Neither is there.
    Absent,
}
