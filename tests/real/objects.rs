//! What is in a cluster at first: kinds of our own writing in Flux's names, and the objects that the lab has in a cluster of that version.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use fleet::lab::{Host, HostSpec};
use serde_json::{Value, json};

use super::server::Server;

/// What is carried over of a simulated cluster, in this order. Pods and what the server makes by itself are not.
const CARRIED: [&str; 26] = [
    "namespaces",
    "storageclasses",
    "nodes",
    "secrets",
    "configmaps",
    "services",
    "persistentvolumes",
    "persistentvolumeclaims",
    "deployments",
    "statefulsets",
    "daemonsets",
    "cronjobs",
    "ingresses",
    "certificates",
    "plans",
    "helmrepositories",
    "gitrepositories",
    "kustomizations",
    "helmreleases",
    "clusterroles",
    "clusterrolebindings",
    "roles",
    "rolebindings",
    "ingressclasses",
    // Last: nobody answers for them here, and nothing that they watch can be made after them.
    "mutatingwebhookconfigurations",
    "validatingwebhookconfigurations",
];

/// Custom resources: group, versions (the first is the one stored), kind. Nothing of their fields is known here but that they are there.
const CUSTOM: [(&str, &[&str], &str); 8] = [
    ("source.toolkit.fluxcd.io", &["v1beta1", "v1beta2"], "GitRepository"),
    ("source.toolkit.fluxcd.io", &["v1beta1", "v1beta2"], "HelmRepository"),
    ("source.toolkit.fluxcd.io", &["v1beta1", "v1beta2"], "HelmChart"),
    ("kustomize.toolkit.fluxcd.io", &["v1beta1", "v1beta2"], "Kustomization"),
    ("helm.toolkit.fluxcd.io", &["v2beta1"], "HelmRelease"),
    ("cert-manager.io", &["v1"], "Certificate"),
    ("upgrade.cattle.io", &["v1"], "Plan"),
    ("monitoring.coreos.com", &["v1"], "ServiceMonitor"),
];

/// The kinds that are not Kubernetes' own.
pub(crate) fn define(server: &Server) {
    let path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
    for (group, versions, kind) in CUSTOM {
        let singular = kind.to_lowercase();
        let plural = plural(kind);
        let any = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
        let versions: Vec<Value> = versions
            .iter()
            .enumerate()
            .map(|(number, name)| {
                json!({"name": name, "served": true, "storage": number == 0, "subresources": {"status": {}},
                    "schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec": any, "status": any}}}})
            })
            .collect();
        let name = format!("{plural}.{group}");
        let labels = if group.contains("fluxcd") {
            json!({"app.kubernetes.io/part-of": "flux", "app.kubernetes.io/version": "v0.16.2"})
        } else {
            json!({})
        };
        let definition = json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": {"name": name, "labels": labels},
            "spec": {"group": group, "scope": "Namespaced", "versions": versions,
                "names": {"kind": kind, "plural": plural, "singular": singular, "listKind": format!("{kind}List")}}});
        server.must("POST", path, &definition);
    }
    for (group, versions, kind) in CUSTOM {
        let list = format!("/apis/{group}/{}/{}", versions[0], plural(kind));
        server.wait(&list, || server.find(&list).is_some());
    }
}

/// The plural of a kind.
pub(crate) fn plural(kind: &str) -> String {
    let kind = kind.to_lowercase();
    match kind.strip_suffix('y') {
        Some(stem) => format!("{stem}ies"),
        None if kind.ends_with('s') => format!("{kind}es"),
        None => format!("{kind}s"),
    }
}

/// Where an object of this kind and namespace lives: the list, without a name.
pub(crate) fn place(object: &Value) -> String {
    let version = object["apiVersion"].as_str().unwrap();
    let root = if version.contains('/') { "/apis" } else { "/api" };
    let plural = plural(object["kind"].as_str().unwrap());
    match object["metadata"]["namespace"].as_str() {
        Some(namespace) => format!("{root}/{version}/namespaces/{namespace}/{plural}"),
        None => format!("{root}/{version}/{plural}"),
    }
}

/// Where an object lives.
pub(crate) fn address(object: &Value) -> String {
    format!("{}/{}", place(object), object["metadata"]["name"].as_str().unwrap())
}

/// What is to be carried over of a simulated cluster, as somebody would write it who makes it anew.
pub(crate) fn carried(host: &Host) -> Vec<Value> {
    let all = CARRIED.into_iter().flat_map(|plural| host.objects(plural));
    all.filter(|object| object["type"] != "kubernetes.io/service-account-token").map(anew).collect()
}

/// What the server gives an object by itself is taken away.
fn anew(mut object: Value) -> Value {
    let metadata = object["metadata"].as_object_mut().unwrap();
    for field in [
        "uid",
        "resourceVersion",
        "creationTimestamp",
        "generation",
        "managedFields",
        "selfLink",
        "ownerReferences",
    ] {
        metadata.remove(field);
    }
    if let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut) {
        annotations.retain(|name, _| {
            !name.starts_with("pv.kubernetes.io/bind") && !name.starts_with("pv.kubernetes.io/bound")
        });
    }
    if let Some(claim) = object["spec"].get_mut("claimRef").and_then(Value::as_object_mut) {
        claim.retain(|name, _| matches!(name.as_str(), "namespace" | "name"));
    }
    if let Some(group) = object["apiVersion"].as_str().and_then(|version| version.strip_suffix("/v1beta2")) {
        object["apiVersion"] = json!(format!("{group}/v1beta1"));
    }
    // Kubernetes 1.20 has no other.
    if object["kind"] == "CronJob" {
        object["apiVersion"] = json!("batch/v1beta1");
    }
    object
}

/// Makes an object with the state that it had, where it is one whose state nobody here finds out anew.
pub(crate) fn create(server: &Server, object: &Value) {
    let (status, said) = server.call("POST", &place(object), Some(object));
    // Some are made by the server itself.
    assert!(
        status == 201 || (status == 409 && said["reason"] == "AlreadyExists"),
        "{status} {said}\n{object:#}"
    );
    let custom = CUSTOM.iter().any(|(_, _, kind)| object["kind"] == *kind);
    if (custom || object["kind"] == "Node") && object["status"].is_object() {
        let mut state = json!({"status": object["status"]});
        if state["status"]["observedGeneration"].is_number() {
            state["status"]["observedGeneration"] = said["metadata"]["generation"].clone();
        }
        server.must("PATCH", &format!("{}/status", address(object)), &state);
    }
}

/// What a release's branch holds, by the branch's name: what the lab has at rest in a cluster of that version.
pub(crate) fn branch(folder: &Path, spec: HostSpec) -> (String, BTreeMap<String, Value>) {
    let folder = folder.join(spec.version.branch());
    for part in ["local-storage", "rancher/server/db"] {
        fs::create_dir_all(folder.join(part)).unwrap();
    }
    let branch = spec.version.branch();
    let host = Host::make(&folder, spec).unwrap();
    (branch, carried(&host).into_iter().map(|object| (address(&object), object)).collect())
}
