//! Which run changed a host last: a run that another has overtaken must not go on.

use super::Wish;
use crate::event::Failure;
use crate::remote::{Command, Remote, RemoteError, printable, quote};

/// Who changed a host last, as its spool tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Changed {
    number: u64,
    run: String,
}

impl Changed {
    /// Why a run that held this lock last must not go on, if another has changed the host after it.
    pub(super) fn by_another(&self, wish: Wish<'_>, lock: Option<u64>) -> Option<Failure> {
        (self.run != wish.folder.run() && self.number > lock.unwrap_or(0)).then(|| {
            let (name, run) = (&wish.cluster.name, quote(&self.run));
            let message = format!(
                "run {} has changed {name} since (its lock has number {}); what this run has left to do may be wrong by now. See: \
                 fleet report {run}. To upgrade it from what it is now: fleet upgrade --on {} --to {}",
                self.run,
                self.number,
                quote(name),
                wish.target
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
    use std::sync::atomic::AtomicBool;

    use super::*;
    use crate::inventory::Cluster;
    use crate::state::RunFolder;
    use crate::version::Version;

    #[test]
    fn a_run_with_a_higher_number_has_changed_the_host_since() {
        let root = tempfile::tempdir().unwrap();
        let folder = RunFolder::open(root.path(), "mine").cluster("acme").unwrap();
        let cluster = Cluster::new("acme", "203.0.113.7");
        let wish = Wish {
            cluster: &cluster,
            target: Version::V0_7,
            host_key: "",
            plan: None,
            acknowledged: &[],
            folder: &folder,
            backups: root.path(),
            stop: &AtomicBool::new(false),
        };
        let changed = |number, run: &str| Changed { number, run: run.into() };
        let failure = changed(8, "other").by_another(wish, Some(7)).unwrap();
        assert_eq!(failure.cause, "changed-since");
        let next = "fleet report other. To upgrade it from what it is now: fleet upgrade --on acme --to 0.7";
        assert!(failure.message.contains("run other has changed acme since"), "{}", failure.message);
        assert!(failure.message.ends_with(next), "{}", failure.message);
        assert!(changed(8, "other").by_another(wish, None).is_some());
        assert_eq!(changed(6, "other").by_another(wish, Some(7)), None);
        assert_eq!(changed(9, "mine").by_another(wish, Some(7)), None);
    }
}
