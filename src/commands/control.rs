//! `fleet pause` and `fleet abort`: what another terminal asks of a run that goes on.

use super::upgrade::operator;
use super::{Exit, Trouble, output, report};
use crate::cli::{Cli, RunArgs};
use crate::state::{Control, RunFolder, RunLock, Want, runs};

/// Asks the run to begin nothing new.
pub(super) fn pause(cli: &Cli, args: &RunArgs) -> Result<Exit, Trouble> {
    let run = living(cli, args, "pause")?;
    if stops(&run)? {
        return Err(Trouble::usage(format!(
            "run {} is stopping already: it begins nothing new any more; nothing was asked of it",
            run.id()
        )));
    }
    ask(&run, Want::Pause)?;
    output::print(&format!(
        "Run {0} is asked to pause: in a second or two it begins no further cluster; those under way go on.\n\
         To let it go on: fleet resume {0}\n",
        run.id()
    ))?;
    Ok(Exit::Done)
}

/// Asks the run to end at the next safe point, as its first Ctrl-C does.
pub(super) fn abort(cli: &Cli, args: &RunArgs) -> Result<Exit, Trouble> {
    let run = living(cli, args, "abort")?;
    ask(&run, Want::Abort)?;
    output::print(&format!(
        "Run {0} is asked to end: in a second or two it begins nothing new, and clusters under way go on to a safe point.\n\
         To see it end: fleet watch {0}\n",
        run.id()
    ))?;
    Ok(Exit::Done)
}

/// Takes a run that nobody works on, to go on with it. `None` where a living process works on it and is paused: it is asked to go on.
/// One that is not paused, or that stops, is trouble: there is nothing to resume while it is worked on.
pub(super) fn take(run: &RunFolder) -> Result<Option<RunLock>, Trouble> {
    if let Some(lock) = RunLock::take(run)? {
        return Ok(Some(lock));
    }
    let Some(holder) = RunLock::holder(run)? else {
        return Err(Trouble::internal(format!("run {} was let go of just now; type it again", run.id())));
    };
    let id = run.id();
    match Control::read(run)?.map(|control| control.want) {
        Some(Want::Pause) => {
            ask(run, Want::Go)?;
            output::print(&format!(
                "Run {id} is asked to go on: it begins clusters again in a second or two.\n"
            ))?;
            Ok(None)
        }
        Some(Want::Abort) => Err(Trouble::usage(format!(
            "run {id} is stopping (process {}); when it has ended, `fleet resume {id}` goes on with it. `fleet watch {id}` shows its end",
            holder.pid
        ))),
        Some(Want::Go) | None => Err(Trouble::usage(format!(
            "run {id} is being worked on (process {} on {}) and is not paused: there is nothing to resume. `fleet watch {id}` shows it",
            holder.pid, holder.machine
        ))),
    }
}

fn stops(run: &RunFolder) -> Result<bool, Trouble> {
    Ok(Control::read(run)?.is_some_and(|control| control.want == Want::Abort))
}

fn ask(run: &RunFolder, want: Want) -> Result<(), Trouble> {
    Control::new(want, &operator()).write(run).map_err(|error| {
        Trouble::internal(format!("cannot ask run {}: {error}; nothing was asked of it", run.id()))
    })
}

/// The run that was named, if a process works on it.
fn living(cli: &Cli, args: &RunArgs, word: &str) -> Result<RunFolder, Trouble> {
    let run = report::find(cli, &args.run)?;
    if RunLock::is_held(&run)? {
        return Ok(run);
    }
    let id = run.id();
    let others: Vec<String> = runs(&cli.runs)?
        .iter()
        .filter(|(other, _)| RunLock::is_held(other).unwrap_or(false))
        .map(|(other, _)| other.id())
        .collect();
    let there = match others.as_slice() {
        [] => "no run is".to_owned(),
        others => format!("these are: {}", others.join(", ")),
    };
    Err(Trouble::usage(format!(
        "run {id} is not running, so there is nothing to {word}; {there}. `fleet status {id}` tells how it stands"
    )))
}
