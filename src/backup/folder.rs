//! A backup's folder on the provisioning machine. Folders are 0700, files 0600: every cluster secret is in there.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::manifest::{Manifest, Proof};
use crate::files::{make_folder, read_json, sync_folder, write_json, write_whole};
use crate::form::hex;
use crate::plan::Plan;

/// A backup's folder: `<root>/<cluster>/<backup id>/`.
#[derive(Debug, Clone)]
pub struct Folder {
    path: PathBuf,
    cluster: String,
    id: String,
}

impl Folder {
    /// Makes a new one; one that is there already is an error.
    pub fn create(root: &Path, cluster: &str, id: &str) -> io::Result<Self> {
        let above = root.join(cluster);
        make_folder(&above)?;
        let folder = Self { path: above.join(id), cluster: cluster.to_owned(), id: id.to_owned() };
        DirBuilder::new().mode(0o700).create(&folder.path)?;
        make_folder(&folder.path.join("objects"))?;
        make_folder(&folder.path.join("volumes"))?;
        sync_folder(&above)?;
        Ok(folder)
    }

    /// The folder of a backup that was made before. It may hold an unfinished one: see [`Folder::manifest`].
    pub fn open(root: &Path, cluster: &str, id: &str) -> io::Result<Self> {
        let path = root.join(cluster).join(id);
        fs::read_dir(&path)?;
        Ok(Self { path, cluster: cluster.to_owned(), id: id.to_owned() })
    }

    /// The folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The cluster's name.
    #[must_use]
    pub fn cluster(&self) -> &str {
        &self.cluster
    }

    /// The backup's id.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The folder `kept/<set>/`, for secrets that a migration carries over; made if it is not there.
    pub fn kept(&self, set: &str) -> io::Result<PathBuf> {
        let path = self.path.join("kept").join(set);
        make_folder(&path)?;
        Ok(path)
    }

    /// Takes over what a migration keeps in another backup's folder.
    pub fn take_kept(&self, other: &Self) -> io::Result<()> {
        let from = other.path.join("kept");
        for set in names(&from)? {
            let into = self.kept(&set)?;
            for entry in fs::read_dir(from.join(&set))? {
                let entry = entry?;
                write_whole(&into.join(entry.file_name()), &fs::read(entry.path())?)?;
            }
        }
        Ok(())
    }

    /// What the backup holds. Written last: without it the copy never came to its end.
    pub fn manifest(&self) -> io::Result<Manifest> {
        read_json(&self.path.join("manifest.json"))
    }

    /// The SHA-256 of `manifest.json`, in hex.
    pub fn manifest_hash(&self) -> io::Result<String> {
        Ok(hex(&Sha256::digest(fs::read(self.path.join("manifest.json"))?)))
    }

    /// The last proof, which may be that of another manifest; an error of kind `NotFound` where there is none.
    pub fn proof(&self) -> io::Result<Proof> {
        read_json(&self.path.join("proof.json"))
    }

    /// Writes the plan of the rung for which the backup is made: what it is a backup of, and what was held meanwhile.
    pub fn keep_plan(&self, plan: &Plan) -> io::Result<()> {
        write_json(&self.path.join("plan.json"), plan)
    }

    /// The plan of the rung for which it was made; an error of kind `NotFound` where it does not say.
    pub fn plan(&self) -> io::Result<Plan> {
        read_json(&self.path.join("plan.json"))
    }

    /// Writes `manifest.json`: from now on the copy is a whole one.
    pub fn close(&self, manifest: &Manifest) -> io::Result<()> {
        for folder in ["objects", "volumes"] {
            sync_folder(&self.path.join(folder))?;
        }
        write_json(&self.path.join("manifest.json"), manifest)
    }
}

/// Every backup of a cluster, oldest first, unfinished ones among them.
pub fn of_cluster(root: &Path, cluster: &str) -> io::Result<Vec<Folder>> {
    let ids = names(&root.join(cluster))?;
    ids.iter().map(|id| Folder::open(root, cluster, id)).collect()
}

/// The clusters that have a folder below the root of all backups, in order of name.
pub fn of_root(root: &Path) -> io::Result<Vec<String>> {
    names(root)
}

/// The folders in a folder, sorted; none where it is not there.
fn names(folder: &Path) -> io::Result<Vec<String>> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry?;
        // A name that is not UTF-8 is none of ours.
        if let (true, Ok(name)) = (entry.file_type()?.is_dir(), entry.file_name().into_string()) {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn nobody_else_can_enter_and_an_id_is_used_once() {
        let root = tempfile::tempdir().unwrap();
        let folder = Folder::create(root.path(), "acme", "20261122T101500Z-abcd").unwrap();
        let kept = folder.kept("secrets").unwrap();
        for path in [folder.path(), folder.path().parent().unwrap(), &kept] {
            assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o700);
        }
        assert!(Folder::create(root.path(), "acme", "20261122T101500Z-abcd").is_err());
        assert_eq!(folder.manifest().unwrap_err().kind(), io::ErrorKind::NotFound);
        let found = of_cluster(root.path(), "acme").unwrap();
        assert_eq!(found.iter().map(Folder::id).collect::<Vec<_>>(), ["20261122T101500Z-abcd"]);
        assert_eq!(of_root(root.path()).unwrap(), ["acme"]);
        assert!(of_cluster(root.path(), "other").unwrap().is_empty());
    }
}
