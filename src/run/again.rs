//! A script of upstream's that is run only where it is needed, and again after a fault that a remedy knows (guide, "From 1.0 to 2": "please run
//! the upgrade script again").

use tokio::time::Instant;

use super::local::{self, FAILED, Place};
use super::{Scribe, Trouble, wait};
use crate::plan::{Local, Probe, Step};
use crate::probes::Progress;
use crate::remedies::{self, Remedy};
use crate::remote::Remote;
use crate::version::Version;

/// Carries a script out, as often as its remedies allow and within the step's time.
pub(super) async fn carry<R: Remote>(
    remote: &R,
    step: &Step,
    script: &Local,
    place: &Place,
    scribe: &mut Scribe<'_>,
) -> Result<(), Trouble> {
    if let Some(probe) = &script.unless
        && let Progress::Reached(what) = wait::look(remote, probe, scribe).await?
    {
        return scribe.note(format!("not needed: {what}"));
    }
    let ends = Instant::now() + step.deadline;
    let allowed: Vec<&'static Remedy> = script.remedies.iter().filter_map(|id| remedies::find(id)).collect();
    let mut used = wait::Used::new();
    loop {
        let rest = Step { deadline: ends.saturating_duration_since(Instant::now()), ..step.clone() };
        match local::carry(remote, &rest, script, place, scribe).await {
            Err(Trouble::Failed(failure))
                if failure.cause == FAILED && cured(remote, script, &allowed, &mut used, scribe).await? =>
            {
                scribe.note(format!("run again after a remedy: {}", failure.message))?;
            }
            ended => return ended,
        }
    }
}

/// Whether the cluster showed a fault that was cured.
async fn cured<R: Remote>(
    remote: &R,
    script: &Local,
    allowed: &[&'static Remedy],
    used: &mut wait::Used,
    scribe: &mut Scribe<'_>,
) -> Result<bool, Trouble> {
    let source = Version::from_branch(&script.release).and_then(Version::source);
    let Some(source) = source.filter(|_| !allowed.is_empty()) else { return Ok(false) };
    let probe = Probe::Converged { source: source.to_owned() };
    match wait::look(remote, &probe, scribe).await? {
        Progress::NotYet(stuck) => wait::cure(remote, &stuck, allowed, used, scribe).await,
        Progress::Reached(_) | Progress::Never(_) => Ok(false),
    }
}
