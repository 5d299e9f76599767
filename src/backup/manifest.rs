//! What a backup holds, as `manifest.json` and `proof.json` say it.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// The version of the stored form of [`Manifest`] and [`Proof`]. Readers refuse a newer one.
pub const SCHEMA: u32 = 1;

/// What the backup holds. Its presence says that the copy came to its end; whether it is right is said by [`Proof`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// [`SCHEMA`] at the time of writing.
    pub schema: u32,
    /// The backup's id.
    pub id: String,
    /// The cluster.
    pub cluster: String,
    /// When k3s was stopped for it, by the provisioning machine's clock.
    pub taken: Timestamp,
    /// The k3s that wrote the datastore, e.g. `v1.27.4+k3s1`: a restore wants the same. Empty where it did not say.
    pub k3s: String,
    /// The `fleet` that copied.
    pub fleet: String,
    /// The archived folders.
    pub parts: Vec<Part>,
    /// The objects, by file below `objects/`.
    pub objects: BTreeMap<String, Objects>,
}

impl Manifest {
    /// The part that is this, if it is there.
    #[must_use]
    pub fn part(&self, what: &What) -> Option<&Part> {
        self.parts.iter().find(|part| part.what == *what)
    }

    /// The volumes that have an archive.
    pub fn volumes(&self) -> impl Iterator<Item = &Volume> {
        self.parts.iter().filter_map(|part| match &part.what {
            What::Volume(volume) => Some(volume),
            _ => None,
        })
    }

    /// Bytes of all files on disk.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        let parts: u64 = self.parts.iter().map(|part| part.archive.bytes + part.sums.bytes).sum();
        parts + self.objects.values().map(|objects| objects.bytes).sum::<u64>()
    }
}

/// One folder: its archive, and the list of what its owner says is in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// Which.
    #[serde(flatten)]
    pub what: What,
    /// The folder that was copied, there where it was.
    pub folder: String,
    /// The archive.
    pub archive: Sealed,
    /// The list of hashes.
    pub sums: Sealed,
}

/// What a part is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "part", rename_all = "kebab-case")]
pub enum What {
    /// k3s' `server` folder: datastore, token, certificates.
    Server,
    /// k3s' configuration folder.
    Config,
    /// The cluster's directory on the provisioning machine.
    ClusterDirectory,
    /// A volume.
    Volume(Volume),
}

impl What {
    /// The path of its files below the backup's folder, without their endings.
    #[must_use]
    pub fn stem(&self) -> String {
        match self {
            Self::Server => "server".to_owned(),
            Self::Config => "config".to_owned(),
            Self::ClusterDirectory => "cluster-directory".to_owned(),
            Self::Volume(volume) => format!("volumes/{}", volume.volume),
        }
    }
}

/// The map claim ↔ volume; its folder is the part's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Volume {
    /// The PersistentVolume.
    pub volume: String,
    /// The claim's namespace; empty where nothing claims it.
    pub namespace: String,
    /// The claim; empty where nothing claims it.
    pub claim: String,
}

/// A file as it was when it was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sealed {
    /// Its path below the backup's folder.
    pub file: String,
    /// Its bytes on disk.
    pub bytes: u64,
    /// The SHA-256 of the file, in hex.
    pub sha256: String,
}

/// All objects of one kind: a file below `objects/`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Objects {
    /// Where the API has them: `/api/v1/secrets`.
    pub path: String,
    /// How many.
    pub count: u64,
    /// The file's bytes.
    pub bytes: u64,
    /// The file's SHA-256, in hex.
    pub sha256: String,
}

/// The last proof, as `proof.json` keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proof {
    /// [`SCHEMA`] at the time of writing.
    pub schema: u32,
    /// When it was proven.
    pub proven: Timestamp,
    /// The SHA-256 of `manifest.json`, in hex: a proof of another manifest is none.
    pub manifest: String,
    /// Files compared with the host's hashes.
    pub files: u64,
    /// Bytes of the backup on disk.
    pub bytes: u64,
    /// Objects found equal in the datastore and in the saved objects.
    pub objects: u64,
    /// The `fleet` that read.
    pub fleet: String,
}
