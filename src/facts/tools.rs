//! Programs that the steps need on the host.

use serde::{Deserialize, Serialize};

use crate::remote::Command;

/// What is there and what is not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tools {
    /// Needed programs that the host's PATH does not have.
    pub missing: Vec<String>,
    /// First line of `tar --version`.
    pub tar: String,
}

/// Programs that steps call on the host.
pub const NEEDED: [&str; 15] = [
    "sh",
    "tar",
    "sha256sum",
    "find",
    "sort",
    "xargs",
    "stat",
    "timeout",
    "setsid",
    "date",
    "df",
    "du",
    "curl",
    "systemctl",
    "k3s",
];

/// Asks which are missing. `k3s-killall.sh` comes with k3s' own installer.
#[must_use]
pub fn ask() -> Command {
    Command::new("for t in k3s-killall.sh")
        .args(NEEDED)
        .fixed(r#"; do command -v "$t" >/dev/null 2>&1 || echo "missing $t"; done; tar --version 2>/dev/null | head -n 1"#)
}

/// Reads the answer.
pub fn read(answer: &str) -> Result<Tools, String> {
    let missing: Vec<String> =
        answer.lines().filter_map(|line| line.strip_prefix("missing ")).map(str::to_owned).collect();
    let tar = answer.lines().find(|line| !line.starts_with("missing ")).unwrap_or_default().trim().to_owned();
    if tar.is_empty() && !missing.iter().any(|tool| tool == "tar") {
        return Err("tar is there but does not tell its version".to_owned());
    }
    Ok(Tools { missing, tar })
}
