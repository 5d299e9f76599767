//! Facts in words, for the table.

use crate::facts::certificates::Certificate;
use crate::facts::flux::Flux;
use crate::facts::identity::Pins;
use crate::facts::k3s::Datastore;
use crate::facts::nightly::{Does, Nightly};
use crate::facts::nodes::Node;
use crate::facts::pods::Pod;
use crate::facts::scripts::Scripts;
use crate::facts::variables::Variables;
use crate::facts::volumes::Volume;
use crate::facts::{Facts, Installed, Known};
use crate::form::bytes;
use crate::remote::printable;

/// Each fact in words, in the order in which an operator asks.
pub(super) fn rows(facts: &Facts) -> Vec<(&'static str, String)> {
    let version = match facts.installed() {
        Installed::Version(version) => version.to_string(),
        Installed::Mixed(reasons) => format!("mixed: {}", reasons.join("; ")),
        Installed::Development(branch) => format!("development: follows {branch}, which is no release"),
        Installed::Unknown(why) => format!("unknown: {why}"),
    };
    let apps = said(&facts.flux, |_| listed(facts.apps()));
    let mut rows = vec![("stackspin", version), ("apps", apps)];
    rows.extend(host_rows(facts));
    rows.extend(cluster_rows(facts));
    rows.extend(outside_rows(facts));
    rows.into_iter().map(|(fact, value)| (fact, clean(&value))).collect()
}

fn host_rows(facts: &Facts) -> Vec<(&'static str, String)> {
    vec![
        ("host_key", said(&facts.host_key, Clone::clone)),
        ("pins", said(&facts.pins, pins)),
        ("os", said(&facts.os, |os| format!("{}, kernel {}, {}", os.name, os.kernel, os.arch))),
        (
            "clock",
            said(&facts.clock, |clock| {
                let skew = match clock.ahead_seconds {
                    0 => "agrees with ours".to_owned(),
                    ahead if ahead > 0 => format!("{ahead} s ahead of ours"),
                    behind => format!("{} s behind ours", behind.unsigned_abs()),
                };
                format!("{skew}, {} ({})", clock.zone, clock.offset)
            }),
        ),
        (
            "login",
            said(&facts.login, |login| {
                let may = if login.root { "as root" } else { "without root" };
                format!("{} (uid {}), commands run {may}", login.user, login.uid)
            }),
        ),
        (
            "disks",
            said(&facts.disks, |disks| {
                lines(disks.iter().map(|disk| {
                    format!(
                        "{} ({}): {} of {} free, inodes {} free; holds {}",
                        disk.mount,
                        disk.kind,
                        bytes(disk.free),
                        bytes(disk.size),
                        if disk.inodes == 0 { "always".to_owned() } else { disk.inodes_free.to_string() },
                        disk.holds.join(", ")
                    )
                }))
            }),
        ),
        (
            "memory",
            said(&facts.memory, |memory| {
                format!("{} of {} available", bytes(memory.available), bytes(memory.total))
            }),
        ),
        (
            "tools",
            said(&facts.tools, |tools| match tools.missing.as_slice() {
                [] => format!("all there; {}", tools.tar),
                missing => format!("missing: {}", missing.join(", ")),
            }),
        ),
        (
            "packages",
            said(&facts.packages, |packages| match packages.busy.as_slice() {
                [] => "idle".to_owned(),
                busy => format!("busy: {}", busy.join(", ")),
            }),
        ),
        ("scripts", said(&facts.scripts, scripts)),
        ("here", said(&facts.here, |here| format!("{} free for {}", bytes(here.free), here.backups))),
        (
            "k3s",
            said(&facts.k3s, |k3s| {
                let store = match k3s.datastore {
                    Datastore::Sqlite => "sqlite",
                    Datastore::Etcd => "etcd",
                    Datastore::Absent => "no datastore",
                };
                format!("{}, {}, {store} of {}", k3s.version, k3s.service, bytes(k3s.size))
            }),
        ),
    ]
}

fn cluster_rows(facts: &Facts) -> Vec<(&'static str, String)> {
    vec![
        ("nodes", said(&facts.nodes, |nodes| lines(nodes.iter().map(node)))),
        (
            "identity",
            said(&facts.identity, |identity| {
                format!("cluster {}, machine {}", identity.cluster_uid, identity.machine_id)
            }),
        ),
        ("flux", said(&facts.flux, flux)),
        ("volumes", said(&facts.volumes, |volumes| all_volumes(volumes))),
        (
            "claims",
            said(&facts.claims, |claims| {
                let bound = claims.iter().filter(|claim| claim.phase == "Bound").count();
                format!("{}: {bound} bound", claims.len())
            }),
        ),
        (
            "secrets",
            said(&facts.secrets, |secrets| {
                let managed = secrets.iter().filter(|secret| secret.managed).count();
                format!("{}: {managed} made by controllers", secrets.len())
            }),
        ),
        ("variables", said(&facts.variables, variables)),
        ("overrides", said(&facts.overrides, |overrides| listed(overrides.iter().map(ToString::to_string)))),
        ("helm_left", said(&facts.helm_left, |left| listed(left.iter().map(ToString::to_string)))),
        ("helm_2", said(&facts.helm_2, |releases| listed(releases.iter().cloned()))),
        ("nightly", said(&facts.nightly, |jobs| lines(jobs.iter().map(nightly)))),
        ("timers", said(&facts.timers, |timers| listed(timers.active.iter().cloned()))),
        (
            "upgrades",
            said(&facts.upgrades, |upgrades| {
                listed(upgrades.k3s_jobs.iter().chain(&upgrades.pending_releases).cloned())
            }),
        ),
        (
            "pods",
            said(&facts.pods, |pods| {
                let count = format!("{}, {} failing", pods.total, pods.failing.len());
                lines(std::iter::once(count).chain(pods.failing.iter().map(pod)))
            }),
        ),
    ]
}

fn outside_rows(facts: &Facts) -> Vec<(&'static str, String)> {
    let answer = |trouble: &str, well: &str| if trouble.is_empty() { well } else { trouble }.to_owned();
    vec![
        (
            "certificates",
            said(&facts.certificates, |certificates| {
                match certificates.iter().min_by_key(|certificate| certificate.not_after) {
                    None => "none".to_owned(),
                    Some(first) => {
                        let Certificate { what, not_after } = first;
                        format!("{}; the first to end is {what}, {not_after}", certificates.len())
                    }
                }
            }),
        ),
        (
            "reach",
            said(&facts.reach, |reach| {
                lines(
                    reach
                        .iter()
                        .map(|to| format!("{} {}: {}", to.what, to.url, answer(&to.trouble, "answers"))),
                )
            }),
        ),
        (
            "web",
            said(&facts.web, |pages| {
                lines(pages.iter().map(|page| {
                    format!("{}: {}, {}", page.host, page.status, answer(&page.trouble, "certificate valid"))
                }))
            }),
        ),
    ]
}

fn pins(pins: &Pins) -> String {
    match pins.open().as_slice() {
        [] => "all".to_owned(),
        open => format!("all but {}", open.join(", ")),
    }
}

fn scripts(scripts: &Scripts) -> String {
    let Scripts { release, checkout, commit, folder, programs, .. } = scripts;
    let at = commit.as_ref().map_or_else(|| "not there".to_owned(), |commit| format!("at {commit}"));
    let missing: Vec<&str> =
        programs.iter().filter(|(_, path)| path.is_none()).map(|(name, _)| name.as_str()).collect();
    let programs =
        if missing.is_empty() { String::new() } else { format!("; missing here: {}", missing.join(", ")) };
    format!("{release} {at} in {checkout}, clusters/{folder}{programs}")
}

fn node(node: &Node) -> String {
    let ready = if node.ready { "ready" } else { "not ready" };
    let state = std::iter::once(ready).chain(node.pressure.iter().map(String::as_str));
    format!("{} {}: {}", node.name, node.version, state.collect::<Vec<_>>().join(", "))
}

fn all_volumes(volumes: &[Volume]) -> String {
    let used = volumes.iter().map(|volume| volume.used).fold(0, u64::saturating_add);
    let delete = volumes.iter().filter(|volume| volume.policy == "Delete").count();
    let gone = volumes.iter().filter(|volume| !volume.folder.is_empty() && !volume.exists).count();
    format!("{}: {} used, {delete} with policy Delete, {gone} without folder", volumes.len(), bytes(used))
}

fn variables(variables: &Variables) -> String {
    if variables.secret.is_empty() {
        return "none".to_owned();
    }
    let refused = variables.forbidden.iter().map(|bad| format!("{} holds {}", bad.key, bad.character));
    lines(std::iter::once(format!("{}, domain {}", variables.secret, variables.domain)).chain(refused))
}

fn nightly(job: &Nightly) -> String {
    let does = match job.does {
        Does::SuspendSource => "suspends a source",
        Does::ResumeSource => "resumes a source",
        Does::ScaleUpgradeController => "scales the system-upgrade-controller",
        Does::ShutUpgradeController => "scales the system-upgrade-controller to nothing",
    };
    let zone = if job.zone.is_empty() { String::new() } else { format!(" {}", job.zone) };
    let held = if job.suspended { ", suspended" } else { "" };
    format!("{}/{} ({}{zone}) {does}{held}", job.namespace, job.name, job.schedule)
}

fn pod(pod: &Pod) -> String {
    let Pod { namespace, name, phase, reason, restarts, .. } = pod;
    format!("{namespace}/{name}: {phase} {reason}, {restarts} restarts")
}

fn flux(flux: &Flux) -> String {
    let sources = flux.sources.iter().map(|source| {
        let held = if source.suspended { ", suspended" } else { "" };
        let ready = if source.ready.is_true() { "" } else { ", not ready" };
        format!("{} follows {}, has {}{held}{ready}", source.name, source.branch, source.revision)
    });
    let count = |what: &str, all: usize, ready: usize| format!("{what}: {all}, {ready} ready");
    let kustomizations = flux.kustomizations.iter().filter(|one| one.ready.is_true()).count();
    let releases = flux.releases.iter().filter(|one| one.ready.is_true()).count();
    let version = match flux.version.as_str() {
        "" => "version not labelled",
        version => version,
    };
    lines(std::iter::once(version.to_owned()).chain(sources).chain([
        count("kustomizations", flux.kustomizations.len(), kustomizations),
        count("Helm releases", flux.releases.len(), releases),
    ]))
}

/// The fact in words, or why it is not known.
fn said<T>(fact: &Known<T>, words: impl FnOnce(&T) -> String) -> String {
    match fact.get() {
        Ok(fact) => words(fact),
        Err(why) => format!("unknown: {why}"),
    }
}

/// One a line; each made harmless, since `clean` leaves line ends alone.
fn lines(items: impl IntoIterator<Item = String>) -> String {
    let items: Vec<String> = items.into_iter().map(|item| printable(&item)).collect();
    if items.is_empty() { "none".to_owned() } else { items.join("\n") }
}

fn listed(items: impl IntoIterator<Item = String>) -> String {
    let items: Vec<String> = items.into_iter().map(|item| printable(&item)).collect();
    if items.is_empty() { "none".to_owned() } else { items.join(", ") }
}

/// A text of several lines, made harmless for a terminal.
fn clean(text: &str) -> String {
    text.lines().map(printable).collect::<Vec<_>>().join("\n")
}
