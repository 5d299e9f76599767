//! What belongs to a host and not to an SSH channel: long commands, and timers that undo a temporary change.
//!
//! Everything here is pure: it builds commands and reads answers. All state is plain files in the host's spool folder, 0700, each written
//! beside its place and then renamed, so that a torn one is never taken for a whole one. `run::job` follows a [`Job`]; a [`Timer`] is
//! armed by whoever changes something for a time. How it all works, and what an operator can do by hand, is told in `docs/jobs.md`.

mod job;
mod keeper;
mod leftovers;
mod timer;

pub use job::{How, Job, Look, Seen, State, Unreadable, Why};
pub use leftovers::{Kind, Leftover, Leftovers, Now};
pub use timer::Timer;

/// `served`: whether systemd is the host's service manager, and this user may command it. What it says is asked for besides its name
/// as process 1: where `systemctl` is not that process' own (a simulated host), nothing is given to it.
const SERVED: &str = r#"
served() {
    read -r first </proc/1/comm && [ "$first" = systemd ] && [ "$(id -u)" = 0 ] && command -v systemd-run >/dev/null 2>&1 &&
        [ -n "$(systemctl show --property=Version --value 2>/dev/null)" ]
}
put() { printf '%s\n' "$2" >"$d/$1.$$" && mv "$d/$1.$$" "$d/$1"; }
"#;

/// A name as a file and a unit can have it: letters, digits, `.`, `_` and `-`; all else becomes `-`.
pub(crate) fn plain(name: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '-' };
    name.chars().map(plain).collect()
}

/// A mark that a host could not have printed before.
pub(crate) fn mark() -> String {
    format!("fleet-{:032x}", rand::random::<u128>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_hold_nothing_that_a_path_or_a_unit_could_stumble_over() {
        assert_eq!(plain("20261122T101500Z-abcd-to-0.7/branch"), "20261122T101500Z-abcd-to-0.7-branch");
        assert_eq!(plain("../a b\n%i"), "..-a-b--i");
    }
}
