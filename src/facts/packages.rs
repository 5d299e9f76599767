//! A package manager at work on the host.

use serde::{Deserialize, Serialize};

/// Whether one holds its lock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Packages {
    /// Names of running package managers: `apt-get`, `unattended-upgr`.
    pub busy: Vec<String>,
}
