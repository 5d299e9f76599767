//! 0.5 → 0.6: "set up a completely new cluster" (guide, "Upgrading to 0.6.0"; facts section 1.1). Nothing is done in place.
//!
//! What is fleet's part: a proven backup, the map of claims and folders, and the data put into the new cluster. The rest is a person's.
//! A cluster with Flux 1 does not tell 0.3, 0.4 and 0.5 apart (facts section 4), so this is the rung of all three. The rungs before it differ in words
//! alone, and take their steps from here.

use super::Migration;
use crate::facts::Facts;
use crate::plan::{Ask, Step};
use crate::remote::quote;
use crate::version::Version;

pub(super) const MIGRATION: Migration =
    Migration { id: "to-0.6", from: Version::V0_5, to: Version::V0_6, steps, notes };

#[expect(clippy::unnecessary_wraps, reason = "the table's form")]
fn steps(facts: &Facts) -> Result<Vec<Step>, String> {
    let settings = "Its settings go from settings.yml into a new .flux.env, as install/.flux.env.example names them: fleet vars convert --help.";
    Ok(rebuild("to-0.6", "0.6 or later", settings, facts))
}

/// The steps of a rung that is rebuilt: all of them a person's. `new`: which version the new cluster is to have.
pub(super) fn rebuild(rung: &str, new: &str, settings: &str, facts: &Facts) -> Vec<Step> {
    let old = &facts.cluster;
    let restore = format!("fleet restore {} --to NEW", quote(&format!("{old}/last")));
    let step = |name: &str, title: String, lines: &[&str]| {
        Ask::step(format!("{rung}/{name}"), title, lines.iter().map(|line| (*line).to_owned()).collect())
    };
    vec![
        step(
            "new-cluster",
            format!("Set up a new cluster with Stackspin {new} for {old}, on another host"),
            &[
                "Install it by its own documentation, with every application that has data to keep, and let it come up.",
                settings,
                "Put it into the inventory under a name of its own, and pin its host: fleet trust.",
                &format!(
                    "{old} goes on running: leave it as it is, and let its users know when it is to end."
                ),
            ],
        ),
        step(
            "restore",
            format!("Put the data of {old} into the new cluster"),
            &[
                &format!(
                    "Write down where each claim goes: {restore} --print-map > map.toml; complete the file."
                ),
                &format!("Put the data there: {restore} --map map.toml."),
                "Make the new cluster's secrets and the passwords in that data agree: docs/restore.md#passwords.",
                "What users write on the old cluster after its backup is not in it: if that matters, stop them first and begin this anew.",
            ],
        ),
        step(
            "switch-over",
            format!("See that the new cluster does what {old} did, and let it take its place"),
            &[
                "fleet check --on NEW must be content, and users must find their files.",
                "Then let the domain point to it.",
                &format!(
                    "Take {old} out of the inventory, and keep its backup: fleet never removes the old cluster."
                ),
            ],
        ),
    ]
}

pub(super) fn notes(facts: &Facts) -> Vec<String> {
    let mut notes = vec![
        "this version is not upgraded in place: the cluster is backed up and proven, and left as it is. A new cluster takes its place, which a \
         person sets up"
            .to_owned(),
        "the way ends here for this cluster. Later versions are the new cluster's own rungs: fleet plan --on NEW".to_owned(),
    ];
    if facts.flux.get().is_ok_and(crate::facts::flux::Flux::is_flux_1) {
        notes.push(
            "0.3, 0.4 and 0.5 look alike from outside, and the way is the same for all three".to_owned(),
        );
    }
    notes
}
