//! Kubernetes' own controllers, as far as Stackspin needs them: workloads and pods, claims and volumes, namespaces.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::{Controllers, World};
use crate::lab::encoding::{base64, now, sha1};
use crate::lab::faults::Fault;
use crate::lab::kinds::{DEPLOYMENT, Kind, NAMESPACE, POD, PV, PVC, REPLICA_SET, SECRET, STATEFUL_SET};
use crate::lab::object::finalizers;
use crate::lab::store::{Key, Store};
use crate::lab::volumes;

pub(super) fn look(controllers: &mut Controllers, store: &mut Store, world: &World<'_>) {
    namespaces(store);
    workloads(store, world);
    volumes::look(store, world.storage, world.spec);
    if world.has(&Fault::SecretsConflict) && !controllers.conflict_spent {
        conflict(controllers, store);
    }
}

/// A namespace that is deleted takes everything in it along, and goes when it is empty.
fn namespaces(store: &mut Store) {
    let leaving: Vec<String> = store
        .list(NAMESPACE, None)
        .filter(|(_, object)| super::leaving(object))
        .map(|(key, _)| key.name.clone())
        .collect();
    for name in leaving {
        let inside: Vec<Key> =
            store.all().filter(|(key, _)| key.namespace == name).map(|(key, _)| key.clone()).collect();
        for key in &inside {
            let _ = store.delete(key);
        }
        if !store.all().any(|(key, _)| key.namespace == name) {
            store.remove(&Key::new(NAMESPACE, "", name));
        }
    }
}

/// Deployments and StatefulSets get as many pods as they want.
fn workloads(store: &mut Store, world: &World<'_>) {
    let mut pods_of: BTreeMap<String, Vec<Key>> = BTreeMap::new();
    for (key, pod) in store.list(POD, None) {
        let uid = pod["metadata"]["ownerReferences"][0]["uid"].as_str().unwrap_or("");
        pods_of.entry(uid.to_owned()).or_default().push(key.clone());
    }
    for kind in [DEPLOYMENT, STATEFUL_SET] {
        for (key, object) in super::snapshot(store, kind) {
            let wanted = object["spec"]["replicas"].as_u64().unwrap_or(1);
            let owner = if kind == DEPLOYMENT { replica_set(store, &key, &object) } else { object.clone() };
            let uid = owner["metadata"]["uid"].as_str().unwrap_or("").to_owned();
            let pods = pods_of.get(&uid).map_or(&[][..], Vec::as_slice);
            let there = pods.len() as u64;
            if super::current(&object) && there == wanted {
                continue;
            }
            // A StatefulSet's pods keep their names, so a changed template makes them anew in place.
            let stale = kind == STATEFUL_SET && !super::current(&object);
            for pod in pods.iter().skip(if stale { 0 } else { usize::try_from(wanted).unwrap_or(usize::MAX) })
            {
                store.remove(pod);
            }
            for at in (if stale { 0 } else { there })..wanted {
                make_pod(store, kind, &owner, &object, at);
            }
            store.edit(&key, |object| {
                object["status"] = json!({"observedGeneration": object["metadata"]["generation"], "replicas": wanted,
                    "readyReplicas": wanted, "availableReplicas": wanted, "updatedReplicas": wanted});
            });
        }
    }
    crashes(store, world);
}

/// The ReplicaSet of a Deployment's present template; older ones go with their pods.
fn replica_set(store: &mut Store, key: &Key, deployment: &Value) -> std::sync::Arc<Value> {
    let hash = sha1(&deployment["spec"]["template"].to_string());
    let name = format!("{}-{}", key.name, &hash[..10]);
    let set = Key::new(REPLICA_SET, key.namespace.clone(), name.clone());
    if let Some(found) = store.get(&set) {
        return found;
    }
    let uid = deployment["metadata"]["uid"].clone();
    let old: Vec<Key> = store
        .list(REPLICA_SET, Some(&key.namespace))
        .filter(|(_, object)| object["metadata"]["ownerReferences"][0]["uid"] == uid)
        .map(|(key, _)| key.clone())
        .collect();
    for key in old {
        store.remove(&key);
    }
    let object = json!({"metadata": {"name": name, "labels": deployment["spec"]["template"]["metadata"]["labels"],
            "ownerReferences": [owner("Deployment", &key.name, &uid)]},
        "spec": {"replicas": deployment["spec"]["replicas"], "selector": deployment["spec"]["selector"],
            "template": deployment["spec"]["template"]}});
    let made = store.create(REPLICA_SET, &key.namespace, object);
    made.unwrap_or_else(|_| std::sync::Arc::new(json!({})))
}

fn owner(kind: &str, name: &str, uid: &Value) -> Value {
    json!({"apiVersion": "apps/v1", "kind": kind, "name": name, "uid": uid, "controller": true,
        "blockOwnerDeletion": true})
}

fn make_pod(store: &mut Store, kind: Kind, owned_by: &Value, workload: &Value, at: u64) {
    let set = &owned_by["metadata"];
    let name = set["name"].as_str().unwrap_or("");
    let pod = if kind == DEPLOYMENT {
        let tail = sha1(&format!("{}{at}{}", set["uid"], store.revision()));
        format!("{name}-{}", &tail[..5])
    } else {
        format!("{name}-{at}")
    };
    let template = &workload["spec"]["template"];
    let owned_kind = if kind == DEPLOYMENT { "ReplicaSet" } else { "StatefulSet" };
    let container = &template["spec"]["containers"][0];
    let mut spec = template["spec"].clone();
    spec["nodeName"] = json!("node");
    let status = json!({"phase": "Running", "hostIP": "203.0.113.10", "podIP": "10.42.0.7", "startTime": now(),
        "conditions": [{"type": "Ready", "status": "True"}, {"type": "ContainersReady", "status": "True"}],
        "containerStatuses": [{"name": container["name"], "image": container["image"], "ready": true,
            "restartCount": 0, "state": {"running": {"startedAt": now()}}}]});
    let object = json!({"metadata": {"name": pod, "labels": template["metadata"]["labels"],
            "ownerReferences": [owner(owned_kind, name, &set["uid"])]}, "spec": spec, "status": status});
    let namespace = workload["metadata"]["namespace"].as_str().unwrap_or("");
    // Its namespace may be on its way out.
    let _ = store.create(POD, namespace, object);
}

/// Pods that a fault makes crash, and those that recover when it is gone.
fn crashes(store: &mut Store, world: &World<'_>) {
    let crashing: BTreeSet<&str> = world
        .faults
        .iter()
        .filter_map(|fault| match fault {
            Fault::FailingPod => world.spec.apps.last().map(String::as_str),
            _ => None,
        })
        .collect();
    let changed: Vec<(Key, bool)> = store
        .list(POD, None)
        .filter(|(key, _)| key.namespace.ends_with("-apps"))
        .filter_map(|(key, pod)| {
            let release = pod["metadata"]["labels"]["app.kubernetes.io/instance"].as_str().unwrap_or("");
            let should = crashing.contains(release);
            let does = !pod["status"]["containerStatuses"][0]["state"]["waiting"].is_null();
            (should != does).then(|| (key.clone(), should))
        })
        .collect();
    for (key, crash) in changed {
        store.edit(&key, |pod| {
            let ready = if crash { "False" } else { "True" };
            for condition in pod["status"]["conditions"].as_array_mut().into_iter().flatten() {
                condition["status"] = json!(ready);
            }
            let container = &mut pod["status"]["containerStatuses"][0];
            container["ready"] = json!(!crash);
            if crash {
                container["restartCount"] = json!(17);
                container["state"] = json!({"waiting": {"reason": "CrashLoopBackOff",
                    "message": "back-off 5m0s restarting failed container"}});
            } else {
                container["state"] = json!({"running": {"startedAt": now()}});
            }
        });
    }
}

/// The fault: a removed secret is there again, made by somebody else.
fn conflict(controllers: &mut Controllers, store: &mut Store) {
    let (namespace, name) = ("flux-system", "oas-nextcloud-variables");
    let release_gone = store.peek(crate::lab::kinds::RELEASE, "oas", "oas-secrets").is_none();
    if release_gone && store.peek(SECRET, namespace, name).is_none() {
        controllers.conflict_spent = true;
        let data = json!({"nextcloud_password": base64("made by somebody else")});
        let _ = store.create(SECRET, namespace, json!({"metadata": {"name": name}, "data": data}));
    }
}

/// Whether all pods of a release are ready.
#[must_use]
pub(in crate::lab) fn pods_ready(store: &Store, namespace: &str, release: &str) -> bool {
    let mut pods = store
        .list(POD, Some(namespace))
        .filter(|(_, pod)| pod["metadata"]["labels"]["app.kubernetes.io/instance"] == json!(release))
        .peekable();
    pods.peek().is_some()
        && pods.all(|(_, pod)| pod["status"]["containerStatuses"][0]["ready"] == json!(true))
}

/// The PersistentVolumes and claims, for readers outside this room.
#[must_use]
pub(in crate::lab) fn bound(store: &Store) -> Vec<(Key, String)> {
    store
        .list(PV, None)
        .filter(|(_, volume)| finalizers(volume).is_empty() || volume["status"]["phase"] == json!("Bound"))
        .filter_map(|(_, volume)| {
            let claim = &volume["spec"]["claimRef"];
            let key = Key::new(PVC, claim["namespace"].as_str()?, claim["name"].as_str()?);
            Some((key, volume["spec"]["hostPath"]["path"].as_str()?.to_owned()))
        })
        .collect()
}
