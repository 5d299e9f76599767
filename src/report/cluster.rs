//! One cluster's report as a value; `fold` makes it from the cluster's events.

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::Serialize;

use super::way_back::WayBack;
use crate::event::{Failure, Judgement, When};
use crate::plan::Class;
use crate::remote::printable;
use crate::version::Version;

pub use super::ending::Ending;

/// What state the cluster is in, as far as the journal tells (promise M16).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// Nothing of a migration was changed.
    Clean,
    /// At the target.
    Upgraded,
    /// Steps that change the cluster were done, not all.
    Dirty,
    /// Nobody knows.
    Unknown,
}

impl State {
    /// The word for screens and reports.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Clean => "clean",
            Self::Upgraded => "upgraded",
            Self::Dirty => "dirty",
            Self::Unknown => "unknown",
        }
    }
}

/// Everything that a cluster's journal tells. All text of hosts is already cleaned for a terminal and for one line.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ClusterReport {
    /// The cluster.
    pub cluster: String,
    /// How it ended.
    pub outcome: Ending,
    /// What state it is in.
    pub state: State,
    /// The last changing step that was started, where the state is dirty or unknown.
    pub left_at: Option<String>,
    /// The step that failed or is in doubt; none for a post-check.
    pub failed_step: Option<String>,
    /// Why it is not done.
    pub failure: Option<Failure>,
    /// User, host and port.
    pub address: Option<String>,
    /// SHA-256 fingerprint of the host's key.
    pub host_key: Option<String>,
    /// The version found before the first rung.
    pub version_before: Option<String>,
    /// The version found after the last.
    pub version_after: Option<String>,
    /// The applications found last.
    pub apps: Vec<String>,
    /// When work began.
    pub started: Option<Timestamp>,
    /// When its end was written.
    pub ended: Option<Timestamp>,
    /// Milliseconds from the first event to the last.
    pub took_ms: u64,
    /// Milliseconds of the steps named `copy`: while they ran, k3s was stopped. None where no such step ended.
    pub downtime_ms: Option<u64>,
    /// The rungs that were planned.
    pub rungs: Vec<Rung>,
    /// The steps that were started, in order.
    pub steps: Vec<StepReport>,
    /// The commands that ended, in order.
    pub commands: Vec<CommandReport>,
    /// What was worth telling.
    pub notes: Vec<NoteReport>,
    /// The remedies that were used.
    pub remedies: Vec<RemedyReport>,
    /// The backups that were proven.
    pub backups: Vec<BackupReport>,
    /// The backup that takes the cluster back to what it was before the rung that has not come to its end.
    pub way_back: Option<WayBack>,
    /// The checks that were judged.
    pub checks: Vec<ChecksReport>,
    /// Events of kinds that this `fleet` does not know.
    pub unknown_events: usize,
}

/// A rung that was planned.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Rung {
    /// The migration's id.
    pub migration: String,
    /// From which version.
    pub from: Version,
    /// To which.
    pub to: Version,
    /// Ids of the planned steps.
    pub steps: Vec<String>,
    /// Expected seconds of the whole.
    pub expected_seconds: u64,
    /// Expected seconds of downtime.
    pub downtime_seconds: u64,
}

/// How a step ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum StepEnding {
    /// Done.
    Done,
    /// Failed.
    Failed,
    /// Nobody knows: so the journal says.
    InDoubt,
    /// No end is written.
    Open,
}

impl StepEnding {
    /// The words for screens and reports.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Failed => "failed",
            Self::InDoubt => "in doubt",
            Self::Open => "no end written",
        }
    }
}

/// A step that was started.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StepReport {
    /// Its id.
    pub step: String,
    /// Its title.
    pub title: String,
    /// Its class.
    pub class: Class,
    /// When it was started.
    pub started: Timestamp,
    /// How it ended.
    pub outcome: StepEnding,
    /// Milliseconds it took; none without an end.
    pub took_ms: Option<u64>,
    /// Seconds it was expected to take.
    pub expected_seconds: u64,
    /// Why it is not done.
    pub failure: Option<Failure>,
    /// Its log, below the cluster's folder of the run.
    pub log: PathBuf,
}

/// A command that ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CommandReport {
    /// When it ended.
    pub at: Timestamp,
    /// The step.
    pub step: String,
    /// The shell line.
    pub line: String,
    /// `exit status 0`, or why there is none.
    pub exit: String,
    /// Milliseconds it took.
    pub took_ms: u64,
}

/// Something worth telling.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NoteReport {
    /// When.
    pub at: Timestamp,
    /// The step.
    pub step: String,
    /// One sentence.
    pub text: String,
}

/// A use of a remedy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RemedyReport {
    /// When.
    pub at: Timestamp,
    /// The step during which.
    pub step: String,
    /// The remedy's id.
    pub remedy: String,
    /// On what.
    pub object: String,
    /// The how-manieth time for this object.
    pub time: u32,
}

/// A proven backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BackupReport {
    /// When it was proven.
    pub at: Timestamp,
    /// Its id.
    pub backup: String,
    /// Its folder on the provisioning machine.
    pub folder: String,
    /// Files compared with the host's hashes.
    pub files: u64,
    /// Bytes of the whole backup on disk.
    pub bytes: u64,
}

/// One judging of the checks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ChecksReport {
    /// When.
    pub at: Timestamp,
    /// Before or after a rung's steps.
    pub when: When,
    /// Every check's verdict.
    pub verdicts: Vec<Judgement>,
}

impl ClusterReport {
    /// The report of a cluster with no event at all.
    #[must_use]
    pub fn not_begun(cluster: &str) -> Self {
        Self {
            cluster: printable(cluster),
            outcome: Ending::NotBegun,
            state: State::Clean,
            left_at: None,
            failed_step: None,
            failure: Some(Failure::new("not-begun", "work on it was never begun")),
            address: None,
            host_key: None,
            version_before: None,
            version_after: None,
            apps: Vec::new(),
            started: None,
            ended: None,
            took_ms: 0,
            downtime_ms: None,
            rungs: Vec::new(),
            steps: Vec::new(),
            commands: Vec::new(),
            notes: Vec::new(),
            remedies: Vec::new(),
            backups: Vec::new(),
            way_back: None,
            checks: Vec::new(),
            unknown_events: 0,
        }
    }

    /// The step that this is about: the one that failed or is in doubt.
    #[must_use]
    pub fn step(&self) -> Option<&StepReport> {
        let id = self.failed_step.as_ref()?;
        self.steps.iter().rev().find(|step| step.step == *id)
    }

    /// Whether a person must look at this cluster by itself: it is not as it was, or a step of its own went wrong.
    #[must_use]
    pub fn wants_eyes(&self) -> bool {
        !self.outcome.is_good() && (self.state != State::Clean || self.failed_step.is_some())
    }

    /// The log to read, below the run's folder.
    #[must_use]
    pub fn log(&self) -> Option<PathBuf> {
        let step = self.step().or_else(|| self.steps.last())?;
        Some(Path::new(&self.cluster).join(&step.log))
    }

    /// The newest proven backup.
    #[must_use]
    pub fn backup(&self) -> Option<&BackupReport> {
        self.backups.last()
    }

    /// `0.6 to 0.7`, as far as known.
    #[must_use]
    pub fn versions(&self) -> String {
        match (&self.version_before, &self.version_after) {
            (Some(before), Some(after)) => format!("{before} to {after}"),
            (Some(before), None) => before.clone(),
            (None, Some(after)) => format!("? to {after}"),
            (None, None) => "?".to_owned(),
        }
    }

    /// The ending and, where that does not say it, the state in words: `failed (dirty, left at to-0.7/switch-branch)`.
    #[must_use]
    pub fn ending_said(&self) -> String {
        match self.outcome {
            Ending::Done
            | Ending::NothingToDo
            | Ending::Refused
            | Ending::Unreachable
            | Ending::NotBegun
            | Ending::Halted => self.outcome.as_str().to_owned(),
            _ => format!("{} ({})", self.outcome.as_str(), self.state_said()),
        }
    }

    /// The state in words: `dirty, left at to-0.7/switch-branch`.
    #[must_use]
    pub fn state_said(&self) -> String {
        match &self.left_at {
            Some(step) => format!("{}, left at {step}", self.state.as_str()),
            None => self.state.as_str().to_owned(),
        }
    }
}
