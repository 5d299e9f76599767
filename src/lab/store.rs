//! The objects of a simulated cluster, with the rules of the Kubernetes API for writing them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::{Value, json};

use super::changes::{Change, Changes};
use super::encoding::{base64, now, uid};
use super::kinds::{self, Kind};
use super::object::{copy, differs, finalizers, has_status, remove};
use super::refusal::Refusal;
use super::spec::Vintage;

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
    changes: Changes,
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
            changes: Changes::default(),
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
        self.changes.tell(Change {
            what: "DELETED",
            key: key.clone(),
            object: old.clone(),
            revision: self.revision,
        });
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
        self.changes.watch(revision, self.revision)
    }

    /// The keys changed since this was last asked.
    pub fn take_dirty(&mut self) -> BTreeSet<Key> {
        self.changes.take_dirty()
    }

    /// Whether something was changed since.
    #[must_use]
    pub fn is_dirty(&self) -> bool {
        self.changes.is_dirty()
    }

    /// Takes over objects from a datastore in place of all that are there. Nobody is told: k3s was away.
    pub fn load(&mut self, objects: BTreeMap<Key, Arc<Value>>, revision: u64) {
        self.objects = objects;
        self.revision = self.revision.max(revision) + 1;
        self.changes = Changes::default();
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
        self.changes.tell(Change { what, key, object: object.clone(), revision: self.revision });
        object
    }
}
