//! What a host answers about its lock. Its words are hostile: bounded, made printable, and an answer that is not whole is none.

use std::fmt;

use serde::Serialize;

use super::FRESH;
use crate::form;
use crate::remote::{Command, Output, printable};

/// Characters of a host's words that are shown.
const SHOWN: usize = 400;

/// A question about a lock, and the key to its answer.
#[derive(Debug, Clone)]
pub struct Question {
    mark: String,
    command: Command,
}

/// An answer that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the host's answer about its lock cannot be read: {0}")]
pub struct Unreadable(String);

/// What a host said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// It is ours now.
    Taken {
        /// The fencing number.
        number: u64,
    },
    /// Nobody has it.
    Free,
    /// Somebody has it.
    Held(Held),
    /// It was given back.
    Released,
    /// It was broken. Whose it was.
    Broken(Held),
    /// The host cannot keep a lock; why.
    Cannot(String),
}

/// A lock that somebody has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Held {
    /// Who; none where the lock's file is damaged.
    pub holder: Option<Holder>,
    /// How long ago the last sign of life was.
    pub idle: Idle,
}

/// Who has a lock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Holder {
    /// The fencing number.
    pub number: u64,
    /// The run.
    pub run: String,
    /// What its provisioning machine is known by.
    pub machine: String,
    /// User and machine.
    pub owner: String,
    /// Since when, by the provisioning machine's clock.
    pub since: String,
    /// What for.
    pub reason: String,
}

/// How long ago a holder's last sign of life was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Idle {
    /// So many seconds.
    Since(u64),
    /// The host was started anew since, and is up for so many seconds.
    StartedAnew(u64),
    /// There is none.
    Unknown,
}

impl Idle {
    /// Whether the holder is taken to live: its lock cannot be broken. A host that was just started anew gives it time to come back.
    #[must_use]
    pub const fn is_fresh(self) -> bool {
        matches!(self, Self::Since(seconds) | Self::StartedAnew(seconds) if seconds < FRESH.as_secs())
    }

    /// Seconds, where they are known.
    #[must_use]
    pub const fn seconds(self) -> Option<u64> {
        match self {
            Self::Since(seconds) => Some(seconds),
            Self::StartedAnew(_) | Self::Unknown => None,
        }
    }
}

impl fmt::Display for Idle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Since(seconds) => write!(f, "last sign of life {} ago", form::seconds(*seconds)),
            Self::StartedAnew(up) => {
                let up = form::seconds(*up);
                write!(f, "no sign of life since the host was started anew, {up} ago")
            }
            Self::Unknown => f.write_str("no sign of life"),
        }
    }
}

impl fmt::Display for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.holder {
            Some(holder) => {
                let Holder { run, owner, since, reason, .. } = holder;
                write!(f, "{owner} has its lock for {reason} since {since} (run {run}; {})", self.idle)
            }
            None => write!(f, "its lock's file is damaged, so nobody knows whose it is ({})", self.idle),
        }
    }
}

impl Question {
    /// A question to the host with this spool folder.
    pub(super) fn of(spool: &str, parts: &[&'static str]) -> Self {
        let mark = crate::jobs::mark();
        let command = Command::new("sh -c")
            .arg(parts.concat())
            .arg("fleet-lock")
            .arg(spool.trim_end_matches('/'))
            .arg(&mark)
            .limit(64 << 10);
        Self { mark, command }
    }

    pub(super) fn args<const N: usize>(self, words: [String; N]) -> Self {
        Self { command: self.command.args(words), ..self }
    }

    /// The question.
    #[must_use]
    pub const fn command(&self) -> &Command {
        &self.command
    }

    /// The answer.
    pub fn read(&self, output: &Output) -> Result<Answer, Unreadable> {
        let no = |what: &str| Unreadable(format!("{what} ({}, {})", output.exit, output.complaint()));
        let text = output.text();
        let begin = format!("\n{} ", self.mark);
        let (_, rest) = text.split_once(&begin).ok_or_else(|| no("it is not there"))?;
        let (line, rest) = rest.split_once('\n').ok_or_else(|| no("it is cut off"))?;
        let words: Vec<&str> = line.trim_end().split(' ').collect();
        let held = |kind: &str, seconds: &str| -> Result<Held, Unreadable> {
            let (file, _) = rest.split_once(&format!("{begin}end")).ok_or_else(|| no("it is cut off"))?;
            let seconds = seconds.parse().map_err(|_| no("its age is no number"))?;
            let idle = match kind {
                "since" => Idle::Since(seconds),
                "anew" => Idle::StartedAnew(seconds),
                "none" => Idle::Unknown,
                _ => return Err(no("it has no age")),
            };
            Ok(Held { holder: Holder::read(file), idle })
        };
        let number = |word: &str| word.parse::<u64>().map_err(|_| no("its number is none"));
        match *words.as_slice() {
            ["free"] => Ok(Answer::Free),
            ["released"] => Ok(Answer::Released),
            ["taken", n] => Ok(Answer::Taken { number: number(n)? }),
            ["held", kind, seconds] => Ok(Answer::Held(held(kind, seconds)?)),
            ["broken", kind, seconds] => Ok(Answer::Broken(held(kind, seconds)?)),
            ["cannot", ..] => Ok(Answer::Cannot(shown(&words[1..].join(" ")))),
            _ => Err(no("it says nothing")),
        }
    }
}

impl Holder {
    /// From a lock's file; none where it is not whole.
    fn read(file: &str) -> Option<Self> {
        let mut lines = file.lines();
        let [word, number, run, machine] = lines.next()?.split(' ').collect::<Vec<_>>().try_into().ok()?;
        let mut line = |key: &str| Some(shown(lines.next()?.strip_prefix(key)?.strip_prefix(' ')?));
        let (owner, since, reason) = (line("owner")?, line("since")?, line("reason")?);
        let whole = word == "lock" && lines.next() == Some("end") && lines.next().is_none();
        let number = number.parse().ok().filter(|_| whole)?;
        Some(Self { number, run: shown(run), machine: shown(machine), owner, since, reason })
    }
}

fn shown(text: &str) -> String {
    printable(text).chars().take(SHOWN).collect()
}
