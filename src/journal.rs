//! A cluster's journal: events on disk before they reach the screen.
//!
//! One line an event: `{"sum":"<8 hex>","seq":1,"at":"…","cluster":"…","what":"…",…}`. The sum is the first 8 hex digits of the
//! SHA-256 of the line as it would stand without it. Every line is on disk (`fdatasync`) before [`Journal::record`] returns.

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use sha2::{Digest, Sha256};
use tokio::sync::mpsc::UnboundedSender;

use crate::event::{Event, What};
use crate::form::hex;

/// The open journal of one cluster in one run.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    file: File,
    cluster: String,
    seq: u64,
    listener: Option<UnboundedSender<Event>>,
    pending: Pending,
}

/// Lines that are on disk here and not yet on the host: whoever sends the host its next command sends them along, so that the host keeps
/// the same journal. Cheap to clone; all clones are one.
#[derive(Debug, Clone, Default)]
pub struct Pending(Arc<Mutex<VecDeque<(u64, String)>>>);

impl Pending {
    /// The lines, oldest first, with their numbers. They stay until they are [`Pending::forget`]ten.
    #[must_use]
    pub fn lines(&self) -> Vec<(u64, String)> {
        self.lock().iter().cloned().collect()
    }

    /// The host has the lines up to this number.
    pub fn forget(&self, through: u64) {
        self.lock().retain(|(seq, _)| *seq > through);
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<(u64, String)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

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

impl Journal {
    /// Begins a new journal; an existing file is an error. `listener` hears every event once it is on disk.
    pub fn create(path: &Path, cluster: &str, listener: Option<UnboundedSender<Event>>) -> io::Result<Self> {
        let file = OpenOptions::new().append(true).create_new(true).mode(0o600).open(path)?;
        if let Some(folder) = path.parent() {
            // The new name must survive a power cut as well as the lines do.
            File::open(folder)?.sync_all()?;
        }
        Ok(Self {
            path: path.to_owned(),
            file,
            cluster: cluster.to_owned(),
            seq: 0,
            listener,
            pending: Pending::default(),
        })
    }

    /// The lines that the host does not have yet.
    #[must_use]
    pub fn pending(&self) -> Pending {
        self.pending.clone()
    }

    /// Writes an event to disk, then tells the listener.
    pub fn record(&mut self, what: What) -> io::Result<()> {
        self.record_all([what])
    }

    /// Writes events that belong together to disk at once, then tells the listener of each.
    pub fn record_all<const N: usize>(&mut self, whats: [What; N]) -> io::Result<()> {
        let at = Timestamp::now();
        let events: Vec<Event> = (self.seq + 1..)
            .zip(whats)
            .map(|(seq, what)| Event { seq, at, cluster: self.cluster.clone(), what })
            .collect();
        let lines: String = events.iter().map(line).collect::<io::Result<_>>()?;
        let written = self.file.write_all(lines.as_bytes()).and_then(|()| self.file.sync_data());
        written.map_err(|error| {
            io::Error::new(error.kind(), format!("cannot write the journal {}: {error}", self.path.display()))
        })?;
        for (event, line) in events.into_iter().zip(lines.split_inclusive('\n')) {
            self.seq = event.seq;
            self.pending.lock().push_back((event.seq, line.to_owned()));
            if let Some(listener) = &self.listener {
                // A screen that is gone does not stop the work.
                let _ = listener.send(event);
            }
        }
        Ok(())
    }
}

/// Reads a journal. A torn last line (the write that a crash cut short) is set aside; damage anywhere else is an error.
pub fn read(path: &Path) -> Result<Vec<Event>, JournalError> {
    let text =
        std::fs::read(path).map_err(|source| JournalError::Unreadable { path: path.to_owned(), source })?;
    let lines: Vec<&[u8]> = text.split_inclusive(|byte| *byte == b'\n').collect();
    let mut events: Vec<Event> = Vec::with_capacity(lines.len());
    for (index, line) in lines.iter().enumerate() {
        let torn = !line.ends_with(b"\n");
        let read = String::from_utf8(line.to_vec())
            .map_err(|error| error.to_string())
            .and_then(|line| unseal(line.trim_end()))
            .and_then(|line| serde_json::from_str::<Event>(&line).map_err(|error| error.to_string()))
            .and_then(|event| {
                let expected = events.last().map_or(1, |last| last.seq + 1);
                if event.seq == expected {
                    Ok(event)
                } else {
                    Err(format!("line number {} where {expected} should be", event.seq))
                }
            });
        match read {
            Ok(event) => events.push(event),
            Err(_) if torn && index + 1 == lines.len() => {}
            Err(why) => {
                return Err(JournalError::Damaged {
                    path: path.to_owned(),
                    line: index + 1,
                    why,
                    whole: events,
                });
            }
        }
    }
    Ok(events)
}

/// An event as its line of a journal: sealed with its checksum, ended by a newline.
pub fn line(event: &Event) -> io::Result<String> {
    let mut line = seal(&serde_json::to_string(event)?);
    line.push('\n');
    Ok(line)
}

/// The line with its checksum in front.
fn seal(line: &str) -> String {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Outcome;

    fn journal(folder: &Path) -> PathBuf {
        let path = folder.join("journal.ndjson");
        let mut journal = Journal::create(&path, "acme", None).unwrap();
        journal.record(What::Begun { address: "root@[::1]:22".into() }).unwrap();
        journal.record(What::Connected { host_key: "SHA256:x".into() }).unwrap();
        journal.record(What::Finished { outcome: Outcome::NothingToDo }).unwrap();
        path
    }

    #[test]
    fn what_was_recorded_is_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let events = read(&journal(folder.path())).unwrap();
        assert_eq!(events.iter().map(|event| event.seq).collect::<Vec<_>>(), [1, 2, 3]);
        assert_eq!(events[2].what, What::Finished { outcome: Outcome::NothingToDo });
    }

    #[test]
    fn only_its_owner_reads_a_journal() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let mode = std::fs::metadata(journal(folder.path())).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_torn_last_line_is_set_aside_and_damage_in_the_middle_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = journal(folder.path());
        let whole = std::fs::read(&path).unwrap();
        std::fs::write(&path, &whole[..whole.len() - 5]).unwrap();
        assert_eq!(read(&path).unwrap().len(), 2);

        let text = String::from_utf8(whole).unwrap();
        std::fs::write(&path, text.replace("SHA256:x", "SHA256:y")).unwrap();
        let error = read(&path).unwrap_err().to_string();
        assert!(error.contains("journal.ndjson:2: damaged: the checksum is wrong"), "{error}");

        let without_second: String =
            text.split_inclusive('\n').filter(|line| !line.contains("SHA256")).collect();
        std::fs::write(&path, without_second).unwrap();
        let error = read(&path).unwrap_err().to_string();
        assert!(error.contains(":2: damaged: line number 3 where 2 should be"), "{error}");
    }

    #[test]
    fn an_event_of_a_newer_version_is_kept_as_unknown() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal.ndjson");
        let line =
            seal(r#"{"seq":1,"at":"2026-11-22T10:00:00Z","cluster":"acme","what":"telepathy","depth":3}"#);
        std::fs::write(&path, format!("{line}\n")).unwrap();
        assert_eq!(read(&path).unwrap()[0].what, What::Unknown);
    }
}
