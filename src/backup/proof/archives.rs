//! The archives against the lists of hashes that the host made: every member, with its content, and nothing else.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::Path;

use sha2::{Digest, Sha256};

use super::super::manifest::{Part, Sealed, What};
use super::super::reader::{Member, Reader};
use super::super::sums::{Entry, Sums};
use super::{Reading, TOLD};

impl Reading<'_> {
    /// Compares an archive with the host's list, member by member; keeps the datastore's files in `scratch`.
    pub(super) fn part(&mut self, part: &Part, stem: &str, scratch: &Path) -> io::Result<()> {
        self.sealed(&part.archive, &format!("{stem}.tar.zst"));
        self.sealed(&part.sums, &format!("{stem}.sums.zst"));
        let list = || open(&self.folder.path().join(&part.sums.file));
        let mut sums = Sums::read(list()?)?;
        let mut reader = Reader::new(open(&self.folder.path().join(&part.archive.file))?);
        let mut token = false;
        while let Some(member) = reader.member()? {
            let mut keep = None;
            if part.what == What::Server {
                self.etcd |= member.path.starts_with(b"./db/etcd/");
                token |= member.path == b"./token" && (member.size > 0 || member.kind == b'l');
                keep = datastore_file(&member).map(|name| scratch.join(name));
            }
            // A member of another size than the list's is wrong already; its content may be zeros without end.
            let listed = sums.find(&member.path).map(|entry| entry.traits.size);
            let content = match member.kind {
                b'f' if listed != Some(member.size) => None,
                b'f' => Some(digest(&mut reader, &member, keep.as_deref())?),
                b'l' => Some(Sha256::digest(&member.target).into()),
                _ => None,
            };
            if let Some(fault) = compare(&mut sums, &member, content) {
                self.faults.add(format!("{stem}: {}: {fault}", String::from_utf8_lossy(&member.path)));
            }
        }
        let mut rest = Vec::new();
        reader.into_inner().take(1 << 20).read_to_end(&mut rest)?;
        if rest.iter().any(|byte| *byte != 0) {
            self.faults.add(format!("{stem}: there is something behind the archive's end"));
        }
        if part.what == What::Server && !token {
            self.faults.add(format!("{stem}: the token is not in it"));
        }
        let missing = sums.missing();
        if missing > 0 {
            let names = sums.name_missing(list()?, TOLD)?;
            self.faults.add(format!(
                "{stem}: the archive lacks {missing} of the host's entries: {}",
                names.join(", ")
            ));
        }
        self.files += sums.files();
        Ok(())
    }

    /// Whether a file is the one that was written.
    fn sealed(&mut self, sealed: &Sealed, expected: &str) {
        if sealed.file != expected {
            return self.faults.add(format!("the manifest calls {expected} {}", sealed.file));
        }
        self.hashed(&sealed.file, sealed.bytes, &sealed.sha256);
    }
}

/// What differs between a member and the host's list, as a sentence.
fn compare(sums: &mut Sums, member: &Member, content: Option<[u8; 32]>) -> Option<String> {
    let target = (member.kind == b'h').then(|| sums.find(&member.target).cloned());
    let Some(entry) = sums.find(&member.path) else {
        return Some("it is in the archive, but not in the host's list".to_owned());
    };
    if entry.seen {
        return Some("it is in the archive twice".to_owned());
    }
    entry.seen = true;
    match target {
        // A hard link has the content of a member before it, which was compared already; both names are one file.
        Some(Some(target))
            if target.seen && (target.traits, target.content) == (entry.traits, entry.content) =>
        {
            None
        }
        Some(_) => Some("it is a hard link to something else than the host says".to_owned()),
        None => differs(entry, member, content),
    }
}

fn differs(entry: &Entry, member: &Member, content: Option<[u8; 32]>) -> Option<String> {
    let traits = &entry.traits;
    let mut fault = String::new();
    let mut unequal = |what: &str, archive: String, host: String| {
        if archive != host {
            let comma = if fault.is_empty() { "" } else { ", " };
            let _ = write!(fault, "{comma}{what} is {archive}, on the host {host}");
        }
    };
    unequal("type", char::from(member.kind).to_string(), char::from(traits.kind).to_string());
    unequal("mode", format!("{:o}", member.mode), format!("{:o}", traits.mode));
    unequal("owner", format!("{}:{}", member.uid, member.gid), format!("{}:{}", traits.uid, traits.gid));
    unequal("time", member.mtime.to_string(), traits.mtime.to_string());
    if traits.kind == b'f' {
        unequal("size", member.size.to_string(), traits.size.to_string());
    }
    if fault.is_empty() && content != entry.content {
        fault.push_str("its content is not the host's");
    }
    (!fault.is_empty()).then_some(fault)
}

/// The name under which a member is a file of the datastore: `state.db` and its log.
fn datastore_file(member: &Member) -> Option<&'static str> {
    match member.path.as_slice() {
        b"./db/state.db" => Some("state.db"),
        b"./db/state.db-wal" => Some("state.db-wal"),
        _ => None,
    }
}

fn digest<R: Read>(reader: &mut Reader<R>, member: &Member, keep: Option<&Path>) -> io::Result<[u8; 32]> {
    let file = keep.map(crate::files::make_file).transpose()?;
    let mut tee = Tee { hash: Sha256::new(), file };
    reader.content(member, &mut tee)?;
    Ok(tee.hash.finalize().into())
}

/// Hashes what is written to it, and keeps it where there is a file.
pub(super) struct Tee {
    pub hash: Sha256,
    pub file: Option<File>,
}

impl Write for Tee {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Some(file) = &mut self.file {
            file.write_all(bytes)?;
        }
        self.hash.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn open(path: &Path) -> io::Result<impl BufRead + use<>> {
    Ok(BufReader::with_capacity(256 * 1024, zstd::stream::read::Decoder::new(File::open(path)?)?))
}
