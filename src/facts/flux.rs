//! Flux: sources, kustomizations and Helm releases, of every API vintage (facts section 5.1).

use serde::{Deserialize, Serialize};

/// What Flux has.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flux {
    /// Flux's own version, from the label `app.kubernetes.io/version` of its namespace; empty where there is none.
    pub version: String,
    /// Whether the CRD of the Flux 1 helm-operator is there (0.5 and older).
    pub flux_1: bool,
    /// GitRepositories of every namespace.
    pub sources: Vec<Source>,
    /// Kustomizations of every namespace.
    pub kustomizations: Vec<Kustomization>,
    /// HelmReleases of every namespace.
    pub releases: Vec<Release>,
}

/// The Ready condition of a Flux object, and whether it speaks of the present generation.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Ready {
    /// `True`, `False`, `Unknown`; empty where there is no such condition.
    pub status: String,
    /// A word.
    pub reason: String,
    /// A sentence of the controller; hostile text, print through `remote::printable`.
    pub message: String,
    /// Whether `status.observedGeneration` (or the condition's) equals `metadata.generation`.
    pub current: bool,
}

impl Ready {
    /// Ready, and of the present generation.
    #[must_use]
    pub fn is_true(&self) -> bool {
        self.current && self.status == "True"
    }
}

/// A GitRepository.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Source {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// `spec.url`.
    pub url: String,
    /// `spec.ref.branch`, or the tag, semver or commit it follows instead, prefixed (`tag:…`).
    pub branch: String,
    /// `spec.suspend`.
    pub suspended: bool,
    /// `status.artifact.revision`, as it stands; empty before the first fetch.
    pub revision: String,
    /// Its condition.
    pub ready: Ready,
}

/// A Kustomization.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Kustomization {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// `spec.sourceRef.name`.
    pub source: String,
    /// Names in `spec.dependsOn` (`namespace/name` where another namespace is meant).
    pub depends_on: Vec<String>,
    /// `spec.suspend`.
    pub suspended: bool,
    /// `spec.prune`.
    pub prune: bool,
    /// `status.lastAppliedRevision`.
    pub applied: String,
    /// Its condition.
    pub ready: Ready,
}

/// A HelmRelease.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Release {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// The chart it wants: `spec.chart.spec.chart`.
    pub chart: String,
    /// The chart version it wants; may be a range.
    pub wanted: String,
    /// The chart version that is installed: `status.history[0].chartVersion` or `status.lastAppliedRevision`.
    pub applied: String,
    /// The chart version last tried: `status.lastAttemptedRevision`.
    pub attempted: String,
    /// `spec.suspend`.
    pub suspended: bool,
    /// The Kustomization that owns it, by its label; empty where none does.
    pub owner: String,
    /// Its condition.
    pub ready: Ready,
}
