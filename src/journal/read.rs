//! The lines of a journal: how they are sealed, and how they are read back.

use std::io;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use sha2::{Digest, Sha256};

use crate::event::Event;
use crate::form::hex;
use crate::remote::printable;

/// The version of the form of a journal. It counts up where an older reader would misunderstand a newer line; a new kind of event is no
/// new form. A journal that tells none is of the first.
pub const FORMAT: u32 = 1;

/// What is wrong with a journal.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The file cannot be read.
    #[error("cannot read {path}: {source}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file cannot be gone on with.
    #[error("cannot write {path}: {source}")]
    Unwritable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A newer `fleet` wrote it, in a form that this one does not know.
    #[error(
        "{path} was written by fleet {fleet} (format {format}); this is fleet {}, which reads formats up to {FORMAT}. Use that one",
        env!("CARGO_PKG_VERSION")
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// The version of the `fleet` that began it.
        fleet: String,
        /// The version of its form.
        format: u32,
    },
    /// It is the journal of another cluster.
    #[error("{path} is the journal of {cluster}, a copy that stands in the wrong place; nothing was changed")]
    Another {
        /// The file.
        path: PathBuf,
        /// Whose it is.
        cluster: String,
    },
    /// A line in the middle is damaged.
    #[error(
        "{path}:{line}: damaged: {why}; the lines before it are whole. Keep the file and see docs/reports.md#a-damaged-journal"
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong.
        why: String,
        /// The events of the lines before it, so that a report can tell what is known.
        whole: Vec<Event>,
    },
}

/// The lines of a journal.
#[derive(Debug)]
pub struct Lines<'a> {
    /// The event of each whole line.
    pub events: Vec<Event>,
    /// The whole lines as they are, each with its end: what this `fleet` does not know of a line is still in it.
    pub whole: Vec<String>,
    /// What comes after the last end of a line: the write that a crash cut short. Its act was never begun.
    pub torn: &'a [u8],
}

/// What the first line tells besides its event.
#[derive(Debug, Deserialize)]
struct Head {
    #[serde(default)]
    format: Option<u32>,
    #[serde(default)]
    fleet: Option<String>,
}

impl<'a> Lines<'a> {
    /// Reads the text of a journal; `path` is for the errors. A torn last line is set apart; damage anywhere else is an error.
    pub fn read(text: &'a [u8], path: &Path) -> Result<Self, JournalError> {
        let mut lines = Lines { events: Vec::new(), whole: Vec::new(), torn: &[] };
        for (index, line) in text.split_inclusive(|byte| *byte == b'\n').enumerate() {
            if !line.ends_with(b"\n") {
                lines.torn = line;
                break;
            }
            let expected = lines.events.last().map_or(1, |last| last.seq + 1);
            match parse(line, expected) {
                Ok((event, line)) => {
                    lines.events.push(event);
                    lines.whole.push(line);
                }
                Err(Unread::Newer { fleet, format }) => {
                    return Err(JournalError::Newer { path: path.to_owned(), fleet, format });
                }
                Err(Unread::Damaged(why)) => {
                    return Err(JournalError::Damaged {
                        path: path.to_owned(),
                        line: index + 1,
                        why,
                        whole: lines.events,
                    });
                }
            }
        }
        Ok(lines)
    }
}

/// Reads a journal. A torn last line (the write that a crash cut short) is set aside; damage anywhere else is an error.
pub fn read(path: &Path) -> Result<Vec<Event>, JournalError> {
    let text =
        std::fs::read(path).map_err(|source| JournalError::Unreadable { path: path.to_owned(), source })?;
    Ok(Lines::read(&text, path)?.events)
}

/// Why a line is no event.
pub(super) enum Unread {
    Damaged(String),
    Newer { fleet: String, format: u32 },
}

impl From<String> for Unread {
    fn from(why: String) -> Self {
        Self::Damaged(why)
    }
}

/// A line's event, and the line as text.
pub(super) fn parse(line: &[u8], expected: u64) -> Result<(Event, String), Unread> {
    let line = std::str::from_utf8(line).map_err(|error| error.to_string())?;
    let bare = unseal(line.strip_suffix('\n').unwrap_or(line))?;
    if expected == 1 {
        let head: Head = serde_json::from_str(&bare).map_err(|error| error.to_string())?;
        if let Some(format) = head.format.filter(|format| *format > FORMAT) {
            let fleet = head.fleet.map_or_else(|| "of an unknown version".to_owned(), |it| printable(&it));
            return Err(Unread::Newer { fleet, format });
        }
    }
    let event: Event = serde_json::from_str(&bare).map_err(|error| error.to_string())?;
    if event.seq != expected {
        return Err(Unread::Damaged(format!("line number {} where {expected} should be", event.seq)));
    }
    Ok((event, line.to_owned()))
}

/// The number of a line without its end; `None` where the line is damaged.
#[must_use]
pub fn number(line: &str) -> Option<u64> {
    #[derive(Deserialize)]
    struct Numbered {
        seq: u64,
    }
    serde_json::from_str::<Numbered>(&unseal(line).ok()?).ok().map(|line| line.seq)
}

/// An event as its line of a journal: sealed with its checksum, ended by a newline. The first one tells the form as well.
pub fn line(event: &Event) -> io::Result<String> {
    let mut bare = serde_json::to_string(event)?;
    if event.seq == 1 {
        let fleet = env!("CARGO_PKG_VERSION");
        bare.insert_str(1, &format!("\"format\":{FORMAT},\"fleet\":\"{fleet}\","));
    }
    let mut line = seal(&bare);
    line.push('\n');
    Ok(line)
}

/// The line with its checksum in front.
pub(super) fn seal(line: &str) -> String {
    let rest = line.strip_prefix('{').unwrap_or(line);
    format!("{{\"sum\":\"{}\",{rest}", sum(line))
}

/// The line without its checksum, if it is right.
fn unseal(line: &str) -> Result<String, String> {
    let (given, rest) = line
        .strip_prefix("{\"sum\":\"")
        .and_then(|rest| rest.split_once("\","))
        .ok_or_else(|| "no checksum".to_owned())?;
    let bare = format!("{{{rest}");
    if sum(&bare) == given { Ok(bare) } else { Err("the checksum is wrong".to_owned()) }
}

fn sum(line: &str) -> String {
    let digest = Sha256::digest(line.as_bytes());
    hex(digest.get(..4).unwrap_or(&digest))
}
