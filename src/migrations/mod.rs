//! The ladder: one file a rung, from one version to the next.
//!
//! Adding one: the file, the two lines here, the heading in `docs/migrations.md`; `tests/house.rs` names what is missing.

use crate::facts::Facts;
use crate::plan::Step;
use crate::version::Version;

mod to_0_7;

/// One rung.
#[derive(Debug, Clone, Copy)]
pub struct Migration {
    /// Kebab-case, never changed: heading in `docs/migrations.md`, first half of its step ids, folder in the run.
    pub id: &'static str,
    /// From this version.
    pub from: Version,
    /// To this one.
    pub to: Version,
    /// The steps for a cluster with these facts, after its backup is proven. `Err` says what is missing to make them exactly.
    pub steps: fn(&Facts) -> Result<Vec<Step>, String>,
    /// What a person must know about this cluster, one sentence each.
    pub notes: fn(&Facts) -> Vec<String>,
}

/// Every rung, lowest first.
pub const ALL: &[Migration] = &[to_0_7::MIGRATION];

/// The rungs from one version to a later one, in order.
///
/// `Err` is the first version on the way that no rung leaves from: no version is ever skipped.
pub fn route(from: Version, to: Version) -> Result<Vec<&'static Migration>, Version> {
    let mut rungs = Vec::new();
    let mut at = from;
    while at < to {
        let rung = ALL.iter().find(|migration| migration.from == at).ok_or(at)?;
        rungs.push(rung);
        at = rung.to;
    }
    Ok(rungs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_skips_nothing_and_names_the_gap() {
        let rungs = route(Version::V0_6, Version::V0_7).unwrap();
        assert_eq!(rungs.iter().map(|rung| rung.id).collect::<Vec<_>>(), ["to-0.7"]);
        assert_eq!(route(Version::V0_5, Version::V0_7).unwrap_err(), Version::V0_5);
        assert!(route(Version::V0_7, Version::V0_7).unwrap().is_empty());
    }
}
