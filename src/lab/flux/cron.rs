//! Nightly jobs. A simulated host has no nights: one runs only when it is resumed and has missed its hour while it was suspended, which
//! is Kubernetes' own rule (without `startingDeadlineSeconds` a missed run starts at once).

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{Controllers, World};
use crate::facts::schedule::Schedule;
use crate::lab::encoding::written;
use crate::lab::kinds::{CRON_JOB, DEPLOYMENT, SOURCE};
use crate::lab::store::{Key, Store};

pub(super) fn look(controllers: &mut Controllers, store: &mut Store, world: &World<'_>) {
    let now = world.clock();
    for (key, job) in super::snapshot(store, CRON_JOB) {
        if job["status"].is_null() {
            store.edit(&key, |job| job["status"] = json!({}));
        }
        if super::suspended(&job) {
            controllers.asleep.insert(key);
        } else if controllers.asleep.remove(&key) && missed(&job, now) {
            run(store, &key, &job);
            store.edit(&key, |job| job["status"]["lastScheduleTime"] = json!(written(now)));
        }
    }
}

/// Whether its hour went by since it was last started, or since it was made.
fn missed(job: &Value, now: Timestamp) -> bool {
    let last = job["status"]["lastScheduleTime"].as_str();
    let since = last.or_else(|| job["metadata"]["creationTimestamp"].as_str());
    let since = since.and_then(|since| since.parse::<Timestamp>().ok());
    let schedule = job["spec"]["schedule"].as_str().and_then(Schedule::parse);
    let next = schedule.zip(since).and_then(|(schedule, since)| schedule.next(since.as_second(), 0));
    next.is_some_and(|next| next <= now.as_second())
}

/// What its container does.
fn run(store: &mut Store, key: &Key, job: &Value) {
    let command = &job["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"][0]["command"];
    let words: Vec<&str> = command.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    match *words {
        ["flux", verb @ ("suspend" | "resume"), "source", "git", name] => {
            let source = Key::new(SOURCE, key.namespace.clone(), name);
            store.edit(&source, |source| source["spec"]["suspend"] = json!(verb == "suspend"));
        }
        ["kubectl", "scale", "deployment", name, "-n", namespace, replicas] => {
            let replicas = replicas.strip_prefix("--replicas=").and_then(|number| number.parse::<u64>().ok());
            store.edit(&Key::new(DEPLOYMENT, namespace, name), |controller| {
                controller["spec"]["replicas"] = json!(replicas);
            });
        }
        _ => {}
    }
}
