//! What still has its name from before Stackspin was called so: the secrets and overrides that the way to 0.8 copied, and nightly jobs of
//! the source that is no more (facts sections 3.4 and 6.2; guide, "Upgrading to 0.8", its clean-up).
//!
//! Nothing of the data outlives [`look`]: an old object is compared with its copy key by key, and what differs is told by key.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io;

use secrecy::zeroize::Zeroize;
use serde::{Deserialize, Serialize};

use super::frames::Frames;
use super::kubernetes::{List, or_default, place};
use super::{Known, nightly, overrides, renamed, secrets};
use crate::plan::Object;
use crate::remote::{Command, Remote, RemoteError};
use crate::version::Version;

/// What has an old name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OldNames {
    /// Secrets and ConfigMaps, in order.
    pub objects: Vec<Old>,
    /// CronJobs that act on the old source, as `namespace/name`.
    pub jobs: Vec<String>,
}

/// An object with an old name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Old {
    /// The object.
    pub object: Object,
    /// What its copy is called.
    pub anew: Object,
    /// How the copy stands to it.
    pub standing: Standing,
}

/// How a copy stands to the old object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Standing {
    /// All of the old data is in it, byte for byte; it may have more.
    Carried,
    /// There is none.
    Missing,
    /// These keys are gone from it, or have another value.
    Differs(Vec<String>),
}

/// Asks a cluster for them. Changes nothing.
pub async fn look<R: Remote>(remote: &R) -> Result<Known<OldNames>, RemoteError> {
    let jobs = Command::new("k3s kubectl get cronjobs -A -o json").limit(16 << 20);
    let frames =
        Frames::new().ask("secrets", &secrets::ask()).ask("maps", &overrides::ask()).ask("jobs", &jobs);
    let mut output = remote.ask(&frames.command(), &mut io::sink()).await?;
    let answers = frames.answers(&output);
    let found = answers.get("secrets").and_then(|secrets| {
        Ok(OldNames {
            objects: compare(secrets, answers.get("maps")?)?,
            jobs: nightly::acting_on(&answers.get("jobs").and_then(List::read)?, old_source())?,
        })
    });
    output.stdout.zeroize();
    Ok(found.into())
}

fn old_source() -> &'static str {
    Version::V0_7.source().unwrap_or("openappstack")
}

/// A Secret or ConfigMap with its data, as text.
#[derive(Deserialize)]
struct Stored<'a> {
    metadata: Meta,
    #[serde(borrow, default, deserialize_with = "or_default")]
    data: BTreeMap<Cow<'a, str>, Cow<'a, str>>,
    #[serde(borrow, default, rename = "binaryData", deserialize_with = "or_default")]
    binary: BTreeMap<Cow<'a, str>, Cow<'a, str>>,
}

#[derive(Deserialize)]
struct Meta {
    name: String,
    namespace: String,
}

/// Base64 as Kubernetes writes it is canonical, so text is compared.
fn compare(secrets: &str, maps: &str) -> Result<Vec<Old>, String> {
    let mut all = BTreeMap::new();
    for (kind, answer) in [("secrets", secrets), ("configmaps", maps)] {
        #[derive(Deserialize)]
        struct List<'a> {
            #[serde(borrow)]
            items: Vec<Stored<'a>>,
        }
        let list: List<'_> = serde_json::from_str(answer)
            .map_err(|error| format!("the answer is no list of {kind} ({})", place(&error)))?;
        for Stored { metadata: Meta { name, namespace }, data, binary } in list.items {
            all.insert(Object { kind: kind.to_owned(), namespace, name }, [data, binary]);
        }
    }
    let old = all.iter().filter_map(|(object, data)| {
        let anew = copied(object)?;
        let standing = match all.get(&anew) {
            None => Standing::Missing,
            Some(copy) => {
                let pairs =
                    data.iter().zip(copy).flat_map(|(old, new)| old.iter().map(move |pair| (pair, new)));
                let differs = pairs.filter(|((key, value), new)| new.get(*key) != Some(*value));
                let keys: Vec<String> = differs.map(|((key, _), _)| key.clone().into_owned()).collect();
                if keys.is_empty() { Standing::Carried } else { Standing::Differs(keys) }
            }
        };
        Some(Old { object: object.clone(), anew, standing })
    });
    Ok(old.collect())
}

/// What an object is called since 0.8; `None` for one that is none of those which were copied.
fn copied(object: &Object) -> Option<Object> {
    const PARTS: [&str; 3] = ["-variables", "-basic-auth", "-override"];
    let bare = object.name.strip_prefix("oas-")?;
    let app = PARTS.iter().find_map(|part| bare.strip_suffix(part))?;
    if app.is_empty() || (object.kind == "configmaps" && !bare.ends_with("-override")) {
        return None;
    }
    Some(renamed::object(object))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(namespace: &str, name: &str, data: &str) -> String {
        format!(r#"{{"metadata":{{"name":"{name}","namespace":"{namespace}"}},"data":{data}}}"#)
    }

    fn list(items: &[String]) -> String {
        format!(r#"{{"items":[{}]}}"#, items.join(","))
    }

    #[test]
    fn what_was_copied_is_compared_key_by_key_and_nothing_else_is_an_old_name() {
        let secrets = list(&[
            one("flux-system", "oas-cluster-variables", r#"{"domain":"MQ==","ip_address":"MQ=="}"#),
            one("flux-system", "stackspin-cluster-variables", r#"{"domain":"Mg=="}"#),
            one("flux-system", "oas-nextcloud-variables", r#"{"a":"MQ=="}"#),
            one("flux-system", "stackspin-nextcloud-variables", r#"{"a":"MQ==","more":"MQ=="}"#),
            one("flux-system", "oas-rocketchat-variables", r#"{"a":"MQ=="}"#),
            one("oas", "oas-prometheus-basic-auth", "null"),
            one("stackspin", "stackspin-prometheus-basic-auth", "{}"),
            one("team", "oas-own", "{}"),
            one("team", "oas-variables", "{}"),
        ]);
        let maps = list(&[
            one("kube-system", "oas-local-path-provisioner-override", r#"{"values.yaml":"a"}"#),
            one("kube-system", "stackspin-local-path-provisioner-override", r#"{"values.yaml":"b"}"#),
            one("kube-system", "oas-version-variables", "{}"),
        ]);
        let found: Vec<(String, Standing)> = compare(&secrets, &maps)
            .unwrap()
            .into_iter()
            .map(|old| (old.object.to_string(), old.standing))
            .collect();
        let differs = |keys: &[&str]| Standing::Differs(keys.iter().map(|key| (*key).to_owned()).collect());
        assert_eq!(
            found,
            [
                ("kube-system/oas-local-path-provisioner-override".to_owned(), differs(&["values.yaml"])),
                ("flux-system/oas-cluster-variables".to_owned(), differs(&["domain", "ip_address"])),
                ("flux-system/oas-nextcloud-variables".to_owned(), Standing::Carried),
                ("flux-system/oas-rocketchat-variables".to_owned(), Standing::Missing),
                ("oas/oas-prometheus-basic-auth".to_owned(), Standing::Carried),
            ]
        );
        let why = compare(r#"{"items":[{"data":"hunter2"}]}"#, &maps).unwrap_err();
        assert!(!why.contains("hunter2"), "{why}");
    }

    #[test]
    fn only_nightly_jobs_of_the_old_source_are_found() {
        let job = |name: &str, words: &str| {
            format!(
                r#"{{"kind":"CronJob","metadata":{{"name":"{name}","namespace":"flux-system"}},"spec":{{"jobTemplate":{{"spec":{{"template":{{"spec":{{"containers":[{{"image":"openappstack","command":{words}}}]}}}}}}}}}}}}"#
            )
        };
        let jobs = list(&[
            job("old", r#"["flux","suspend","source","git","openappstack"]"#),
            job("new", r#"["flux","suspend","source","git","stackspin"]"#),
            job("other", r#"["ls","openappstack"]"#),
        ]);
        let found = nightly::acting_on(&List::read(&jobs).unwrap(), old_source()).unwrap();
        assert_eq!(found, ["flux-system/old"]);
    }
}
