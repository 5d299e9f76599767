//! The scribe of a step: everything a step asks of a host goes through it, so that journal and log miss nothing.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::time::Instant;

use tokio::io::{AsyncRead, AsyncWrite};

use crate::event::{Failure, What};
use crate::files::is_full;
use crate::journal::Journal;
use crate::remote::{Command, MOST_ASKED, Output, Remote, RemoteError, printable};

/// How a step can go wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trouble {
    /// What the step wanted is known not to be so.
    Failed(Failure),
    /// Nobody knows whether it is so.
    InDoubt(Failure),
}

impl Trouble {
    /// Whether the line was lost while a command was under way: it may have been done.
    #[must_use]
    pub fn is_cut(&self) -> bool {
        matches!(self, Self::InDoubt(failure) if failure.cause == "connection-lost")
    }
}

/// Writes down what a step does.
#[derive(Debug)]
pub struct Scribe<'a> {
    journal: &'a mut Journal,
    step: &'a str,
    log: Log,
}

impl<'a> Scribe<'a> {
    /// A scribe for this step, whose commands' output goes to the end of `log`: what an earlier try printed stays.
    pub fn new(journal: &'a mut Journal, step: &'a str, log: &Path) -> io::Result<Self> {
        Ok(Self { journal, step, log: Log::open(log)? })
    }

    /// Runs a command that must end with exit status 0.
    pub async fn demand<R: Remote>(&mut self, remote: &R, command: &Command) -> Result<Output, Trouble> {
        let output = self.ask(remote, command).await?;
        well(command, output)
    }

    /// Runs a command to its end, whatever its exit status.
    pub async fn ask<R: Remote>(&mut self, remote: &R, command: &Command) -> Result<Output, Trouble> {
        self.open(command)?;
        let began = Instant::now();
        let answer = remote.run(command, &mut self.log).await;
        self.ended(remote, command, began, answer)
    }

    /// Runs a command that may be done twice, as every question may, to its end. One whose line is lost meanwhile is sent again on the
    /// next.
    pub async fn repeat<R: Remote>(&mut self, remote: &R, command: &Command) -> Result<Output, Trouble> {
        let mut sent = 1;
        loop {
            match self.ask(remote, command).await {
                Err(trouble) if trouble.is_cut() && sent < MOST_ASKED => sent += 1,
                ended => return ended,
            }
        }
    }

    /// Asks the same question once more while waiting: logged, but not journalled, for it changes nothing and is asked hundreds of times.
    /// `None` when no answer came in time; as the question changes nothing, nothing is in doubt then. A lost line is made again, and the
    /// question asked on it.
    pub async fn look<R: Remote>(
        &mut self,
        remote: &R,
        command: &Command,
    ) -> Result<Option<Output>, Trouble> {
        self.open(command)?;
        let answer = remote.ask(command, &mut io::sink()).await;
        self.heed(remote)?;
        match answer {
            Ok(output) => Ok(Some(output)),
            Err(RemoteError::Deadline(_)) => Ok(None),
            Err(error) => Err(lost(&error)),
        }
    }

    /// Asks without writing anything down: for what is asked again and again while the line may be lost, and is told by
    /// [`Scribe::log`] and [`Scribe::ran`].
    pub async fn quietly<R: Remote>(&mut self, remote: &R, command: &Command) -> Result<Output, RemoteError> {
        remote.run(command, &mut io::sink()).await
    }

    /// Writes into the step's log.
    pub fn log(&mut self, bytes: &[u8]) -> Result<(), Trouble> {
        self.log.write_all(bytes).map_err(|error| here(&error))?;
        self.miss()
    }

    /// The step's log, for what a program of this machine says.
    pub fn writer(&mut self) -> &mut (dyn Write + Send) {
        &mut self.log
    }

    /// Records how a command ended that was not run by [`Scribe::ask`].
    pub fn ran(&mut self, line: &str, exit: &str, took_ms: u64) -> Result<(), Trouble> {
        self.log(format!("# {exit}\n").as_bytes())?;
        let (step, line, exit) = (self.step.to_owned(), line.to_owned(), exit.to_owned());
        self.record(What::Ran { step, line, exit, took_ms })
    }

    /// Runs a command that must end with exit status 0 and hands its whole output to `sink`.
    pub async fn stream<R: Remote>(
        &mut self,
        remote: &R,
        command: &Command,
        sink: &mut (dyn AsyncWrite + Unpin + Send),
    ) -> Result<Output, Trouble> {
        self.open(command)?;
        let began = Instant::now();
        let answer = remote.stream(command, sink).await;
        let output = self.ended(remote, command, began, answer)?;
        well(command, output)
    }

    /// Runs a command that must end with exit status 0 and gives it all of `source`.
    pub async fn send<R: Remote>(
        &mut self,
        remote: &R,
        command: &Command,
        source: &mut (dyn AsyncRead + Unpin + Send),
    ) -> Result<Output, Trouble> {
        self.open(command)?;
        let began = Instant::now();
        let answer = remote.send(command, source, &mut self.log).await;
        let output = self.ended(remote, command, began, answer)?;
        well(command, output)
    }

    /// Records one sentence for people.
    pub fn note(&mut self, text: impl AsRef<str>) -> Result<(), Trouble> {
        self.record(What::Noted { step: self.step.to_owned(), text: printable(text.as_ref()) })
    }

    /// Records an event of this step.
    pub fn record(&mut self, what: What) -> Result<(), Trouble> {
        self.journal.record(what).map_err(|error| here(&error))
    }

    /// The step's id.
    #[must_use]
    pub const fn step(&self) -> &str {
        self.step
    }

    fn open(&mut self, command: &Command) -> Result<(), Trouble> {
        writeln!(self.log, "$ {}", command.line()).map_err(|error| here(&error))
    }

    /// Notes that the log is not whole, once.
    fn miss(&mut self) -> Result<(), Trouble> {
        match self.log.lost.take() {
            Some(why) => self.note(format!("the log of this step ends here: {why}")),
            None => Ok(()),
        }
    }

    /// Notes what has become of the line and of the log.
    fn heed<R: Remote>(&mut self, remote: &R) -> Result<(), Trouble> {
        self.miss()?;
        remote.news().into_iter().try_for_each(|news| self.note(news))
    }

    fn ended<R: Remote>(
        &mut self,
        remote: &R,
        command: &Command,
        began: Instant,
        answer: Result<Output, RemoteError>,
    ) -> Result<Output, Trouble> {
        self.heed(remote)?;
        let exit = match &answer {
            Ok(output) => output.exit.to_string(),
            Err(error) => printable(&error.to_string()),
        };
        writeln!(self.log, "# {exit}").map_err(|error| here(&error))?;
        let took_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.record(What::Ran {
            step: self.step.to_owned(),
            line: command.line().to_owned(),
            exit,
            took_ms,
        })?;
        answer.map_err(|error| lost(&error))
    }
}

/// A step's log. One that cannot be written any more does not change what the host did: the journal is the truth, and it goes on.
#[derive(Debug)]
struct Log {
    file: Option<File>,
    /// Why there is no more of it, until that is told.
    lost: Option<String>,
}

impl Log {
    fn open(path: &Path) -> io::Result<Self> {
        match crate::files::append_file(path) {
            Ok(file) => Ok(Self { file: Some(file), lost: None }),
            Err(error) if is_full(&error) => Ok(Self { file: None, lost: Some(error.to_string()) }),
            Err(error) => Err(error),
        }
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Some(file) = &mut self.file
            && let Err(error) = file.write_all(bytes)
        {
            (self.file, self.lost) = (None, Some(error.to_string()));
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The output of a command that must have ended with exit status 0.
pub(super) fn well(command: &Command, output: Output) -> Result<Output, Trouble> {
    if output.success() { Ok(output) } else { Err(Trouble::Failed(complaint(command, &output))) }
}

fn complaint(command: &Command, output: &Output) -> Failure {
    let said = if command.is_sensitive() { "its output is secret".to_owned() } else { output.complaint() };
    let line: String = command.line().chars().take(120).collect();
    Failure::new("command-failed", format!("`{line}` ended with {}: {said}", output.exit))
}

/// A remote error as the trouble of a step: what may have happened is in doubt, what cannot have happened failed.
#[must_use]
pub fn lost(error: &RemoteError) -> Trouble {
    let failure = Failure::new(error.kind(), error.to_string());
    match error {
        _ if error.in_doubt() => Trouble::InDoubt(failure.read("docs/operating.md#in-doubt")),
        RemoteError::LockLost(_) => Trouble::Failed(failure.read("docs/locks.md#lock-lost")),
        RemoteError::SpoolFull(_) => Trouble::Failed(failure.read("docs/locks.md#spool-full")),
        _ => Trouble::Failed(failure),
    }
}

/// This machine's own trouble as the trouble of a step.
#[must_use]
pub fn here(error: &io::Error) -> Trouble {
    Trouble::Failed(
        Failure::new("this-machine", error.to_string()).read("docs/operating.md#trouble-on-this-machine"),
    )
}
