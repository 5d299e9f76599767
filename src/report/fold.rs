//! How a cluster's report comes from its events: pure.

use std::path::Path;

use jiff::Timestamp;

use super::cluster::{
    BackupReport, ChecksReport, ClusterReport, CommandReport, Ending, NoteReport, RemedyReport, Rung, State,
    StepEnding, StepReport,
};
use super::lines::told;
use super::way_back::Finder;
use crate::event::{Event, Failure, Judgement, Left, Level, Outcome, StepEnd, What, When};
use crate::form;
use crate::journal::JournalError;
use crate::migrations;
use crate::remote::printable;
use crate::state::step_log;

impl ClusterReport {
    /// Folds a cluster's events.
    #[must_use]
    pub fn fold(cluster: &str, events: &[Event]) -> Self {
        let mut report = Self::not_begun(cluster);
        let Some(first) = events.first() else { return report };
        report.started = Some(first.at);
        report.took_ms = worked_ms(events);
        let mut end = None;
        let (mut changes, mut finder) = (Changes::default(), Finder::default());
        for event in events {
            changes.see(&event.what);
            finder.see(event);
            match &event.what {
                What::Finished { outcome } => {
                    report.ended = Some(event.at);
                    end = Some(outcome);
                }
                // What an earlier process ended with is not the end.
                What::Resumed { .. } => {
                    (report.ended, end) = (None, None);
                    report.take(event.at, &event.what);
                }
                what => report.take(event.at, what),
            }
        }
        report.way_back = finder.found().cloned();
        match end {
            Some(outcome) => report.conclude(outcome, changes.last),
            None => report.leave_open(changes.last),
        }
        report
    }

    /// The report of a cluster whose journal cannot be read to its end: what its whole lines tell, and that nobody knows the
    /// rest.
    #[must_use]
    pub fn unreadable(cluster: &str, error: &JournalError) -> Self {
        let (whole, cause, message) = match error {
            JournalError::Damaged { line, why, whole, .. } => (
                whole.as_slice(),
                "damaged-journal",
                format!(
                    "line {line} of its journal is damaged ({why}): what happened from there on is not known"
                ),
            ),
            JournalError::Unreadable { source, .. } => {
                ([].as_slice(), "unreadable-journal", format!("its journal cannot be read: {source}"))
            }
            other => ([].as_slice(), "unreadable-journal", format!("its journal cannot be read: {other}")),
        };
        let mut report = Self::fold(cluster, whole);
        let mut changes = Changes::default();
        for event in whole {
            changes.see(&event.what);
        }
        report.outcome = Ending::InDoubt;
        report.state = State::Unknown;
        report.left_at = changes.last;
        report.failed_step = None;
        report.failure = Some(Failure::new(cause, message).read("docs/reports.md#a-damaged-journal"));
        report
    }

    /// Takes one event over, but for its end.
    fn take(&mut self, at: Timestamp, what: &What) {
        match what {
            What::Begun { address } => self.address = Some(printable(address)),
            What::Connected { host_key } => self.host_key = Some(printable(host_key)),
            What::Gathered { when, version, apps } => {
                match when {
                    When::Before if self.version_before.is_none() => {
                        self.version_before = Some(printable(version));
                    }
                    // A second rung's facts are gathered before it, too; they do not change where the run began.
                    When::Before => {}
                    When::After => self.version_after = Some(printable(version)),
                }
                self.apps = apps.iter().map(|app| printable(app)).collect();
            }
            What::Judged { when, verdicts } => {
                self.checks.push(ChecksReport {
                    at,
                    when: *when,
                    verdicts: verdicts.iter().map(clean_verdict).collect(),
                });
            }
            What::Planned { migration, from, to, steps, expected_seconds, downtime_seconds } => {
                // Begun anew: what is planned now counts.
                self.rungs.pop_if(|rung| rung.migration == printable(migration));
                self.rungs.push(Rung {
                    migration: printable(migration),
                    from: *from,
                    to: *to,
                    steps: steps.iter().map(|step| printable(step)).collect(),
                    expected_seconds: *expected_seconds,
                    downtime_seconds: *downtime_seconds,
                });
            }
            What::StepStarted { step, title, class, expected_seconds } => {
                let rung = self.rungs.last().map_or("", |rung| rung.migration.as_str());
                let step = printable(step);
                let log = Path::new(rung).join(step_log(&step));
                // Of a step that was begun more than once, the last try counts.
                self.steps.retain(|known| known.log != log);
                self.steps.push(StepReport {
                    log,
                    step,
                    title: printable(title),
                    class: *class,
                    started: at,
                    outcome: StepEnding::Open,
                    took_ms: None,
                    expected_seconds: *expected_seconds,
                    failure: None,
                });
            }
            What::StepEnded { step, end, took_ms } => self.end_step(&printable(step), end, *took_ms),
            What::Ran { step, line, exit, took_ms } => self.commands.push(CommandReport {
                at,
                step: printable(step),
                line: printable(line),
                exit: printable(exit),
                took_ms: *took_ms,
            }),
            What::Noted { step, text } => {
                self.notes.push(NoteReport { at, step: printable(step), text: printable(text) });
            }
            What::Remedied { step, remedy, object, time } => self.remedies.push(RemedyReport {
                at,
                step: printable(step),
                remedy: printable(remedy),
                object: printable(object),
                time: *time,
            }),
            What::Proven { backup, folder, files, bytes } => {
                let backup = printable(backup);
                self.backups.retain(|known| known.backup != backup);
                self.backups.push(BackupReport {
                    at,
                    backup,
                    folder: printable(folder),
                    files: *files,
                    bytes: *bytes,
                });
            }
            What::BackupBegun { .. } | What::Finished { .. } => {}
            What::Resumed { .. }
            | What::Locked { .. }
            | What::Unlocked { .. }
            | What::LockBroken { .. }
            | What::Held { .. }
            | What::GivenBack { .. }
            | What::Confirmed { .. }
            | What::Settled { .. } => {
                if let What::Settled { step, done, .. } = what {
                    self.settle_step(&printable(step), *done);
                }
                if let Some(text) = told(what) {
                    self.notes.push(NoteReport { at, step: String::new(), text: printable(&text) });
                }
            }
            What::Unknown => self.unknown_events += 1,
        }
    }

    fn end_step(&mut self, id: &str, end: &StepEnd, took_ms: u64) {
        let Some(step) = self.steps.iter_mut().rev().find(|step| step.step == id) else { return };
        (step.outcome, step.failure) = match end {
            StepEnd::Done => (StepEnding::Done, None),
            StepEnd::Failed(failure) => (StepEnding::Failed, Some(clean_failure(failure))),
            StepEnd::InDoubt(failure) => (StepEnding::InDoubt, Some(clean_failure(failure))),
        };
        step.took_ms = Some(took_ms);
        if id.rsplit('/').next() == Some("copy") {
            self.downtime_ms = Some(self.downtime_ms.unwrap_or(0).saturating_add(took_ms));
        }
    }

    /// A person knows better than the journal.
    fn settle_step(&mut self, id: &str, done: bool) {
        if let Some(step) = self.steps.iter_mut().rev().find(|step| step.step == id) {
            (step.outcome, step.failure) = (if done { StepEnding::Done } else { StepEnding::Failed }, None);
        }
    }

    /// The step of which nobody knows whether it was done. What is taken back by itself leaves no doubt.
    fn in_doubt(&self) -> Option<&StepReport> {
        self.steps.iter().rev().find(|step| {
            matches!(step.outcome, StepEnding::Open | StepEnding::InDoubt)
                && step.class.changes()
                && !["resume/", "truce/"].iter().any(|rest| step.step.starts_with(rest))
        })
    }

    /// Ends the report as the journal says.
    fn conclude(&mut self, outcome: &Outcome, changed: Option<String>) {
        let left = |state: &Left| match state {
            Left::Clean => (State::Clean, None),
            Left::Dirty { at } => (State::Dirty, Some(printable(at))),
        };
        self.failure = outcome.failure().map(clean_failure);
        // Nothing was done now; what was done before stays.
        let before = match (self.in_doubt().is_some(), &changed) {
            (true, _) => (State::Unknown, changed.clone()),
            (false, Some(_)) => (State::Dirty, changed.clone()),
            (false, None) => (State::Clean, None),
        };
        // A command of `fleet exec`, or a rung that is rebuilt and has changed nothing.
        let rebuilt = |id: &str| changed.is_none() && migrations::is_rebuilt(id);
        let as_it_was = self.rungs.last().is_none_or(|rung| rebuilt(&rung.migration));
        (self.outcome, (self.state, self.left_at)) = match outcome {
            Outcome::Done if as_it_was => (Ending::Done, (State::Clean, None)),
            Outcome::Done => (Ending::Done, (State::Upgraded, None)),
            Outcome::NothingToDo => (Ending::NothingToDo, (State::Upgraded, None)),
            Outcome::Refused { .. } => (Ending::Refused, before),
            Outcome::Unreachable { .. } => (Ending::Unreachable, before),
            Outcome::Halted { .. } => (Ending::Halted, before),
            Outcome::Failed { step, state, .. } => {
                self.failed_step = step.as_deref().map(printable);
                (Ending::Failed, left(state))
            }
            Outcome::InDoubt { step, .. } => {
                self.failed_step = Some(printable(step));
                (Ending::InDoubt, (State::Unknown, changed))
            }
            Outcome::Asked { step, state, .. } => {
                self.failed_step = Some(printable(step));
                (Ending::Asked, left(state))
            }
            Outcome::Interrupted { state } => {
                self.failure =
                    Some(Failure::new("interrupted", "the operator stopped the run at a safe point"));
                (Ending::Interrupted, left(state))
            }
        };
    }

    /// Ends the report of a journal that has no end: `fleet` is still at work on the cluster, or was killed, or its machine
    /// died. Which of these, nobody can tell from the journal.
    fn leave_open(&mut self, changed: Option<String>) {
        let doubted = self.in_doubt();
        let doubt = doubted.is_some();
        let open = doubted.or_else(|| self.steps.last().filter(|step| step.outcome == StepEnding::Open));
        let place = match (open, self.steps.last()) {
            (Some(step), _) => format!("within step {}", step.step),
            (None, Some(step)) => format!("after step {}", step.step),
            (None, None) => "before any step".to_owned(),
        };
        self.failed_step = open.map(|step| step.step.clone());
        let why = format!(
            "its journal ends {place}: either fleet is still at work on it, or it was stopped there{}",
            if doubt { "; nobody knows whether that step was done" } else { "" }
        );
        self.failure = Some(Failure::new("no-end", why).read("docs/operating.md#in-doubt"));
        (self.outcome, self.state) = match (doubt, &changed) {
            (true, _) => (Ending::InDoubt, State::Unknown),
            (false, Some(_)) => (Ending::NotFinished, State::Dirty),
            (false, None) => (Ending::NotFinished, State::Clean),
        };
        self.left_at = changed;
    }
}

/// How long nothing may be written down while work goes on outside of a step, and how much longer than it took something may seem by a
/// clock that nobody set.
const QUIET_MS: u64 = 3_600_000;
const SLACK_MS: u64 = 60_000;

/// Milliseconds of work on the cluster, from the first event to the last. Between two events a clock may have been set: no stretch
/// counts less than none, none more than it can have been, and a step no less than was measured without a clock. What lies between a
/// process that ended and the one that went on is no work.
fn worked_ms(events: &[Event]) -> u64 {
    let (mut worked, mut began, mut last) = (0_u64, None, None);
    for event in events {
        let most = match event.what {
            What::Resumed { .. } => 0,
            What::StepEnded { took_ms, .. } | What::Ran { took_ms, .. } => took_ms.saturating_add(SLACK_MS),
            _ => QUIET_MS,
        };
        let passed = last.map_or(0, |last| form::between(last, event.at));
        worked = worked.saturating_add(passed.min(most));
        last = Some(event.at);
        match event.what {
            What::StepStarted { .. } => began = Some(worked),
            What::StepEnded { took_ms, .. } => {
                worked = worked.max(began.take().map_or(0, |began: u64| began.saturating_add(took_ms)));
            }
            _ => {}
        }
    }
    worked
}

/// Which changing step of a migration was started last. What is done around every migration (the copy, with k3s stopped and started
/// again; the truce) leaves the cluster as it was (promise M8), unless the run died within it.
#[derive(Debug, Default)]
struct Changes {
    own: String,
    last: Option<String>,
}

impl Changes {
    fn see(&mut self, what: &What) {
        match what {
            // A rung is only planned, and judged beforehand, where the one below it has come to its end.
            What::Planned { migration, .. } => (self.own, self.last) = (format!("{migration}/"), None),
            What::Judged { when: When::Before, .. } => self.last = None,
            What::StepStarted { step, class, .. }
                if class.changes() && !self.own.is_empty() && step.starts_with(&self.own) =>
            {
                self.last = Some(printable(step));
            }
            _ => {}
        }
    }
}

fn clean_failure(failure: &Failure) -> Failure {
    Failure {
        cause: printable(&failure.cause),
        message: printable(&failure.message),
        read: printable(&failure.read),
    }
}

fn clean_verdict(verdict: &Judgement) -> Judgement {
    Judgement {
        check: printable(&verdict.check),
        level: verdict.level,
        said: printable(&verdict.said),
        acknowledged: verdict.acknowledged && verdict.level == Level::Warn,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Class;

    /// A cluster whose one step took ten minutes, by a clock that is set by so many seconds within it and after it.
    fn story(within: i64, after: i64) -> Vec<Event> {
        let step = || "to-0.7/wait".to_owned();
        let whats = [
            (0, What::Begun { address: "x".into() }),
            (
                5,
                What::StepStarted {
                    step: step(),
                    title: String::new(),
                    class: Class::ReadOnly,
                    expected_seconds: 1,
                },
            ),
            (300 + within, What::Noted { step: step(), text: "waiting".into() }),
            (605 + within, What::StepEnded { step: step(), end: StepEnd::Done, took_ms: 600_000 }),
            (610 + within + after, What::Finished { outcome: Outcome::Done }),
        ];
        let at = |second| Timestamp::from_second(1_800_000_000 + second).unwrap();
        let event = |(seq, (second, what))| Event { seq, at: at(second), cluster: "acme".into(), what };
        (1..).zip(whats).map(event).collect()
    }

    #[test]
    fn a_clock_that_is_set_makes_no_time_negative_or_absurd() {
        const DAY: i64 = 86_400;
        assert_eq!(ClusterReport::fold("acme", &story(0, 0)).took_ms, 610_000);
        for (within, after) in [(-DAY, 0), (0, -DAY), (3650 * DAY, 0), (0, 3650 * DAY), (-3650 * DAY, DAY)] {
            let took = ClusterReport::fold("acme", &story(within, after)).took_ms;
            assert!((600_000..=2 * QUIET_MS + 610_000).contains(&took), "{within} {after}: {took}");
        }
        // What lies between two processes is no work.
        let mut resumed = story(0, 0);
        let late = resumed[4].at.checked_add(jiff::SignedDuration::from_hours(30)).unwrap();
        let what = What::Resumed { by: "b@desk".into(), fleet: "0.1.0".into() };
        resumed.push(Event { seq: 6, at: late, cluster: "acme".into(), what });
        assert_eq!(ClusterReport::fold("acme", &resumed).took_ms, 610_000);
    }
}
