//! An Ansible inventory as data: hosts, groups, what each says; and which variable holds for a host in the end.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::ansible_pattern::{self, MOST};
use super::value::{Value, yaml};
use super::{Asked, Draft, Found, ImportError, Notes, connection, is_vault};

/// The group of every host.
const EVERY: &str = "all";

/// The group of the hosts that have none.
const NONE: &str = "ungrouped";

/// Variables by name, each with its place.
pub(super) type Vars = BTreeMap<String, Var>;

/// A variable's value, and where it is said.
#[derive(Debug, Clone)]
pub(super) struct Var {
    pub(super) value: Value,
    pub(super) place: String,
}

/// One group.
#[derive(Debug, Default)]
pub(super) struct Group {
    hosts: BTreeSet<String>,
    children: BTreeSet<String>,
    vars: Vars,
    priority: i64,
}

/// One host.
#[derive(Debug, Default)]
struct Host {
    vars: Vars,
    place: String,
}

/// A whole inventory.
#[derive(Debug)]
pub(super) struct Tree {
    groups: BTreeMap<String, Group>,
    hosts: BTreeMap<String, Host>,
    /// Hosts in the order in which they were met.
    order: Vec<String>,
}

impl Default for Tree {
    fn default() -> Self {
        let groups = [EVERY, NONE].map(|name| (name.to_owned(), Group { priority: 1, ..Group::default() }));
        Self { groups: groups.into(), hosts: BTreeMap::new(), order: Vec::new() }
    }
}

impl Tree {
    /// Whether a group is there.
    pub(super) fn has(&self, group: &str) -> bool {
        self.groups.contains_key(group)
    }

    /// A group, made where it is not there.
    pub(super) fn group(&mut self, name: &str) -> &mut Group {
        self.groups.entry(name.to_owned()).or_insert_with(|| Group { priority: 1, ..Group::default() })
    }

    /// Puts a group into another.
    pub(super) fn child(&mut self, parent: &str, child: &str) {
        self.group(child);
        self.group(parent).children.insert(child.to_owned());
    }

    /// Says a variable of a group.
    pub(super) fn group_var(&mut self, group: &str, name: &str, var: Var) -> Result<(), String> {
        if name == "ansible_group_priority" {
            let number = var.value.text().and_then(|text| text.trim().parse().ok());
            self.group(group).priority = number.ok_or("ansible_group_priority is no whole number")?;
            return Ok(());
        }
        self.group(group).vars.insert(name.to_owned(), var);
        Ok(())
    }

    /// Puts the hosts of a pattern (`www[01:50].example.org:2222`) into a group, with what is said of them.
    pub(super) fn hosts(
        &mut self,
        pattern: &str,
        group: &str,
        vars: &Vars,
        place: &str,
    ) -> Result<(), String> {
        let (names, port) = ansible_pattern::read(pattern)?;
        names.into_iter().try_for_each(|name| self.host(&name, group, port, vars, place))
    }

    /// Puts one host into a group, with what is said of it.
    pub(super) fn host(
        &mut self,
        name: &str,
        group: &str,
        port: Option<u16>,
        vars: &Vars,
        place: &str,
    ) -> Result<(), String> {
        if !self.hosts.contains_key(name) {
            if self.order.len() == MOST {
                return Err(format!("there are more than {MOST} hosts"));
            }
            self.order.push(name.to_owned());
            // The port of a pattern counts where the host is met first.
            let port = port.map(|port| {
                let var = Var { value: Value::Number(port.to_string()), place: place.to_owned() };
                ("ansible_port".to_owned(), var)
            });
            let host = Host { vars: port.into_iter().collect(), place: place.to_owned() };
            self.hosts.insert(name.to_owned(), host);
        }
        if let Some(host) = self.hosts.get_mut(name) {
            host.vars.extend(vars.clone());
        }
        self.group(group).hosts.insert(name.to_owned());
        Ok(())
    }

    /// How deep each group stands below `all`: as many steps as the longest way there has.
    fn depths(&self) -> Result<BTreeMap<&str, usize>, String> {
        let inside: BTreeSet<&str> =
            self.groups.values().flat_map(|group| group.children.iter().map(String::as_str)).collect();
        let mut depths: BTreeMap<&str, usize> = BTreeMap::from([(EVERY, 0)]);
        let mut level: BTreeSet<&str> =
            self.groups.keys().map(String::as_str).filter(|name| !inside.contains(name)).collect();
        level.extend(self.groups[EVERY].children.iter().map(String::as_str));
        level.remove(EVERY);
        for depth in 1..=self.groups.len() + 1 {
            if level.is_empty() {
                break;
            }
            depths.extend(level.iter().map(|name| (*name, depth)));
            let below = level.iter().filter_map(|name| self.groups.get(*name));
            level = below.flat_map(|group| group.children.iter().map(String::as_str)).collect();
        }
        match self.groups.keys().find(|name| !level.is_empty() || !depths.contains_key(name.as_str())) {
            Some(_) => Err("its groups contain each other in a circle".to_owned()),
            None => Ok(depths),
        }
    }

    /// The clusters that it describes. Files of variables lie beside the inventory, in `folder`.
    pub(super) fn found(
        mut self,
        file: &Path,
        folder: Option<&Path>,
        asked: &Asked,
    ) -> Result<Found, ImportError> {
        let mut notes = Notes::default();
        let depths = self.depths().map_err(|why| ImportError::at(file.display(), why))?;
        let depths: BTreeMap<String, usize> =
            depths.into_iter().map(|(name, depth)| (name.to_owned(), depth)).collect();
        // Only a host of no other group is ungrouped.
        let grouped: BTreeSet<String> = self
            .groups
            .iter()
            .filter(|(name, _)| *name != EVERY && *name != NONE)
            .flat_map(|(_, group)| group.hosts.iter().cloned())
            .collect();
        let loose = self.order.iter().filter(|host| !grouped.contains(*host)).cloned().collect();
        self.group(NONE).hosts = loose;
        let parents = self.parents();
        let mut read = |kind: &str, name: &str| match folder {
            Some(folder) => beside(&folder.join(kind), name, &mut notes),
            None => Vars::new(),
        };
        let group_files: BTreeMap<&str, Vars> =
            self.groups.keys().map(|name| (name.as_str(), read("group_vars", name))).collect();
        let host_files: BTreeMap<&str, Vars> =
            self.hosts.keys().map(|name| (name.as_str(), read("host_vars", name))).collect();

        let mut clusters = Vec::new();
        for name in &self.order {
            let Some(host) = self.hosts.get(name) else { continue };
            let mut groups = self.groups_of(name, &parents);
            groups.sort_by_key(|group| {
                let priority = self.groups.get(*group).map_or(1, |group| group.priority);
                (depths.get(*group).copied().unwrap_or_default(), priority, *group)
            });
            let inline = |group: &&str| self.groups.get(*group).map(|group| group.vars.clone());
            let files = |group: &&str| group_files.get(group).cloned();
            let layers = [EVERY].iter().filter_map(inline).chain(groups.iter().filter_map(inline));
            let layers =
                layers.chain([EVERY].iter().filter_map(files)).chain(groups.iter().filter_map(files));
            let mut vars: Vars = layers.flatten().collect();
            vars.extend(host.vars.clone());
            vars.extend(host_files.get(name.as_str()).cloned().unwrap_or_default());
            let groups = groups.iter().rev().filter(|group| **group != NONE).map(|group| (*group).to_owned());
            let mut draft = Draft {
                name: name.clone(),
                place: host.place.clone(),
                groups: groups.collect(),
                ..Draft::default()
            };
            if connection::read(&mut draft, &vars, asked, &mut notes) {
                clusters.push(draft);
            }
        }
        Ok(Found { clusters, notes })
    }

    fn parents(&self) -> BTreeMap<&str, Vec<&str>> {
        let mut parents: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for (name, group) in &self.groups {
            for child in &group.children {
                parents.entry(child).or_default().push(name);
            }
        }
        parents
    }

    /// Every group that a host is in, by way of others too; not `all`.
    fn groups_of<'a>(&'a self, host: &str, parents: &BTreeMap<&'a str, Vec<&'a str>>) -> Vec<&'a str> {
        let own = self.groups.iter().filter(|(_, group)| group.hosts.contains(host));
        let mut open: Vec<&str> = own.map(|(name, _)| name.as_str()).collect();
        let mut found = BTreeSet::new();
        while let Some(group) = open.pop() {
            if group != EVERY && found.insert(group) {
                open.extend(parents.get(group).into_iter().flatten());
            }
        }
        found.into_iter().collect()
    }
}

/// The variables of one group or host from the files beside the inventory: `NAME`, `NAME.yml`, `NAME.yaml` or `NAME.json`, the first
/// that is there; a folder's files in order of name.
fn beside(folder: &Path, name: &str, notes: &mut Notes) -> Vars {
    let mut vars = Vars::new();
    if name.contains('/') || name == ".." {
        return vars;
    }
    let first = ["", ".yml", ".yaml", ".json"].iter().map(|end| folder.join(format!("{name}{end}")));
    let Some(first) = first.into_iter().find(|path| path.exists()) else { return vars };
    let mut files = Vec::new();
    collect(&first, 0, &mut files, notes);
    for file in files {
        match super::text(&file).and_then(|text| vars_of(&file, &text)) {
            Ok(said) => vars.extend(said),
            Err(error) => notes.add(file.display(), format!("its variables are not known: {error}")),
        }
    }
    vars
}

fn collect(path: &Path, depth: usize, files: &mut Vec<PathBuf>, notes: &mut Notes) {
    if !path.is_dir() {
        files.push(path.to_owned());
        return;
    }
    let entries = match path.read_dir().and_then(Iterator::collect::<Result<Vec<_>, _>>) {
        Ok(entries) if depth < 8 => entries,
        Ok(_) => return notes.add(path.display(), "its variables are not known: folders lie too deep"),
        Err(error) => return notes.add(path.display(), format!("its variables are not known: {error}")),
    };
    let mut paths: Vec<PathBuf> = entries.into_iter().map(|entry| entry.path()).collect();
    paths.sort();
    for path in paths {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let end = path.extension().map(|end| end.to_string_lossy().into_owned());
        let known = end.as_deref().is_none_or(|end| matches!(end, "yml" | "yaml" | "json"));
        if !name.starts_with('.') && !name.ends_with('~') && known && (end.is_none() || !path.is_dir()) {
            collect(&path, depth + 1, files, notes);
        }
    }
}

/// The variables that a YAML file says.
pub(super) fn vars_of(file: &Path, text: &str) -> Result<Vars, ImportError> {
    if is_vault(text) {
        return Err(ImportError::at(file.display(), "the file is encrypted by ansible-vault"));
    }
    match yaml(file, text)? {
        Value::Null => Ok(Vars::new()),
        Value::Map(map) => Ok(map
            .into_iter()
            .map(|(name, said)| {
                (name, Var { value: said.value, place: format!("{}:{}", file.display(), said.line) })
            })
            .collect()),
        _ => Err(ImportError::at(file.display(), "this is no list of variables")),
    }
}
