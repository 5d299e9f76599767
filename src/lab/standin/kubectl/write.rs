//! Verbs that send whole objects: `create` and `replace`.

use std::fs;
use std::io::{self, Read as _};

use serde_json::{Value, json};

use super::super::Done;
use super::super::typed::{Resource, Typed, pretty};
use super::{Complaint, Session, refusal};
use crate::lab::kinds::Kind;

impl Session {
    /// `create -f -` and `replace -f -`: one object, several, or a List.
    pub(super) fn write(&mut self, typed: &Typed, verb: &str, done: &mut Done) -> Result<(), Complaint> {
        let file = typed.file.as_deref().ok_or("error: must specify one of -f and -k")?;
        let mut text = String::new();
        let read = if file == "-" {
            io::stdin().read_to_string(&mut text).map(|_| ())
        } else {
            fs::read_to_string(file).map(|content| text = content)
        };
        read.map_err(|error| format!("error: error reading {file:?}: {error}"))?;
        let shown = if file == "-" { "STDIN" } else { file };
        let mut objects = Vec::new();
        for object in serde_json::Deserializer::from_str(&text).into_iter::<Value>() {
            let mut object = object.map_err(|error| format!("error: error parsing {shown}: {error}"))?;
            match object["items"].take() {
                Value::Array(items) if object["kind"].as_str().is_some_and(|kind| kind.ends_with("List")) => {
                    objects.extend(items);
                }
                _ => {
                    crate::lab::object::remove(&mut object, "items");
                    objects.push(object);
                }
            }
        }
        if objects.is_empty() {
            return Err(format!("error: no objects passed to {verb}"));
        }
        let mut complaints = Vec::new();
        for object in objects {
            if let Err(complaint) = self.write_one(typed, verb, shown, object, done) {
                complaints.push(complaint);
            }
        }
        if complaints.is_empty() { Ok(()) } else { Err(complaints.join("\n")) }
    }

    /// `replace --raw PATH -f -`: what is read is sent as it stands.
    pub(super) fn put(&mut self, typed: &Typed, path: &str, done: &mut Done) -> Result<(), Complaint> {
        if typed.file.as_deref() != Some("-") {
            return Err("error: --raw can only use a single local file or stdin".to_owned());
        }
        let mut text = String::new();
        io::stdin()
            .read_to_string(&mut text)
            .map_err(|error| format!("error: error reading STDIN: {error}"))?;
        let object =
            serde_json::from_str(&text).map_err(|error| format!("error: error parsing STDIN: {error}"))?;
        let answer = self.ask("PUT", path, "application/json", &object)?;
        if answer.status >= 400 {
            return Err(refusal(&answer, ""));
        }
        done.out = String::from_utf8_lossy(&answer.body).into_owned();
        Ok(())
    }

    fn write_one(
        &mut self,
        typed: &Typed,
        verb: &str,
        shown: &str,
        mut object: Value,
        done: &mut Done,
    ) -> Result<(), Complaint> {
        let (version, kind) =
            (object["apiVersion"].as_str().unwrap_or(""), object["kind"].as_str().unwrap_or(""));
        if version.is_empty() || kind.is_empty() {
            let missing: Vec<&str> = [("apiVersion", version), ("kind", kind)]
                .iter()
                .filter(|(_, value)| value.is_empty())
                .map(|(name, _)| {
                    if *name == "kind" {
                        "Object 'Kind' is missing"
                    } else {
                        "Object 'apiVersion' is missing"
                    }
                })
                .collect();
            return Err(format!("error: unable to decode {shown:?}: {} in '{object}'", missing.join(", ")));
        }
        let (group, version) = version.split_once('/').unwrap_or(("", version));
        let about =
            Kind::called(kind).map(Kind::about).filter(|about| about.group == group).ok_or_else(|| {
                format!(
                    "error: unable to recognize {shown:?}: no matches for kind {kind:?} in version {:?}",
                    object["apiVersion"].as_str().unwrap_or("")
                )
            })?;
        let resource = Resource { about, version: version.to_owned() };
        let said = object["metadata"]["namespace"].as_str().map(str::to_owned);
        if let (Some(said), Some(asked), true) = (&said, &typed.namespace, about.namespaced)
            && said != asked
        {
            return Err(format!(
                "error: the namespace from the provided object {said:?} does not match the namespace {asked:?}. You must pass '--namespace={said}' to perform this operation."
            ));
        }
        let namespace = said.or_else(|| typed.namespace.clone()).unwrap_or_else(|| "default".to_owned());
        let place = resource.place(Some(&namespace));
        let (answer, word) = if verb == "create" {
            (self.ask("POST", &place, "application/json", &object)?, "created")
        } else {
            let name = object["metadata"]["name"].as_str().unwrap_or("").to_owned();
            let path = format!("{place}/{name}");
            if object["metadata"]["resourceVersion"].as_str().unwrap_or("").is_empty() {
                let now = self.fetch(&path)?.json();
                if now["kind"] != json!("Status") {
                    object["metadata"]["resourceVersion"] = now["metadata"]["resourceVersion"].clone();
                }
            }
            (self.ask("PUT", &path, "application/json", &object)?, "replaced")
        };
        if answer.status >= 400 {
            let doing = if verb == "create" { "creating" } else { "replacing" };
            return Err(refusal(&answer, &format!("error when {doing} {shown:?}: ")));
        }
        let made = answer.json();
        done.print(&match typed.output.as_str() {
            "json" => pretty(&made),
            _ => format!("{} {word}\n", resource.called(&made)),
        });
        Ok(())
    }
}
