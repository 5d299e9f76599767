//! Secrets: name, key names and a hash of the data. Never the data.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use secrecy::zeroize::{Zeroize, Zeroizing};
use serde::de::{IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use sha2::{Digest, Sha256};

use super::kubernetes::{or_default, place};
use crate::form::hex;
use crate::remote::Command;

/// A Secret. Helm's own release records are left out.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Secret {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// `Opaque`.
    pub kind: String,
    /// Names of its keys, sorted.
    pub keys: Vec<String>,
    /// Names of keys whose value is empty.
    pub empty: Vec<String>,
    /// SHA-256 over keys and values, in hex: equal when and only when the data is equal.
    pub hash: String,
    /// Whether a controller makes it anew by itself (service account tokens, cert-manager, Helm, k3s): then a change of its data means nothing.
    pub managed: bool,
}

/// Asks for every Secret but Helm's release records, which are large and no configuration.
#[must_use]
pub fn ask() -> Command {
    Command::new("k3s kubectl get secrets -A --field-selector type!=helm.sh/release.v1 -o json")
        .limit(64 << 20)
        .sensitive()
}

/// Reads the answer, in order of namespace and name. Nothing of the data outlives this call, nor stands in its error.
pub fn read(answer: &str) -> Result<Vec<Secret>, String> {
    let mut secrets = stored(answer)?.iter().map(Stored::fact).collect::<Result<Vec<_>, _>>()?;
    secrets.sort_by(|a, b| (&a.namespace, &a.name).cmp(&(&b.namespace, &b.name)));
    Ok(secrets)
}

/// A Secret with its data. It has no `Debug` on purpose.
#[derive(Deserialize)]
pub(super) struct Stored<'a> {
    #[serde(borrow)]
    pub(super) metadata: Meta<'a>,
    #[serde(rename = "type", default)]
    kind: String,
    #[serde(borrow, default, deserialize_with = "or_default")]
    data: BTreeMap<Cow<'a, str>, Encoded<'a>>,
}

#[derive(Deserialize)]
pub(super) struct Meta<'a> {
    pub(super) name: String,
    pub(super) namespace: String,
    #[serde(borrow, default, deserialize_with = "or_default")]
    labels: BTreeMap<Cow<'a, str>, Cow<'a, str>>,
    /// Their values may hold the data once more (`last-applied-configuration`): the names alone are read.
    #[serde(default, deserialize_with = "or_default")]
    annotations: Names,
}

/// The names of a map whose values are nobody's business.
#[derive(Default)]
struct Names(BTreeSet<String>);

impl<'de> Deserialize<'de> for Names {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NamesOnly;
        impl<'de> Visitor<'de> for NamesOnly {
            type Value = Names;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map")
            }

            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Names, M::Error> {
                let mut names = BTreeSet::new();
                while let Some((name, IgnoredAny)) = map.next_entry()? {
                    names.insert(name);
                }
                Ok(Names(names))
            }
        }
        deserializer.deserialize_map(NamesOnly)
    }
}

/// A value in base64; wiped when dropped, where it is a copy at all.
#[derive(Deserialize)]
struct Encoded<'a>(#[serde(borrow)] Cow<'a, str>);

impl Drop for Encoded<'_> {
    fn drop(&mut self) {
        if let Cow::Owned(copy) = &mut self.0 {
            copy.zeroize();
        }
    }
}

/// Reads the answer with the data. An error says where, never what.
pub(super) fn stored(answer: &str) -> Result<Vec<Stored<'_>>, String> {
    #[derive(Deserialize)]
    struct List<'a> {
        #[serde(borrow)]
        items: Vec<Stored<'a>>,
    }
    serde_json::from_str::<List<'_>>(answer)
        .map(|list| list.items)
        .map_err(|error| format!("the answer is not a list of Secrets ({})", place(&error)))
}

impl Stored<'_> {
    /// The keys with their decoded values, in order of key.
    pub(super) fn values(&self) -> impl Iterator<Item = Result<(&str, Zeroizing<Vec<u8>>), String>> {
        self.data.iter().map(|(key, value)| {
            // The decoder's own words would quote the value.
            let decoded = STANDARD.decode(value.0.as_bytes()).map_err(|_| {
                format!(
                    "key {key} of Secret {}/{} is not base64",
                    self.metadata.namespace, self.metadata.name
                )
            })?;
            Ok((key.as_ref(), Zeroizing::new(decoded)))
        })
    }

    fn fact(&self) -> Result<Secret, String> {
        let mut hash = Sha256::new();
        let mut empty = Vec::new();
        for pair in self.values() {
            let (key, value) = pair?;
            // With their lengths in front, no two different sets of pairs are the same bytes.
            for part in [key.as_bytes(), value.as_slice()] {
                hash.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
                hash.update(part);
            }
            if value.is_empty() {
                empty.push(key.to_owned());
            }
        }
        Ok(Secret {
            namespace: self.metadata.namespace.clone(),
            name: self.metadata.name.clone(),
            kind: self.kind.clone(),
            keys: self.data.keys().map(|key| key.clone().into_owned()).collect(),
            empty,
            hash: hex(&hash.finalize()),
            managed: self.managed(),
        })
    }

    /// Whether a controller makes it anew by itself.
    fn managed(&self) -> bool {
        let Meta { name, labels, annotations, .. } = &self.metadata;
        // Stackspin's own credentials are what must stay, whoever made them: in 0.6 a Helm chart did (facts section 3.4).
        if (name.starts_with("oas-") || name.starts_with("stackspin-"))
            && (name.ends_with("-variables") || name.ends_with("-basic-auth"))
        {
            return false;
        }
        let by_kind = matches!(
            self.kind.as_str(),
            "kubernetes.io/service-account-token"
                | "kubernetes.io/tls"
                | "bootstrap.kubernetes.io/token"
                | "helm.sh/release.v1"
        ) || self.kind.starts_with("k3s.cattle.io/");
        let by_helm = labels.get("app.kubernetes.io/managed-by").is_some_and(|maker| maker == "Helm")
            || annotations.0.contains("meta.helm.sh/release-name");
        let mut names = annotations.0.iter().map(String::as_str).chain(labels.keys().map(AsRef::as_ref));
        let by_cert_manager = names
            .any(|key| key.starts_with("cert-manager.io/") || key.starts_with("controller.cert-manager.io/"));
        let by_k3s = name.ends_with(".node-password.k3s") || name == "k3s-serving";
        by_kind || by_helm || by_cert_manager || by_k3s
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(data: &str) -> Result<Secret, String> {
        let answer = format!(
            r#"{{"items":[{{"kind":"Secret","metadata":{{"name":"a","namespace":"oas"}},"type":"Opaque","data":{data}}}]}}"#
        );
        read(&answer).map(|mut secrets| secrets.remove(0))
    }

    #[test]
    fn the_hash_follows_the_data_and_nothing_else() {
        let base = one(r#"{"a":"MQ==","b":"Mg=="}"#).unwrap();
        assert_eq!(base.hash, one(r#"{"b":"Mg==","a":"MQ=="}"#).unwrap().hash);
        assert_ne!(base.hash, one(r#"{"a":"MQ==","b":"Mw=="}"#).unwrap().hash);
        assert_ne!(base.hash, one(r#"{"a":"MQ==","c":"Mg=="}"#).unwrap().hash);
        // The same bytes in a row, but cut elsewhere.
        assert_ne!(one(r#"{"ab":"Yw=="}"#).unwrap().hash, one(r#"{"a":"YmM="}"#).unwrap().hash);
        assert_ne!(one("{}").unwrap().hash, one(r#"{"a":""}"#).unwrap().hash);
    }

    #[test]
    fn empty_values_are_named_and_absent_data_is_no_trouble() {
        assert_eq!(one(r#"{"a":"","b":"Mg=="}"#).unwrap().empty, ["a"]);
        assert_eq!(one("null").unwrap().keys, Vec::<String>::new());
    }

    #[test]
    fn errors_do_not_quote_the_data() {
        for broken in [r#"{"a":"hunter2!"}"#, r#"{"a":["hunter2!"]}"#, r#""hunter2!""#, r#"{"a":"hunter2!"#] {
            let why = one(broken).unwrap_err();
            assert!(!why.contains("hunter2"), "{why}");
        }
    }
}
