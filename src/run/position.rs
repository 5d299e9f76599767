//! Where a cluster's journal ends: what was done, what was under way, and what it stands on. Pure.

use std::collections::BTreeMap;
use std::path::PathBuf;

use jiff::Timestamp;

use crate::event::{Event, Failure, Left, Outcome, StepEnd, What};

/// Where a journal ends.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Position {
    /// Whether there is any line at all.
    pub begun: bool,
    /// How the last process ended; none where it was cut off.
    pub outcome: Option<Outcome>,
    /// Whether a rung before the one under way was finished.
    pub climbed: bool,
    /// The rung that was planned last, unless the cluster is done.
    pub rung: Option<Rung>,
    /// The number of the last lock.
    pub lock: Option<u64>,
}

/// A rung that was begun.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Rung {
    /// The migration's id.
    pub migration: String,
    /// How each step stands that was begun.
    pub steps: BTreeMap<String, Standing>,
    /// The backup that was begun last.
    pub backup: Option<Backup>,
    /// The last changing step of the migration that was begun: from the first one on the cluster is not as it was.
    pub dirty: Option<String>,
    /// The changing step of which nobody knows whether it was done.
    pub doubt: Option<String>,
}

/// A backup as the journal tells of it. Whether it is good, only its proof tells.
#[derive(Debug, Clone, PartialEq)]
pub struct Backup {
    /// Its id.
    pub id: String,
    /// Its folder.
    pub folder: PathBuf,
    /// When it was begun.
    pub begun: Timestamp,
    /// Whether it was proven then.
    pub proven: bool,
}

/// A command that ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ran {
    /// Its line.
    pub line: String,
    /// `exit status 0`, or why there is none.
    pub exit: String,
}

/// How a step stands.
#[derive(Debug, Clone, PartialEq)]
pub enum Standing {
    /// Begun, and no end is written.
    Begun {
        /// The last of its commands that ended. What a step's own command is, only the step knows: others are run beside it.
        ran: Option<Ran>,
    },
    /// Failed.
    Failed(Failure),
    /// In doubt.
    InDoubt(Failure),
    /// Done.
    Done,
    /// An operator says that it was not done: it is to be done again.
    Again,
}

impl Position {
    /// Where these events end.
    #[must_use]
    pub fn of(events: &[Event]) -> Self {
        let mut position = Self { begun: !events.is_empty(), ..Self::default() };
        for event in events {
            position.take(&event.what, event.at);
        }
        position
    }

    /// Whether nothing is left to do.
    #[must_use]
    pub const fn is_done(&self) -> bool {
        matches!(self.outcome, Some(Outcome::Done | Outcome::NothingToDo))
    }

    /// The state in which the cluster was left.
    #[must_use]
    pub fn left(&self) -> Left {
        match self.rung.as_ref().and_then(|rung| rung.dirty.clone()) {
            Some(at) => Left::Dirty { at },
            None => Left::Clean,
        }
    }

    /// The step of which nobody knows whether it was done.
    #[must_use]
    pub fn doubt(&self) -> Option<&str> {
        self.rung.as_ref()?.doubt.as_deref()
    }

    /// An outcome of one that nothing is done on now, as the truth of this cluster: one that was left on the way is not clean because it
    /// cannot be asked, and a step in doubt stays so until it is settled.
    #[must_use]
    pub fn truth(&self, outcome: Outcome) -> Outcome {
        let (doubt, left) = (self.doubt().map(str::to_owned), self.left());
        match (outcome, doubt, left) {
            (Outcome::Unreachable { failure } | Outcome::Halted { failure }, Some(step), _) => {
                Outcome::InDoubt { step, failure }
            }
            (Outcome::Unreachable { failure }, None, Left::Dirty { at }) => {
                Outcome::Failed { step: Some(at.clone()), state: Left::Dirty { at }, failure }
            }
            (Outcome::Interrupted { .. }, Some(step), _) => {
                let said = format!("the operator stopped the run before {step} could be settled");
                Outcome::InDoubt { step, failure: Failure::new("interrupted", said) }
            }
            (Outcome::Interrupted { .. }, None, state) => Outcome::Interrupted { state },
            (outcome, ..) => outcome,
        }
    }

    /// Takes one more line.
    pub fn take(&mut self, what: &What, at: Timestamp) {
        match what {
            What::Resumed { .. } => self.outcome = None,
            What::Locked { number } => self.lock = Some(*number),
            What::Planned { migration, .. } => {
                self.climbed |= self.rung.as_ref().is_some_and(|rung| rung.migration != *migration);
                self.rung = Some(Rung { migration: migration.clone(), ..Rung::default() });
            }
            What::Finished { outcome } => {
                self.outcome = Some(outcome.clone());
                if self.is_done() {
                    self.rung = None;
                }
            }
            what => {
                if let Some(rung) = &mut self.rung {
                    rung.see(what, at);
                }
            }
        }
    }
}

impl Rung {
    /// How a step stands; none where it was never begun.
    #[must_use]
    pub fn standing(&self, step: &str) -> Option<&Standing> {
        self.steps.get(step)
    }

    /// Whether a step is done.
    #[must_use]
    pub fn is_done(&self, step: &str) -> bool {
        self.standing(step) == Some(&Standing::Done)
    }

    /// Whether a step is one of the migration itself, not of what every rung has around it.
    fn is_own(&self, step: &str) -> bool {
        step.strip_prefix(&self.migration).is_some_and(|rest| rest.starts_with('/'))
    }

    fn see(&mut self, what: &What, at: Timestamp) {
        match what {
            What::StepStarted { step, class, .. } => {
                self.steps.insert(step.clone(), Standing::Begun { ran: None });
                if class.changes() && self.is_own(step) {
                    self.dirty = Some(step.clone());
                    self.doubt = Some(step.clone());
                }
            }
            What::Ran { step, line, exit, .. } => {
                if let Some(Standing::Begun { ran }) = self.steps.get_mut(step) {
                    *ran = Some(Ran { line: line.clone(), exit: exit.clone() });
                }
            }
            What::StepEnded { step, end, .. } => {
                let standing = match end {
                    StepEnd::Done => Standing::Done,
                    StepEnd::Failed(failure) => Standing::Failed(failure.clone()),
                    StepEnd::InDoubt(failure) => Standing::InDoubt(failure.clone()),
                };
                match standing {
                    Standing::InDoubt(_) => self.doubt = Some(step.clone()),
                    _ => self.settled(step),
                }
                self.steps.insert(step.clone(), standing);
            }
            What::Confirmed { step, .. } => {
                self.steps.insert(step.clone(), Standing::Done);
            }
            What::Settled { step, done, .. } => {
                let standing = if *done { Standing::Done } else { Standing::Again };
                self.steps.insert(step.clone(), standing);
                self.settled(step);
            }
            What::BackupBegun { backup, folder } => {
                let (id, folder) = (backup.clone(), folder.into());
                self.backup = Some(Backup { id, folder, begun: at, proven: false });
            }
            What::Proven { backup, folder, .. } => {
                let id = backup.clone();
                let known = self.backup.take().filter(|known| known.id == id);
                // A journal of before there was a line for its beginning tells of a backup only here.
                let begun = known.map_or(at, |known| known.begun);
                self.backup = Some(Backup { id, folder: folder.into(), begun, proven: true });
            }
            _ => {}
        }
    }

    fn settled(&mut self, step: &str) {
        self.doubt.take_if(|doubt| doubt == step);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Class;
    use crate::version::Version;

    fn story(whats: &[What]) -> Vec<Event> {
        (1..)
            .zip(whats)
            .map(|(seq, what)| Event {
                seq,
                at: Timestamp::from_second(i64::try_from(seq).unwrap()).unwrap(),
                cluster: "oak".into(),
                what: what.clone(),
            })
            .collect()
    }

    fn planned(migration: &str) -> What {
        What::Planned {
            migration: migration.into(),
            from: Version::V0_6,
            to: Version::V0_7,
            steps: Vec::new(),
            expected_seconds: 1,
            downtime_seconds: 1,
        }
    }

    fn started(step: &str, class: Class) -> What {
        What::StepStarted { step: step.into(), title: step.into(), class, expected_seconds: 1 }
    }

    fn ended(step: &str, end: StepEnd) -> What {
        What::StepEnded { step: step.into(), end, took_ms: 1 }
    }

    fn ran(step: &str, exit: &str) -> What {
        What::Ran { step: step.into(), line: "true".into(), exit: exit.into(), took_ms: 1 }
    }

    fn failure() -> Failure {
        Failure::new("connection-lost", "cut")
    }

    /// A whole run, and behind each line: the steps done, the last changing step, and the step in doubt.
    #[test]
    fn a_journal_cut_behind_any_line_tells_what_was_done_and_what_was_under_way() {
        let done = |step: &str| ended(step, StepEnd::Done);
        let (copy, prove, switch, wait, back) =
            ("backup/copy", "backup/prove", "to-0.7/switch", "to-0.7/wait", "truce/give-back");
        let table: Vec<(What, usize, Option<&str>, Option<&str>)> = vec![
            (What::Begun { address: "oak".into() }, 0, None, None),
            (What::Locked { number: 7 }, 0, None, None),
            (planned("to-0.7"), 0, None, None),
            (started("truce/hold", Class::Undoable), 0, None, None),
            (done("truce/hold"), 1, None, None),
            (What::BackupBegun { backup: "b1".into(), folder: "/b/b1".into() }, 1, None, None),
            (started(copy, Class::Undoable), 1, None, None),
            (done(copy), 2, None, None),
            (started(prove, Class::ReadOnly), 2, None, None),
            (What::Proven { backup: "b1".into(), folder: "/b/b1".into(), files: 1, bytes: 1 }, 2, None, None),
            (done(prove), 3, None, None),
            (started(switch, Class::Irreversible), 3, Some(switch), Some(switch)),
            (ran(switch, "exit status 0"), 3, Some(switch), Some(switch)),
            (done(switch), 4, Some(switch), None),
            (started(wait, Class::ReadOnly), 4, Some(switch), None),
            (done(wait), 5, Some(switch), None),
            (started(back, Class::Repeatable), 5, Some(switch), None),
            (done(back), 6, Some(switch), None),
        ];
        let whats: Vec<What> = table.iter().map(|(what, ..)| what.clone()).collect();
        for (n, (what, count, dirty, doubt)) in table.iter().enumerate() {
            let position = Position::of(&story(&whats[..=n]));
            let said = format!("behind {what:?}: {position:?}");
            let rung = position.rung.clone().unwrap_or_default();
            assert_eq!(rung.steps.keys().filter(|step| rung.is_done(step)).count(), *count, "{said}");
            assert_eq!(rung.dirty.as_deref(), *dirty, "{said}");
            assert_eq!(position.doubt(), *doubt, "{said}");
            assert_eq!(position.lock, (n > 0).then_some(7), "{said}");
            assert_eq!(position.outcome, None, "{said}");
            assert_eq!(rung.backup.map(|backup| backup.proven), (n > 4).then_some(n > 8), "{said}");
        }
        let mut whole = whats;
        whole.push(What::Finished { outcome: Outcome::Done });
        let position = Position::of(&story(&whole));
        assert!(position.is_done() && position.rung.is_none(), "{position:?}");
        assert!(!Position::of(&[]).begun);
    }

    #[test]
    fn what_a_person_settles_is_in_doubt_no_more() {
        let doubt = ended("to-0.7/switch", StepEnd::InDoubt(failure()));
        let begun = [planned("to-0.7"), started("to-0.7/switch", Class::Irreversible), doubt];
        let after = |whats: &[What]| Position::of(&story(&[&begun, whats].concat()));
        let settled = |done| What::Settled { step: "to-0.7/switch".into(), done, by: "op@desk".into() };
        let standing = |position: &Position| {
            position.rung.as_ref().and_then(|rung| rung.standing("to-0.7/switch")).cloned()
        };
        let position = after(&[]);
        assert_eq!(position.doubt(), Some("to-0.7/switch"));
        assert_eq!(standing(&position), Some(Standing::InDoubt(failure())));
        let position = after(&[settled(true)]);
        assert_eq!((position.doubt(), standing(&position)), (None, Some(Standing::Done)));
        let position = after(&[settled(false)]);
        assert_eq!((position.doubt(), standing(&position)), (None, Some(Standing::Again)));
        assert_eq!(position.left(), Left::Dirty { at: "to-0.7/switch".into() });
    }

    #[test]
    fn a_new_process_opens_what_was_finished_and_a_new_plan_begins_its_rung_anew() {
        let resumed = || What::Resumed { by: "op@desk".into(), fleet: "0.1.0".into() };
        let failed = Outcome::Failed { step: None, state: Left::Clean, failure: failure() };
        let begun = [
            planned("to-0.7"),
            started("backup/copy", Class::Undoable),
            ended("backup/copy", StepEnd::Failed(failure())),
            What::Finished { outcome: failed.clone() },
        ];
        let after = |whats: &[What]| Position::of(&story(&[&begun, whats].concat()));
        assert_eq!(after(&[]).outcome, Some(failed));
        let position = after(&[resumed()]);
        assert_eq!(position.outcome, None);
        assert_eq!(position.rung.unwrap().standing("backup/copy"), Some(&Standing::Failed(failure())));
        let position = after(&[resumed(), planned("to-0.7")]);
        assert!(!position.climbed && position.rung.unwrap().steps.is_empty());
        assert!(after(&[planned("to-0.8")]).climbed);
    }

    #[test]
    fn a_host_that_cannot_be_asked_is_not_clean_because_of_it() {
        let unreachable = || Outcome::Unreachable { failure: failure() };
        let (plan, start) = (planned("to-0.7"), started("to-0.7/switch", Class::Irreversible));
        let at = || "to-0.7/switch".to_owned();
        let of = |whats: &[What]| Position::of(&story(whats)).truth(unreachable());
        assert_eq!(of(std::slice::from_ref(&plan)), unreachable());
        let in_doubt = Outcome::InDoubt { step: at(), failure: failure() };
        assert_eq!(of(&[plan.clone(), start.clone()]), in_doubt);
        let dirty = Outcome::Failed { step: Some(at()), state: Left::Dirty { at: at() }, failure: failure() };
        assert_eq!(of(&[plan, start, ended("to-0.7/switch", StepEnd::Done)]), dirty);
    }
}
