//! What a host is asked to do: a shell line into which words come quoted or not at all, and its limits.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretSlice};
use serde::{Deserialize, Serialize};

/// How long a command may take unless it says otherwise.
pub const DEFAULT_DEADLINE: Duration = Duration::from_secs(60);
/// How many bytes of each output stream are kept in memory unless the command says otherwise.
pub const DEFAULT_LIMIT: usize = 1 << 20;

/// A shell command line for a host.
///
/// Fixed text is `&'static str`; a word that is known only at run time enters through [`Command::arg`], which
/// quotes it. There is no third way in, so text of a host or an inventory cannot become shell syntax.
#[derive(Clone, Serialize, Deserialize)]
#[serde(from = "Written", into = "Written")]
pub struct Command {
    line: String,
    deadline: Duration,
    limit: usize,
    sensitive: bool,
    stdin: Option<Arc<SecretSlice<u8>>>,
}

impl Command {
    /// A command that begins with this fixed shell text.
    #[must_use]
    pub fn new(fixed: &'static str) -> Self {
        Self {
            line: fixed.to_owned(),
            deadline: DEFAULT_DEADLINE,
            limit: DEFAULT_LIMIT,
            sensitive: false,
            stdin: None,
        }
    }

    /// Appends one word, quoted, after a blank.
    #[must_use]
    pub fn arg(mut self, word: impl AsRef<str>) -> Self {
        self.line.push(' ');
        self.line.push_str(&quote(word.as_ref()));
        self
    }

    /// Appends words, each quoted, each after a blank.
    #[must_use]
    pub fn args<W: AsRef<str>>(self, words: impl IntoIterator<Item = W>) -> Self {
        words.into_iter().fold(self, Self::arg)
    }

    /// Appends one word, quoted, with no blank before it: for `name=` + value.
    #[must_use]
    pub fn joined(mut self, word: impl AsRef<str>) -> Self {
        self.line.push_str(&quote(word.as_ref()));
        self
    }

    /// Appends fixed shell text after a blank: an option, a pipe, a redirection.
    #[must_use]
    pub fn fixed(mut self, fixed: &'static str) -> Self {
        self.line.push(' ');
        self.line.push_str(fixed);
        self
    }

    /// Appends another whole command after a blank, as syntax: `sh -c 'a && b'` built from parts that are each
    /// safely quoted already.
    #[must_use]
    pub fn then(mut self, glue: &'static str, other: &Self) -> Self {
        self.line.push(' ');
        self.line.push_str(glue);
        self.line.push(' ');
        self.line.push_str(&other.line);
        self
    }

    /// Sets the time after which the command is given up (its outcome is then unknown).
    #[must_use]
    pub const fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// Sets how many bytes of each output stream are kept in memory.
    #[must_use]
    pub const fn limit(mut self, bytes: usize) -> Self {
        self.limit = bytes;
        self
    }

    /// Marks the output as secret: it is never written to a log.
    #[must_use]
    pub const fn sensitive(mut self) -> Self {
        self.sensitive = true;
        self
    }

    /// Sends these bytes to the command's standard input. They are treated as secret and never stored with a plan.
    #[must_use]
    pub fn stdin(mut self, bytes: Vec<u8>) -> Self {
        self.stdin = Some(Arc::new(SecretSlice::from(bytes)));
        self
    }

    /// The shell line, exactly as the host's shell will get it.
    #[must_use]
    pub fn line(&self) -> &str {
        &self.line
    }

    /// The deadline.
    #[must_use]
    pub const fn time_allowed(&self) -> Duration {
        self.deadline
    }

    /// Bytes of each output stream kept in memory.
    #[must_use]
    pub const fn memory_allowed(&self) -> usize {
        self.limit
    }

    /// Whether the output must stay out of every log.
    #[must_use]
    pub const fn is_sensitive(&self) -> bool {
        self.sensitive
    }

    /// What goes to standard input.
    #[must_use]
    pub fn input(&self) -> Option<&[u8]> {
        self.stdin.as_ref().map(|bytes| bytes.expose_secret())
    }
}

impl fmt::Debug for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Command").field(&self.line).finish()
    }
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.line)
    }
}

impl PartialEq for Command {
    /// Equal when the host would be asked the same; standard input is secret and not compared.
    fn eq(&self, other: &Self) -> bool {
        self.line == other.line && self.deadline == other.deadline && self.sensitive == other.sensitive
    }
}

/// A command as a plan file stores it.
#[derive(Serialize, Deserialize)]
struct Written {
    line: String,
    deadline_seconds: u64,
    #[serde(default = "default_limit")]
    limit: usize,
    #[serde(default)]
    sensitive: bool,
}

const fn default_limit() -> usize {
    DEFAULT_LIMIT
}

impl From<Written> for Command {
    fn from(written: Written) -> Self {
        Self {
            line: written.line,
            deadline: Duration::from_secs(written.deadline_seconds),
            limit: written.limit,
            sensitive: written.sensitive,
            stdin: None,
        }
    }
}

impl From<Command> for Written {
    fn from(command: Command) -> Self {
        Self {
            line: command.line,
            deadline_seconds: command.deadline.as_secs(),
            limit: command.limit,
            sensitive: command.sensitive,
        }
    }
}

/// Quotes a word for a POSIX shell: bare where it is harmless, in single quotes otherwise.
///
/// A NUL byte cannot be said to a shell at all; it is dropped, and no path or name on a host can hold one.
#[must_use]
pub fn quote(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,@%+".contains(c);
    // A leading `=` or `~` or a bare `a=b` in command position would mean something; arguments never stand there,
    // but zsh expands a leading `=`.
    if !word.is_empty() && !word.starts_with('=') && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\0', "").replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn harmless_words_stay_bare_and_others_are_quoted() {
        assert_eq!(quote("v0.7"), "v0.7");
        assert_eq!(quote("a b"), "'a b'");
        assert_eq!(quote(""), "''");
        assert_eq!(quote("it's"), r"'it'\''s'");
        assert_eq!(quote("$(reboot)"), "'$(reboot)'");
        assert_eq!(quote("=ls"), "'=ls'");
        assert_eq!(quote("~root"), "'~root'");
    }

    #[test]
    fn a_stored_command_is_the_same_command_without_its_input() {
        let command = Command::new("cat >").arg("/etc/x y").stdin(b"hunter2".to_vec()).sensitive();
        let json = serde_json::to_string(&command).unwrap();
        assert!(!json.contains("hunter2"));
        assert!(!format!("{command:?}").contains("hunter2"));
        let back: Command = serde_json::from_str(&json).unwrap();
        assert_eq!(back, command);
        assert_eq!(back.input(), None);
    }
}
