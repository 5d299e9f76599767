//! The clusters that a provider looks after: read from TOML, with defaults, groups and tags; and the selection of some.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

mod alias;
pub(crate) mod child;
mod fault;
mod fields;
pub mod import;
mod load;
mod page;
mod pin;
mod prompt;
mod rules;
mod secret;
mod select;
mod settings;
mod union;
mod write;

pub use fault::{Fault, InventoryError, Place};
pub use load::load;
pub use pin::{PinError, Pinning, Whose, known_hosts_line, pin};
pub use secret::{SecretError, SecretRef};
pub use select::{Selection, SelectionError};
pub use write::{ClusterRow, write};

/// How long connecting and logging in may take, each, where the inventory does not say.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(20);
/// For how long a lost connection is made again, where the inventory does not say.
const RECONNECT: Duration = Duration::from_secs(5 * 60);
/// Connections through one jump host at once, where the inventory does not say.
const CHANNELS: usize = 100;

/// Every cluster of an inventory, by name.
#[derive(Debug, Clone, Default)]
pub struct Inventory {
    /// The clusters, defaults and groups applied.
    pub clusters: BTreeMap<String, Cluster>,
    /// The groups, with what each says.
    pub groups: BTreeMap<String, Group>,
    /// The jump hosts.
    pub jumps: BTreeMap<String, Arc<Host>>,
    /// The files it was read from, in order.
    pub files: Vec<PathBuf>,
    /// What ssh_config says of its hosts and is not done, each with the place in the inventory. No faults.
    pub notes: Vec<String>,
}

/// A group of clusters.
#[derive(Debug, Clone, Default)]
pub struct Group {
    /// One line for people.
    pub about: String,
    /// Tags that every cluster of the group has.
    pub tags: BTreeSet<String>,
    /// How many of its clusters are worked on at once; no limit of its own where nothing is said.
    pub parallel: Option<usize>,
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
    /// Its SSH end.
    pub host: Host,
    /// The pinned `/etc/machine-id` of the host.
    pub machine_id: Option<String>,
    /// The pinned UID of the namespace kube-system.
    pub cluster_uid: Option<String>,
    /// The cluster's main domain, where the operator wrote it down.
    pub domain: Option<String>,
    /// The cluster's folder in the Stackspin checkout (`clusters/<name>`) on this machine.
    pub directory: Option<PathBuf>,
    /// The Stackspin checkout on this machine, whose releases' scripts are run (facts section 2.1).
    pub stackspin: Option<PathBuf>,
    /// The python that makes their virtual environments; `python3` of the `PATH` where none is named.
    pub python: Option<PathBuf>,
    /// Paths on the host.
    pub paths: Paths,
}

impl Cluster {
    /// A cluster of which only name and address are known: everything else is as an inventory that says no more has it. It knows no key
    /// and no known_hosts file; the agent is the only way in.
    #[must_use]
    pub fn new(name: impl Into<String>, address: impl Into<String>) -> Self {
        let name = name.into();
        Self {
            host: Host::new(name.clone(), address),
            name,
            group: String::new(),
            tags: BTreeSet::new(),
            machine_id: None,
            cluster_uid: None,
            domain: None,
            directory: None,
            stackspin: None,
            python: None,
            paths: Paths::default(),
        }
    }

    /// `root@203.0.113.7:22`, for people.
    #[must_use]
    pub fn login(&self) -> String {
        self.host.login()
    }
}

/// The SSH end of a cluster, or a jump host on the way to one: where it is, who it must be, how to log in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host {
    /// The cluster's name, or the jump host's.
    pub name: String,
    /// Host name or IP address.
    pub address: String,
    /// SSH port.
    pub port: u16,
    /// SSH user. Facts section 2.3: root.
    pub user: String,
    /// Private key files, tried in order.
    pub identity: Vec<PathBuf>,
    /// OpenSSH user certificates for those keys, beside each key's own `<key>-cert.pub`.
    pub certificates: Vec<PathBuf>,
    /// Where the passphrase of an encrypted key comes from.
    pub passphrase: Option<SecretRef>,
    /// Whether the SSH agent's keys are offered too.
    pub agent: bool,
    /// Where the user's password comes from, for hosts that want one (password, keyboard-interactive).
    pub password: Option<SecretRef>,
    /// How commands become root's.
    pub sudo: Sudo,
    /// The pinned host key, `ssh-ed25519 AAAA…`; then known_hosts is not asked.
    pub host_key: Option<String>,
    /// The name to look up in known_hosts in place of the address (`HostKeyAlias`).
    pub host_key_alias: Option<String>,
    /// known_hosts files, in order.
    pub known_hosts: Vec<PathBuf>,
    /// The host through which it is reached, if not directly. That one may have a jump host of its own.
    pub jump: Option<Arc<Host>>,
    /// Of a jump host: how many connections may go through it at once.
    pub channels: usize,
    /// Deadline for connecting and for logging in, each.
    pub connect_timeout: Duration,
    /// For how long a connection that was lost is tried to be made again before the host counts as lost.
    pub reconnect: Duration,
    /// Where it stands: `clusters.toml:12`, for messages.
    pub defined_at: String,
}

/// How commands become root's on a host.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Sudo {
    /// They are sent as they are: the user is root.
    #[default]
    Never,
    /// Through `sudo`, which asks for no password.
    Free,
    /// Through `sudo`, with the user's password from there. It goes to the host on standard input alone.
    Password(SecretRef),
}

impl Host {
    /// A host of which only name and address are known; see [`Cluster::new`].
    #[must_use]
    pub fn new(name: impl Into<String>, address: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            address: address.into(),
            port: 22,
            user: "root".to_owned(),
            identity: Vec::new(),
            certificates: Vec::new(),
            passphrase: None,
            agent: true,
            password: None,
            sudo: Sudo::Never,
            host_key: None,
            host_key_alias: None,
            known_hosts: Vec::new(),
            jump: None,
            channels: CHANNELS,
            connect_timeout: CONNECT_TIMEOUT,
            reconnect: RECONNECT,
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

    /// The jump hosts on the way, the nearest to the host first; none where it is reached directly.
    pub fn way(&self) -> impl Iterator<Item = &Self> {
        std::iter::successors(self.jump.as_deref(), |jump| jump.jump.as_deref())
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
