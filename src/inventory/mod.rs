//! The clusters that a provider looks after: read from TOML, with defaults, groups and tags; and the selection of some.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

mod fault;
mod fields;
mod load;
mod page;
mod prompt;
mod rules;
mod secret;
mod select;
mod settings;
mod union;
mod write;

pub use fault::{Fault, InventoryError, Place};
pub use load::load;
pub use secret::{SecretError, SecretRef};
pub use select::{Selection, SelectionError};
pub use write::{ClusterRow, write};

/// How long connecting and logging in may take, each, where the inventory does not say.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(20);

/// Every cluster of an inventory, by name.
#[derive(Debug, Clone, Default)]
pub struct Inventory {
    /// The clusters, defaults and groups applied.
    pub clusters: BTreeMap<String, Cluster>,
    /// The groups, with what each says.
    pub groups: BTreeMap<String, Group>,
    /// The files it was read from, in order.
    pub files: Vec<PathBuf>,
}

/// A group of clusters.
#[derive(Debug, Clone, Default)]
pub struct Group {
    /// One line for people.
    pub about: String,
    /// Tags that every cluster of the group has.
    pub tags: BTreeSet<String>,
}

/// One cluster: a k3s node reached over SSH. Everything that defaults and groups say is filled in.
#[derive(Debug, Clone)]
pub struct Cluster {
    /// Its name: unique, and safe as a file name (letters, digits, `-`, `_`, `.`; begins with a letter or digit).
    pub name: String,
    /// Its group; empty where it has none.
    pub group: String,
    /// Its tags, those of its group among them.
    pub tags: BTreeSet<String>,
    /// Host name or IP address.
    pub address: String,
    /// SSH port.
    pub port: u16,
    /// SSH user. Facts section 2.3: root.
    pub user: String,
    /// Private key files, tried in order.
    pub identity: Vec<PathBuf>,
    /// Where the passphrase of an encrypted key comes from.
    pub passphrase: Option<SecretRef>,
    /// Whether the SSH agent's keys are offered too.
    pub agent: bool,
    /// The pinned host key, `ssh-ed25519 AAAA…`; then known_hosts is not asked.
    pub host_key: Option<String>,
    /// known_hosts files, in order.
    pub known_hosts: Vec<PathBuf>,
    /// The pinned UID of the namespace kube-system.
    pub cluster_uid: Option<String>,
    /// The cluster's main domain, where the operator wrote it down.
    pub domain: Option<String>,
    /// The cluster's folder in the Stackspin checkout (`clusters/<name>`) on this machine.
    pub directory: Option<PathBuf>,
    /// Paths on the host.
    pub paths: Paths,
    /// Deadline for connecting and for logging in, each.
    pub connect_timeout: Duration,
    /// Where it stands: `clusters.toml:12`, for messages.
    pub defined_at: String,
}

impl Cluster {
    /// A cluster of which only name and address are known: everything else is as an inventory that says no more has it. It knows no key
    /// and no known_hosts file; the agent is the only way in.
    #[must_use]
    pub fn new(name: impl Into<String>, address: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            group: String::new(),
            tags: BTreeSet::new(),
            address: address.into(),
            port: 22,
            user: "root".to_owned(),
            identity: Vec::new(),
            passphrase: None,
            agent: true,
            host_key: None,
            known_hosts: Vec::new(),
            cluster_uid: None,
            domain: None,
            directory: None,
            paths: Paths::default(),
            connect_timeout: CONNECT_TIMEOUT,
            defined_at: String::new(),
        }
    }

    /// `root@203.0.113.7:22`, for people.
    #[must_use]
    pub fn login(&self) -> String {
        let Self { user, address, port, .. } = self;
        if address.contains(':') {
            format!("{user}@[{address}]:{port}")
        } else {
            format!("{user}@{address}:{port}")
        }
    }
}

/// Paths on a host; the defaults are those of a real one (facts section 3.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Paths {
    /// k3s' data: `/var/lib/rancher/k3s`.
    pub k3s_data: String,
    /// k3s' configuration: `/etc/rancher/k3s`.
    pub k3s_config: String,
    /// `fleet`'s own folder: `/var/lib/fleet`.
    pub spool: String,
}

impl Default for Paths {
    fn default() -> Self {
        Self {
            k3s_data: "/var/lib/rancher/k3s".to_owned(),
            k3s_config: "/etc/rancher/k3s".to_owned(),
            spool: "/var/lib/fleet".to_owned(),
        }
    }
}
