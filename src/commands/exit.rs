//! Exit codes (promise M18) and the one place where a command's trouble becomes text.

use std::process::ExitCode;

use super::output::complain;

/// How a command can end well, or less well but as it should.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Exit {
    /// All done; nothing to do; every check passed.
    Done = 0,
    /// `fleet check`: the worst verdict is a warning that nobody acknowledged. `fleet doctor`: something is left on a host.
    Warnings = 1,
    /// `fleet plan`: there is something to do.
    Changes = 2,
    /// Some clusters failed or could not be reached.
    Failed = 3,
    /// Halted by the budget of failures.
    Halted = 4,
    /// Refused: a check blocks, an identity differs, a version cannot be upgraded, a plan is stale.
    Refused = 5,
    /// For at least one cluster nobody knows whether a step was done.
    InDoubt = 6,
    /// Stopped by the operator, or waiting for what a person must do; can be gone on with.
    Interrupted = 7,
    /// What was typed, or the inventory, is wrong. Nothing was done.
    Usage = 64,
    /// A fault of `fleet` or of this machine.
    Internal = 70,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Why a command did not do what was typed.
#[derive(Debug)]
pub enum Trouble {
    /// What was typed, or the inventory, is wrong: the message says what and what to type instead.
    Usage(String),
    /// This machine's trouble, or a fault of `fleet`.
    Internal(String),
    /// Not done, and this machine is not to blame: one cluster's trouble, where a command is about one, or a plan that is good no more.
    Cluster(Exit, String),
}

impl Trouble {
    /// Wrong input.
    pub fn usage(why: impl std::fmt::Display) -> Self {
        Self::Usage(why.to_string())
    }

    /// The trouble of this cluster.
    pub fn cluster(exit: Exit, name: &str, why: impl std::fmt::Display) -> Self {
        Self::Cluster(exit, format!("{name}: {why}"))
    }

    /// It must not be done.
    pub fn refused(why: impl std::fmt::Display) -> Self {
        Self::Cluster(Exit::Refused, why.to_string())
    }

    /// This machine's trouble.
    pub fn internal(why: impl std::fmt::Display) -> Self {
        Self::Internal(why.to_string())
    }
}

impl From<std::io::Error> for Trouble {
    fn from(error: std::io::Error) -> Self {
        Self::Internal(error.to_string())
    }
}

/// Prints the trouble, if there is one, and gives the exit code.
pub(super) fn close(result: Result<Exit, Trouble>) -> ExitCode {
    let exit = match result {
        Ok(exit) => exit,
        Err(Trouble::Usage(why)) => {
            complain(&why);
            Exit::Usage
        }
        Err(Trouble::Cluster(exit, why)) => {
            complain(&why);
            exit
        }
        Err(Trouble::Internal(why)) => {
            complain(&format!("on this machine: {why}"));
            Exit::Internal
        }
    };
    exit.into()
}
