//! Any program that prints JSON: a list of clusters under the inventory's keys, or an Ansible dynamic inventory.

use std::collections::BTreeMap;
use std::process::Command;
use std::time::Duration;

use super::ansible::{Tree, Var, Vars};
use super::value::{Node, Value};
use super::{Asked, Draft, Found, ImportError, Notes, Source};
use crate::inventory::child;

pub(super) const SOURCE: Source = Source {
    id: "program",
    about: "a program that prints JSON: a list of clusters, or an Ansible dynamic inventory; run with --list, or with what follows --",
    read,
};

/// How long the program may take: it may ask a cloud.
const DEADLINE: Duration = Duration::from_secs(120);

/// Most that it may print, in bytes.
const LIMIT: u64 = 64 * 1024 * 1024;

fn read(asked: &Asked) -> Result<Found, ImportError> {
    let program = std::path::absolute(&asked.path).unwrap_or_else(|_| asked.path.clone());
    let usual = [String::from("--list")];
    let args = if asked.args.is_empty() { &usual[..] } else { &asked.args };
    let text = child::ask(Command::new(program).args(args), DEADLINE, LIMIT)
        .map_err(|why| ImportError::at(asked.path.display(), format!("the program {why}")))?;
    parse(asked, &text)
}

fn parse(asked: &Asked, text: &str) -> Result<Found, ImportError> {
    let place = format!("what {} prints", asked.path.display());
    let read: serde_json::Value = serde_json::from_str(text)
        .map_err(|error| ImportError::at(format!("{place}:{}", error.line()), "this is no JSON"))?;
    match Value::from(read) {
        Value::List(list) => Ok(clusters(&list, asked, &place)),
        Value::Map(map) => match map.iter().find(|(key, _)| key == "clusters").map(|(_, node)| &node.value) {
            // What `fleet inventory show --format json` prints. A group of Ansible's would be a list of names.
            Some(Value::List(list)) if list.iter().all(|one| one.map().is_some()) => {
                Ok(clusters(list, asked, &place))
            }
            _ => dynamic(&map, &place)?.found(&asked.path, None, asked),
        },
        _ => Err(ImportError::at(place, "this is neither a list of clusters nor an Ansible inventory")),
    }
}

fn clusters(list: &[Value], asked: &Asked, place: &str) -> Found {
    let mut notes = Notes::default();
    let mut clusters = Vec::new();
    for (number, said) in list.iter().enumerate() {
        let Some(map) = said.map() else {
            notes.add(
                format!("{place}, entry {}", number + 1),
                "this is no cluster, that is no object, and is passed over",
            );
            continue;
        };
        let name = ["name", "address", "ssh_alias"].iter().find_map(|key| said.get(key)?.value.text());
        let Some(name) = name else {
            notes.add(format!("{place}, entry {}", number + 1), "a cluster without a name is passed over");
            continue;
        };
        let mut draft =
            Draft { name: name.to_owned(), place: format!("{place}, cluster {name}"), ..Draft::default() };
        for (key, Node { value, .. }) in map {
            match (key.as_str(), value) {
                ("name" | "defined_at", _) | (_, Value::Null) => {}
                ("group", Value::Text(group)) => draft.groups.push(group.clone()),
                ("jump", Value::Text(none)) if none == "none" => {}
                ("jump", Value::Text(list)) => match Draft::way(list, &draft.place, asked) {
                    Ok(way) => draft.jump = Some(Box::new(way)),
                    Err(why) => {
                        notes.add(draft.place.clone(), format!("the jump host is not carried over: {why}"));
                        // Without its way another host may be reached: an empty one leaves the cluster out.
                        draft.jump = Some(Box::default());
                    }
                },
                _ => match plain(value) {
                    Some(value) => draft.set(key, value),
                    None => notes.add(
                        draft.place.clone(),
                        format!("`{key}` is not carried over: no such value can stand in TOML"),
                    ),
                },
            }
        }
        if !draft.keys.contains_key("address") && !draft.keys.contains_key("ssh_alias") {
            draft.set(asked.place_key(name), name);
        }
        clusters.push(draft);
    }
    Found { clusters, notes }
}

/// The value as TOML.
fn plain(value: &Value) -> Option<toml::Value> {
    Some(match value {
        Value::Null => return None,
        Value::Flag(flag) => (*flag).into(),
        Value::Number(number) => number.parse::<i64>().ok()?.into(),
        Value::Text(text) => text.as_str().into(),
        Value::List(list) => list.iter().map(plain).collect::<Option<Vec<_>>>()?.into(),
        Value::Map(map) => {
            let entry = |(key, node): &(String, Node)| Some((key.clone(), plain(&node.value)?));
            map.iter().map(entry).collect::<Option<toml::Table>>()?.into()
        }
    })
}

/// Ansible's dynamic inventory: groups with hosts, children and vars; `_meta` has what each host says.
fn dynamic(groups: &[(String, Node)], place: &str) -> Result<Tree, ImportError> {
    let mut tree = Tree::default();
    let fault = |group: &str, what: &str| ImportError::at(place, format!("group `{group}`: {what}"));
    let vars = |map: &[(String, Node)]| -> Vars {
        let var = |(name, node): &(String, Node)| {
            (name.clone(), Var { value: node.value.clone(), place: place.to_owned() })
        };
        map.iter().map(var).collect()
    };
    let meta = groups.iter().find(|(name, _)| name == "_meta");
    let said = meta.and_then(|(_, node)| node.value.get("hostvars")?.value.map()).unwrap_or_default();
    let said: BTreeMap<&str, &Node> = said.iter().map(|(host, node)| (host.as_str(), node)).collect();
    for (name, node) in groups.iter().filter(|(name, _)| name != "_meta") {
        let hosts = match &node.value {
            Value::List(_) => Some(node),
            Value::Map(_) => node.value.get("hosts"),
            _ => return Err(fault(name, "it is neither a list of hosts nor an object")),
        };
        tree.group(name);
        let names = |node: Option<&Node>, key: &str| match node.map(|node| &node.value) {
            None | Some(Value::Null) => Ok(Vec::new()),
            Some(Value::List(list)) => list
                .iter()
                .map(|one| {
                    one.text()
                        .map(str::to_owned)
                        .ok_or_else(|| fault(name, &format!("`{key}` holds what is no name")))
                })
                .collect(),
            Some(_) => Err(fault(name, &format!("`{key}` is no list"))),
        };
        for host in names(hosts, "hosts")? {
            let own = said.get(host.as_str()).and_then(|node| node.value.map());
            tree.host(&host, name, None, &vars(own.unwrap_or_default()), place)
                .map_err(|why| fault(name, &why))?;
        }
        for child in names(node.value.get("children"), "children")? {
            tree.child(name, &child);
        }
        for (key, var) in
            node.value.get("vars").and_then(|node| node.value.map()).map(vars).unwrap_or_default()
        {
            tree.group_var(name, &key, var).map_err(|why| fault(name, &why))?;
        }
    }
    Ok(tree)
}

impl From<serde_json::Value> for Value {
    fn from(value: serde_json::Value) -> Self {
        match value {
            serde_json::Value::Null => Self::Null,
            serde_json::Value::Bool(flag) => Self::Flag(flag),
            serde_json::Value::Number(number) => Self::Number(number.to_string()),
            serde_json::Value::String(text) => Self::Text(text),
            serde_json::Value::Array(list) => Self::List(list.into_iter().map(Self::from).collect()),
            serde_json::Value::Object(map) => {
                let entry = |(key, value)| (key, Node { value: Self::from(value), line: 0 });
                Self::Map(map.into_iter().map(entry).collect())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn any_text_is_read_or_refused(text in "(\\{\"|\\[\"|\"hosts\":|\"_meta\":|[\\[\\]{}:,\"]|[a-c0-9]|.){0,20}") {
            let _ = parse(&Asked::default(), &text);
        }
    }
}
