//! Nightly jobs of Flux and k3s, found by what they do (facts section 3.6).

use serde::{Deserialize, Serialize};

/// A CronJob that would act on the cluster during a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Nightly {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its schedule, in the host's time zone unless `zone` says otherwise.
    pub schedule: String,
    /// `spec.timeZone`; empty where absent.
    pub zone: String,
    /// Whether it is suspended.
    pub suspended: bool,
    /// What it does.
    pub does: Does,
}

/// What a nightly job does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Does {
    /// Suspends a Flux source.
    SuspendSource,
    /// Resumes a Flux source.
    ResumeSource,
    /// Scales the system-upgrade-controller.
    ScaleUpgradeController,
}
