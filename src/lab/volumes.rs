//! Claims, volumes and their folders: the binder and the local-path provisioner (facts section 3.2).

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use serde_json::{Value, json};

use super::content;
use super::kinds::{Kind, POD, PV, PVC};
use super::object::{finalizers, remove};
use super::spec::HostSpec;
use super::store::{Key, Store};
use crate::version::Version;

const CLAIM_FINALIZER: &str = "kubernetes.io/pvc-protection";
const VOLUME_FINALIZER: &str = "kubernetes.io/pv-protection";

/// Binds claims, releases volumes, and removes the folders of released ones whose policy is Delete.
pub(super) fn look(store: &mut Store, storage: &Path, spec: &HostSpec) {
    claims(store, storage, spec);
    volumes(store, storage);
}

fn snapshot(store: &Store, kind: Kind) -> Vec<(Key, Arc<Value>)> {
    store.list(kind, None).map(|(key, object)| (key.clone(), object.clone())).collect()
}

fn claims(store: &mut Store, storage: &Path, spec: &HostSpec) {
    let claims = snapshot(store, PVC);
    if claims.iter().any(|(_, claim)| !claim["metadata"]["deletionTimestamp"].is_null()) {
        let used = used(store);
        for (key, claim) in &claims {
            // A claim that a pod uses stays until the pod is gone.
            if !claim["metadata"]["deletionTimestamp"].is_null()
                && !used.contains(&(key.namespace.clone(), key.name.clone()))
            {
                store.edit(key, |claim| claim["metadata"]["finalizers"] = json!([]));
            }
        }
    }
    for (key, claim) in claims {
        if claim["status"]["phase"] == json!("Bound") || !claim["metadata"]["deletionTimestamp"].is_null() {
            continue;
        }
        let wanted = claim["spec"]["volumeName"].as_str().map(str::to_owned);
        let volume = match wanted {
            Some(name) => Some(name).filter(|name| reserved(store, name, &key, &claim)),
            // One that is kept for this claim goes before a new one.
            None => Some(
                kept(store, &key, &claim).unwrap_or_else(|| provision(store, storage, spec, &key, &claim)),
            ),
        };
        match volume {
            Some(volume) => bind(store, &key, &claim, &volume),
            None => store.edit(&key, |claim| {
                hold(claim, CLAIM_FINALIZER);
                claim["status"]["phase"] = json!("Pending");
            }),
        }
    }
}

/// The claims that pods use.
fn used(store: &Store) -> BTreeSet<(String, String)> {
    store
        .list(POD, None)
        .flat_map(|(key, pod)| {
            let volumes = pod["spec"]["volumes"].as_array().into_iter().flatten();
            volumes
                .filter_map(|volume| volume["persistentVolumeClaim"]["claimName"].as_str())
                .map(|claim| (key.namespace.clone(), claim.to_owned()))
                .collect::<Vec<_>>()
        })
        .collect()
}

/// Whether the volume is free, or kept for this very claim.
fn reserved(store: &Store, volume: &str, key: &Key, claim: &Value) -> bool {
    let Some(volume) = store.peek(PV, "", volume) else { return false };
    let of = &volume["spec"]["claimRef"];
    let ours = of["namespace"] == json!(key.namespace) && of["name"] == json!(key.name);
    of.is_null() || (ours && (of["uid"].is_null() || of["uid"] == claim["metadata"]["uid"]))
}

/// A volume that is kept for this claim, whether or not it asks for it.
fn kept(store: &Store, key: &Key, claim: &Value) -> Option<String> {
    let mine = |(found, volume): &(&Key, &Arc<Value>)| {
        !volume["spec"]["claimRef"].is_null() && reserved(store, &found.name, key, claim)
    };
    store.list(PV, None).find(mine).map(|(found, _)| found.name.clone())
}

/// Makes a volume and its folder as the provisioner does.
fn provision(store: &mut Store, storage: &Path, spec: &HostSpec, key: &Key, claim: &Value) -> String {
    let uid = claim["metadata"]["uid"].as_str().unwrap_or("");
    let (host, name) = (&spec.name, format!("pvc-{uid}"));
    // The provisioner of 0.3's time calls a folder as the volume alone (facts section 3.2).
    let folder = storage.join(match spec.version {
        Version::Older | Version::V0_3 => name.clone(),
        _ => format!("{name}_{}_{}", key.namespace, key.name),
    });
    if let Err(error) = content::fill(&folder, &format!("{host}/{}", key.name)) {
        tracing::warn!("the lab cannot fill {}: {error}", folder.display());
    }
    let size = claim["spec"]["resources"]["requests"]["storage"].clone();
    let object = json!({"metadata": {"name": name, "finalizers": [VOLUME_FINALIZER],
            "annotations": {"pv.kubernetes.io/provisioned-by": "cluster.local/local-path-provisioner"}},
        "spec": {"capacity": {"storage": size}, "accessModes": ["ReadWriteOnce"], "volumeMode": "Filesystem",
            "storageClassName": "local-path", "persistentVolumeReclaimPolicy": "Delete",
            "hostPath": {"path": folder.to_string_lossy(), "type": "DirectoryOrCreate"},
            "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [
                {"key": "kubernetes.io/hostname", "operator": "In", "values": [host]}]}]}}},
        "status": {"phase": "Available"}});
    let _ = store.create(PV, "", object);
    name
}

fn bind(store: &mut Store, key: &Key, claim: &Value, volume: &str) {
    let uid = claim["metadata"]["uid"].clone();
    store.edit(&Key::new(PV, "", volume), |object| {
        object["spec"]["claimRef"] = json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim",
            "namespace": key.namespace, "name": key.name, "uid": uid});
        object["status"]["phase"] = json!("Bound");
    });
    store.edit(key, |claim| {
        hold(claim, CLAIM_FINALIZER);
        claim["spec"]["volumeName"] = json!(volume);
        let annotations = &mut claim["metadata"]["annotations"];
        annotations["pv.kubernetes.io/bind-completed"] = json!("yes");
        annotations["pv.kubernetes.io/bound-by-controller"] = json!("yes");
        let size = claim["spec"]["resources"]["requests"]["storage"].clone();
        claim["status"] =
            json!({"phase": "Bound", "accessModes": ["ReadWriteOnce"], "capacity": {"storage": size}});
    });
}

fn hold(object: &mut Value, finalizer: &str) {
    if finalizers(object).is_empty() {
        object["metadata"]["finalizers"] = json!([finalizer]);
    }
}

fn volumes(store: &mut Store, storage: &Path) {
    for (key, volume) in snapshot(store, PV) {
        let of = &volume["spec"]["claimRef"];
        let claim =
            store.peek(PVC, of["namespace"].as_str().unwrap_or(""), of["name"].as_str().unwrap_or(""));
        let phase = if of.is_null() || of["uid"].is_null() {
            "Available"
        } else if claim.is_some_and(|claim| claim["metadata"]["uid"] == of["uid"]) {
            "Bound"
        } else {
            "Released"
        };
        let phase =
            if volume["status"]["phase"].is_null() && phase == "Released" { "Available" } else { phase };
        if phase == "Released" && volume["spec"]["persistentVolumeReclaimPolicy"] == json!("Delete") {
            reclaim(storage, Path::new(volume["spec"]["hostPath"]["path"].as_str().unwrap_or("")));
            store.remove(&key);
            continue;
        }
        if phase != "Bound" && !volume["metadata"]["deletionTimestamp"].is_null() {
            store.edit(&key, |volume| volume["metadata"]["finalizers"] = json!([]));
            continue;
        }
        if volume["status"]["phase"] != json!(phase) {
            store.edit(&key, |volume| {
                if volume["status"].is_null() {
                    remove(volume, "status");
                }
                volume["status"]["phase"] = json!(phase);
            });
        }
    }
}

/// `rm -rf`, as the provisioner's teardown does, but never outside the host's own folder for volumes.
fn reclaim(storage: &Path, folder: &Path) {
    let inside = folder
        .canonicalize()
        .is_ok_and(|real| storage.canonicalize().is_ok_and(|root| real != root && real.starts_with(root)));
    if !inside {
        tracing::warn!("the lab does not remove {}: it is not a volume of this host", folder.display());
        return;
    }
    if let Err(error) = fs::remove_dir_all(folder) {
        tracing::warn!("the lab cannot remove {}: {error}", folder.display());
    }
}
