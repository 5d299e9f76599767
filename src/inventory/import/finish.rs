//! From drafts to an inventory: safe names, one group each, nothing that the inventory refuses, and the proof that it loads.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use toml::{Table, Value};

use super::connection::absolute;
use super::{Asked, Draft, Found, ImportError, Note, Notes, Source};
use crate::inventory::fault::Page;
use crate::inventory::settings::DIRECT;
use crate::inventory::{Inventory, load, page, rules};
use crate::remote::printable;

/// Keys whose values are paths on this machine.
const PATHS: [&str; 4] = ["identity", "certificate", "known_hosts", "directory"];

/// What was imported.
#[derive(Debug)]
pub struct Imported {
    /// The inventory, as TOML. It loads.
    pub text: String,
    /// The same, loaded.
    pub inventory: Inventory,
    /// What could not be carried over.
    pub notes: Vec<Note>,
}

/// Reads a source and makes an inventory of it. Blocking: a program may be run, for at most two minutes.
///
/// # Errors
/// Where the source cannot be read at all, or holds no cluster.
pub fn import(source: &Source, asked: &Asked) -> Result<Imported, ImportError> {
    let Found { clusters, notes } = (source.read)(asked)?;
    let mut making = Making {
        asked,
        notes,
        jumps: BTreeMap::new(),
        jump_names: Names::default(),
        clusters: BTreeMap::new(),
        places: BTreeMap::new(),
    };
    making.jump_names.take(DIRECT);
    let names: Vec<String> = making.names(&clusters);
    let groups = making.groups(&clusters, &names);
    for (draft, name) in clusters.iter().zip(names) {
        making.cluster(draft, name, &groups);
    }
    let place = asked.path.display();
    if making.clusters.is_empty() {
        let mut why = "there is no cluster in it that can be carried over".to_owned();
        for note in making.notes.0.values() {
            // Writing to a String does not fail.
            let _ = write!(why, "\n  {note}");
        }
        return Err(ImportError(format!("{place}: {why}")));
    }
    let notes: Vec<Note> = making.notes.0.into_values().collect();
    let used = making.clusters.values().filter_map(|keys| keys.get("group")?.as_str());
    let groups: Table = used.map(|group| (group.to_owned(), Table::new().into())).collect();
    let tables = |tables: BTreeMap<String, Table>| -> Value {
        Value::Table(tables.into_iter().map(|(name, keys)| (name, keys.into())).collect())
    };
    let whole =
        [("groups", groups.into()), ("jumps", tables(making.jumps)), ("clusters", tables(making.clusters))];
    let whole: Table = whole
        .into_iter()
        .filter(|(_, table): &(_, Value)| table.as_table().is_some_and(|table| !table.is_empty()))
        .map(|(key, table)| (key.to_owned(), table))
        .collect();
    let mut text = format!(
        "# Imported from {} by `fleet inventory import {}`.\n",
        printable(&place.to_string()),
        source.id
    );
    for note in &notes {
        // Writing to a String does not fail.
        let _ = writeln!(text, "# Not carried over: {note}");
    }
    let body = toml::to_string(&whole).map_err(|error| ImportError::at(&place, error))?;
    let text = format!("{text}\n{body}");
    let inventory = load::of_text(Path::new("the imported inventory"), &text).map_err(|error| {
        ImportError::at(
            &place,
            format!("what was read of it is no inventory, so nothing was written: {error}"),
        )
    })?;
    Ok(Imported { text, inventory, notes })
}

struct Making<'a> {
    asked: &'a Asked,
    notes: Notes,
    jumps: BTreeMap<String, Table>,
    jump_names: Names,
    clusters: BTreeMap<String, Table>,
    /// Which cluster has an address, a UID.
    places: BTreeMap<String, String>,
}

impl Making<'_> {
    /// A safe name of its own for each cluster.
    fn names(&mut self, drafts: &[Draft]) -> Vec<String> {
        let mut taken = Names::default();
        let mut names = Vec::new();
        for draft in drafts {
            let safe = rules::safe_name(&draft.name);
            let name = taken.free(&safe);
            if safe != draft.name {
                self.notes.add(
                    &draft.place,
                    format!("`{}` is no name of a cluster: it is called `{name}`", draft.name),
                );
            } else if name != safe {
                self.notes.add(&draft.place, format!("a second `{safe}`: it is called `{name}`"));
            }
            names.push(name);
        }
        names
    }

    /// The name here of each group of the source: safe, and no cluster's.
    fn groups(&mut self, drafts: &[Draft], clusters: &[String]) -> BTreeMap<String, String> {
        let mut taken = Names::default();
        for name in clusters {
            taken.take(name);
        }
        let mut groups = BTreeMap::new();
        let named = drafts.iter().flat_map(|draft| draft.groups.iter().map(|group| (group, &draft.place)));
        for (group, place) in named {
            if groups.contains_key(group) || group.is_empty() {
                continue;
            }
            let safe = rules::safe_name(group);
            let name = taken.free(&if taken.has(&safe) { format!("{safe}-group") } else { safe });
            if name != *group {
                self.notes.add(
                    place,
                    format!("group `{group}` is called `{name}`: names are safe, and no cluster's too"),
                );
            }
            groups.insert(group.clone(), name);
        }
        groups
    }

    fn cluster(&mut self, draft: &Draft, name: String, groups: &BTreeMap<String, String>) {
        let mut keys = self.kept("clusters", draft);
        let Some(address) = keys.get("address").or_else(|| keys.get("ssh_alias")).and_then(Value::as_str)
        else {
            self.notes
                .add(&draft.place, format!("{name} is left out: without an address it cannot be reached"));
            return;
        };
        let address = address.to_lowercase();
        let port = keys.get("port").and_then(Value::as_integer).unwrap_or(22);
        if let Some(jump) = &draft.jump {
            let Some(jump) = self.jump(jump) else {
                let what = format!("{name} is left out: its jump host cannot be carried over");
                self.notes.add(&draft.place, what);
                return;
            };
            keys.insert("jump".to_owned(), jump.into());
        }
        // One address behind two jump hosts is often two hosts, so the jump host counts.
        let way = keys.get("jump").and_then(Value::as_str).unwrap_or_default();
        let place = format!("{address} port {port} {way}");
        if let Some(first) = self.places.get(&place) {
            let what = format!("{name} is left out: it has the address of {first}");
            self.notes.add(&draft.place, what);
            return;
        }
        let uid = keys.get("cluster_uid").and_then(Value::as_str).map(str::to_lowercase);
        if uid.as_ref().is_some_and(|uid| self.places.contains_key(uid)) {
            self.notes.add(&draft.place, "`cluster_uid` is left out: another cluster has it");
            keys.remove("cluster_uid");
        }
        self.places.extend([Some(place), uid].into_iter().flatten().map(|key| (key, name.clone())));

        let mut own = draft.groups.iter().filter_map(|group| groups.get(group).cloned());
        let group = self.asked.group.clone().or_else(|| own.next());
        let mut tags: BTreeSet<String> = own.collect();
        tags.extend(
            keys.get("tags")
                .and_then(Value::as_array)
                .into_iter()
                .flatten()
                .filter_map(Value::as_str)
                .map(str::to_owned),
        );
        tags.extend(keys.get("tags").and_then(Value::as_str).map(str::to_owned));
        if let Some(group) = group {
            tags.remove(&group);
            keys.insert("group".to_owned(), group.into());
        }
        if !tags.is_empty() {
            keys.insert("tags".to_owned(), tags.into_iter().map(Value::from).collect::<Vec<_>>().into());
        }
        self.clusters.insert(name, keys);
    }

    /// The name of a jump host, which is written once however many go through it.
    fn jump(&mut self, draft: &Draft) -> Option<String> {
        let mut keys = self.kept("jumps", draft);
        if !keys.contains_key("address") && !keys.contains_key("ssh_alias") {
            return None;
        }
        if let Some(outer) = &draft.jump {
            let outer = self.jump(outer)?;
            keys.insert("jump".to_owned(), outer.into());
        }
        if let Some((name, _)) = self.jumps.iter().find(|(_, known)| **known == keys) {
            return Some(name.clone());
        }
        let name = self.jump_names.free(&rules::safe_name(&draft.name));
        self.jumps.insert(name.clone(), keys);
        Some(name)
    }

    /// The values that the inventory's own reader takes. It alone knows what a value must look like.
    fn kept(&mut self, kind: &str, draft: &Draft) -> Table {
        let mut kept = Table::new();
        for (key, value) in &draft.keys {
            let value = self.moved(key, value.clone());
            match refusal(kind, key, &value, load::home().as_deref()) {
                None => drop(kept.insert(key.clone(), value)),
                Some(why) => self.notes.add(&draft.place, format!("`{key}` is not carried over: {why}")),
            }
        }
        kept
    }

    /// A value whose relative paths mean the same wherever the inventory is put.
    fn moved(&self, key: &str, value: Value) -> Value {
        if !PATHS.contains(&key) {
            return value;
        }
        let base = match self.asked.path.parent() {
            Some(folder) if self.asked.path.is_file() => folder.to_owned(),
            _ => PathBuf::new(),
        };
        match value {
            Value::String(text) if text.is_empty() => Value::String(text),
            Value::String(text) => absolute(&text, &base).display().to_string().into(),
            Value::Array(list) => list.into_iter().map(|one| self.moved(key, one)).collect::<Vec<_>>().into(),
            other => other,
        }
    }
}

/// Why the inventory does not take a value under a key.
fn refusal(kind: &str, key: &str, value: &Value, home: Option<&Path>) -> Option<String> {
    let mut keys = Table::from_iter([(key.to_owned(), value.clone())]);
    if key != "ssh_alias" {
        keys.entry("address").or_insert_with(|| "192.0.2.1".into());
    }
    let one = Table::from_iter([("this".to_owned(), keys.into())]);
    let text = toml::to_string(&Table::from_iter([(kind.to_owned(), one.into())])).ok()?;
    let mut page =
        Page { number: 0, path: PathBuf::new(), text, masked: Vec::new(), home: home.map(Path::to_owned) };
    let mut faults = Vec::new();
    page::read(&mut page, &mut faults);
    let what = faults
        .first()?
        .what
        .replace("cluster this", "the cluster")
        .replace("jump host this", "the jump host");
    Some(what)
}

/// Names that are given, whatever their case.
#[derive(Debug, Default)]
struct Names {
    taken: BTreeSet<String>,
    /// The number to try next behind a name: of ten thousand hosts with one name each is asked about once.
    next: BTreeMap<String, usize>,
}

impl Names {
    fn has(&self, name: &str) -> bool {
        self.taken.contains(&name.to_lowercase())
    }

    fn take(&mut self, name: &str) {
        self.taken.insert(name.to_lowercase());
    }

    /// The name, or the first with a number behind that is not taken; it is from now on.
    fn free(&mut self, name: &str) -> String {
        let mut free = name.to_owned();
        while self.has(&free) {
            let number = self.next.entry(name.to_lowercase()).or_insert(2);
            free = format!("{name}-{number}");
            *number += 1;
        }
        self.take(&free);
        free
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_thousand_hosts_of_one_name_have_a_number_each_and_no_name_is_given_twice() {
        let mut names = Names::default();
        names.take("web-3");
        let given: Vec<String> = (0..10_000).map(|_| names.free("Web")).collect();
        assert_eq!([&given[0], &given[1], &given[2], &given[9999]], ["Web", "Web-2", "Web-4", "Web-10001"]);
        assert_eq!([names.free("web"), names.free("web-2")], ["web-10002", "web-2-2"]);
    }
}
