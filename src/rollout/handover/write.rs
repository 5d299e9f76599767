//! A run's folder from what its hosts brought, as the machine that is lost had it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::Path;

use jiff::Timestamp;

use super::{Brought, failed};
use crate::backup::Folder;
use crate::event::{Event, Failure, Outcome, What};
use crate::files::{make_folder, sync_folder, write_new};
use crate::form;
use crate::journal::Journal;
use crate::remote::printable;
use crate::spool::{Place, is_name};
use crate::state::{ClusterFolder, Run, RunFolder};

/// A run's folder that was made from what the hosts keep.
#[derive(Debug, Clone)]
pub struct Rebuilt {
    /// The folder.
    pub folder: RunFolder,
    /// The clusters of it whose hosts do not know the run: it never came to them.
    pub never_begun: Vec<String>,
    /// The clusters of the run that are not in the folder: nobody asked their hosts, or what came of it, by name.
    pub left_out: BTreeMap<String, Option<Failure>>,
}

/// Makes the folder of a run below `runs`; one that is there is an error. Whole or not at all. `typed` is what the operator typed.
pub fn rebuild(
    brought: BTreeMap<String, Result<Option<Brought>, Failure>>,
    runs: &Path,
    backups: &Path,
    typed: Vec<String>,
) -> io::Result<Result<Rebuilt, Failure>> {
    let run = match one_record(&brought) {
        Ok(run) => run,
        Err(failure) => return Ok(Err(failure)),
    };
    let place = runs.join(&run.id);
    if fs::symlink_metadata(&place).is_ok() {
        let said = format!("{} is there already: go on with it, without --from-hosts", place.display());
        return Ok(Err(failed(said)));
    }
    let (mut never_begun, mut left_out, mut here) = (Vec::new(), BTreeMap::new(), Vec::new());
    let mut brought = brought;
    for name in &run.clusters {
        match brought.remove(name) {
            Some(Ok(Some(cluster))) => here.push(cluster),
            Some(Ok(None)) => never_begun.push(name.clone()),
            Some(Err(failure)) => drop(left_out.insert(name.clone(), Some(failure))),
            None => drop(left_out.insert(name.clone(), None)),
        }
    }
    let mut clusters: Vec<String> =
        here.iter().map(|cluster| cluster.cluster.clone()).chain(never_begun.iter().cloned()).collect();
    clusters.sort();

    // Beside its place first: half a folder is never taken for a run.
    make_folder(runs)?;
    let beside = runs.join(format!(".{}.new", run.id));
    if beside.exists() {
        fs::remove_dir_all(&beside)?;
    }
    make_folder(&beside)?;
    let folder = RunFolder::create(&beside, &Run { typed, clusters, ..run.clone() })?;
    for cluster in &here {
        write(cluster, &folder.cluster(&cluster.cluster)?, backups)?;
    }
    sync_folder(folder.path())?;
    fs::rename(folder.path(), &place)?;
    fs::remove_dir(&beside)?;
    sync_folder(runs)?;
    Ok(Ok(Rebuilt { folder: RunFolder::open(runs, &run.id), never_begun, left_out }))
}

/// The run's record, which all hosts must have alike: one that tells another story is not to decide for the others.
fn one_record(brought: &BTreeMap<String, Result<Option<Brought>, Failure>>) -> Result<Run, Failure> {
    let found: Vec<&Brought> = brought.values().filter_map(|one| one.as_ref().ok()?.as_ref()).collect();
    let Some(first) = found.first() else {
        let why = match brought.iter().find_map(|(name, one)| Some((name, one.as_ref().err()?))) {
            Some((name, failure)) => format!("; {name}: {}", failure.message),
            None => String::new(),
        };
        return Err(failed(format!("none of the hosts that were asked brought the run{why}")));
    };
    let other: BTreeSet<&str> =
        found.iter().filter(|one| one.run != first.run).map(|one| one.cluster.as_str()).collect();
    if other.is_empty() {
        return Ok(first.run.clone());
    }
    let names: Vec<&str> = other.into_iter().collect();
    Err(failed(format!(
        "{} and {} keep different records (run.json) of the run: look which is right, and leave the others out of --on",
        first.cluster,
        names.join(", ")
    )))
}

fn write(brought: &Brought, folder: &ClusterFolder, backups: &Path) -> io::Result<()> {
    for (place, bytes) in &brought.rungs {
        let (rung, name) = match place {
            Place::Plan(rung) => (rung, "plan.json"),
            Place::Before(rung) => (rung, "before.json"),
            _ => continue,
        };
        write_new(&folder.rung(rung)?.join(name), bytes)?;
    }
    if brought.journal.text.is_empty() {
        return Ok(());
    }
    write_new(&folder.journal(), brought.journal.text.as_bytes())?;
    let (mut journal, events) =
        Journal::reopen(&folder.journal(), &brought.cluster, None).map_err(io::Error::other)?;
    if is_done(&events) {
        return Ok(());
    }
    let mut notes = vec![format!("the journal came from the host: {} lines", events.len())];
    if brought.journal.torn > 0 {
        notes.push(format!("{} pieces of torn lines were set aside", brought.journal.torn));
    }
    match backup(&events, &brought.cluster, backups) {
        Backup::None => {}
        Backup::Here(folder) => save(brought, &folder)?,
        Backup::Lost(id) => {
            // What the cluster has now is to be copied and proven before the next change; the saved secrets are of before, and go with it.
            let anew = Folder::create(backups, &brought.cluster, &form::id(Timestamp::now()))?;
            save(brought, &anew)?;
            let (backup, place) = (anew.id().to_owned(), anew.path().display().to_string());
            journal.record(What::BackupBegun { backup, folder: place })?;
            notes.push(format!("backup {id} is not on this machine: the next change needs a new one"));
        }
    }
    for text in notes {
        journal.record(What::Noted { step: "hand-over".to_owned(), text })?;
    }
    Ok(())
}

/// Whether there is nothing to go on with.
fn is_done(events: &[Event]) -> bool {
    let ended = events.iter().rev().find_map(|event| match &event.what {
        What::Finished { outcome } => Some(outcome),
        _ => None,
    });
    matches!(ended, Some(Outcome::Done | Outcome::NothingToDo))
}

/// The backup that the rung under way stands on.
enum Backup {
    /// It stands on none.
    None,
    /// It is on this machine.
    Here(Folder),
    /// It is not; its id.
    Lost(String),
}

/// Finds the backup that was begun last. Of what the journal says of it only the id is believed, and only where it is one.
fn backup(events: &[Event], cluster: &str, backups: &Path) -> Backup {
    let begun = events.iter().rev().find_map(|event| match &event.what {
        What::BackupBegun { backup, .. } => Some(backup),
        _ => None,
    });
    let Some(id) = begun else { return Backup::None };
    match is_name(id).then(|| Folder::open(backups, cluster, id)) {
        Some(Ok(folder)) => Backup::Here(folder),
        _ => Backup::Lost(printable(id)),
    }
}

/// Puts the saved secrets into the backup's folder; those that are in it already are left as they are.
fn save(brought: &Brought, folder: &Folder) -> io::Result<()> {
    for (set, file, bytes) in &brought.secrets {
        match write_new(&folder.kept(set)?.join(file), bytes) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            written => written?,
        }
    }
    Ok(())
}
