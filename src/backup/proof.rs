//! The proof: the whole backup is read back by code that had no part in writing it, and compared with what the host said.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use sha2::{Digest, Sha256};

use super::Folder;
use super::datastore::{COMPARED, Datastore};
use super::manifest::{Manifest, Part, Proof, SCHEMA, Sealed, What};
use super::objects::{self, List};
use super::reader::{Member, Reader};
use super::sums::{Entry, Sums};
use crate::event::Failure;
use crate::form::hex;
use crate::plan::Prove;
use crate::remote::printable;

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
    let mut reading = Reading { folder, faults: Faults::default(), files: 0, objects: 0, etcd: false };
    if let Some(manifest) = reading.manifest() {
        reading.all(&manifest, what);
        if reading.faults.count == 0 {
            return reading.write_down(&manifest);
        }
    }
    let Reading { faults, etcd, .. } = reading;
    let cause = if etcd { "etcd-not-provable" } else { "backup-not-proven" };
    let said = format!("backup {} of {} is not proven: {faults}", folder.id(), folder.cluster());
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
            Err(error) => return self.faults.add(format!("no room to look into the datastore: {error}")),
        };
        for part in &manifest.parts {
            let label = part.what.stem();
            if let Err(error) = self.part(part, &label, &scratch.path) {
                self.faults.add(format!("{label}: {error}"));
            }
        }
        let datastore = self.datastore(manifest, &scratch.path);
        self.all_objects(manifest, &archived, datastore.as_ref());
    }

    /// Whether a file is the one that was written.
    fn sealed(&mut self, sealed: &Sealed, expected: &str) {
        if sealed.file != expected {
            return self.faults.add(format!("the manifest calls {expected} {}", sealed.file));
        }
        self.hashed(&sealed.file, sealed.bytes, &sealed.sha256);
    }

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

    /// Compares an archive with the host's list, member by member; keeps the datastore's files in `scratch`.
    fn part(&mut self, part: &Part, stem: &str, scratch: &Path) -> io::Result<()> {
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
            let content = match member.kind {
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

    fn datastore(&mut self, manifest: &Manifest, scratch: &Path) -> Option<Datastore> {
        let state = scratch.join("state.db");
        if manifest.part(&What::Server).is_none() {
            self.faults.add("k3s' server folder has no archive");
        } else if state.exists() {
            self.etcd = false;
            return Datastore::open(&state).map_err(|fault| self.faults.add(fault)).ok();
        } else if self.etcd {
            self.faults
                .add("the datastore is etcd: its files are copied, but what is in them cannot be proven");
        } else {
            self.faults.add("there is no datastore in the archive of k3s' server folder");
        }
        None
    }

    /// The saved objects against the manifest, the datastore and the archives.
    fn all_objects(&mut self, manifest: &Manifest, archived: &BTreeSet<&str>, datastore: Option<&Datastore>) {
        for (file, prefix) in COMPARED {
            if !manifest.objects.contains_key(*file) {
                // Only the core's kinds are in every cluster; but a kind that the API does not know has no objects.
                let stored = datastore.map_or(Ok(BTreeSet::new()), |datastore| datastore.names(prefix));
                if prefix.matches('/').count() == 3 || stored != Ok(BTreeSet::new()) {
                    self.faults.add(format!("objects/{file} is missing"));
                }
            }
        }
        for (file, saved) in &manifest.objects {
            let path = format!("objects/{file}");
            if file.contains('/') {
                self.faults.add(format!("the manifest names a strange file: {file}"));
                continue;
            }
            self.hashed(&path, saved.bytes, &saved.sha256);
            let list = match objects::read(&self.folder.path().join(&path)) {
                Ok(list) => list,
                Err(error) => {
                    self.faults.add(format!("{path}: {error}"));
                    continue;
                }
            };
            let count = list.items.len() as u64;
            if count != saved.count {
                self.faults.add(format!("{path} holds {count} objects, the manifest says {}", saved.count));
            }
            if let Some((_, prefix)) = COMPARED.iter().find(|(known, _)| known == file)
                && let Some(datastore) = datastore
            {
                self.compare_names(&path, &list, datastore.names(prefix));
            }
            if file == "persistentvolumes.json" {
                for item in &list.items {
                    if item.folder().is_some() && !archived.contains(item.metadata.name.as_str()) {
                        self.faults.add(format!(
                            "volume {} is in the cluster and has no archive",
                            item.metadata.name
                        ));
                    }
                }
            }
        }
    }

    fn compare_names(&mut self, path: &str, list: &List, stored: Result<BTreeSet<String>, String>) {
        let stored = match stored {
            Ok(stored) => stored,
            Err(fault) => return self.faults.add(fault),
        };
        let saved: BTreeSet<String> = list
            .items
            .iter()
            .map(|item| match &item.metadata {
                metadata if metadata.namespace.is_empty() => metadata.name.clone(),
                metadata => format!("{}/{}", metadata.namespace, metadata.name),
            })
            .collect();
        self.objects += saved.intersection(&stored).count() as u64;
        for (name, where_not) in saved
            .difference(&stored)
            .map(|name| (name, "the datastore"))
            .chain(stored.difference(&saved).map(|name| (name, "the saved objects")))
        {
            self.faults.add(format!("{path}: {name} is not in {where_not}"));
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
struct Tee {
    hash: Sha256,
    file: Option<File>,
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
