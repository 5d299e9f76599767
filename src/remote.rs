//! What can be asked of a host: a [`Command`], its [`Output`], and the trait [`Remote`] that carries one to
//! the other. The words only; the one transport is `ssh`.

use std::fmt;
use std::future::Future;
use std::io::Write;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::OwnedSemaphorePermit;

mod command;
#[cfg(test)]
pub(crate) mod shell;

pub use command::{Command, DEFAULT_DEADLINE, DEFAULT_LIMIT, quote};

/// How a remote process ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Exit {
    /// Its exit status.
    Code(u32),
    /// The name of the signal that ended it, without `SIG`.
    Signal(String),
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(code) => write!(f, "exit status {code}"),
            Self::Signal(name) => write!(f, "signal {name}"),
        }
    }
}

/// What a command that came to its end gave back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// How it ended.
    pub exit: Exit,
    /// Standard output, up to the command's limit.
    pub stdout: Vec<u8>,
    /// Standard error, up to the command's limit.
    pub stderr: Vec<u8>,
    /// Bytes that did not fit into memory (they are in the log, where one was given and the command is not sensitive).
    pub dropped: u64,
}

impl Output {
    /// Whether it ended with exit status 0.
    #[must_use]
    pub fn success(&self) -> bool {
        self.exit == Exit::Code(0)
    }

    /// Standard output as text; what is not UTF-8 is replaced.
    #[must_use]
    pub fn text(&self) -> std::borrow::Cow<'_, str> {
        String::from_utf8_lossy(&self.stdout)
    }

    /// The last lines of standard error (of standard output where that is empty), as one cleaned line for messages.
    #[must_use]
    pub fn complaint(&self) -> String {
        let stderr = String::from_utf8_lossy(&self.stderr);
        let text = if stderr.trim().is_empty() { self.text() } else { stderr };
        let lines: Vec<&str> = text.trim().lines().rev().take(3).collect();
        let joined = lines.into_iter().rev().collect::<Vec<_>>().join(" / ");
        let clean = printable(&joined);
        match clean.char_indices().nth(400) {
            Some((end, _)) => format!("{}…", &clean[..end]),
            None => clean,
        }
    }
}

/// A text from a host, made harmless for a terminal and for one line: every control character (escape sequences
/// begin with one), bidirectional override and line separator is replaced by `·`; tabs become blanks.
#[must_use]
pub fn printable(text: &str) -> String {
    text.chars()
        .map(|c| match c {
            '\t' => ' ',
            '\u{200e}'
            | '\u{200f}'
            | '\u{202a}'..='\u{202e}'
            | '\u{2066}'..='\u{2069}'
            | '\u{2028}'
            | '\u{2029}'
            | '\u{feff}' => '·',
            c if c.is_control() => '·',
            c => c,
        })
        .collect()
}

/// Why a command has no output. Each says whether the host may have acted: see [`RemoteError::in_doubt`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RemoteError {
    /// No connection could be made; nothing was sent.
    #[error("cannot reach {address}: {why}")]
    Unreachable {
        /// Host and port.
        address: String,
        /// The network's own words.
        why: String,
    },
    /// The host's key is not the one that is known; nothing was sent.
    #[error("{0}")]
    HostKey(String),
    /// The host did not take any way to log in; nothing was sent.
    #[error("{0}")]
    Auth(String),
    /// The host refused to start the command; it did not run.
    #[error("the host refused the command: {0}")]
    Refused(String),
    /// The connection ended before the command's exit status came.
    #[error("the connection was lost before the command ended: {0}")]
    Lost(String),
    /// The command did not end in the time it was given. It may still be running.
    #[error("no end within {} s", .0.as_secs())]
    Deadline(Duration),
    /// The host is locked for another run by now; the command did not run.
    #[error("{0}")]
    LockLost(String),
    /// The host cannot write down what would be done; the command did not run.
    #[error("{0}")]
    SpoolFull(String),
    /// This machine's own trouble: a key file that cannot be read, a full disk.
    #[error("on this machine: {0}")]
    Here(String),
}

impl RemoteError {
    /// Whether the host may have done what it was asked: then the outcome is *in doubt*.
    #[must_use]
    pub const fn in_doubt(&self) -> bool {
        matches!(self, Self::Lost(_) | Self::Deadline(_))
    }

    /// A stable id of the kind, by which failures are grouped.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Unreachable { .. } => "unreachable",
            Self::HostKey(_) => "host-key",
            Self::Auth(_) => "authentication",
            Self::Refused(_) => "refused-by-host",
            Self::Lost(_) => "connection-lost",
            Self::Deadline(_) => "deadline",
            Self::LockLost(_) => "lock-lost",
            Self::SpoolFull(_) => "spool-full",
            Self::Here(_) => "this-machine",
        }
    }
}

/// A host that can be asked things. One connection stands behind it for a whole run.
pub trait Remote: Send + Sync {
    /// Runs a command to its end. Everything it prints is also appended to `log` as it arrives, unless the command is
    /// sensitive.
    fn run(
        &self,
        command: &Command,
        log: &mut (dyn Write + Send),
    ) -> impl Future<Output = Result<Output, RemoteError>> + Send;

    /// Runs a command and hands its whole standard output to `sink`; [`Output::stdout`] stays empty.
    ///
    /// `Ok` with [`Output::success`] means that end-of-file *and* exit status 0 were seen: the stream is whole. A connection
    /// that dies in the middle is `Err(Lost)`, never a short success (libraries 0.5).
    fn stream(
        &self,
        command: &Command,
        sink: &mut (dyn AsyncWrite + Unpin + Send),
    ) -> impl Future<Output = Result<Output, RemoteError>> + Send;

    /// Runs a command and gives it all of `source` on standard input, behind what the command itself gives; at the source's end standard
    /// input ends. No more of it is held than fits into a buffer. A command that ends before has its output all the same.
    fn send(
        &self,
        command: &Command,
        source: &mut (dyn AsyncRead + Unpin + Send),
        log: &mut (dyn Write + Send),
    ) -> impl Future<Output = Result<Output, RemoteError>> + Send {
        let _ = (command, source, log);
        async { Err(RemoteError::Refused("this host takes no stream".to_owned())) }
    }

    /// Runs a command that changes nothing. One whose line is lost meanwhile is asked again on the next, at most [`MOST_ASKED`]
    /// times in all: nothing is in doubt then, only unknown.
    fn ask(
        &self,
        command: &Command,
        log: &mut (dyn Write + Send),
    ) -> impl Future<Output = Result<Output, RemoteError>> + Send {
        async move {
            let mut asked = 1;
            loop {
                match self.run(command, &mut *log).await {
                    Err(RemoteError::Lost(why)) if asked < MOST_ASKED => {
                        asked += 1;
                        // One that cannot be written is told of where the step ends.
                        let _ = writeln!(log, "\n# the line was lost ({}); asked again", printable(&why));
                    }
                    answer => return answer,
                }
            }
        }
    }

    /// Waits for a turn among those who send much at once, where that is limited. It is held until it is dropped, and counts for every
    /// stream meanwhile. For work that must not wait in its middle; a stream without it waits for one by itself.
    fn turn(&self) -> impl Future<Output = Turn> + Send {
        async { Turn::default() }
    }

    /// What has become of the line since this was last asked, one sentence each: that it was lost and made again.
    fn news(&self) -> Vec<String> {
        Vec::new()
    }

    /// Opens a way from this machine's loopback to a port of the host's, for programs of this machine.
    fn forward(&self, port: u16) -> impl Future<Output = Result<Forward, RemoteError>> + Send {
        async move { Err(RemoteError::Refused(format!("there is no way to its port {port}"))) }
    }

    /// The number by which the host knows that its lock is still ours; none where no lock stands before it.
    fn fence(&self) -> Option<u64> {
        None
    }

    /// Says that what is sent from here on changes the cluster for good. A host that keeps books writes that down first.
    fn changes(&self) {}
}

/// A way to a port of a host's loopback ([`Remote::forward`]).
pub struct Forward {
    /// The port of 127.0.0.1 on this machine.
    pub port: u16,
    /// Carries what goes through it, for as long as it is polled. It ends when the line does, and tells why.
    pub serving: Pin<Box<dyn Future<Output = RemoteError> + Send>>,
}

/// How often a question is asked whose line is lost meanwhile, the first time counted.
pub const MOST_ASKED: u32 = 3;

/// A turn among those who send much at once ([`Remote::turn`]), until dropped.
#[derive(Debug, Default)]
pub struct Turn {
    _permit: Option<Arc<OwnedSemaphorePermit>>,
}

impl Turn {
    /// The turn that this permit is.
    #[must_use]
    pub const fn of(permit: Option<Arc<OwnedSemaphorePermit>>) -> Self {
        Self { _permit: permit }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_become_dots() {
        assert_eq!(printable("a\u{1b}[31mred\u{7}\r\n\tb"), "a·[31mred··· b");
        assert_eq!(printable("\u{9b}31m\u{202e}abc"), "·31m·abc");
    }
}
