//! Which run changed a host last: a run that another has overtaken must not go on.

use crate::event::Failure;
use crate::remote::{Command, Remote, RemoteError, printable};

/// Who changed a host last, as its spool tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Changed {
    number: u64,
    run: String,
}

impl Changed {
    /// Why a run that held this lock last must not go on, if another has changed the host after it.
    pub(super) fn by_another(&self, run: &str, lock: Option<u64>) -> Option<Failure> {
        (self.run != run && self.number > lock.unwrap_or(0)).then(|| {
            let message = format!(
                "run {} has changed this host since (its lock has number {}); what this run has left to do may be wrong by now. See: \
                 fleet report {}. To upgrade it from what it is now: fleet upgrade",
                self.run, self.number, self.run
            );
            Failure::new("changed-since", message).read("docs/resume.md#when-a-run-cannot-be-gone-on-with")
        })
    }
}

/// Asks a host which run changed it last; none where no run has.
pub(super) async fn changed<R: Remote>(remote: &R, spool: &str) -> Result<Option<Changed>, RemoteError> {
    let file = format!("{}/changed", spool.trim_end_matches('/'));
    let ask = Command::new("cat --").arg(file).fixed("2>/dev/null || :").limit(1 << 10);
    let output = remote.ask(&ask, &mut std::io::sink()).await?;
    let text = output.text();
    let line = text.trim();
    if line.is_empty() {
        return Ok(None);
    }
    // Whatever it is that is there: a run that cannot be told is another one.
    let (number, run) = line.split_once(' ').unwrap_or(("", line));
    let run = printable(run).chars().take(80).collect();
    Ok(Some(Changed { number: number.parse().unwrap_or(u64::MAX), run }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_with_a_higher_number_has_changed_the_host_since() {
        let changed = |number, run: &str| Changed { number, run: run.into() };
        let cause = |changed: Changed, lock| changed.by_another("mine", lock).map(|failure| failure.cause);
        assert_eq!(cause(changed(8, "other"), Some(7)).as_deref(), Some("changed-since"));
        assert_eq!(cause(changed(8, "other"), None).as_deref(), Some("changed-since"));
        assert_eq!(cause(changed(6, "other"), Some(7)), None);
        assert_eq!(cause(changed(9, "mine"), Some(7)), None);
    }
}
