//! Reading an inventory: the door.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use toml::Spanned;

use super::fault::{Fault, InventoryError, Page, meant, whole};
use super::page::{self, Said, SaidCluster};
use super::settings::Settings;
use super::{Cluster, Group, Inventory};

/// Deadline for connecting, and for logging in, where the inventory says nothing.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(20);

/// Reads an inventory file, or every `*.toml` of a folder in order of name as one inventory.
///
/// All faults of all files are told at once; a file that is no TOML is one fault.
pub fn load(path: &Path) -> Result<Inventory, InventoryError> {
    let home = std::env::var_os("HOME").filter(|home| !home.is_empty()).map(PathBuf::from);
    let files = files(path).map_err(|fault| InventoryError::new(vec![*fault]))?;
    let mut faults = Vec::new();
    let mut pages = Vec::new();
    let mut whole_read = true;
    for (number, file) in files.iter().enumerate() {
        let page = page::open(number, file, home.as_deref()).map_err(|fault| faults.push(*fault));
        let said =
            page.and_then(|mut page| page::read(&mut page, &mut faults).map(|said| (page, said)).ok_or(()));
        match said {
            Ok(said) => pages.push(said),
            Err(()) => whole_read = false,
        }
    }
    let mut union = Union { pages: &pages, whole_read, faults };
    let inventory = union.inventory(path, files, home.as_deref());
    if union.faults.is_empty() { Ok(inventory) } else { Err(InventoryError::new(union.faults)) }
}

/// The files of an inventory. Hidden files are none: editors leave theirs behind.
fn files(path: &Path) -> Result<Vec<PathBuf>, Box<Fault>> {
    let unreadable = |error: std::io::Error| {
        let help = "--inventory PATH names the inventory; inventory-example/ is one to begin with";
        let missing = error.kind() == std::io::ErrorKind::NotFound;
        let what = if missing {
            "there is no such file or folder".to_owned()
        } else {
            format!("cannot be read: {error}")
        };
        Box::new(whole(0, path, what, Some(help)))
    };
    if !path.metadata().map_err(unreadable)?.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut files = Vec::new();
    for entry in path.read_dir().map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        let name = entry.file_name();
        let hidden = name.as_encoded_bytes().starts_with(b".");
        let file = entry.path();
        if !hidden && file.extension().is_some_and(|end| end == "toml") && !file.is_dir() {
            files.push(file);
        }
    }
    files.sort();
    if files.is_empty() {
        let help = "inventory-example/ is one to begin with";
        return Err(Box::new(whole(0, path, "there is no *.toml in this folder", Some(help))));
    }
    Ok(files)
}

/// All pages together, where names must be single and references must lead somewhere.
struct Union<'a> {
    pages: &'a [(Page, Said)],
    /// Whether every file could be read; otherwise what is missing may stand in one that could not.
    whole_read: bool,
    faults: Vec<Fault>,
}

/// Where a thing was met first.
type Seen<'a> = BTreeMap<String, (&'a str, String)>;

impl<'a> Union<'a> {
    fn inventory(&mut self, path: &Path, files: Vec<PathBuf>, home: Option<&Path>) -> Inventory {
        let defaults = self.defaults();
        let (groups, mut names) = self.groups();
        let mut inventory = Inventory { files, ..Inventory::default() };
        let mut places = Seen::new();
        let mut uids = Seen::new();
        let clusters =
            self.pages.iter().flat_map(|(page, all)| all.clusters.iter().map(move |one| (page, one)));
        for (page, said) in clusters {
            self.single(
                &mut names,
                page,
                "cluster",
                &said.name,
                &said.name.get_ref().to_lowercase(),
                &said.name,
            );
            let group = self.group_of(page, said, &groups);
            let below = group.map_or_else(|| defaults.clone(), |(_, settings)| settings.over(&defaults));
            let settings = said.settings.over(&below);
            if let Some(address) = &said.address {
                let place = format!("{} port {}", address.get_ref(), settings.port.unwrap_or(22));
                self.single(&mut places, page, "address", &said.name, &place, address);
            }
            if let Some(uid) = &said.cluster_uid {
                self.single(&mut uids, page, "cluster_uid", &said.name, &uid.get_ref().to_lowercase(), uid);
            }
            let cluster = finish(page, said, settings, home);
            self.disjoint(page, &said.name, &cluster);
            inventory.clusters.insert(cluster.name.clone(), cluster);
        }
        if inventory.clusters.is_empty() && self.faults.is_empty() {
            let help = "a cluster is [clusters.NAME] with an address; inventory-example/ is an inventory to begin with";
            self.faults.push(whole(0, path, "there is no cluster in this inventory", Some(help)));
        }
        inventory.groups =
            groups.into_iter().map(|(name, (group, _))| (name.to_owned(), group.clone())).collect();
        inventory
    }

    fn defaults(&mut self) -> Settings {
        let mut found: Option<(String, &Settings)> = None;
        for (page, said) in self.pages {
            let Some((span, settings)) = &said.defaults else { continue };
            match &found {
                Some((first, _)) => {
                    let what = format!("a second [defaults]: the first stands at {first}");
                    self.faults.push(page.fault(
                        span,
                        what,
                        Some("an inventory has one: join them".to_owned()),
                    ));
                }
                None => found = Some((page.spot(span), settings)),
            }
        }
        found.map(|(_, settings)| settings.clone()).unwrap_or_default()
    }

    fn groups(&mut self) -> (BTreeMap<&'a str, (&'a Group, &'a Settings)>, Seen<'a>) {
        let (mut groups, mut names) = (BTreeMap::new(), Seen::new());
        for (page, group) in
            self.pages.iter().flat_map(|(page, said)| said.groups.iter().map(move |one| (page, one)))
        {
            let name = &group.name;
            self.single(&mut names, page, "group", name, &name.get_ref().to_lowercase(), name);
            groups.entry(name.get_ref().as_str()).or_insert((&group.group, &group.settings));
        }
        (groups, names)
    }

    fn group_of<T: Copy>(
        &mut self,
        page: &Page,
        cluster: &SaidCluster,
        groups: &BTreeMap<&str, T>,
    ) -> Option<T> {
        let group = cluster.group.as_ref()?;
        let found = groups.get(group.get_ref().as_str()).copied();
        if found.is_none() && self.whole_read {
            let help = meant(group.get_ref(), groups.keys().copied()).map_or_else(
                || format!("write [groups.{}], or take one of: {}", group.get_ref(), list(groups.keys())),
                |near| format!("did you mean `{near}`?"),
            );
            let what = format!("unknown group `{}` of cluster {}", group.get_ref(), cluster.name.get_ref());
            self.faults.push(page.fault(&group.span(), what, Some(help)));
        }
        found
    }

    /// Keeps a fault where a value that must be single was seen before.
    fn single(
        &mut self,
        seen: &mut Seen<'a>,
        page: &Page,
        kind: &'static str,
        owner: &Spanned<String>,
        value: &str,
        at: &Spanned<String>,
    ) {
        let spot = page.spot(&at.span());
        let Some((first_kind, first)) = seen.get(value) else {
            let told = if matches!(kind, "cluster" | "group") {
                spot
            } else {
                format!("{} at {spot}", owner.get_ref())
            };
            seen.insert(value.to_owned(), (kind, told));
            return;
        };
        let (what, help) = match kind {
            "cluster" | "group" if *first_kind == kind => (
                format!("a second {kind} `{}`: the first stands at {first}", owner.get_ref()),
                "names are single, whatever their capitals: one of the two must change",
            ),
            "cluster" => (
                format!("cluster `{}` has the name of the group at {first}", owner.get_ref()),
                "`--on` could not tell them apart: rename one",
            ),
            "address" => (
                format!("cluster {} has the address of cluster {first}: {value}", owner.get_ref()),
                "the same host would be upgraded twice at once",
            ),
            _ => (
                format!("cluster {} has the cluster_uid of cluster {first}", owner.get_ref()),
                "every cluster has its own: one of the two was copied",
            ),
        };
        self.faults.push(page.fault(&at.span(), what, Some(help.to_owned())));
    }

    /// Keeps a fault where `fleet`'s own folder on the host and those of k3s lie inside of each other: the backup would
    /// copy itself.
    fn disjoint(&mut self, page: &Page, at: &Spanned<String>, cluster: &Cluster) {
        let spool = Path::new(&cluster.paths.spool);
        for other in [&cluster.paths.k3s_data, &cluster.paths.k3s_config] {
            if spool.starts_with(other) || Path::new(other).starts_with(spool) {
                let (name, spool) = (&cluster.name, spool.display());
                let what = format!("cluster {name}: the spool {spool} and {other} lie inside of each other");
                let help = "`paths` needs a spool of its own, such as /var/lib/fleet";
                self.faults.push(page.fault(&at.span(), what, Some(help.to_owned())));
            }
        }
    }
}

/// A cluster with everything filled in.
fn finish(page: &Page, said: &SaidCluster, settings: Settings, home: Option<&Path>) -> Cluster {
    let paths = settings.paths();
    let identity = settings.identity.unwrap_or_default();
    let text = |value: &Option<Spanned<String>>| value.as_ref().map(|value| value.get_ref().clone());
    Cluster {
        name: said.name.get_ref().clone(),
        group: text(&said.group).unwrap_or_default(),
        tags: settings.tags,
        address: text(&said.address).unwrap_or_default(),
        port: settings.port.unwrap_or(22),
        user: settings.user.unwrap_or_else(|| "root".to_owned()),
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
        connect_timeout: settings.connect_timeout.unwrap_or(CONNECT_TIMEOUT),
        defined_at: page.spot(&said.name.span()),
    }
}

fn list<'n>(names: impl Iterator<Item = &'n &'n str>) -> String {
    let names: Vec<&str> = names.copied().collect();
    if names.is_empty() { "there is none yet".to_owned() } else { names.join(", ") }
}
