//! The helm controller: installs, upgrades with counted retries, uninstalls (facts section 5.3).

use std::collections::BTreeSet;
use std::time::Instant;

use serde_json::{Value, json};

use super::{Controllers, World, attempt};
use crate::lab::encoding::{base64, now as date, plain, sha1};
use crate::lab::faults::Fault;
use crate::lab::kinds::{CONFIG_MAP, RELEASE, SECRET};
use crate::lab::object::finalizers;
use crate::lab::release;
use crate::lab::spec::Vintage;
use crate::lab::store::{Key, Store};

/// Annotations of Flux 2.2 and later.
const RESET: &str = "reconcile.fluxcd.io/resetAt";
const FORCE: &str = "reconcile.fluxcd.io/forceAt";

pub(super) fn look(controllers: &mut Controllers, store: &mut Store, world: &World<'_>, now: Instant) {
    for (key, object) in super::snapshot(store, RELEASE) {
        if super::leaving(&object) {
            leave(controllers, store, world, &key, &object);
            continue;
        }
        if super::suspended(&object) {
            controllers.due.remove(&key);
            continue;
        }
        let values = values(store, &key, &object);
        let seen = controllers.values.get(&key) == Some(&values);
        let needed = !super::current(&object) || super::asked(&object) || !seen;
        if needed && !controllers.planned(&key) {
            store.edit(&key, |object| {
                super::progressing(object, world.spec.flux, "Reconciliation in progress");
            });
        }
        if !(needed || controllers.planned(&key)) || !controllers.turn(&key, now, world.spec.pace.helm) {
            continue;
        }
        controllers.values.insert(key.clone(), values.clone());
        reconcile(controllers, store, world, &key, &object, &values, now);
    }
}

/// A deleted release: uninstalled, unless it is suspended.
fn leave(controllers: &mut Controllers, store: &mut Store, world: &World<'_>, key: &Key, object: &Value) {
    if finalizers(object).is_empty() || super::suspended(object) {
        super::let_go(store, key);
        controllers.due.remove(key);
        return;
    }
    if key.name == "oas-secrets" && world.has(&Fault::OasSecretsStays) {
        store.edit(key, |object| {
            let text = "Helm uninstall failed: timed out waiting for the condition";
            super::set_condition(object, world.spec.flux, "Ready", "False", "UninstallFailed", text);
        });
        return;
    }
    let name = release::name(key, object);
    for gone in
        records(store, key, &name).iter().flat_map(|(_, record)| recorded(record)).collect::<BTreeSet<Key>>()
    {
        let _ = store.delete(&gone);
    }
    for (record, _) in records(store, key, &name) {
        let _ = store.delete(&record);
    }
    controllers.due.remove(key);
    controllers.values.remove(key);
    super::let_go(store, key);
}

fn reconcile(
    controllers: &mut Controllers,
    store: &mut Store,
    world: &World<'_>,
    key: &Key,
    object: &Value,
    values: &str,
    now: Instant,
) {
    let name = release::name(key, object);
    let chart = object["spec"]["chart"]["spec"]["chart"].as_str().unwrap_or("").to_owned();
    let wanted = object["spec"]["chart"]["spec"]["version"].as_str().unwrap_or("").to_owned();
    let checksum = sha1(values);
    let status = &object["status"];
    let changed = !super::current(object)
        || status["lastAttemptedRevision"] != json!(wanted)
        || status["lastAttemptedValuesChecksum"] != json!(checksum);
    let annotations = &object["metadata"]["annotations"];
    let by_hand = |annotation: &str, done: &str| {
        world.spec.flux >= Vintage::V1
            && !annotations[annotation].is_null()
            && annotations[annotation] == *super::requested(object)
            && annotations[annotation] != status[done]
    };
    let (reset, force) = (by_hand(RESET, "lastHandledResetAt"), by_hand(FORCE, "lastHandledForceAt"));
    let latest = records(store, key, &name).pop();
    let deployed = latest
        .as_ref()
        .is_some_and(|(_, record)| record["metadata"]["labels"]["status"] == json!("deployed"));
    let installed = latest.is_some();
    // Counters begin anew only when the generation, the chart or the values changed; a plain reconcile resets nothing.
    let failures = if changed || reset { 0 } else { status["upgradeFailures"].as_i64().unwrap_or(0) };
    let retries = object["spec"]["upgrade"]["remediation"]["retries"].as_i64().unwrap_or(0);
    let vintage = world.spec.flux;
    let outcome = if installed && deployed && !changed && !force {
        Outcome::Unchanged
    } else if retries >= 0 && failures > retries && !force {
        Outcome::Exhausted
    } else {
        let record = latest.as_ref().map(|(_, record)| record);
        let objects = release::objects(world, store, key, object, values, &wanted);
        match attempt::trouble(controllers, store, world, key, (&wanted, values), record, &objects) {
            Some(text) => Outcome::Failed(text),
            None => Outcome::Released,
        }
    };
    let number = latest
        .as_ref()
        .and_then(|(_, record)| record["metadata"]["labels"]["version"].as_str()?.parse::<u64>().ok())
        .unwrap_or(0);
    let mut objects = last_objects(latest.as_ref());
    let (status, applies) = match &outcome {
        Outcome::Unchanged | Outcome::Exhausted => ("", false),
        Outcome::Failed(text) => ("failed", text.contains(attempt::HOOK)),
        Outcome::Released => ("deployed", true),
    };
    if applies {
        objects = carry_out(store, world, key, object, values, &wanted, &objects);
    }
    if !status.is_empty() {
        write_record(store, key, &name, number + 1, status, &wanted, &objects);
    }
    if key.name == "loki" && matches!(outcome, Outcome::Exhausted) {
        controllers.loki_spent = true;
    }
    if matches!(outcome, Outcome::Failed(_)) {
        controllers.again(key, now + world.spec.pace.retry);
    }
    let asked = super::requested(object).clone();
    store.edit(key, |object| {
        super::hold(object);
        super::handled(object);
        if reset {
            object["status"]["lastHandledResetAt"] = asked.clone();
        }
        if force {
            object["status"]["lastHandledForceAt"] = asked;
        }
        object["status"]["lastAttemptedRevision"] = json!(wanted);
        object["status"]["lastAttemptedValuesChecksum"] = json!(checksum);
        match outcome {
            Outcome::Unchanged => ready(object, world, &name, &chart, &wanted, key),
            Outcome::Exhausted => {
                let text = super::message(world, "upgrade retries exhausted".to_owned());
                super::set_condition(object, vintage, "Ready", "False", "UpgradeFailed", &text);
            }
            Outcome::Failed(text) => {
                object["status"]["failures"] = json!(failures + 1);
                object["status"]["upgradeFailures"] = json!(failures + 1);
                object["status"]["lastReleaseRevision"] = json!(number + 1);
                let text = super::message(world, text);
                super::set_condition(object, vintage, "Released", "False", "UpgradeFailed", &text);
                super::set_condition(object, vintage, "Ready", "False", "UpgradeFailed", &text);
            }
            Outcome::Released => {
                for counter in ["failures", "installFailures", "upgradeFailures"] {
                    crate::lab::object::remove(&mut object["status"], counter);
                }
                object["status"]["lastReleaseRevision"] = json!(number + 1);
                if vintage >= Vintage::V1 {
                    let entry = json!({"name": name, "namespace": key.namespace, "chartName": chart,
                        "chartVersion": wanted, "version": number + 1, "status": "deployed", "lastDeployed": date()});
                    object["status"]["history"] = json!([entry]);
                } else {
                    object["status"]["lastAppliedRevision"] = json!(wanted);
                }
                ready(object, world, &name, &chart, &wanted, key);
            }
        }
    });
}

/// Applies what the chart makes and deletes what it made before and makes no more; gives what was applied.
fn carry_out(
    store: &mut Store,
    world: &World<'_>,
    key: &Key,
    object: &Value,
    values: &str,
    wanted: &str,
    before: &BTreeSet<Key>,
) -> BTreeSet<Key> {
    let mut applied = BTreeSet::new();
    for object in &release::objects(world, store, key, object, values, wanted) {
        store.apply(object);
        applied.extend(Key::of(object));
    }
    for gone in before.difference(&applied) {
        let _ = store.delete(gone);
    }
    applied
}

/// How a reconciliation ends.
#[derive(Debug)]
enum Outcome {
    /// There was nothing to do.
    Unchanged,
    /// It has failed too often and is not tried again.
    Exhausted,
    /// It was tried and failed.
    Failed(String),
    /// It was installed or upgraded.
    Released,
}

fn ready(object: &mut Value, world: &World<'_>, name: &str, chart: &str, version: &str, key: &Key) {
    let text = if world.spec.flux >= Vintage::V1 {
        let number = object["status"]["lastReleaseRevision"].as_u64().unwrap_or(1);
        format!(
            "Helm upgrade succeeded for release {}/{name}.v{number} with chart {chart}@{version}",
            key.namespace
        )
    } else {
        "Release reconciliation succeeded".to_owned()
    };
    let text = super::message(world, text);
    let reason = if world.spec.flux >= Vintage::V1 { "UpgradeSucceeded" } else { "ReconciliationSucceeded" };
    super::set_condition(
        object,
        world.spec.flux,
        "Released",
        "True",
        "UpgradeSucceeded",
        "Helm upgrade succeeded",
    );
    super::set_condition(object, world.spec.flux, "Ready", "True", reason, &text);
}

/// The texts of all values of a release, in order.
fn values(store: &Store, key: &Key, object: &Value) -> String {
    let mut text = String::new();
    for from in object["spec"]["valuesFrom"].as_array().into_iter().flatten() {
        let name = from["name"].as_str().unwrap_or("");
        let key_name = from["valuesKey"].as_str().unwrap_or("values.yaml");
        if from["kind"] == json!("Secret") {
            let found =
                store.peek(SECRET, &key.namespace, name).and_then(|secret| secret["data"][key_name].as_str());
            text.push_str(&String::from_utf8_lossy(&plain(found.unwrap_or(""))));
        } else {
            let found =
                store.peek(CONFIG_MAP, &key.namespace, name).and_then(|map| map["data"][key_name].as_str());
            text.push_str(found.unwrap_or(""));
        }
    }
    text
}

/// Helm's records of a release, oldest first.
fn records(store: &Store, key: &Key, name: &str) -> Vec<(Key, Value)> {
    let begin = format!("sh.helm.release.v1.{name}.v");
    let mut found: Vec<(u64, Key, Value)> = store
        .list(SECRET, Some(&key.namespace))
        .filter_map(|(key, object)| {
            let number = key.name.strip_prefix(&begin)?.parse().ok()?;
            Some((number, key.clone(), (**object).clone()))
        })
        .collect();
    found.sort_by_key(|(number, _, _)| *number);
    found.into_iter().map(|(_, key, object)| (key, object)).collect()
}

/// The objects that a record names.
fn recorded(record: &Value) -> Vec<Key> {
    let text = plain(record["data"]["release"].as_str().unwrap_or(""));
    let content: Value = serde_json::from_slice(&text).unwrap_or_default();
    content["objects"].as_array().into_iter().flatten().filter_map(Key::of).collect()
}

fn last_objects(latest: Option<&(Key, Value)>) -> BTreeSet<Key> {
    latest.map(|(_, record)| recorded(record).into_iter().collect()).unwrap_or_default()
}

/// Writes a record as Helm does, but for the packing: the lab's is plain JSON in base64. The one before is superseded, and
/// no more than five are kept.
fn write_record(
    store: &mut Store,
    key: &Key,
    name: &str,
    number: u64,
    status: &str,
    chart: &str,
    objects: &BTreeSet<Key>,
) {
    let old = records(store, key, name);
    let surplus = old.len().saturating_sub(4);
    for (at, (record, _)) in old.iter().enumerate() {
        if at < surplus {
            let _ = store.delete(record);
        } else if status == "deployed" {
            store.edit(record, |object| {
                if object["metadata"]["labels"]["status"] == json!("deployed") {
                    object["metadata"]["labels"]["status"] = json!("superseded");
                }
            });
        }
    }
    let objects: Vec<Value> = objects
        .iter()
        .map(|key| {
            json!({"kind": key.kind.about().kind, "metadata": {"name": key.name, "namespace": key.namespace}})
        })
        .collect();
    let content = json!({"name": name, "version": number, "chart": chart, "objects": objects});
    let _ = store.create(
        SECRET,
        &key.namespace,
        json!({"type": "helm.sh/release.v1",
            "metadata": {"name": format!("sh.helm.release.v1.{name}.v{number}"), "labels": {"owner": "helm",
                "name": name, "status": status, "version": number.to_string()}},
            "data": {"release": base64(content.to_string())}}),
    );
}
