//! A backup put back on the host that it was made of: the plan, which is made of the backup alone, and what is sent to the host. And which
//! claims of another cluster its volumes' data goes into ([`pairs`]); the plan of that is `planner`'s, since it needs facts.
//!
//! Nothing here asks the cluster: it may be what is broken. In reading order: [`Saved`], [`mod@plan`], [`script`], [`source`], [`pairs`]. How it
//! goes and why is told in `docs/restore.md`.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader};
use std::time::Duration;

use super::manifest::{Manifest, SCHEMA, What};
use super::sums::Sums;
use super::{Folder, allowed};
use crate::event::Failure;
use crate::form;
use crate::inventory::Cluster;
use crate::plan::{
    self, Action, Class, Plan, Probe, Prove, PutBack, Redo, Restore, RestorePart, Step, Truce,
};

pub mod pairs;
pub mod script;
pub mod source;

/// The migration's id in the plan of a restore.
pub const MIGRATION: &str = "restore";
/// What stopping k3s, the swap and starting it may take.
const SWAP: Duration = Duration::from_secs(15 * 60);
/// What is taken for each entry besides its bytes: its inode, its part of a folder.
const ENTRY: u64 = 4096;
/// Where to read on.
const READ: &str = "docs/restore.md#refusals";

/// What a backup says of itself, as far as a restore wants it.
#[derive(Debug, Clone)]
pub struct Saved {
    /// What it holds.
    pub manifest: Manifest,
    /// The plan of the rung for which it was made.
    pub plan: Plan,
    /// Bytes and entries of each archive, by its stem.
    pub sizes: BTreeMap<String, (u64, u64)>,
}

impl Saved {
    /// Reads it. Whether the backup is whole only its proof tells.
    pub fn read(folder: &Folder) -> Result<Self, Failure> {
        let manifest = match folder.manifest() {
            Ok(manifest) if manifest.schema <= SCHEMA => manifest,
            Ok(manifest) => {
                let said = format!("it was made by a newer fleet (form {})", manifest.schema);
                return Err(refused("backup-not-known", &said));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(refused("backup-not-whole", "its copy did not come to its end"));
            }
            Err(error) => {
                return Err(refused(
                    "backup-not-whole",
                    &format!("its manifest.json cannot be read: {error}"),
                ));
            }
        };
        let plan = match folder.plan() {
            Ok(plan) if plan.schema <= plan::SCHEMA => plan,
            Ok(plan) => {
                let said = format!("its plan was made by a newer fleet (form {})", plan.schema);
                return Err(refused("backup-not-known", &said));
            }
            Err(error) => {
                let said = format!(
                    "it does not say of which version it is ({error}): it was made by an older fleet, or in the middle of a rung"
                );
                return Err(refused("backup-not-known", &said));
            }
        };
        let mut sizes = BTreeMap::new();
        for part in &manifest.parts {
            let sums = read_sums(folder, &part.sums.file)
                .map_err(|error| refused("backup-not-whole", &format!("{}: {error}", part.sums.file)))?;
            sizes.insert(part.what.stem(), (sums.bytes(), sums.entries()));
        }
        Ok(Self { manifest, plan, sizes })
    }

    /// What of it goes into a folder.
    #[must_use]
    pub fn put_back(&self, what: &What, folder: &str) -> PutBack {
        let stem = what.stem();
        let (bytes, entries) = self.sizes.get(&stem).copied().unwrap_or_default();
        let claim = match what {
            What::Volume(volume) if !volume.claim.is_empty() => {
                format!("{}/{}", volume.namespace, volume.claim)
            }
            _ => String::new(),
        };
        let bytes = bytes.saturating_add(entries.saturating_mul(ENTRY));
        PutBack { stem, claim, folder: folder.to_owned(), bytes, entries, into: None }
    }

    /// k3s' own folder and those of the volumes.
    fn folders(&self, cluster: &Cluster) -> Result<Vec<PutBack>, Failure> {
        let server = self
            .manifest
            .part(&What::Server)
            .ok_or_else(|| refused("backup-not-whole", "it holds no datastore"))?;
        let here = format!("{}/server", cluster.paths.k3s_data);
        if server.folder != here {
            let said = format!("its datastore was in {}, and the inventory says {here}", server.folder);
            return Err(refused("other-paths", &said));
        }
        let volumes = self.manifest.parts.iter().filter(|part| matches!(part.what, What::Volume(_)));
        let mut folders = vec![self.put_back(&server.what, &server.folder)];
        folders.extend(volumes.map(|part| self.put_back(&part.what, &part.folder)));
        apart(&folders)?;
        Ok(folders)
    }

    /// What was held when the backup was made, and stands there as held.
    fn truce(&self) -> Truce {
        let held = self.plan.steps.iter().find_map(|step| match &step.action {
            Action::GiveBack(truce) => Some(truce.clone()),
            _ => None,
        });
        held.unwrap_or_default()
    }
}

/// None of these lies in another: they are swapped one by one.
pub fn apart(folders: &[PutBack]) -> Result<(), Failure> {
    for folder in folders {
        let inside = |other: &PutBack| {
            other.folder == folder.folder || other.folder.starts_with(&format!("{}/", folder.folder))
        };
        if folders.iter().filter(|other| inside(other)).count() != 1 {
            let said = format!("{} holds another folder that is written to", folder.folder);
            return Err(refused("folders-within-folders", &said));
        }
    }
    Ok(())
}

/// The plan that puts this backup back on the cluster of which it was made. `any_k3s`: the operator takes whichever k3s the host has.
pub fn plan(saved: &Saved, cluster: &Cluster, any_k3s: bool) -> Result<Plan, Failure> {
    let Saved { manifest, plan: made_for, .. } = saved;
    if manifest.cluster != cluster.name || made_for.cluster != cluster.name {
        let said = format!("it is one of {}, and lies in the folder of {}", manifest.cluster, cluster.name);
        return Err(refused("backup-of-another", &said));
    }
    let folders = saved.folders(cluster)?;
    let version = made_for.from;
    let k3s = Some(manifest.k3s.clone()).filter(|k3s| !any_k3s && !k3s.is_empty());
    let notes = notes(saved, &folders);
    let restore = Restore {
        part: RestorePart::Look,
        backup: saved.manifest.id.clone(),
        spool: cluster.paths.spool.clone(),
        machine_id: saved.plan.fingerprint.get("machine id").filter(|id| !id.is_empty()).cloned(),
        k3s,
        folders,
        onto: None,
    };
    let mut steps = steps(saved, &restore);
    steps.push(
        Step::new(
            "truce/give-back",
            "Give back what was held when the backup was made, as it was found then",
            Class::Repeatable,
            Action::GiveBack(saved.truce()),
        )
        .takes(Duration::from_secs(15), Duration::from_secs(600)),
    );
    Ok(Plan {
        schema: plan::SCHEMA,
        cluster: cluster.name.clone(),
        migration: MIGRATION.to_owned(),
        from: version,
        to: version,
        apps: made_for.apps.clone(),
        steps,
        notes,
        rest: Vec::new(),
        fingerprint: made_for.fingerprint.clone(),
    })
}

/// The steps of the restore itself, whatever is held around them.
#[must_use]
pub fn steps(saved: &Saved, restore: &Restore) -> Vec<Step> {
    let bytes = bytes(&restore.folders);
    let there = Duration::from_secs(bytes.div_ceil(50_000_000));
    let proof = Duration::from_secs(bytes.div_ceil(100_000_000) + 10);
    let volumes = saved.manifest.volumes().map(|volume| volume.volume.clone()).collect();
    let part = |part| Action::Restore(Restore { part, ..restore.clone() });
    let minutes = |minutes: u64| Duration::from_secs(60 * minutes);
    let look = match restore.onto {
        None => "Look whether it is the same machine, with the same k3s, and has room",
        Some(_) => "Look whether its claims are as they were when this was planned, and it has room",
    };
    vec![
        Step::new("restore/look", look, Class::ReadOnly, part(RestorePart::Look)),
        Step::new(
            "restore/prove",
            "Read the whole backup and compare it with the host's hashes of then",
            Class::ReadOnly,
            Action::Prove(Prove { volumes }),
        )
        .takes(proof, proof.saturating_mul(10).max(minutes(15))),
        Step::new(
            "restore/unpack",
            "Unpack everything beside what is live, and compare it with those hashes",
            Class::Repeatable,
            part(RestorePart::Unpack),
        )
        .takes(there.saturating_mul(2) + minutes(1), allowed(bytes).saturating_mul(3))
        .needs(0, bytes),
        Step::new(
            "restore/swap",
            "Stop k3s, put it in the place of what is live, which is kept, and start k3s",
            Class::Undoable,
            part(RestorePart::Swap),
        )
        .redo(Redo::Repeatable)
        .takes(minutes(2), SWAP)
        .down(minutes(2)),
        Step::new(
            "restore/cluster-ready",
            "Wait until the cluster answers again",
            Class::ReadOnly,
            Action::WaitUntil { probe: Probe::ClusterReady, remedies: Vec::new() },
        )
        .takes(Duration::from_secs(90), minutes(20)),
    ]
}

/// What is unpacked, at most.
#[must_use]
pub fn bytes(folders: &[PutBack]) -> u64 {
    folders.iter().fold(0, |sum: u64, folder| sum.saturating_add(folder.bytes))
}

/// What an operator must know before he says yes.
fn notes(saved: &Saved, folders: &[PutBack]) -> Vec<String> {
    let Saved { manifest, plan, .. } = saved;
    let bytes = bytes(folders);
    vec![
        format!(
            "lost is whatever was written on the cluster after {}: files, mails, accounts, settings, secrets that were made since. What that \
             is fleet cannot know; it stays on the host in the folders that are put aside",
            form::moment(manifest.taken)
        ),
        format!(
            "the cluster is then Stackspin {} with: {}",
            plan.from,
            if plan.apps.is_empty() { "no application".to_owned() } else { plan.apps.join(", ") }
        ),
        format!(
            "the host needs up to {} beside what is live, and keeps the live folders until somebody removes them",
            form::bytes(bytes)
        ),
        "a volume that was made since has nobody who claims it any more, and stays in its folder on the host"
            .to_owned(),
    ]
}

/// The list of a part, as it was made on the host.
pub fn read_sums(folder: &Folder, file: &str) -> io::Result<Sums> {
    Sums::read(open_list(folder, file)?)
}

/// The same, to be read once more.
pub fn open_list(folder: &Folder, file: &str) -> io::Result<impl io::BufRead + use<>> {
    Ok(BufReader::new(zstd::stream::read::Decoder::new(File::open(folder.path().join(file))?)?))
}

/// Why it is not done.
#[must_use]
pub fn refused(cause: &str, said: &str) -> Failure {
    Failure::new(cause, format!("this backup cannot be put back: {said}")).read(READ)
}
