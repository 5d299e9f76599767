//! Secrets: name, key names and a hash of the data. Never the data.

use serde::{Deserialize, Serialize};

/// A Secret. Helm's own release records are left out.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Secret {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// `Opaque`.
    pub kind: String,
    /// Names of its keys, sorted.
    pub keys: Vec<String>,
    /// Names of keys whose value is empty.
    pub empty: Vec<String>,
    /// SHA-256 over keys and values, in hex: equal when and only when the data is equal.
    pub hash: String,
    /// Whether a controller makes it anew by itself (service account tokens, cert-manager, Helm, k3s): then a change of its data means nothing.
    pub managed: bool,
}
