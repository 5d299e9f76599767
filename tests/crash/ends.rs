//! How a host stands at the end of a run: everything that a run must have left alike, however often it was broken off.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use fleet::lab::{Host, Power};
use fleet::version::Version;
use serde_json::{Value, json};

use crate::lab_support::tree;

/// What the spool keeps of runs; all else there is something temporary that was not taken away.
const KEPT: [&str; 4] = ["fence", "runs", "changed", "locks.log"];
/// Fields that tell when, in what order, or as which copy an object was made.
const MADE_ANEW: [&str; 16] = [
    "uid",
    "resourceVersion",
    "creationTimestamp",
    "generation",
    "observedGeneration",
    "managedFields",
    "startTime",
    "startedAt",
    "lastTransitionTime",
    "lastHandledReconcileAt",
    "reconcile.fluxcd.io/requestedAt",
    "lastUpdateTime",
    // Hashes of values with the new password in them; the values themselves are compared.
    "checksum/config",
    "lastAttemptedValuesChecksum",
    // How many tries it took.
    "lastReleaseRevision",
    "restartCount",
];

/// The end.
#[derive(Debug)]
pub(crate) struct End {
    objects: BTreeMap<String, Value>,
    volumes: BTreeMap<String, String>,
    power: Power,
    /// Active timers of the service manager.
    timers: BTreeSet<String>,
    spool: Vec<String>,
}

impl End {
    pub(crate) fn of(host: &Host) -> Self {
        let all: Vec<Value> = host.store().all().map(|(_, object)| (**object).clone()).collect();
        let (folder, password) = (host.folder().display().to_string(), new_password(host));
        let alike = |object: Value| -> (String, Value) {
            let name = name(&object);
            let mut text = object.to_string().replace(&folder, "HOST");
            for password in password.iter().flat_map(|password| [password.clone(), STANDARD.encode(password)])
            {
                text = text.replace(&password, "PASSWORD");
            }
            let mut object = serde_json::from_str(&text).unwrap();
            strip(&mut object);
            // The clients of single sign-on that 0.8 lacks, its installation makes up.
            if host.spec().version == Version::V0_7 && name.ends_with("-oauth-variables") {
                for key in ["client_id", "client_secret"] {
                    object["data"][key] = json!("made up");
                }
            }
            if object["kind"] != json!("PersistentVolume") {
                object["metadata"]["name"] = json!(name);
            }
            // Of Helm's records it counts that they are there: each try makes one more, and the HelmRelease tells how the last one ended.
            let record = object["type"] == json!("helm.sh/release.v1");
            (name, if record { Value::Null } else { object })
        };
        let objects = all.into_iter().map(alike).collect();
        Self {
            objects,
            volumes: volumes(host),
            power: host.state().power,
            timers: host.timers(),
            spool: spool(&host.folder().join("spool")),
        }
    }

    /// What is not alike, one sentence each.
    pub(crate) fn differs(&self, other: &Self) -> Vec<String> {
        let mut found = differences(&self.objects, &other.objects, |name, one, two| {
            let mut found = Vec::new();
            objects(one, two, name, &mut found);
            found
        });
        found.extend(differences(&self.volumes, &other.volumes, |path, one, two| {
            vec![format!("{path} is {two} and not {one}")]
        }));
        found.extend(self.around(other));
        found
    }
}

impl End {
    /// What is not alike with a host of another name, whose passwords are others too: which objects there are, k3s, the spool.
    pub(crate) fn differs_by_name(&self, other: &Self, host: &str) -> Vec<String> {
        let names = |end: &Self, host: &str| -> BTreeMap<String, bool> {
            end.objects.keys().map(|name| (name.replace(host, "HOST"), true)).collect()
        };
        let mut found =
            differences(&names(self, crate::cell::HOST), &names(other, host), |_, _, _| Vec::new());
        found.extend(self.around(other));
        found
    }

    /// What is not alike around the cluster.
    fn around(&self, other: &Self) -> Vec<String> {
        let power = (self.power != other.power).then(|| format!("k3s is {}", other.power.as_str()));
        let timers = (self.timers != other.timers).then(|| format!("active timers: {:?}", other.timers));
        let left = other.spool.iter().map(|left| format!("left on the spool: {left}"));
        power.into_iter().chain(timers).chain(left).collect()
    }
}

/// What a run holds for its time, and must give back as it was found: suspended or not, how many replicas, which timers.
pub(crate) fn held(host: &Host) -> BTreeMap<String, String> {
    let mut held = BTreeMap::new();
    for plural in ["cronjobs", "gitrepositories"] {
        for object in host.objects(plural) {
            held.insert(name(&object), object["spec"]["suspend"].as_bool().unwrap_or(false).to_string());
        }
    }
    // What runs in the namespaces that 0.8 does not have goes with them.
    let goes =
        |object: &Value| object["metadata"]["namespace"].as_str().is_some_and(|n| n.starts_with("oas"));
    for object in host.objects("deployments").into_iter().filter(|object| !goes(object)) {
        held.insert(name(&object), object["spec"]["replicas"].to_string());
    }
    held.insert("timers".to_owned(), format!("{:?}", host.timers()));
    held
}

/// Every file in the volumes, with its content.
pub(crate) fn volumes(host: &Host) -> BTreeMap<String, String> {
    tree(&host.storage(), &[])
        .into_iter()
        .map(|(path, about)| (format!("volumes: {}", path.display()), content(&about)))
        .collect()
}

/// The secrets that an upgrade carries over.
pub(crate) struct Secrets(BTreeMap<String, Value>);

/// Those of a host.
pub(crate) fn secrets(host: &Host) -> Secrets {
    let carried = host.objects("secrets").into_iter().filter(|secret| {
        let name = secret["metadata"]["name"].as_str().unwrap_or("");
        name.starts_with("oas-") && (name.ends_with("-variables") || name.ends_with("-basic-auth"))
    });
    Secrets(carried.map(|secret| (name(&secret), secret["data"].clone())).collect())
}

impl Secrets {
    /// What these held and those do not.
    pub(crate) fn lost(&self, now: &Self) -> Vec<String> {
        let data = |secret: &Value| secret.as_object().cloned().unwrap_or_default();
        let pairs =
            self.0.iter().flat_map(|(name, secret)| data(secret).into_iter().map(move |pair| (name, pair)));
        pairs
            .filter(|(name, (key, value))| now.0.get(*name).is_none_or(|secret| secret[key] != *value))
            .map(|(name, (key, _))| format!("{name} has lost {key}"))
            .collect()
    }
}

/// Where the two are not alike.
fn objects(here: &Value, there: &Value, at: &str, found: &mut Vec<String>) {
    match (here, there) {
        (Value::Object(one), Value::Object(two)) => {
            let names: BTreeSet<&String> = one.keys().chain(two.keys()).collect();
            for name in names {
                objects(&here[name], &there[name], &format!("{at}.{name}"), found);
            }
        }
        (Value::Array(one), Value::Array(two)) if one.len() == two.len() => {
            for (number, (one, two)) in one.iter().zip(two).enumerate() {
                objects(one, two, &format!("{at}[{number}]"), found);
            }
        }
        _ if here == there => {}
        _ => {
            let short = |value: &Value| value.to_string().chars().take(100).collect::<String>();
            found.push(format!("{at} is {} and not {}", short(there), short(here)));
        }
    }
}

fn differences<V: PartialEq>(
    here: &BTreeMap<String, V>,
    there: &BTreeMap<String, V>,
    tell: impl Fn(&str, &V, &V) -> Vec<String>,
) -> Vec<String> {
    let gone = here.keys().filter(|key| !there.contains_key(*key)).map(|key| format!("{key} is gone"));
    let new = there.keys().filter(|key| !here.contains_key(*key)).map(|key| format!("{key} is new"));
    let both = here.iter().filter_map(|(key, value)| Some((key, value, there.get(key)?)));
    let other = both.filter(|(_, one, two)| one != two).flat_map(|(key, one, two)| tell(key, one, two));
    gone.chain(new).chain(other).collect()
}

/// An object's name; that of a copy, which ends in a hash, without it, and that of a volume by its claim.
fn name(object: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or("").to_owned();
    let kind = text(&object["kind"]);
    let metadata = if kind == "PersistentVolume" { &object["spec"]["claimRef"] } else { &object["metadata"] };
    format!("{kind} {}/{}", text(&metadata["namespace"]), bare(&kind, &text(&metadata["name"])))
}

fn bare(kind: &str, name: &str) -> String {
    let is_hash = |part: &&str| part.len() >= 5 && part.bytes().all(|byte| byte.is_ascii_hexdigit());
    let of_hashes = matches!(kind, "Pod" | "ReplicaSet");
    let parts: Vec<&str> = name.split('-').filter(|part| !(of_hashes && is_hash(part))).collect();
    let name = parts.join("-");
    match name.rsplit_once(".v") {
        Some((release, _)) if name.starts_with("sh.helm.release.") => release.to_owned(),
        _ => name,
    }
}

/// The password that 0.7 lacks and a run makes up.
fn new_password(host: &Host) -> Option<String> {
    let secret = host.object("secrets", "flux-system", "oas-oauth-variables")?;
    let password = STANDARD.decode(secret["data"]["wekan_oauth_client_secret"].as_str()?).ok()?;
    (password.len() == 32 && password.iter().all(u8::is_ascii_alphabetic))
        .then(|| String::from_utf8(password).ok())?
}

fn strip(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            // What is not suspended does not say so, or says so: a remedy suspends and resumes.
            fields.retain(|name, value| {
                !(MADE_ANEW.contains(&name.as_str()) || name == "suspend" && *value == json!(false))
            });
            let kind = fields.get("kind").and_then(Value::as_str).unwrap_or("").to_owned();
            for (field, value) in fields.iter_mut() {
                match (field.as_str(), value.as_str()) {
                    // The tag is a hash of the values.
                    ("image", Some(image)) => {
                        *value = json!(image.rsplit_once(':').map_or(image, |(name, _)| name));
                    }
                    ("name", Some(name)) => *value = json!(bare(&kind, name)),
                    // A certificate's end and the like.
                    (_, Some(text)) if text.parse::<jiff::Timestamp>().is_ok() => *value = json!("a time"),
                    _ => strip(value),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(strip),
        _ => {}
    }
}

/// What `tree` tells of a file without when it was changed.
fn content(about: &str) -> String {
    let (before, rest) = about.split_once('(').unwrap_or((about, ""));
    format!("{before}{}", rest.split_once(')').map_or("", |(_, after)| after))
}

fn spool(folder: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let mut left: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect();
    left.retain(|name| !KEPT.contains(&name.as_str()));
    left.sort();
    left
}

/// Gives every secret that an upgrade carries over a value of its own: one that was lost and made anew by a chart would not have it.
pub(crate) fn make_secrets_own(host: &Host) {
    for secret in host.objects("secrets") {
        let text = |value: &Value| value.as_str().unwrap_or("").to_owned();
        let (namespace, name) = (text(&secret["metadata"]["namespace"]), text(&secret["metadata"]["name"]));
        if name.starts_with("oas-") {
            host.edit("secrets", &namespace, &name, |secret| {
                secret["data"]["made_by_hand"] = json!(STANDARD.encode(format!("kept {name}")));
            });
        }
    }
}

/// The command lines that change the cluster, as they were sent.
pub(crate) fn changing(host: &Host) -> Vec<String> {
    const WORDS: [&str; 6] =
        ["kubectl patch", "kubectl create", "kubectl annotate", "kubectl scale", "stop k3s", "k3s-killall"];
    host.commands().into_iter().filter(|line| WORDS.iter().any(|word| line.contains(word))).collect()
}
