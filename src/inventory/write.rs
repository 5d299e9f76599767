//! Clusters as data: an inventory file that loads back to the same clusters, and rows for programs.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::settings::DIRECT;
use super::{Cluster, Host, SecretRef, Sudo};

/// An inventory, as TOML.
#[derive(Serialize)]
struct Document<'a> {
    groups: BTreeMap<&'a str, BTreeMap<&'a str, &'a str>>,
    jumps: BTreeMap<&'a str, JumpRow<'a>>,
    clusters: BTreeMap<&'a str, ClusterRow<'a>>,
}

/// A cluster under the names of the inventory's keys. A secret is a reference here as it is there.
#[derive(Debug, Serialize)]
pub struct ClusterRow<'a> {
    #[serde(skip_serializing_if = "str::is_empty")]
    group: &'a str,
    tags: &'a BTreeSet<String>,
    #[serde(flatten)]
    host: HostRow<'a>,
    sudo: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    sudo_password: Option<Reference<'a>>,
    reconnect_seconds: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    machine_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cluster_uid: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    domain: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    directory: Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stackspin: Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    python: Option<PathBuf>,
    paths: PathsRow<'a>,
}

/// A jump host under the names of the inventory's keys.
#[derive(Debug, Serialize)]
struct JumpRow<'a> {
    #[serde(flatten)]
    host: HostRow<'a>,
    channels: usize,
}

/// What clusters and jump hosts both say of their SSH end.
#[derive(Debug, Serialize)]
struct HostRow<'a> {
    address: &'a str,
    port: u16,
    user: &'a str,
    identity: Vec<PathBuf>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    certificate: Vec<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    passphrase: Option<Reference<'a>>,
    agent: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    password: Option<Reference<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    host_key: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    host_key_alias: Option<&'a str>,
    known_hosts: Vec<PathBuf>,
    jump: &'a str,
    connect_timeout_seconds: u64,
}

#[derive(Debug, Serialize)]
struct PathsRow<'a> {
    k3s_data: &'a str,
    k3s_config: &'a str,
    spool: &'a str,
}

/// `{ file = "…" }` and its like.
#[derive(Debug, Serialize)]
#[serde(rename_all = "lowercase")]
enum Reference<'a> {
    File(PathBuf),
    Env(&'a str),
    Command(&'a str),
    Prompt(bool),
}

impl<'a> From<&'a SecretRef> for Reference<'a> {
    fn from(secret: &'a SecretRef) -> Self {
        match secret {
            SecretRef::File(path) => Self::File(absolute(path)),
            SecretRef::Env(name) => Self::Env(name),
            SecretRef::Command(line) => Self::Command(line),
            SecretRef::Prompt => Self::Prompt(true),
        }
    }
}

impl<'a> From<&'a Host> for HostRow<'a> {
    fn from(host: &'a Host) -> Self {
        let all = |paths: &[PathBuf]| paths.iter().map(|path| absolute(path)).collect();
        Self {
            address: &host.address,
            port: host.port,
            user: &host.user,
            identity: all(&host.identity),
            certificate: all(&host.certificates),
            passphrase: host.passphrase.as_ref().map(Reference::from),
            agent: host.agent,
            password: host.password.as_ref().map(Reference::from),
            host_key: host.host_key.as_deref(),
            host_key_alias: host.host_key_alias.as_deref(),
            known_hosts: all(&host.known_hosts),
            jump: host.jump.as_ref().map_or(DIRECT, |jump| &jump.name),
            connect_timeout_seconds: host.connect_timeout.as_secs(),
        }
    }
}

impl<'a> From<&'a Cluster> for ClusterRow<'a> {
    fn from(cluster: &'a Cluster) -> Self {
        Self {
            group: &cluster.group,
            tags: &cluster.tags,
            host: HostRow::from(&cluster.host),
            sudo: cluster.host.sudo != Sudo::Never,
            sudo_password: match &cluster.host.sudo {
                Sudo::Password(secret) => Some(Reference::from(secret)),
                Sudo::Never | Sudo::Free => None,
            },
            reconnect_seconds: cluster.host.reconnect.as_secs(),
            machine_id: cluster.machine_id.as_deref(),
            cluster_uid: cluster.cluster_uid.as_deref(),
            domain: cluster.domain.as_deref(),
            directory: cluster.directory.as_deref().map(absolute),
            stackspin: cluster.stackspin.as_deref().map(absolute),
            python: cluster.python.as_deref().map(program),
            paths: PathsRow {
                k3s_data: &cluster.paths.k3s_data,
                k3s_config: &cluster.paths.k3s_config,
                spool: &cluster.paths.spool,
            },
        }
    }
}

/// An inventory file of these clusters, with every key said. [`load`](fn@super::load) reads it back to the same clusters (but
/// for `defined_at`), wherever it is put: relative paths are made absolute. Groups are written by name alone.
///
/// # Errors
/// A path that is not UTF-8 cannot stand in TOML.
pub fn write(clusters: &[Cluster]) -> Result<String, toml::ser::Error> {
    let groups = clusters.iter().map(|cluster| cluster.group.as_str()).filter(|group| !group.is_empty());
    let mut jumps = BTreeMap::new();
    for host in clusters.iter().flat_map(|cluster| cluster.host.way()) {
        let row = JumpRow { host: HostRow::from(host), channels: host.channels };
        jumps.insert(host.name.as_str(), row);
    }
    toml::to_string(&Document {
        jumps,
        groups: groups.map(|group| (group, BTreeMap::new())).collect(),
        clusters: clusters.iter().map(|cluster| (cluster.name.as_str(), ClusterRow::from(cluster))).collect(),
    })
}

/// A program by its path; one that is looked for in `PATH` stays a name.
fn program(path: &Path) -> PathBuf {
    if path.components().count() == 1 { path.to_owned() } else { absolute(path) }
}

/// A path that means the same from every folder. Where this machine cannot tell its own folder, it stays as it is.
fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}
