//! Where the work on a cluster stands: a fold of its events that needs no end, for whoever looks while it goes on.

use jiff::Timestamp;

use super::way_back::{Finder, WayBack};
use crate::event::{Event, Outcome, What};
use crate::remote::printable;

/// Where the work on one cluster stands. All text is cleaned for a terminal.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Underway {
    /// The how-manieth step is under way or was the last; 0 before the first.
    pub step: usize,
    /// Of how many, as far as is planned.
    pub steps: usize,
    /// What is done now, one phrase; empty before anything.
    pub doing: String,
    /// What was noted last within the step: what it waits for, or what came in between.
    pub noted: Option<String>,
    /// Since when it is done.
    pub since: Option<Timestamp>,
    /// How it ended; none while it goes on.
    pub outcome: Option<Outcome>,
    /// The steps of the rung that is climbed, and how many those before had.
    rung: Vec<String>,
    below: usize,
    migration: String,
    back: Finder,
}

impl Underway {
    /// Of a cluster whose journal cannot be read.
    pub(super) fn unreadable(why: &str) -> Self {
        Self { noted: Some(printable(why)), ..Self::default() }
    }

    /// Takes one event over.
    pub fn see(&mut self, event: &Event) {
        self.back.see(event);
        match &event.what {
            What::Begun { .. } => self.turn_to("logging in", event),
            What::Resumed { .. } => {
                self.outcome = None;
                self.turn_to("going on", event);
            }
            What::Connected { .. } => self.turn_to("asking for facts", event),
            What::Gathered { .. } => self.turn_to("judging checks", event),
            What::Planned { migration, steps, .. } => self.plan(migration, steps),
            What::StepStarted { step, title, .. } => {
                let place = self.rung.iter().position(|planned| planned == step);
                self.step = place.map_or(self.step + 1, |place| self.below + place + 1);
                self.steps = self.steps.max(self.step);
                self.turn_to(&printable(title), event);
            }
            What::Noted { text, .. } => self.noted = Some(printable(text)),
            What::StepEnded { .. } => self.noted = None,
            What::Finished { outcome } => {
                self.outcome = Some(outcome.clone());
                self.since = Some(event.at);
                self.noted = None;
            }
            _ => {}
        }
    }

    fn turn_to(&mut self, doing: &str, event: &Event) {
        doing.clone_into(&mut self.doing);
        self.since = Some(event.at);
        self.noted = None;
    }

    /// A further rung counts on: its steps come after those of the rung before. One that is planned again is the same rung.
    fn plan(&mut self, migration: &str, steps: &[String]) {
        if self.migration != migration {
            self.below += self.rung.len();
            migration.clone_into(&mut self.migration);
        }
        self.rung = steps.to_vec();
        self.steps = self.below + steps.len();
    }

    /// The backup that takes the cluster back to what it was before the rung that is under way, once that has changed anything.
    #[must_use]
    pub fn way_back(&self) -> Option<&WayBack> {
        self.back.found()
    }

    /// What is done, with the step's number before it: `3/14 Copy the volumes`.
    #[must_use]
    pub fn said(&self) -> String {
        if self.step > 0 { format!("{} {}", self.place(), self.doing) } else { self.doing.clone() }
    }

    /// The step's number of how many: `3/14`; `-` before the first.
    #[must_use]
    pub fn place(&self) -> String {
        if self.step > 0 { format!("{}/{}", self.step, self.steps) } else { "-".to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::board::tests::{event, planned, started};

    #[test]
    fn a_step_that_is_done_again_is_the_same_step() {
        let mut underway = Underway::default();
        let resumed = || event("acme", What::Resumed { by: "b@desk".into(), fleet: "0.1.0".into() });
        let events = [
            planned("acme", "to-0.7", &["backup/copy", "to-0.7/a", "to-0.7/b"]),
            started("acme", "backup/copy"),
            started("acme", "to-0.7/a"),
            event("acme", What::Finished { outcome: Outcome::Done }),
            resumed(),
            planned("acme", "to-0.7", &["backup/copy", "to-0.7/a", "to-0.7/b"]),
            started("acme", "to-0.7/a"),
        ];
        for event in &events {
            underway.see(event);
        }
        assert_eq!((underway.said().as_str(), &underway.outcome), ("2/3 Do to-0.7/a", &None));
        let note = |text: &str| event("acme", What::Noted { step: "to-0.7/a".into(), text: text.into() });
        underway.see(&note("waits for a release\u{1b}[2J"));
        assert!(underway.noted.as_ref().is_some_and(|noted| !noted.contains('\u{1b}')));
        underway.see(&started("acme", "to-0.7/b"));
        assert_eq!((underway.place().as_str(), &underway.noted), ("3/3", &None));
    }
}
