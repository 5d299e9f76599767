//! What a step does, as data: the few verbs and what each of them names.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Class, Probe, Redo, Step};
use crate::remote::Command;

/// The few verbs of a plan.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// A short command.
    Run(Command),
    /// A long command that belongs to the host and not to the connection. The step's deadline is held there, not the command's own; a
    /// command with standard input or a secret output cannot be one.
    Job(Command),
    /// Kubernetes objects saved, completed or put back, with their metadata stripped.
    Objects(Objects),
    /// The copy of everything that the backup holds.
    Backup(Backup),
    /// The proof of the copy by an independent reader.
    Prove(Prove),
    /// Whatever would change the cluster by itself meanwhile is kept from it, and the host told to give it back if nobody does.
    Hold(Truce),
    /// What was held is given back exactly as it was found. Done at whatever end of the rung.
    GiveBack(Truce),
    /// Waiting until a probe is satisfied.
    WaitUntil {
        /// What is waited for.
        probe: Probe,
        /// Ids of the remedies that may be used meanwhile.
        remedies: Vec<String>,
    },
    /// One of upstream's own scripts, on this machine, with the cluster's API before it. The step's deadline holds for all of it.
    Local(Local),
    /// A claim to another namespace, with its volume and all that is in it.
    MoveClaim(MoveClaim),
    /// Kustomizations and Helm releases of Flux taken away without what they have made: all suspended, that read back, then deleted.
    Disown(Vec<Object>),
    /// Namespaces deleted with what is left in them, once no claim is.
    RemoveNamespaces(RemoveNamespaces),
    /// A backup put back on the host that it was made of, in parts: looked whether it can be, unpacked beside, swapped in.
    Restore(Restore),
    /// Everything that runs in these namespaces stopped, so that nothing mounts a claim or starts anything anew; only DaemonSets stay.
    Stop(Vec<String>),
    /// What a person must do. The run stops there, and goes on once `fleet confirm` has told that it is done.
    Ask(Ask),
    /// Claims deleted, with whatever their volumes' policies make of that, once nothing of Helm 2's releases is left.
    RemoveClaims(RemoveClaims),
}

/// What a person is asked for. The step's title says it in short.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ask {
    /// What to do, one sentence each, in order.
    pub lines: Vec<String>,
}

impl Ask {
    /// In a line, the cluster's directory on the provisioning machine, as the guide writes it: the planner puts the directory there, where the
    /// inventory names one.
    pub const DIRECTORY: &str = "CLUSTER_DIR";

    /// The step. It changes nothing by itself, and takes as long as it takes.
    #[must_use]
    pub fn step(id: impl Into<String>, title: impl Into<String>, lines: Vec<String>) -> Step {
        let never = Duration::ZERO;
        Step::new(id, title, Class::ReadOnly, Action::Ask(Self { lines }))
            .redo(Redo::Never)
            .takes(never, never)
    }
}

/// A script of a Stackspin release, run on this machine in a checkout of its own (facts section 2; guide rows G4 to G7).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Local {
    /// The release's branch: `v1.0`.
    pub release: String,
    /// The commit that the branch was at when the plan was made: no other is run.
    pub commit: String,
    /// The program and its words. A program with a `/` in it is a file of the release; any other is looked for in its virtual
    /// environment first, then in `PATH`.
    pub argv: Vec<String>,
    /// Programs of this machine that it needs, besides git and python.
    pub needs: Vec<String>,
    /// It is only run where this is not so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unless: Option<Probe>,
    /// Ids of remedies: where it fails and the cluster shows a fault that one of them knows, that is cured and the script run again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub remedies: Vec<String>,
}

impl std::fmt::Display for Local {
    /// The line that an admin would type in a checkout of the release.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let words: Vec<String> = self.argv.iter().map(|word| crate::remote::quote(word)).collect();
        f.write_str(&words.join(" "))
    }
}

/// What a cluster and its host do by themselves at night, as it was found (promise M14).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Truce {
    /// CronJobs, found by what they do (facts section 3.6), those among them that were suspended already.
    pub cron_jobs: Vec<Found>,
    /// Flux sources of the release: whether they were suspended. They are not touched by the hold, but a rung may resume one.
    pub sources: Vec<Found>,
    /// The system-upgrade-controller's Deployment, where there is one, and its replicas.
    pub controller: Option<(Object, u32)>,
    /// Timers of the host's service manager that start package upgrades, and were active.
    pub timers: Vec<String>,
    /// The hours at which a nightly job would suspend the sources. One that goes by meanwhile is made up for when they are given back.
    #[serde(default)]
    pub sources_shut: Vec<Shut>,
    /// The hours at which a nightly job would scale the controller to nothing.
    #[serde(default)]
    pub controller_shut: Vec<Shut>,
}

/// When a nightly job shuts something.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shut {
    /// Its cron schedule.
    pub schedule: String,
    /// By a clock so many seconds east of UTC.
    pub offset_seconds: i64,
}

/// An object that can be suspended, and whether it was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Found {
    /// The object.
    pub object: Object,
    /// Whether it was suspended.
    pub suspended: bool,
}

/// What is done with Kubernetes Secrets that a migration must carry over. The data stays in the backup folder (files 0600);
/// the plan holds names only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Objects {
    /// Save these from the cluster into the backup folder, under `kept/<set>/`.
    Save {
        /// The set's name, unique in the backup.
        set: String,
        /// What to save. All must be there: those that are not installed are not listed.
        objects: Vec<Object>,
    },
    /// Give the saved copy of an object a password of letters under this key, if the key is missing or empty.
    AddPassword {
        /// The set.
        set: String,
        /// The object in the set.
        object: Object,
        /// The key in its `data`.
        key: String,
    },
    /// Put a saved set back with reduced metadata, read it back and compare its data byte for byte.
    Restore {
        /// The set.
        set: String,
        /// What it holds.
        objects: Vec<Object>,
    },
    /// Make Secrets and ConfigMaps anew under other names, with reduced metadata, and compare their data byte for byte. What is there already
    /// under such a name is never written over.
    Copy {
        /// Each with its new name.
        copies: Vec<Renamed>,
    },
}

/// A Secret or ConfigMap and its new name. Both are of the same kind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Renamed {
    /// The object as it is called.
    pub from: Object,
    /// As its copy is to be called.
    pub to: Object,
}

/// A Kubernetes object by kind, namespace and name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Object {
    /// The plural resource, with its group where it is not core: `secrets`.
    pub kind: String,
    /// Its namespace; empty for objects of the whole cluster.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl Object {
    /// A ConfigMap.
    #[must_use]
    pub fn config_map(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self { kind: "configmaps".to_owned(), namespace: namespace.into(), name: name.into() }
    }

    /// A Secret.
    #[must_use]
    pub fn secret(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self { kind: "secrets".to_owned(), namespace: namespace.into(), name: name.into() }
    }
}

impl std::fmt::Display for Object {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { kind, namespace, name } = self;
        if namespace.is_empty() { write!(f, "{kind}/{name}") } else { write!(f, "{namespace}/{name}") }
    }
}

/// Exactly what a backup copies. See `docs/backup.md`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backup {
    /// The k3s data folder on the host, with `server/db` and `server/token` below it.
    pub k3s_data: String,
    /// The k3s configuration folder on the host.
    pub k3s_config: String,
    /// The folder on the host for the watchdog that starts k3s again whatever happens.
    pub spool: String,
    /// The volumes, each its own archive.
    pub volumes: Vec<VolumeCopy>,
    /// The cluster's directory on the provisioning machine, where the inventory names one.
    pub cluster_dir: Option<std::path::PathBuf>,
}

/// One volume to copy: the map claim ↔ volume ↔ folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumeCopy {
    /// The PersistentVolume's name.
    pub volume: String,
    /// The claim's namespace; empty where nothing claims the volume.
    pub namespace: String,
    /// The claim's name; empty where nothing claims the volume.
    pub claim: String,
    /// The folder on the host, as the PersistentVolume says (never computed; facts section 3.2).
    pub folder: String,
    /// Bytes used when the plan was made, by which deadlines are set.
    pub used: u64,
}

/// What a proof must find.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Prove {
    /// The volumes that must have a proven archive.
    pub volumes: Vec<String>,
}

/// A claim that is moved to another namespace, where it has the same name and the same volume (facts section 7). The volume's folder is not
/// touched.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MoveClaim {
    /// The namespace that it is in.
    pub from: String,
    /// The namespace that it goes to, which must be there.
    pub to: String,
    /// Its name, in both.
    pub claim: String,
    /// The PersistentVolume that it is bound to.
    pub volume: String,
}

impl MoveClaim {
    /// The step that moves it. It cannot be taken back, for the old claim is deleted; yet it may be done again by its nature: where a move
    /// stands is read from the volume's phase and reservation and from which of the two claims is there, and what is done already is not
    /// done twice.
    #[must_use]
    pub fn step(self, id: impl Into<String>) -> Step {
        let title = format!("Move claim {} with its volume from {} to {}", self.claim, self.from, self.to);
        Step::new(id, title, Class::Irreversible, Action::MoveClaim(self))
            .redo(Redo::Repeatable)
            .takes(Duration::from_secs(10), Duration::from_secs(600))
    }
}

/// Namespaces that go, and the claims that were moved out of them and must be safe before (facts section 7, step 7).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemoveNamespaces {
    /// The namespaces.
    pub namespaces: Vec<String>,
    /// The claims that were moved.
    pub moved: Vec<MoveClaim>,
}

/// Claims that go, and the releases of Helm 2 of which no record may be left before (guide, "Upgrading to 0.3.0").
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemoveClaims {
    /// The releases.
    pub releases: Vec<String>,
    /// The claims. One that is bound to another volume by then is another claim, and stays.
    pub claims: Vec<Claimed>,
}

/// A backup that is put back on the host that it was made of, or its volumes' data on another. See `docs/restore.md`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Restore {
    /// Which part of the work.
    pub part: RestorePart,
    /// The backup's id.
    pub backup: String,
    /// The folder on the host for the watchdog and the job.
    pub spool: String,
    /// The machine that the host must be: that of which the backup was made, or the other cluster's; none where nobody could tell.
    pub machine_id: Option<String>,
    /// The k3s that the host must have; none where the operator takes any.
    pub k3s: Option<String>,
    /// The folders, that of k3s first, where it is put back.
    pub folders: Vec<PutBack>,
    /// The volumes' data alone, and onto another cluster; none where all of it goes back to where it came from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub onto: Option<Onto>,
}

/// Another cluster than that of which a backup was made. It keeps its own objects and secrets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Onto {
    /// The cluster of which the backup was made.
    pub of: String,
    /// k3s' own folder of the other, which is out of its way while folders are swapped.
    pub server: String,
}

/// The parts of a restore, each its own step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RestorePart {
    /// Look whether it can be done. Changes nothing.
    Look,
    /// Unpack every archive beside what is live and compare it with the host's own list from when it was made.
    Unpack,
    /// Stop k3s, put what was unpacked in the place of what is live, which is kept, and start k3s.
    Swap,
}

/// One folder that is put back.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PutBack {
    /// The part of the backup, as its files are called: `server`, `volumes/pvc-1`.
    pub stem: String,
    /// The claim, for people, as the backup has it; empty for what is none.
    pub claim: String,
    /// The folder on the host.
    pub folder: String,
    /// Bytes that it takes unpacked, at most.
    pub bytes: u64,
    /// Files, folders and whatever else is in it.
    pub entries: u64,
    /// The claim of another cluster that the folder must still be of when it is swapped in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub into: Option<Claimed>,
}

/// A claim and the volume that it is bound to; empty where there is none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claimed {
    /// The claim's namespace.
    pub namespace: String,
    /// The claim.
    pub claim: String,
    /// The volume.
    pub volume: String,
}

impl std::fmt::Display for Claimed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.namespace, self.claim)
    }
}
