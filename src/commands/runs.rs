//! `fleet runs`.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;

use super::{Exit, Trouble, output};
use crate::cli::{Cli, Format, FormatArgs};
use crate::remote::printable;
use crate::report::status::RunState;
use crate::report::{self, Ending, FleetReport, screen};
use crate::state::{Control, RunFolder, RunLock, runs};

/// One run in the list.
#[derive(Debug, Serialize)]
struct Row {
    id: String,
    /// Why the run cannot be told; then nothing else is known.
    trouble: Option<String>,
    started: Option<Timestamp>,
    by: Option<String>,
    target: Option<String>,
    #[serde(skip)]
    aim: Option<String>,
    clusters: usize,
    outcomes: BTreeMap<Ending, usize>,
    /// Whether an end is written for every cluster.
    finished: bool,
    /// How it stands; none where it cannot be told.
    state: Option<RunState>,
    #[serde(skip)]
    said: String,
}

/// Lists the runs, oldest first, so that the newest stands above the prompt.
pub(super) fn run(cli: &Cli, args: &FormatArgs) -> Result<Exit, Trouble> {
    let rows: Vec<Row> = runs(&cli.runs)?
        .into_iter()
        .map(|(folder, _)| {
            let id = folder.path().file_name().unwrap_or_default().to_string_lossy().into_owned();
            match report::read(&folder) {
                Ok(fleet) => told(id, &fleet, &folder),
                Err(error) => untold(id, &error),
            }
        })
        .collect();
    match args.format {
        Format::Json => output::print_json(&rows)?,
        Format::Table if rows.is_empty() => {
            output::print(&format!("No runs in {}.\n", printable(&cli.runs.display().to_string())))?;
        }
        Format::Table => output::print(&table(&rows, screen::Look::of_stdout()))?,
    }
    Ok(Exit::Done)
}

fn told(id: String, fleet: &FleetReport, folder: &RunFolder) -> Row {
    let held = RunLock::is_held(folder).unwrap_or(false);
    let asked = Control::read(folder).ok().flatten();
    let state = RunState::of(held, asked.as_ref(), fleet.is_finished());
    Row {
        id,
        trouble: None,
        started: Some(fleet.run.started),
        by: Some(fleet.run.by.clone()),
        target: fleet.run.target.map(|target| target.to_string()),
        aim: Some(fleet.run.aim()),
        clusters: fleet.clusters.len(),
        outcomes: fleet.counts(),
        finished: fleet.is_finished(),
        state: Some(state),
        said: fleet.counts_said(),
    }
}

fn untold(id: String, error: &std::io::Error) -> Row {
    Row {
        id,
        trouble: Some(error.to_string()),
        started: None,
        by: None,
        target: None,
        aim: None,
        clusters: 0,
        outcomes: BTreeMap::new(),
        finished: false,
        state: None,
        said: String::new(),
    }
}

fn table(rows: &[Row], look: screen::Look) -> String {
    let head = ["run", "started", "by", "target", "clusters", "outcomes", "state"];
    let rows = rows.iter().map(|row| {
        let state = row.state.map_or("cannot be told", RunState::as_str);
        [
            row.id.clone(),
            row.started.map_or_else(|| "-".to_owned(), screen::moment),
            row.by.clone().unwrap_or_else(|| "-".to_owned()),
            row.target.clone().or_else(|| row.aim.clone()).unwrap_or_else(|| "-".to_owned()),
            row.clusters.to_string(),
            row.trouble.clone().unwrap_or_else(|| row.said.clone()),
            state.to_owned(),
        ]
    });
    look.finish(&look.table(head, rows, &[0]).to_string())
}
