//! `fleet facts`.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;

use comfy_table::{ColumnConstraint, ContentArrangement, Table, Width, presets};
use serde::Serialize;

use super::{Exit, Trouble, output};
use crate::cli::{Cli, FactsArgs, Format};
use crate::facts::{self, Facts, Installed, Known, k3s::Datastore, nightly::Does};
use crate::inventory::{self, Selection};
use crate::remote::printable;
use crate::{rollout, ssh};

/// Does it.
pub(super) async fn run(cli: &Cli, args: &FactsArgs) -> Result<Exit, Trouble> {
    let inventory = inventory::load(&cli.inventory).map_err(Trouble::usage)?;
    let clusters = Selection::from(&args.select).of(&inventory).map_err(Trouble::usage)?;
    let backups: Arc<std::path::Path> = cli.backups.clone().into();
    let gathered = rollout::each(clusters, args.parallel, |cluster| {
        let backups = Arc::clone(&backups);
        async move {
            let session = ssh::connect(&cluster).await.map_err(|error| error.to_string())?;
            let facts = facts::gather(&session, &cluster, &backups).await;
            session.close().await;
            facts.map_err(|error| error.to_string())
        }
    })
    .await;
    let answers: BTreeMap<String, Answer> =
        gathered.into_iter().map(|(name, result)| (name, result.and_then(|facts| facts).into())).collect();
    match args.format.format {
        Format::Json => output::print_json(&answers)?,
        Format::Table => output::print(&render(&answers))?,
    }
    let failed = answers.values().any(|answer| matches!(answer, Answer::Error(_)));
    Ok(if failed { Exit::Failed } else { Exit::Done })
}

/// What came of asking one cluster.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Answer {
    /// Everything that could be learnt.
    Facts(Box<Facts>),
    /// Why it could not be asked.
    Error(String),
}

impl From<Result<Facts, String>> for Answer {
    fn from(result: Result<Facts, String>) -> Self {
        match result {
            Ok(facts) => Self::Facts(Box::new(facts)),
            Err(why) => Self::Error(printable(&why)),
        }
    }
}

/// The answers for people: a table a cluster.
fn render(answers: &BTreeMap<String, Answer>) -> String {
    let mut text = String::new();
    for (name, answer) in answers {
        let gap = if text.is_empty() { "" } else { "\n" };
        // Writing to a string cannot fail.
        let _ = match answer {
            Answer::Error(why) => writeln!(text, "{gap}{name}: cannot be asked: {why}"),
            Answer::Facts(facts) => writeln!(text, "{gap}{name}\n{}", table(facts).trim_fmt()),
        };
    }
    text
}

fn table(facts: &Facts) -> Table {
    let mut table = Table::new();
    table.load_style(presets::UTF8_HORIZONTAL_ONLY).set_content_arrangement(ContentArrangement::Dynamic);
    if !table.is_tty() {
        // Not a terminal: one width, so that files compare.
        table.set_width(110);
    }
    table.set_header(["fact", "value"]);
    table.add_rows(rows(facts).into_iter().map(|(fact, value)| [fact.to_owned(), value]));
    table.set_constraints([ColumnConstraint::LowerBoundary(Width::Fixed(14))]);
    table
}

/// Each fact in words, in the order in which an operator asks.
fn rows(facts: &Facts) -> Vec<(&'static str, String)> {
    let version = match facts.installed() {
        Installed::Version(version) => version.to_string(),
        Installed::Mixed(reasons) => format!("mixed: {}", reasons.join("; ")),
        Installed::Development(branch) => format!("development: follows {branch}, which is no release"),
        Installed::Unknown(why) => format!("unknown: {why}"),
    };
    let mut rows = vec![("stackspin", version), ("apps", listed(facts.apps()))];
    rows.extend(host_rows(facts));
    rows.extend(cluster_rows(facts));
    rows.into_iter().map(|(fact, value)| (fact, clean(&value))).collect()
}

fn host_rows(facts: &Facts) -> Vec<(&'static str, String)> {
    vec![
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
                        size(disk.free),
                        size(disk.size),
                        if disk.inodes == 0 { "always".to_owned() } else { disk.inodes_free.to_string() },
                        disk.holds.join(", ")
                    )
                }))
            }),
        ),
        (
            "memory",
            said(&facts.memory, |memory| {
                format!("{} of {} available", size(memory.available), size(memory.total))
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
        ("here", said(&facts.here, |here| format!("{} free for {}", size(here.free), here.backups))),
        (
            "k3s",
            said(&facts.k3s, |k3s| {
                let store = match k3s.datastore {
                    Datastore::Sqlite => "sqlite",
                    Datastore::Etcd => "etcd",
                    Datastore::Absent => "no datastore",
                };
                format!("{}, {}, {store} of {}", k3s.version, k3s.service, size(k3s.size))
            }),
        ),
    ]
}

fn cluster_rows(facts: &Facts) -> Vec<(&'static str, String)> {
    vec![
        (
            "nodes",
            said(&facts.nodes, |nodes| {
                lines(nodes.iter().map(|node| {
                    let ready = if node.ready { "ready" } else { "not ready" };
                    let pressure = node.pressure.iter().map(|kind| format!(", {kind}")).collect::<String>();
                    format!("{} {}, {ready}{pressure}", node.name, node.version)
                }))
            }),
        ),
        (
            "identity",
            said(&facts.identity, |identity| {
                format!("cluster {}, machine {}", identity.cluster_uid, identity.machine_id)
            }),
        ),
        ("flux", said(&facts.flux, flux)),
        (
            "volumes",
            said(&facts.volumes, |volumes| {
                let used = volumes.iter().map(|volume| volume.used).sum();
                let delete = volumes.iter().filter(|volume| volume.policy == "Delete").count();
                let gone =
                    volumes.iter().filter(|volume| !volume.folder.is_empty() && !volume.exists).count();
                format!(
                    "{}: {} used, {delete} with policy Delete, {gone} without folder",
                    volumes.len(),
                    size(used)
                )
            }),
        ),
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
        ("overrides", said(&facts.overrides, |overrides| listed(overrides.iter().map(ToString::to_string)))),
        (
            "nightly",
            said(&facts.nightly, |jobs| {
                lines(jobs.iter().map(|job| {
                    let does = match job.does {
                        Does::SuspendSource => "suspends a source",
                        Does::ResumeSource => "resumes a source",
                        Does::ScaleUpgradeController => "scales the system-upgrade-controller",
                    };
                    let zone = if job.zone.is_empty() { String::new() } else { format!(" {}", job.zone) };
                    let held = if job.suspended { ", suspended" } else { "" };
                    format!("{}/{} ({}{zone}) {does}{held}", job.namespace, job.name, job.schedule)
                }))
            }),
        ),
        (
            "pods",
            said(&facts.pods, |pods| {
                let failing = pods.failing.iter().map(|pod| {
                    format!(
                        "{}/{}: {} {}, {} restarts",
                        pod.namespace, pod.name, pod.phase, pod.reason, pod.restarts
                    )
                });
                lines(
                    std::iter::once(format!("{}, {} failing", pods.total, pods.failing.len())).chain(failing),
                )
            }),
        ),
        (
            "upgrades",
            said(&facts.upgrades, |upgrades| {
                listed(upgrades.k3s_jobs.iter().chain(&upgrades.pending_releases).cloned())
            }),
        ),
        (
            "variables",
            said(&facts.variables, |variables| {
                let refused =
                    variables.forbidden.iter().map(|bad| format!("{} holds {}", bad.key, bad.character));
                match variables.secret.as_str() {
                    "" => "none".to_owned(),
                    secret => lines(
                        std::iter::once(format!("{secret}, domain {}", variables.domain)).chain(refused),
                    ),
                }
            }),
        ),
        (
            "certificates",
            said(&facts.certificates, |certificates| {
                match certificates.iter().min_by_key(|certificate| certificate.not_after) {
                    None => "none".to_owned(),
                    Some(first) => {
                        format!(
                            "{}; the first to end is {}, {}",
                            certificates.len(),
                            first.what,
                            first.not_after
                        )
                    }
                }
            }),
        ),
        (
            "reach",
            said(&facts.reach, |reach| {
                lines(reach.iter().map(|to| {
                    let said = if to.trouble.is_empty() { "answers" } else { to.trouble.as_str() };
                    format!("{} {}: {said}", to.what, to.url)
                }))
            }),
        ),
        (
            "web",
            said(&facts.web, |pages| {
                lines(pages.iter().map(|page| {
                    let said =
                        if page.trouble.is_empty() { "certificate valid" } else { page.trouble.as_str() };
                    format!("{}: {}, {said}", page.host, page.status)
                }))
            }),
        ),
    ]
}

fn flux(flux: &facts::flux::Flux) -> String {
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

/// Bytes in words, in units of 1024.
fn size(bytes: u64) -> String {
    let units = [("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10)];
    match units.into_iter().find(|(_, shift)| bytes >> shift > 0) {
        None => format!("{bytes} B"),
        Some((unit, shift)) => {
            let tenths = ((u128::from(bytes) * 10) + (1 << (shift - 1))) >> shift;
            format!("{}.{} {unit}", tenths.div_euclid(10), tenths.rem_euclid(10))
        }
    }
}
