//! JSON merge patch (RFC 7386) and the part of JSON patch (RFC 6902) that clients of a cluster use.

use serde_json::{Map, Value};

/// Applies a merge patch: null removes, objects merge, everything else replaces.
pub(super) fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(changes) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Value::Object(object) = target else { return };
    for (name, change) in changes {
        if change.is_null() {
            object.remove(name);
        } else {
            merge(object.entry(name.clone()).or_insert(Value::Null), change);
        }
    }
}

/// Applies a JSON patch; the error is a sentence.
pub(super) fn json_patch(target: &mut Value, patch: &Value) -> Result<(), String> {
    for item in patch.as_array().ok_or("a JSON patch is a list")? {
        let place = item["path"].as_str().ok_or("an entry of a JSON patch has a path")?;
        let (parent, field) = place.rsplit_once('/').ok_or("a path begins with /")?;
        let field = field.replace("~1", "/").replace("~0", "~");
        let missing = || format!("there is nothing at {place}");
        let verb = item["op"].as_str().unwrap_or("");
        if verb == "test" {
            if target.pointer(place) != Some(&item["value"]) {
                return Err(format!("the test of {place} failed"));
            }
            continue;
        }
        match (target.pointer_mut(parent).ok_or_else(missing)?, verb) {
            (Value::Object(object), "add") => {
                object.insert(field, item["value"].clone());
            }
            (Value::Object(object), "replace") => {
                *object.get_mut(&field).ok_or_else(missing)? = item["value"].clone();
            }
            (Value::Object(object), "remove") => {
                object.remove(&field).ok_or_else(missing)?;
            }
            (Value::Array(list), "add") if field == "-" => list.push(item["value"].clone()),
            (Value::Array(list), _) => {
                let at: usize = field.parse().map_err(|_| missing())?;
                match verb {
                    "add" if at <= list.len() => list.insert(at, item["value"].clone()),
                    "replace" if at < list.len() => list[at] = item["value"].clone(),
                    "remove" if at < list.len() => {
                        list.remove(at);
                    }
                    _ => return Err(missing()),
                }
            }
            _ => return Err(missing()),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_merge_patch_removes_by_null_and_keeps_what_it_does_not_name() {
        let mut object = json!({"a": {"b": 1, "c": 2}, "d": [1]});
        merge(&mut object, &json!({"a": {"b": null, "e": 3}, "d": [2]}));
        assert_eq!(object, json!({"a": {"c": 2, "e": 3}, "d": [2]}));
    }

    #[test]
    fn a_json_patch_that_finds_nothing_says_where() {
        let mut object = json!({"metadata": {"finalizers": ["x"]}});
        json_patch(&mut object, &json!([{"op": "remove", "path": "/metadata/finalizers/0"}])).unwrap();
        assert_eq!(object, json!({"metadata": {"finalizers": []}}));
        let error = json_patch(&mut object, &json!([{"op": "remove", "path": "/spec/x"}])).unwrap_err();
        assert_eq!(error, "there is nothing at /spec/x");
    }
}
