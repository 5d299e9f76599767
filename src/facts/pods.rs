//! Pods.

use serde::{Deserialize, Serialize};

/// All pods in short, the failing ones by name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pods {
    /// How many there are.
    pub total: u64,
    /// Those that neither run ready nor ended well.
    pub failing: Vec<Pod>,
}

/// A failing pod.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Pod {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// `Pending`, `Running`, `Failed`…
    pub phase: String,
    /// `CrashLoopBackOff`, `ImagePullBackOff`…; empty where Kubernetes says none.
    pub reason: String,
    /// Restarts of its containers in all.
    pub restarts: u64,
    /// Kind and name of its controller without the random tail: `Deployment nc-nextcloud`; empty where none.
    pub owner: String,
}
