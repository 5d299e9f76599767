//! `fleet status`: how a run stands, while it goes on and afterwards.

use jiff::Timestamp;

use super::{Exit, Trouble, output, report};
use crate::cli::{Cli, Format, StatusArgs};
use crate::journal::{JournalError, Tail};
use crate::report::screen::Look;
use crate::report::status::{RunState, Status};
use crate::report::{self as reports, Underway};
use crate::state::{Control, RunFolder, RunLock};

/// Shows it. While a process works on the run the exit code is 0, afterwards it is the run's.
pub(super) fn run(cli: &Cli, args: &StatusArgs) -> Result<Exit, Trouble> {
    let folder = report::find(cli, &args.run)?;
    let status = of(&folder)?;
    match args.format.format {
        Format::Table => output::print(&status.text(Look::of_stdout()))?,
        Format::Json => output::print_json(&status)?,
    }
    match status.state {
        RunState::Running | RunState::Paused | RunState::Stopping => Ok(Exit::Done),
        RunState::Finished | RunState::Unfinished => Ok(report::exit_of(&reports::read(&folder)?)),
    }
}

fn of(folder: &RunFolder) -> Result<Status, Trouble> {
    let run = folder.run()?;
    // Before the journals: what a process that is gone by then has written is in them.
    let process = RunLock::holder(folder)?;
    let asked = Control::read(folder)?;
    let stories: Vec<_> = run.clusters.iter().map(|name| (name.clone(), underway(folder, name))).collect();
    Ok(Status::new(&run, process, asked, &stories, Timestamp::now()))
}

fn underway(folder: &RunFolder, name: &str) -> Result<Underway, String> {
    let mut underway = Underway::default();
    let events = match Tail::new(&folder.journal(name)).read() {
        Ok(events) => events,
        Err(JournalError::Damaged { line, why, .. }) => {
            return Err(format!("line {line} of its journal is damaged ({why})"));
        }
        Err(error) => return Err(error.to_string()),
    };
    for event in &events {
        underway.see(event);
    }
    Ok(underway)
}
