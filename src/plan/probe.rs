//! What a plan may wait for or ask about, as data.

use serde::{Deserialize, Serialize};

/// A typed question that a cluster answers with yes, not yet, or never.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Probe {
    /// The Kubernetes API answers, the node is ready and no pod of kube-system or flux-system is starting.
    ClusterReady,
    /// The GitRepository wants this branch.
    SourceWants {
        /// Its name, in flux-system.
        source: String,
        /// The branch.
        branch: String,
    },
    /// The GitRepository has fetched this branch.
    SourceAt {
        /// Its name, in flux-system.
        source: String,
        /// The branch.
        branch: String,
    },
    /// The GitRepository is suspended, or not.
    SourceSuspended {
        /// Its name, in flux-system.
        source: String,
        /// The wanted state.
        suspended: bool,
    },
    /// No HelmRelease of this name is left in any namespace.
    ReleaseGone {
        /// Its name.
        name: String,
    },
    /// Every Kustomization of the source is ready at the source's revision, and every HelmRelease is ready (facts section 5.2).
    Converged {
        /// The source's name, in flux-system.
        source: String,
    },
    /// The same, but for these applications: each of them is at the source's revision and ready, or its Helm release has failed.
    Settled {
        /// The source's name, in flux-system.
        source: String,
        /// Names of HelmReleases, and of the Kustomizations that apply them.
        apps: Vec<String>,
    },
    /// Every HelmRelease of this name is ready, and there is one.
    ReleaseReady {
        /// Its name.
        name: String,
    },
}

impl std::fmt::Display for Probe {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::ClusterReady => f.write_str("the cluster answers and its node is ready"),
            Self::SourceWants { source, branch } => write!(f, "source {source} wants branch {branch}"),
            Self::SourceAt { source, branch } => write!(f, "source {source} has fetched branch {branch}"),
            Self::SourceSuspended { source, suspended: true } => write!(f, "source {source} is suspended"),
            Self::SourceSuspended { source, suspended: false } => {
                write!(f, "source {source} is not suspended")
            }
            Self::ReleaseGone { name } => write!(f, "no HelmRelease {name} is left"),
            Self::Converged { source } => {
                write!(
                    f,
                    "all kustomizations of {source} are ready at its revision and all Helm releases are ready"
                )
            }
            Self::Settled { source, apps } => {
                write!(
                    f,
                    "all of {source} is ready at its revision, but for {}, which may have failed instead",
                    apps.join(" and ")
                )
            }
            Self::ReleaseReady { name } => write!(f, "Helm release {name} is ready"),
        }
    }
}
