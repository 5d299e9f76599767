//! k3s and its datastore.

use serde::{Deserialize, Serialize};

use crate::inventory::Paths;
use crate::remote::Command;

/// The service on the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct K3s {
    /// `v1.27.4+k3s1`, from `k3s --version`.
    pub version: String,
    /// systemd's word: `active`, `inactive`, `failed`…
    pub service: String,
    /// Where the cluster's state is.
    pub datastore: Datastore,
    /// Bytes of `server/db`.
    pub size: u64,
}

/// Kinds of k3s datastore (facts section 3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Datastore {
    /// `server/db/state.db`.
    Sqlite,
    /// `server/db/etcd/`.
    Etcd,
    /// Neither is there.
    Absent,
}

/// Asks for version, service, datastore and its size.
#[must_use]
pub fn ask(paths: &Paths) -> Command {
    Command::new(
        r#"db() { if [ -d "$1/etcd" ]; then echo etcd; elif [ -e "$1/state.db" ]; then echo sqlite; else echo absent; fi
if [ -d "$1" ]; then du -s --block-size=1 -- "$1" 2>/dev/null | cut -f 1; else echo 0; fi; }
k3s --version && { systemctl is-active k3s || true; } && db"#,
    )
    .arg(format!("{}/server/db", paths.k3s_data))
}

/// Reads the answer.
pub fn read(answer: &str) -> Result<K3s, String> {
    let version = answer
        .lines()
        .find_map(|line| line.strip_prefix("k3s version ")?.split_whitespace().next())
        .ok_or("k3s did not tell its version")?;
    // `k3s --version` may print a second line about Go; the last three lines are ours.
    let mut last = answer.lines().rev().map(str::trim);
    let size = last.next().and_then(|size| size.parse().ok()).ok_or("the datastore's size is not known")?;
    let datastore = match last.next() {
        Some("etcd") => Datastore::Etcd,
        Some("sqlite") => Datastore::Sqlite,
        Some("absent") => Datastore::Absent,
        _ => return Err("the kind of the datastore is not known".to_owned()),
    };
    let service = last
        .next()
        .filter(|word| !word.is_empty() && !word.contains(' '))
        .ok_or("systemctl did not tell of the service")?;
    Ok(K3s { version: version.to_owned(), service: service.to_owned(), datastore, size })
}
