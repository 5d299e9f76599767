//! The lock of a cluster's host: taken before anything is asked, given back at whatever end.

use std::fs::read_to_string;
use std::io::{self, sink};
use std::time::Duration;

use tokio::time::timeout;

use crate::event::{Failure, Outcome, What};
use crate::inventory::Cluster;
use crate::journal::Journal;
use crate::lock::{Answer, Held, Lock};
use crate::remote::{Remote, RemoteError, printable};
use crate::run::{self, Fenced};
use crate::state::Run;

/// How long giving a lock back may take: on a line that stands, and where it could not be made again just now.
const GIVING_BACK: Duration = Duration::from_secs(90);
const GIVING_UP: Duration = Duration::from_secs(5);
/// Where to read on.
const READ: &str = "docs/locks.md#locked";

/// The lock of this cluster's host as this run wants it.
pub(super) fn lock(cluster: &Cluster, run: &Run) -> Lock {
    let of_here = |path: &str| read_to_string(path).unwrap_or_default();
    Lock {
        spool: cluster.paths.spool.clone(),
        cluster: cluster.name.clone(),
        run: run.id.clone(),
        owner: run.by.clone(),
        machine: Lock::machine(&of_here("/etc/machine-id"), &of_here("/proc/sys/kernel/hostname")),
        reason: if run.target.is_some() && !run.is_restore() {
            format!("upgrade {}", run.aim())
        } else {
            run.aim()
        },
    }
}

/// Takes it, which the journal says, or tells the outcome of the cluster. What is sent through it from then on carries its fencing number.
pub(super) async fn take<'a, R: Remote>(
    remote: &'a R,
    lock: &'a Lock,
    journal: &mut Journal,
) -> io::Result<Result<Fenced<'a, R>, Outcome>> {
    let number = match ask(remote, lock).await {
        Ok(number) => number,
        Err(outcome) => return Ok(Err(outcome)),
    };
    journal.record(What::Locked { number })?;
    Ok(Ok(Fenced::new(remote, lock, number, journal.pending())))
}

/// The fencing number, or the outcome of the cluster.
async fn ask<R: Remote>(remote: &R, lock: &Lock) -> Result<u64, Outcome> {
    let question = lock.take();
    // Taken twice is taken once: the newer number counts.
    let output = remote.ask(question.command(), &mut sink()).await.map_err(|error| run::unasked(&error))?;
    let refused =
        |cause: &str, message: String| Outcome::Refused { failure: Failure::new(cause, message).read(READ) };
    match question.read(&output) {
        Ok(Answer::Taken { number }) => Ok(number),
        Ok(Answer::Held(held)) => Err(refused("locked", locked(&held, lock))),
        Ok(Answer::Cannot(why)) => {
            Err(refused("no-lock", format!("the host cannot be locked: {why}. Nothing was done there")))
        }
        Ok(other) => Err(refused("no-lock", format!("the host answers strangely about its lock: {other:?}"))),
        Err(error) => Err(refused("no-lock", format!("{error}. Nothing was done there"))),
    }
}

/// Who has it, and what to type.
fn locked(held: &Held, lock: &Lock) -> String {
    let name = &lock.cluster;
    let next = match &held.holder {
        Some(_) if held.idle.is_fresh() => "It is at work: wait for it".to_owned(),
        Some(holder) => format!(
            "If it is dead: go on with it (`fleet resume {}`, on its machine), or `fleet lock break {name} --why TEXT`",
            holder.run
        ),
        None => format!("Look at {}/lock on the host, then `fleet lock break {name} --why TEXT`", lock.spool),
    };
    format!("{held}. Nothing was done there. {next}")
}

/// Gives it back, whatever happened, trouble of this machine too: nobody is to wait for this run. The journal says whether the host has it back.
pub(super) async fn release<R: Remote>(
    fenced: &Fenced<'_, R>,
    outcome: io::Result<Outcome>,
    journal: &mut Journal,
) -> io::Result<Outcome> {
    let released = give_back(fenced, outcome.as_ref().ok()).await;
    let outcome = outcome?;
    journal.record(match released {
        Ok(()) => What::Unlocked { number: fenced.number() },
        Err(text) => What::Noted { step: "lock".to_owned(), text },
    })?;
    Ok(outcome)
}

/// `Err` says why not, and what to type.
async fn give_back<R: Remote>(fenced: &Fenced<'_, R>, outcome: Option<&Outcome>) -> Result<(), String> {
    let away = outcome.and_then(Outcome::failure).is_some_and(|failure| failure.cause == "unreachable");
    let within = if away { GIVING_UP } else { GIVING_BACK };
    let why = match timeout(within, fenced.release()).await {
        Ok(Ok(())) => return Ok(()),
        Ok(Err(error @ RemoteError::LockLost(_))) => return Err(printable(&error.to_string())),
        Ok(Err(error)) => error.to_string(),
        Err(_) => format!("the host did not answer within {} s", within.as_secs()),
    };
    Err(printable(&format!(
        "the host's lock was not given back ({why}); a lock that nobody renews can be broken: docs/locks.md#breaking-a-lock"
    )))
}

/// The last lines of the journal, for the host's copy. Without them that copy says less than this machine's, no more.
pub(super) async fn last_words<R: Remote>(fenced: &Fenced<'_, R>) {
    let said = timeout(GIVING_UP, fenced.last_words()).await;
    if !matches!(said, Ok(Ok(()))) {
        tracing::debug!(?said, "the host's copy of the journal lacks its last lines");
    }
}
