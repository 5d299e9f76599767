//! `fleet doctor`: what is left on hosts, and what to type about it.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::sink;

use serde::Serialize;

use super::{Exit, Trouble, output, select};
use crate::cli::{Cli, DoctorArgs, Format};
use crate::event::Failure;
use crate::form;
use crate::inventory::Cluster;
use crate::jobs::{Kind, Leftover, Leftovers};
use crate::remote::{Remote, RemoteError};
use crate::report::screen::Look;
use crate::rollout;
use crate::ssh::{Limits, Network};

/// Asks the selected clusters' hosts for what is on their spools, removes what is over if that is wanted, and shows what is left.
pub(super) async fn run(cli: &Cli, args: &DoctorArgs) -> Result<Exit, Trouble> {
    let clusters = select::clusters(cli, &args.select)?;
    let network = Network::new(Limits::default());
    let clean = args.clean;
    let results = rollout::each(clusters, args.parallel, |cluster| {
        let network = network.clone();
        async move {
            let session = network.connect(&cluster.host).await?;
            let found = examine(&session, &cluster, clean).await;
            session.close().await;
            found
        }
    })
    .await;
    let answers: BTreeMap<String, Answer> =
        results.into_iter().map(|(name, result)| (name, Answer::from(result))).collect();
    match args.format.format {
        Format::Json => output::print_json(&answers)?,
        Format::Table => output::print(&render(&answers, Look::of_stdout()))?,
    }
    let failed = |answer: &Answer| matches!(answer, Answer::Error(_));
    let left = |answer: &Answer| matches!(answer, Answer::Found(found) if !found.is_clean());
    Ok(if answers.values().any(failed) {
        Exit::Failed
    } else if answers.values().any(left) {
        Exit::Warnings
    } else {
        Exit::Done
    })
}

/// What one host has.
#[derive(Debug, Default, Serialize)]
struct Found {
    /// What is there.
    left: Vec<Row>,
    /// Folders on the spool that are not listed: too many, or with names that are not `fleet`'s.
    besides: u64,
    /// How many were removed just now.
    removed: u64,
}

/// A leftover and what to type about it.
#[derive(Debug, Serialize)]
struct Row {
    #[serde(flatten)]
    what: Leftover,
    next: String,
}

impl Found {
    const fn is_clean(&self) -> bool {
        self.left.is_empty() && self.besides == 0
    }
}

/// What came of asking one host.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Answer {
    Found(Found),
    Error(Failure),
}

impl From<Result<Result<Found, RemoteError>, String>> for Answer {
    fn from(result: Result<Result<Found, RemoteError>, String>) -> Self {
        match result {
            Ok(Ok(found)) => Self::Found(found),
            Ok(Err(error)) => Self::Error(
                Failure::new(error.kind(), error.to_string()).read("docs/ssh.md#errors-and-what-to-do"),
            ),
            Err(panic) => Self::Error(Failure::new("fleet-fault", panic)),
        }
    }
}

async fn examine<R: Remote>(remote: &R, cluster: &Cluster, clean: bool) -> Result<Found, RemoteError> {
    let (mut left, mut besides) = ask(remote, cluster).await?;
    let mut removed = 0;
    if clean {
        for command in left.iter().filter_map(Leftover::clean) {
            removed += u64::from(remote.run(&command, &mut sink()).await?.success());
        }
        (left, besides) = ask(remote, cluster).await?;
    }
    let left = left.into_iter().map(|what| Row { next: next(&what, cluster), what }).collect();
    Ok(Found { left, besides, removed })
}

async fn ask<R: Remote>(remote: &R, cluster: &Cluster) -> Result<(Vec<Leftover>, u64), RemoteError> {
    let question = Leftovers::on(&cluster.paths.spool);
    let answer = remote.run(&question.command(), &mut sink()).await?;
    let strange = || RemoteError::Refused(format!("its answer cannot be read: {}", answer.complaint()));
    question.read(&answer).ok_or_else(strange)
}

/// The next command to type: here for what is over, on the host for the rest.
fn next(what: &Leftover, cluster: &Cluster) -> String {
    match what.by_hand() {
        None => format!("fleet doctor --on {} --clean", cluster.name),
        Some(line) => format!("on the host: {line}"),
    }
}

/// The answers for people.
fn render(answers: &BTreeMap<String, Answer>, look: Look) -> String {
    let mut text = String::new();
    let (mut rows, mut next) = (Vec::new(), String::new());
    for (name, answer) in answers {
        // Writing to a string cannot fail.
        let _ = match answer {
            Answer::Error(failure) => {
                writeln!(text, "{name}: cannot be asked: {}\n  see {}", failure.message, failure.read)
            }
            Answer::Found(found) => {
                for row in &found.left {
                    rows.push(cells(name, row));
                    let _ = writeln!(next, "  {name}, {}: {}", row.what.id, row.next);
                }
                let mut said = String::new();
                if found.removed > 0 {
                    let _ = write!(said, ", {} removed", found.removed);
                }
                if found.besides > 0 {
                    let _ = write!(said, ", {} more that cannot be listed", found.besides);
                }
                let left =
                    if found.left.is_empty() { "nothing".to_owned() } else { found.left.len().to_string() };
                writeln!(text, "{name}: {left} left{said}")
            }
        };
    }
    if !rows.is_empty() {
        // Below the table: a line that is to be copied must not be wrapped by a cell.
        let table = look.table(["cluster", "what", "id", "age", "state"], rows.into_iter(), &[0, 1, 3]);
        let _ = write!(text, "{table}\nnext:\n{next}");
    }
    look.finish(&text)
}

fn cells(name: &str, row: &Row) -> [String; 5] {
    let kind = if row.what.kind == Kind::Job { "job" } else { "timer" };
    [
        name.to_owned(),
        kind.to_owned(),
        row.what.id.clone(),
        form::seconds(row.what.age),
        row.what.state.clone(),
    ]
}
