//! The way back from a rung that did not come to its end: which backup takes the cluster to what it was before. Pure, from a cluster's events.

use jiff::Timestamp;
use serde::Serialize;

use super::next::Next;
use crate::backup::restore;
use crate::event::{Event, Outcome, What, When};
use crate::remote::{printable, quote};
use crate::version::Version;

/// A proven backup from before a rung's first change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct WayBack {
    /// Its id.
    pub backup: String,
    /// The version that the cluster had.
    pub version: Version,
    /// When the copy was begun: what was written on the cluster since is lost with it.
    pub made: Timestamp,
}

impl WayBack {
    /// The command, and what it costs.
    #[must_use]
    pub fn next(&self, fleet: &str, cluster: &str) -> Next {
        Next {
            command: format!("{fleet} restore {} --to {}", quote(&self.backup), quote(cluster)),
            why: format!(
                "to give the upgrade up instead: back to {} as it was when this backup was made; whatever was written on the cluster \
                 since is lost",
                self.version
            ),
        }
    }
}

/// Finds the way back while a cluster's events go by.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Finder {
    /// What the ids of the rung's own steps begin with, and from which version it goes; none where no rung is under way.
    rung: Option<(String, Version)>,
    /// The backup that was begun last.
    begun: Option<(String, Timestamp)>,
    proven: Option<WayBack>,
    changed: bool,
}

impl Finder {
    /// Takes one event over.
    pub(super) fn see(&mut self, event: &Event) {
        match &event.what {
            // A rung is only planned where nothing of one is half done; what is put back is no rung.
            What::Planned { migration, from, .. } => {
                let rung = (migration != restore::MIGRATION).then(|| (format!("{migration}/"), *from));
                *self = Self { rung, ..Self::default() };
            }
            // The checks before a rung are judged where the one below it has come to its end, or none was begun.
            What::Judged { when: When::Before, .. } if self.changed => *self = Self::default(),
            What::Finished { outcome: Outcome::Done } => *self = Self::default(),
            What::BackupBegun { backup, .. } => {
                self.begun = Some((backup.clone(), event.at));
                // Made in the middle of a rung, because the one from before it is gone or damaged.
                if self.changed {
                    self.proven = None;
                }
            }
            What::Proven { backup, .. } => self.prove(backup, event.at),
            What::StepStarted { step, class, .. } => {
                let own = self.rung.as_ref().is_some_and(|(own, _)| step.starts_with(own));
                self.changed |= own && class.changes();
            }
            _ => {}
        }
    }

    fn prove(&mut self, backup: &str, at: Timestamp) {
        let Some((_, version)) = self.rung.as_ref().filter(|_| !self.changed) else { return };
        let begun = self.begun.as_ref().filter(|(id, _)| id == backup);
        // A journal of before there was a line for its beginning tells of a backup only here.
        let made = begun.map_or(at, |(_, begun)| *begun);
        self.proven = Some(WayBack { backup: printable(backup), version: *version, made });
    }

    /// The way back; none where nothing was changed, or the rung has come to its end.
    #[must_use]
    pub(super) fn found(&self) -> Option<&WayBack> {
        self.proven.as_ref().filter(|_| self.changed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Class;

    fn planned(migration: &str, from: Version, to: Version) -> What {
        let (steps, expected_seconds, downtime_seconds) = (Vec::new(), 0, 0);
        What::Planned { migration: migration.into(), from, to, steps, expected_seconds, downtime_seconds }
    }

    fn begun(id: &str) -> What {
        What::BackupBegun { backup: id.into(), folder: format!("/b/{id}") }
    }

    fn proven(id: &str) -> What {
        What::Proven { backup: id.into(), folder: format!("/b/{id}"), files: 1, bytes: 1 }
    }

    fn started(step: &str, class: Class) -> What {
        What::StepStarted { step: step.into(), title: String::new(), class, expected_seconds: 1 }
    }

    fn judged(when: When) -> What {
        What::Judged { when, verdicts: Vec::new() }
    }

    /// The backup that is the way back, the version, and in which second it was begun.
    type Way = Option<(String, Version, i64)>;

    /// The way back behind each line.
    fn found(whats: &[What]) -> Vec<Way> {
        let mut finder = Finder::default();
        let mut told = Vec::new();
        for (seq, what) in (1..).zip(whats) {
            let at = Timestamp::from_second(i64::try_from(seq).unwrap()).unwrap();
            finder.see(&Event { seq, at, cluster: "oak".into(), what: what.clone() });
            let way = finder.found().cloned();
            told.push(way.map(|way| (way.backup, way.version, way.made.as_second())));
        }
        told
    }

    #[test]
    fn the_way_back_is_the_backup_from_before_the_first_change_of_the_rung_that_is_half_done() {
        let b1 = || Some(("b1".to_owned(), Version::V0_8, 2));
        let b2 = || Some(("b2".to_owned(), Version::V1_0, 11));
        let story: Vec<(What, Way)> = vec![
            (planned("to-1.0", Version::V0_8, Version::V1_0), None),
            (begun("b1"), None),
            (started("backup/copy", Class::Undoable), None),
            (proven("b1"), None),
            (started("to-1.0/install", Class::Irreversible), b1()),
            // Gone on with, and proven once more.
            (What::Resumed { by: "x".into(), fleet: "1".into() }, b1()),
            (proven("b1"), b1()),
            (judged(When::After), b1()),
            (judged(When::Before), None),
            (planned("to-2", Version::V1_0, Version::V2), None),
            (begun("b2"), None),
            (proven("b2"), None),
            (started("to-2/upgrade", Class::Irreversible), b2()),
            (What::Finished { outcome: Outcome::Done }, None),
        ];
        let (whats, wanted): (Vec<What>, Vec<_>) = story.into_iter().unzip();
        assert_eq!(found(&whats), wanted);
    }

    #[test]
    fn a_backup_that_was_made_in_the_middle_of_a_rung_is_no_way_back() {
        let whats = [
            planned("to-1.0", Version::V0_8, Version::V1_0),
            begun("b1"),
            proven("b1"),
            started("to-1.0/install", Class::Irreversible),
            begun("b2"),
            proven("b2"),
        ];
        assert_eq!(found(&whats).last(), Some(&None));
    }

    #[test]
    fn what_is_put_back_is_not_taken_back() {
        let whats = [
            planned(restore::MIGRATION, Version::V0_8, Version::V0_8),
            proven("b1"),
            started("restore/swap", Class::Undoable),
        ];
        assert_eq!(found(&whats).last(), Some(&None));
    }
}
