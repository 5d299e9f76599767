//! Kubernetes' answers: which API groups there are, and lists of objects as `kubectl get … -o json` prints them.
//!
//! One answer may hold several kinds (`get nodes,pods`); a fact picks the kind that it reads from a [`List`].

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::remote::Command;

/// Bytes of an answer that are kept: the objects of a large cluster are some tens of megabytes.
const LIMIT: usize = 64 << 20;

/// The kinds of Kubernetes itself that facts are read from. Every API has them.
const BUILT_IN: &str =
    "nodes,namespaces,persistentvolumes,persistentvolumeclaims,pods,cronjobs,jobs,deployments,ingresses";

/// The kinds of Flux, with the API group that each needs.
const FLUX: [(&str, &str); 3] = [
    ("source.toolkit.fluxcd.io", "gitrepositories.source.toolkit.fluxcd.io"),
    ("kustomize.toolkit.fluxcd.io", "kustomizations.kustomize.toolkit.fluxcd.io"),
    ("helm.toolkit.fluxcd.io", "helmreleases.helm.toolkit.fluxcd.io"),
];

/// Asks which API groups are served: a small answer that tells a missing kind from an API that does not answer.
#[must_use]
pub fn ask_groups() -> Command {
    Command::new("k3s kubectl get --raw /apis")
}

/// Asks for the objects of Kubernetes itself.
#[must_use]
pub fn ask_built_in() -> Command {
    Command::new("k3s kubectl get").arg(BUILT_IN).fixed("-A -o json").limit(LIMIT)
}

/// Asks for Flux's objects, of those kinds that are served; `None` where none is.
#[must_use]
pub fn ask_flux(groups: &Groups) -> Option<Command> {
    let kinds: Vec<&str> =
        FLUX.into_iter().filter(|(group, _)| groups.has(group)).map(|(_, kind)| kind).collect();
    let ask = || Command::new("k3s kubectl get").arg(kinds.join(",")).fixed("-A -o json").limit(LIMIT);
    (!kinds.is_empty()).then(ask)
}

/// The API groups that are served, and each of them with its versions: `policy`, `policy/v1`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Groups(Vec<String>);

impl Groups {
    /// Reads the answer to [`ask_groups`].
    pub fn read(answer: &str) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct GroupList {
            groups: Vec<Group>,
        }
        #[derive(Deserialize)]
        struct Group {
            name: String,
            #[serde(default)]
            versions: Vec<Served>,
        }
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Served {
            group_version: String,
        }
        let list: GroupList = serde_json::from_str(answer)
            .map_err(|error| format!("the list of API groups is not readable ({})", place(&error)))?;
        let names = list.groups.into_iter().flat_map(|group| {
            let versions = group.versions.into_iter().map(|version| version.group_version);
            std::iter::once(group.name).chain(versions)
        });
        Ok(Self(names.collect()))
    }

    /// Whether a group is served, or a version of it.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.0.iter().any(|group| group == name)
    }
}

/// The objects of one answer. Their `data` is not kept: values of ConfigMaps are nobody's fact.
#[derive(Debug, Clone, Default)]
pub struct List {
    items: Vec<Item>,
}

/// One object.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Item {
    /// `Pod`.
    pub kind: String,
    /// Its metadata.
    pub metadata: Meta,
    spec: Value,
    status: Value,
}

/// What is used of an object's metadata.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Meta {
    /// Its name.
    pub name: String,
    /// Its namespace; empty for objects of the whole cluster.
    pub namespace: String,
    /// Its UID.
    pub uid: String,
    /// Which of its versions this is.
    pub resource_version: String,
    /// Counts changes of its `spec`.
    pub generation: Option<i64>,
    /// When its deletion began.
    pub deletion_timestamp: Option<String>,
    /// Its labels.
    #[serde(deserialize_with = "or_default")]
    pub labels: BTreeMap<String, String>,
    /// Its annotations.
    #[serde(deserialize_with = "or_default")]
    pub annotations: BTreeMap<String, String>,
    /// Its owners.
    #[serde(deserialize_with = "or_default")]
    pub owner_references: Vec<Owner>,
}

/// An owner of an object.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Owner {
    /// `ReplicaSet`.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// Whether it is the one that controls the object.
    pub controller: bool,
}

impl List {
    /// Reads the answer to a `kubectl get … -o json`.
    pub fn read(answer: &str) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct Answer {
            items: Vec<Item>,
        }
        let mut answer: Answer = serde_json::from_str(answer)
            .map_err(|error| format!("the answer is not a list of objects ({})", place(&error)))?;
        for item in &mut answer.items {
            drop_nulls(&mut item.spec);
            drop_nulls(&mut item.status);
        }
        Ok(Self { items: answer.items })
    }

    /// The objects of a kind, in the order of the answer.
    pub fn of<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = &'a Item> {
        self.items.iter().filter(move |item| item.kind == kind)
    }
}

impl Item {
    /// Its `spec`, as far as `T` knows it.
    pub fn spec<T: DeserializeOwned + Default>(&self) -> Result<T, String> {
        self.view("spec", &self.spec)
    }

    /// Its `status`, as far as `T` knows it.
    pub fn status<T: DeserializeOwned + Default>(&self) -> Result<T, String> {
        self.view("status", &self.status)
    }

    /// `Pod oas-apps/nc-nextcloud-0`, for messages.
    #[must_use]
    pub fn title(&self) -> String {
        let Meta { name, namespace, .. } = &self.metadata;
        if namespace.is_empty() {
            format!("{} {name}", self.kind)
        } else {
            format!("{} {namespace}/{name}", self.kind)
        }
    }

    fn view<T: DeserializeOwned + Default>(&self, part: &str, value: &Value) -> Result<T, String> {
        if value.is_null() {
            return Ok(T::default());
        }
        T::deserialize(value).map_err(|error| format!("the {part} of {} is strange: {error}", self.title()))
    }
}

/// Where in an answer its JSON breaks. The parser's own words may quote the answer, and an answer may hold secrets.
#[must_use]
pub fn place(error: &serde_json::Error) -> String {
    let kind = match error.classify() {
        serde_json::error::Category::Eof => "it ends early",
        serde_json::error::Category::Syntax => "it is not JSON",
        serde_json::error::Category::Data | serde_json::error::Category::Io => "it has another shape",
    };
    format!("{kind}, line {}, column {}", error.line(), error.column())
}

/// Reads `null` as nothing: what Go's encoder writes for a list or map that was never made.
pub(super) fn or_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

fn drop_nulls(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.retain(|_, value| !value.is_null());
            map.values_mut().for_each(drop_nulls);
        }
        Value::Array(list) => list.iter_mut().for_each(drop_nulls),
        _ => {}
    }
}

/// A Kubernetes quantity of bytes: `8Gi`, `1.5G`, `1024`. `None` where it is none.
#[must_use]
pub fn bytes(quantity: &str) -> Option<u64> {
    let end = quantity.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(quantity.len());
    let (number, unit) = quantity.split_at(end);
    let factor: u64 = match unit {
        "" => 1,
        "k" => 1_000,
        "M" => 1_000_000,
        "G" => 1_000_000_000,
        "T" => 1_000_000_000_000,
        "P" => 1_000_000_000_000_000,
        "Ki" => 1 << 10,
        "Mi" => 1 << 20,
        "Gi" => 1 << 30,
        "Ti" => 1 << 40,
        "Pi" => 1 << 50,
        _ => return None,
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let whole = whole.parse::<u64>().ok()?.checked_mul(factor)?;
    if fraction.is_empty() {
        return Some(whole);
    }
    let scale = 10_u128.checked_pow(u32::try_from(fraction.len()).ok()?)?;
    let part = u128::from(fraction.parse::<u64>().ok()?) * u128::from(factor);
    whole.checked_add(u64::try_from(part.checked_div(scale)?).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_of_either_base_are_bytes() {
        assert_eq!(bytes("8Gi"), Some(8 << 30));
        assert_eq!(bytes("1.5G"), Some(1_500_000_000));
        assert_eq!(bytes("1024"), Some(1024));
        assert_eq!(bytes("1.25Ki"), Some(1280));
        assert_eq!(bytes("18446744073709551615Ki"), None);
        assert_eq!(bytes("8 Gi"), None);
        assert_eq!(bytes(""), None);
        assert_eq!(bytes("Gi"), None);
    }

    #[test]
    fn only_kinds_that_are_served_are_asked_for() {
        let groups = Groups::read(
            r#"{"kind":"APIGroupList","groups":[{"name":"apps"},{"name":"helm.toolkit.fluxcd.io"}]}"#,
        )
        .unwrap();
        let line = ask_flux(&groups).unwrap().line().to_owned();
        assert_eq!(line, "k3s kubectl get helmreleases.helm.toolkit.fluxcd.io -A -o json");
        assert_eq!(ask_flux(&Groups::default()), None);
    }

    #[test]
    fn nulls_are_as_good_as_absent() {
        let list = List::read(
            r#"{"items":[{"kind":"Pod","metadata":{"name":"a","labels":null,"deletionTimestamp":null},"spec":{"x":null},"status":null}]}"#,
        )
        .unwrap();
        let pod = list.of("Pod").next().unwrap();
        assert_eq!(pod.spec::<BTreeMap<String, String>>(), Ok(BTreeMap::new()));
        assert_eq!(pod.status::<BTreeMap<String, String>>(), Ok(BTreeMap::new()));
    }

    #[test]
    fn a_broken_answer_is_not_quoted() {
        let why = List::read(r#"{"items": "hunter2"}"#).unwrap_err();
        assert!(!why.contains("hunter2"), "{why}");
    }
}
