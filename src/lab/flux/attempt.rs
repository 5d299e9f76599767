//! What goes wrong with an attempt of Helm at a release: what its chart cannot do, and what a fault makes of it.

use serde_json::Value;

use super::{Controllers, World};
use crate::lab::faults::Fault;
use crate::lab::kinds::{DAEMON_SET, DEPLOYMENT, STATEFUL_SET};
use crate::lab::store::{Key, Store};
use crate::lab::webhooks;

/// The template that fails on empty OAuth secrets, in the words of the guide ("Upgrading to 0.7.0").
const EMPTY_OAUTH: &str = "Helm upgrade failed: template: single-sign-on/templates/secret-oauth2-clients.yaml:9:55: executing \"single-sign-on/templates/secret-oauth2-clients.yaml\" at <b64enc>: invalid value; expected string";
/// How Helm calls the failure of a job that comes after an installation: what the chart has made is there by then.
pub(super) const HOOK: &str = "failed post-install";
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
    let doing = if latest.is_some() { "upgrade" } else { "install" };
    if let Some(why) = objects.iter().find_map(|object| refused(store, key, object)) {
        return Some(format!("Helm {doing} failed: {why}"));
    }
    let status = latest.and_then(|latest| latest["metadata"]["labels"]["status"].as_str()).unwrap_or("");
    if status.starts_with("pending-") {
        let text = "Helm upgrade failed: another operation (install/upgrade/rollback) is in progress";
        return Some(text.to_owned());
    }
    if world.has(&Fault::AppNeverReady(key.name.clone())) {
        return Some(format!("Helm {doing} failed: timed out waiting for the condition"));
    }
    if key.name == "loki" && latest.is_some() && world.has(&Fault::LokiRetries) && !controllers.loki_spent {
        return Some(TIMED_OUT.to_owned());
    }
    if let Some(text) = objects.iter().find_map(|object| immutable(store, object)) {
        return Some(text);
    }
    if key.name == "nextcloud" && world.has(&Fault::OldOnlyoffice) && !cured_inside(store, key) {
        let hook = if latest.is_some() { "post-upgrade hooks failed" } else { HOOK };
        return Some(format!("Helm {doing} failed: {hook}: job failed: BackoffLimitExceeded"));
    }
    None
}

/// Why the API or Helm would not have this object: a webhook cannot be asked, or it is another release's.
fn refused(store: &Store, key: &Key, object: &Value) -> Option<String> {
    let of = Key::of(object)?;
    if let Err(refusal) = webhooks::ask(store, of.kind) {
        return Some(refusal.message);
    }
    let there = store.peek(of.kind, &of.namespace, &of.name)?;
    let owner = there["metadata"]["annotations"]["meta.helm.sh/release-namespace"].as_str()?;
    (owner != key.namespace).then(|| {
        format!(
            "rendered manifests contain a resource that already exists. Unable to continue with install: {} {:?} in namespace {:?} exists and \
             cannot be imported into the current release: invalid ownership metadata; annotation validation error: key \
             \"meta.helm.sh/release-namespace\" must equal {:?}: current value is {owner:?}",
            of.kind.about().kind,
            of.name,
            of.namespace,
            key.namespace
        )
    })
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
