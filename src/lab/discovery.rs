//! What a Kubernetes API says of itself: groups, versions, resources.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::kinds::Kind;
use super::spec::Vintage;

/// `/version`.
#[must_use]
pub(super) fn version(k3s: &str) -> Value {
    json!({"major": "1", "minor": "21", "gitVersion": k3s, "platform": "linux/amd64", "goVersion": "go1.16.8"})
}

/// `/api`.
#[must_use]
pub(super) fn core() -> Value {
    json!({"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []})
}

/// `/apis`.
#[must_use]
pub(super) fn groups(vintage: Vintage) -> Value {
    let names: BTreeSet<&str> = Kind::all().map(|kind| kind.about().group).collect();
    let groups: Vec<Value> = names.iter().filter_map(|name| group(vintage, name)).collect();
    json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups})
}

/// `/apis/GROUP`; `None` where it is not served.
#[must_use]
pub(super) fn group(vintage: Vintage, name: &str) -> Option<Value> {
    let versions: Vec<Value> = versions(vintage, name)
        .into_iter()
        .map(|version| json!({"groupVersion": format!("{name}/{version}"), "version": version}))
        .collect();
    let preferred = versions.first()?.clone();
    (!name.is_empty()).then(|| {
        json!({"kind": "APIGroup", "apiVersion": "v1", "name": name, "versions": versions, "preferredVersion": preferred})
    })
}

/// Versions of a group, preferred first.
fn versions(vintage: Vintage, group: &str) -> Vec<&'static str> {
    let mut found: Vec<&str> = Vec::new();
    for version in
        Kind::all().filter(|kind| kind.about().group == group).flat_map(|kind| kind.versions(vintage))
    {
        if !found.contains(version) {
            found.push(version);
        }
    }
    found
}

/// `/api/v1` and `/apis/GROUP/VERSION`; `None` where it is not served.
#[must_use]
pub(super) fn resources(vintage: Vintage, group: &str, version: &str) -> Option<Value> {
    let mut resources = Vec::new();
    for kind in Kind::all() {
        let about = kind.about();
        if about.group != group || !kind.versions(vintage).contains(&version) {
            continue;
        }
        resources.push(json!({
            "name": about.plural, "singularName": about.singular, "namespaced": about.namespaced, "kind": about.kind,
            "verbs": ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"],
            "shortNames": about.short,
        }));
        if about.generation {
            resources.push(json!({
                "name": format!("{}/status", about.plural), "singularName": "", "namespaced": about.namespaced,
                "kind": about.kind, "verbs": ["get", "patch", "update"],
            }));
        }
        if about.scale {
            resources.push(json!({
                "name": format!("{}/scale", about.plural), "singularName": "", "namespaced": true, "kind": "Scale",
                "group": "autoscaling", "version": "v1", "verbs": ["get", "patch", "update"],
            }));
        }
    }
    let name = if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") };
    (!resources.is_empty()).then(|| {
        json!({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": name, "resources": resources})
    })
}
