//! What the commands that do a short piece of work on many clusters have alike: the run, the signals, the report.

use std::fmt::Write as _;
use std::io::{self, BufRead as _, IsTerminal as _, Write as _};
use std::path::Path;

use super::conduct::{Shown, conduct};
use super::upgrade::{begin_run, untroubled};
use super::{Exit, Trouble, output, report};
use crate::cli::{Cli, Format, VisitArgs};
use crate::inventory::Cluster;
use crate::remote::printable;
use crate::report::FleetReport;
use crate::report::screen::Look;
use crate::rollout::{Budget, Caps, Errand, Visit};
use crate::ssh::Limits;

/// Visits the clusters, as a run of its own, and shows what became of each.
pub(super) async fn visit(
    cli: &Cli,
    args: &VisitArgs,
    (clusters, caps): (Vec<Cluster>, Caps),
    errand: Errand,
) -> Result<Exit, Trouble> {
    let names: Vec<String> = clusters.iter().map(|cluster| cluster.name.clone()).collect();
    let (folder, _lock) = begin_run(&cli.runs, super::typed(), None, names, Vec::new(), None)?;
    let (record, count) = (folder.run()?, clusters.len());
    let (limits, budget) = (Limits::default(), Budget::from(&args.budget));
    let work = |tour| Visit { errand, tour, record }.run(clusters, caps);
    let results = conduct(&folder, limits, budget, count, Shown::OnTerminal, work).await?;

    let fleet = crate::report::write(&folder)?;
    match args.format.format {
        Format::Json => output::print_json(&crate::report::json::fleet(&fleet))?,
        Format::Table => output::print(&render(&fleet, folder.path()))?,
    }
    let Some(results) = results else { return Ok(Exit::Interrupted) };
    untroubled(results)?;
    Ok(report::exit_of(&fleet))
}

/// Asks at a terminal, and refuses where the answer is not yes. Where there is no terminal, nobody has said yes.
pub(super) fn confirmed(question: &str) -> Result<(), Trouble> {
    let mut line = String::new();
    if io::stdin().is_terminal() {
        let mut err = io::stderr().lock();
        write!(err, "{question} Type yes: ")?;
        err.flush()?;
        io::stdin().lock().read_line(&mut line)?;
    }
    if line.trim() == "yes" {
        return Ok(());
    }
    Err(Trouble::usage("nothing was changed: it was not confirmed. Type yes when asked, or add --yes"))
}

/// One line a cluster, and below it what is to be known.
fn render(fleet: &FleetReport, folder: &Path) -> String {
    let mut text = String::new();
    for report in &fleet.clusters {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{}: {}", report.cluster, report.outcome.as_str());
        // Those without a step tell of the run itself.
        for note in report.notes.iter().filter(|note| !note.step.is_empty()) {
            let _ = writeln!(text, "  {}", note.text);
        }
        if let Some(failure) = &report.failure {
            let _ = writeln!(text, "  {}\n  see {}", failure.message, failure.read);
        }
    }
    let _ = writeln!(text, "Written down in {}", printable(&folder.display().to_string()));
    Look::of_stdout().finish(&text)
}
