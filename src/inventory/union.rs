//! The files of an inventory put together: layers applied, names single, references leading somewhere.

use std::collections::BTreeMap;
use std::path::Path;

use toml::Spanned;

use super::fault::{Fault, Page, meant};
use super::page::{Said, SaidCluster};
use super::settings::Settings;
use super::{Cluster, Group};

/// All files, and what is wrong with them.
pub(super) struct Union<'a> {
    /// Each file that is TOML, with what it says.
    pub(super) pages: &'a [(Page, Said)],
    /// Whether that is every file; otherwise what seems to be missing may stand in one that could not be read.
    pub(super) whole_read: bool,
    /// The faults so far.
    pub(super) faults: Vec<Fault>,
}

/// What was met, and where first.
type Seen = BTreeMap<String, String>;

/// The groups, by name, with the layer of each.
type Groups<'a> = BTreeMap<&'a str, (&'a Group, &'a Settings)>;

impl<'a> Union<'a> {
    /// The clusters and the groups, by name.
    pub(super) fn join(
        &mut self,
        home: Option<&Path>,
    ) -> (BTreeMap<String, Cluster>, BTreeMap<String, Group>) {
        let defaults = self.defaults();
        let (groups, group_names) = self.groups();
        let (mut names, mut places, mut uids) = (Seen::new(), Seen::new(), Seen::new());
        let mut clusters = BTreeMap::new();
        let said =
            self.pages.iter().flat_map(|(page, said)| said.clusters.iter().map(move |one| (page, one)));
        for (page, said) in said {
            let (name, at) = (said.name.get_ref(), &said.name.span());
            if let Some(first) = group_names.get(&name.to_lowercase()) {
                let what = format!("cluster `{name}` has the name of the group at {first}");
                self.fault(page, at, what, "`--on` could not tell them apart: rename one");
            }
            if let Some(first) = met(&mut names, name.to_lowercase(), || page.spot(at)) {
                let what = format!("a second cluster `{name}`: the first stands at {first}");
                self.fault(page, at, what, "names are single, whatever their capitals: rename one");
            }
            let group = self.group_of(page, said, &groups);
            let below = group.map_or_else(|| defaults.clone(), |(_, settings)| settings.over(&defaults));
            let settings = said.settings.over(&below);
            let this = || format!("{name} at {}", page.spot(at));
            if let Some(address) = &said.address {
                let place = format!("{} port {}", address.get_ref(), settings.port.unwrap_or(22));
                if let Some(first) = met(&mut places, place.clone(), this) {
                    let what = format!("cluster {name} has the address of cluster {first}: {place}");
                    self.fault(page, &address.span(), what, "the same host would be upgraded twice at once");
                }
            }
            if let Some(uid) = &said.cluster_uid
                && let Some(first) = met(&mut uids, uid.get_ref().to_lowercase(), this)
            {
                let what = format!("cluster {name} has the cluster_uid of cluster {first}");
                self.fault(page, &uid.span(), what, "every cluster has its own: one of the two was copied");
            }
            let cluster = finish(page, said, settings, home);
            if let Some(inside) = overlap(&cluster) {
                let what = format!("cluster {name}: {inside} lie inside of each other");
                self.fault(page, at, what, "`paths` needs a spool of its own, such as /var/lib/fleet");
            }
            clusters.insert(name.clone(), cluster);
        }
        let groups = groups.into_iter().map(|(name, (group, _))| (name.to_owned(), group.clone()));
        (clusters, groups.collect())
    }

    fn fault(&mut self, page: &Page, at: &std::ops::Range<usize>, what: String, help: &str) {
        self.faults.push(page.fault(at, what, Some(help.to_owned())));
    }

    fn defaults(&mut self) -> Settings {
        let mut found: Option<(String, &Settings)> = None;
        for (page, said) in self.pages {
            let Some((span, settings)) = &said.defaults else { continue };
            match &found {
                Some((first, _)) => {
                    let what = format!("a second [defaults]: the first stands at {first}");
                    self.fault(page, span, what, "an inventory has one: join them");
                }
                None => found = Some((page.spot(span), settings)),
            }
        }
        found.map(|(_, settings)| settings.clone()).unwrap_or_default()
    }

    fn groups(&mut self) -> (Groups<'a>, Seen) {
        let (mut groups, mut names) = (Groups::new(), Seen::new());
        let said = self.pages.iter().flat_map(|(page, said)| said.groups.iter().map(move |one| (page, one)));
        for (page, said) in said {
            let (name, at) = (said.name.get_ref(), &said.name.span());
            if let Some(first) = met(&mut names, name.to_lowercase(), || page.spot(at)) {
                let what = format!("a second group `{name}`: the first stands at {first}");
                self.fault(page, at, what, "names are single, whatever their capitals: rename one");
            }
            groups.entry(name).or_insert((&said.group, &said.settings));
        }
        (groups, names)
    }

    fn group_of(
        &mut self,
        page: &Page,
        cluster: &SaidCluster,
        groups: &Groups<'a>,
    ) -> Option<(&'a Group, &'a Settings)> {
        let group = cluster.group.as_ref()?;
        let name = group.get_ref();
        let found = groups.get(name.as_str()).copied();
        if found.is_none() && self.whole_read {
            let known: Vec<&str> = groups.keys().copied().collect();
            let help = match meant(name, known.iter().copied()) {
                Some(near) => format!("did you mean `{near}`?"),
                None if known.is_empty() => format!("there is no group yet: write [groups.{name}]"),
                None => format!("write [groups.{name}], or take one of: {}", known.join(", ")),
            };
            let what = format!("unknown group `{name}` of cluster {}", cluster.name.get_ref());
            self.fault(page, &group.span(), what, &help);
        }
        found
    }
}

/// Where a value was met before; where it was not, notes that it is met now.
fn met(seen: &mut Seen, value: String, here: impl FnOnce() -> String) -> Option<String> {
    let first = seen.get(&value).cloned();
    if first.is_none() {
        seen.insert(value, here());
    }
    first
}

/// `fleet`'s own folder on the host and one of k3s', where they lie inside of each other: the backup would copy itself.
fn overlap(cluster: &Cluster) -> Option<String> {
    let spool = Path::new(&cluster.paths.spool);
    [&cluster.paths.k3s_data, &cluster.paths.k3s_config]
        .into_iter()
        .find(|other| spool.starts_with(other) || Path::new(other).starts_with(spool))
        .map(|other| format!("the spool {} and {other}", spool.display()))
}

/// A cluster with everything filled in.
fn finish(page: &Page, said: &SaidCluster, settings: Settings, home: Option<&Path>) -> Cluster {
    let paths = settings.paths();
    let identity = settings.identity.unwrap_or_default();
    let text = |value: &Option<Spanned<String>>| value.as_ref().map(|value| value.get_ref().clone());
    let usual = Cluster::new(said.name.get_ref(), text(&said.address).unwrap_or_default());
    Cluster {
        group: text(&said.group).unwrap_or_default(),
        tags: settings.tags,
        port: settings.port.unwrap_or(usual.port),
        user: settings.user.unwrap_or(usual.user),
        // Without a key file the agent is the only way in; with one it is asked only where the inventory says so.
        agent: settings.agent.unwrap_or(identity.is_empty()),
        identity,
        passphrase: settings.passphrase,
        host_key: said.host_key.clone(),
        known_hosts: settings
            .known_hosts
            .unwrap_or_else(|| home.map(|home| home.join(".ssh/known_hosts")).into_iter().collect()),
        cluster_uid: text(&said.cluster_uid),
        domain: said.domain.clone(),
        directory: said.directory.clone(),
        paths,
        connect_timeout: settings.connect_timeout.unwrap_or(usual.connect_timeout),
        defined_at: page.spot(&said.name.span()),
        name: usual.name,
        address: usual.address,
    }
}
