//! The cluster's directory on the provisioning machine: the same archive and the same list as a volume's, made here, so that
//! one proof serves both and no GNU tools are needed on this machine.

use std::ffi::OsStr;
use std::fs::{self, File, Metadata};
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::manifest::Sealed;
use super::sink::encoder;
use crate::form::hex;

/// Archives a directory of this machine below the backup's folder: archive first, then list. Directories, regular files and symbolic
/// links; anything else is an error, since a cluster's directory has no business with it.
pub fn archive(directory: &Path, backup: &Path, stem: &str) -> io::Result<(Sealed, Sealed)> {
    let mut entries = Vec::new();
    walk(directory, PathBuf::from("."), &mut entries)?;
    let sums = seal(backup, format!("{stem}.sums.zst"), |to| list(directory, &entries, to))?;
    let archive = seal(backup, format!("{stem}.tar.zst"), |to| {
        let mut builder = tar::Builder::new(to);
        builder.follow_symlinks(false);
        builder.sparse(false);
        for (path, _) in &entries {
            builder.append_path_with_name(directory.join(path), path)?;
        }
        builder.finish()
    })?;
    Ok((archive, sums))
}

type Entries = Vec<(PathBuf, Metadata)>;

fn walk(directory: &Path, path: PathBuf, entries: &mut Entries) -> io::Result<()> {
    let metadata =
        fs::symlink_metadata(directory.join(&path)).map_err(|error| named(directory, &path, &error))?;
    let kind = metadata.file_type();
    let mut below = Vec::new();
    if kind.is_dir() {
        for entry in fs::read_dir(directory.join(&path)).map_err(|error| named(directory, &path, &error))? {
            below.push(path.join(entry?.file_name()));
        }
        below.sort();
    } else if !kind.is_file() && !kind.is_symlink() {
        return Err(named(directory, &path, &"neither file, directory nor symbolic link"));
    }
    entries.push((path, metadata));
    below.into_iter().try_for_each(|path| walk(directory, path, entries))
}

fn list(directory: &Path, entries: &Entries, to: &mut dyn Write) -> io::Result<()> {
    for (path, metadata) in entries {
        let kind = metadata.file_type();
        let (letter, target) = if kind.is_symlink() {
            ('l', fs::read_link(directory.join(path))?)
        } else {
            (if kind.is_dir() { 'd' } else { 'f' }, PathBuf::new())
        };
        let (mode, uid, gid) = (metadata.mode() & 0o7777, metadata.uid(), metadata.gid());
        write!(to, "{letter} {mode:o} {uid} {gid} {} {}\0", metadata.len(), metadata.mtime())?;
        strings(to, &[path.as_os_str(), target.as_os_str()])?;
    }
    to.write_all(b"\0sums\0")?;
    for (path, _) in entries.iter().filter(|(_, metadata)| metadata.is_file()) {
        let mut hash = Sha256::new();
        let mut file = File::open(directory.join(path))?;
        let mut chunk = vec![0; 64 * 1024];
        loop {
            let read = file.read(&mut chunk)?;
            if read == 0 {
                break;
            }
            hash.update(chunk.get(..read).unwrap_or_default());
        }
        write!(to, "{}  ", hex(&hash.finalize()))?;
        strings(to, &[path.as_os_str()])?;
    }
    to.write_all(b"\0end\0")
}

fn strings(to: &mut dyn Write, strings: &[&OsStr]) -> io::Result<()> {
    strings.iter().try_for_each(|string| to.write_all(string.as_bytes()).and_then(|()| to.write_all(b"\0")))
}

/// Writes a compressed file and hashes it.
fn seal(
    backup: &Path,
    name: String,
    write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> io::Result<Sealed> {
    let file = crate::files::make_file(&backup.join(&name))?;
    let mut encoder = encoder(Counted { file, hash: Sha256::new(), bytes: 0 })?;
    write(&mut encoder)?;
    let Counted { file, hash, bytes } = encoder.finish()?;
    file.sync_all()?;
    Ok(Sealed { file: name, bytes, sha256: hex(&hash.finalize()) })
}

struct Counted {
    file: File,
    hash: Sha256,
    bytes: u64,
}

impl Write for Counted {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.hash.update(bytes.get(..written).unwrap_or_default());
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

fn named(directory: &Path, path: &Path, why: &dyn std::fmt::Display) -> io::Error {
    io::Error::other(format!("{}: {why}", directory.join(path).display()))
}
