//! Tables of comma-separated values: a header with the inventory's keys, a row a cluster.

use csv::{ReaderBuilder, Trim};
use toml::Value;

use super::{Asked, Draft, Found, ImportError, Notes, Source, sounds_secret};
use crate::inventory::fields::ALSO_CALLED;

pub(super) const SOURCE: Source = Source {
    id: "csv",
    about: "a table with a header of the inventory's keys (name, address, user, …), a row a cluster",
    read,
};

/// What a column holds.
#[derive(Debug, Clone, PartialEq)]
enum Column {
    Name,
    Groups,
    Jump,
    Text(String),
    Number(String),
    Flag(String),
    /// Several values, with `;` between them.
    List(String),
    /// Nothing that is read.
    Nothing,
}

fn read(asked: &Asked) -> Result<Found, ImportError> {
    parse(asked, &super::text(&asked.path)?)
}

fn parse(asked: &Asked, text: &str) -> Result<Found, ImportError> {
    let file = asked.path.display();
    let head = text.lines().next().unwrap_or_default();
    // A table saved where the comma is the decimal point has semicolons.
    let between =
        *b",;\t".iter().max_by_key(|mark| head.bytes().filter(|byte| byte == *mark).count()).unwrap_or(&b',');
    let mut reader =
        ReaderBuilder::new().delimiter(between).flexible(true).trim(Trim::All).from_reader(text.as_bytes());
    let mut notes = Notes::default();
    let broken = |error: &csv::Error| {
        let line = error.position().map(|place| format!(":{}", place.line())).unwrap_or_default();
        ImportError::at(format!("{file}{line}"), "this is no table of comma-separated values")
    };
    let header = reader.headers().map_err(|error| broken(&error))?.clone();
    let columns: Vec<Column> =
        header.iter().map(|title| column(title, &file.to_string(), &mut notes)).collect();
    if !columns.contains(&Column::Name) && !columns.contains(&Column::Text("address".to_owned())) {
        return Err(ImportError::at(
            format!("{file}:1"),
            "the first line must name the columns, `name` and `address` among them",
        ));
    }
    let mut clusters = Vec::new();
    for row in reader.records() {
        let row = row.map_err(|error| broken(&error))?;
        let line = row.position().map_or(0, csv::Position::line);
        let mut draft = Draft { place: format!("{file}:{line}"), ..Draft::default() };
        if row.len() > columns.len() {
            notes
                .add(&draft.place, "the row has more columns than the header: what stands there is not read");
        }
        for (column, said) in columns.iter().zip(row.iter()).filter(|(_, said)| !said.is_empty()) {
            if let Err(why) = put(&mut draft, column, said, asked) {
                notes.add(draft.place.clone(), why);
            }
        }
        if draft.name.is_empty() {
            let address = draft.keys.get("address").or_else(|| draft.keys.get("ssh_alias"));
            draft.name = address.and_then(Value::as_str).map(str::to_owned).unwrap_or_default();
        }
        if !draft.keys.contains_key("address")
            && !draft.keys.contains_key("ssh_alias")
            && !draft.name.is_empty()
        {
            let name = draft.name.clone();
            draft.set(asked.place_key(&name), name);
        }
        if !draft.name.is_empty() {
            clusters.push(draft);
        }
    }
    Ok(Found { clusters, notes })
}

fn column(title: &str, file: &str, notes: &mut Notes) -> Column {
    let word = title.trim().to_lowercase().replace(['-', ' '], "_");
    let alias = ALSO_CALLED.iter().find(|(other, _)| *other == word && word != "host").map(|(_, key)| *key);
    let key = alias.unwrap_or(if word == "host" { "address" } else { &word });
    match key {
        "name" | "cluster" => Column::Name,
        "group" | "groups" => Column::Groups,
        "jump" => Column::Jump,
        "port" | "connect_timeout_seconds" | "reconnect_seconds" => Column::Number(key.to_owned()),
        "agent" | "sudo" => Column::Flag(key.to_owned()),
        "tags" | "identity" | "certificate" | "known_hosts" => Column::List(key.to_owned()),
        "tag" => Column::List("tags".to_owned()),
        "address" | "ssh_alias" | "user" | "host_key" | "host_key_alias" | "machine_id" | "cluster_uid"
        | "domain" | "directory" => Column::Text(key.to_owned()),
        _ if sounds_secret(key) => {
            let what = format!(
                "column `{title}` is or may be a secret and is not read: say where it is, such as {{ prompt = true }}"
            );
            notes.add(format!("{file}:1"), what);
            Column::Nothing
        }
        _ => {
            notes.add(
                format!("{file}:1"),
                format!("column `{title}` is no key of an inventory and is not read"),
            );
            Column::Nothing
        }
    }
}

fn put(draft: &mut Draft, column: &Column, said: &str, asked: &Asked) -> Result<(), String> {
    match column {
        Column::Nothing => {}
        Column::Name => said.clone_into(&mut draft.name),
        Column::Groups => draft.groups = said.split(';').map(|group| group.trim().to_owned()).collect(),
        Column::Jump if said == "none" => {}
        Column::Jump => {
            // Without its way another host may be reached: an empty one leaves the cluster out.
            let way = Draft::way(said, &draft.place, asked);
            draft.jump = Some(Box::new(way.clone().unwrap_or_default()));
            way.map_err(|why| format!("the jump host is not carried over: {why}"))?;
        }
        Column::Text(key) => draft.set(key, said),
        Column::Number(key) => {
            draft.set(key, said.parse::<i64>().map_err(|_| format!("`{key}` is no number"))?);
        }
        Column::Flag(key) => {
            let flag = super::value::Value::Text(said.to_owned()).flag();
            draft.set(key, flag.ok_or_else(|| format!("`{key}` is neither true nor false"))?);
        }
        Column::List(key) => {
            let list = said.split(';').map(str::trim).filter(|one| !one.is_empty());
            draft.set(key, list.map(Value::from).collect::<Vec<_>>());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn any_text_is_read_or_refused(text in "(name,address\n)?([a-c,;\"\t1]{0,9}\r?\n|.{0,9}\n){0,9}") {
            let _ = parse(&Asked::default(), &text);
        }
    }
}
