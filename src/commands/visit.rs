//! What the commands that do a short piece of work on many clusters have alike: the run, the signals, the report.

use std::fmt::Write as _;
use std::io::{self, BufRead as _, IsTerminal as _, Write as _};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use tokio::sync::mpsc::unbounded_channel;

use super::stop::{Reins, Told, until_let_go};
use super::upgrade::{begin_run, untroubled};
use super::{Exit, Trouble, output, report};
use crate::cli::{Cli, Format, VisitArgs};
use crate::inventory::Cluster;
use crate::remote::printable;
use crate::report::FleetReport;
use crate::report::screen::Look;
use crate::rollout::{Budget, Caps, Errand, Pause, Visit};
use crate::ssh::{Limits, Network};

/// Visits the clusters, as a run of its own, and shows what became of each.
pub(super) async fn visit(
    cli: &Cli,
    args: &VisitArgs,
    (clusters, caps): (Vec<Cluster>, Caps),
    errand: Errand,
) -> Result<Exit, Trouble> {
    let names: Vec<String> = clusters.iter().map(|cluster| cluster.name.clone()).collect();
    let mut told = Told::listen()?;
    let (folder, _lock) = begin_run(&cli.runs, super::typed(), None, names, Vec::new(), None)?;
    let (listener, events) = unbounded_channel();
    let (stop, pause) = (Arc::new(AtomicBool::new(false)), Arc::new(Pause::default()));
    let visit = Visit {
        errand,
        run: folder.clone(),
        record: folder.run()?,
        network: Network::new(Limits::default()),
        listener: std::io::stderr().is_terminal().then(|| listener.clone()),
        budget: Arc::new(Budget::from(&args.budget)),
        stop: Arc::clone(&stop),
        pause: Arc::clone(&pause),
    };
    let (news, heard) = unbounded_channel();
    let show = crate::report::live::show(events, clusters.len(), heard, Duration::ZERO);
    let ran = async {
        let results = visit.run(clusters, caps).await;
        drop(listener);
        results
    };
    let work = async { tokio::join!(ran, show).0 };
    let results =
        until_let_go(work, Reins { told: &mut told, run: &folder, stop: &stop, pause: &pause, news }).await;

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
