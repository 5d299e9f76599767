//! Operating system and kernel.

use serde::{Deserialize, Serialize};

/// From `/etc/os-release` and `uname`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Os {
    /// `debian`.
    pub id: String,
    /// `12`; empty where the system has no number.
    pub version: String,
    /// `Debian GNU/Linux 12 (bookworm)`.
    pub name: String,
    /// `x86_64`.
    pub arch: String,
    /// `6.1.0-18-amd64`.
    pub kernel: String,
}
