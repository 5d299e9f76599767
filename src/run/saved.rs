//! The backup that a rung stands on: found again, or made anew.

use std::path::Path;

use jiff::{SignedDuration, Timestamp};

use super::Wish;
use super::position::{Backup, Rung};
use super::resume::READY;
use crate::backup::Folder;
use crate::event::What;
use crate::form;
use crate::journal::Journal;

/// How old a backup may be when the first change is made.
const FRESH: SignedDuration = SignedDuration::from_hours(24);

/// The folder of a backup, below the root that is named now or where it was made.
pub(super) fn find(backups: &Path, cluster: &str, backup: Option<&Backup>) -> Option<Folder> {
    let backup = backup?;
    let then = backup.folder.parent().and_then(Path::parent);
    let roots = std::iter::once(backups).chain(then);
    let found: Vec<Folder> = roots.filter_map(|root| Folder::open(root, cluster, &backup.id).ok()).collect();
    found.iter().find(|folder| folder.manifest().is_ok()).or(found.first()).cloned()
}

/// Makes a backup's folder. Where it takes the place of one that is gone or damaged, what a migration keeps comes along, and the journal
/// says so.
pub(super) fn new_backup(
    wish: Wish<'_>,
    journal: &mut Journal,
    instead: Option<(&Rung, Option<Folder>)>,
) -> std::io::Result<Folder> {
    let folder = Folder::create(wish.backups, &wish.cluster.name, &form::id(Timestamp::now()))?;
    if let Some((rung, old)) = instead {
        if let Some(old) = &old {
            folder.take_kept(old)?;
        }
        let gone = rung.backup.as_ref().map_or_else(
            || "no backup was begun".to_owned(),
            |backup| {
                let damaged = old.as_ref().is_some_and(|old| old.manifest().is_ok());
                let not = if damaged { "could not be proven: it is left in" } else { "is not in" };
                format!("the backup {} {not} {}", backup.id, backup.folder.display())
            },
        );
        let text = format!(
            "{gone}: a new one is made and proven before anything is changed. It holds the cluster as it is now, within {}",
            rung.migration
        );
        journal.record(What::Noted { step: READY.to_owned(), text })?;
    }
    let path = folder.path().display().to_string();
    journal.record(What::BackupBegun { backup: folder.id().to_owned(), folder: path })?;
    Ok(folder)
}

/// Whether a backup is of today. One from the future is of a clock that was set, and nobody knows.
pub(super) fn is_fresh(backup: &Backup, now: Timestamp) -> bool {
    let age = now.duration_since(backup.begun);
    !age.is_negative() && age < FRESH
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backup_is_fresh_for_a_day() {
        let second = |second| Timestamp::from_second(second).unwrap();
        let backup = Backup { id: "b".into(), folder: "/b".into(), begun: second(1000), proven: true };
        let fresh = |at| is_fresh(&backup, second(at));
        assert!(fresh(1000) && fresh(1000 + 86399));
        assert!(!fresh(1000 + 86400) && !fresh(999));
    }
}
