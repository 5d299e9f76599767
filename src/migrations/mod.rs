//! The ladder: one file a rung, from one version to the next.
//!
//! Adding one: the file, the two lines here, the heading in `docs/migrations.md`; `tests/house.rs` names what is missing.

use std::time::Duration;

use crate::facts::Facts;
use crate::facts::flux::Source;
use crate::facts::scripts::Scripts;
use crate::plan::{Action, Class, Local, Probe, Redo, Step};
use crate::remote::Command;
use crate::version::Version;

mod to_0_3;
mod to_0_4;
mod to_0_5;
mod to_0_6;
mod to_0_7;
mod to_0_8;
mod to_1_0;
mod to_2;

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
pub const ALL: &[Migration] = &[
    to_0_3::MIGRATION,
    to_0_4::MIGRATION,
    to_0_5::MIGRATION,
    to_0_6::MIGRATION,
    to_0_7::MIGRATION,
    to_0_8::MIGRATION,
    to_1_0::MIGRATION,
    to_2::MIGRATION,
];

impl Migration {
    /// Whether a new cluster takes the place of the old one (guide rows G9 to G12): there the way of a cluster ends. The old one is left as it is,
    /// but for the rung that [`loses_data`].
    #[must_use]
    pub fn is_rebuilt(&self) -> bool {
        self.to <= Version::V0_6
    }
}

/// Whether a rung deletes data that only the backup has afterwards, by its id (guide row G12): it needs the operator's own word.
#[must_use]
pub fn loses_data(id: &str) -> bool {
    id == to_0_3::MIGRATION.id
}

/// The rung that is rebuilt from this version, if there is one: the last that a cluster of this version takes.
#[must_use]
pub fn rebuilt(from: Version) -> Option<&'static Migration> {
    ALL.iter().find(|migration| migration.from == from && migration.is_rebuilt())
}

/// Whether it is such a rung, by its id.
#[must_use]
pub fn is_rebuilt(id: &str) -> bool {
    ALL.iter().any(|migration| migration.id == id && migration.is_rebuilt())
}

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

/// The source of Stackspin since 0.8 (facts section 3.5).
const STACKSPIN: &str = "stackspin";
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);

/// What a rung needs that upstream's own scripts climb: them, and the source that they let follow another branch.
fn scripted<'a>(facts: &'a Facts, source: &str) -> Result<(&'a Scripts, &'a Source), String> {
    let scripts =
        facts.scripts.get().map_err(|why| format!("upstream's scripts cannot be run here: {why}"))?;
    let flux = facts.flux.get().map_err(|why| format!("its Flux objects are not known: {why}"))?;
    let found = flux.sources.iter().find(|found| found.namespace == "flux-system" && found.name == source);
    Ok((scripts, found.ok_or_else(|| format!("it has no GitRepository flux-system/{source}"))?))
}

/// A script of the release: run only where the probe says that it is needed, and again after a fault that one of the remedies knows.
fn script(
    scripts: &Scripts,
    argv: &[&str],
    unless: Option<Probe>,
    remedies: &[&str],
) -> Result<Action, String> {
    let remedies = remedies.iter().map(|id| (*id).to_owned()).collect();
    Ok(match scripts.run(argv)? {
        Action::Local(local) => Action::Local(Local { unless, remedies, ..local }),
        other => other,
    })
}

/// A suspended source ignores its new branch (facts section 8, trap 8), and upstream's scripts know no window. The truce suspends it again at
/// the end, as it was found.
fn resume(id: &str) -> Step {
    Step::new(
        id,
        format!("Resume source {STACKSPIN}, which the nightly window had suspended"),
        Class::Undoable,
        Action::Run(
            Command::new(
                "k3s kubectl patch gitrepositories.source.toolkit.fluxcd.io stackspin -n flux-system --type merge -p",
            )
            .fixed(r#"'{"spec":{"suspend":false}}'"#),
        ),
    )
    .redo(Redo::Unless(Probe::SourceSuspended { source: STACKSPIN.into(), suspended: false }))
}

/// What a script must have done whatever else it did: Flux follows the branch, and has fetched it.
fn fetch(id: &str, to: Version) -> Step {
    let branch = to.branch();
    Step::new(
        id,
        format!("Wait until Flux has fetched {branch}"),
        Class::ReadOnly,
        Action::WaitUntil {
            probe: Probe::SourceAt { source: STACKSPIN.into(), branch },
            remedies: Vec::new(),
        },
    )
    .takes(MINUTE, 15 * MINUTE)
}

/// Faults that any upgrade may meet: the network was away when Flux fetched something.
const OF_THE_NETWORK: [&str; 2] = ["chart-not-ready", "source-not-ready"];

/// Remedies of a rung, and those of every rung.
fn and_of_the_network(remedies: &[&str]) -> Vec<String> {
    remedies.iter().chain(&OF_THE_NETWORK).map(|id| (*id).to_owned()).collect()
}

/// The end of a rung. "This may take quite a while" (guide); facts section 8, trap 14 asks for two hours at least.
fn converge(id: &str, to: Version, remedies: &[&str]) -> Step {
    Step::new(
        id,
        format!("Wait until every kustomization is ready at {} and every Helm release is ready", to.branch()),
        Class::Repeatable,
        Action::WaitUntil {
            probe: Probe::Converged { source: STACKSPIN.into() },
            remedies: and_of_the_network(remedies),
        },
    )
    .takes(30 * MINUTE, 3 * HOUR)
    .down(10 * MINUTE)
}

/// What is left alone: kustomizations of sources that are not Stackspin's.
fn left_alone(facts: &Facts) -> Vec<String> {
    others(facts, STACKSPIN)
}

/// The same on a cluster whose own source is this one.
fn others(facts: &Facts, source: &str) -> Vec<String> {
    let Ok(flux) = facts.flux.get() else { return Vec::new() };
    let foreign = flux.kustomizations.iter().filter(|kustomization| kustomization.source != source);
    let foreign: Vec<&str> = foreign.map(|kustomization| kustomization.name.as_str()).collect();
    if foreign.is_empty() {
        return Vec::new();
    }
    vec![format!(
        "Kustomizations of other sources are left alone and not waited for: {}. Look at them afterwards.",
        foreign.join(", ")
    )]
}

/// What the rung to a version costs and asks for, in a few words: for a plan that only outlines it, before there are facts to plan it from.
#[must_use]
pub const fn outline(to: Version) -> &'static str {
    match to {
        Version::V0_7 => {
            "about 45 minutes and the copy; down for the copy and about 10 minutes; asks for nothing"
        }
        Version::V0_8 => {
            "about an hour and a half and the copy; down for the copy and about an hour, while namespaces are left and applications installed \
             anew; asks for a Stackspin checkout with branch v0.8, kubectl and flux on this machine"
        }
        Version::V1_0 => {
            "about an hour and the copy; down for the copy and about 15 minutes; asks for a Stackspin checkout with branch v1.0, kubectl \
             and flux on this machine"
        }
        Version::V2 => {
            "about an hour and the copy, with Nextcloud or Zulip up to 20 minutes more each; down for the copy and about 20 minutes; asks \
             for a Stackspin checkout with branch v2, kubectl, flux and helm on this machine"
        }
        _ => "planned when it is next",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_skips_nothing_and_names_the_gap() {
        let rungs = route(Version::V0_6, Version::V0_7).unwrap();
        assert_eq!(rungs.iter().map(|rung| rung.id).collect::<Vec<_>>(), ["to-0.7"]);
        let all = route(Version::V0_3, Version::V2).unwrap();
        let ids: Vec<&str> = all.iter().map(|rung| rung.id).collect();
        assert_eq!(ids, ["to-0.4", "to-0.5", "to-0.6", "to-0.7", "to-0.8", "to-1.0", "to-2"]);
        assert_eq!(all.iter().filter(|rung| rung.is_rebuilt()).count(), 3);
        let losing = ALL.iter().filter(|rung| loses_data(rung.id)).map(|rung| rung.from);
        assert_eq!(losing.collect::<Vec<_>>(), [Version::Older]);
        assert_eq!(rebuilt(Version::V0_5).map(|rung| rung.id), Some("to-0.6"));
        assert!(route(Version::V0_7, Version::V0_7).unwrap().is_empty());
    }
}
