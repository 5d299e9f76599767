//! Another upgrade under way: of k3s, or of a Helm release.

use super::{Check, Verdict, When, judged, listed};
use crate::facts::Facts;

pub(super) const CHECK: Check = Check {
    id: "upgrade-running",
    title: "No other upgrade under way",
    when: When::Before,
    judge,
    remedy: "Wait until it is done. A release that stays in a pending state for an hour was left there by a crash: roll it back, \
             or delete that revision's secret.",
};

fn judge(_: Option<&Facts>, now: &Facts) -> Verdict {
    judged(|| {
        let upgrades = now.upgrades.get()?;
        let replicas = upgrades.controller_replicas.unwrap_or(0);
        Ok(if !upgrades.k3s_jobs.is_empty() {
            Verdict::block(format!("k3s is being upgraded by {}", listed(&upgrades.k3s_jobs, ", ")))
        } else if !upgrades.pending_releases.is_empty() {
            let pending = listed(&upgrades.pending_releases, ", ");
            Verdict::block(format!("Helm has not finished with {pending}"))
        } else if replicas > 0 {
            Verdict::warn(format!(
                "the system-upgrade-controller is scaled to {replicas}: it may upgrade k3s at any time"
            ))
        } else {
            Verdict::pass("no upgrade is under way")
        })
    })
}
