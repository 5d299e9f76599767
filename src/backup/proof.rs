//! The proof: the whole backup is read back by code that had no part in writing it, and compared with what the host said.
//!
//! Here is what is read in which order, and how it is written down; [`archives`] compares the files with the host's list, [`objects`]
//! the saved objects with the datastore.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use archives::Tee;
use jiff::Timestamp;
use sha2::{Digest, Sha256};

use super::Folder;
use super::manifest::{Manifest, Proof, SCHEMA};
use crate::event::Failure;
use crate::files::is_full;
use crate::form::hex;
use crate::plan::Prove;
use crate::remote::printable;

mod archives;
mod objects;

/// The cause of a proof that has found the backup to be none.
pub const NOT_PROVEN: &str = "backup-not-proven";
/// How many faults a failure tells in full.
const TOLD: usize = 5;

/// A backup that an independent reader found whole. Only [`prove`] makes one, and `run` changes nothing without one.
#[derive(Debug, Clone)]
#[expect(clippy::manual_non_exhaustive, reason = "the attribute would still let this crate make one")]
pub struct Proven {
    /// The backup's id.
    pub id: String,
    /// Files compared with the host's hashes.
    pub files: u64,
    /// Bytes of the backup on disk.
    pub bytes: u64,
    _only_prove_makes_one: (),
}

/// Reads the whole backup back and compares it with what the host said. Every fault is a sentence; one is enough to fail. Blocks for as
/// long as reading takes; an asynchronous caller runs it on a blocking thread.
pub fn prove(folder: &Folder, what: &Prove) -> Result<Proven, Failure> {
    let mut reading =
        Reading { folder, faults: Faults::default(), files: 0, objects: 0, etcd: false, full: false };
    if let Some(manifest) = reading.manifest() {
        reading.all(&manifest, what);
        if reading.faults.count == 0 {
            return reading.write_down(&manifest);
        }
    }
    let Reading { faults, etcd, full, .. } = reading;
    let (id, cluster) = (folder.id(), folder.cluster());
    // A fault of this disk; of the backup it says nothing.
    if full {
        let path = folder.path().display();
        let said = format!("backup {id} of {cluster} cannot be looked into: no room is left in {path}");
        return Err(Failure::new("disk-full-here", said).read("docs/backup.md#when-a-backup-is-not-proven"));
    }
    let cause = if etcd { "etcd-not-provable" } else { NOT_PROVEN };
    let said = format!("backup {id} of {cluster} is not proven: {faults}");
    Err(Failure::new(cause, said).read("docs/backup.md#when-a-backup-is-not-proven"))
}

/// What is wrong: how often, and the first few in words.
#[derive(Debug, Default)]
struct Faults {
    count: u64,
    told: Vec<String>,
}

impl Faults {
    fn add(&mut self, fault: impl Into<String>) {
        self.count += 1;
        if self.told.len() < TOLD {
            self.told.push(printable(&fault.into()));
        }
    }
}

impl std::fmt::Display for Faults {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { count, told } = self;
        let plural = if *count == 1 { "fault" } else { "faults" };
        write!(f, "{count} {plural}: {}", told.join("; "))?;
        if *count > told.len() as u64 { f.write_str("; …") } else { Ok(()) }
    }
}

/// A proof under way.
struct Reading<'a> {
    folder: &'a Folder,
    faults: Faults,
    files: u64,
    objects: u64,
    etcd: bool,
    /// Whether there was no room to look into it.
    full: bool,
}

impl Reading<'_> {
    /// The manifest, if it is one and this backup's.
    fn manifest(&mut self) -> Option<Manifest> {
        let manifest = match self.folder.manifest() {
            Ok(manifest) => manifest,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.faults.add("there is no manifest.json: the copy did not come to its end");
                return None;
            }
            Err(error) => {
                self.faults.add(format!("the manifest cannot be read: {error}"));
                return None;
            }
        };
        if manifest.schema > SCHEMA {
            self.faults.add(format!("the manifest is of a newer fleet (form {})", manifest.schema));
            return None;
        }
        if (manifest.id.as_str(), manifest.cluster.as_str()) != (self.folder.id(), self.folder.cluster()) {
            self.faults.add(format!("the manifest is that of {} of {}", manifest.id, manifest.cluster));
        }
        Some(manifest)
    }

    fn all(&mut self, manifest: &Manifest, what: &Prove) {
        let archived: BTreeSet<&str> = manifest.volumes().map(|volume| volume.volume.as_str()).collect();
        for volume in what.volumes.iter().filter(|volume| !archived.contains(volume.as_str())) {
            self.faults.add(format!("volume {volume} has no archive"));
        }
        let scratch = match Scratch::make(self.folder.path()) {
            Ok(scratch) => scratch,
            Err(error) => {
                self.full = is_full(&error);
                return self.faults.add(format!("no room to look into the datastore: {error}"));
            }
        };
        for part in &manifest.parts {
            let label = part.what.stem();
            if let Err(error) = self.part(part, &label, &scratch.path) {
                self.full |= is_full(&error);
                self.faults.add(format!("{label}: {error}"));
            }
        }
        let datastore = self.datastore(manifest, &scratch.path);
        self.all_objects(manifest, &archived, datastore.as_ref());
    }

    /// Whether a file has this size and this hash.
    fn hashed(&mut self, file: &str, bytes: u64, sha256: &str) {
        let mut hash = Tee { hash: Sha256::new(), file: None };
        match File::open(self.folder.path().join(file)).and_then(|mut file| io::copy(&mut file, &mut hash)) {
            Err(error) => self.faults.add(format!("{file}: {error}")),
            Ok(read) if read != bytes => self.faults.add(format!("{file} has {read} bytes, not {bytes}")),
            Ok(_) if hex(&hash.hash.finalize()) != sha256 => {
                self.faults.add(format!("{file} is not as it was written: its hash differs"));
            }
            Ok(_) => {}
        }
    }

    /// Writes `proof.json`; then, and only then, is the backup proven.
    fn write_down(&self, manifest: &Manifest) -> Result<Proven, Failure> {
        let (files, bytes) = (self.files, manifest.bytes());
        let write = || {
            let proof = Proof {
                schema: SCHEMA,
                proven: Timestamp::now(),
                manifest: self.folder.manifest_hash()?,
                files,
                bytes,
                objects: self.objects,
                fleet: env!("CARGO_PKG_VERSION").to_owned(),
            };
            crate::files::write_json(&self.folder.path().join("proof.json"), &proof)
        };
        match write() {
            Ok(()) => Ok(Proven { id: self.folder.id().to_owned(), files, bytes, _only_prove_makes_one: () }),
            Err(error) => {
                let said = format!("the backup is whole, but its proof cannot be written down: {error}");
                Err(Failure::new("this-machine", said).read("docs/operating.md#trouble-on-this-machine"))
            }
        }
    }
}

/// A folder inside the backup's own, for the datastore's copy: as secret as the rest, and gone afterwards.
struct Scratch {
    path: PathBuf,
}

impl Scratch {
    fn make(backup: &Path) -> io::Result<Self> {
        let path = backup.join(format!(".proof-{:08x}", rand::random::<u32>()));
        crate::files::make_folder(&path)?;
        Ok(Self { path })
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.path) {
            tracing::warn!("cannot remove {}: {error}", self.path.display());
        }
    }
}
