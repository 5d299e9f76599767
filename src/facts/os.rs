//! Operating system and kernel.

use serde::{Deserialize, Serialize};

use crate::remote::Command;

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

/// Asks for it.
#[must_use]
pub fn ask() -> Command {
    Command::new("uname -m && uname -r && { cat /etc/os-release || cat /usr/lib/os-release; }")
}

/// Reads the answer.
pub fn read(answer: &str) -> Result<Os, String> {
    let mut lines = answer.lines().map(str::trim);
    let mut next = || lines.next().filter(|line| !line.is_empty() && !line.contains('='));
    let (Some(arch), Some(kernel)) = (next(), next()) else {
        return Err("uname did not tell machine and kernel".to_owned());
    };
    let mut os = Os {
        id: String::new(),
        version: String::new(),
        name: String::new(),
        arch: arch.to_owned(),
        kernel: kernel.to_owned(),
    };
    for (key, value) in lines.filter_map(|line| line.split_once('=')) {
        let value = value.trim_matches(['"', '\'']).to_owned();
        match key {
            "ID" => os.id = value,
            "VERSION_ID" => os.version = value,
            "PRETTY_NAME" => os.name = value,
            _ => {}
        }
    }
    if os.id.is_empty() { Err("os-release names no ID".to_owned()) } else { Ok(os) }
}
