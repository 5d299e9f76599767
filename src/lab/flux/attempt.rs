//! What goes wrong with an attempt of Helm at a release: what its chart cannot do, and what a fault makes of it.

use serde_json::Value;

use super::{Controllers, World};
use crate::lab::faults::Fault;
use crate::lab::kinds::{DAEMON_SET, DEPLOYMENT, STATEFUL_SET};
use crate::lab::store::{Key, Store};

/// The template that fails on empty OAuth secrets, in the words of the guide ("Upgrading to 0.7.0").
const EMPTY_OAUTH: &str = "Helm upgrade failed: template: single-sign-on/templates/secret-oauth2-clients.yaml:9:55: executing \"single-sign-on/templates/secret-oauth2-clients.yaml\" at <b64enc>: invalid value; expected string";
const TIMED_OUT: &str = "Helm upgrade failed: timed out waiting for the condition";

/// What `kubectl exec` leaves on the Deployment that it was done to, in place of what a container would keep.
pub(in crate::lab) const DONE_INSIDE: &str = "lab.example.org/done-inside";

/// What goes wrong with this attempt to bring a release to these objects; `latest` is Helm's last record of it.
pub(super) fn trouble(
    controllers: &Controllers,
    store: &Store,
    world: &World<'_>,
    key: &Key,
    (wanted, values): (&str, &str),
    latest: Option<&Value>,
    objects: &[Value],
) -> Option<String> {
    if key.name == "single-sign-on" && wanted == "0.2.2" && values.contains(": \"\"\n") {
        return Some(EMPTY_OAUTH.to_owned());
    }
    let status = latest?["metadata"]["labels"]["status"].as_str().unwrap_or("");
    if status.starts_with("pending-") {
        let text = "Helm upgrade failed: another operation (install/upgrade/rollback) is in progress";
        return Some(text.to_owned());
    }
    if world.has(&Fault::AppNeverReady(key.name.clone())) {
        return Some(TIMED_OUT.to_owned());
    }
    if key.name == "loki" && world.has(&Fault::LokiRetries) && !controllers.loki_spent {
        return Some(TIMED_OUT.to_owned());
    }
    if let Some(text) = objects.iter().find_map(|object| immutable(store, object)) {
        return Some(text);
    }
    if key.name == "nextcloud" && world.has(&Fault::OldOnlyoffice) && !cured_inside(store, key) {
        return Some(
            "Helm upgrade failed: post-upgrade hooks failed: job failed: BackoffLimitExceeded".to_owned(),
        );
    }
    None
}

/// The refusal of an object whose selector is not what it was, in Helm's words (guide, "From 1.0 to 2").
fn immutable(store: &Store, object: &Value) -> Option<String> {
    let key = Key::of(object)?;
    if !matches!(key.kind, DAEMON_SET | DEPLOYMENT | STATEFUL_SET) {
        return None;
    }
    let there = store.peek(key.kind, &key.namespace, &key.name)?;
    if there["spec"]["selector"] == object["spec"]["selector"] {
        return None;
    }
    let (kind, name) = (key.kind.about().kind, &key.name);
    let why = if key.kind == STATEFUL_SET {
        "spec: Forbidden: updates to statefulset spec for fields other than 'replicas', 'template', and 'updateStrategy' are forbidden"
    } else {
        "spec.selector: Invalid value: v1.LabelSelector{}: field is immutable"
    };
    Some(format!(
        "Helm upgrade failed: cannot patch {name:?} with kind {kind}: {kind}.apps {name:?} is invalid: {why}"
    ))
}

/// Whether one of the guide's two cures was done inside Nextcloud's container.
fn cured_inside(store: &Store, key: &Key) -> bool {
    let done = store
        .peek(DEPLOYMENT, &key.namespace, "nc-nextcloud")
        .and_then(|deployment| deployment["metadata"]["annotations"][DONE_INSIDE].as_str());
    done.is_some_and(|done| {
        done.contains("occ app:update --all") && done.contains("occ app:enable onlyoffice")
            || done.contains("rm -rf /var/www/html/custom_apps/onlyoffice")
    })
}
