//! What happens while a cluster is worked on: the lines of the journal.
//!
//! Screen, journal, report and (later) resume are folds over one stream of these.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::plan::{Class, Plan};
use crate::version::Version;

mod failure;

pub use failure::Failure;

/// One line of a cluster's journal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// Counts from 1 within the cluster's journal.
    pub seq: u64,
    /// When, by the provisioning machine's clock.
    pub at: Timestamp,
    /// The cluster.
    pub cluster: String,
    /// What.
    #[serde(flatten)]
    pub what: What,
}

/// What can happen. A reader skips kinds it does not know.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "kebab-case")]
pub enum What {
    /// Work on the cluster begins: nothing has been sent to it.
    Begun {
        /// Host, port and user, as the inventory has them.
        address: String,
    },
    /// Logged in.
    Connected {
        /// SHA-256 fingerprint of the host key.
        host_key: String,
    },
    /// The run is gone on with, by a new process. What was under way before is settled by what follows.
    Resumed {
        /// User and machine.
        by: String,
        /// The `fleet` that goes on.
        fleet: String,
    },
    /// The host is locked for this run: no other changes it. See `docs/locks.md`.
    Locked {
        /// The fencing number, which every command carries from here on. It counts up on the host.
        number: u64,
    },
    /// The lock is given back.
    Unlocked {
        /// The fencing number.
        number: u64,
    },
    /// An operator took the lock from another run.
    LockBroken {
        /// The fencing number that is good no more.
        number: u64,
        /// Who held it: run, user and machine.
        owner: String,
        /// Seconds since its last sign of life; none where the host was started anew since.
        idle_seconds: Option<u64>,
        /// Why, in the operator's words.
        why: String,
    },
    /// The copy of this rung goes into this folder.
    BackupBegun {
        /// The backup's id.
        backup: String,
        /// Its folder on the provisioning machine.
        folder: String,
    },
    /// Temporary changes were made on the cluster, which the host takes back by itself unless it is told otherwise.
    Held {
        /// One sentence each.
        changes: Vec<String>,
    },
    /// Temporary changes are taken back: everything is as it was found.
    GivenBack {
        /// One sentence each.
        changes: Vec<String>,
    },
    /// A step of which nobody knew whether it was done was settled by an operator.
    Settled {
        /// The step.
        step: String,
        /// Whether it was done; otherwise it is done again.
        done: bool,
        /// User and machine.
        by: String,
    },
    /// Facts were gathered.
    Gathered {
        /// `before` or `after`.
        when: When,
        /// The version found, in words where it is not a plain version.
        version: String,
        /// Applications found.
        apps: Vec<String>,
    },
    /// Checks were judged.
    Judged {
        /// `before` or `after`.
        when: When,
        /// Every check's verdict, in the order of the table.
        verdicts: Vec<Judgement>,
    },
    /// There is a plan (also stored whole as `plan.json`).
    Planned {
        /// The migration's id.
        migration: String,
        /// From which version.
        from: Version,
        /// To which.
        to: Version,
        /// Ids of the steps, in order.
        steps: Vec<String>,
        /// Expected seconds of the whole.
        expected_seconds: u64,
        /// Expected seconds of downtime.
        downtime_seconds: u64,
    },
    /// A step is about to touch the host. On disk before it does.
    StepStarted {
        /// Its id.
        step: String,
        /// Its title.
        title: String,
        /// Its class.
        class: Class,
        /// Its expected seconds.
        expected_seconds: u64,
    },
    /// A command of a step ended.
    Ran {
        /// The step.
        step: String,
        /// The exact shell line.
        line: String,
        /// `exit status 0`, or why there is none.
        exit: String,
        /// Milliseconds it took.
        took_ms: u64,
    },
    /// Something worth telling happened within a step.
    Noted {
        /// The step.
        step: String,
        /// One sentence.
        text: String,
    },
    /// A remedy was used.
    Remedied {
        /// The step during which.
        step: String,
        /// The remedy's id.
        remedy: String,
        /// On what.
        object: String,
        /// The how-manieth time for this object.
        time: u32,
    },
    /// A step ended.
    StepEnded {
        /// Its id.
        step: String,
        /// How.
        end: StepEnd,
        /// Milliseconds it took.
        took_ms: u64,
    },
    /// The backup is proven: from here on the cluster may be changed.
    Proven {
        /// The backup's id.
        backup: String,
        /// Its folder on the provisioning machine.
        folder: String,
        /// Files compared with the host's hashes.
        files: u64,
        /// Bytes of the whole backup on disk.
        bytes: u64,
    },
    /// Work on the cluster ended.
    Finished {
        /// How.
        outcome: Outcome,
    },
    /// A person has done what a step asks for.
    Confirmed {
        /// The step.
        step: String,
        /// User and machine.
        by: String,
        /// In the person's own words.
        note: Option<String>,
    },
    /// A kind that this version does not know.
    #[serde(other)]
    Unknown,
}

impl What {
    /// The line for a plan.
    #[must_use]
    pub fn planned(plan: &Plan) -> Self {
        Self::Planned {
            migration: plan.migration.clone(),
            from: plan.from,
            to: plan.to,
            steps: plan.steps.iter().map(|step| step.id.clone()).collect(),
            expected_seconds: plan.expected().as_secs(),
            downtime_seconds: plan.downtime().as_secs(),
        }
    }
}

/// Before or after the rung's steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum When {
    /// Before.
    Before,
    /// After.
    After,
}

/// A check's verdict, as the journal and the reports keep it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Judgement {
    /// The check's id.
    pub check: String,
    /// Pass, warn or block.
    pub level: Level,
    /// What was seen, one sentence.
    pub said: String,
    /// Whether the operator acknowledged this warning by its id.
    #[serde(default)]
    pub acknowledged: bool,
}

/// How a check judged, mildest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Level {
    /// All is well.
    Pass,
    /// An operator must say that he has seen it.
    Warn,
    /// Nothing may be changed.
    Block,
}

impl Level {
    /// The word for screens and reports.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Warn => "warn",
            Self::Block => "block",
        }
    }
}

/// How a step ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StepEnd {
    /// Done.
    Done,
    /// Failed: what it wanted is known not to be so.
    Failed(Failure),
    /// Nobody knows whether it was done.
    InDoubt(Failure),
}

/// How work on a cluster ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Outcome {
    /// At the target, post-checks passed.
    Done,
    /// It was at the target already.
    NothingToDo,
    /// Nothing was changed, because it must not be: a check blocks, the version cannot be upgraded, the host key differs.
    Refused {
        /// Why.
        failure: Failure,
    },
    /// Nothing was changed, because the host could not be reached or asked.
    Unreachable {
        /// Why.
        failure: Failure,
    },
    /// A step or a post-check failed.
    Failed {
        /// The step; `None` for a post-check.
        step: Option<String>,
        /// What state the cluster is in.
        state: Left,
        /// Why.
        failure: Failure,
    },
    /// Nobody knows whether the step was done.
    InDoubt {
        /// The step.
        step: String,
        /// Why.
        failure: Failure,
    },
    /// The operator stopped the run at a safe point.
    Interrupted {
        /// What state the cluster is in.
        state: Left,
    },
    /// It was never begun, because too much had gone wrong elsewhere.
    Halted {
        /// Which limit was exceeded.
        failure: Failure,
    },
    /// It waits for a person, who has something to do.
    Asked {
        /// The step that asks.
        step: String,
        /// What state the cluster is in.
        state: Left,
        /// What is asked for.
        failure: Failure,
    },
}

impl Outcome {
    /// The word for screens and reports.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::NothingToDo => "nothing to do",
            Self::Refused { .. } => "refused",
            Self::Unreachable { .. } => "unreachable",
            Self::Failed { state: Left::Clean, .. } => "failed, clean",
            Self::Failed { state: Left::Dirty { .. }, .. } => "failed, dirty",
            Self::InDoubt { .. } => "in doubt",
            Self::Interrupted { .. } => "interrupted",
            Self::Halted { .. } => "halted",
            Self::Asked { .. } => "asked",
        }
    }

    /// The failure, where there is one.
    #[must_use]
    pub const fn failure(&self) -> Option<&Failure> {
        match self {
            Self::Refused { failure }
            | Self::Unreachable { failure }
            | Self::Halted { failure }
            | Self::Failed { failure, .. }
            | Self::InDoubt { failure, .. }
            | Self::Asked { failure, .. } => Some(failure),
            Self::Done | Self::NothingToDo | Self::Interrupted { .. } => None,
        }
    }
}

/// The state a cluster was left in (promise M16).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Left {
    /// Nothing of the migration was changed.
    Clean,
    /// Steps that change the cluster were done; the last of them is named.
    Dirty {
        /// The last changing step that was started.
        at: String,
    },
}
