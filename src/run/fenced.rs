//! A session behind its host's lock: each command is run only while the lock is ours, shows that we live, and brings along what the host's copy
//! of the journal lacks. Without a further round trip: it is all one command line (`lock`).

use std::io::{Write, sink};
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::io::{AsyncRead, AsyncWrite};

use crate::journal::Pending;
use crate::lock::{self, Answer, Guarded, Load, Lock, Stopped};
use crate::remote::{Command, Forward, Output, Remote, RemoteError, Turn};

/// Bytes of journal that one command brings along, besides one line.
const MOST_LINES: usize = 60 << 10;

/// A host that is locked for us.
#[derive(Debug)]
pub struct Fenced<'a, R> {
    remote: &'a R,
    lock: &'a Lock,
    number: u64,
    pending: Pending,
    /// Whether the last line of the host's copy may be torn. So it is at first: a process before us may have left it so.
    torn: AtomicBool,
    /// Whether the cluster is about to be changed, and the host has not been told.
    changes: AtomicBool,
    /// Whether the host has been told.
    told: AtomicBool,
}

impl<'a, R: Remote> Fenced<'a, R> {
    /// The session whose host's lock has this number for us.
    #[must_use]
    pub const fn new(remote: &'a R, lock: &'a Lock, number: u64, pending: Pending) -> Self {
        Self {
            remote,
            lock,
            number,
            pending,
            torn: AtomicBool::new(true),
            changes: AtomicBool::new(false),
            told: AtomicBool::new(false),
        }
    }

    /// The fencing number of the lock.
    #[must_use]
    pub const fn number(&self) -> u64 {
        self.number
    }

    /// Does this work, and shows the host meanwhile that its holder lives, however long no command is sent.
    pub async fn alive<T>(&self, work: impl Future<Output = T>) -> T {
        let mut work = std::pin::pin!(work);
        loop {
            tokio::select! {
                biased;
                done = &mut work => return done,
                () = self.beat() => {}
            }
        }
    }

    /// One sign of life, after a while. What goes wrong with it the next command tells.
    async fn beat(&self) {
        tokio::time::sleep(lock::BEAT).await;
        let beat = self.lock.guard(self.number, &Load::default(), &Command::new(":"));
        let _ = self.remote.run(beat.command(), &mut sink()).await;
    }

    /// Gives the lock back, with the journal's lines so far.
    pub async fn release(&self) -> Result<(), RemoteError> {
        let question = self.lock.release(self.number);
        let output = match self.run(question.command(), &mut sink()).await {
            // A spool without room is no reason to keep its lock.
            Err(RemoteError::SpoolFull(_)) => self.remote.run(question.command(), &mut sink()).await?,
            answer => answer?,
        };
        match question.read(&output).map_err(|error| RemoteError::Refused(error.to_string()))? {
            Answer::Released => Ok(()),
            Answer::Cannot(why) => Err(RemoteError::Refused(why)),
            _ => Err(self.not_run(Stopped::Lost)),
        }
    }

    /// Sends the host what its copy of the journal still lacks, once the lock is given back.
    pub async fn last_words(&self) -> Result<(), RemoteError> {
        let (seqs, lines): (Vec<u64>, Vec<String>) = self.pending.lines().into_iter().unzip();
        let Some(through) = seqs.last() else { return Ok(()) };
        let append = self.lock.append(&lines, self.torn.load(Ordering::Relaxed));
        let output = self.remote.run(&append, &mut sink()).await?;
        if output.success() {
            self.pending.forget(*through);
            Ok(())
        } else {
            Err(RemoteError::Refused(output.complaint()))
        }
    }

    /// The command with its guard, and the number of the last line that goes with it.
    fn guarded(&self, command: &Command) -> (Guarded, Option<u64>) {
        let (mut lines, mut through, mut bytes) = (Vec::new(), None, 0);
        for (seq, line) in self.pending.lines() {
            bytes += line.len();
            if !lines.is_empty() && bytes > MOST_LINES {
                break;
            }
            lines.push(line);
            through = Some(seq);
        }
        let changes = self.changes.load(Ordering::Relaxed) && !self.told.load(Ordering::Relaxed);
        let load = Load { lines: &lines, torn: self.torn.load(Ordering::Relaxed), changes };
        (self.lock.guard(self.number, &load, command), through)
    }

    /// What became of a guarded command, and whether the host has the lines that went with it.
    fn judge(
        &self,
        (guarded, through): &(Guarded, Option<u64>),
        answer: Result<Output, RemoteError>,
    ) -> Result<Output, RemoteError> {
        let stopped = answer.as_ref().map(|output| guarded.stopped(output));
        if let Some(through) = through {
            // What ended well ran, behind its guard. Of anything else nobody knows whether a shell came to it (sudo refuses, a login shell is
            // gone): its lines are sent again. Whoever reads them drops what came twice.
            let there = stopped == Ok(None) && answer.as_ref().is_ok_and(Output::success);
            if there {
                self.pending.forget(*through);
            }
            self.torn.store(!there, Ordering::Relaxed);
        }
        match stopped {
            Ok(None) => {
                let told = self.changes.load(Ordering::Relaxed);
                self.told.fetch_or(told, Ordering::Relaxed);
                answer
            }
            Ok(Some(why)) => Err(self.not_run(why)),
            Err(_) => answer,
        }
    }

    fn not_run(&self, why: Stopped) -> RemoteError {
        let Lock { spool, cluster, run, .. } = self.lock;
        let number = self.number;
        match why {
            Stopped::Lost => RemoteError::LockLost(format!(
                "the host's lock is not this run's any more (it was number {number}): somebody broke it. The command was not run, and \
                 nothing more is sent. Who has it now: fleet lock show --on {cluster}"
            )),
            Stopped::Full => RemoteError::SpoolFull(format!(
                "{spool} on the host cannot be written, so what is done there could not be written down: the command was not run. Make \
                 room on its disk (df -h {spool}), then: fleet resume {run}"
            )),
            Stopped::Cut => RemoteError::Refused(
                "the journal's lines came in part: the line is about to be lost. The command was not run"
                    .to_owned(),
            ),
        }
    }
}

impl<R: Remote> Remote for Fenced<'_, R> {
    async fn run(&self, command: &Command, log: &mut (dyn Write + Send)) -> Result<Output, RemoteError> {
        let sent = self.guarded(command);
        let answer = self.remote.run(sent.0.command(), log).await;
        self.judge(&sent, answer)
    }

    async fn stream(
        &self,
        command: &Command,
        sink: &mut (dyn AsyncWrite + Unpin + Send),
    ) -> Result<Output, RemoteError> {
        let sent = self.guarded(command);
        let answer = self.remote.stream(sent.0.command(), sink).await;
        self.judge(&sent, answer)
    }

    async fn send(
        &self,
        command: &Command,
        source: &mut (dyn AsyncRead + Unpin + Send),
        log: &mut (dyn Write + Send),
    ) -> Result<Output, RemoteError> {
        let sent = self.guarded(command);
        let answer = self.remote.send(sent.0.command(), source, log).await;
        self.judge(&sent, answer)
    }

    fn turn(&self) -> impl Future<Output = Turn> + Send {
        self.remote.turn()
    }

    fn forward(&self, port: u16) -> impl Future<Output = Result<Forward, RemoteError>> + Send {
        self.remote.forward(port)
    }

    fn news(&self) -> Vec<String> {
        self.remote.news()
    }

    fn fence(&self) -> Option<u64> {
        Some(self.number)
    }

    fn changes(&self) {
        self.changes.store(true, Ordering::Relaxed);
    }
}
