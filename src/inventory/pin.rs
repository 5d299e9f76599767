//! Writing down in the inventory by what a host is known. The file stays as its author wrote it: comments, order and layout.

use std::path::PathBuf;

use toml_edit::{DocumentMut, TableLike, value};

use super::rules;
use crate::files;

/// Whose table it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whose {
    /// `[clusters.NAME]`.
    Cluster,
    /// `[jumps.NAME]`.
    Jump,
}

impl Whose {
    const fn table(self) -> &'static str {
        match self {
            Self::Cluster => "clusters",
            Self::Jump => "jumps",
        }
    }
}

/// What is to be pinned in one table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pinning {
    /// Whose table.
    pub whose: Whose,
    /// The name of the cluster or jump host.
    pub name: String,
    /// Keys and values: `host_key`, `machine_id`, `cluster_uid`, `domain`.
    pub keys: Vec<(&'static str, String)>,
    /// Whether another value that stands there already is replaced. Otherwise nothing is written.
    pub replace: bool,
}

/// Why nothing was pinned. No file was changed.
#[derive(Debug, thiserror::Error)]
pub enum PinError {
    /// The files were changed since they were read.
    #[error("[{0}] is no longer in the inventory; nothing was written to it")]
    Gone(String),
    /// Another value stands there.
    #[error("{place}: `{key}` is {there} there; nothing was written to it")]
    Other {
        /// File and table: `clusters.toml [clusters.acme]`.
        place: String,
        /// The key.
        key: &'static str,
        /// What stands there.
        there: String,
    },
    /// What the host says cannot be the value of the key.
    #[error("the host's {key} cannot be pinned: {why}")]
    Unfit {
        /// The key.
        key: &'static str,
        /// What is wrong with the value.
        why: String,
    },
    /// The file is no TOML, or not after the change.
    #[error("{0} cannot be changed without spoiling it ({1}); nothing was written to it")]
    Layout(PathBuf, String),
    /// The file cannot be read or written.
    #[error("{file}: {why}; it is as it was", file = .0.display(), why = .1)]
    File(PathBuf, std::io::Error),
}

/// Writes the pins into that one of the files which defines the table. Gives where they stand now (`clusters.toml [clusters.acme]`), with the
/// keys that were written: none where all stood there already. The file is read anew, so that no change made meanwhile is lost.
pub fn pin(files: &[PathBuf], pinning: &Pinning) -> Result<(String, Vec<&'static str>), PinError> {
    let keys = pinning.keys.iter().map(|(key, value)| Ok((*key, fit(key, value)?)));
    let keys = keys.collect::<Result<Vec<(&'static str, String)>, PinError>>()?;
    let (group, name) = (pinning.whose.table(), pinning.name.as_str());
    for file in files {
        let bytes = std::fs::read_to_string(file).map_err(|why| PinError::File(file.clone(), why))?;
        let mark = if bytes.starts_with('\u{feff}') { "\u{feff}" } else { "" };
        let text = &bytes[mark.len()..];
        let spoilt = |why: &str| PinError::Layout(file.clone(), why.to_owned());
        let mut document: DocumentMut = text.parse().map_err(|_| spoilt("it is no TOML"))?;
        let table = document
            .get_mut(group)
            .and_then(|tables| tables.as_table_like_mut())
            .and_then(|tables| tables.get_mut(name));
        let Some(item) = table else { continue };
        let inline = item.is_inline_table();
        let Some(table) = item.as_table_like_mut() else { continue };
        let place = format!("{} [{group}.{name}]", file.display());
        let written = set(table, &keys, pinning.replace, &place)?;
        if inline {
            close_up(table);
        }
        if !written.is_empty() {
            let new = line_ends(&document.to_string(), text);
            only_adds(text, &new, (group, name), &keys).ok_or_else(|| spoilt("its layout is unusual"))?;
            files::rewrite_whole(file, format!("{mark}{new}").as_bytes())
                .map_err(|why| PinError::File(file.clone(), why))?;
        }
        return Ok((place, written));
    }
    Err(PinError::Gone(format!("{group}.{name}")))
}

/// A value in the one spelling that the inventory has for it: what a host says is as little to be trusted as what is typed.
fn fit(key: &'static str, value: &str) -> Result<String, PinError> {
    let fit = match key {
        "host_key" => rules::host_key(value),
        "machine_id" => rules::machine_id(value),
        "cluster_uid" => rules::uid(value),
        _ => rules::domain(value),
    };
    fit.map_err(|why| PinError::Unfit { key, why })
}

/// Whether two values of a key mean the same. Only in a host key do capitals mean something.
fn same(key: &str, one: &str, other: &str) -> bool {
    if key == "host_key" { one == other } else { one.eq_ignore_ascii_case(other) }
}

/// Sets the keys of a table; gives those that were not there with this value.
fn set(
    table: &mut dyn TableLike,
    keys: &[(&'static str, String)],
    replace: bool,
    place: &str,
) -> Result<Vec<&'static str>, PinError> {
    let mut written = Vec::new();
    for (key, wanted) in keys {
        let Some(there) = table.get_mut(key) else {
            table.insert(key, value(wanted));
            written.push(*key);
            continue;
        };
        let text = there.as_str().unwrap_or_default().trim().to_owned();
        // Compared as it would be read: with a comment behind a key, or in capitals, it is the same value.
        if fit(key, &text).is_ok_and(|text| same(key, &text, wanted)) {
            continue;
        }
        if !replace {
            return Err(PinError::Other { place: place.to_owned(), key, there: text });
        }
        // The value alone: what stands around it, such as a comment behind it, stays.
        let decor = there.as_value().map(|value| value.decor().clone()).unwrap_or_default();
        let mut new = toml_edit::Value::from(wanted);
        *new.decor_mut() = decor;
        *there = toml_edit::Item::Value(new);
        written.push(*key);
    }
    Ok(written)
}

/// The blanks before the brace of an inline table stay there, and do not come before the comma of a value that is no longer the last.
fn close_up(table: &mut dyn TableLike) {
    let mut gap = String::new();
    for (_, item) in table.iter_mut() {
        let Some(decor) = item.as_value_mut().map(toml_edit::Value::decor_mut) else { continue };
        let behind = decor.suffix().and_then(|text| text.as_str()).unwrap_or_default().to_owned();
        decor.set_suffix(if behind.trim().is_empty() { "" } else { &behind });
        if behind.trim().is_empty() {
            gap = gap.max(behind);
        }
    }
    let last = table.iter_mut().last().and_then(|(_, item)| item.as_value_mut());
    if let Some(last) = last.filter(|_| !gap.is_empty()) {
        last.decor_mut().set_suffix(gap);
    }
}

/// The new text with the line ends of the old one, where that has one kind alone.
fn line_ends(new: &str, old: &str) -> String {
    let crlf = old.contains("\r\n") && old.matches('\n').count() == old.matches("\r\n").count();
    if crlf { new.replace("\r\n", "\n").replace('\n', "\r\n") } else { new.to_owned() }
}

/// Whether the new text says what the old one said and the pins, and nothing else: asked of another reader than the one that wrote it.
fn only_adds(
    old: &str,
    new: &str,
    (group, name): (&str, &str),
    keys: &[(&'static str, String)],
) -> Option<()> {
    let mut meant: toml::Table = old.parse().ok()?;
    let table = meant.get_mut(group)?.get_mut(name)?.as_table_mut()?;
    let said: toml::Table = new.parse().ok()?;
    for (key, value) in keys {
        let found = said.get(group)?.get(name)?.get(key)?.as_str()?;
        // One that stood there in other capitals stays so.
        if !same(key, &fit(key, found).ok()?, value) {
            return None;
        }
        table.insert((*key).to_owned(), toml::Value::from(found));
    }
    (meant == said).then_some(())
}

/// A line of known_hosts for a host key, as OpenSSH writes it: the name that is looked up, and the key. Plain, so that a person can find it.
#[must_use]
pub fn known_hosts_line(host: &super::Host, key: &str) -> String {
    let name = match &host.host_key_alias {
        Some(alias) => alias.clone(),
        None if host.port == 22 => host.address.clone(),
        None => format!("[{}]:{}", host.address, host.port),
    };
    format!("{} {key}", name.to_lowercase())
}

#[cfg(test)]
#[path = "pin_tests.rs"]
mod tests;
