//! Carrying out `Action::Hold` and `Action::GiveBack`: the truce with what a cluster does by itself at night (promise M14).

use std::time::Duration;

use tokio::time::Instant;

use super::{Scribe, Trouble};
use crate::event::{Failure, What};
use crate::plan::Truce;
use crate::remote::{Command, Exit, Output, Remote};
use crate::truce::{self, LEASE, LONGEST, Seen, Standing, Thing};
use crate::window::{self, Guard};

/// Where to read on.
const READ: &str = "docs/truce.md#when-something-is-not-given-back";
/// How long an API that is away is waited for, and between two attempts.
const PATIENCE: Duration = Duration::from_secs(120);
const PAUSE: Duration = Duration::from_secs(5);

/// Arms the host's timer that gives everything back, then holds it. What an earlier run has left held is taken over, with its record of how
/// things were found.
pub(super) async fn hold<R: Remote>(
    remote: &R,
    truce: &Truce,
    spool: &str,
    scribe: &mut Scribe<'_>,
) -> Result<(), Trouble> {
    let (standing, windows) = stands(remote, spool, scribe).await?;
    for (kind, _) in windows.iter().filter(|(_, guard)| *guard == Guard::Shutting) {
        // It is being shut just now: that comes to its end first.
        scribe.demand(remote, &window::put_away(spool, *kind)).await?;
    }
    let (mut things, adopted) = match standing {
        Standing::Waiting(things) => (things, true),
        Standing::Fired(_) => {
            // It is being given back just now: that comes to its end first.
            let undone = scribe.repeat(remote, &truce::undo(spool)).await?;
            if !undone.success() {
                return Err(not_given_back(spool, &undone.complaint()));
            }
            (Vec::new(), false)
        }
        Standing::None | Standing::Undone => (Vec::new(), false),
    };
    let look = scribe.demand(remote, &truce::look(&truce::things(truce))).await?;
    let seen = Seen::read(&look).map_err(strange)?;
    for thing in truce::to_hold(truce, &seen) {
        if !things.iter().any(|known| known.is(&thing)) {
            things.push(thing);
        }
    }
    if adopted {
        scribe.note("an earlier run had held this and did not give it back: its record is taken over")?;
    }
    window::take_over(&mut things, &windows);
    arm(remote, spool, &things, adopted, scribe).await?;
    for (kind, guard) in windows {
        // Its timer would shut it in the middle of the run: from here on that is done when all is given back.
        scribe.demand(remote, &window::forget(spool, kind)).await?;
        if guard.shuts() {
            scribe
                .note(format!("the {} that was opened by hand is shut when this is given back", kind.id()))?;
        }
    }
    if things.is_empty() {
        return scribe.note("there is nothing to hold");
    }
    let held = scribe.ask(remote, &truce::hold(&things)).await?;
    let seen = Seen::read(&held).map_err(strange)?;
    let changes: Vec<String> = things.iter().map(|thing| seen.held(thing)).collect();
    if !held.success() {
        let said = format!("not everything could be held: {} ({})", changes.join("; "), held.complaint());
        return Err(Trouble::Failed(
            Failure::new("not-held", said).read("docs/truce.md#when-it-cannot-be-held"),
        ));
    }
    scribe.record(What::Held { changes })
}

/// Arms the timer for these things, in the place of one that stands there. An adopted one is renewed first, so that it does not fire
/// in between; one command does it all, so a lost line leaves no moment without a timer.
async fn arm<R: Remote>(
    remote: &R,
    spool: &str,
    things: &[Thing],
    adopted: bool,
    scribe: &mut Scribe<'_>,
) -> Result<(), Trouble> {
    let timer = truce::timer(spool, things);
    let mut command = timer.disarm();
    if !things.is_empty() {
        command = command.then("&&", &timer.arm(LEASE, LONGEST));
    }
    if adopted {
        command = timer.renew(LEASE).then("&&", &command);
    }
    scribe.demand(remote, &command).await.map(drop)
}

/// Gives everything back as it was found, and disarms the timer. The API may be away for a while after a start of k3s, which is waited
/// for. What cannot be given back now is left to the host's timer.
pub(super) async fn give_back<R: Remote>(
    remote: &R,
    truce: &Truce,
    spool: &str,
    scribe: &mut Scribe<'_>,
) -> Result<(), Trouble> {
    let ends = Instant::now() + PATIENCE;
    let things = match standing(remote, spool, scribe).await? {
        // Its folder may have been lost; what the plan says is the next best.
        Standing::None => truce::things(truce),
        Standing::Waiting(things) | Standing::Fired(things) => things,
        Standing::Undone => {
            scribe.note(
                "the host has given everything back by itself: nothing was heard of the run for too long",
            )?;
            Vec::new()
        }
    };
    let seen = loop {
        let output = scribe
            .repeat(remote, &truce::give_back(&things))
            .await
            .map_err(|trouble| lost(trouble, spool))?;
        let seen = Seen::read(&output);
        match seen {
            Ok(seen) if output.success() => break seen,
            _ if Instant::now() + PAUSE < ends && starts(remote, scribe).await? => {
                tokio::time::sleep(PAUSE).await;
            }
            seen => {
                let said = why(seen, &things, &output);
                // An hour for whoever puts it right; then the host tries by itself.
                let _ = scribe.ask(remote, &truce::renew(spool, LEASE)).await;
                return Err(not_given_back(spool, &said));
            }
        }
    };
    scribe.demand(remote, &truce::timer(spool, &[]).disarm()).await?;
    if things.is_empty() {
        return Ok(());
    }
    scribe.record(What::GivenBack { changes: things.iter().map(|thing| seen.given_back(thing)).collect() })
}

/// Tells the host that the run lives, for at least as long as the next step may take. An error is a hold that is no more; a line that is lost
/// meanwhile is the step's own trouble.
pub(super) async fn keep<R: Remote>(
    remote: &R,
    spool: &str,
    time: Duration,
    scribe: &mut Scribe<'_>,
) -> Result<(), Trouble> {
    let lease = LEASE.saturating_add(time).min(LONGEST);
    match scribe.repeat(remote, &truce::renew(spool, lease)).await {
        Ok(output) if output.exit == Exit::Code(3) => {
            let said = "nothing was heard of the run for so long that the host has given the nightly jobs back by itself: they, and a source \
                        that was suspended, may have changed the cluster since. Run it again: it holds them anew";
            Err(Trouble::Failed(Failure::new("truce-over", said).read("docs/truce.md#the-hosts-own-timer")))
        }
        Ok(output) if !output.success() => {
            scribe.note(format!("the lease of the truce could not be renewed: {}", output.complaint()))
        }
        Ok(_) | Err(_) => Ok(()),
    }
}

/// Whether k3s runs or starts: without it nothing in the cluster can be given back.
async fn starts<R: Remote>(remote: &R, scribe: &mut Scribe<'_>) -> Result<bool, Trouble> {
    let state = scribe.repeat(remote, &Command::new("systemctl is-active k3s")).await?;
    Ok(state.text().lines().any(|word| matches!(word.trim(), "active" | "activating")))
}

async fn standing<R: Remote>(remote: &R, spool: &str, scribe: &mut Scribe<'_>) -> Result<Standing, Trouble> {
    Ok(stands(remote, spool, scribe).await?.0)
}

/// What the host keeps of a truce, and of which windows it keeps a timer.
async fn stands<R: Remote>(
    remote: &R,
    spool: &str,
    scribe: &mut Scribe<'_>,
) -> Result<(Standing, Vec<(window::Kind, Guard)>), Trouble> {
    let output = scribe.repeat(remote, &truce::standing(spool)).await?;
    Ok((truce::read_standing(&output).map_err(strange)?, window::guarded(&output)))
}

fn strange(said: String) -> Trouble {
    Trouble::Failed(Failure::new("strange-answer", said).read(READ))
}

fn why(seen: Result<Seen, String>, things: &[Thing], output: &Output) -> String {
    match seen {
        Ok(seen) => {
            let each: Vec<String> = things.iter().map(|thing| seen.given_back(thing)).collect();
            format!("{} ({})", each.join("; "), output.complaint())
        }
        Err(why) => why,
    }
}

fn not_given_back(spool: &str, said: &str) -> Trouble {
    let folder = truce::timer(spool, &[]).folder().to_owned();
    let said = format!(
        "what was held is not given back: {said}. The host tries it by itself in about an hour, for ten minutes. To do it before, type on the \
         host: sh {folder}/undo && touch {folder}/undone"
    );
    Trouble::Failed(Failure::new("not-given-back", said).read(READ))
}

/// The line is lost for good: the host does it by itself.
fn lost(trouble: Trouble, spool: &str) -> Trouble {
    let (Trouble::Failed(failure) | Trouble::InDoubt(failure)) = trouble;
    if failure.cause == "lock-lost" {
        // Another run has the host, and with it what is held.
        return Trouble::Failed(failure);
    }
    let folder = truce::timer(spool, &[]).folder().to_owned();
    let said = format!(
        "whether everything was given back is not known: {}. The host does it by itself when it has heard nothing for its lease; look with \
         `fleet doctor`, or type on the host: sh {folder}/undo",
        failure.message
    );
    Trouble::InDoubt(Failure::new(failure.cause, said).read(READ))
}
