//! The host's own list of what a folder holds, made before the copy: type, mode, owner, size, time and hash of everything.
//!
//! Strings ended by NUL, so that no name can forge a line. Three for each entry (`type mode uid gid size mtime`, path, link
//! target), then an empty one and `sums`, then `hash  path` for each regular file, then an empty one and `end`.

use std::io::{self, BufRead, Read};

use sha2::{Digest, Sha256};

use crate::remote::Command;

/// Longest string in a list: a path is 4096 bytes at most.
const LONGEST: u64 = 64 * 1024;

/// The command that lists a folder. One pass over names and one over contents; GNU find and coreutils.
#[must_use]
pub fn command(folder: &str) -> Command {
    Command::new("cd").arg(folder).fixed(
        r"&& find . -printf '%y %m %U %G %s %Ts\0%p\0%l\0' && printf '\0sums\0' && find . -type f -exec sha256sum -z -- {} + && printf '\0end\0'",
    )
}

/// The command that archives a folder as one tar stream: owners as numbers, hard links, holes, extended attributes and ACLs
/// kept. `checkpoint` is run by tar after every 10 MB.
#[must_use]
pub fn archive_command(folder: &str, checkpoint: &Command) -> Command {
    Command::new("tar -C")
        .arg(folder)
        .fixed(
            "--format=posix --numeric-owner --sparse --sparse-version=1.0 --xattrs --acls --checkpoint=1000",
        )
        .arg(format!("--checkpoint-action=exec={}", checkpoint.line()))
        .fixed("-cf - .")
}

/// One entry of a list. About a hundred bytes, whatever its name's length.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    key: [u8; 16],
    /// What it is and whose; equal in list and archive.
    pub traits: Traits,
    /// SHA-256 of a regular file's content or of a symbolic link's target.
    pub content: Option<[u8; 32]>,
    /// Whether the archive had it.
    pub seen: bool,
}

/// What is compared besides the content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Traits {
    /// find's letter: `f`, `d`, `l`, `p`, `s`, `b`, `c`.
    pub kind: u8,
    /// Permissions, with set-user-id and its like.
    pub mode: u32,
    /// The owner's number.
    pub uid: u64,
    /// The group's number.
    pub gid: u64,
    /// Bytes of a regular file; 0 for anything else.
    pub size: u64,
    /// Whole seconds of the time of last change.
    pub mtime: i64,
}

/// A whole list, by path.
#[derive(Debug)]
pub struct Sums {
    entries: Vec<Entry>,
}

impl Sums {
    /// Reads a list to its end. One that is cut short, or contradicts itself, is an error.
    pub fn read(list: impl BufRead) -> io::Result<Self> {
        let mut strings = Strings { list };
        let mut entries = Vec::new();
        loop {
            let facts = strings.next()?;
            if facts.is_empty() {
                break;
            }
            let path = strings.next()?;
            let target = strings.next()?;
            let traits = read_traits(&facts).ok_or_else(|| {
                bad(&format!("an entry that cannot be read: {}", String::from_utf8_lossy(&facts)))
            })?;
            let content = (traits.kind == b'l').then(|| Sha256::digest(&target).into());
            entries.push(Entry { key: key(&path), traits, content, seen: false });
        }
        entries.sort_unstable_by_key(|entry| entry.key);
        if entries.windows(2).any(|pair| matches!(pair, [a, b] if a.key == b.key)) {
            return Err(bad("a path is listed twice"));
        }
        let mut sums = Self { entries };
        strings.demand(b"sums")?;
        loop {
            let line = strings.next()?;
            if line.is_empty() {
                break;
            }
            sums.hash(&line)?;
        }
        strings.demand(b"end")?;
        match sums.entries.iter().filter(|entry| entry.traits.kind == b'f' && entry.content.is_none()).count()
        {
            0 if sums.entries.is_empty() => Err(bad("it lists nothing, not even the folder itself")),
            0 => Ok(sums),
            missing => Err(bad(&format!("{missing} files have no hash"))),
        }
    }

    /// Takes in one line of `sha256sum -z`.
    fn hash(&mut self, line: &[u8]) -> io::Result<()> {
        let unread = || bad("a hash that cannot be read");
        let (digest, path) = line.split_at_checked(64).ok_or_else(unread)?;
        let digest = unhex(digest).ok_or_else(unread)?;
        let path = path.get(2..).ok_or_else(unread)?;
        let entry = self.find(path).ok_or_else(|| bad("a hash of a file that is not listed"))?;
        entry.content = Some(digest);
        Ok(())
    }

    /// The entry of this path.
    pub fn find(&mut self, path: &[u8]) -> Option<&mut Entry> {
        let key = key(path);
        let at = self.entries.binary_search_by_key(&key, |entry| entry.key).ok()?;
        self.entries.get_mut(at)
    }

    /// How many entries the archive must have and did not have. Sockets are in no archive (tar leaves them out; whoever listens
    /// makes them anew).
    #[must_use]
    pub fn missing(&self) -> usize {
        self.entries.iter().filter(|entry| !entry.seen && entry.traits.kind != b's').count()
    }

    /// Regular files in the list.
    #[must_use]
    pub fn files(&self) -> u64 {
        self.entries.iter().filter(|entry| entry.traits.kind == b'f').count() as u64
    }

    /// Bytes of all regular files; those with several names count as often.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.entries.iter().fold(0, |sum: u64, entry| sum.saturating_add(entry.traits.size))
    }

    /// All entries.
    #[must_use]
    pub fn entries(&self) -> u64 {
        self.entries.len() as u64
    }

    /// Marks as seen, here and there, what both lists have alike.
    pub fn see_equal(&mut self, other: &mut Self) {
        for entry in &mut self.entries {
            let at = other.entries.binary_search_by_key(&entry.key, |entry| entry.key);
            if let Some(theirs) = at.ok().and_then(|at| other.entries.get_mut(at))
                && (theirs.traits, theirs.content) == (entry.traits, entry.content)
            {
                (entry.seen, theirs.seen) = (true, true);
            }
        }
    }

    /// Paths of the list that the archive did not have, at most `limit`: the list is read once more, names are not kept.
    pub fn name_missing(&mut self, list: impl BufRead, limit: usize) -> io::Result<Vec<String>> {
        let mut strings = Strings { list };
        let mut names = Vec::new();
        while names.len() < limit && !strings.next()?.is_empty() {
            let path = strings.next()?;
            strings.next()?;
            if self.find(&path).is_some_and(|entry| !entry.seen && entry.traits.kind != b's') {
                names.push(String::from_utf8_lossy(&path).into_owned());
            }
        }
        Ok(names)
    }
}

/// A list string by string.
struct Strings<L> {
    list: L,
}

impl<L: BufRead> Strings<L> {
    fn next(&mut self) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.list.by_ref().take(LONGEST).read_until(0, &mut bytes)?;
        if bytes.pop() == Some(0) { Ok(bytes) } else { Err(bad("it is cut short")) }
    }

    fn demand(&mut self, word: &[u8]) -> io::Result<()> {
        if self.next()? == word { Ok(()) } else { Err(bad("its sections are not where they should be")) }
    }
}

fn read_traits(facts: &[u8]) -> Option<Traits> {
    let text = std::str::from_utf8(facts).ok()?;
    let mut words = text.split(' ');
    let mut word = || words.next();
    let kind = *word()?.as_bytes().first()?;
    let mode = u32::from_str_radix(word()?, 8).ok()?;
    let uid = word()?.parse().ok()?;
    let gid = word()?.parse().ok()?;
    let size: u64 = word()?.parse().ok()?;
    let mtime = word()?.parse().ok()?;
    let size = if kind == b'f' { size } else { 0 };
    Some(Traits { kind, mode, uid, gid, size, mtime })
}

fn unhex(text: &[u8]) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    for (byte, pair) in bytes.iter_mut().zip(text.chunks_exact(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(bytes)
}

/// Half a SHA-256 of the path: equal names without keeping names. `./a` and `a` are one path: not every tar writes the `./`.
fn key(path: &[u8]) -> [u8; 16] {
    let digest: [u8; 32] = Sha256::digest(path.strip_prefix(b"./").unwrap_or(path)).into();
    let mut key = [0; 16];
    key.iter_mut().zip(digest).for_each(|(to, from)| *to = from);
    key
}

fn bad(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("the host's list: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn list(entries: &str, hashes: &str) -> String {
        format!("{entries}\0sums\0{hashes}\0end\0")
    }

    #[test]
    fn a_list_is_read_and_a_lacking_entry_is_named() {
        let text = list(
            "d 755 0 0 4096 5\0.\0\0f 4755 33 33 0 -7\0./a\nb\0\0s 755 0 0 0 5\0./sock\0\0",
            &format!("{HASH}  ./a\nb\0"),
        );
        let mut sums = Sums::read(text.as_bytes()).unwrap();
        let entry = sums.find(b"./a\nb").unwrap();
        assert_eq!(entry.traits, Traits { kind: b'f', mode: 0o4755, uid: 33, gid: 33, size: 0, mtime: -7 });
        assert_eq!(entry.content.map(|hash| hash[0]), Some(0xe3));
        sums.find(b".").unwrap().seen = true;
        assert_eq!((sums.files(), sums.missing()), (1, 1));
        assert_eq!(sums.name_missing(text.as_bytes(), 5).unwrap(), ["./a\nb"]);
    }

    #[test]
    fn a_list_with_a_fault_is_refused_whatever_the_fault() {
        let whole = list("d 755 0 0 0 5\0.\0\0f 644 0 0 0 5\0./a\0\0", &format!("{HASH}  ./a\0"));
        assert!(Sums::read(whole.as_bytes()).is_ok());
        for end in 0..whole.len() {
            assert!(Sums::read(&whole.as_bytes()[..end]).is_err(), "cut at {end}");
        }
        let twice = list("d 755 0 0 0 5\0.\0\0d 755 0 0 0 5\0.\0\0", "");
        let no_hash = list("f 644 0 0 0 5\0./a\0\0", "");
        let stranger = list("d 755 0 0 0 5\0.\0\0", &format!("{HASH}  ./b\0"));
        let nonsense = list("d rwx 0 0 0 5\0.\0\0", "");
        for fault in [twice, no_hash, stranger, nonsense, list("", "")] {
            assert!(Sums::read(fault.as_bytes()).is_err(), "{fault:?}");
        }
    }
}
