//! What a plan stands on, by name, and what of it has changed since (promise M5). Pure.
//!
//! In it is what decides over the steps, and what an operator who approved them took for granted. Not in it is what changes by itself
//! while nobody does anything: the age and state of pods, free room, sizes, times. Values are short and no secrets.

use std::collections::BTreeSet;
use std::fmt::{Display, Write as _};

use sha2::{Digest, Sha256};

use crate::event::Failure;
use crate::facts::flux::{Flux, Source};
use crate::facts::secrets::Secret;
use crate::facts::{Facts, Installed, Known, is_stackspin};
use crate::form::hex;
use crate::inventory::{Cluster, Host, Sudo};
use crate::plan::{Action, Fingerprint, Plan, Step};
use crate::remote::printable;

/// Before the name of what the inventory says.
const INVENTORY: &str = "inventory ";
/// How many changes a message names.
const NAMED: usize = 6;
/// Characters of a value; of a longer one the beginning is kept, and a digest of the whole.
const LONGEST: usize = 200;

/// What a plan for this cluster would stand on now.
#[must_use]
pub fn of(facts: &Facts, cluster: &Cluster) -> Fingerprint {
    let mut print = of_inventory(cluster);
    known(&mut print, "host key", &facts.host_key, |print, key| put(print, "host key", key));
    known(&mut print, "identity", &facts.identity, |print, identity| {
        put(print, "machine id", &identity.machine_id);
        put(print, "cluster UID", &identity.cluster_uid);
    });
    known(&mut print, "system", &facts.os, |print, os| {
        put(print, "system", format!("{} {} {}", os.id, os.version, os.arch));
    });
    known(&mut print, "k3s", &facts.k3s, |print, k3s| {
        put(print, "k3s", format!("{}, datastore {:?}", k3s.version, k3s.datastore));
    });
    known(&mut print, "nodes", &facts.nodes, |print, nodes| {
        for node in nodes {
            put(print, format!("node {}", node.name), &node.version);
        }
    });
    known(&mut print, "domain", &facts.variables, |print, variables| put(print, "domain", &variables.domain));
    put(&mut print, "version", version(facts));
    put(&mut print, "applications", facts.apps().join(", "));
    known(&mut print, "Flux", &facts.flux, of_flux);
    of_data(&mut print, facts);
    of_nights(&mut print, facts);
    if let Known::Is(scripts) = &facts.scripts {
        put(
            &mut print,
            format!("Stackspin {}", scripts.release),
            scripts.commit.as_deref().unwrap_or("none"),
        );
    }
    print
}

/// What the inventory says of a cluster: where it is, who it must be, where things lie on it.
#[must_use]
pub fn of_inventory(cluster: &Cluster) -> Fingerprint {
    let mut print = Fingerprint::new();
    let mut say = |key: &str, value: &str| put(&mut print, format!("{INVENTORY}{key}"), value);
    let pin = |pin: &Option<String>| pin.clone().unwrap_or_else(|| "none".to_owned());
    say("address", &way(&cluster.host));
    say(
        "sudo",
        match cluster.host.sudo {
            Sudo::Never => "no",
            Sudo::Free => "yes",
            Sudo::Password(_) => "with a password",
        },
    );
    say("host_key", &pin(&cluster.host.host_key));
    say("machine_id", &pin(&cluster.machine_id));
    say("cluster_uid", &pin(&cluster.cluster_uid));
    say("domain", &pin(&cluster.domain));
    say("directory", &cluster.directory.as_ref().map_or("none".into(), |path| path.to_string_lossy()));
    // What nobody names changes no plan that was made before there was such a key.
    for (key, path) in [("stackspin", &cluster.stackspin), ("python", &cluster.python)] {
        if let Some(path) = path {
            say(key, &path.to_string_lossy());
        }
    }
    say("paths.k3s_data", &cluster.paths.k3s_data);
    say("paths.k3s_config", &cluster.paths.k3s_config);
    say("paths.spool", &cluster.paths.spool);
    print
}

/// The host and the jump hosts on the way to it.
fn way(host: &Host) -> String {
    match &host.jump {
        None => host.login(),
        Some(jump) => format!("{} through {}", host.login(), way(jump)),
    }
}

/// The version in one word, as far as there is one.
fn version(facts: &Facts) -> String {
    match facts.installed() {
        Installed::Version(version) => version.to_string(),
        Installed::Mixed(_) => "mixed".to_owned(),
        Installed::Development(branch) => format!("development ({branch})"),
        Installed::Unknown(_) => "not known".to_owned(),
    }
}

fn of_flux(print: &mut Fingerprint, flux: &Flux) {
    put(print, "Flux", &flux.version);
    for source in &flux.sources {
        let Source { namespace, name, .. } = source;
        let mut say = |key, value: &str| put(print, format!("source {namespace}/{name} {key}"), value);
        say("URL", &without_login(&source.url));
        say("branch", &source.branch);
        say("suspended", yes(source.suspended));
        // What other sources bring comes every day, and no plan is about it.
        if is_stackspin(source) {
            say("revision", &source.revision);
        }
    }
    let ours = |name: &str| flux.sources.iter().any(|source| is_stackspin(source) && source.name == name);
    for kustomization in &flux.kustomizations {
        let name = format!("kustomization {}/{}", kustomization.namespace, kustomization.name);
        put(print, format!("{name} source"), &kustomization.source);
        put(print, format!("{name} suspended"), yes(kustomization.suspended));
        if ours(&kustomization.source) {
            put(print, format!("{name} revision"), &kustomization.applied);
        }
    }
    for release in &flux.releases {
        let name = format!("release {}/{}", release.namespace, release.name);
        put(print, format!("{name} chart"), format!("{} {}", release.chart, release.wanted));
        put(print, format!("{name} installed"), &release.applied);
        put(print, format!("{name} suspended"), yes(release.suspended));
    }
}

fn of_data(print: &mut Fingerprint, facts: &Facts) {
    known(print, "volumes", &facts.volumes, |print, volumes| {
        for volume in volumes {
            let claim = format!("{}/{}, {}", volume.claim_namespace, volume.claim, volume.phase);
            put(print, format!("volume {} claim", volume.name), claim);
            put(print, format!("volume {} folder", volume.name), &volume.folder);
            put(print, format!("volume {} policy", volume.name), &volume.policy);
        }
    });
    known(print, "claims", &facts.claims, |print, claims| {
        for claim in claims {
            put(print, format!("claim {}/{}", claim.namespace, claim.name), &claim.volume);
        }
    });
    known(print, "secrets", &facts.secrets, |print, secrets| {
        for secret in secrets.iter().filter(|secret| !secret.managed) {
            put(print, format!("secret {}/{}", secret.namespace, secret.name), of_secret(secret));
        }
    });
    known(print, "overrides", &facts.overrides, |print, overrides| {
        for object in overrides {
            put(print, format!("override {} {object}", object.kind), "there");
        }
    });
    if let Known::Is(releases) = &facts.helm_2
        && !releases.is_empty()
    {
        put(print, "releases of Helm 2", releases.join(", "));
    }
    // Asked for on one version alone.
    if let Known::Is(left) = &facts.helm_left {
        for object in left {
            put(print, format!("left by Helm {} {object}", object.kind), "there");
        }
    }
}

/// What changes a cluster by itself at night.
fn of_nights(print: &mut Fingerprint, facts: &Facts) {
    known(print, "nightly jobs", &facts.nightly, |print, jobs| {
        for job in jobs {
            let name = format!("nightly job {}/{}", job.namespace, job.name);
            put(print, format!("{name} schedule"), format!("{} {}", job.schedule, job.zone).trim_end());
            put(print, format!("{name} suspended"), yes(job.suspended));
            put(print, format!("{name} does"), format!("{:?}", job.does));
        }
    });
    // By which clock the jobs come: what is given back depends on the hours that went by.
    known(print, "clock", &facts.clock, |print, clock| {
        put(print, "time zone", format!("{} {}", clock.zone, clock.offset));
    });
    known(print, "package timers", &facts.timers, |print, timers| {
        put(print, "package timers", timers.active.join(", "));
    });
    known(print, "upgrade controller", &facts.upgrades, |print, upgrades| {
        let replicas =
            upgrades.controller_replicas.map_or_else(|| "none".to_owned(), |count| count.to_string());
        put(print, "replicas of the system-upgrade-controller", replicas);
        put(print, "namespace of the system-upgrade-controller", &upgrades.controller_namespace);
    });
}

/// A short digest of a Secret: enough to see that it is another one, not enough to look for its values by trying.
fn of_secret(secret: &Secret) -> String {
    let (keys, empty) = (secret.keys.join(","), secret.empty.join(","));
    digest(&format!("{}\n{keys}\n{empty}\n{}", secret.kind, secret.hash))
}

/// The first 12 hex digits of the SHA-256.
fn digest(text: &str) -> String {
    hex(&Sha256::digest(text.as_bytes())).chars().take(12).collect()
}

fn without_login(url: &str) -> String {
    match (url.split_once("://"), url.split_once('@')) {
        (Some((scheme, rest)), Some(_)) => {
            let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
            let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
            format!("{scheme}://{host}/{path}")
        }
        _ => url.to_owned(),
    }
}

const fn yes(is: bool) -> &'static str {
    if is { "yes" } else { "no" }
}

/// Puts what is known, or that it is not.
fn known<T>(print: &mut Fingerprint, name: &str, fact: &Known<T>, tell: impl FnOnce(&mut Fingerprint, &T)) {
    match fact {
        Known::Is(fact) => tell(print, fact),
        Known::Not(_) => put(print, name, "not known"),
    }
}

fn put(print: &mut Fingerprint, name: impl AsRef<str>, value: impl Display) {
    print.insert(short(name.as_ref()), short(&value.to_string()));
}

/// Text of a host as it can stand in a plan: printable, and no longer than a line.
fn short(text: &str) -> String {
    let clean = printable(text);
    if clean.chars().count() <= LONGEST {
        return if clean.is_empty() { "none".to_owned() } else { clean };
    }
    let mut short: String = clean.chars().take(LONGEST - 20).collect();
    // Writing to a String cannot fail.
    let _ = write!(short, "… ({})", digest(text));
    short
}

/// What is not as it was: `k3s: v1.21.5+k3s2 -> v1.22.1+k3s1`. What there is one of comes first, then what there are many of.
#[must_use]
pub fn changes(then: &Fingerprint, now: &Fingerprint) -> Vec<String> {
    let unique: BTreeSet<&String> = then.keys().chain(now.keys()).collect();
    let (many, one): (Vec<&String>, Vec<&String>) = unique.into_iter().partition(|name| name.contains('/'));
    let value = |print: &Fingerprint, name| print.get(name).cloned().unwrap_or_else(|| "none".to_owned());
    one.into_iter()
        .chain(many)
        .filter(|name| then.get(*name) != now.get(*name))
        .map(|name| format!("{name}: {} -> {}", value(then, name), value(now, name)))
        .collect()
}

/// What the inventory says otherwise than when the plan was made. Known before anybody is asked.
#[must_use]
pub fn readdressed(plan: &Plan, cluster: &Cluster) -> Option<Failure> {
    let mut then = plan.fingerprint.clone();
    then.retain(|name, _| name.starts_with(INVENTORY));
    stale(&changes(&then, &of_inventory(cluster)))
}

/// Why a plan no longer fits the cluster, judged by the plan that would be made for it now, if there would be one.
#[must_use]
pub fn outdated(plan: &Plan, facts: &Facts, cluster: &Cluster, now: Option<&Plan>) -> Option<Failure> {
    let changed = stale(&changes(&plan.fingerprint, &of(facts, cluster)));
    changed.or_else(|| now.and_then(|now| otherwise(plan, now)))
}

/// Nothing has changed, and still the steps would be others: then the fingerprint overlooks something, or `fleet` is another one.
fn otherwise(then: &Plan, now: &Plan) -> Option<Failure> {
    let (then, now) = (work(then), work(now));
    if then == now {
        return None;
    }
    let differing = then.iter().zip(&now).find(|(then, now)| then != now);
    let id = differing.map_or("the number of steps", |(then, _)| &then.id);
    stale(&[format!("the steps would be others now, from {id} on")])
}

/// What a plan does: its steps without the times and sizes, which follow from how full the volumes are.
#[must_use]
pub fn work(plan: &Plan) -> Vec<Step> {
    plan.steps.iter().map(bare).collect()
}

fn bare(step: &Step) -> Step {
    let mut work = Step::new(&step.id, &step.title, step.class, step.action.clone()).redo(step.redo.clone());
    if let Action::Backup(backup) = &mut work.action {
        for volume in &mut backup.volumes {
            volume.used = 0;
        }
    }
    work
}

fn stale(changes: &[String]) -> Option<Failure> {
    if changes.is_empty() {
        return None;
    }
    let more = match changes.len().saturating_sub(NAMED) {
        0 => String::new(),
        more => format!("; and {more} more"),
    };
    let named: Vec<&str> = changes.iter().take(NAMED).map(String::as_str).collect();
    let message = format!("it has changed since the plan was made: {}{more}", named.join("; "));
    Some(Failure::new("stale-plan", message).read("docs/plans.md#stale-plans"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn print(pairs: &[(&str, &str)]) -> Fingerprint {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn changes_are_named_with_what_was_and_what_is() {
        let then = print(&[("apps", "wekan"), ("k3s", "1.21"), ("volume a", "/a")]);
        let now = print(&[("apps", "wekan"), ("claim a/b", "c"), ("k3s", "1.22"), ("volume b", "/b")]);
        assert_eq!(
            changes(&then, &now),
            ["k3s: 1.21 -> 1.22", "volume a: /a -> none", "volume b: none -> /b", "claim a/b: none -> c"]
        );
        assert_eq!(changes(&then, &then), Vec::<String>::new());
    }

    #[test]
    fn a_message_names_a_few_changes_and_counts_the_others() {
        let all: Vec<String> = (0..20).map(|number| format!("claim {number}: a -> b")).collect();
        let message = stale(&all).unwrap().message;
        assert!(message.contains("claim 5") && !message.contains("claim 6"), "{message}");
        assert!(message.ends_with("; and 14 more"), "{message}");
    }

    #[test]
    fn a_long_or_hostile_value_becomes_one_short_line_and_two_long_ones_stay_two() {
        let value = |end: char| short(&format!("{}\u{1b}[2J\n{end}", "a".repeat(500)));
        assert_ne!(value('x'), value('y'));
        assert!(value('x').chars().count() <= LONGEST && !value('x').contains(char::is_control));
        assert_eq!(short(""), "none");
    }

    #[test]
    fn an_address_of_a_source_loses_the_login_in_it() {
        assert_eq!(without_login("https://me:token@git.example.org/a@b"), "https://git.example.org/a@b");
        assert_eq!(without_login("ssh://git.example.org/a"), "ssh://git.example.org/a");
        assert_eq!(without_login("git.example.org/a"), "git.example.org/a");
    }

    #[test]
    fn a_cluster_of_which_the_inventory_says_something_else_needs_another_plan() {
        let acme = Cluster::new("acme", "203.0.113.7");
        let plan = |cluster| Plan {
            schema: 1,
            cluster: "acme".into(),
            migration: "to-0.7".into(),
            from: crate::version::Version::V0_6,
            to: crate::version::Version::V0_7,
            apps: Vec::new(),
            steps: Vec::new(),
            notes: Vec::new(),
            rest: Vec::new(),
            fingerprint: of(&Facts::default(), cluster),
        };
        assert_eq!(readdressed(&plan(&acme), &acme), None);
        let mut moved = acme.clone();
        moved.host.address = "203.0.113.8".into();
        moved.paths.spool = "/srv/fleet".into();
        let message = readdressed(&plan(&acme), &moved).unwrap().message;
        assert!(
            message.contains("inventory address: root@203.0.113.7:22 -> root@203.0.113.8:22"),
            "{message}"
        );
        assert!(message.contains("inventory paths.spool: /var/lib/fleet -> /srv/fleet"), "{message}");
    }
}
