//! The provisioning machine itself, as far as a cluster's upgrade needs it.

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
