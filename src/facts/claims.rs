//! Claims to volumes.

use serde::{Deserialize, Serialize};

/// A PersistentVolumeClaim.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Claim {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its UID.
    pub uid: String,
    /// `Bound`, `Pending`, `Lost`.
    pub phase: String,
    /// The volume it is bound to; empty where none.
    pub volume: String,
}
