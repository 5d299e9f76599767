//! Which claim of another cluster each volume of a backup goes into: matched by name, or as a person says in a map. Pure.
//!
//! The guide (0.3 to 0.4) has a person "manually match the folders from your backup with the new folders". What can be matched is matched by
//! namespace and name, with the renames of 0.8; of everything else a person says where it goes, or that it is left out.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use super::{Saved, refused};
use crate::backup::manifest::{Part, What};
use crate::event::Failure;
use crate::facts::{Facts, renamed};
use crate::form;
use crate::plan::{Claimed, PutBack};
use crate::remote::printable;

/// What a map says of a claim that is left out.
const SKIP: &str = "skip";

/// What a person has said: claims of the backup, and where each goes.
pub type Map = BTreeMap<String, String>;

/// Reads a map: TOML, each line `"namespace/claim" = "namespace/claim"` or `= "skip"`.
pub fn read_map(text: &str) -> Result<Map, String> {
    toml::from_str(text).map_err(|error| error.to_string().trim_end().to_owned())
}

/// A volume of the backup, and where it goes as far as that is known.
#[derive(Debug, Clone, PartialEq)]
pub struct Row<'a> {
    /// What it is called in a map: its claim, or the volume where that claim is not the only one of its name, or there is none.
    pub key: String,
    /// Whether somebody claims it. One that nobody claims is left out unless a map names it.
    pub claimed: bool,
    /// Its bytes.
    pub bytes: u64,
    /// The claim of the other cluster that is called so.
    pub matched: Option<String>,
    part: &'a Part,
}

/// A claim of the other cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Live {
    /// The claim and its volume.
    pub claimed: Claimed,
    /// Its folder, as the volume says it, or why nothing can be put there.
    pub folder: Result<String, String>,
}

/// What goes where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pairs {
    /// Each volume's data with its folder on the other cluster.
    pub folders: Vec<PutBack>,
    /// What is left out.
    pub skipped: Vec<String>,
}

/// The claims of the other cluster, by namespace and name.
pub fn live(facts: &Facts) -> Result<BTreeMap<String, Live>, Failure> {
    let unknown = |what: &str, why: &dyn std::fmt::Display| {
        refused("facts-missing", &format!("the {what} of {} are not known: {why}", facts.cluster))
    };
    let claims = facts.claims.get().map_err(|why| unknown("claims", why))?;
    let volumes = facts.volumes.get().map_err(|why| unknown("volumes", why))?;
    let folder = |claim: &crate::facts::claims::Claim| {
        if claim.phase != "Bound" {
            return Err(format!(
                "it is {}, not Bound",
                if claim.phase.is_empty() { "nothing yet" } else { &claim.phase }
            ));
        }
        let volume = volumes.iter().find(|volume| volume.name == claim.volume);
        let volume = volume.ok_or_else(|| format!("there is no volume {:?}", claim.volume))?;
        if (&volume.claim_namespace, &volume.claim) != (&claim.namespace, &claim.name) {
            return Err(format!(
                "volume {} is kept for {}/{}",
                volume.name, volume.claim_namespace, volume.claim
            ));
        }
        match volume.folder.trim_end_matches('/') {
            "" => Err(format!("volume {} lies in no folder of the host", volume.name)),
            folder => Ok(folder.to_owned()),
        }
    };
    Ok(claims
        .iter()
        .map(|claim| {
            let claimed = Claimed {
                namespace: claim.namespace.clone(),
                claim: claim.name.clone(),
                volume: claim.volume.clone(),
            };
            (claimed.to_string(), Live { claimed, folder: folder(claim) })
        })
        .collect())
}

/// The volumes of a backup, those that are called the same on the other cluster matched.
#[must_use]
pub fn rows<'a>(saved: &'a Saved, live: &BTreeMap<String, Live>) -> Vec<Row<'a>> {
    let parts = saved.manifest.parts.iter();
    let volumes: Vec<_> = parts
        .filter_map(|part| if let What::Volume(volume) = &part.what { Some((part, volume)) } else { None })
        .collect();
    let count = |claim: &str| {
        volumes.iter().filter(|(_, volume)| format!("{}/{}", volume.namespace, volume.claim) == claim).count()
    };
    volumes
        .iter()
        .map(|(part, volume)| {
            let claim = format!("{}/{}", volume.namespace, volume.claim);
            let claimed = !volume.claim.is_empty();
            // Of two volumes that were kept for the same claim nobody can say here which was in use.
            let only = claimed && count(&claim) == 1;
            let bytes = saved.sizes.get(&part.what.stem()).map_or(0, |(bytes, _)| *bytes);
            let matched = if only { named_alike(&volume.namespace, &volume.claim, live) } else { None };
            Row { key: if only { claim } else { volume.volume.clone() }, claimed, bytes, matched, part }
        })
        .collect()
}

/// The one claim that is called the same, in its namespace of now or as it was called before 0.8.
fn named_alike(namespace: &str, claim: &str, live: &BTreeMap<String, Live>) -> Option<String> {
    let new = Some(renamed::namespace(namespace)).filter(|new| *new != namespace);
    let mut there = std::iter::once(namespace)
        .chain(new)
        .map(|namespace| format!("{namespace}/{claim}"))
        .filter(|name| live.contains_key(name));
    let found = there.next()?;
    there.next().is_none().then_some(found)
}

/// The map as far as it is known, for a person to complete. `of` and `to` are the clusters' names.
#[must_use]
pub fn text(rows: &[Row<'_>], live: &BTreeMap<String, Live>, of: &str, to: &str) -> String {
    let mut text = format!(
        "# Where each claim of the backup of {of} goes on {to}: \"namespace/claim\" = \"namespace/claim\", or \"skip\".\n"
    );
    let taken: BTreeSet<&str> = rows.iter().filter_map(|row| row.matched.as_deref()).collect();
    let free: Vec<&str> = live.keys().map(String::as_str).filter(|name| !taken.contains(name)).collect();
    if !free.is_empty() {
        let _ =
            writeln!(text, "# Claims of {to} that nothing goes into yet: {}", printable(&free.join(", ")));
    }
    for row in rows {
        let goes = row.matched.clone().unwrap_or_default();
        let about = form::bytes(row.bytes);
        let (goes, about) = match (&row.matched, row.claimed) {
            (Some(_), _) => (goes, about),
            (None, true) => (goes, format!("{about}; say where, or \"skip\"")),
            (None, false) => (SKIP.to_owned(), format!("{about}; nobody claimed it")),
        };
        let _ = writeln!(text, "{} = {}  # {about}", word(&row.key), word(&goes));
    }
    text
}

/// A text as TOML writes it.
fn word(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

/// What goes where, once every claim of the backup has its place or is left out. `Err` names all that is in the way.
pub fn settle(
    saved: &Saved,
    rows: &[Row<'_>],
    live: &BTreeMap<String, Live>,
    map: &Map,
) -> Result<Pairs, Failure> {
    let strange: Vec<String> = map
        .keys()
        .filter(|key| !rows.iter().any(|row| row.key == **key))
        .map(|key| format!("the backup has no {key}"))
        .chain(
            map.values()
                .filter(|to| !["", SKIP].contains(&to.as_str()) && !live.contains_key(*to))
                .map(|to| format!("the cluster has no claim {to}")),
        )
        .collect();
    if !strange.is_empty() {
        return Err(refused("map-unknown", &format!("the map does not fit: {}", strange.join("; "))));
    }
    let (mut folders, mut skipped, mut open) = (Vec::new(), Vec::new(), Vec::new());
    let mut taken: BTreeMap<String, &str> = BTreeMap::new();
    for row in rows {
        let told = map.get(&row.key).cloned().or_else(|| row.matched.clone());
        match told.as_deref() {
            Some(SKIP) => skipped.push(row.key.clone()),
            None if !row.claimed => skipped.push(row.key.clone()),
            None | Some("") => open.push(row.key.clone()),
            Some(to) => {
                if let Some(other) = taken.insert(to.to_owned(), &row.key) {
                    return Err(refused(
                        "map-twice",
                        &format!("{other} and {} would both go into {to}", row.key),
                    ));
                }
                folders.push(place(saved, row, live.get(to), to)?);
            }
        }
    }
    if !open.is_empty() {
        let said = format!(
            "nobody has said where these go, and the cluster has no claim of that name: {}",
            open.join(", ")
        );
        return Err(refused("map-short", &said));
    }
    if folders.is_empty() {
        return Err(refused("map-short", "nothing of it goes anywhere"));
    }
    super::apart(&folders)?;
    Ok(Pairs { folders, skipped })
}

fn place(saved: &Saved, row: &Row<'_>, live: Option<&Live>, to: &str) -> Result<PutBack, Failure> {
    let no = |why: &str| refused("claim-not-bound", &format!("{} cannot go into {to}: {why}", row.key));
    let live = live.ok_or_else(|| no("there is no such claim"))?;
    let folder = live.folder.as_ref().map_err(|why| no(why))?;
    let mut put = saved.put_back(&row.part.what, folder);
    put.claim.clone_from(&row.key);
    put.into = Some(live.claimed.clone());
    Ok(put)
}

#[cfg(test)]
mod tests;
