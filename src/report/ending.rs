//! How work on a cluster ended, in the words of reports.

use serde::Serialize;

use crate::event::Outcome;

/// How work on a cluster ended, as reports count it; in the order in which reports show it, the worst last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ending {
    /// At the target, post-checks passed.
    Done,
    /// It was at the target already.
    NothingToDo,
    /// The run has it, but work on it was never begun: there is no journal, or an empty one.
    NotBegun,
    /// It was never begun, because too much had gone wrong elsewhere.
    Halted,
    /// The operator stopped the run at a safe point.
    Interrupted,
    /// It waits for a person, who has something to do.
    Asked,
    /// No end was written, but no step that changes anything was under way.
    NotFinished,
    /// Nothing was changed, because it must not be.
    Refused,
    /// Nothing was changed, because the host could not be reached or asked.
    Unreachable,
    /// A step or a post-check failed.
    Failed,
    /// Nobody knows whether the step was done: so the journal says, or it ends within a changing step, or it is damaged.
    InDoubt,
}

impl Ending {
    /// All, in the order of reports.
    pub const ALL: [Self; 11] = [
        Self::Done,
        Self::NothingToDo,
        Self::NotBegun,
        Self::Halted,
        Self::Interrupted,
        Self::Asked,
        Self::NotFinished,
        Self::Refused,
        Self::Unreachable,
        Self::Failed,
        Self::InDoubt,
    ];

    /// The ending that an outcome is.
    #[must_use]
    pub const fn of(outcome: &Outcome) -> Self {
        match outcome {
            Outcome::Done => Self::Done,
            Outcome::NothingToDo => Self::NothingToDo,
            Outcome::Refused { .. } => Self::Refused,
            Outcome::Unreachable { .. } => Self::Unreachable,
            Outcome::Failed { .. } => Self::Failed,
            Outcome::InDoubt { .. } => Self::InDoubt,
            Outcome::Interrupted { .. } => Self::Interrupted,
            Outcome::Halted { .. } => Self::Halted,
            Outcome::Asked { .. } => Self::Asked,
        }
    }

    /// The words for screens and reports.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::NothingToDo => "nothing to do",
            Self::NotBegun => "not begun",
            Self::Halted => "halted",
            Self::Interrupted => "interrupted",
            Self::Asked => "asked",
            Self::NotFinished => "not finished",
            Self::Refused => "refused",
            Self::Unreachable => "unreachable",
            Self::Failed => "failed",
            Self::InDoubt => "in doubt",
        }
    }

    /// Whether nothing more is to be done.
    #[must_use]
    pub const fn is_good(self) -> bool {
        matches!(self, Self::Done | Self::NothingToDo)
    }
}
