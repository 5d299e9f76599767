//! `fleet watch`: a run as its own terminal shows it, from another one.

use std::time::Duration;

use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

use super::{Exit, Trouble, output, report};
use crate::cli::{Cli, RunArgs};
use crate::event::{Event, What};
use crate::journal::Tail;
use crate::report::live::{self, News};
use crate::report::{self as reports, screen};
use crate::state::{Control, RunFolder, RunLock, Want};

/// How often it looks for what is new.
const LOOK: Duration = Duration::from_millis(500);

/// Follows the run until its process is gone, shows its report and ends as the run ended. Ctrl-C ends the watching and nothing else.
pub(super) async fn run(cli: &Cli, args: &RunArgs) -> Result<Exit, Trouble> {
    let folder = report::find(cli, &args.run)?;
    let clusters = folder.run()?.clusters;
    let (listener, events) = unbounded_channel();
    let (news, heard) = unbounded_channel();
    let age = RunLock::holder(&folder)?.and_then(|holder| holder.age()).unwrap_or(0);
    let show = live::show(events, clusters.len(), heard, Duration::from_secs(age));
    let (followed, ()) = tokio::join!(follow(&folder, &clusters, listener, news), show);
    followed?;

    let fleet = reports::read(&folder)?;
    output::print(&screen::render(&fleet, folder.path(), screen::Look::of_stdout()))?;
    if !fleet.is_finished() {
        let id = folder.id();
        output::print(&format!(
            "Run {id} is not running, unfinished. To go on with it: fleet resume {id}\n"
        ))?;
    }
    Ok(report::exit_of(&fleet))
}

/// Hands on what is new in the journals, until the run's process is gone and all that it wrote is read.
async fn follow(
    folder: &RunFolder,
    clusters: &[String],
    listener: UnboundedSender<Event>,
    news: UnboundedSender<News>,
) -> Result<(), Trouble> {
    let mut tails: Vec<Tail> = clusters.iter().map(|name| Tail::new(&folder.journal(name))).collect();
    let mut look = tokio::time::interval(LOOK);
    let mut asked = None;
    loop {
        look.tick().await;
        // Before the journals: what a process that is gone by now has written is in them.
        let alive = RunLock::is_held(folder)?;
        tails.retain_mut(|tail| goes_on(tail, &listener));
        if !alive {
            return Ok(());
        }
        let control = Control::read(folder)?;
        if control != asked {
            if let Some(control) = &control {
                // Whoever shows it may be gone; then nobody misses it.
                let _ = news.send(told(control, &folder.id()));
            }
            asked = control;
        }
    }
}

/// Hands on what is new of one journal; false when nothing more is to come. A damaged one is told by the report.
fn goes_on(tail: &mut Tail, listener: &UnboundedSender<Event>) -> bool {
    let Ok(events) = tail.read() else { return false };
    let mut goes_on = true;
    for event in events {
        goes_on = !matches!(event.what, What::Finished { .. });
        let _ = listener.send(event);
    }
    goes_on
}

fn told(control: &Control, run: &str) -> News {
    match control.want {
        Want::Go => News::goes_on(&control.by),
        Want::Pause => News::paused(&control.by, run),
        Want::Abort => News::stopping(&control.by),
    }
}
