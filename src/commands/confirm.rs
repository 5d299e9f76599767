//! `fleet confirm`: a person has done what a step asks for. Written into the cluster's journal; no host is contacted.

use super::upgrade::operator;
use super::{Exit, Trouble, output, report};
use crate::cli::{Cli, ConfirmArgs};
use crate::event::What;
use crate::files::read_json;
use crate::journal::Journal;
use crate::plan::Plan;
use crate::remote::{printable, quote};
use crate::report::screen;
use crate::run::{Position, ask};
use crate::state::RunLock;

/// The longest note.
const NOTE: usize = 2000;

/// Writes it down, and tells what comes next.
pub(super) fn run(cli: &Cli, args: &ConfirmArgs) -> Result<Exit, Trouble> {
    let run = report::find(cli, &args.run)?;
    let Some(_lock) = RunLock::take(&run)? else {
        return Err(Trouble::usage(format!(
            "run {0} is being worked on; when it has ended: fleet confirm {0} …. `fleet watch {0}` shows it",
            run.id()
        )));
    };
    if !run.run()?.clusters.contains(&args.cluster) {
        return Err(Trouble::usage(format!("run {} has no cluster {}", run.id(), printable(&args.cluster))));
    }
    let note = args.note.as_deref().map(|note| printable(note).chars().take(NOTE).collect());
    let folder = run.cluster(&args.cluster)?;
    let (mut journal, events) =
        Journal::reopen(&folder.journal(), &args.cluster, None).map_err(Trouble::internal)?;
    let mut position = Position::of(&events);
    may_confirm(args, &position, &folder)?;
    let by = operator();
    let fleet = env!("CARGO_PKG_VERSION").to_owned();
    for what in
        [What::Resumed { by: by.clone(), fleet }, What::Confirmed { step: args.step.clone(), by, note }]
    {
        position.take(&what, jiff::Timestamp::now());
        journal.record(what)?;
    }
    // Where only a person's part is left, how it stands is known at once; else the next `fleet resume` goes on.
    if let Some(outcome) = ask::standing(&args.cluster, &folder, &cli.backups, &position)? {
        journal.record(What::Finished { outcome })?;
    }
    drop(journal);
    let fleet = crate::report::write(&run)?;
    output::print(&screen::render(&fleet, run.path(), screen::Look::of_stdout()))?;
    Ok(report::exit_of(&fleet))
}

/// Only what the run waits for can be confirmed: neither what is done nor what comes later.
fn may_confirm(
    args: &ConfirmArgs,
    position: &Position,
    folder: &crate::state::ClusterFolder,
) -> Result<(), Trouble> {
    let (cluster, step) = (printable(&args.cluster), printable(&args.step));
    let no = |why: String| Trouble::usage(format!("{cluster} does not wait for {step}: {why}"));
    let Some(rung) = &position.rung else { return Err(no("nothing of it is under way".to_owned())) };
    if rung.is_done(&args.step) {
        return Err(no("it is done".to_owned()));
    }
    let path = folder.path().join(&rung.migration).join("plan.json");
    let plan: Plan =
        read_json(&path).map_err(|error| no(format!("{} cannot be read: {error}", path.display())))?;
    match ask::open(&plan, position) {
        Some((open, _)) if open.id == args.step => Ok(()),
        Some((open, _)) => Err(no(format!("it waits for {}", quote(&open.id)))),
        None => Err(no("it asks for nothing; fleet report tells how it stands".to_owned())),
    }
}
