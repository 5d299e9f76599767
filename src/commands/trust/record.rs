//! What may be written down, and where it was.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::standing::Word;
use super::{Candidate, Confirmed, Exit, Found, Met};
use crate::cli::TrustArgs;
use crate::facts::Facts;
use crate::facts::identity::{Pins, Unlike};
use crate::files;
use crate::inventory::{self, Cluster, Host, Inventory, Pinning, Whose, known_hosts_line};
use crate::remote::{RemoteError, printable};
use crate::ssh::ShownKey;

/// What became of one host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line {
    /// Its name in the inventory.
    pub(super) name: String,
    /// How it ended.
    pub(super) exit: Exit,
    /// In words.
    pub(super) said: String,
    /// What the host is known by: key and value.
    pub(super) found: Vec<(&'static str, String)>,
    /// Where to read on; empty where all is well.
    pub(super) read: &'static str,
}

impl Line {
    /// One whose key nobody believes.
    pub(super) fn refused(name: &str, why: String) -> Self {
        let read = "docs/ssh.md#trusting-hosts";
        Self { name: name.to_owned(), exit: Exit::Refused, said: why, found: Vec::new(), read }
    }

    fn failed(name: &str, why: String, read: &'static str) -> Self {
        Self { name: name.to_owned(), exit: Exit::Failed, said: why, found: Vec::new(), read }
    }
}

/// Keeps what is written down consistent: no key and no cluster belongs to two.
#[derive(Debug)]
pub(super) struct Ledger<'a> {
    inventory: &'a Inventory,
    args: &'a TrustArgs,
    /// Who has which key (`ssh-ed25519 AAAA…`), of clusters.
    keys: BTreeMap<String, BTreeSet<String>>,
    /// Who has which cluster UID, in small letters.
    uids: BTreeMap<String, String>,
}

impl<'a> Ledger<'a> {
    /// What the inventory pins now.
    pub(super) fn new(inventory: &'a Inventory, args: &'a TrustArgs) -> Self {
        let (mut keys, mut uids) = (BTreeMap::<String, BTreeSet<String>>::new(), BTreeMap::new());
        for cluster in inventory.clusters.values() {
            if let Some(key) = &cluster.host.host_key {
                keys.entry(key.clone()).or_default().insert(cluster.name.clone());
            }
            if let Some(uid) = &cluster.cluster_uid {
                uids.insert(uid.to_lowercase(), cluster.name.clone());
            }
        }
        Self { inventory, args, keys, uids }
    }

    /// Parts those whose key may be believed from those whose may not.
    pub(super) fn confirm(&mut self, met: Vec<Met>, word: &Word) -> (Vec<Confirmed>, Vec<Line>) {
        // A host that answers at two clusters' addresses would otherwise be taken for either by the word on one of them.
        for met in &met {
            if let (Ok(keys), Some(cluster)) = (&met.keys, &met.candidate.cluster) {
                for key in keys {
                    self.keys.entry(key.openssh.clone()).or_default().insert(cluster.name.clone());
                }
            }
        }
        let (mut confirmed, mut lines) = (Vec::new(), Vec::new());
        for Met { candidate, keys } in met {
            let host = &candidate.host;
            match keys {
                Err(error) => {
                    let why = printable(&error.to_string());
                    lines.push(match error {
                        RemoteError::HostKey(_) => Line::refused(&host.name, why),
                        _ => Line::failed(&host.name, why, "docs/ssh.md#errors-and-what-to-do"),
                    });
                }
                Ok(keys) if keys.is_empty() => {
                    let why = format!("{} shows no key of a kind that fleet takes", host.login());
                    lines.push(Line::failed(&host.name, why, "docs/ssh.md#errors-and-what-to-do"));
                }
                Ok(keys) => {
                    let key =
                        word.on(host, &candidate.on, &keys, self.args.replace).and_then(|key| match key {
                            Some(key) => self.own(&candidate, &keys).map(|()| Some(key.clone())),
                            None => Ok(None),
                        });
                    let named = word.names(&keys).is_some();
                    match key {
                        Ok(key) => confirmed.push(Confirmed { candidate, key, named }),
                        Err(why) => lines.push(Line::refused(&host.name, why)),
                    }
                }
            }
        }
        (confirmed, lines)
    }

    /// Whether the keys are this cluster's own; where another has one of them, what to do.
    fn own(&self, candidate: &Candidate, keys: &[ShownKey]) -> Result<(), String> {
        let Some(cluster) = &candidate.cluster else { return Ok(()) };
        for key in keys {
            let others = self.keys.get(&key.openssh).into_iter().flatten();
            if let Some(other) = others.into_iter().find(|other| **other != cluster.name) {
                return Err(format!(
                    "{} shows the key of cluster {other}: {} {}. Either both addresses lead to one host, or one was copied from the other \
                     with its keys. Correct the address, or give the copy keys of its own (`rm /etc/ssh/ssh_host_*; ssh-keygen -A`)",
                    cluster.login(),
                    key.algorithm,
                    key.fingerprint
                ));
            }
        }
        Ok(())
    }

    /// Writes down what may be written down of one host.
    pub(super) fn settle(&mut self, found: Found) -> Line {
        let Found { confirmed, facts } = found;
        let host = &confirmed.candidate.host;
        let who = match (&confirmed.candidate.cluster, facts) {
            (Some(_), Some(Err(error))) => {
                let why = format!(
                    "its key is right, but it could not be asked who it is, so nothing was written: {error}. --only-keys records the key alone"
                );
                return Line::failed(&host.name, printable(&why), "docs/ssh.md#errors-and-what-to-do");
            }
            (Some(cluster), Some(Ok(facts))) => {
                // What is written over needs the word on this very host.
                let replace = self.args.replace && confirmed.named;
                match self.compare(cluster, &facts, replace) {
                    Ok(who) => who,
                    Err(line) => return line,
                }
            }
            _ => Vec::new(),
        };
        match self.write(&confirmed, &who) {
            Ok(said) => Line { name: host.name.clone(), exit: Exit::Done, said, found: who, read: "" },
            Err(line) => line,
        }
    }

    /// What the host is known by, when it is not another than the inventory means.
    fn compare(
        &mut self,
        cluster: &Cluster,
        facts: &Facts,
        replace: bool,
    ) -> Result<Vec<(&'static str, String)>, Line> {
        let name = &cluster.name;
        let unknown = |why: &dyn std::fmt::Display| {
            let why =
                format!("its key is right, but it cannot tell who it is, so nothing was written: {why}");
            Line::failed(name, printable(&why), "docs/inventory.md#identity")
        };
        let identity = facts.identity.get().map_err(|why| unknown(why))?;
        let variables = facts.variables.get().map_err(|why| unknown(why))?;
        let unlike = Pins::from(cluster).unlike(facts);
        if !unlike.is_empty() && !replace {
            return Err(Line {
                read: "docs/inventory.md#identity",
                ..Line::refused(name, other(cluster, &unlike))
            });
        }
        let uid = identity.cluster_uid.to_lowercase();
        if let Some(twin) = self.uids.get(&uid).filter(|twin| *twin != name) {
            let why = format!(
                "{} is the cluster that the inventory calls {twin}: its cluster_uid is {}. Nothing was written; correct the address",
                cluster.login(),
                identity.cluster_uid
            );
            return Err(Line { read: "docs/inventory.md#identity", ..Line::refused(name, printable(&why)) });
        }
        self.uids.insert(uid, name.clone());
        let found = [
            ("machine_id", &identity.machine_id),
            ("cluster_uid", &identity.cluster_uid),
            ("domain", &variables.domain),
        ];
        Ok(found
            .into_iter()
            .filter(|(_, value)| !value.is_empty())
            .map(|(key, value)| (key, value.clone()))
            .collect())
    }

    /// Writes the key and who the host is; says where.
    fn write(&self, confirmed: &Confirmed, who: &[(&'static str, String)]) -> Result<String, Line> {
        let Confirmed { candidate, key, .. } = confirmed;
        let (host, mut keys, mut said) = (&candidate.host, who.to_vec(), Vec::new());
        if let Some(key) = key.as_ref().filter(|_| self.args.known_hosts.is_none()) {
            keys.insert(0, ("host_key", key.openssh.clone()));
        }
        let whose = if candidate.cluster.is_some() { Whose::Cluster } else { Whose::Jump };
        if !keys.is_empty() {
            let replace = self.args.replace && confirmed.named;
            let pinning = Pinning { whose, name: host.name.clone(), keys, replace };
            let (place, written) = inventory::pin(&self.inventory.files, &pinning)
                .map_err(|error| unwritten(host, &error.to_string()))?;
            if !written.is_empty() {
                said.push(format!("{} pinned in {place}", written.join(", ")));
            }
        }
        if let (Some(key), Some(file)) = (key, &self.args.known_hosts) {
            let shown = file.display();
            let added = files::append_line(file, &known_hosts_line(host, &key.openssh)).map_err(|error| {
                let before = said.first().map_or_else(String::new, |said| format!("{said}, but "));
                unwritten(host, &format!("{before}{shown} cannot be written: {error}"))
            })?;
            said.push(format!("its key {} {shown}", if added { "added to" } else { "was in" }));
            if !host.known_hosts.iter().any(|read| same_file(read, file)) {
                said.push(format!("fleet does not read {shown} for it: name the file in its `known_hosts`"));
            }
        }
        Ok(if said.is_empty() { "nothing new to record".to_owned() } else { said.join("; ") })
    }
}

fn unwritten(host: &Host, why: &str) -> Line {
    Line { exit: Exit::Internal, ..Line::failed(&host.name, printable(why), "docs/inventory.md#identity") }
}

fn same_file(one: &Path, other: &Path) -> bool {
    let real = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
    real(one) == real(other)
}

fn other(cluster: &Cluster, unlike: &[Unlike]) -> String {
    let pins: Vec<String> = unlike.iter().map(|unlike| format!("pins {unlike}")).collect();
    format!(
        "of {} the inventory ({}) {}. Nothing was written. Either the address is another cluster's, or the host or its cluster was made anew. \
         Only if you know that it was: fleet trust --on {} --replace --confirm SHA256:… with the fingerprint from the host's own console",
        cluster.login(),
        cluster.host.defined_at,
        pins.join("; it "),
        cluster.name
    )
}
