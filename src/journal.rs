//! A cluster's journal: events on disk before they reach the screen.
//!
//! One line an event: `{"sum":"<8 hex>","seq":1,"at":"…","cluster":"…","what":"…",…}`. The sum is the first 8 hex digits of the
//! SHA-256 of the line as it would stand without it. The first line also tells the version of this form and the `fleet` that wrote it.
//! Every line is on disk (`fdatasync`) before [`Journal::record`] returns.

mod ballast;
mod read;
mod tail;

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use tokio::sync::mpsc::UnboundedSender;

use crate::event::{Event, What};
use crate::files::{is_full, sync_folder, write_new};
pub use ballast::Ballast;
pub use read::{FORMAT, JournalError, Lines, line, number, read};
pub use tail::Tail;

/// The open journal of one cluster in one run.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    file: File,
    cluster: String,
    seq: u64,
    /// Bytes of all whole lines.
    length: u64,
    listener: Option<UnboundedSender<Event>>,
    pending: Pending,
    /// The run's, where it was laid when this was opened.
    ballast: Option<Ballast>,
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

impl Journal {
    /// Begins a new journal; an existing file is an error. `listener` hears every event once it is on disk.
    pub fn create(path: &Path, cluster: &str, listener: Option<UnboundedSender<Event>>) -> io::Result<Self> {
        let file = OpenOptions::new().append(true).create_new(true).mode(0o600).open(path)?;
        if let Some(folder) = path.parent() {
            // The new name must survive a power cut as well as the lines do.
            sync_folder(folder)?;
        }
        Ok(Self {
            path: path.to_owned(),
            file,
            cluster: cluster.to_owned(),
            seq: 0,
            length: 0,
            listener,
            pending: Pending::default(),
            ballast: laid(path),
        })
    }

    /// Goes on with the journal of a process that is no more, and gives what it tells. A torn last line (its act was never begun) is
    /// put into `journal.torn-N` beside it and cut off. A damaged journal, or one of a newer `fleet`, is an error, and nothing is
    /// changed. Which lines the host has is not known here: all count as [`Pending`].
    pub fn reopen(
        path: &Path,
        cluster: &str,
        listener: Option<UnboundedSender<Event>>,
    ) -> Result<(Self, Vec<Event>), JournalError> {
        let failed = |source| JournalError::Unwritable { path: path.to_owned(), source };
        let text = std::fs::read(path)
            .map_err(|source| JournalError::Unreadable { path: path.to_owned(), source })?;
        let lines = Lines::read(&text, path)?;
        if let Some(event) = lines.events.iter().find(|event| event.cluster != cluster) {
            return Err(JournalError::Another { path: path.to_owned(), cluster: event.cluster.clone() });
        }
        let file = OpenOptions::new().append(true).open(path).map_err(failed)?;
        if !lines.torn.is_empty() {
            set_aside(path, lines.torn).map_err(failed)?;
            file.set_len((text.len() - lines.torn.len()) as u64).map_err(failed)?;
        }
        // Lines that a dead process wrote and did not sync are read back from memory: they are to be on disk before they are relied on.
        file.sync_all().map_err(failed)?;
        let pending = Pending::default();
        pending.lock().extend(lines.events.iter().map(|event| event.seq).zip(lines.whole));
        let seq = lines.events.last().map_or(0, |event| event.seq);
        let journal = Self {
            path: path.to_owned(),
            file,
            cluster: cluster.to_owned(),
            seq,
            length: (text.len() - lines.torn.len()) as u64,
            listener,
            pending,
            ballast: laid(path),
        };
        Ok((journal, lines.events))
    }

    /// The lines that the host does not have yet.
    #[must_use]
    pub fn pending(&self) -> Pending {
        self.pending.clone()
    }

    /// Whether the disk was full, here or under another journal of the run: what is under way can still be written down, and nothing new is
    /// to be begun.
    #[must_use]
    pub fn is_short(&self) -> bool {
        self.ballast.as_ref().is_some_and(|ballast| !ballast.is_there())
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
        let written = match self.append(&lines) {
            // Another journal of the run may have given the ballast up just now: there is room for this one, too.
            Err(error) if is_full(&error) => match &self.ballast {
                Some(ballast) => {
                    ballast.give_up();
                    self.append(&lines)
                }
                None => Err(error),
            },
            written => written,
        };
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

impl Journal {
    /// Writes lines whole or not at all: what was written of them is cut off again.
    fn append(&mut self, lines: &str) -> io::Result<()> {
        let written = self.file.write_all(lines.as_bytes()).and_then(|()| self.file.sync_data());
        match written {
            Ok(()) => self.length += lines.len() as u64,
            Err(_) => self.file.set_len(self.length)?,
        }
        written
    }
}

/// The ballast of the run that a journal belongs to, if it was laid.
fn laid(journal: &Path) -> Option<Ballast> {
    let ballast = Ballast::of(journal.parent()?.parent()?);
    ballast.is_there().then_some(ballast)
}

/// Puts a torn line beside its journal, under a name that is free.
fn set_aside(path: &Path, torn: &[u8]) -> io::Result<()> {
    for number in 1_u32.. {
        match write_new(&path.with_file_name(format!("journal.torn-{number}")), torn) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            written => return written,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::read::seal;
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

    fn reopened(path: &Path) -> (Journal, Vec<Event>) {
        Journal::reopen(path, "acme", None).unwrap()
    }

    #[test]
    fn a_journal_cut_anywhere_is_gone_on_with_after_its_last_whole_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = journal(folder.path());
        let whole = std::fs::read(&path).unwrap();
        let all = read(&path).unwrap();
        // Reading is tried at each byte; opening, which waits for the disk, at some and at the ends of lines.
        for cut in 0..=whole.len() {
            let lines = whole[..cut].split(|byte| *byte == b'\n').count() - 1;
            let read = Lines::read(&whole[..cut], &path).unwrap();
            assert_eq!((read.events.len(), read.events.as_slice()), (lines, &all[..lines]), "cut at {cut}");
            if cut % 17 != 0 && !whole[cut.saturating_sub(1)..].iter().take(2).any(|byte| *byte == b'\n') {
                continue;
            }
            let here = folder.path().join(format!("cut-{cut}"));
            std::fs::create_dir(&here).unwrap();
            let path = here.join("journal.ndjson");
            std::fs::write(&path, &whole[..cut]).unwrap();
            let (mut again, events) = reopened(&path);
            assert_eq!(events, all[..lines], "cut at {cut}");
            let end = whole[..cut].iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
            let torn = std::fs::read(here.join("journal.torn-1")).unwrap_or_default();
            assert_eq!(torn, whole[end..cut], "no byte is thrown away");
            again.record(What::Finished { outcome: Outcome::Done }).unwrap();
            drop(again);
            let (again, events) = reopened(&path);
            assert_eq!(events.len(), lines + 1, "cut at {cut}");
            assert_eq!(events[lines].seq, lines as u64 + 1);
            assert_eq!(again.pending().lines().len(), events.len(), "what the host has is not known");
        }
    }

    #[test]
    fn a_flipped_byte_before_the_last_line_is_named_and_nothing_is_changed() {
        let folder = tempfile::tempdir().unwrap();
        let path = journal(folder.path());
        let whole = std::fs::read(&path).unwrap();
        let last = whole.len() - 1;
        for at in 0..last {
            for flip in [0x01, 0x20, 0x80, whole[at] ^ b'\n'].into_iter().filter(|flip| *flip != 0) {
                let mut text = whole.clone();
                text[at] ^= flip;
                std::fs::write(&path, &text).unwrap();
                let line = whole[..at].split(|byte| *byte == b'\n').count();
                match Journal::reopen(&path, "acme", None) {
                    Err(JournalError::Damaged { line: named, whole: before, .. }) => {
                        assert_eq!((named, before.len()), (line, line - 1), "byte {at} with {flip:#x}");
                    }
                    other => panic!("byte {at} with {flip:#x}: {other:?}"),
                }
                assert_eq!(std::fs::read(&path).unwrap(), text);
            }
        }
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is set aside");
    }

    #[test]
    fn what_was_torn_twice_is_kept_twice() {
        let folder = tempfile::tempdir().unwrap();
        let path = journal(folder.path());
        for number in 1..=2 {
            let mut file = OpenOptions::new().append(true).open(&path).unwrap();
            file.write_all(format!("torn {number}").as_bytes()).unwrap();
            assert_eq!(reopened(&path).1.len(), 3);
            let kept = std::fs::read_to_string(folder.path().join(format!("journal.torn-{number}"))).unwrap();
            assert_eq!(kept, format!("torn {number}"));
        }
    }

    #[test]
    fn an_older_journal_is_read_and_a_newer_one_says_who_wrote_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal.ndjson");
        let first =
            r#""seq":1,"at":"2026-11-22T10:00:00Z","cluster":"acme","what":"connected","host_key":"x"}"#;
        std::fs::write(&path, format!("{}\n", seal(&format!("{{{first}")))).unwrap();
        assert_eq!(reopened(&path).1.len(), 1);

        std::fs::write(&path, format!("{}\n", seal(&format!(r#"{{"format":7,"fleet":"9.1.0",{first}"#))))
            .unwrap();
        let said = Journal::reopen(&path, "acme", None).unwrap_err().to_string();
        assert!(said.contains("was written by fleet 9.1.0 (format 7); this is fleet"), "{said}");
    }

    #[test]
    fn events_of_a_newer_fleet_keep_their_bytes_when_it_is_gone_on_with() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal.ndjson");
        let line =
            seal(r#"{"seq":1,"at":"2026-11-22T10:00:00Z","cluster":"acme","what":"telepathy","depth":3}"#);
        std::fs::write(&path, format!("{line}\n")).unwrap();
        let (mut again, events) = reopened(&path);
        assert_eq!(events[0].what, What::Unknown);
        again.record(What::Finished { outcome: Outcome::Done }).unwrap();
        assert!(std::fs::read_to_string(&path).unwrap().starts_with(&format!("{line}\n")));
        assert_eq!(again.pending().lines()[0], (1, format!("{line}\n")));
    }

    #[test]
    fn the_journal_of_another_cluster_is_not_gone_on_with() {
        let folder = tempfile::tempdir().unwrap();
        let said = Journal::reopen(&journal(folder.path()), "globex", None).unwrap_err().to_string();
        assert!(said.contains("is the journal of acme"), "{said}");
    }
}
