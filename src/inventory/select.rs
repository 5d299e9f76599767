//! Choosing clusters: `--on web,@tag,!name`.

use std::collections::BTreeSet;

use super::{Cluster, Inventory};
use crate::form::meant;
use crate::remote::printable;

/// What the operator asked for.
///
/// A term is the name of a cluster or a group, a pattern of clusters' names (`web-*`, `acme-?`), or `@tag`; `!` in front
/// leaves out what the term means. Terms are a set: their order means nothing, and leaving out wins.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selection {
    /// Terms of `--on`.
    pub on: Vec<String>,
    /// `--all`; beside it `on` may only leave out.
    pub all: bool,
    /// `--max-hosts`.
    pub max_hosts: Option<usize>,
}

/// Why nothing is selected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SelectionError(pub String);

impl Selection {
    /// The selected clusters, in order of name; at least one.
    ///
    /// # Errors
    /// Neither `--on` nor `--all`, a term that means nothing, nothing left, or more than `--max-hosts`.
    pub fn of(&self, inventory: &Inventory) -> Result<Vec<Cluster>, SelectionError> {
        self.names(inventory)
            .map(|names| names.into_iter().filter_map(|name| inventory.clusters.get(name).cloned()).collect())
            .map_err(|why| SelectionError(printable(&why)))
    }

    fn names<'a>(&self, inventory: &'a Inventory) -> Result<BTreeSet<&'a str>, String> {
        let (mut taken, mut left_out) = (BTreeSet::new(), BTreeSet::new());
        let mut any_taken = self.all;
        for term in self.on.iter().map(|term| term.trim()) {
            if let Some(term) = term.strip_prefix('!') {
                left_out.extend(meaning(term.trim_start(), inventory)?);
            } else if self.all {
                return Err(format!(
                    "--all takes every cluster already: leave out --all, or the term `{term}`"
                ));
            } else {
                taken.extend(meaning(term, inventory)?);
                any_taken = true;
            }
        }
        if !any_taken {
            return Err(if self.on.is_empty() {
                "say which clusters: --on with names, groups or @tags, or --all for every one".to_owned()
            } else {
                format!(
                    "--on '{}' only leaves out: add a term that takes clusters, or --all for every other one",
                    self.on.join(",")
                )
            });
        }
        if self.all {
            taken = inventory.clusters.keys().map(String::as_str).collect();
        }
        let names: BTreeSet<&str> = taken.difference(&left_out).copied().collect();
        if names.is_empty() {
            return Err(format!("no cluster is left by --on '{}'", self.on.join(",")));
        }
        match self.max_hosts {
            Some(max) if names.len() > max => Err(format!(
                "{} clusters are selected, more than --max-hosts {max} allows; nothing was done",
                names.len()
            )),
            _ => Ok(names),
        }
    }
}

/// The clusters that a term without `!` means.
fn meaning<'a>(term: &str, inventory: &'a Inventory) -> Result<BTreeSet<&'a str>, String> {
    let those = |keep: &dyn Fn(&Cluster) -> bool| -> BTreeSet<&'a str> {
        inventory
            .clusters
            .values()
            .filter(|cluster| keep(cluster))
            .map(|cluster| cluster.name.as_str())
            .collect()
    };
    if let Some(tag) = term.strip_prefix('@') {
        let found = those(&|cluster| cluster.tags.contains(tag));
        // A tag that only an empty group has is known, but means no cluster: an error all the same.
        return if found.is_empty() { Err(unknown(term, inventory)) } else { Ok(found) };
    }
    if term.contains(['*', '?']) {
        if term.chars().all(|c| c == '*') {
            return Err(format!("`{term}` would be every cluster: that is spelt --all"));
        }
        let pattern: Vec<char> = term.chars().collect();
        let found = those(&|cluster| matches(&pattern, &cluster.name.chars().collect::<Vec<_>>()));
        return if found.is_empty() { Err(format!("no cluster's name is like `{term}`")) } else { Ok(found) };
    }
    if inventory.groups.contains_key(term) {
        let found = those(&|cluster| cluster.group == term);
        return if found.is_empty() { Err(format!("the group `{term}` has no cluster")) } else { Ok(found) };
    }
    match inventory.clusters.get_key_value(term) {
        Some((name, _)) => Ok(BTreeSet::from([name.as_str()])),
        None => Err(unknown(term, inventory)),
    }
}

/// Tells that a term means nothing, with the nearest that does.
fn unknown(term: &str, inventory: &Inventory) -> String {
    if term.is_empty() || term == "@" {
        return "--on holds an empty term".to_owned();
    }
    let tags: BTreeSet<String> =
        inventory.clusters.values().flat_map(|one| &one.tags).map(|tag| format!("@{tag}")).collect();
    let names = inventory.clusters.keys().chain(inventory.groups.keys()).chain(&tags).map(String::as_str);
    let bare = term.trim_start_matches('@');
    // The right word with or without the `@` is nearer than any other word.
    let near = names.clone().find(|name| name.trim_start_matches('@') == bare).or_else(|| meant(term, names));
    let what = if term.starts_with('@') { "no cluster has the tag" } else { "no cluster or group is called" };
    match near {
        Some(near) => format!("{what} `{bare}`: did you mean `{near}`?"),
        None => format!("{what} `{bare}`: `fleet inventory show` lists what there is"),
    }
}

/// Whether a name is like a pattern: `*` stands for any characters, `?` for one.
pub(super) fn matches(pattern: &[char], name: &[char]) -> bool {
    let (mut p, mut n) = (0, 0);
    // The last star, and how much of the name it has swallowed so far: going back to it alone keeps this quadratic.
    let mut star: Option<(usize, usize)> = None;
    while n < name.len() {
        match pattern.get(p) {
            Some('*') => {
                star = Some((p, n));
                p += 1;
            }
            Some(c) if *c == '?' || *c == name[n] => (p, n) = (p + 1, n + 1),
            _ => match &mut star {
                Some((at, swallowed)) => {
                    *swallowed += 1;
                    (p, n) = (*at + 1, *swallowed);
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|c| *c == '*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_whole_names_and_quickly() {
        let like = |pattern: &str, name: &str| {
            matches(&pattern.chars().collect::<Vec<_>>(), &name.chars().collect::<Vec<_>>())
        };
        for (pattern, name) in
            [("web-*", "web-1"), ("web-*", "web-"), ("*-1", "web-1"), ("w?b*", "web"), ("*e*-*", "web-1")]
        {
            assert!(like(pattern, name), "{pattern} {name}");
        }
        for (pattern, name) in
            [("web-*", "web"), ("web", "web-1"), ("?", ""), ("*-1", "web-12"), ("a*b*c", "acb")]
        {
            assert!(!like(pattern, name), "{pattern} {name}");
        }
        assert!(!like(&format!("{}c", "*a".repeat(30)), &"a".repeat(64)));
    }
}
