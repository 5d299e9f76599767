//! 1.0 → 2: upstream's upgrade script, run again after its known fault, and `fix-app` for the applications that end up failing (guide, "From 1.0
//! to 2"; facts section 6.4).
//!
//! Secrets get another keeper here, and none of them may change: the check `secrets-unchanged` compares each one's hash with that of before.

use super::{HOUR, MINUTE, Migration, STACKSPIN, converge, fetch, left_alone, resume, script, scripted};
use crate::facts::Facts;
use crate::plan::{Action, Class, Probe, Redo, Step};
use crate::version::Version;

pub(super) const MIGRATION: Migration =
    Migration { id: "to-2", from: Version::V1_0, to: Version::V2, steps, notes: left_alone };

/// "They will most likely end up in a failing state" (guide).
const FAILING: [&str; 2] = ["nextcloud", "zulip"];

/// Faults that this rung is known to meet, and those of any upgrade.
const REMEDIES: [&str; 5] =
    ["node-exporter", "webhook", "pending-release", "remediation-failed", "retries-exhausted"];

fn steps(facts: &Facts) -> Result<Vec<Step>, String> {
    let (scripts, source) = scripted(facts, STACKSPIN)?;
    let cluster = scripts.folder.as_str();
    let upgrade =
        script(scripts, &["bin/upgrade-scripts/to-2.0/upgrade.sh", cluster], None, &["node-exporter"])?;
    let installed = facts.apps();
    let apps: Vec<String> =
        FAILING.into_iter().filter(|app| installed.iter().any(|one| one == app)).map(str::to_owned).collect();

    let mut steps = Vec::new();
    if source.suspended {
        steps.push(resume("to-2/resume-source"));
    }
    // "If the upgrade script fails […] please run the upgrade script again" (guide).
    steps.push(
        Step::new("to-2/upgrade", "Run upstream's upgrade script to 2", Class::Irreversible, upgrade)
            .redo(Redo::Repeatable)
            .takes(20 * MINUTE, 3 * HOUR),
    );
    steps.push(fetch("to-2/fetch", Version::V2));
    if !apps.is_empty() {
        steps.push(settle(&apps));
    }
    for app in &apps {
        let well = Probe::ReleaseReady { name: app.clone() };
        let fix = script(
            scripts,
            &["bin/upgrade-scripts/to-2.0/fix-app.sh", cluster, app],
            Some(well.clone()),
            &[],
        )?;
        steps.push(
            Step::new(
                format!("to-2/fix-{app}"),
                format!("Run upstream's fix-app for {app}, if it has failed"),
                Class::Irreversible,
                fix,
            )
            .redo(Redo::Unless(well))
            .takes(10 * MINUTE, 20 * MINUTE)
            .down(10 * MINUTE),
        );
    }
    steps.push(converge("to-2/converge", Version::V2, &REMEDIES));
    Ok(steps)
}

/// All else first: while Flux is still at it nobody can tell whether these have failed.
fn settle(apps: &[String]) -> Step {
    Step::new(
        "to-2/settle",
        format!("Wait until all is ready but {}, which may fail", apps.join(" and ")),
        Class::Repeatable,
        Action::WaitUntil {
            probe: Probe::Settled { source: STACKSPIN.into(), apps: apps.to_vec() },
            remedies: REMEDIES.map(str::to_owned).to_vec(),
        },
    )
    .takes(30 * MINUTE, 3 * HOUR)
    .down(10 * MINUTE)
}
