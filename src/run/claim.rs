//! Carrying out `Action::MoveClaim`: a claim goes to another namespace, its volume and the data stay where they are (facts section 7).
//!
//! The loop remembers nothing of the move: it looks, does the one thing that is next, and looks again. Where a move stands is read from the
//! cluster alone, so one that was cut off anywhere is gone on with where it is; [`standing`] has the rules.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use super::{Scribe, Trouble};
use crate::event::Failure;
use crate::plan::MoveClaim;
use crate::remote::{Command, Remote};

mod standing;
#[cfg(test)]
mod tests;

use standing::Next;

/// Where to read on.
const READ: &str = "docs/claims.md#when-a-move-stops";
/// How often the same thing is done within one go: what has no effect by then will have none.
const ATTEMPTS: u32 = 3;
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Moves the claim, from wherever an earlier go has left it. What is not so at the deadline is a failure and no doubt: it was looked at.
pub async fn carry<R: Remote>(
    remote: &R,
    what: &MoveClaim,
    deadline: Duration,
    scribe: &mut Scribe<'_>,
) -> Result<(), Trouble> {
    let ends = Instant::now() + deadline;
    let mut done: BTreeMap<&'static str, u32> = BTreeMap::new();
    let (mut told, mut complaint) = (String::new(), String::new());
    let mut pause = FIRST_PAUSE;
    loop {
        let (cause, why) = match look(remote, what, scribe).await? {
            Next::Done(said) => return scribe.note(said),
            Next::Stop(cause, why) => return Err(failed(cause, why)),
            Next::Wait(cause, why) => (cause, why),
            Next::Do(act) => {
                let times = done.entry(act.cause).or_insert(0);
                if *times == ATTEMPTS {
                    let why = format!("{}: {ATTEMPTS} times, without effect{complaint}", act.says);
                    return Err(failed(act.cause, why));
                }
                *times += 1;
                scribe.note(&act.says)?;
                let output = scribe.ask(remote, &act.command).await?;
                if output.success() {
                    complaint.clear();
                    pause = FIRST_PAUSE;
                    continue;
                }
                complaint = format!(" ({})", output.complaint());
                (act.cause, format!("{}{complaint}", act.says))
            }
        };
        if why != told {
            scribe.note(format!("waiting: {why}"))?;
            told.clone_from(&why);
        }
        let left = ends.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(failed(cause, format!("not within {} s: {why}", deadline.as_secs())));
        }
        tokio::time::sleep(pause.min(left)).await;
        pause = pause.mul_f32(1.5).min(LONGEST_PAUSE);
    }
}

/// One look at everything that tells where the move stands. An API that does not answer is waited for.
async fn look<R: Remote>(remote: &R, what: &MoveClaim, scribe: &mut Scribe<'_>) -> Result<Next, Trouble> {
    // It ends on the host before its own deadline here, as every question does that is asked again.
    let ask = Command::new(
        "timeout 50 k3s kubectl get namespaces,persistentvolumes,persistentvolumeclaims,pods -A -o json",
    )
    .limit(64 << 20);
    let away = |why: String| Next::Wait("claim-not-moved", format!("the API does not answer: {why}"));
    Ok(match scribe.look(remote, &ask).await? {
        None => away("no answer in time".to_owned()),
        Some(output) if !output.success() => away(output.complaint()),
        Some(output) if output.dropped > 0 => away("its answer is larger than 64 MiB".to_owned()),
        Some(output) => standing::next(what, &output.text()),
    })
}

fn failed(cause: &str, message: String) -> Trouble {
    Trouble::Failed(Failure::new(cause, message).read(READ))
}
