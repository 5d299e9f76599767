//! What does not run beside a real API server here, and must for a cluster to live: the kubelet and scheduler, and Flux.
//!
//! Both are as small as they can be. Pods run at once and end at once. Flux fetches whatever branch it is told, applies what the lab has at
//! that version, takes away what the lab does not have there any more, with what Helm made of it, and finds everything well.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::{Value, json};

use super::objects::{address, create, plural};
use super::server::Server;

const REQUESTED: &str = "reconcile.fluxcd.io/requestedAt";
const NOW: &str = "2026-11-22T10:15:00Z";
/// What a revision ends with.
const COMMIT: &str = "6d5f1e9c8b7a60514233241506978897a6b5c4d3";

/// What the branches of releases hold, by address.
type Branches = BTreeMap<String, BTreeMap<String, Value>>;

/// The stand-ins at work.
pub(crate) struct StandIns {
    ends: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl StandIns {
    pub(crate) fn start(server: Arc<Server>, node: String, branches: Branches) -> Self {
        let ends = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&ends);
        let thread = std::thread::spawn(move || {
            while !told.load(Ordering::Relaxed) {
                kubelet(&server, &node);
                flux(&server, &branches);
                std::thread::park_timeout(Duration::from_millis(250));
            }
        });
        Self { ends, thread: Some(thread) }
    }

    pub(crate) fn end(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Every pod has its node, runs, and ends when it is told to. A call that comes too late, or to a server that is away, is made again.
fn kubelet(server: &Server, node: &str) {
    for mut pod in server.list("/api/v1/pods") {
        pod["apiVersion"] = json!("v1");
        pod["kind"] = json!("Pod");
        let at = address(&pod);
        if leaving(&pod) {
            server.call("DELETE", &format!("{at}?gracePeriodSeconds=0"), None);
        } else if pod["spec"]["nodeName"].is_null() {
            let binding = json!({"apiVersion": "v1", "kind": "Binding", "metadata": {"name": pod["metadata"]["name"]},
                "target": {"apiVersion": "v1", "kind": "Node", "name": node}});
            server.call("POST", &format!("{at}/binding"), Some(&binding));
        } else if pod["status"]["phase"] == "Pending" {
            let containers = pod["spec"]["containers"].as_array().into_iter().flatten();
            let states: Vec<Value> = containers
                .map(|container| {
                    json!({"name": container["name"], "image": container["image"], "imageID": "", "ready": true,
                        "restartCount": 0, "state": {"running": {"startedAt": NOW}}})
                })
                .collect();
            let condition = |kind: &str| json!({"type": kind, "status": "True", "lastTransitionTime": NOW});
            let conditions = ["PodScheduled", "Initialized", "ContainersReady", "Ready"].map(condition);
            let running = json!({"status": {"phase": "Running", "startTime": NOW, "containerStatuses": states,
                "conditions": conditions}});
            server.call("PATCH", &format!("{at}/status"), Some(&running));
        }
    }
}

/// The objects of one of Flux's kinds.
fn of_flux(server: &Server, group: &str, version: &str, kind: &str) -> Vec<Value> {
    let mut found = server.list(&format!("/apis/{group}.toolkit.fluxcd.io/{version}/{}", plural(kind)));
    for object in &mut found {
        object["apiVersion"] = json!(format!("{group}.toolkit.fluxcd.io/{version}"));
        object["kind"] = json!(kind);
    }
    found
}

fn leaving(object: &Value) -> bool {
    !object["metadata"]["deletionTimestamp"].is_null()
}

fn suspended(object: &Value) -> bool {
    object["spec"]["suspend"] == true
}

fn flux(server: &Server, branches: &Branches) {
    let mut revisions = BTreeMap::new();
    for source in of_flux(server, "source", "v1beta1", "GitRepository") {
        if leaving(&source) {
            let_go(server, &source);
        } else if !suspended(&source) {
            let branch = source["spec"]["ref"]["branch"].as_str().unwrap_or("");
            let revision = format!("{branch}/{COMMIT}");
            let fetched = source["status"]["artifact"]["revision"].as_str().unwrap_or("");
            if fetched.split('/').next() == Some(branch) {
                seen(server, &source, fetched);
            } else {
                let status = json!({"artifact": {"revision": revision}});
                well(server, &source, status, &format!("Fetched revision: {revision}"));
                if let Some(held) = branches.get(branch) {
                    apply(server, held);
                }
            }
        }
        let name = source["metadata"]["name"].as_str().unwrap_or("").to_owned();
        revisions.insert(name, source["status"]["artifact"]["revision"].clone());
    }
    for kustomization in of_flux(server, "kustomize", "v1beta1", "Kustomization") {
        if leaving(&kustomization) {
            let_go(server, &kustomization);
            continue;
        }
        let source = kustomization["spec"]["sourceRef"]["name"].as_str().unwrap_or("");
        let Some(revision) = revisions.get(source).filter(|_| !suspended(&kustomization)) else { continue };
        if kustomization["status"]["lastAppliedRevision"] == *revision {
            seen(server, &kustomization, revision.as_str().unwrap_or(""));
        } else {
            let status = json!({"lastAppliedRevision": revision, "lastAttemptedRevision": revision});
            well(
                server,
                &kustomization,
                status,
                &format!("Applied revision: {}", revision.as_str().unwrap_or("")),
            );
        }
    }
    for release in of_flux(server, "helm", "v2beta1", "HelmRelease") {
        if leaving(&release) {
            if !suspended(&release) {
                uninstall(server, &release);
            }
            let_go(server, &release);
        } else if !suspended(&release) {
            let chart = &release["spec"]["chart"]["spec"]["version"];
            if release["status"]["lastAppliedRevision"] == *chart {
                seen(server, &release, "");
            } else {
                let status = json!({"lastAppliedRevision": chart, "lastAttemptedRevision": chart});
                well(server, &release, status, "Release reconciliation succeeded");
            }
        }
    }
}

/// An object whose controller has nothing to do but to have seen it.
fn seen(server: &Server, object: &Value, revision: &str) {
    let asked = &object["metadata"]["annotations"][REQUESTED];
    let handled = asked.is_null() || *asked == object["status"]["lastHandledReconcileAt"];
    if !handled || object["status"]["observedGeneration"] != object["metadata"]["generation"] {
        well(server, object, json!({}), &format!("Applied revision: {revision}"));
    }
}

/// Says that all is well with an object as it is now.
fn well(server: &Server, object: &Value, mut status: Value, message: &str) {
    status["observedGeneration"] = object["metadata"]["generation"].clone();
    let asked = &object["metadata"]["annotations"][REQUESTED];
    if !asked.is_null() {
        status["lastHandledReconcileAt"] = asked.clone();
    }
    status["conditions"] = json!([{"type": "Ready", "status": "True", "reason": "ReconciliationSucceeded", "message": message,
        "lastTransitionTime": NOW}]);
    server.call("PATCH", &format!("{}/status", address(object)), Some(&json!({"status": status})));
}

fn let_go(server: &Server, object: &Value) {
    server.call("PATCH", &address(object), Some(&json!({"metadata": {"finalizers": null}})));
}

/// Makes the cluster's objects those of another version: what Flux and Helm do to the kinds of Flux and to what a release has made.
fn apply(server: &Server, held: &BTreeMap<String, Value>) {
    for (at, object) in held {
        let kind = object["kind"].as_str().unwrap_or("");
        if !matches!(kind, "Kustomization" | "HelmRelease") {
            continue;
        }
        if server.find(at).is_none() {
            create(server, object);
        } else {
            server.call("PATCH", at, Some(&json!({"spec": object["spec"]})));
        }
    }
    for (group, version, kind) in
        [("kustomize", "v1beta1", "Kustomization"), ("helm", "v2beta1", "HelmRelease")]
    {
        for object in of_flux(server, group, version, kind) {
            let ours = object["metadata"]["labels"]["kustomize.toolkit.fluxcd.io/name"].is_string();
            if ours && !held.contains_key(&address(&object)) {
                server.call("DELETE", &address(&object), None);
            }
        }
    }
}

/// `helm uninstall`: the secrets of a release go with it.
fn uninstall(server: &Server, release: &Value) {
    let metadata = &release["metadata"];
    let name = metadata["name"].as_str().unwrap_or("");
    for mut secret in
        server.list(&format!("/api/v1/secrets?labelSelector=helm.toolkit.fluxcd.io/name%3D{name}"))
    {
        if secret["metadata"]["labels"]["helm.toolkit.fluxcd.io/namespace"] == metadata["namespace"] {
            secret["apiVersion"] = json!("v1");
            secret["kind"] = json!("Secret");
            server.call("DELETE", &address(&secret), None);
        }
    }
}
