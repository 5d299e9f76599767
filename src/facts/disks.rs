//! Disk space and inodes of the filesystems that hold what matters.

use serde::{Deserialize, Serialize};

/// One filesystem.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Filesystem {
    /// Where it is mounted.
    pub mount: String,
    /// `ext4`.
    pub kind: String,
    /// Bytes in all.
    pub size: u64,
    /// Bytes free for us.
    pub free: u64,
    /// Inodes in all; 0 where the filesystem does not count them.
    pub inodes: u64,
    /// Inodes free.
    pub inodes_free: u64,
    /// Which of our paths are on it: `k3s-data`, `volumes`, `spool`, `root`.
    pub holds: Vec<String>,
}
