//! Events as plain lines, for logs and for whoever has no terminal.

use std::io::Write;

use crate::event::{Event, Failure, Left, Outcome, StepEnd, What};
use crate::form::{bytes, clock, seconds, span};
use crate::remote::printable;

/// Writes an event's plain line, if it has one. A reader that is gone does not stop the work.
pub(super) fn tell(out: &mut impl Write, event: &Event) {
    if let Some(line) = line(event) {
        let _ = writeln!(out, "{line}");
    }
}

/// An event as a plain line: `12:03:07 acme  backup/copy started`. None for events that only the report tells.
#[must_use]
pub fn line(event: &Event) -> Option<String> {
    let said = match &event.what {
        What::Begun { address } => format!("begun: {address}"),
        What::StepStarted { step, expected_seconds, .. } => {
            format!("{step} started, about {}", seconds(*expected_seconds))
        }
        What::StepEnded { step, end, took_ms } => match end {
            StepEnd::Done => format!("{step} done after {}", span(*took_ms)),
            StepEnd::Failed(failure) => format!("{step} FAILED after {}: {}", span(*took_ms), why(failure)),
            StepEnd::InDoubt(failure) => {
                format!("{step} IN DOUBT after {}: {}", span(*took_ms), why(failure))
            }
        },
        What::Remedied { step, remedy, object, time } => {
            format!("{step} uses remedy {remedy} on {object}, time {time}")
        }
        What::Proven { backup, files, bytes: size, .. } => {
            format!("backup {backup} is proven: {files} files, {}", bytes(*size))
        }
        What::Finished { outcome } => finished(outcome),
        other => told(other)?,
    };
    // Cleaned once more at the edge: whatever wrote the event, nothing of a host acts upon this terminal.
    Some(format!("{} {}  {}", clock(event.at), printable(&event.cluster), printable(&said)))
}

/// What is told of the run besides its steps; none for events that only the report tells, or that have a line of their own.
pub(super) fn told(what: &What) -> Option<String> {
    Some(match what {
        What::Resumed { by, .. } => format!("gone on with by {by}"),
        What::Locked { number } => format!("locked for this run, number {number}"),
        What::Unlocked { number } => format!("lock given back, number {number}"),
        What::LockBroken { owner, idle_seconds, why, .. } => {
            let idle = idle_seconds.map_or_else(
                || "the host was started anew since".to_owned(),
                |idle| format!("no sign of life for {}", seconds(idle)),
            );
            format!("LOCK BROKEN of {owner} ({idle}): {why}")
        }
        What::Held { changes } => format!("held: {}", changes.join("; ")),
        What::GivenBack { changes } => format!("given back: {}", changes.join("; ")),
        What::Settled { step, done: true, by } => format!("{step} was done, says {by}"),
        What::Settled { step, done: false, by } => format!("{step} is done again, says {by}"),
        What::Confirmed { step, by, note: None } => format!("{step} is done, says {by}"),
        What::Confirmed { step, by, note: Some(note) } => format!("{step} is done, says {by}: {note}"),
        What::Begun { .. }
        | What::BackupBegun { .. }
        | What::StepStarted { .. }
        | What::StepEnded { .. }
        | What::Remedied { .. }
        | What::Proven { .. }
        | What::Finished { .. }
        | What::Connected { .. }
        | What::Gathered { .. }
        | What::Judged { .. }
        | What::Planned { .. }
        | What::Ran { .. }
        | What::Noted { .. }
        | What::Unknown => return None,
    })
}

fn why(failure: &Failure) -> String {
    format!("{} ({})", failure.message, failure.cause)
}

fn finished(outcome: &Outcome) -> String {
    let mut said = format!("ENDED: {}", outcome.as_str());
    match outcome {
        Outcome::Failed { state: Left::Dirty { at }, .. }
        | Outcome::Interrupted { state: Left::Dirty { at } } => {
            said = format!("{said}, left at {at}");
        }
        Outcome::InDoubt { step, .. } | Outcome::Asked { step, .. } => said = format!("{said} at {step}"),
        _ => {}
    }
    match outcome.failure() {
        Some(failure) => format!("{said}: {}", why(failure)),
        None => said,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::board::tests::{event, started};

    fn story() -> Vec<Event> {
        let step = || "to-0.7/wait".to_owned();
        let failure = || Failure::new("deadline", "no end within 600 s");
        let ended = |end| event("acme", What::StepEnded { step: step(), end, took_ms: 125_000 });
        let finished = |outcome| event("acme", What::Finished { outcome });
        vec![
            event("acme", What::Begun { address: "root@203.0.113.7:22".into() }),
            event("acme", What::Connected { host_key: "SHA256:x".into() }),
            started("acme", "backup/copy"),
            event("acme", What::Ran { step: step(), line: "true".into(), exit: "0".into(), took_ms: 1 }),
            event("acme", What::Noted { step: step(), text: "a note".into() }),
            event(
                "acme",
                What::Proven { backup: "b1".into(), folder: "f".into(), files: 12, bytes: 1_503_238_553 },
            ),
            event(
                "acme",
                What::Remedied { step: step(), remedy: "loki".into(), object: "a/b".into(), time: 2 },
            ),
            ended(StepEnd::Done),
            ended(StepEnd::Failed(failure())),
            ended(StepEnd::InDoubt(failure())),
            finished(Outcome::Done),
            finished(Outcome::NothingToDo),
            finished(Outcome::Refused { failure: failure() }),
            finished(Outcome::Unreachable { failure: failure() }),
            finished(Outcome::Failed { step: None, state: Left::Clean, failure: failure() }),
            finished(Outcome::Failed {
                step: Some(step()),
                state: Left::Dirty { at: step() },
                failure: failure(),
            }),
            finished(Outcome::InDoubt { step: step(), failure: failure() }),
            finished(Outcome::Interrupted { state: Left::Dirty { at: step() } }),
        ]
    }

    #[test]
    fn plain_lines_tell_starts_ends_and_outcomes() {
        let mut out = Vec::new();
        for event in story() {
            tell(&mut out, &event);
        }
        insta::assert_snapshot!(String::from_utf8(out).unwrap());
    }
}
