//! 0.8 → 1.0: upstream's playbook and upgrade script, with their conditions checked before and after (guide, "From 0.8 to 1.0"; facts section 6.3).
//!
//! The guide's text has lost the script's name (facts section 8, trap 7); it is that of the other majors' scripts. Where the release
//! has no such file the step fails before anything is run.

use super::{HOUR, MINUTE, Migration, STACKSPIN, converge, fetch, left_alone, resume, script, scripted};
use crate::facts::Facts;
use crate::plan::{Action, Class, Probe, Redo, Step};
use crate::version::Version;

pub(super) const MIGRATION: Migration =
    Migration { id: "to-1.0", from: Version::V0_8, to: Version::V1_0, steps, notes: left_alone };

/// Faults that this rung is known to meet, and those of any upgrade.
const REMEDIES: [&str; 6] =
    ["webhook", "onlyoffice", "missing-secret", "pending-release", "remediation-failed", "retries-exhausted"];

fn steps(facts: &Facts) -> Result<Vec<Step>, String> {
    let (scripts, source) = scripted(facts, STACKSPIN)?;
    let cluster = scripts.folder.as_str();
    let install = script(scripts, &["python", "-m", "stackspin", cluster, "install"], None, &[])?;
    let upgrade = script(scripts, &["bin/upgrade-scripts/to-1.0/upgrade.sh", cluster], None, &[])?;
    let mut steps = vec![
        // A playbook: run twice it does no more than once.
        Step::new(
            "to-1.0/install",
            "Run upstream's playbook, which brings the host and k3s to 1.0",
            Class::Irreversible,
            install,
        )
        .redo(Redo::Repeatable)
        .takes(15 * MINUTE, HOUR)
        .down(5 * MINUTE),
        Step::new(
            "to-1.0/ready",
            "Wait until k3s is back after its upgrade",
            Class::ReadOnly,
            Action::WaitUntil { probe: Probe::ClusterReady, remedies: Vec::new() },
        )
        .takes(MINUTE, 20 * MINUTE),
    ];
    if source.suspended {
        steps.push(resume("to-1.0/resume-source"));
    }
    steps.extend([
        // Nobody says that it may be run twice, as the guide does of the next one: a person is asked.
        Step::new("to-1.0/upgrade", "Run upstream's upgrade script to 1.0", Class::Irreversible, upgrade)
            .takes(10 * MINUTE, 2 * HOUR),
        fetch("to-1.0/fetch", Version::V1_0),
        converge("to-1.0/converge", Version::V1_0, &REMEDIES),
    ]);
    Ok(steps)
}
