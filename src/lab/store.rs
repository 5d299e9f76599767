//! The objects of a simulated cluster, with the rules of the Kubernetes API for writing them.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt::Write as _;
use std::sync::Arc;

use serde_json::{Map, Value, json};
use sha1::{Digest, Sha1};

use super::kinds::{self, Kind};
use super::spec::Vintage;

/// How many past events a watch may still ask for.
const REMEMBERED: usize = 128;

/// Where an object is. Ordered by kind, namespace, name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    /// Its kind.
    pub kind: Kind,
    /// Its namespace; empty for objects of the whole cluster.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl Key {
    /// A key.
    #[must_use]
    pub fn new(kind: Kind, namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self { kind, namespace: namespace.into(), name: name.into() }
    }

    /// The key of an object that says its kind, namespace and name.
    #[must_use]
    pub fn of(object: &Value) -> Option<Self> {
        let kind = Kind::called(object["kind"].as_str()?)?;
        let metadata = &object["metadata"];
        let namespace =
            if kind.about().namespaced { metadata["namespace"].as_str().unwrap_or("default") } else { "" };
        Some(Self::new(kind, namespace, metadata["name"].as_str()?))
    }
}

/// What happened to an object.
#[derive(Debug, Clone)]
pub struct Change {
    /// `ADDED`, `MODIFIED` or `DELETED`.
    pub what: &'static str,
    /// The object.
    pub key: Key,
    /// As it is now; as it was last, where it is deleted.
    pub object: Arc<Value>,
    /// The store's revision with this change.
    pub revision: u64,
}

/// Why the API refuses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// HTTP status.
    pub code: u16,
    /// One word: `NotFound`.
    pub reason: &'static str,
    /// One sentence.
    pub message: String,
}

impl Refusal {
    fn new(code: u16, reason: &'static str, message: impl Into<String>) -> Self {
        Self { code, reason, message: message.into() }
    }

    /// There is no such object.
    #[must_use]
    pub fn not_found(kind: Kind, name: &str) -> Self {
        Self::new(404, "NotFound", format!("{} {name:?} not found", kind.qualified()))
    }

    /// What was sent makes no sense.
    #[must_use]
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(400, "BadRequest", message)
    }

    /// Somebody else was faster.
    fn conflict(kind: Kind, name: &str) -> Self {
        Self::new(
            409,
            "Conflict",
            format!(
                "Operation cannot be fulfilled on {} {name:?}: the object has been modified; please apply your changes to the latest version and try again",
                kind.qualified()
            ),
        )
    }
}

/// Which part of an object a write may change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// Everything but the status, as a client's write to the object itself.
    Main,
    /// The status alone, as a client's write to `/status`.
    Status,
    /// Everything: a controller of the lab.
    All,
}

/// The objects.
#[derive(Debug)]
pub struct Store {
    seed: String,
    vintage: Vintage,
    objects: BTreeMap<Key, Arc<Value>>,
    revision: u64,
    made: u64,
    changes: VecDeque<Change>,
    dirty: BTreeSet<Key>,
    watchers: tokio::sync::broadcast::Sender<Change>,
}

impl Store {
    /// An empty store. UIDs come from the seed, so that the same host is made alike each time.
    #[must_use]
    pub fn new(seed: &str, vintage: Vintage) -> Self {
        Self {
            seed: seed.to_owned(),
            vintage,
            objects: BTreeMap::new(),
            revision: 1,
            made: 0,
            changes: VecDeque::new(),
            dirty: BTreeSet::new(),
            watchers: tokio::sync::broadcast::Sender::new(64),
        }
    }

    /// The vintage of Flux served.
    #[must_use]
    pub const fn vintage(&self) -> Vintage {
        self.vintage
    }

    /// The number of the last change.
    #[must_use]
    pub const fn revision(&self) -> u64 {
        self.revision
    }

    /// How many objects there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.objects.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.objects.is_empty()
    }

    /// One object.
    #[must_use]
    pub fn get(&self, key: &Key) -> Option<Arc<Value>> {
        self.objects.get(key).cloned()
    }

    /// One object's place in memory, for reading.
    #[must_use]
    pub fn peek(&self, kind: Kind, namespace: &str, name: &str) -> Option<&Value> {
        self.objects.get(&Key::new(kind, namespace, name)).map(AsRef::as_ref)
    }

    /// The objects of a kind, of one namespace or of all.
    pub fn list<'a>(
        &'a self,
        kind: Kind,
        namespace: Option<&'a str>,
    ) -> impl Iterator<Item = (&'a Key, &'a Arc<Value>)> + 'a {
        self.objects
            .range(Key::new(kind, namespace.unwrap_or(""), "")..Key::new(kind.next(), "", ""))
            .take_while(move |(key, _)| namespace.is_none_or(|wanted| key.namespace == wanted))
    }

    /// Every object.
    pub fn all(&self) -> impl Iterator<Item = (&Key, &Arc<Value>)> {
        self.objects.iter()
    }

    /// Creates an object.
    pub fn create(&mut self, kind: Kind, namespace: &str, mut object: Value) -> Result<Arc<Value>, Refusal> {
        let about = kind.about();
        if !object.is_object() {
            return Err(Refusal::bad_request("the body is no object"));
        }
        if !object["metadata"].is_object() {
            object["metadata"] = json!({});
        }
        let metadata = &mut object["metadata"];
        if metadata["resourceVersion"].as_str().is_some_and(|version| !version.is_empty()) {
            return Err(Refusal::bad_request("resourceVersion should not be set on objects to be created"));
        }
        let name = match (metadata["name"].as_str(), metadata["generateName"].as_str()) {
            (Some(name), _) if !name.is_empty() => name.to_owned(),
            (_, Some(begin)) => format!("{begin}{}", &self.unique()[..5]),
            _ => {
                return Err(Refusal::new(
                    422,
                    "Invalid",
                    format!(
                        "{}.{} \"\" is invalid: metadata.name: Required value: name or generateName is required",
                        about.kind, about.group
                    ),
                ));
            }
        };
        if about.namespaced {
            match metadata["namespace"].as_str() {
                Some(said) if said != namespace => {
                    return Err(Refusal::bad_request(
                        "the namespace of the provided object does not match the namespace sent on the request",
                    ));
                }
                _ => metadata["namespace"] = json!(namespace),
            }
            match self.peek(kinds::NAMESPACE, "", namespace) {
                None => return Err(Refusal::not_found(kinds::NAMESPACE, namespace)),
                Some(found) if !found["metadata"]["deletionTimestamp"].is_null() => {
                    return Err(Refusal::new(
                        403,
                        "Forbidden",
                        format!(
                            "{} {name:?} is forbidden: unable to create new content in namespace {namespace} because it is being terminated",
                            kind.qualified()
                        ),
                    ));
                }
                Some(_) => {}
            }
        }
        let key = Key::new(kind, if about.namespaced { namespace } else { "" }, name.clone());
        if self.objects.contains_key(&key) {
            return Err(Refusal::new(
                409,
                "AlreadyExists",
                format!("{} {name:?} already exists", kind.qualified()),
            ));
        }
        let uid = self.unique();
        let metadata = &mut object["metadata"];
        metadata["name"] = json!(name);
        metadata["uid"] = json!(uid);
        metadata["creationTimestamp"] = json!(now());
        remove(metadata, "deletionTimestamp");
        if about.generation {
            metadata["generation"] = json!(1);
        }
        self.finish(&key, &mut object);
        Ok(self.write("ADDED", key, object))
    }

    /// Replaces an object. `metadata.resourceVersion`, where it is said, must be the present one.
    pub fn replace(&mut self, key: &Key, mut object: Value, part: Part) -> Result<Arc<Value>, Refusal> {
        let old = self.get(key).ok_or_else(|| Refusal::not_found(key.kind, &key.name))?;
        let said = object["metadata"]["resourceVersion"].as_str().unwrap_or("");
        if !said.is_empty() && Some(said) != old["metadata"]["resourceVersion"].as_str() {
            return Err(Refusal::conflict(key.kind, &key.name));
        }
        let said = object["metadata"]["uid"].as_str().unwrap_or("");
        if !said.is_empty() && Some(said) != old["metadata"]["uid"].as_str() {
            return Err(Refusal::conflict(key.kind, &key.name));
        }
        if !object["metadata"].is_object() {
            object["metadata"] = json!({});
        }
        for kept in
            ["uid", "creationTimestamp", "generation", "deletionTimestamp", "namespace", "resourceVersion"]
        {
            copy(&old["metadata"], &mut object["metadata"], kept);
        }
        object["metadata"]["name"] = json!(key.name);
        let about = key.kind.about();
        match part {
            Part::Main if has_status(key.kind) => copy(&old, &mut object, "status"),
            Part::Status => {
                let status = object["status"].take();
                object = (*old).clone();
                object["status"] = status;
            }
            Part::Main | Part::All => {}
        }
        if key.kind == kinds::PV && object["spec"]["hostPath"] != old["spec"]["hostPath"] {
            return Err(Refusal::new(
                422,
                "Invalid",
                format!(
                    "PersistentVolume {:?} is invalid: spec.persistentvolumesource: Forbidden: spec.persistentvolumesource is immutable after creation",
                    key.name
                ),
            ));
        }
        self.finish(key, &mut object);
        if object == *old {
            return Ok(old);
        }
        if about.generation && differs(&old, &object) {
            let generation = old["metadata"]["generation"].as_u64().unwrap_or(0);
            object["metadata"]["generation"] = json!(generation + 1);
        }
        let gone = !object["metadata"]["deletionTimestamp"].is_null() && finalizers(&object).is_empty();
        if gone && key.kind != kinds::NAMESPACE {
            return Ok(self.remove(key).unwrap_or(old));
        }
        Ok(self.write("MODIFIED", key.clone(), object))
    }

    /// Changes an object as a controller of the lab: any part, no questions. Nothing happens where nothing differs.
    pub fn edit(&mut self, key: &Key, change: impl FnOnce(&mut Value)) {
        if let Some(old) = self.get(key) {
            let mut object = (*old).clone();
            change(&mut object);
            // It was read under the same lock: no conflict is possible.
            let _ = self.replace(key, object, Part::All);
        }
    }

    /// Creates an object or brings it to what is said, as server-side apply does: what is not said stays.
    /// Nothing happens where nothing differs.
    pub fn apply(&mut self, object: &Value) {
        let Some(key) = Key::of(object) else { return };
        match self.get(&key) {
            None => {
                let _ = self.create(key.kind, &key.namespace, object.clone());
            }
            Some(old) => {
                let mut merged = (*old).clone();
                super::patch::merge(&mut merged, object);
                if merged != *old {
                    let _ = self.replace(&key, merged, Part::All);
                }
            }
        }
    }

    /// Deletes an object: at once, or, where it has finalizers, by marking it. What it owns goes with it.
    pub fn delete(&mut self, key: &Key) -> Result<Arc<Value>, Refusal> {
        let old = self.get(key).ok_or_else(|| Refusal::not_found(key.kind, &key.name))?;
        if finalizers(&old).is_empty() && key.kind != kinds::NAMESPACE {
            return Ok(self.remove(key).unwrap_or(old));
        }
        if !old["metadata"]["deletionTimestamp"].is_null() {
            return Ok(old);
        }
        let mut object = (*old).clone();
        object["metadata"]["deletionTimestamp"] = json!(now());
        if key.kind == kinds::NAMESPACE {
            object["status"]["phase"] = json!("Terminating");
        }
        let generation = object["metadata"]["generation"].as_u64();
        if let Some(generation) = generation {
            object["metadata"]["generation"] = json!(generation + 1);
        }
        self.finish(key, &mut object);
        Ok(self.write("MODIFIED", key.clone(), object))
    }

    /// Takes an object out, whatever its finalizers, and what it owns.
    pub fn remove(&mut self, key: &Key) -> Option<Arc<Value>> {
        let old = self.objects.remove(key)?;
        self.revision += 1;
        self.tell(Change { what: "DELETED", key: key.clone(), object: old.clone(), revision: self.revision });
        if matches!(key.kind, kinds::DEPLOYMENT | kinds::REPLICA_SET | kinds::STATEFUL_SET) {
            let uid = old["metadata"]["uid"].clone();
            let owned: Vec<Key> = [kinds::REPLICA_SET, kinds::POD]
                .into_iter()
                .flat_map(|kind| self.list(kind, Some(&key.namespace)))
                .filter(|(_, object)| object["metadata"]["ownerReferences"][0]["uid"] == uid)
                .map(|(key, _)| key.clone())
                .collect();
            for key in owned {
                self.remove(&key);
            }
        }
        Some(old)
    }

    /// Follows changes from now on; with the past ones after `revision`. `None` where they are no longer remembered.
    #[must_use]
    pub fn watch(&self, revision: u64) -> Option<(Vec<Change>, tokio::sync::broadcast::Receiver<Change>)> {
        let oldest = self.changes.front().map_or(self.revision, |change| change.revision);
        if revision != 0 && revision + 1 < oldest {
            return None;
        }
        let past = self.changes.iter().filter(|change| change.revision > revision).cloned().collect();
        Some((past, self.watchers.subscribe()))
    }

    /// The keys changed since this was last asked.
    pub fn take_dirty(&mut self) -> BTreeSet<Key> {
        std::mem::take(&mut self.dirty)
    }

    /// Whether something was changed since.
    #[must_use]
    pub fn is_dirty(&self) -> bool {
        !self.dirty.is_empty()
    }

    /// Takes over objects from a datastore in place of all that are there. Nobody is told: k3s was away.
    pub fn load(&mut self, objects: BTreeMap<Key, Arc<Value>>, revision: u64) {
        self.objects = objects;
        self.revision = self.revision.max(revision) + 1;
        self.changes.clear();
        self.dirty.clear();
        self.watchers = tokio::sync::broadcast::Sender::new(64);
    }

    /// A UID that this store has not given before.
    fn unique(&mut self) -> String {
        self.made += 1;
        uid(&format!("{}/{}", self.seed, self.made))
    }

    /// What the API fills in by itself.
    fn finish(&self, key: &Key, object: &mut Value) {
        object["apiVersion"] = json!(key.kind.api_version(self.vintage));
        object["kind"] = json!(key.kind.about().kind);
        if key.kind == kinds::SECRET {
            let plain = object.as_object_mut().and_then(|object| object.remove("stringData"));
            if let Some(Value::Object(plain)) = plain {
                for (name, value) in plain {
                    object["data"][name] = json!(base64(value.as_str().unwrap_or("")));
                }
            }
            if object["type"].is_null() {
                object["type"] = json!("Opaque");
            }
        }
    }

    fn write(&mut self, what: &'static str, key: Key, mut object: Value) -> Arc<Value> {
        self.revision += 1;
        object["metadata"]["resourceVersion"] = json!(self.revision.to_string());
        let object = Arc::new(object);
        self.objects.insert(key.clone(), object.clone());
        self.tell(Change { what, key, object: object.clone(), revision: self.revision });
        object
    }

    fn tell(&mut self, change: Change) {
        self.dirty.insert(change.key.clone());
        // Nobody may be watching.
        let _ = self.watchers.send(change.clone());
        if self.changes.len() == REMEMBERED {
            self.changes.pop_front();
        }
        self.changes.push_back(change);
    }
}

/// Whether clients write the status of this kind at its own place only.
fn has_status(kind: Kind) -> bool {
    kind.about().generation
        || matches!(kind, kinds::POD | kinds::NODE | kinds::NAMESPACE | kinds::PV | kinds::PVC)
}

/// Whether anything but metadata and status differs.
fn differs(old: &Value, new: &Value) -> bool {
    let (Some(old), Some(new)) = (old.as_object(), new.as_object()) else { return true };
    let part = |name: &String| !matches!(name.as_str(), "metadata" | "status" | "apiVersion" | "kind");
    old.keys().chain(new.keys()).filter(|name| part(name)).any(|name| old.get(name) != new.get(name))
}

/// Its finalizers.
#[must_use]
pub(super) fn finalizers(object: &Value) -> &[Value] {
    object["metadata"]["finalizers"].as_array().map_or(&[], Vec::as_slice)
}

fn copy(from: &Value, to: &mut Value, name: &str) {
    match from.get(name) {
        Some(value) => to[name] = value.clone(),
        None => remove(to, name),
    }
}

/// Takes a field out of an object.
pub(super) fn remove(object: &mut Value, name: &str) {
    if let Some(map) = object.as_object_mut() {
        Map::remove(map, name);
    }
}

/// A text in base64, as Secrets hold it.
#[must_use]
pub(super) fn base64(text: impl AsRef<[u8]>) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(text)
}

/// Base64 read back; empty where it is none.
#[must_use]
pub(super) fn plain(text: &str) -> Vec<u8> {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.decode(text).unwrap_or_default()
}

/// Now, as Kubernetes writes times.
#[must_use]
pub(super) fn now() -> String {
    jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// The SHA-1 of a text in hex.
#[must_use]
pub(super) fn sha1(text: &str) -> String {
    Sha1::digest(text.as_bytes()).iter().fold(String::new(), |mut hex, byte| {
        // Writing to a String cannot fail.
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

/// A UID made from a text.
#[must_use]
pub(super) fn uid(text: &str) -> String {
    let hex = sha1(text);
    format!("{}-{}-4{}-8{}-{}", &hex[..8], &hex[8..12], &hex[13..16], &hex[17..20], &hex[20..32])
}
