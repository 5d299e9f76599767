//! What is put on the host as a run goes on, so that another machine can go on with it (promise B9). See `docs/handover.md`.

use std::fs;
use std::io::sink;
use std::path::Path;

use super::Wish;
use super::job::Place as Spot;
use super::scribe::{Scribe, Trouble, here, well};
use crate::event::{Failure, Left, Outcome, What};
use crate::journal::Journal;
use crate::plan::Object;
use crate::remote::{Command, Remote, printable};
use crate::spool::{Place, Runs};

/// Puts the run's record and a rung's plan and facts on the host, and removes what is old there, in one command. Done before the journal says that there
/// is a plan: whoever reads of one on the host finds it there. `Err` is the outcome of the cluster, of which nothing was changed yet.
pub(super) async fn rung<R: Remote>(
    remote: &R,
    wish: Wish<'_>,
    rung: &Path,
    journal: &mut Journal,
) -> std::io::Result<Result<(), Outcome>> {
    let (kept, run) = (Runs::on(&wish.cluster.paths.spool), wish.folder.run());
    let migration = rung.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let files = [
        (Place::Run, fs::read(wish.folder.path().with_file_name("run.json"))?),
        (Place::Before(migration.clone()), fs::read(rung.join("before.json"))?),
        (Place::Plan(migration), fs::read(rung.join("plan.json"))?),
    ];
    let command = kept.put(&run, &files).then("&&", &kept.prune(&run));
    Ok(match put(remote, &command, journal).await? {
        Some(failure) => Err(Outcome::Failed { step: None, state: Left::Clean, failure }),
        None => Ok(()),
    })
}

async fn put<R: Remote>(
    remote: &R,
    command: &Command,
    journal: &mut Journal,
) -> std::io::Result<Option<Failure>> {
    let answer = remote.ask(command, &mut sink()).await;
    for news in remote.news() {
        journal.record(What::Noted { step: "hand-over".to_owned(), text: printable(&news) })?;
    }
    let why = match answer {
        Ok(output) if output.success() => return Ok(None),
        Ok(output) => format!("{}: {}", output.exit, output.complaint()),
        Err(error) => return Ok(Some(Failure::new(error.kind(), error.to_string()))),
    };
    let said = format!("the host cannot keep what another machine would need to go on ({why})");
    Ok(Some(Failure::new("spool", said).read("docs/handover.md#what-a-host-keeps")))
}

/// Puts a set of saved secrets on the host, as it is in the backup's folder. The backup has them too, but not where this machine is lost.
pub(super) async fn set<R: Remote>(
    remote: &R,
    spot: Spot<'_>,
    set: &Path,
    objects: &[Object],
    scribe: &mut Scribe<'_>,
) -> Result<(), Trouble> {
    let runs = Runs::on(spot.spool);
    let name = set.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let read = |object: &Object| {
        let file = super::objects::file_name(object);
        let bytes = fs::read(set.join(&file)).map_err(|error| here(&error))?;
        Ok((Place::Kept { set: name.clone(), file }, bytes))
    };
    let files = objects.iter().map(read).collect::<Result<Vec<_>, Trouble>>()?;
    let command = runs.put(spot.run, &files);
    well(&command, scribe.repeat(remote, &command).await?)?;
    Ok(())
}

/// Removes the secrets from the host once its cluster is done. Where that does not go, it is told, and is no failure of the upgrade.
pub async fn done<R: Remote>(remote: &R, wish: Wish<'_>, journal: &mut Journal) -> std::io::Result<()> {
    let run = wish.folder.run();
    let command = Runs::on(&wish.cluster.paths.spool).forget_secrets(&run);
    if let Some(failure) = put(remote, &command, journal).await? {
        let text = format!(
            "the secrets that were saved stay on the host's spool ({}); there, as root: {}",
            failure.message,
            command.line()
        );
        journal.record(What::Noted { step: "hand-over".to_owned(), text: printable(&text) })?;
    }
    Ok(())
}
