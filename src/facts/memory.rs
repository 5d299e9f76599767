//! Memory of the host.

use serde::{Deserialize, Serialize};

/// From `/proc/meminfo`, in bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Memory {
    /// In all.
    pub total: u64,
    /// Available without swapping.
    pub available: u64,
}
