//! A program of this machine at work: no input, a process group of its own, bounded output, and an end for all that it started.

use std::io::{self, Write};
use std::process::{Command as Blocking, ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use tokio::io::AsyncReadExt as _;
use tokio::net::unix::pipe::Receiver;
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep, timeout};

use super::marks::alive;
use crate::remote::{Exit, Output};

/// Bytes of output that go into the log; of more, the end is kept.
const MOST: usize = 16 << 20;
/// Bytes of its last output that are kept for messages.
const LAST: usize = 4 << 10;
/// How long a program that is asked to end may take.
const GRACE: Duration = Duration::from_secs(10);
/// How long its output is waited for when all of it has ended.
const LINGER: Duration = Duration::from_secs(1);
/// How long after a process was killed it is looked for again, and how often at most.
const PAUSE: Duration = Duration::from_millis(20);
const LOOKS: usize = 250;

/// How a program ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// By itself.
    Exited(ExitStatus),
    /// It did not end in its time, and was ended.
    Overdue,
}

/// A program at work. Dropped, it is ended with everything that it started.
#[derive(Debug)]
pub struct Running {
    child: Child,
    group: Option<Pid>,
    mark: Option<String>,
    output: Receiver,
    heard: usize,
    last: Vec<u8>,
    over: bool,
}

impl Running {
    /// Starts it. What carries `mark` in its environment belongs to it, wherever it has gone.
    ///
    /// # Errors
    /// It cannot be started; then it did not run.
    pub fn start(mut command: Blocking, mark: Option<&str>) -> io::Result<Self> {
        use std::os::unix::process::CommandExt as _;

        let (output, input) = io::pipe()?;
        command.stdin(Stdio::null()).stdout(input.try_clone()?).stderr(input).process_group(0);
        let mut command = Command::from(command);
        let child = command.kill_on_drop(true).spawn()?;
        let group = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        let (output, mark) = (Receiver::from_owned_fd(output.into())?, mark.map(str::to_owned));
        Ok(Self { child, group, mark, output, heard: 0, last: Vec::new(), over: false })
    }

    /// Writes down what it says until it ends, or its time does.
    ///
    /// # Errors
    /// The log cannot be written, or nobody can tell how it ended.
    pub async fn follow(&mut self, ends: Instant, log: &mut (dyn Write + Send)) -> io::Result<End> {
        let end = self.listen(ends, log).await?;
        if end.is_none() {
            self.end(log).await?;
        } else {
            // Whatever it left behind would go on without the way to the cluster.
            self.quell(log).await?;
            self.last_words(log).await?;
        }
        self.over = true;
        Ok(end.map_or(End::Overdue, End::Exited))
    }

    /// Ends it: asked first, then not.
    ///
    /// # Errors
    /// The log cannot be written.
    pub async fn end(&mut self, log: &mut (dyn Write + Send)) -> io::Result<()> {
        if let Some(group) = self.group {
            // It may have ended just now.
            let _ = kill_process_group(group, Signal::TERM);
        }
        self.listen(Instant::now() + GRACE, log).await?;
        self.quell(log).await?;
        self.child.wait().await?;
        self.over = true;
        self.last_words(log).await
    }

    /// The last lines that it said, cleaned.
    #[must_use]
    pub fn complaint(&self) -> String {
        Output { exit: Exit::Code(0), stdout: self.last.clone(), stderr: Vec::new(), dropped: 0 }.complaint()
    }

    /// Takes what it says until it ends; none where its time is over before.
    async fn listen(
        &mut self,
        ends: Instant,
        log: &mut (dyn Write + Send),
    ) -> io::Result<Option<ExitStatus>> {
        let mut piece = vec![0; 32 << 10];
        let mut open = true;
        loop {
            tokio::select! {
                read = self.output.read(&mut piece), if open => match read? {
                    0 => open = false,
                    read => self.hear(&piece[..read], log)?,
                },
                status = self.child.wait() => return status.map(Some),
                () = tokio::time::sleep_until(ends) => return Ok(None),
            }
        }
    }

    /// Takes what is still in the pipe.
    async fn last_words(&mut self, log: &mut (dyn Write + Send)) -> io::Result<()> {
        let mut piece = vec![0; 32 << 10];
        let until = Instant::now() + LINGER;
        while let Ok(Ok(read @ 1..)) =
            timeout(until.saturating_duration_since(Instant::now()), self.output.read(&mut piece)).await
        {
            self.hear(&piece[..read], log)?;
        }
        if self.heard > MOST {
            writeln!(log, "\n# {} bytes in all; what is not here was left out before this end:", self.heard)?;
            log.write_all(&self.last)?;
        }
        Ok(())
    }

    fn hear(&mut self, bytes: &[u8], log: &mut (dyn Write + Send)) -> io::Result<()> {
        let room = MOST.saturating_sub(self.heard).min(bytes.len());
        log.write_all(&bytes[..room])?;
        self.heard = self.heard.saturating_add(bytes.len());
        self.last.extend_from_slice(bytes);
        let beyond = self.last.len().saturating_sub(LAST);
        self.last.drain(..beyond);
        Ok(())
    }

    /// Ends its group, and what has left the group.
    fn kill(&self) {
        if let Some(group) = self.group {
            let _ = kill_process_group(group, Signal::KILL);
        }
        self.strays();
    }

    /// Ends what has left the group; the processes that were still there.
    fn strays(&self) -> Vec<Pid> {
        let found: Vec<Pid> = self.mark.iter().flat_map(|mark| alive(mark)).collect();
        for process in &found {
            let _ = kill_process(*process, Signal::KILL);
        }
        found
    }

    /// Ends all of it, and looks again until nothing is there: a process may have started another while it was looked for, and none is gone at once.
    async fn quell(&self, log: &mut (dyn Write + Send)) -> io::Result<()> {
        if let Some(group) = self.group {
            let _ = kill_process_group(group, Signal::KILL);
        }
        let mut found = self.strays();
        for _ in 0..LOOKS {
            if found.is_empty() {
                return Ok(());
            }
            sleep(PAUSE).await;
            found = self.strays();
        }
        let pids: Vec<String> = found.iter().map(|process| process.as_raw_nonzero().to_string()).collect();
        writeln!(log, "\n# killed, and not gone yet: process {}", pids.join(", "))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !self.over {
            self.kill();
        }
    }
}
