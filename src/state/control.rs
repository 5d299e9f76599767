//! What an operator asks of a run from another terminal: a small file that the running process looks at (promise E3).

use std::fs;
use std::io;
use std::path::PathBuf;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::RunFolder;
use crate::files::{read_json, write_json};

/// What may be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Want {
    /// Begin clusters as their turn comes.
    Go,
    /// Begin no further cluster; those under way go on to their end.
    Pause,
    /// Stop at the next safe point, as by the first Ctrl-C.
    Abort,
}

/// What was asked last, by whom and when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Control {
    /// What.
    pub want: Want,
    /// User and machine.
    pub by: String,
    /// When.
    pub at: Timestamp,
}

impl Control {
    /// Asked now.
    #[must_use]
    pub fn new(want: Want, by: &str) -> Self {
        Self { want, by: by.to_owned(), at: Timestamp::now() }
    }

    /// What was asked of the run; none where nothing was.
    pub fn read(run: &RunFolder) -> io::Result<Option<Self>> {
        match read_json(&path(run)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            control => control.map(Some),
        }
    }

    /// Asks it, whole or not at all.
    pub fn write(&self, run: &RunFolder) -> io::Result<()> {
        write_json(&path(run), self)
    }

    pub(super) fn forget(run: &RunFolder) -> io::Result<()> {
        match fs::remove_file(path(run)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

fn path(run: &RunFolder) -> PathBuf {
    run.path().join("control")
}
