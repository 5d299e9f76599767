//! The plan: an exact, ordered list of steps for one cluster and one rung, as a value.
//!
//! A plan can be printed, stored and compared. Nothing is left to decide while it runs: an [`Action`] says what, `run`
//! knows how. Secrets never enter a plan; an action names them.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::version::Version;

mod action;
mod probe;

pub use action::{
    Action, Ask, Backup, Claimed, Found, Local, MoveClaim, Object, Objects, Onto, Prove, PutBack,
    RemoveClaims, RemoveNamespaces, Renamed, Restore, RestorePart, Shut, Truce, VolumeCopy,
};
pub use probe::Probe;

/// The version of the stored form of [`Plan`]. Readers refuse a newer one.
pub const SCHEMA: u32 = 1;

/// What will be done to one cluster to take it one rung up.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// [`SCHEMA`] at the time of writing.
    pub schema: u32,
    /// The cluster's name in the inventory.
    pub cluster: String,
    /// The migration's id: `to-0.7`.
    pub migration: String,
    /// The version found on the cluster.
    pub from: Version,
    /// The version after this rung.
    pub to: Version,
    /// The applications found on the cluster.
    pub apps: Vec<String>,
    /// The steps, in order.
    pub steps: Vec<Step>,
    /// What a person must know, but the plan cannot do: one sentence each.
    pub notes: Vec<String>,
    /// The rungs after this one, oldest first, that a further target would need; each gets its own plan then.
    pub rest: Vec<Version>,
    /// What the plan stands on: a cluster of which this has changed needs another plan (promise M5).
    #[serde(default)]
    pub fingerprint: Fingerprint,
}

/// What a plan stands on, by name: versions, revisions, applications, volumes, host key, digests. A value is short and no secret.
pub type Fingerprint = std::collections::BTreeMap<String, String>;

impl Plan {
    /// The expected time of all steps.
    #[must_use]
    pub fn expected(&self) -> Duration {
        self.steps.iter().map(|step| step.expected).sum()
    }

    /// The expected time for which users cannot work.
    #[must_use]
    pub fn downtime(&self) -> Duration {
        self.steps.iter().map(|step| step.downtime).sum()
    }

    /// The first step that changes the cluster before the backup is proven, if there is one (promise M8).
    ///
    /// The copy itself (`Backup`) stops and starts k3s; that alone may come before the proof.
    #[must_use]
    pub fn changes_before_proof(&self) -> Option<&Step> {
        let proof = self.steps.iter().position(|step| matches!(step.action, Action::Prove(_)));
        self.steps.iter().take(proof.unwrap_or(self.steps.len())).find(|step| step.needs_proof())
    }
}

/// One step of a plan.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// `migration/step`, kebab-case, the same everywhere and for ever.
    pub id: String,
    /// One line for people, in the imperative.
    pub title: String,
    /// What it may change.
    pub class: Class,
    /// What is right when the run died inside this step.
    pub redo: Redo,
    /// What is done.
    pub action: Action,
    /// How long it should take.
    #[serde(with = "seconds")]
    pub expected: Duration,
    /// How long it may take before it is given up.
    #[serde(with = "seconds")]
    pub deadline: Duration,
    /// For how long users cannot work because of it.
    #[serde(with = "seconds")]
    pub downtime: Duration,
    /// Bytes it needs on the provisioning machine.
    pub disk_here: u64,
    /// Bytes it needs on the host.
    pub disk_there: u64,
}

impl Step {
    /// A step with the defaults of its class: read-only and repeatable steps may be repeated, others are asked about. One minute
    /// expected, ten allowed, no downtime, no disk.
    #[must_use]
    pub fn new(id: impl Into<String>, title: impl Into<String>, class: Class, action: Action) -> Self {
        let redo = match class {
            Class::ReadOnly | Class::Repeatable => Redo::Repeatable,
            Class::Undoable | Class::Irreversible => Redo::Never,
        };
        Self {
            id: id.into(),
            title: title.into(),
            class,
            redo,
            action,
            expected: Duration::from_secs(5),
            deadline: Duration::from_secs(600),
            downtime: Duration::ZERO,
            disk_here: 0,
            disk_there: 0,
        }
    }

    /// Whether the step changes the cluster in a way that only a proven backup allows (promise M8): every change but the copy's own
    /// stopping and starting of k3s, and holding the nightly jobs, which the host itself takes back.
    #[must_use]
    pub const fn needs_proof(&self) -> bool {
        self.class.changes()
            && !matches!(self.action, Action::Backup(_) | Action::Hold(_) | Action::GiveBack(_))
    }

    /// Sets the redo rule.
    #[must_use]
    pub fn redo(mut self, redo: Redo) -> Self {
        self.redo = redo;
        self
    }

    /// Sets the expected and the allowed time.
    #[must_use]
    pub const fn takes(mut self, expected: Duration, deadline: Duration) -> Self {
        self.expected = expected;
        self.deadline = deadline;
        self
    }

    /// Sets the downtime.
    #[must_use]
    pub const fn down(mut self, downtime: Duration) -> Self {
        self.downtime = downtime;
        self
    }

    /// Sets the bytes needed here and on the host.
    #[must_use]
    pub const fn needs(mut self, here: u64, there: u64) -> Self {
        self.disk_here = here;
        self.disk_there = there;
        self
    }
}

/// What a step may change, mildest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Class {
    /// Nothing on the cluster.
    ReadOnly,
    /// Something, but doing it twice is as good as once.
    Repeatable,
    /// Something that the plan or an operator can take back.
    Undoable,
    /// Something only the backup can take back.
    Irreversible,
}

impl Class {
    /// Whether a step of this class may change the cluster.
    #[must_use]
    pub const fn changes(self) -> bool {
        !matches!(self, Self::ReadOnly)
    }

    /// The word for screens and reports.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ReadOnly => "read-only",
            Self::Repeatable => "repeatable",
            Self::Undoable => "undoable",
            Self::Irreversible => "irreversible",
        }
    }
}

/// The answer to: the run died inside this step, what now?
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Redo {
    /// Ask a person.
    Never,
    /// Do it again.
    Repeatable,
    /// Do it again unless this probe says it is done.
    Unless(Probe),
}

impl Redo {
    /// One word or sentence for people.
    #[must_use]
    pub fn describe(&self) -> String {
        match self {
            Self::Never => "ask a person".to_owned(),
            Self::Repeatable => "repeat".to_owned(),
            Self::Unless(probe) => format!("repeat unless {probe}"),
        }
    }
}

/// Durations as whole seconds in stored plans.
mod seconds {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(duration.as_secs())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        u64::deserialize(deserializer).map(Duration::from_secs)
    }
}
