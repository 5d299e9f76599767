//! Fields of an object, as the API and its controllers look at them.

use serde_json::{Map, Value};

use super::kinds::{self, Kind};

/// Whether clients write the status of this kind at its own place only.
#[must_use]
pub(super) fn has_status(kind: Kind) -> bool {
    kind.about().generation
        || matches!(kind, kinds::POD | kinds::NODE | kinds::NAMESPACE | kinds::PV | kinds::PVC)
}

/// Whether anything but metadata and status differs.
#[must_use]
pub(super) fn differs(old: &Value, new: &Value) -> bool {
    let (Some(old), Some(new)) = (old.as_object(), new.as_object()) else { return true };
    let part = |name: &String| !matches!(name.as_str(), "metadata" | "status" | "apiVersion" | "kind");
    old.keys().chain(new.keys()).filter(|name| part(name)).any(|name| old.get(name) != new.get(name))
}

/// Its finalizers.
#[must_use]
pub(super) fn finalizers(object: &Value) -> &[Value] {
    object["metadata"]["finalizers"].as_array().map_or(&[], Vec::as_slice)
}

/// Makes a field what it is in another object: there, or not there.
pub(super) fn copy(from: &Value, to: &mut Value, name: &str) {
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
