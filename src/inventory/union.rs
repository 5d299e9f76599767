//! The files of an inventory put together: layers applied, names single, references leading somewhere.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use toml::Spanned;

use super::alias::{Aliases, Answer};
use super::fault::{Fault, Page};
use super::page::{Said, SaidCluster, SaidJump, SaidPlace};
use super::settings::{DIRECT, Settings};
use super::{Cluster, Group, Host, Inventory};
use crate::form::meant;
use crate::remote::printable;

/// All files, and what is wrong with them.
pub(super) struct Union<'a> {
    /// Each file that is TOML, with what it says.
    pub(super) pages: &'a [(Page, Said)],
    /// Whether that is every file; otherwise what seems to be missing may stand in one that could not be read.
    pub(super) whole_read: bool,
    /// The faults so far.
    pub(super) faults: Vec<Fault>,
    /// What ssh_config says.
    pub(super) aliases: Aliases,
    /// What ssh_config says and is not done.
    pub(super) notes: Vec<String>,
}

/// What was met, and where first.
type Seen = BTreeMap<String, String>;

/// The jump hosts, by name.
type Jumps = BTreeMap<String, Arc<Host>>;

/// The groups, by name, with the layer of each.
type Groups<'a> = BTreeMap<&'a str, (&'a Group, &'a Settings)>;

impl<'a> Union<'a> {
    /// The clusters, groups and jump hosts, by name.
    pub(super) fn join(&mut self, home: Option<&Path>) -> Inventory {
        let defaults = self.defaults();
        let jumps = self.jumps(home);
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
            let known = self.alias_of(page, &said.place);
            let settings = said.settings.over(&below).over(&known.settings());
            let jump = self.way_to(page, &said.place, settings.jump.as_ref(), &jumps);
            let this = || format!("{name} at {}", page.spot(at));
            if let Some((address, span)) = address(&said.place, &known) {
                // One address behind two jump hosts is often two hosts: every customer's network may have its 10.0.0.7.
                let way = jump.as_ref().map_or_else(String::new, |jump| format!(" by way of {}", jump.name));
                let place = format!("{address} port {}{way}", settings.port.unwrap_or(22));
                if let Some(first) = met(&mut places, place.clone(), this) {
                    let what = format!("cluster {name} has the address of cluster {first}: {place}");
                    self.fault(page, &span, what, "the same host would be upgraded twice at once");
                }
            }
            if let Some(uid) = &said.cluster_uid
                && let Some(first) = met(&mut uids, uid.get_ref().to_lowercase(), this)
            {
                let what = format!("cluster {name} has the cluster_uid of cluster {first}");
                self.fault(page, &uid.span(), what, "every cluster has its own: one of the two was copied");
            }
            let host = host(page, &said.name, &said.place, settings.clone(), jump, home, &known);
            let cluster = finish(said, settings, host);
            if let Some(inside) = overlap(&cluster) {
                let what = format!("cluster {name}: {inside} lie inside of each other");
                self.fault(page, at, what, "`paths` needs a spool of its own, such as /var/lib/fleet");
            }
            clusters.insert(name.clone(), cluster);
        }
        let groups = groups.into_iter().map(|(name, (group, _))| (name.to_owned(), group.clone()));
        let jumps = jumps.into_iter().chain(self.aliases.made()).collect();
        let notes = std::mem::take(&mut self.notes);
        Inventory { clusters, groups: groups.collect(), jumps, files: Vec::new(), notes }
    }

    /// The jump hosts. One that is reached through another is made after that one; what is left in the end goes in a circle.
    fn jumps(&mut self, home: Option<&Path>) -> Jumps {
        let mut names = Seen::new();
        let mut open: BTreeMap<&str, (&Page, &SaidJump)> = BTreeMap::new();
        for (page, said) in
            self.pages.iter().flat_map(|(page, said)| said.jumps.iter().map(move |one| (page, one)))
        {
            let (name, at) = (said.name.get_ref(), &said.name.span());
            if let Some(first) = met(&mut names, name.to_lowercase(), || page.spot(at)) {
                let what = format!("a second jump host `{name}`: the first stands at {first}");
                self.fault(page, at, what, "names are single, whatever their capitals: rename one");
            }
            open.insert(name, (page, said));
        }
        let all: BTreeSet<&str> = open.keys().copied().collect();
        let mut jumps = Jumps::new();
        while !open.is_empty() {
            let ready =
                |said: &SaidJump| match said.settings.jump.as_ref().map(|jump| jump.get_ref().as_str()) {
                    Some(other) => !all.contains(other) || jumps.contains_key(other),
                    None => true,
                };
            let (now, later): (BTreeMap<_, _>, BTreeMap<_, _>) =
                open.into_iter().partition(|(_, (_, said))| ready(said));
            if now.is_empty() {
                for (name, (page, said)) in later {
                    let what = format!("jump host {name} is reached through itself, by way of others");
                    self.fault(page, &said.name.span(), what, "one of them must be reached directly");
                }
                break;
            }
            let made: Vec<Host> = now
                .into_values()
                .map(|(page, said)| {
                    let jump = self.way_to(page, &said.place, said.settings.jump.as_ref(), &jumps);
                    let known = self.alias_of(page, &said.place);
                    let settings = said.settings.over(&known.settings());
                    let host = host(page, &said.name, &said.place, settings, jump, home, &known);
                    Host { channels: said.channels.unwrap_or(host.channels), ..host }
                })
                .collect();
            jumps.extend(made.into_iter().map(|host| (host.name.clone(), Arc::new(host))));
            open = later;
        }
        jumps
    }

    fn jump_of(&mut self, page: &Page, said: Option<&Spanned<String>>, jumps: &Jumps) -> Option<Arc<Host>> {
        let said = said.filter(|said| said.get_ref() != DIRECT)?;
        let name = said.get_ref();
        let found = jumps.get(name).cloned();
        if found.is_none() && self.whole_read {
            let help = match meant(name, jumps.keys().map(String::as_str)) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("write [jumps.{name}] with its address"),
            };
            self.fault(page, &said.span(), format!("unknown jump host `{name}`"), &help);
        }
        found
    }

    /// The jump host: the inventory's word, or else ssh_config's.
    fn way_to(
        &mut self,
        page: &Page,
        place: &SaidPlace,
        said: Option<&Spanned<String>>,
        jumps: &Jumps,
    ) -> Option<Arc<Host>> {
        match (said, &place.ssh_alias) {
            (None, Some(alias)) => match self.aliases.jump(alias.get_ref()) {
                Ok(jump) => jump,
                // Where nothing is known of the host itself, that has been told.
                Err(why) if self.aliases.of(alias.get_ref()).is_ok() => {
                    let what = format!("ssh_alias `{}`: {why}", alias.get_ref());
                    self.fault(
                        page,
                        &alias.span(),
                        what,
                        "`jump` says the way here; jump = \"none\" is the direct one",
                    );
                    None
                }
                Err(_) => None,
            },
            _ => self.jump_of(page, said, jumps),
        }
    }

    /// What ssh_config says of a host; nothing where it has no alias, or a fault.
    fn alias_of(&mut self, page: &Page, place: &SaidPlace) -> Answer {
        let Some(alias) = &place.ssh_alias else { return Answer::default() };
        match self.aliases.of(alias.get_ref()).cloned() {
            Ok(answer) => {
                let at = page.spot(&alias.span());
                self.notes.extend(answer.notes.iter().map(|note| printable(&format!("{at}: {note}"))));
                answer
            }
            Err(why) => {
                let what = format!("ssh_alias `{}`: {why}", alias.get_ref());
                let help = "it needs `ssh` (Debian's openssh-client) and what ssh_config says of it; `address` needs neither";
                self.fault(page, &alias.span(), what, help);
                Answer::default()
            }
        }
    }

    fn fault(&mut self, page: &Page, at: &Range<usize>, what: String, help: &str) {
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

/// Where a host is, and where that is said: its `address`, or what ssh_config has for its alias.
fn address(place: &SaidPlace, known: &Answer) -> Option<(String, Range<usize>)> {
    let own = place.address.as_ref().map(|address| (address.get_ref().clone(), address.span()));
    let alias = || place.ssh_alias.as_ref().map(|alias| (known.address.clone(), alias.span()));
    own.or_else(alias).filter(|(address, _)| !address.is_empty())
}

/// A cluster with everything filled in.
fn finish(said: &SaidCluster, settings: Settings, host: Host) -> Cluster {
    let text = |value: &Option<Spanned<String>>| value.as_ref().map(|value| value.get_ref().clone());
    Cluster {
        name: said.name.get_ref().clone(),
        group: text(&said.group).unwrap_or_default(),
        paths: settings.paths(),
        tags: settings.tags,
        machine_id: said.machine_id.clone(),
        cluster_uid: text(&said.cluster_uid),
        domain: said.domain.clone(),
        directory: said.directory.clone(),
        stackspin: settings.stackspin,
        python: settings.python,
        host,
    }
}

/// A host with everything filled in.
fn host(
    page: &Page,
    name: &Spanned<String>,
    place: &SaidPlace,
    settings: Settings,
    jump: Option<Arc<Host>>,
    home: Option<&Path>,
    known: &Answer,
) -> Host {
    let address = address(place, known).map(|(address, _)| address).unwrap_or_default();
    let alias = place.ssh_alias.as_ref().map(|alias| format!(", ssh_config Host {}", alias.get_ref()));
    let usual = Host::new(name.get_ref(), address);
    let identity = settings.identity.unwrap_or_default();
    Host {
        port: settings.port.unwrap_or(usual.port),
        user: settings.user.unwrap_or(usual.user),
        // Without a key file or a password the agent is the only way in; otherwise it is asked only where the inventory says so.
        agent: settings.agent.unwrap_or(identity.is_empty() && settings.password.is_none()),
        identity,
        certificates: settings.certificates.unwrap_or_default(),
        passphrase: settings.passphrase,
        password: settings.password,
        sudo: settings.sudo.unwrap_or(usual.sudo),
        host_key: place.host_key.clone(),
        host_key_alias: place.host_key_alias.clone().or_else(|| known.host_key_alias.clone()),
        known_hosts: settings
            .known_hosts
            .unwrap_or_else(|| home.map(|home| home.join(".ssh/known_hosts")).into_iter().collect()),
        jump,
        connect_timeout: settings.connect_timeout.unwrap_or(usual.connect_timeout),
        reconnect: settings.reconnect.unwrap_or(usual.reconnect),
        defined_at: page.spot(&name.span()) + &alias.unwrap_or_default(),
        name: usual.name,
        address: usual.address,
        channels: usual.channels,
    }
}
