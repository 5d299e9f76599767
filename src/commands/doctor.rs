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
    let clusters = select::clusters(cli, &args.look.select)?;
    let network = Network::new(Limits::default());
    let clean = args.clean;
    let results = rollout::each(clusters, args.look.parallel, |cluster| {
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
        results.into_iter().map(|(name, result)| (name.clone(), Answer::of(&name, result))).collect();
    match args.look.format.format {
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
    Error(Unasked),
}

/// Why a host could not be asked, and what to type about it.
#[derive(Debug, Serialize)]
struct Unasked {
    #[serde(flatten)]
    failure: Failure,
    next: String,
}

impl Answer {
    fn of(cluster: &str, result: Result<Result<Found, RemoteError>, String>) -> Self {
        let (failure, next) = match result {
            Ok(Ok(found)) => return Self::Found(found),
            Ok(Err(error)) => {
                let next = match error {
                    RemoteError::HostKey(_) => format!("fleet trust --on {cluster}"),
                    _ => again(cluster),
                };
                let failure = Failure::new(error.kind(), error.to_string());
                (failure.read("docs/ssh.md#errors-and-what-to-do"), next)
            }
            Err(panic) => (Failure::new("fleet-fault", panic), again(cluster)),
        };
        Self::Error(Unasked { failure, next })
    }
}

/// Asks once more. Never with `--clean`: if that was cut short, what is left is looked at first.
fn again(cluster: &str) -> String {
    format!("fleet doctor --on {cluster}")
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
    let answer = remote.ask(&question.command(), &mut sink()).await?;
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
            Answer::Error(Unasked { failure, next }) => {
                let Failure { message, read, .. } = failure;
                writeln!(text, "{name}: cannot be asked: {message}\n  see {read}\n  next: {next}")
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

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::atomic::{AtomicU32, Ordering};

    use tokio::io::AsyncWrite;

    use super::*;
    use crate::remote::{Command, MOST_ASKED, Output};

    /// A host whose line is lost whenever it is asked, and how often it was.
    #[derive(Default)]
    struct Lossy(AtomicU32);

    impl Remote for Lossy {
        async fn run(&self, _: &Command, _: &mut (dyn Write + Send)) -> Result<Output, RemoteError> {
            self.0.fetch_add(1, Ordering::Relaxed);
            Err(RemoteError::Lost("reset".into()))
        }

        async fn stream(
            &self,
            command: &Command,
            _: &mut (dyn AsyncWrite + Unpin + Send),
        ) -> Result<Output, RemoteError> {
            self.run(command, &mut sink()).await
        }
    }

    #[tokio::test]
    async fn what_changes_nothing_is_asked_again_where_the_line_is_lost() {
        let host = Lossy::default();
        examine(&host, &Cluster::new("acme", "203.0.113.7"), true).await.unwrap_err();
        assert_eq!(host.0.load(Ordering::Relaxed), MOST_ASKED);
    }

    #[test]
    fn a_host_that_cannot_be_asked_is_told_with_what_to_type() {
        let host_key = RemoteError::HostKey("the key of oak is not known".into());
        let answers = [("acme", RemoteError::Lost("reset".into())), ("oak", host_key)]
            .map(|(name, error)| (name.to_owned(), Answer::of(name, Ok(Err(error)))));
        let answers = BTreeMap::from(answers);
        assert_eq!(
            render(&answers, Look { width: 90, terminal: false }),
            "acme: cannot be asked: the connection was lost before the command ended: reset\n  \
             see docs/ssh.md#errors-and-what-to-do\n  next: fleet doctor --on acme\n\
             oak: cannot be asked: the key of oak is not known\n  \
             see docs/ssh.md#errors-and-what-to-do\n  next: fleet trust --on oak\n"
        );
        let json = serde_json::to_value(&answers["oak"]).unwrap();
        assert_eq!(json["error"]["cause"], "host-key");
        assert_eq!(json["error"]["next"], "fleet trust --on oak");
    }
}
