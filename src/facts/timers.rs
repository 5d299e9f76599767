//! Timers of the host's service manager that start package upgrades by themselves.

use crate::remote::Command;

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

/// Reads the answer: those that are active.
pub fn read(answer: &str) -> Result<Vec<String>, String> {
    let mut lines: Vec<&str> = answer.lines().map(str::trim).collect();
    if lines.pop() != Some("end") {
        return Err("the states of the package timers were not read to their end".to_owned());
    }
    let active = |timer: &str| lines.contains(&format!("{timer} active").as_str());
    Ok(KNOWN.into_iter().filter(|timer| active(timer)).map(str::to_owned).collect())
}
