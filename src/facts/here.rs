//! The provisioning machine itself, as far as a cluster's upgrade needs it.

use std::path::{Path, absolute};

use serde::{Deserialize, Serialize};

/// Room for backups here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Here {
    /// The backup root.
    pub backups: String,
    /// Bytes free there.
    pub free: u64,
    /// Inodes free there.
    pub inodes_free: u64,
}

/// Asks this machine: the filesystem of the backup root, or of its nearest parent that is there already.
pub fn look(backups: &Path) -> Result<Here, String> {
    let root = absolute(backups).map_err(|error| format!("{}: {error}", backups.display()))?;
    let there = root.ancestors().find(|path| path.exists()).unwrap_or(Path::new("/"));
    let stat = rustix::fs::statvfs(there).map_err(|error| format!("{}: {error}", there.display()))?;
    Ok(Here {
        backups: root.display().to_string(),
        free: stat.f_bavail.saturating_mul(stat.f_frsize),
        inodes_free: stat.f_favail,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_is_not_there_yet_is_measured_where_it_would_be_made() {
        let folder = tempfile::tempdir().unwrap();
        let here = look(&folder.path().join("not/there")).unwrap();
        assert!(here.backups.ends_with("not/there"));
        assert!(here.free > 0);
        assert!(!folder.path().join("not").exists());
    }
}
