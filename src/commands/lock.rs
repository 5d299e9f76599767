//! `fleet lock`: who has the locks of hosts, and breaking one whose holder is dead.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::sink;

use serde::Serialize;

use super::upgrade::{begin_run, operator};
use super::{Exit, Trouble, output, report, select};
use crate::cli::{Cli, Format, LockBreakArgs, LockSub, LookArgs, SelectArgs};
use crate::event::{Failure, Outcome, What};
use crate::inventory::Cluster;
use crate::journal::Journal;
use crate::lock::{self, Answer, Held, Question};
use crate::remote::{Remote, RemoteError, printable};
use crate::report::screen::Look;
use crate::rollout::{self, Met};
use crate::run;
use crate::ssh::{Limits, Network, Session};

/// Where to read on.
const READ: &str = "docs/locks.md#breaking-a-lock";
/// The id under which the breaking stands in the journal.
const STEP: &str = "lock/break";

/// Shows or breaks locks.
pub(super) async fn run(cli: &Cli, sub: &LockSub) -> Result<Exit, Trouble> {
    match sub {
        LockSub::Show(args) => show(cli, args).await,
        LockSub::Break(args) => break_one(cli, args).await,
    }
}

async fn show(cli: &Cli, args: &LookArgs) -> Result<Exit, Trouble> {
    let clusters = select::clusters(cli, &args.select)?;
    let network = Network::new(Limits::default());
    let results = rollout::each(clusters, args.parallel, |cluster| {
        let network = network.clone();
        async move {
            let session = network.connect(&cluster.host).await?;
            let answer = looked(&session, &cluster).await;
            session.close().await;
            answer
        }
    })
    .await;
    let shown: BTreeMap<String, Shown> =
        results.into_iter().map(|(name, result)| (name, Shown::from(result))).collect();
    match args.format.format {
        Format::Json => output::print_json(&shown)?,
        Format::Table => output::print(&render(&shown))?,
    }
    let failed = shown.values().any(|shown| matches!(shown, Shown::Error(_)));
    Ok(if failed { Exit::Failed } else { Exit::Done })
}

/// What one host says of its lock.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Shown {
    Free,
    Held(Held),
    Error(Failure),
}

impl From<Result<Result<Answer, RemoteError>, String>> for Shown {
    fn from(result: Result<Result<Answer, RemoteError>, String>) -> Self {
        match result {
            Ok(Ok(Answer::Free)) => Self::Free,
            Ok(Ok(Answer::Held(held))) => Self::Held(held),
            Ok(Ok(other)) => Self::Error(strange(&other)),
            Ok(Err(error)) => Self::Error(
                Failure::new(error.kind(), error.to_string()).read("docs/ssh.md#errors-and-what-to-do"),
            ),
            Err(panic) => Self::Error(Failure::new("fleet-fault", panic)),
        }
    }
}

fn render(shown: &BTreeMap<String, Shown>) -> String {
    let mut text = String::new();
    for (name, shown) in shown {
        // Writing to a string cannot fail.
        let _ = match shown {
            Shown::Free => writeln!(text, "{name}: nobody has its lock"),
            Shown::Held(held) => writeln!(text, "{name}: {held}\n  next: {}", next(name, held)),
            Shown::Error(failure) => {
                writeln!(text, "{name}: cannot be asked: {}\n  see {}", failure.message, failure.read)
            }
        };
    }
    Look::of_stdout().finish(&text)
}

/// What to type about a lock.
fn next(name: &str, held: &Held) -> String {
    match &held.holder {
        _ if held.idle.is_fresh() => "wait for it: a lock whose holder shows life is not broken".to_owned(),
        Some(holder) => format!("fleet resume {}, or fleet lock break {name} --why TEXT", holder.run),
        None => format!("fleet lock break {name} --why TEXT"),
    }
}

/// Breaks one lock, as a run of its own.
async fn break_one(cli: &Cli, args: &LockBreakArgs) -> Result<Exit, Trouble> {
    if args.why.trim().is_empty() {
        return Err(Trouble::usage("--why: say why its holder is taken to be dead"));
    }
    let selected = SelectArgs { on: vec![args.cluster.clone()], all: false, max_hosts: None };
    let clusters = select::clusters(cli, &selected)?;
    let [cluster] = clusters.as_slice() else {
        let many = clusters.len();
        return Err(Trouble::usage(format!(
            "`{}` means {many} clusters: locks are broken one by one",
            args.cluster
        )));
    };
    let (folder, _lock) =
        begin_run(&cli.runs, super::typed(), None, vec![cluster.name.clone()], Vec::new(), None)?;
    let mut journal = Journal::create(&folder.cluster(&cluster.name)?.journal(), &cluster.name, None)?;
    journal.record(What::Begun { address: cluster.login() })?;
    let outcome = match Network::new(Limits::default()).connect(&cluster.host).await {
        Ok(session) => {
            journal.record(What::Connected { host_key: session.host_key().to_owned() })?;
            let outcome = broken(&session, cluster, &args.why, &mut journal).await;
            session.close().await;
            outcome?
        }
        Err(error) => run::unasked(&error),
    };
    journal.record(What::Finished { outcome: outcome.clone() })?;
    let fleet = crate::report::write(&folder)?;
    let said = match (&outcome, outcome.failure()) {
        (_, Some(failure)) => format!("{}\n  see {}", failure.message, failure.read),
        (Outcome::NothingToDo, None) => "nobody has its lock".to_owned(),
        (_, None) => {
            format!("its lock is broken. Look before anything else: fleet check --on {}", cluster.name)
        }
    };
    let folder = printable(&folder.path().display().to_string());
    output::print(&format!("{}: {said}\nWritten down in {folder}\n", cluster.name))?;
    Ok(report::exit_of(&fleet))
}

/// Breaks it, unless this is another host than the inventory means, or its holder lives. `Err` is this machine's own trouble.
async fn broken(
    session: &Session,
    cluster: &Cluster,
    why: &str,
    journal: &mut Journal,
) -> std::io::Result<Outcome> {
    // Its k3s is not asked who it is: a run that died may have left it stopped. The host is known by its key, and by its machine id.
    if cluster.machine_id.is_some() {
        match rollout::meet(session, cluster).await {
            Ok(Met { another: Some(failure), .. }) => return Ok(Outcome::Refused { failure }),
            Ok(Met { untold: Some(text), .. }) => {
                journal.record(What::Noted { step: STEP.to_owned(), text })?;
            }
            Ok(_) => {}
            Err(error) => return Ok(run::unasked(&error)),
        }
    }
    let held = match looked(session, cluster).await {
        Ok(Answer::Held(held)) => held,
        Ok(Answer::Free) => return Ok(Outcome::NothingToDo),
        Ok(other) => return Ok(Outcome::Refused { failure: strange(&other) }),
        Err(error) => return Ok(run::unasked(&error)),
    };
    let number = held.holder.as_ref().map(|holder| holder.number);
    let question = lock::breaks(&cluster.paths.spool, number, &operator(), why);
    let answer = session.run(question.command(), &mut sink()).await;
    Ok(match answer.and_then(|output| read(&question, &output)) {
        Ok(Answer::Broken(was)) => {
            let owner = was.holder.as_ref().map_or_else(
                || "nobody knows whom: its file was damaged".to_owned(),
                |holder| format!("{} (run {})", holder.owner, holder.run),
            );
            let (number, idle_seconds) = (number.unwrap_or_default(), was.idle.seconds());
            journal.record(What::LockBroken { number, owner, idle_seconds, why: printable(why) })?;
            Outcome::Done
        }
        Ok(Answer::Held(now)) => {
            let said =
                format!("{now}. It shows life, so its lock is not broken. Ask its owner, or wait for it");
            Outcome::Refused { failure: Failure::new("locked", said).read(READ) }
        }
        Ok(Answer::Free) => Outcome::NothingToDo,
        Ok(other) => Outcome::Refused { failure: strange(&other) },
        Err(error) if error.in_doubt() => {
            let said = format!("{error}: perhaps it is broken. Look: fleet lock show --on {}", cluster.name);
            Outcome::InDoubt { step: STEP.to_owned(), failure: Failure::new(error.kind(), said).read(READ) }
        }
        Err(error) => run::unasked(&error),
    })
}

fn strange(answer: &Answer) -> Failure {
    let said = match answer {
        Answer::Cannot(why) => why.clone(),
        other => format!("the host answers strangely about its lock: {other:?}"),
    };
    Failure::new("no-lock", said).read(READ)
}

fn read(question: &Question, output: &crate::remote::Output) -> Result<Answer, RemoteError> {
    question.read(output).map_err(|error| RemoteError::Refused(error.to_string()))
}

/// Asks about a lock what changes nothing.
async fn looked(session: &Session, cluster: &Cluster) -> Result<Answer, RemoteError> {
    let question = lock::look(&cluster.paths.spool);
    let output = session.ask(question.command(), &mut sink()).await?;
    read(&question, &output)
}
