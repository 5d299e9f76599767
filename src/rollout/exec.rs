//! One command on many clusters' hosts: each on one connection, each with a journal of its own.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use super::meet::{Met, meet};
use super::{Caps, Tour};
use crate::event::{Failure, Left, Outcome, StepEnd, What};
use crate::files::{make_file, make_folder};
use crate::inventory::Cluster;
use crate::journal::Journal;
use crate::plan::Class;
use crate::remote::{Command, Output, Remote, RemoteError, printable};
use crate::run;
use crate::ssh::Session;
use crate::state::{ClusterFolder, step_log};

/// The id under which the command stands in the journals.
pub const STEP: &str = "exec/command";

/// What a host answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// How it ended.
    pub outcome: Outcome,
    /// What the command printed, and how it ended; none where it was not sent, or its end was not seen.
    pub output: Option<Output>,
    /// Milliseconds from the beginning of the connection to its end.
    pub took_ms: u64,
}

/// The answers so far, by cluster. A host whose command is under way stands there as in doubt, which is what it is if nobody waits for it
/// any longer; one that was never begun does not stand there.
pub type Answers = Arc<Mutex<BTreeMap<String, Answer>>>;

/// A command for many hosts.
#[derive(Debug)]
pub struct Exec {
    /// The command.
    pub command: Command,
    /// What it is, for people.
    pub title: String,
    /// The run.
    pub tour: Tour,
    /// Filled as the answers come.
    pub answers: Answers,
}

impl Exec {
    /// Runs it. `Err` is this machine's own trouble with a cluster; what the hosts answered is in [`Exec::answers`].
    pub async fn run(self, clusters: Vec<Cluster>, caps: Caps) -> BTreeMap<String, Result<(), String>> {
        let this = Arc::new(self);
        this.tour
            .each(clusters, &caps, |cluster| {
                let this = Arc::clone(&this);
                async move { this.one(&cluster).await }
            })
            .await
    }

    async fn one(&self, cluster: &Cluster) -> io::Result<()> {
        let began = Instant::now();
        let (outcome, output) = self.journalled(cluster, began).await?;
        self.tour.budget.take(&outcome);
        self.answer(cluster, began, outcome, output);
        Ok(())
    }

    fn answer(&self, cluster: &Cluster, began: Instant, outcome: Outcome, output: Option<Output>) {
        let answer = Answer { outcome, output, took_ms: since(began) };
        self.answers.lock().unwrap_or_else(PoisonError::into_inner).insert(cluster.name.clone(), answer);
    }

    async fn journalled(&self, cluster: &Cluster, began: Instant) -> io::Result<(Outcome, Option<Output>)> {
        let folder = self.tour.run.cluster(&cluster.name)?;
        let mut journal = Journal::create(&folder.journal(), &cluster.name, self.tour.listener.clone())?;
        if let Some(outcome) = self.tour.held_back() {
            journal.record(What::Finished { outcome: outcome.clone() })?;
            return Ok((outcome, None));
        }
        let first = What::Begun { address: cluster.login() };
        let session = match self.tour.network.connect(&cluster.host).await {
            Ok(session) => session,
            Err(error) => {
                let outcome = run::unasked(&error);
                journal.record_all([first, What::Finished { outcome: outcome.clone() }])?;
                return Ok((outcome, None));
            }
        };
        let connected = What::Connected { host_key: session.host_key().to_owned() };
        let (before, untold) = match meet(&session, cluster).await {
            Ok(Met { another: Some(failure), .. }) => (Some(Outcome::Refused { failure }), None),
            Ok(Met { untold, .. }) => (self.tour.held_back(), untold),
            Err(error) => (Some(run::unasked(&error)), None),
        };
        let result = if let Some(outcome) = before {
            journal.record_all([first, connected, What::Finished { outcome: outcome.clone() }])?;
            Ok((outcome, None))
        } else {
            let started = What::StepStarted {
                step: STEP.to_owned(),
                title: self.title.clone(),
                // Nobody knows what the command does: the worst is assumed.
                class: Class::Irreversible,
                expected_seconds: self.command.time_allowed().as_secs(),
            };
            journal.record_all([first, connected, started])?;
            if let Some(text) = untold {
                journal.record(What::Noted { step: STEP.to_owned(), text })?;
            }
            self.answer(cluster, began, let_go(), None);
            self.asked(&session, &folder, &mut journal).await
        };
        session.close().await;
        result
    }

    /// Sends the command, which the journal says is sent, and takes its answer.
    async fn asked(
        &self,
        session: &Session,
        folder: &ClusterFolder,
        journal: &mut Journal,
    ) -> io::Result<(Outcome, Option<Output>)> {
        let sent = Instant::now();
        let mut log = Log::new(folder.path().join(step_log(STEP)), self.command.memory_allowed());
        let answer = session.run(&self.command, &mut log).await;
        let took_ms = since(sent);
        let exit = match &answer {
            Ok(output) => output.exit.to_string(),
            Err(error) => printable(&error.to_string()),
        };
        let (end, outcome) = judge(&answer, self.command.is_sensitive())?;
        let step = || STEP.to_owned();
        journal.record_all([
            What::Ran { step: step(), line: self.command.line().to_owned(), exit, took_ms },
            What::StepEnded { step: step(), end, took_ms },
            What::Finished { outcome: outcome.clone() },
        ])?;
        Ok((outcome, answer.ok()))
    }
}

/// How the step and the host's work ended. `Err` is this machine's own trouble.
fn judge(answer: &Result<Output, RemoteError>, sensitive: bool) -> io::Result<(StepEnd, Outcome)> {
    let failed = |failure: Failure, state: Left| {
        let step = Some(STEP.to_owned());
        (StepEnd::Failed(failure.clone()), Outcome::Failed { step, state, failure })
    };
    Ok(match answer {
        Ok(output) if output.success() => (StepEnd::Done, Outcome::Done),
        Ok(output) => {
            let said = if sensitive { String::new() } else { output.complaint() };
            let colon = if said.is_empty() { "" } else { ": " };
            let failure = Failure::new(
                "command-failed",
                format!("the command ended with {}{colon}{said}", output.exit),
            )
            .read("docs/exec.md#what-the-outcomes-mean");
            // It ran, and what it did before it failed is not known.
            failed(failure, Left::Dirty { at: STEP.to_owned() })
        }
        Err(RemoteError::Here(why)) => return Err(io::Error::other(why.clone())),
        Err(error) => {
            let failure = Failure::new(error.kind(), error.to_string());
            if error.in_doubt() {
                let failure = failure.read("docs/exec.md#what-the-outcomes-mean");
                let step = STEP.to_owned();
                (StepEnd::InDoubt(failure.clone()), Outcome::InDoubt { step, failure })
            } else {
                failed(failure.read("docs/ssh.md#errors-and-what-to-do"), Left::Clean)
            }
        }
    })
}

fn let_go() -> Outcome {
    let failure = Failure::new("let-go", "the command was sent, and fleet was stopped before its end came")
        .read("docs/exec.md#what-the-outcomes-mean");
    Outcome::InDoubt { step: STEP.to_owned(), failure }
}

fn since(began: Instant) -> u64 {
    u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX)
}

/// What a host prints, on disk, as it comes: so that there is something to read where no end was seen. Bounded like the output in memory,
/// for a host that never stops printing must not fill this machine's disk.
#[derive(Debug)]
struct Log {
    path: PathBuf,
    /// Made when there is something to write: most commands on many hosts say little, or nothing.
    file: Option<File>,
    room: usize,
}

impl Log {
    /// An empty log with room for both streams, `limit` bytes each.
    const fn new(path: PathBuf, limit: usize) -> Self {
        Self { path, file: None, room: limit.saturating_mul(2) }
    }

    fn file(&mut self) -> io::Result<&mut File> {
        match &mut self.file {
            Some(file) => Ok(file),
            none => {
                if let Some(folder) = self.path.parent() {
                    make_folder(folder)?;
                }
                Ok(none.insert(make_file(&self.path)?))
            }
        }
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let head = &bytes[..bytes.len().min(self.room)];
        if !head.is_empty() {
            self.file()?.write_all(head)?;
        }
        self.room -= head.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.as_mut().map_or(Ok(()), Write::flush)
    }
}
