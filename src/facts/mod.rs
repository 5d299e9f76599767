//! What is known of a cluster. A fact is a question (`ask`) and a pure reader (`read`); one file a fact.
//!
//! Facts of the cluster share the few questions of [`kubernetes`]; [`gather()`] puts all questions of a round trip into one command.
//! What each fact asks and keeps is told in `docs/facts.md`.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub mod certificates;
pub mod claims;
pub mod clock;
pub mod disks;
pub mod flux;
mod frames;
mod gather;
pub mod helm_2;
pub mod helm_left;
pub mod here;
pub mod identity;
pub mod installed;
pub mod k3s;
pub mod k3s_plans;
pub mod kubernetes;
pub mod login;
pub mod memory;
pub mod nightly;
pub mod nodes;
pub mod old_names;
pub mod os;
pub mod overrides;
pub mod packages;
pub mod pods;
pub mod reach;
pub mod renamed;
pub mod schedule;
pub mod scripts;
pub mod secrets;
pub mod timers;
pub mod tools;
pub mod upgrades;
pub mod variables;
pub mod volumes;
pub mod web;
pub mod windows;

pub use gather::gather;
pub use installed::{Installed, is_stackspin};

/// The version of the stored form of [`Facts`].
pub const SCHEMA: u32 = 1;

/// Everything asked of one cluster at one time. A fact that could not be learnt says why; it is never guessed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Facts {
    /// [`SCHEMA`] at the time of writing.
    pub schema: u32,
    /// The cluster's name in the inventory.
    pub cluster: String,
    /// When, by the provisioning machine's clock.
    pub gathered_at: Timestamp,
    /// SHA-256 fingerprint of the host key that the host showed.
    pub host_key: Known<String>,
    /// Operating system and kernel.
    pub os: Known<os::Os>,
    /// Clock and time zone.
    pub clock: Known<clock::Clock>,
    /// Filesystems that hold what matters.
    pub disks: Known<Vec<disks::Filesystem>>,
    /// Memory.
    pub memory: Known<memory::Memory>,
    /// Who is logged in and what they may do.
    pub login: Known<login::Login>,
    /// Programs that the steps need on the host.
    pub tools: Known<tools::Tools>,
    /// Package manager at work.
    pub packages: Known<packages::Packages>,
    /// The provisioning machine itself.
    pub here: Known<here::Here>,
    /// What the inventory pins of the cluster.
    pub pins: Known<identity::Pins>,
    /// k3s and its datastore.
    pub k3s: Known<k3s::K3s>,
    /// Nodes.
    pub nodes: Known<Vec<nodes::Node>>,
    /// What makes this cluster itself and no other.
    pub identity: Known<identity::Identity>,
    /// Flux: sources, kustomizations, Helm releases.
    pub flux: Known<flux::Flux>,
    /// Persistent volumes.
    pub volumes: Known<Vec<volumes::Volume>>,
    /// Claims to volumes.
    pub claims: Known<Vec<claims::Claim>>,
    /// Secrets, without their data.
    pub secrets: Known<Vec<secrets::Secret>>,
    /// The operator's own override objects.
    pub overrides: Known<Vec<crate::plan::Object>>,
    /// Releases of Helm 2, by its records.
    pub helm_2: Known<Vec<String>>,
    /// What Helm has left outside of the namespaces that the next rung removes; asked for on its version alone.
    pub helm_left: Known<Vec<crate::plan::Object>>,
    /// Nightly jobs of Flux and k3s.
    pub nightly: Known<Vec<nightly::Nightly>>,
    /// Timers of the host's service manager that start package upgrades.
    pub timers: Known<timers::Timers>,
    /// Pods.
    pub pods: Known<pods::Pods>,
    /// Upgrades under way.
    pub upgrades: Known<upgrades::Upgrades>,
    /// Cluster variables that upstream's installer would refuse.
    pub variables: Known<variables::Variables>,
    /// Certificates and when they end.
    pub certificates: Known<Vec<certificates::Certificate>>,
    /// What the host can reach on the network.
    pub reach: Known<Vec<reach::Reach>>,
    /// The applications' web pages, as the host sees them.
    pub web: Known<Vec<web::Page>>,
    /// What upstream's scripts need of this machine for the next rung.
    pub scripts: Known<scripts::Scripts>,
}

impl Default for Facts {
    /// Facts of which nothing was asked.
    fn default() -> Self {
        Self {
            schema: SCHEMA,
            cluster: String::new(),
            gathered_at: Timestamp::UNIX_EPOCH,
            host_key: Known::not_asked(),
            os: Known::not_asked(),
            clock: Known::not_asked(),
            disks: Known::not_asked(),
            memory: Known::not_asked(),
            login: Known::not_asked(),
            tools: Known::not_asked(),
            packages: Known::not_asked(),
            here: Known::not_asked(),
            pins: Known::not_asked(),
            k3s: Known::not_asked(),
            nodes: Known::not_asked(),
            identity: Known::not_asked(),
            flux: Known::not_asked(),
            volumes: Known::not_asked(),
            claims: Known::not_asked(),
            secrets: Known::not_asked(),
            overrides: Known::not_asked(),
            helm_2: Known::not_asked(),
            helm_left: Known::not_asked(),
            nightly: Known::not_asked(),
            timers: Known::not_asked(),
            pods: Known::not_asked(),
            upgrades: Known::not_asked(),
            variables: Known::not_asked(),
            certificates: Known::not_asked(),
            reach: Known::not_asked(),
            web: Known::not_asked(),
            scripts: Known::not_asked(),
        }
    }
}

/// A fact, or why it could not be learnt. Written as the fact itself, or as `{"unknown": "why"}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Known<T> {
    /// It could not be learnt.
    Not(Unknown),
    /// It is this.
    Is(T),
}

/// Why a fact is not known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Unknown {
    /// One sentence, safe to print.
    pub unknown: String,
}

impl fmt::Display for Unknown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.unknown)
    }
}

impl<T> Known<T> {
    /// Not known, for this reason.
    #[must_use]
    pub fn not(why: impl Into<String>) -> Self {
        Self::Not(Unknown { unknown: crate::remote::printable(&why.into()) })
    }

    /// Nobody asked yet.
    #[must_use]
    pub fn not_asked() -> Self {
        Self::not("not asked")
    }

    /// The fact, or why there is none.
    pub const fn get(&self) -> Result<&T, &Unknown> {
        match self {
            Self::Is(fact) => Ok(fact),
            Self::Not(why) => Err(why),
        }
    }
}
