//! All Kubernetes objects: which kinds there are, how they are asked for, and how the answers become one file a kind.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom, Write};
use std::path::Path;

use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::manifest::Objects;
use crate::remote::Command;

/// API groups that are views of other objects or of the moment.
const SKIPPED_GROUPS: &[&str] = &["metrics.k8s.io", "events.k8s.io"];
/// Resources of the core group that are views of the moment.
const SKIPPED: &[&str] = &["events", "componentstatuses"];

/// Asks the API for each path in turn; the JSON answers come one after the other. One that fails ends it.
#[must_use]
pub fn command<P: AsRef<str>>(paths: impl IntoIterator<Item = P>) -> Command {
    Command::new("for path in").args(paths).fixed(r#"; do k3s kubectl get --raw "$path" || exit 1; done"#)
}

/// A kind of object that can be listed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Resource {
    /// The group; empty for the core.
    pub group: String,
    /// The version.
    pub version: String,
    /// The plural name.
    pub name: String,
}

impl Resource {
    /// Where the API has all of them: `/apis/apps/v1/deployments`.
    #[must_use]
    pub fn path(&self) -> String {
        format!("{}/{}", root(&self.group, &self.version), self.name)
    }

    /// The file that holds them: `deployments.apps.json`.
    #[must_use]
    pub fn file(&self) -> String {
        if self.group.is_empty() {
            format!("{}.json", self.name)
        } else {
            format!("{}.{}.json", self.name, self.group)
        }
    }
}

fn root(group: &str, version: &str) -> String {
    if group.is_empty() { format!("/api/{version}") } else { format!("/apis/{group}/{version}") }
}

#[derive(Deserialize)]
struct Groups {
    groups: Vec<Group>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Group {
    name: String,
    versions: Vec<Served>,
    preferred_version: Served,
}

#[derive(Deserialize)]
struct Served {
    version: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Kinds {
    group_version: String,
    resources: Vec<Kind>,
}

#[derive(Deserialize)]
struct Kind {
    name: String,
    #[serde(default)]
    verbs: Vec<String>,
}

/// Reads the answer to `/apis`: the paths to ask for kinds, the preferred version of each group first. The others follow, because a
/// kind may be served by an older version alone (Kubernetes 1.20 has CronJobs in `batch/v1beta1` only).
pub fn kinds_to_ask(apis: &[u8]) -> io::Result<Vec<String>> {
    let groups: Groups = serde_json::from_slice(apis)?;
    let mut paths = vec![root("", "v1")];
    for group in groups.groups.iter().filter(|group| !SKIPPED_GROUPS.contains(&group.name.as_str())) {
        let preferred = &group.preferred_version.version;
        let others =
            group.versions.iter().map(|served| &served.version).filter(|version| *version != preferred);
        for version in std::iter::once(preferred).chain(others) {
            if !safe(&group.name) || !safe(version) {
                return Err(strange(&format!("{}/{version}", group.name)));
            }
            paths.push(root(&group.name, version));
        }
    }
    Ok(paths)
}

/// Reads the answers to [`kinds_to_ask`]: every kind that can be listed, each once, in its first version.
pub fn kinds(answers: &[u8], asked: usize) -> io::Result<Vec<Resource>> {
    let answers: Vec<Kinds> =
        serde_json::Deserializer::from_slice(answers).into_iter().collect::<Result<_, _>>()?;
    if answers.len() != asked {
        return Err(bad(&format!("{} answers to {asked} questions for kinds", answers.len())));
    }
    let mut seen = BTreeSet::new();
    let mut resources = Vec::new();
    for kinds in answers {
        let (group, version) = kinds.group_version.split_once('/').unwrap_or(("", &kinds.group_version));
        for kind in kinds.resources {
            let subresource = kind.name.contains('/');
            let skipped = group.is_empty() && SKIPPED.contains(&kind.name.as_str());
            if subresource || skipped || !kind.verbs.iter().any(|verb| verb == "list") {
                continue;
            }
            if !safe(&kind.name) || !(group.is_empty() || safe(group)) || !safe(version) {
                return Err(strange(&kind.name));
            }
            if seen.insert((group.to_owned(), kind.name.clone())) {
                resources.push(Resource {
                    group: group.to_owned(),
                    version: version.to_owned(),
                    name: kind.name,
                });
            }
        }
    }
    Ok(resources)
}

/// Takes the stream of lists apart: one file a kind below `folder`. Memory holds names, never contents.
pub fn split(stream: &Path, resources: &[Resource], folder: &Path) -> io::Result<BTreeMap<String, Objects>> {
    let mut lists =
        serde_json::Deserializer::from_reader(BufReader::new(File::open(stream)?)).into_iter::<List>();
    let mut source = File::open(stream)?;
    let mut parts = BTreeMap::new();
    let mut begin = 0;
    for resource in resources {
        let list = lists.next().ok_or_else(|| bad(&format!("no answer for {}", resource.path())))??;
        list.check(resource)?;
        let end = lists.byte_offset() as u64;
        source.seek(SeekFrom::Start(begin))?;
        let file = crate::files::make_file(&folder.join(resource.file()))?;
        let mut hashed = Hashed { file, hash: Sha256::new() };
        let bytes = io::copy(&mut (&mut source).take(end - begin), &mut hashed)?;
        hashed.file.sync_all()?;
        let sha256 = crate::form::hex(&hashed.hash.finalize());
        let part = Objects { path: resource.path(), count: list.items.len() as u64, bytes, sha256 };
        if parts.insert(resource.file(), part).is_some() {
            return Err(strange(&resource.file()));
        }
        begin = end;
    }
    match lists.next() {
        None => Ok(parts),
        Some(_) => Err(bad("more answers than questions for objects")),
    }
}

struct Hashed {
    file: File,
    hash: Sha256,
}

impl Write for Hashed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.hash.update(bytes.get(..written).unwrap_or_default());
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// A list as far as a backup must understand it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct List {
    kind: String,
    api_version: String,
    /// The objects. A list without any may say `null`.
    #[serde(default, deserialize_with = "nothing_is_empty")]
    pub items: Vec<Item>,
}

impl List {
    fn check(&self, resource: &Resource) -> io::Result<()> {
        let Resource { group, version, name } = resource;
        let expected = if group.is_empty() { version.clone() } else { format!("{group}/{version}") };
        if self.kind.ends_with("List") && self.api_version == expected {
            Ok(())
        } else {
            Err(bad(&format!("the answer for {name} is a {} of {}", self.kind, self.api_version)))
        }
    }
}

/// An object's names, and where a PersistentVolume lies.
#[derive(Debug, Deserialize)]
pub struct Item {
    /// Its names.
    pub metadata: Metadata,
    #[serde(default)]
    spec: Spec,
}

impl Item {
    /// The folder of a PersistentVolume on the host, if it has one there.
    #[must_use]
    pub fn folder(&self) -> Option<&str> {
        self.spec.host_path.as_ref().or(self.spec.local.as_ref()).map(|place| place.path.as_str())
    }
}

/// An object's names.
#[derive(Debug, Deserialize)]
pub struct Metadata {
    /// Its name.
    pub name: String,
    /// Its namespace; empty for objects of the whole cluster.
    #[serde(default)]
    pub namespace: String,
}

/// Of a PersistentVolume. Anything else about a spec is passed over, of whatever shape it is.
#[derive(Debug, Default)]
struct Spec {
    host_path: Option<Place>,
    local: Option<Place>,
}

#[derive(Debug, Deserialize)]
struct Place {
    path: String,
}

impl<'de> Deserialize<'de> for Spec {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        /// Other kinds use the same words for other things (`hostPath` may be a flag).
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Any {
            Place(Place),
            Other(serde::de::IgnoredAny),
        }
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Shape {
            Spec {
                #[serde(rename = "hostPath")]
                host_path: Option<Any>,
                local: Option<Any>,
            },
            Other(serde::de::IgnoredAny),
        }
        let place = |any| match any {
            Some(Any::Place(place)) => Some(place),
            Some(Any::Other(_)) | None => None,
        };
        Ok(match Shape::deserialize(deserializer)? {
            Shape::Spec { host_path, local } => Self { host_path: place(host_path), local: place(local) },
            Shape::Other(_) => Self::default(),
        })
    }
}

fn nothing_is_empty<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<Item>, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// Reads a saved list. Memory holds names, never contents.
pub fn read(path: &Path) -> io::Result<List> {
    Ok(serde_json::from_reader(BufReader::new(File::open(path)?))?)
}

/// Whether a word of the API can be part of a path and of a file name.
fn safe(word: &str) -> bool {
    !word.is_empty()
        && !word.starts_with('.')
        && word.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-".contains(&byte))
}

fn strange(name: &str) -> io::Error {
    bad(&format!("a kind with a strange name: {name}"))
}

fn bad(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("the cluster's API gave {why}"))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const APIS: &str = r#"{"kind":"APIGroupList","groups":[
        {"name":"batch","versions":[{"version":"v1"},{"version":"v1beta1"}],"preferredVersion":{"version":"v1"}},
        {"name":"metrics.k8s.io","versions":[{"version":"v1beta1"}],"preferredVersion":{"version":"v1beta1"}}]}"#;
    const KINDS: &str = r#"{"groupVersion":"v1","resources":[
        {"name":"secrets","verbs":["get","list"]},{"name":"pods/log","verbs":["get"]},{"name":"events","verbs":["list"]},
        {"name":"bindings","verbs":["create"]}]}
        {"groupVersion":"batch/v1","resources":[{"name":"jobs","verbs":["list"]}]}
        {"groupVersion":"batch/v1beta1","resources":[{"name":"jobs","verbs":["list"]},{"name":"cronjobs","verbs":["list"]}]}"#;

    #[test]
    fn every_kind_is_asked_once_also_those_of_older_versions() {
        let paths = kinds_to_ask(APIS.as_bytes()).unwrap();
        assert_eq!(paths, ["/api/v1", "/apis/batch/v1", "/apis/batch/v1beta1"]);
        let kinds = kinds(KINDS.as_bytes(), 3).unwrap();
        let paths: Vec<String> = kinds.iter().map(Resource::path).collect();
        assert_eq!(paths, ["/api/v1/secrets", "/apis/batch/v1/jobs", "/apis/batch/v1beta1/cronjobs"]);
        assert_eq!(kinds[2].file(), "cronjobs.batch.json");
    }

    #[test]
    fn a_missing_answer_or_a_name_that_leaves_the_folder_is_refused() {
        assert!(kinds(KINDS.as_bytes(), 4).is_err());
        let evil = KINDS.replace("secrets", "..");
        assert!(kinds(evil.as_bytes(), 3).is_err());
        let evil = APIS.replace("batch", "../../etc");
        assert!(kinds_to_ask(evil.as_bytes()).is_err());
    }

    #[test]
    fn lists_are_taken_apart_and_a_wrong_one_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let stream = folder.path().join("stream");
        let secrets = r#"{"kind":"SecretList","apiVersion":"v1","items":[{"metadata":{"name":"a","namespace":"n"},"spec":7}]}"#;
        let jobs = r#"{"kind":"JobList","apiVersion":"batch/v1","items":null}"#;
        let resource = |group: &str, name: &str| Resource {
            group: group.into(),
            version: "v1".into(),
            name: name.into(),
        };
        let resources = [resource("", "secrets"), resource("batch", "jobs")];
        fs::write(&stream, format!("{secrets}\n{jobs}")).unwrap();
        let parts = split(&stream, &resources, folder.path()).unwrap();
        assert_eq!(parts["secrets.json"].count, 1);
        assert_eq!(fs::read_to_string(folder.path().join("secrets.json")).unwrap(), secrets);
        assert_eq!(read(&folder.path().join("jobs.batch.json")).unwrap().items.len(), 0);

        for wrong in
            [secrets.to_owned(), format!("{jobs}{secrets}"), format!("{secrets}{jobs}{jobs}"), String::new()]
        {
            fs::write(&stream, wrong).unwrap();
            assert!(split(&stream, &resources, folder.path()).is_err());
        }
    }

    #[test]
    fn the_folder_of_a_volume_is_read_whatever_other_specs_look_like() {
        let item = |spec: &str| -> Item {
            serde_json::from_str(&format!(r#"{{"metadata":{{"name":"a"}},"spec":{spec}}}"#)).unwrap()
        };
        assert_eq!(item(r#"{"hostPath":{"path":"/a b"}}"#).folder(), Some("/a b"));
        assert_eq!(item(r#"{"local":{"path":"/c"}}"#).folder(), Some("/c"));
        for other in ["{}", "[1]", r#""x""#, r#"{"hostPath":true}"#, r#"{"nfs":{"path":"/d"}}"#, "null"] {
            assert_eq!(item(other).folder(), None, "{other}");
        }
    }
}
