//! Carrying out `Action::Restore`: looked whether it can be, unpacked beside what is live, swapped in. See `docs/restore.md`.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::scribe::{here, well};
use super::{Scribe, Trouble, job, onward};
use crate::backup::restore::script::{self, BESIDE, Looked};
use crate::backup::restore::source::Source;
use crate::backup::restore::{open_list, pairs, read_sums};
use crate::backup::{Folder, allowed, sums};
use crate::event::Failure;
use crate::facts::kubernetes::List;
use crate::facts::{Facts, Known, claims, volumes};
use crate::form;
use crate::jobs::Timer;
use crate::plan::{PutBack, Restore, RestorePart, Step};
use crate::remote::{Command, Remote, printable};
use crate::truce;

/// What is kept free on each of the host's filesystems.
const SPARE: u64 = 64 << 20;
/// How much longer than the swap's own deadline the host waits before it takes the swap over.
const MARGIN: Duration = Duration::from_secs(5 * 60);
/// How many differing paths a message names.
const NAMED: usize = 5;
/// Where to read on.
const READ: &str = "docs/restore.md#when-a-restore-fails";

/// Carries out one part.
pub(super) async fn carry<R: Remote>(
    remote: &R,
    what: &Restore,
    folder: &Folder,
    step: &Step,
    place: job::Place<'_>,
    scribe: &mut Scribe<'_>,
) -> Result<(), Trouble> {
    match what.part {
        RestorePart::Look => look(remote, what, place, scribe).await,
        RestorePart::Unpack => {
            for put in &what.folders {
                unpack(remote, put, folder, scribe).await?;
            }
            // It took its time, and k3s went on.
            same_claims(remote, what, scribe).await
        }
        RestorePart::Swap => swap(remote, what, step, place, scribe).await,
    }
}

/// Everything that can be known before anything is sent.
async fn look<R: Remote>(
    remote: &R,
    what: &Restore,
    place: job::Place<'_>,
    scribe: &mut Scribe<'_>,
) -> Result<(), Trouble> {
    let mut folders = what.folders.clone();
    // It is renamed as well, and needs no room.
    folders
        .extend(what.onto.iter().map(|onto| PutBack { folder: onto.server.clone(), ..PutBack::default() }));
    let ask = script::look(&folders);
    let output = well(&ask, scribe.repeat(remote, &ask).await?)?;
    let looked = Looked::read(&output.text(), folders.len())
        .map_err(|why| failed("strange-answer", printable(&why).chars().take(200).collect::<String>()))?;
    match refusal(what, &folders, &looked, place.cluster) {
        Some(failure) => Err(Trouble::Failed(failure)),
        None => same_claims(remote, what, scribe).await,
    }
}

/// Whether each claim of another cluster still has the volume and the folder that the plan says. One that has not would get its data into a
/// folder that nobody reads.
async fn same_claims<R: Remote>(remote: &R, what: &Restore, scribe: &mut Scribe<'_>) -> Result<(), Trouble> {
    if what.onto.is_none() {
        return Ok(());
    }
    let ask = onward::objects("persistentvolumes,persistentvolumeclaims");
    let output = well(&ask, scribe.repeat(remote, &ask).await?)?;
    let strange =
        |why: String| failed("strange-answer", printable(&why).chars().take(200).collect::<String>());
    let list = List::read(&output.text()).map_err(strange)?;
    let facts = Facts {
        claims: Known::Is(claims::read(&list).map_err(strange)?),
        volumes: Known::Is(volumes::read(&list).map_err(strange)?),
        ..Facts::default()
    };
    let live = pairs::live(&facts).map_err(Trouble::Failed)?;
    for put in &what.folders {
        let Some(into) = &put.into else { continue };
        let now = live.get(&into.to_string());
        let same = now.is_some_and(|now| now.claimed == *into && now.folder.as_ref() == Ok(&put.folder));
        if !same {
            let is = match now.map(|now| &now.folder) {
                None => "is not there any more".to_owned(),
                Some(Err(why)) => why.clone(),
                Some(Ok(folder)) => {
                    format!("is bound to {} in {folder}", now.map_or("", |now| &now.claimed.volume))
                }
            };
            let said = format!(
                "claim {into} {is}, and this was planned for volume {} in {}. What is live was not touched; plan anew: fleet restore",
                into.volume, put.folder
            );
            return Err(failed("claim-changed", said));
        }
    }
    Ok(())
}

/// Why the host must not be touched, if there is a reason.
fn refusal(what: &Restore, folders: &[PutBack], looked: &Looked, cluster: &str) -> Option<Failure> {
    let no = |cause: &str, said: String| {
        let said = format!("{}; nothing was changed", printable(&said));
        Some(Failure::new(cause, said).read("docs/restore.md#refusals"))
    };
    if let Some(machine) = what.machine_id.as_ref().filter(|machine| **machine != looked.machine) {
        let is = &looked.machine;
        let of = if what.onto.is_some() { "this was planned for" } else { "the backup is one of" };
        return no("other-machine", format!("{of} machine {machine}, and {cluster} is now machine {is:?}"));
    }
    if what.onto.is_some() && looked.k3s.is_empty() {
        return no("no-k3s", format!("{cluster} has no k3s that could be stopped and started"));
    }
    if let Some(k3s) = what.k3s.as_ref().filter(|k3s| **k3s != looked.k3s) {
        return no(
            "other-k3s",
            format!(
                "the datastore was written by k3s {k3s}, and the host has {:?}. Install that k3s there first, or take this one with --any-k3s",
                looked.k3s
            ),
        );
    }
    let mut needed: BTreeMap<&str, (u64, u64, &script::Place, &str)> = BTreeMap::new();
    for (put, at) in folders.iter().zip(&looked.folders) {
        match at {
            Err(why) => return no("not-to-be-swapped", format!("{}: {why}", put.folder)),
            Ok(at) => {
                let sum = needed.entry(&at.device).or_insert((SPARE, 0, at, &put.folder));
                (sum.0, sum.1) = (sum.0.saturating_add(put.bytes), sum.1.saturating_add(put.entries));
            }
        }
    }
    let (bytes, entries, at, folder) = needed.into_values().find(|(bytes, entries, at, _)| {
        at.free < *bytes || at.inodes.is_some_and(|inodes| inodes < *entries)
    })?;
    let inodes = at.inodes.map_or_else(String::new, |inodes| format!(" and {inodes} inodes"));
    no(
        "disk-full-there",
        format!(
            "the filesystem of {folder} needs {} and {entries} inodes beside what is live, and has {}{inodes} free",
            form::bytes(bytes),
            form::bytes(at.free)
        ),
    )
}

/// Unpacks one archive, unless it lies there whole already, from a try before.
async fn unpack<R: Remote>(
    remote: &R,
    put: &PutBack,
    folder: &Folder,
    scribe: &mut Scribe<'_>,
) -> Result<(), Trouble> {
    let there = scribe.repeat(remote, &script::is_beside(&put.folder)).await?.success();
    if there && differences(remote, put, folder, scribe).await?.is_none() {
        return scribe.note(format!("{} is unpacked already, and equal to the backup", put.stem));
    }
    let mut source = Source::open(folder.path().join(format!("{}.tar.zst", put.stem)));
    let command = script::unpack(&put.folder).deadline(allowed(put.bytes));
    let sent = scribe.send(remote, &command, &mut source.stream).await;
    // What could not be read here is why the host was sent too little.
    source.end().await.map_err(|error| here(&error))?;
    sent?;
    match differences(remote, put, folder, scribe).await? {
        None => {
            scribe.note(format!("{} is unpacked beside {}, and equal to the backup", put.stem, put.folder))
        }
        Some(said) => Err(failed(
            "restore-differs",
            format!(
                "what was unpacked of {} is not what was backed up: {said}; what is live was not touched",
                put.stem
            ),
        )),
    }
}

/// What is not just so in the unpacked folder as it was when the backup was made; none where all is.
async fn differences<R: Remote>(
    remote: &R,
    put: &PutBack,
    folder: &Folder,
    scribe: &mut Scribe<'_>,
) -> Result<Option<String>, Trouble> {
    let scratch = Scratch(folder.path().join(format!(".restore-{:08x}", rand::random::<u32>())));
    let file = crate::files::make_file(&scratch.0).map_err(|error| here(&error))?;
    let mut sink = tokio::fs::File::from_std(file);
    let list = sums::command(&format!("{}{BESIDE}", put.folder)).deadline(allowed(put.bytes));
    scribe.stream(remote, &list, &mut sink).await?;
    sink.sync_all().await.map_err(|error| here(&error))?;
    let (folder, name) = (folder.clone(), format!("{}.sums.zst", put.stem));
    tokio::task::spawn_blocking(move || compare(&folder, &name, &scratch.0))
        .await
        .map_err(|error| here(&io::Error::other(error)))?
        .map_err(|error| here(&error))
}

/// Compares the list of the backup with the host's list of now.
fn compare(folder: &Folder, name: &str, now: &Path) -> io::Result<Option<String>> {
    let list = || File::open(now).map(BufReader::new);
    let (mut then, mut unpacked) = (read_sums(folder, name)?, sums::Sums::read(list()?)?);
    then.see_equal(&mut unpacked);
    let (missing, strange) = (then.missing(), unpacked.missing());
    if missing == 0 && strange == 0 {
        return Ok(None);
    }
    let mut names = then.name_missing(open_list(folder, name)?, NAMED)?;
    names.extend(unpacked.name_missing(list()?, NAMED)?);
    names.sort();
    names.dedup();
    names.truncate(NAMED);
    let said = format!(
        "{missing} entries are missing or others, {strange} are not in the backup: {}",
        names.join(", ")
    );
    Ok(Some(printable(&said)))
}

/// A file that is gone afterwards.
struct Scratch(PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_file(&self.0) {
            tracing::warn!("cannot remove {}: {error}", self.0.display());
        }
    }
}

/// Swaps the folders, in a job of the host's own. If that is ended in its middle, the host's watchdog finishes it and starts k3s.
async fn swap<R: Remote>(
    remote: &R,
    what: &Restore,
    step: &Step,
    place: job::Place<'_>,
    scribe: &mut Scribe<'_>,
) -> Result<(), Trouble> {
    let Restore { spool, folders, .. } = what;
    let watchdog = Timer::new(spool, &format!("restore-{}", place.run), &script::finish(place.run, what));
    let lease = step.deadline.saturating_add(MARGIN);
    // One that an earlier process has armed may have fired already.
    let arm = watchdog.disarm().then("&&", &watchdog.arm(lease, lease.saturating_mul(2)));
    scribe.demand(remote, &arm).await?;
    let swapped = job::carry(remote, step, &script::swap(place.run, what), place, scribe).await;
    if let Err(Trouble::InDoubt(failure)) = swapped {
        let said = format!(
            "{}; {} s after it was begun the host's own watchdog finishes it and starts k3s",
            failure.message,
            lease.as_secs()
        );
        return Err(Trouble::InDoubt(Failure::new(failure.cause, said).read(READ)));
    }
    scribe.demand(remote, &watchdog.disarm()).await?;
    if let Err(Trouble::Failed(failure)) = swapped {
        let state = scribe.repeat(remote, &Command::new("systemctl is-active k3s")).await?;
        let alarm = if state.success() { "k3s runs" } else { "K3S IS STOPPED" };
        return Err(failed(&failure.cause, format!("{alarm}. {}", failure.message)));
    }
    // What a dead run had held of the cluster that is gone now is in no record any more: the backup's plan has its own.
    if what.onto.is_none() {
        scribe.demand(remote, &truce::timer(spool, &[]).disarm()).await?;
    }
    scribe.note(format!(
        "what was live before is kept on the host; when all is well, remove it there, as root: {}",
        script::remove(place.run, folders).line()
    ))
}

fn failed(cause: &str, said: impl Into<String>) -> Trouble {
    Trouble::Failed(Failure::new(cause, said).read(READ))
}
