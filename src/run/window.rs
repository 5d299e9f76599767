//! Opening and shutting a maintenance window of one cluster (guide rows G1 and G3).

use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::scribe::{Scribe, Trouble, well};
use super::unasked;
use crate::event::{Failure, Left, Outcome, StepEnd, What};
use crate::facts::windows::{self, Windows};
use crate::files::make_folder;
use crate::form::{moment, seconds};
use crate::jobs::Timer;
use crate::journal::Journal;
use crate::plan::Class;
use crate::remote::{Command, Output, Remote, RemoteError};
use crate::truce::{self, Seen, Thing};
use crate::window::{self, Decision, Wanted};

/// Looks, decides, and sets the window as it is wanted. The cluster's trouble is an [`Outcome`]; `Err` is this machine's own.
pub async fn carry<R: Remote>(
    remote: &R,
    spool: &str,
    wanted: Wanted,
    log: &Path,
    journal: &mut Journal,
) -> io::Result<Outcome> {
    let (seen, standing) = match look(remote, spool).await {
        Ok(looked) => looked,
        Err(error) => return Ok(unasked(&error)),
    };
    let held = match truce::read_standing(&standing) {
        Ok(held) => held,
        Err(why) => {
            let failure = Failure::new("strange-answer", why).read(window::READ);
            return Ok(Outcome::Refused { failure });
        }
    };
    let step = wanted.step();
    match window::decide(wanted, &seen, &held, window::guard(wanted.kind, &standing)) {
        Decision::Refused(failure) => Ok(Outcome::Refused { failure }),
        Decision::Nothing(text) => {
            journal.record(What::Noted { step, text })?;
            Ok(Outcome::NothingToDo)
        }
        Decision::Do { to, time, notes } => {
            log.parent().map_or(Ok(()), make_folder)?;
            let title = format!("{} {}", if time.is_some() { "Open" } else { "Shut" }, to.title());
            let (class, expected_seconds) = (Class::Undoable, 5);
            journal.record(What::StepStarted { step: step.clone(), title, class, expected_seconds })?;
            let began = Instant::now();
            let mut scribe = Scribe::new(journal, &step, log)?;
            let done = set(remote, spool, wanted, &Doing { to, time, notes }, &mut scribe).await;
            ended(&step, done, began, journal)
        }
    }
}

/// What is seen of a cluster's windows, and what its host keeps of them. Changes nothing.
pub async fn look<R: Remote>(remote: &R, spool: &str) -> Result<(Windows, Output), RemoteError> {
    let standing = remote.ask(&truce::standing(spool), &mut io::sink()).await?;
    Ok((windows::look(remote).await?, standing))
}

struct Doing {
    to: Thing,
    time: Option<Duration>,
    notes: Vec<String>,
}

/// The timer is armed before anything is opened, and ended only when all is seen to be shut.
async fn set<R: Remote>(
    remote: &R,
    spool: &str,
    wanted: Wanted,
    doing: &Doing,
    scribe: &mut Scribe<'_>,
) -> Result<(), Trouble> {
    let Doing { to, time, notes } = doing;
    let timer = window::timer(spool, wanted.kind, to);
    let change = truce::give_back(std::slice::from_ref(to));
    let title = to.title();
    if let Some(time) = *time {
        let armed = sure(remote, &timer.disarm().then("&&", &timer.arm(time, time)), scribe).await?;
        let changed = sure(remote, &timer.guard(time, &change), scribe).await;
        is_so(to, &changed.map_err(|trouble| still(trouble, time))?)?;
        let until = Timestamp::now().checked_add(time).map_or_else(|_| "?".to_owned(), moment);
        let shut = format!("shut by the host's timer in {}, at {until}", seconds(time.as_secs()));
        scribe.note(format!("{title} is {}: {shut}", window::state(to)))?;
        if !Timer::outlives_reboot(&armed) {
            scribe.note("systemd is not the host's service manager: started anew, the host would not shut the window. Close it by hand then")?;
        }
    } else {
        is_so(to, &sure(remote, &change, scribe).await?)?;
        sure(remote, &timer.disarm(), scribe).await?;
        scribe.note(format!("{title} is {}", window::state(to)))?;
    }
    notes.iter().try_for_each(|note| scribe.note(note))
}

/// All of these may be sent twice, and a lost line is no reason to leave a window as it is.
async fn sure<R: Remote>(remote: &R, command: &Command, scribe: &mut Scribe<'_>) -> Result<Output, Trouble> {
    well(command, scribe.repeat(remote, command).await?)
}

/// What was set is read back by the command that sets it.
fn is_so(to: &Thing, changed: &Output) -> Result<(), Trouble> {
    let failed = |said: String| Trouble::Failed(Failure::new("not-set", said).read(window::READ));
    let seen = Seen::read(changed).map_err(failed)?;
    match seen.is(to) {
        Some(is) if is == to.found => Ok(()),
        is => Err(failed(format!("{} is {} and not {}", to.title(), is.unwrap_or("?"), to.found))),
    }
}

/// An opening that failed has its timer armed: whatever it did comes to its end.
fn still(trouble: Trouble, time: Duration) -> Trouble {
    let said = |failure: Failure| {
        let message = format!(
            "{}. Whatever was opened is shut by the host's timer in {}",
            failure.message,
            seconds(time.as_secs())
        );
        Failure { message, ..failure }
    };
    match trouble {
        Trouble::Failed(failure) => Trouble::Failed(said(failure)),
        Trouble::InDoubt(failure) => Trouble::InDoubt(said(failure)),
    }
}

/// Writes down how the step ended.
pub(super) fn ended(
    step: &str,
    done: Result<(), Trouble>,
    began: Instant,
    journal: &mut Journal,
) -> io::Result<Outcome> {
    let (name, took_ms) = (step.to_owned(), u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX));
    let (end, outcome) = match done {
        Ok(()) => (StepEnd::Done, Outcome::Done),
        Err(Trouble::Failed(failure)) => {
            let state = Left::Dirty { at: name.clone() };
            (StepEnd::Failed(failure.clone()), Outcome::Failed { step: Some(name.clone()), state, failure })
        }
        Err(Trouble::InDoubt(failure)) => {
            (StepEnd::InDoubt(failure.clone()), Outcome::InDoubt { step: name.clone(), failure })
        }
    };
    journal.record(What::StepEnded { step: name, end, took_ms })?;
    Ok(outcome)
}
