//! What does not run beside a real API server here, and must for a cluster to live: the kubelet and scheduler, and Flux.
//!
//! Both are as small as they can be. Pods run at once and end at once. Flux fetches whatever branch it is told; a kustomization applies what the
//! lab has of it at that version, and takes away what the lab does not have of it there any more; a Helm release makes what the lab has of
//! it. What the API server refuses is tried again. Nothing waits for what it depends on, and no value is put into anything.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::{Value, json};

use super::objects::{address, place, plural};
use super::server::Server;

const REQUESTED: &str = "reconcile.fluxcd.io/requestedAt";
const OF_KUSTOMIZATION: &str = "kustomize.toolkit.fluxcd.io/name";
const OF_RELEASE: &str = "helm.toolkit.fluxcd.io/name";
const OF_RELEASE_IN: &str = "helm.toolkit.fluxcd.io/namespace";
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
            continue;
        }
        let mut revision = text(&source["status"]["artifact"]["revision"]).to_owned();
        if !suspended(&source) {
            let branch = text(&source["spec"]["ref"]["branch"]);
            if revision.split('/').next() == Some(branch) {
                seen(server, &source, &revision);
            } else {
                revision = format!("{branch}/{COMMIT}");
                let status = json!({"artifact": {"revision": revision}});
                ready(server, &source, status, Ok(&format!("Fetched revision: {revision}")));
            }
        }
        revisions.insert(text(&source["metadata"]["name"]).to_owned(), revision);
    }
    // What the branches hold that the kustomizations follow.
    let mut held = BTreeMap::new();
    for one in of_flux(server, "kustomize", "v1beta1", "Kustomization") {
        if leaving(&one) {
            let_go(server, &one);
            continue;
        }
        let name = text(&one["metadata"]["name"]).to_owned();
        let Some(revision) = revisions.get(text(&one["spec"]["sourceRef"]["name"])) else { continue };
        let objects = revision.split('/').next().and_then(|branch| branches.get(branch));
        held.extend(objects.map(|objects| (name.clone(), objects)));
        if suspended(&one) || revision.is_empty() {
            continue;
        }
        if text(&one["status"]["lastAppliedRevision"]) == revision {
            seen(server, &one, revision);
            continue;
        }
        let done = objects.map_or(Ok(()), |objects| {
            prune(server, &name, objects);
            apply(server, objects, |labels| labels[OF_KUSTOMIZATION] == *name)
        });
        let status = json!({"lastAppliedRevision": revision, "lastAttemptedRevision": revision});
        match done {
            Ok(()) => ready(server, &one, status, Ok(&format!("Applied revision: {revision}"))),
            Err(why) => ready(server, &one, json!({}), Err(&why)),
        }
    }
    for release in of_flux(server, "helm", "v2beta1", "HelmRelease") {
        let metadata = &release["metadata"];
        if leaving(&release) {
            if !suspended(&release) {
                uninstall(server, &release);
            }
            let_go(server, &release);
            continue;
        }
        let chart = text(&release["spec"]["chart"]["spec"]["version"]);
        if suspended(&release) {
            continue;
        }
        if text(&release["status"]["lastAppliedRevision"]) == chart {
            seen(server, &release, chart);
            continue;
        }
        let ours = |labels: &Value| {
            labels[OF_RELEASE] == metadata["name"] && labels[OF_RELEASE_IN] == metadata["namespace"]
        };
        let done = held
            .get(text(&metadata["labels"][OF_KUSTOMIZATION]))
            .map_or(Ok(()), |objects| apply(server, objects, ours));
        let status = json!({"lastAppliedRevision": chart, "lastAttemptedRevision": chart});
        match done {
            Ok(()) => ready(server, &release, status, Ok("Release reconciliation succeeded")),
            Err(why) => ready(server, &release, json!({}), Err(&why)),
        }
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or("")
}

/// An object whose controller has nothing to do but to have seen it.
fn seen(server: &Server, object: &Value, revision: &str) {
    let asked = &object["metadata"]["annotations"][REQUESTED];
    let handled = asked.is_null() || *asked == object["status"]["lastHandledReconcileAt"];
    if !handled || object["status"]["observedGeneration"] != object["metadata"]["generation"] {
        ready(server, object, json!({}), Ok(&format!("Applied revision: {revision}")));
    }
}

/// Says how it is with an object as it is now.
fn ready(server: &Server, object: &Value, mut status: Value, how: Result<&str, &str>) {
    status["observedGeneration"] = object["metadata"]["generation"].clone();
    let asked = &object["metadata"]["annotations"][REQUESTED];
    if !asked.is_null() {
        status["lastHandledReconcileAt"] = asked.clone();
    }
    let (word, reason) =
        if how.is_ok() { ("True", "ReconciliationSucceeded") } else { ("False", "ReconciliationFailed") };
    let (Ok(message) | Err(message)) = how;
    status["conditions"] = json!([{"type": "Ready", "status": word, "reason": reason, "message": message,
        "lastTransitionTime": NOW}]);
    server.call("PATCH", &format!("{}/status", address(object)), Some(&json!({"status": status})));
}

fn let_go(server: &Server, object: &Value) {
    server.call("PATCH", &address(object), Some(&json!({"metadata": {"finalizers": null}})));
}

/// Makes what is wanted of a branch's objects. What is there already stays, but for what Flux itself is told by.
fn apply(
    server: &Server,
    held: &BTreeMap<String, Value>,
    wanted: impl Fn(&Value) -> bool,
) -> Result<(), String> {
    let mut refused = Ok(());
    for (at, object) in held.iter().filter(|(_, object)| wanted(&object["metadata"]["labels"])) {
        let kind = text(&object["kind"]);
        // It would be asked, and nobody runs here who could answer.
        if kind.ends_with("WebhookConfiguration") {
            continue;
        }
        let (status, said) = match (server.find(at), kind) {
            (None, _) => server.call("POST", &place(object), Some(object)),
            (Some(_), "Kustomization" | "HelmRelease") => {
                server.call("PATCH", at, Some(&json!({"spec": object["spec"]})))
            }
            (Some(_), _) => continue,
        };
        if !matches!(status, 200..=299) {
            refused = Err(format!("{at}: {}", text(&said["message"])));
        }
    }
    refused
}

/// Deletes what a kustomization has made of Flux's kinds and does not have any more.
fn prune(server: &Server, name: &str, held: &BTreeMap<String, Value>) {
    for (group, version, kind) in
        [("kustomize", "v1beta1", "Kustomization"), ("helm", "v2beta1", "HelmRelease")]
    {
        for object in of_flux(server, group, version, kind) {
            let at = address(&object);
            if object["metadata"]["labels"][OF_KUSTOMIZATION] == *name && !held.contains_key(&at) {
                server.call("DELETE", &at, None);
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
