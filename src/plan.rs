//! The plan: an exact, ordered list of steps for one cluster and one rung, as a value.
//!
//! A plan can be printed, stored and compared. Nothing is left to decide while it runs: an [`Action`] says what, `run`
//! knows how. Secrets never enter a plan; an action names them.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::remote::Command;
use crate::version::Version;

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

/// The few verbs of a plan.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// A short command.
    Run(Command),
    /// A long command that belongs to the host and not to the connection. The step's deadline is held there, not the command's own; a
    /// command with standard input or a secret output cannot be one.
    Job(Command),
    /// Kubernetes objects saved, completed or put back, with their metadata stripped.
    Objects(Objects),
    /// The copy of everything that the backup holds.
    Backup(Backup),
    /// The proof of the copy by an independent reader.
    Prove(Prove),
    /// Whatever would change the cluster by itself meanwhile is kept from it, and the host told to give it back if nobody does.
    Hold(Truce),
    /// What was held is given back exactly as it was found. Done at whatever end of the rung.
    GiveBack(Truce),
    /// Waiting until a probe is satisfied.
    WaitUntil {
        /// What is waited for.
        probe: Probe,
        /// Ids of the remedies that may be used meanwhile.
        remedies: Vec<String>,
    },
}

/// What a cluster and its host do by themselves at night, as it was found (promise M14).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Truce {
    /// CronJobs, found by what they do (facts section 3.6), those among them that were suspended already.
    pub cron_jobs: Vec<Found>,
    /// Flux sources of the release: whether they were suspended. They are not touched by the hold, but a rung may resume one.
    pub sources: Vec<Found>,
    /// The system-upgrade-controller's Deployment, where there is one, and its replicas.
    pub controller: Option<(Object, u32)>,
    /// Timers of the host's service manager that start package upgrades, and were active.
    pub timers: Vec<String>,
    /// The hours at which a nightly job would suspend the sources. One that goes by meanwhile is made up for when they are given back.
    #[serde(default)]
    pub sources_shut: Vec<Shut>,
    /// The hours at which a nightly job would scale the controller to nothing.
    #[serde(default)]
    pub controller_shut: Vec<Shut>,
}

/// When a nightly job shuts something.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shut {
    /// Its cron schedule.
    pub schedule: String,
    /// By a clock so many seconds east of UTC.
    pub offset_seconds: i64,
}

/// An object that can be suspended, and whether it was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Found {
    /// The object.
    pub object: Object,
    /// Whether it was suspended.
    pub suspended: bool,
}

/// What is done with Kubernetes Secrets that a migration must carry over. The data stays in the backup folder (files 0600);
/// the plan holds names only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Objects {
    /// Save these from the cluster into the backup folder, under `kept/<set>/`.
    Save {
        /// The set's name, unique in the backup.
        set: String,
        /// What to save. All must be there: those that are not installed are not listed.
        objects: Vec<Object>,
    },
    /// Give the saved copy of an object a password of letters under this key, if the key is missing or empty.
    AddPassword {
        /// The set.
        set: String,
        /// The object in the set.
        object: Object,
        /// The key in its `data`.
        key: String,
    },
    /// Put a saved set back with reduced metadata, read it back and compare its data byte for byte.
    Restore {
        /// The set.
        set: String,
        /// What it holds.
        objects: Vec<Object>,
    },
}

/// A Kubernetes object by kind, namespace and name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Object {
    /// The plural resource, with its group where it is not core: `secrets`.
    pub kind: String,
    /// Its namespace; empty for objects of the whole cluster.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl Object {
    /// A Secret.
    #[must_use]
    pub fn secret(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self { kind: "secrets".to_owned(), namespace: namespace.into(), name: name.into() }
    }
}

impl std::fmt::Display for Object {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { kind, namespace, name } = self;
        if namespace.is_empty() { write!(f, "{kind}/{name}") } else { write!(f, "{namespace}/{name}") }
    }
}

/// Exactly what a backup copies. See `docs/backup.md`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backup {
    /// The k3s data folder on the host, with `server/db` and `server/token` below it.
    pub k3s_data: String,
    /// The k3s configuration folder on the host.
    pub k3s_config: String,
    /// The folder on the host for the watchdog that starts k3s again whatever happens.
    pub spool: String,
    /// The volumes, each its own archive.
    pub volumes: Vec<VolumeCopy>,
    /// The cluster's directory on the provisioning machine, where the inventory names one.
    pub cluster_dir: Option<std::path::PathBuf>,
}

/// One volume to copy: the map claim ↔ volume ↔ folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumeCopy {
    /// The PersistentVolume's name.
    pub volume: String,
    /// The claim's namespace; empty where nothing claims the volume.
    pub namespace: String,
    /// The claim's name; empty where nothing claims the volume.
    pub claim: String,
    /// The folder on the host, as the PersistentVolume says (never computed; facts section 3.2).
    pub folder: String,
    /// Bytes used when the plan was made, by which deadlines are set.
    pub used: u64,
}

/// What a proof must find.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Prove {
    /// The volumes that must have a proven archive.
    pub volumes: Vec<String>,
}

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
