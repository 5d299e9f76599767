//! The truce of a plan: what the cluster and its host do by themselves at night, from the facts (promise M14).

use std::time::Duration;

use crate::facts::Facts;
use crate::facts::clock::Clock;
use crate::facts::is_stackspin;
use crate::facts::nightly::{Does, Nightly};
use crate::plan::{Action, Class, Found, Object, Redo, Shut, Step, Truce};

/// The step that holds. It is in every plan, also where nothing was found: an earlier run that died may have left its hold behind, and
/// then what it holds is found as if it had always been so.
pub(super) fn hold(truce: &Truce) -> Step {
    let title = match count(truce) {
        0 => "Take over what an earlier run may have left held; nothing is to be held".to_owned(),
        1 => "Hold what would change the cluster by itself: 1 thing".to_owned(),
        count => format!("Hold what would change the cluster by itself: {count} things"),
    };
    Step::new("truce/hold", title, Class::Undoable, Action::Hold(truce.clone()))
        .redo(Redo::Repeatable)
        .takes(Duration::from_secs(15), Duration::from_secs(600))
}

/// The step that gives back.
pub(super) fn give_back(truce: Truce) -> Step {
    let title = "Give back what was held, as it was found";
    Step::new("truce/give-back", title, Class::Repeatable, Action::GiveBack(truce))
        .takes(Duration::from_secs(15), Duration::from_secs(600))
}

fn count(truce: &Truce) -> usize {
    let active = truce.cron_jobs.iter().filter(|job| !job.suspended).count();
    let running = truce.controller.iter().filter(|(_, replicas)| *replicas > 0).count();
    active.saturating_add(running).saturating_add(truce.timers.len())
}

/// What there is to hold and to record. A fact that is not known is taken as nothing: the checks block on it, or warn.
pub(super) fn of(facts: &Facts) -> Truce {
    let jobs = facts.nightly.get().map(Vec::as_slice).unwrap_or_default();
    let sources = facts.flux.get().map(|flux| flux.sources.as_slice()).unwrap_or_default();
    let clock = facts.clock.get().ok();
    let shut = |does: Does| -> Vec<Shut> {
        let active = jobs.iter().filter(|job| job.does == does && !job.suspended);
        active.filter_map(|job| hour(job, clock?)).collect()
    };
    let mut cron_jobs: Vec<Found> = jobs
        .iter()
        .map(|job| found("cronjobs.batch", &job.namespace, &job.name, job.suspended))
        .filter(|job| sayable(&job.object))
        .collect();
    cron_jobs.sort_by(|a, b| a.object.cmp(&b.object));
    Truce {
        cron_jobs,
        sources: sources
            .iter()
            .filter(|source| is_stackspin(source))
            .map(|source| {
                let kind = "gitrepositories.source.toolkit.fluxcd.io";
                found(kind, &source.namespace, &source.name, source.suspended)
            })
            .collect(),
        controller: controller(facts, jobs),
        timers: facts.timers.get().map(|timers| timers.active.clone()).unwrap_or_default(),
        sources_shut: shut(Does::SuspendSource),
        controller_shut: shut(Does::ShutUpgradeController),
    }
}

fn found(kind: &str, namespace: &str, name: &str, suspended: bool) -> Found {
    Found { object: Object { kind: kind.into(), namespace: namespace.into(), name: name.into() }, suspended }
}

/// Whether its names are such as Kubernetes allows. Others cannot be asked for.
fn sayable(object: &Object) -> bool {
    let plain = |name: &str| {
        !name.is_empty()
            && name
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'.'))
    };
    plain(&object.namespace) && plain(&object.name)
}

/// The controller, in its own namespace; where that is not told, in the one of the job that scales it.
fn controller(facts: &Facts, jobs: &[Nightly]) -> Option<(Object, u32)> {
    let upgrades = facts.upgrades.get().ok()?;
    let replicas = u32::try_from(upgrades.controller_replicas?).ok()?;
    let scales =
        |job: &&Nightly| matches!(job.does, Does::ScaleUpgradeController | Does::ShutUpgradeController);
    let namespace = match upgrades.controller_namespace.as_str() {
        "" => jobs.iter().find(scales)?.namespace.as_str(),
        namespace => namespace,
    };
    let (kind, name) = ("deployments.apps".to_owned(), "system-upgrade-controller".to_owned());
    let object = Object { kind, namespace: namespace.to_owned(), name };
    sayable(&object).then_some((object, replicas))
}

fn hour(job: &Nightly, clock: &Clock) -> Option<Shut> {
    Some(Shut { schedule: job.schedule.clone(), offset_seconds: job.offset_seconds(clock)? })
}
