//! Claims to volumes.

use serde::{Deserialize, Serialize};

use super::kubernetes::List;

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

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Spec {
    volume_name: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Status {
    phase: String,
}

/// Reads the claims, in order of namespace and name.
pub fn read(objects: &List) -> Result<Vec<Claim>, String> {
    let mut claims = objects
        .of("PersistentVolumeClaim")
        .map(|item| {
            Ok(Claim {
                namespace: item.metadata.namespace.clone(),
                name: item.metadata.name.clone(),
                uid: item.metadata.uid.clone(),
                phase: item.status::<Status>()?.phase,
                volume: item.spec::<Spec>()?.volume_name,
            })
        })
        .collect::<Result<Vec<_>, String>>()?;
    claims.sort_by(|a, b| (&a.namespace, &a.name).cmp(&(&b.namespace, &b.name)));
    Ok(claims)
}
