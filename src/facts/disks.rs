//! Disk space and inodes of the filesystems that hold what matters.

use serde::{Deserialize, Serialize};

use crate::inventory::Paths;
use crate::remote::Command;

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

/// Asks for the filesystems of our paths. Where a path is not there yet, its nearest parent counts: that is where it would be made.
/// `volumes` are the folders in which the volumes' folders lie.
#[must_use]
pub fn ask(paths: &Paths, volumes: &[String]) -> Command {
    let at =
        |command: Command, label: &'static str, path: &str| command.fixed("&& at").fixed(label).arg(path);
    let mut command = Command::new(
        r#"at() { p=$2; while [ ! -e "$p" ] && [ "$p" != "$(dirname -- "$p")" ]; do p=$(dirname -- "$p"); done; printf '%s ' "$1"
df -B1 --output=fstype,size,avail,itotal,iavail,target -- "$p" | tail -n 1; }
at root /"#,
    );
    command = at(command, "k3s-data", &paths.k3s_data);
    for folder in volumes {
        command = at(command, "volumes", folder);
    }
    at(command, "spool", &paths.spool)
}

/// Reads the answer: one line a path.
pub fn read(answer: &str) -> Result<Vec<Filesystem>, String> {
    let mut found: Vec<Filesystem> = Vec::new();
    for line in answer.lines().filter(|line| !line.trim().is_empty()) {
        let (label, filesystem) = one(line).ok_or_else(|| format!("df printed a strange line: {line:?}"))?;
        let index = found.iter().position(|known| known.mount == filesystem.mount).unwrap_or_else(|| {
            found.push(filesystem);
            found.len() - 1
        });
        if let Some(holds) = found.get_mut(index).map(|filesystem| &mut filesystem.holds)
            && !holds.iter().any(|held| held == label)
        {
            holds.push(label.to_owned());
        }
    }
    if found.is_empty() { Err("df printed nothing".to_owned()) } else { Ok(found) }
}

fn one(line: &str) -> Option<(&str, Filesystem)> {
    let mut rest = line;
    let mut word = || {
        let (word, tail) = rest.trim_start().split_once(' ')?;
        rest = tail;
        Some(word)
    };
    let label = word()?;
    let kind = word()?.to_owned();
    let (size, free) = (word()?.parse().ok()?, word()?.parse().ok()?);
    // Filesystems without a fixed number of inodes print a dash.
    let count = |text: &str| if text == "-" { Some(0) } else { text.parse().ok() };
    let (inodes, inodes_free) = (count(word()?)?, count(word()?)?);
    let mount = rest.trim().to_owned();
    (!mount.is_empty())
        .then_some((label, Filesystem { mount, kind, size, free, inodes, inodes_free, holds: Vec::new() }))
}
