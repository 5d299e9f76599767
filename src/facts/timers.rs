//! Timers of the host's service manager that start package upgrades by themselves.

use serde::{Deserialize, Serialize};

use crate::remote::Command;

/// Those that are there and active.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timers {
    /// Their names: `apt-daily.timer`.
    pub active: Vec<String>,
}

/// Debian's two. `unattended-upgrades.service` is none: it waits for the shutdown and starts nothing; `apt-daily-upgrade` calls the
/// program of that name.
const KNOWN: [&str; 2] = ["apt-daily.timer", "apt-daily-upgrade.timer"];

/// Asks how each is.
#[must_use]
pub fn ask() -> Command {
    Command::new("for t in")
        .args(KNOWN)
        .fixed(r#"; do echo "$t $(systemctl is-active "$t" 2>/dev/null)"; done; echo end"#)
}

/// Reads the answer.
pub fn read(answer: &str) -> Result<Timers, String> {
    let mut lines: Vec<&str> = answer.lines().map(str::trim).collect();
    if lines.pop() != Some("end") {
        return Err("the states of the package timers were not read to their end".to_owned());
    }
    let active = |timer: &str| lines.contains(&format!("{timer} active").as_str());
    Ok(Timers { active: KNOWN.into_iter().filter(|timer| active(timer)).map(str::to_owned).collect() })
}
