//! A journal that is being written, followed by another process.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use super::read::{JournalError, Unread, parse};
use crate::event::Event;

/// Reads what is new of a journal each time, and of the file no more than that.
#[derive(Debug)]
pub struct Tail {
    path: PathBuf,
    /// Bytes of whole lines that were read.
    read: u64,
    /// The number of the next line.
    next: u64,
}

impl Tail {
    /// Nothing of this journal is read yet; it need not be there.
    #[must_use]
    pub fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), read: 0, next: 1 }
    }

    /// The events that were written since. A last line without its end is one that is being written, and is read when it is whole.
    pub fn read(&mut self) -> Result<Vec<Event>, JournalError> {
        let text =
            self.bytes().map_err(|source| JournalError::Unreadable { path: self.path.clone(), source })?;
        let mut events = Vec::new();
        for line in text.split_inclusive(|byte| *byte == b'\n').filter(|line| line.ends_with(b"\n")) {
            match parse(line, self.next) {
                Ok((event, _)) => events.push(event),
                Err(Unread::Newer { fleet, format }) => {
                    return Err(JournalError::Newer { path: self.path.clone(), fleet, format });
                }
                Err(Unread::Damaged(why)) => {
                    let line = usize::try_from(self.next).unwrap_or(usize::MAX);
                    return Err(JournalError::Damaged { path: self.path.clone(), line, why, whole: events });
                }
            }
            self.next += 1;
            self.read += line.len() as u64;
        }
        Ok(events)
    }

    fn bytes(&self) -> io::Result<Vec<u8>> {
        let mut text = Vec::new();
        let mut file = match File::open(&self.path) {
            // Not begun yet.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(text),
            file => file?,
        };
        if file.metadata()?.len() > self.read {
            file.seek(SeekFrom::Start(self.read))?;
            file.read_to_end(&mut text)?;
        }
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;
    use crate::event::What;
    use crate::journal::Journal;

    #[test]
    fn what_is_new_is_read_once_and_a_line_that_is_being_written_when_it_is_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal.ndjson");
        let mut tail = Tail::new(&path);
        assert_eq!(tail.read().unwrap(), []);
        let mut journal = Journal::create(&path, "acme", None).unwrap();
        let step = |text: &str| What::Noted { step: "a/b".into(), text: text.into() };
        journal.record(step("one")).unwrap();
        assert_eq!(tail.read().unwrap().len(), 1);
        assert_eq!(tail.read().unwrap(), []);
        journal.record_all([step("two"), step("three")]).unwrap();
        let whole = std::fs::read(&path).unwrap();
        std::fs::write(&path, &whole[..whole.len() - 1]).unwrap();
        let events = tail.read().unwrap();
        assert_eq!(events.iter().map(|event| event.seq).collect::<Vec<_>>(), [2]);
        std::fs::OpenOptions::new().append(true).open(&path).unwrap().write_all(b"\n").unwrap();
        assert_eq!(tail.read().unwrap().iter().map(|event| event.seq).collect::<Vec<_>>(), [3]);
    }

    #[test]
    fn damage_is_named_by_its_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal.ndjson");
        let mut journal = Journal::create(&path, "acme", None).unwrap();
        journal.record(What::Connected { host_key: "x".into() }).unwrap();
        let mut tail = Tail::new(&path);
        tail.read().unwrap();
        std::fs::OpenOptions::new().append(true).open(&path).unwrap().write_all(b"{}\n").unwrap();
        let said = tail.read().unwrap_err().to_string();
        assert!(said.contains("journal.ndjson:2: damaged"), "{said}");
    }
}
