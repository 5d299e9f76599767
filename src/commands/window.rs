//! `fleet window` and `fleet k3s-window`: how the maintenance windows of clusters are, opening and shutting them.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use jiff::Timestamp;
use serde::Serialize;

use super::visit::visit;
use super::{Exit, Trouble, output, select};
use crate::cli::{Cli, Format, LookArgs, WindowSub};
use crate::event::Failure;
use crate::facts::windows::Windows;
use crate::form::{moment, seconds};
use crate::inventory::Cluster;
use crate::remote::Output;
use crate::report::screen::Look;
use crate::rollout::{self, Errand};
use crate::run;
use crate::ssh::{Limits, Network};
use crate::window::{self, Found, Guard, Kind, Wanted, Wish};

/// Shows, opens or shuts a window.
pub(super) async fn run(cli: &Cli, kind: Kind, sub: &WindowSub) -> Result<Exit, Trouble> {
    let (visited, wish) = match sub {
        WindowSub::Show(args) => return show(cli, kind, args).await,
        WindowSub::Open(args) => (&args.visit, Wish::Open(args.time)),
        WindowSub::Close(args) => (&args.visit, Wish::Close),
    };
    let clusters = select::clusters_and_caps(cli, &visited.select, visited.parallel)?;
    visit(cli, visited, clusters, Errand::Window(Wanted { kind, wish })).await
}

async fn show(cli: &Cli, kind: Kind, args: &LookArgs) -> Result<Exit, Trouble> {
    let clusters = select::clusters(cli, &args.select)?;
    let network = Network::new(Limits::default());
    let results = rollout::each(clusters, args.parallel, |cluster: Cluster| {
        let network = network.clone();
        async move {
            let session = network.connect(&cluster.host).await?;
            let answer = run::window::look(&session, &cluster.paths.spool).await;
            session.close().await;
            answer
        }
    })
    .await;
    let shown: BTreeMap<String, Shown> = results
        .into_iter()
        .map(|(name, result)| {
            let shown = match result {
                Ok(Ok((seen, standing))) => Shown::of(kind, &seen, &standing),
                Ok(Err(error)) => Shown::Error(
                    Failure::new(error.kind(), error.to_string()).read("docs/ssh.md#errors-and-what-to-do"),
                ),
                Err(panic) => Shown::Error(Failure::new("fleet-fault", panic)),
            };
            (name, shown)
        })
        .collect();
    match args.format.format {
        Format::Json => output::print_json(&shown)?,
        Format::Table => output::print(&render(kind, &shown))?,
    }
    let failed = shown.values().any(|shown| matches!(shown, Shown::Error(_)));
    Ok(if failed { Exit::Failed } else { Exit::Done })
}

/// How the window of one cluster is.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Shown {
    Window(Box<Is>),
    Error(Failure),
}

#[derive(Debug, Serialize)]
struct Is {
    open: bool,
    /// What is set to open or to shut, and how it is.
    thing: String,
    /// The host's timer that shuts it.
    timer: Guard,
    /// Until when, where the timer waits.
    until: Option<Timestamp>,
    /// What the night does with it.
    night: String,
    /// What else is to be known.
    notes: Vec<String>,
}

impl Shown {
    fn of(kind: Kind, seen: &Windows, standing: &Output) -> Self {
        let thing = match window::thing(kind, seen) {
            Ok(thing) => thing,
            Err(why) => return Self::Error(Failure::new("no-window", why).read(window::READ)),
        };
        let found = Found { thing, guard: window::guard(kind, standing) };
        let left = match found.guard {
            Guard::Waiting(left) => i64::try_from(left).ok(),
            _ => None,
        };
        let until = left.and_then(|left| Timestamp::from_second(seen.now().saturating_add(left)).ok());
        Self::Window(Box::new(Is {
            open: found.is_open(),
            thing: format!("{} {}", found.thing.title(), window::state(&found.thing)),
            timer: found.guard,
            until,
            night: window::nightly(kind, seen),
            notes: notes(kind, &found, seen),
        }))
    }
}

fn notes(kind: Kind, found: &Found, seen: &Windows) -> Vec<String> {
    let mut notes = Vec::new();
    match (found.is_open(), found.guard) {
        (true, Guard::GaveUp) => {
            notes.push("the host's timer could not shut it, and has given up: close it".to_owned());
        }
        (true, Guard::Dead) => {
            notes.push("the host's timer is dead, and nobody shuts it: close it".to_owned());
        }
        (true, Guard::None | Guard::Shut) => {
            notes.push("it was not opened by fleet, which does not shut it".to_owned());
        }
        _ => {}
    }
    notes.extend(window::against(kind, seen).map(|why| format!("fleet does not open it: {why}")));
    notes
}

fn render(kind: Kind, shown: &BTreeMap<String, Shown>) -> String {
    let mut text = String::new();
    for (name, shown) in shown {
        // Writing to a string cannot fail.
        let _ = match shown {
            Shown::Window(is) => {
                let word = match (is.open, is.until, is.timer) {
                    (true, Some(until), Guard::Waiting(left)) => {
                        format!("open, shut in {} at {}", seconds(left), moment(until))
                    }
                    (true, ..) => "open".to_owned(),
                    (false, ..) => "shut".to_owned(),
                };
                let notes: Vec<String> = is.notes.iter().map(|note| format!("  {note}\n")).collect();
                let close = if is.open {
                    format!("  next: fleet {} close --on {name}\n", kind.id())
                } else {
                    String::new()
                };
                write!(text, "{name}: {word} ({})\n  {}\n{}{close}", is.thing, is.night, notes.concat())
            }
            Shown::Error(failure) => writeln!(text, "{name}: {}\n  see {}", failure.message, failure.read),
        };
    }
    Look::of_stdout().finish(&text)
}
