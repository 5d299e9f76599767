//! The controllers of a simulated cluster: Flux's three, and the parts of Kubernetes that Stackspin needs.
//!
//! A pass looks at every object once, does what is due and says when to look again. Time is given to it, so that a
//! cluster can be brought to rest at once when it is made.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::encoding::now;
use super::faults::Fault;
use super::kinds::Kind;
use super::spec::{HostSpec, Vintage};
use super::store::{Key, Store};

mod attempt;
mod cron;
mod helm;
mod kustomize;
mod source;
mod upkeep;

/// The annotation that asks for a reconciliation.
const REQUESTED: &str = "reconcile.fluxcd.io/requestedAt";
/// The finalizer of Flux.
const FINALIZER: &str = "finalizers.fluxcd.io";

/// What controllers see besides the objects.
#[derive(Debug, Clone, Copy)]
pub(in crate::lab) struct World<'a> {
    /// What the host was made like.
    pub spec: &'a HostSpec,
    /// The faults of the moment.
    pub faults: &'a [Fault],
    /// The folder with the volumes' folders.
    pub storage: &'a Path,
}

impl World<'_> {
    /// Whether this fault is there.
    #[must_use]
    pub(in crate::lab) fn has(&self, fault: &Fault) -> bool {
        self.faults.contains(fault)
    }

    /// The time by the host's clock.
    fn clock(&self) -> Timestamp {
        let ahead = i32::from(self.has(&Fault::ClockAhead)) - i32::from(self.has(&Fault::ClockBehind));
        Timestamp::now() + SignedDuration::from_hours(24) * ahead
    }
}

/// What controllers remember between passes. Like real ones they forget it when they start anew.
#[derive(Debug, Default)]
pub(in crate::lab) struct Controllers {
    /// When something is done, or done again, to an object.
    due: BTreeMap<Key, Instant>,
    /// The values that a release was last looked at with.
    values: BTreeMap<Key, String>,
    /// The OAuth secrets as kustomization core saw them last; only under the fault `sso-empty-oauth`.
    oauth: Option<BTreeMap<String, String>>,
    /// Cron jobs that were seen suspended.
    asleep: BTreeSet<Key>,
    /// Loki has used up its retries once.
    loki_spent: bool,
    /// The secret that the fault `secrets-conflict` has put in the way.
    conflict_spent: bool,
}

impl Controllers {
    /// Looks at everything once. Says when to look again; `None` when nothing is left to do.
    pub(in crate::lab) fn pass(
        &mut self,
        store: &mut Store,
        world: &World<'_>,
        now: Instant,
    ) -> Option<Instant> {
        let before = store.revision();
        source::look(self, store, world, now);
        kustomize::look(self, store, world, now);
        helm::look(self, store, world, now);
        upkeep::look(self, store, world);
        cron::look(self, store, world);
        if store.revision() != before {
            return Some(now);
        }
        self.due.values().min().copied()
    }

    /// Works until nothing is left to do, without waiting. For clusters that are being made.
    pub(in crate::lab) fn settle(&mut self, store: &mut Store, world: &World<'_>) {
        let mut now = Instant::now();
        // Far more passes than any version needs; a mistake in a manifest must not hang the lab.
        for _ in 0..2000 {
            match self.pass(store, world, now) {
                Some(next) => now = now.max(next),
                None => break,
            }
        }
    }

    /// Whether it is this object's turn: `delay` after the first time this is asked.
    fn turn(&mut self, key: &Key, now: Instant, delay: Duration) -> bool {
        match self.due.get(key) {
            None => {
                self.due.insert(key.clone(), now + delay);
                false
            }
            Some(at) if *at > now => false,
            Some(_) => {
                self.due.remove(key);
                true
            }
        }
    }

    /// Whether something is planned for the object.
    fn planned(&self, key: &Key) -> bool {
        self.due.contains_key(key)
    }

    /// Plans something for the object.
    fn again(&mut self, key: &Key, at: Instant) {
        self.due.insert(key.clone(), at);
    }
}

/// The objects of a kind, held while others are changed.
fn snapshot(store: &Store, kind: Kind) -> Vec<(Key, Arc<Value>)> {
    store.list(kind, None).map(|(key, object)| (key.clone(), object.clone())).collect()
}

fn suspended(object: &Value) -> bool {
    object["spec"]["suspend"] == json!(true)
}

fn leaving(object: &Value) -> bool {
    !object["metadata"]["deletionTimestamp"].is_null()
}

fn current(object: &Value) -> bool {
    object["metadata"]["generation"] == object["status"]["observedGeneration"]
}

/// The value of the annotation that asks for a reconciliation.
fn requested(object: &Value) -> &Value {
    &object["metadata"]["annotations"][REQUESTED]
}

/// Whether a reconciliation was asked for that is not done yet.
fn asked(object: &Value) -> bool {
    let asked = requested(object);
    !asked.is_null() && *asked != object["status"]["lastHandledReconcileAt"]
}

fn is_ready(object: &Value) -> bool {
    condition(object, "Ready").is_some_and(|ready| ready["status"] == json!("True"))
}

fn condition<'a>(object: &'a Value, kind: &str) -> Option<&'a Value> {
    object["status"]["conditions"].as_array()?.iter().find(|condition| condition["type"] == json!(kind))
}

/// Says that a controller is at work on an object.
fn progressing(object: &mut Value, vintage: Vintage, message: &str) {
    set_condition(object, vintage, "Ready", "Unknown", "Progressing", message);
}

/// Sets a condition; its time moves only with its status.
fn set_condition(
    object: &mut Value,
    vintage: Vintage,
    kind: &str,
    status: &str,
    reason: &str,
    message: &str,
) {
    let since = condition(object, kind)
        .filter(|old| old["status"] == json!(status))
        .map_or_else(|| json!(now()), |old| old["lastTransitionTime"].clone());
    let mut new = json!({"type": kind, "status": status, "reason": reason, "message": message, "lastTransitionTime": since});
    if vintage >= Vintage::Beta2 {
        new["observedGeneration"] = object["metadata"]["generation"].clone();
    }
    let conditions = &mut object["status"]["conditions"];
    if !conditions.is_array() {
        *conditions = json!([]);
    }
    if let Some(conditions) = conditions.as_array_mut() {
        match conditions.iter_mut().find(|condition| condition["type"] == json!(kind)) {
            Some(old) => *old = new,
            None => conditions.push(new),
        }
    }
}

/// What a controller writes into the status after it has dealt with the present generation and request.
fn handled(object: &mut Value) {
    object["status"]["observedGeneration"] = object["metadata"]["generation"].clone();
    let asked = requested(object).clone();
    if !asked.is_null() {
        object["status"]["lastHandledReconcileAt"] = asked;
    }
}

/// Sees to it that the object is not deleted without its controller.
fn hold(object: &mut Value) {
    if super::object::finalizers(object).is_empty() && !leaving(object) {
        object["metadata"]["finalizers"] = json!([FINALIZER]);
    }
}

/// Lets a deleted object go.
fn let_go(store: &mut Store, key: &Key) {
    store.edit(key, |object| object["metadata"]["finalizers"] = json!([]));
}

/// A controller's message; under the fault `hostile-output` with what a terminal must never see.
fn message(world: &World<'_>, text: String) -> String {
    if world.has(&Fault::HostileOutput) {
        format!("{text}\u{1b}[2J\u{1b}]0;owned\u{7}\u{202e}")
    } else {
        text
    }
}

pub(in crate::lab) use attempt::DONE_INSIDE;
pub(in crate::lab) use upkeep::{bound, pods_ready};
