//! A package manager at work on the host.

use serde::{Deserialize, Serialize};

use crate::remote::Command;

/// Whether one holds its lock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Packages {
    /// Names of running package managers: `apt-get`, `unattended-upgr`.
    pub busy: Vec<String>,
}

/// Asks who holds a lock of dpkg or apt. The kernel's list of locks names process and inode; that the process has the very file
/// open rules out an equal inode of another filesystem. (Looking for running programs by name would always find the
/// harmless daemon of unattended-upgrades that waits for the shutdown.)
#[must_use]
pub fn ask() -> Command {
    Command::new(
        r#"for f in /var/lib/dpkg/lock-frontend /var/lib/dpkg/lock /var/lib/apt/lists/lock /var/cache/apt/archives/lock; do
i=$(stat -c %i "$f" 2>/dev/null) || continue
while read -r _ _ _ _ pid dev _; do case $dev in *:"$i") case "$(ls -l "/proc/$pid/fd" 2>/dev/null)" in
*"-> $f"*) cat "/proc/$pid/comm" 2>/dev/null;; esac;; esac; done </proc/locks
done; echo end"#,
    )
}

/// Reads the answer.
pub fn read(answer: &str) -> Result<Packages, String> {
    let mut busy: Vec<String> =
        answer.lines().map(|line| line.trim().to_owned()).filter(|line| !line.is_empty()).collect();
    if busy.pop().as_deref() != Some("end") {
        return Err("the list of locks was not read to its end".to_owned());
    }
    busy.sort();
    busy.dedup();
    Ok(Packages { busy })
}
