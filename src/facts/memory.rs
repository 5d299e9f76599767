//! Memory of the host.

use serde::{Deserialize, Serialize};

use crate::remote::Command;

/// From `/proc/meminfo`, in bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Memory {
    /// In all.
    pub total: u64,
    /// Available without swapping.
    pub available: u64,
}

/// Asks for it.
#[must_use]
pub fn ask() -> Command {
    Command::new("cat /proc/meminfo")
}

/// Reads the answer.
pub fn read(answer: &str) -> Result<Memory, String> {
    let field = |name: &str| {
        answer
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(':')?.trim().strip_suffix(" kB"))
            .and_then(|kib| kib.trim().parse::<u64>().ok()?.checked_mul(1024))
            .ok_or_else(|| format!("/proc/meminfo has no readable {name}"))
    };
    Ok(Memory { total: field("MemTotal")?, available: field("MemAvailable")? })
}
