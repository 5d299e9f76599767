//! A host's lock: one run at a time changes a host (promise M13).
//!
//! Pure: commands are built and answers read. All state is plain files in the host's spool folder. How it works, and what an operator does
//! about a lock that stays, is told in `docs/locks.md`.

mod answer;
mod script;

use std::time::Duration;

use jiff::Timestamp;

pub use answer::{Answer, Held, Holder, Idle, Question, Unreadable};

use crate::remote::{Command, Output, printable};
use script::{BREAK, COMMON, GUARD, LOOK, RELEASE, TAKE, THEN, UNGUARDED};

/// For so long after its last sign of life a holder is taken to live: its lock cannot be broken.
pub const FRESH: Duration = Duration::from_secs(300);
/// How often a holder that sends no command shows that it lives.
pub const BEAT: Duration = Duration::from_secs(60);
/// Characters of an operator's words that a lock keeps.
const WORDS: usize = 300;

/// The lock of one host, as one run wants it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lock {
    /// The spool folder on the host.
    pub spool: String,
    /// The cluster's name, for what an operator is told to type.
    pub cluster: String,
    /// The run's id.
    pub run: String,
    /// User and machine.
    pub owner: String,
    /// What the provisioning machine is known by, see [`Lock::machine`].
    pub machine: String,
    /// What for.
    pub reason: String,
}

impl Lock {
    /// What a provisioning machine is known by on hosts: not its id, which is nobody's business there.
    #[must_use]
    pub fn machine(id: &str, name: &str) -> String {
        use sha2::{Digest as _, Sha256};
        let sum = Sha256::digest(format!("fleet lock\n{}\n{}", id.trim(), name.trim()));
        crate::form::hex(sum.get(..8).unwrap_or_default())
    }

    /// Takes it, unless another has it. Doing this twice takes it twice, with two numbers: the newer one counts.
    #[must_use]
    pub fn take(&self) -> Question {
        let question = Question::of(&self.spool, &[COMMON, TAKE]);
        question.args([
            word(&self.run),
            word(&self.machine),
            line(&self.owner),
            Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
            line(&self.reason),
        ])
    }

    /// Gives it back, if it has this number still.
    #[must_use]
    pub fn release(&self, number: u64) -> Question {
        Question::of(&self.spool, &[COMMON, RELEASE]).args([number.to_string(), word(&self.run)])
    }

    /// This command behind its guard: run only while the lock has this number.
    #[must_use]
    pub fn guard(&self, number: u64, load: &Load<'_>, command: &Command) -> Guarded {
        let mark = crate::jobs::mark();
        let lines: String = load.lines.iter().map(String::as_str).collect();
        // The end is what tells lines that are whole from a line that was lost in their middle.
        let lines = if lines.is_empty() { lines } else { lines + "end" };
        let flag = |on: bool| if on { "1" } else { "0" };
        let guard = Command::new("(s=")
            .joined(self.spool.trim_end_matches('/'))
            .fixed("f=")
            .joined(number.to_string())
            .fixed("i=")
            .joined(word(&self.run))
            .fixed("m=")
            .joined(&mark)
            .fixed("l=")
            .joined(lines.len().to_string())
            .fixed("t=")
            .joined(flag(load.torn))
            .fixed("c=")
            .joined(flag(load.changes))
            .fixed(GUARD)
            .then(THEN, command)
            .deadline(command.time_allowed())
            .limit(command.memory_allowed().max(1 << 10));
        let guard = if command.is_sensitive() { guard.sensitive() } else { guard };
        let guard = if lines.is_empty() && command.input().is_none() {
            guard
        } else {
            guard.stdin([lines.as_bytes(), command.input().unwrap_or_default()].concat())
        };
        Guarded { mark, command: guard }
    }

    /// Appends these lines to the run's journal on the host, whoever has the lock: for the last words of a run that has given it back.
    #[must_use]
    pub fn append(&self, lines: &[String], torn: bool) -> Command {
        let journal = format!("{}/runs/{}/journal.ndjson", self.spool.trim_end_matches('/'), word(&self.run));
        let lines = if torn { format!("\n{}", lines.concat()) } else { lines.concat() };
        Command::new("umask 077; cat >>").arg(journal).stdin(lines.into_bytes())
    }
}

/// Looks at the lock of the host with this spool folder. Changes nothing.
#[must_use]
pub fn look(spool: &str) -> Question {
    Question::of(spool, &[COMMON, LOOK])
}

/// Breaks the lock with this number, or one that is damaged (`None`), unless its holder lives.
#[must_use]
pub fn breaks(spool: &str, number: Option<u64>, by: &str, why: &str) -> Question {
    Question::of(spool, &[COMMON, BREAK]).args([
        number.map_or_else(|| "-".to_owned(), |number| number.to_string()),
        FRESH.as_secs().to_string(),
        line(by),
        line(why),
        Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
    ])
}

/// The command of a line that may have a guard before it: what a person would type.
#[must_use]
pub fn bare(line: &str) -> &str {
    let guarded = line.strip_prefix("(s=").and_then(|rest| rest.split_once(THEN));
    guarded.map_or(line, |(_, command)| command.trim_start())
}

/// What a guarded command brings along.
#[derive(Debug, Clone, Copy, Default)]
pub struct Load<'a> {
    /// Lines for the run's journal on the host, each with its line feed.
    pub lines: &'a [String],
    /// Whether the last line there may be torn: nobody knows how the one before ended.
    pub torn: bool,
    /// Whether the cluster is about to be changed.
    pub changes: bool,
}

/// A command with its guard, and the key to what the guard says.
#[derive(Debug, Clone)]
pub struct Guarded {
    mark: String,
    command: Command,
}

/// Why a guard did not let a command run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stopped {
    /// The lock is not ours any more.
    Lost,
    /// The spool cannot be written.
    Full,
    /// The journal's lines did not come whole.
    Cut,
}

impl Guarded {
    /// The command with its guard.
    #[must_use]
    pub const fn command(&self) -> &Command {
        &self.command
    }

    /// Whether the guard stopped the command, from what came back.
    #[must_use]
    pub fn stopped(&self, output: &Output) -> Option<Stopped> {
        if output.exit != crate::remote::Exit::Code(UNGUARDED) {
            return None;
        }
        let said = String::from_utf8_lossy(&output.stderr);
        let word = said.lines().find_map(|line| line.strip_prefix(self.mark.as_str()))?;
        match word.trim() {
            "lost" => Some(Stopped::Lost),
            "full" => Some(Stopped::Full),
            "cut" => Some(Stopped::Cut),
            _ => None,
        }
    }
}

/// One word of a lock's first line.
fn word(text: &str) -> String {
    crate::jobs::plain(text)
}

/// An operator's words as one line of a lock.
fn line(text: &str) -> String {
    printable(text).chars().take(WORDS).collect()
}

#[cfg(test)]
mod tests;
