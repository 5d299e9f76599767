//! How `fleet` writes files: for their owner only, and whole or not at all.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, chown};
use std::path::Path;
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

/// How often a lock is tried for, and the pause between: 5 seconds in all.
const LOCK_TRIES: usize = 100;
const LOCK_PAUSE: Duration = Duration::from_millis(50);

/// Makes a folder that only its owner can enter, and those above it.
pub fn make_folder(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Creates a file that only its owner can read; an existing one is emptied.
pub fn make_file(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)
}

/// Opens a file that only its owner can read, to write at its end; made if it is not there.
pub fn append_file(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(0o600).open(path)
}

/// Writes bytes so that the file is either as before or whole: beside it, synced, then renamed.
pub fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    put_whole(path, bytes, 0o600)
}

/// Writes an operator's own file anew, whole or not at all. It keeps its mode and, where this user may give files away, its owner; a link
/// stays a link.
pub fn rewrite_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let path = path.canonicalize()?;
    let before = fs::metadata(&path)?;
    put_whole(&path, bytes, before.mode() & 0o7777)?;
    if let Err(error) = chown(&path, Some(before.uid()), Some(before.gid())) {
        tracing::debug!(%error, path = %path.display(), "the owner is another now");
    }
    Ok(())
}

fn put_whole(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let beside = path.with_file_name(name);
    let mut file = make_file(&beside)?;
    file.write_all(bytes)?;
    file.set_permissions(Permissions::from_mode(mode))?;
    file.sync_all()?;
    fs::rename(&beside, path)?;
    sync_parent(path)
}

/// Writes a file that is not there yet, whole or not at all. One that is there is left alone (`AlreadyExists`).
pub fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let beside = path.with_file_name(name);
    let mut file = make_file(&beside)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    // A second name is given only where there is none; renaming would write over it.
    let linked = fs::hard_link(&beside, path);
    fs::remove_file(&beside)?;
    linked?;
    sync_parent(path)
}

/// Adds a line to a file that other programs add lines to as well, such as known_hosts; false where the line is in it already. The file is
/// made if it is not there, locked while it is looked at and written, and a last line without an end gets one first.
pub fn append_line(path: &Path, line: &str) -> io::Result<bool> {
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        make_folder(folder)?;
    }
    let mut file = OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(path)?;
    lock(&file)?;
    let mut text = Vec::new();
    file.read_to_end(&mut text)?;
    if text.split(|byte| *byte == b'\n').any(|there| there.trim_ascii() == line.as_bytes()) {
        return Ok(false);
    }
    let gap = if text.is_empty() || text.ends_with(b"\n") { "" } else { "\n" };
    file.write_all(format!("{gap}{line}\n").as_bytes())?;
    file.sync_all()?;
    Ok(true)
}

/// Locks a file until it is closed. Whoever holds the lock for longer than some seconds is stuck.
#[expect(
    clippy::disallowed_methods,
    reason = "blocking, as all of this room: who writes for hosts that are under way does not come here"
)]
fn lock(file: &File) -> io::Result<()> {
    for _ in 0..LOCK_TRIES {
        match flock(file, FlockOperation::NonBlockingLockExclusive) {
            Err(Errno::WOULDBLOCK) => std::thread::sleep(LOCK_PAUSE),
            other => return other.map_err(io::Error::from),
        }
    }
    Err(io::Error::new(io::ErrorKind::TimedOut, "another program keeps it locked"))
}

/// Puts the name of a file on disk.
fn sync_parent(path: &Path) -> io::Result<()> {
    sync_folder(
        path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or_else(|| Path::new(".")),
    )
}

/// Whether something could not be written because the disk, or what this user may have of it, is full.
#[must_use]
pub fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// Puts a folder's names on disk.
pub fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// Writes a value as indented JSON, whole or not at all.
pub fn write_json<T: Serialize>(path: &Path, value: &T) -> io::Result<()> {
    let mut text = serde_json::to_string_pretty(value)?;
    text.push('\n');
    write_whole(path, text.as_bytes())
}

/// Reads a value from JSON; the error names the file.
pub fn read_json<T: for<'de> Deserialize<'de>>(path: &Path) -> io::Result<T> {
    let named = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
    let text = fs::read(path).map_err(|error| io::Error::new(error.kind(), named(&error)))?;
    serde_json::from_slice(&text).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, named(&error)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().mode() & 0o777
    }

    #[test]
    fn a_file_written_anew_keeps_its_mode_and_a_link_stays_a_link() {
        let folder = tempfile::tempdir().unwrap();
        let (file, link) = (folder.path().join("real.toml"), folder.path().join("link.toml"));
        fs::write(&file, "old").unwrap();
        fs::set_permissions(&file, Permissions::from_mode(0o640)).unwrap();
        std::os::unix::fs::symlink("real.toml", &link).unwrap();
        rewrite_whole(&link, b"new").unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read_to_string(&file).unwrap(), "new");
        assert_eq!(mode(&file), 0o640);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2, "nothing is left beside it");
    }

    #[test]
    fn a_line_is_added_once_and_never_to_the_end_of_another() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join(".ssh/known_hosts");
        assert!(append_line(&file, "a ssh-ed25519 AAAA").unwrap());
        assert_eq!((mode(&file), mode(file.parent().unwrap())), (0o600, 0o700));
        fs::write(&file, "# by hand\na ssh-ed25519 AAAA\r\nb ssh-rsa BBBB").unwrap();
        assert!(!append_line(&file, "a ssh-ed25519 AAAA").unwrap());
        assert!(append_line(&file, "c ssh-ed25519 CCCC").unwrap());
        let text = fs::read_to_string(&file).unwrap();
        assert_eq!(text, "# by hand\na ssh-ed25519 AAAA\r\nb ssh-rsa BBBB\nc ssh-ed25519 CCCC\n");
    }

    #[test]
    fn lines_that_many_add_at_once_are_all_there_and_whole() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("known_hosts");
        std::thread::scope(|scope| {
            for writer in 0..8 {
                let file = &file;
                scope.spawn(move || {
                    for line in 0..20 {
                        // The same line of two writers is written once.
                        append_line(file, &format!("host-{}-{line} ssh-ed25519 AAAA", writer % 4)).unwrap();
                    }
                });
            }
        });
        let text = fs::read_to_string(&file).unwrap();
        let lines: std::collections::BTreeSet<&str> = text.lines().collect();
        assert_eq!((lines.len(), text.lines().count()), (80, 80));
    }
}
