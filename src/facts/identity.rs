//! What makes this cluster itself and no other; what the inventory pins of that, and whether the two agree (promise M3).

use std::fmt;
use std::io;

use secrecy::zeroize::Zeroize as _;
use serde::{Deserialize, Serialize};

use super::frames::Frames;
use super::kubernetes::List;
use super::{Facts, Known, variables};
use crate::inventory::Cluster;
use crate::remote::{Command, Remote, RemoteError};

/// Host and cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// `/etc/machine-id`; empty where the host has none.
    pub machine_id: String,
    /// UID of the namespace kube-system: the cluster's.
    pub cluster_uid: String,
    /// Every namespace.
    pub namespaces: Vec<String>,
}

/// Asks for the machine's id.
#[must_use]
pub fn ask() -> Command {
    Command::new("cat /etc/machine-id 2>/dev/null || true")
}

/// Reads the machine's id and the namespaces.
pub fn read(machine_id: &str, objects: &List) -> Result<Identity, String> {
    let cluster_uid = objects
        .of("Namespace")
        .find(|namespace| namespace.metadata.name == "kube-system")
        .map(|namespace| namespace.metadata.uid.clone())
        .filter(|uid| !uid.is_empty())
        .ok_or("the cluster shows no namespace kube-system")?;
    let mut namespaces: Vec<String> =
        objects.of("Namespace").map(|namespace| namespace.metadata.name.clone()).collect();
    namespaces.sort();
    Ok(Identity { machine_id: machine_id.trim().to_owned(), cluster_uid, namespaces })
}

/// Asks a cluster who it is and nothing else, in one round trip: `identity` and `variables`, beside what the inventory pins.
pub async fn meet<R: Remote>(remote: &R, cluster: &Cluster) -> Result<Facts, RemoteError> {
    let frames = Frames::new()
        .ask("machine-id", &ask())
        .ask("namespaces", &Command::new("k3s kubectl get namespaces -o json").limit(16 << 20))
        .ask("variables", &variables::ask());
    let mut output = remote.ask(&frames.command(), &mut io::sink()).await?;
    let answers = frames.answers(&output);
    let objects = answers.get("namespaces").and_then(List::read);
    let facts = Facts {
        cluster: cluster.name.clone(),
        pins: Known::Is(Pins::from(cluster)),
        identity: objects.and_then(|objects| read(answers.get("machine-id")?, &objects)).into(),
        variables: answers.get("variables").and_then(variables::read).into(),
        ..Facts::default()
    };
    output.stdout.zeroize();
    Ok(facts)
}

/// Asks a host who it is, without its cluster, which may be what is to be mended.
pub async fn meet_host<R: Remote>(remote: &R) -> Result<Facts, RemoteError> {
    let frames = Frames::new().ask("machine-id", &ask());
    let output = remote.ask(&frames.command(), &mut io::sink()).await?;
    let identity = frames.answers(&output).get("machine-id").map(|machine_id| Identity {
        machine_id: machine_id.trim().to_owned(),
        cluster_uid: String::new(),
        namespaces: Vec::new(),
    });
    Ok(Facts { identity: identity.into(), ..Facts::default() })
}

/// What the inventory pins of a cluster. The host key among it was compared before anything was asked.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Pins {
    /// `ssh-ed25519 AAAA…`.
    pub host_key: Option<String>,
    /// `/etc/machine-id`.
    pub machine_id: Option<String>,
    /// The UID of the namespace kube-system.
    pub cluster_uid: Option<String>,
    /// The main domain.
    pub domain: Option<String>,
}

impl From<&Cluster> for Pins {
    fn from(cluster: &Cluster) -> Self {
        Self {
            host_key: cluster.host.host_key.clone(),
            machine_id: cluster.machine_id.clone(),
            cluster_uid: cluster.cluster_uid.clone(),
            domain: cluster.domain.clone(),
        }
    }
}

impl Pins {
    /// The keys of the inventory that could pin something and do not.
    #[must_use]
    pub fn open(&self) -> Vec<&'static str> {
        let all = [
            ("host_key", &self.host_key),
            ("machine_id", &self.machine_id),
            ("cluster_uid", &self.cluster_uid),
            ("domain", &self.domain),
        ];
        all.into_iter().filter(|(_, pinned)| pinned.is_none()).map(|(key, _)| key).collect()
    }

    /// Every pin that is not what was found. What could not be found out does not agree with a pin either.
    #[must_use]
    pub fn unlike(&self, facts: &Facts) -> Vec<Unlike> {
        let identity = facts.identity.get();
        let machine_id = identity.map(|identity| identity.machine_id.as_str());
        let cluster_uid = identity.map(|identity| identity.cluster_uid.as_str());
        let domain = facts.variables.get().map(|variables| variables.domain.trim_end_matches('.'));
        let pairs = [
            ("machine_id", &self.machine_id, machine_id),
            ("cluster_uid", &self.cluster_uid, cluster_uid),
            ("domain", &self.domain, domain),
        ];
        let unlike = |(key, pinned, found): (_, &Option<String>, Result<&str, _>)| {
            let pinned = pinned.clone()?;
            let found = match found {
                Ok(found) if found.eq_ignore_ascii_case(&pinned) => return None,
                Ok(found) => Ok(found.to_owned()),
                Err(why) => Err(format!("{why}")),
            };
            Some(Unlike { key, pinned, found })
        };
        pairs.into_iter().filter_map(unlike).collect()
    }
}

/// A pin that is not what was found. Shown as `machine_id 3d12…, but it is 9f0c…`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unlike {
    /// The key of the inventory.
    pub key: &'static str,
    /// What the inventory says.
    pub pinned: String,
    /// What was found, or why that cannot be told.
    pub found: Result<String, String>,
}

impl Unlike {
    /// Whether something else was found, rather than nothing.
    #[must_use]
    pub fn is_found(&self) -> bool {
        self.found.as_ref().is_ok_and(|found| !found.is_empty())
    }
}

impl fmt::Display for Unlike {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}, but ", self.key, self.pinned)?;
        match &self.found {
            Ok(found) if found.is_empty() => f.write_str("there is none"),
            Ok(found) => write!(f, "it is {}", crate::remote::printable(found)),
            Err(why) => write!(f, "it cannot be told: {why}"),
        }
    }
}
