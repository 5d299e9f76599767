//! Secrets and ConfigMaps made anew under other names (facts section 6.2; of the traps in section 8 numbers 1 to 4: names are built, not
//! expanded by a shell; metadata is stripped; Secrets and ConfigMaps of every namespace; what is missing is an error).

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{ATTEMPTS, fetch};
use crate::event::Failure;
use crate::plan::{Object, Renamed};
use crate::remote::{Command, Remote};
use crate::run::{Scribe, Trouble};

/// Makes the copies that are not there yet and compares all of them with what they were made of. Done again it finds its own copies equal.
pub(super) async fn copy<R: Remote>(
    remote: &R,
    copies: &[Renamed],
    scribe: &mut Scribe<'_>,
) -> Result<(), Trouble> {
    let both: Vec<Object> = copies.iter().flat_map(|copy| [copy.from.clone(), copy.to.clone()]).collect();
    let mut complaint = String::new();
    for _ in 0..=ATTEMPTS {
        let live = fetch(remote, &both, scribe).await?;
        let missing = missing(copies, &live)?;
        if missing.is_empty() {
            return scribe.note(format!("{} copies are in the cluster, equal byte for byte", copies.len()));
        }
        let list = json!({"apiVersion": "v1", "kind": "List", "items": missing});
        let command = Command::new("k3s kubectl create --validate=false -f -")
            .stdin(list.to_string().into_bytes())
            .sensitive();
        let output = scribe.ask(remote, &command).await?;
        if !output.success() {
            // Judged by what the next look finds: somebody else may have been quicker.
            complaint = format!(": kubectl create ended with {}", output.exit);
        }
    }
    Err(failed("copy-not-made", format!("not all copies are there after {ATTEMPTS} attempts{complaint}")))
}

/// The copies that are to be made. Err where one cannot be: what it is made of is gone, or its name is taken by something else.
fn missing(copies: &[Renamed], live: &BTreeMap<Object, Value>) -> Result<Vec<Value>, Trouble> {
    let mut missing = Vec::new();
    for Renamed { from, to } in copies {
        let Some(source) = live.get(from) else {
            let why = format!("{} {from} was there when the plan was made and is gone", from.kind);
            return Err(failed("copy-without-source", why));
        };
        let copy = renamed(source, to);
        match live.get(to) {
            None => missing.push(copy),
            Some(there) if content(there) == content(&copy) => {}
            Some(_) => {
                let why = format!(
                    "{} {to} is there already with other data than {from}, and is not written over. Keep the one that is right: delete {to}, \
                     or bring {from} to what it says",
                    to.kind
                );
                return Err(failed("copy-differs", why));
            }
        }
    }
    Ok(missing)
}

/// The object under its new name, with nothing of the old one's life.
fn renamed(source: &Value, to: &Object) -> Value {
    let mut copy = json!({
        "apiVersion": "v1", "kind": source["kind"],
        "metadata": {"name": to.name, "namespace": to.namespace},
    });
    for field in ["type", "data", "binaryData"] {
        if !source[field].is_null() {
            copy[field] = source[field].clone();
        }
    }
    copy
}

/// What an object holds.
fn content(object: &Value) -> [Value; 3] {
    ["type", "data", "binaryData"].map(|field| match &object[field] {
        Value::Object(map) if map.is_empty() => Value::Null,
        value => value.clone(),
    })
}

fn failed(cause: &str, message: String) -> Trouble {
    Trouble::Failed(Failure::new(cause, message).read("docs/claims.md#when-it-stops"))
}
