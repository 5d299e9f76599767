//! A plan as text for people: every step with what exactly it does.

use std::fmt::Write;

use crate::form::{about, bytes, count};
use crate::migrations;
use crate::plan::{
    Action, Backup, Claimed, Class, Found, Local, Objects, Plan, PutBack, Restore, RestorePart, Step, Truce,
};
use crate::remote::printable;

/// The whole plan.
#[must_use]
pub fn plan_text(plan: &Plan) -> String {
    let mut text = String::new();
    let here = plan.steps.iter().map(|step| step.disk_here).sum();
    let there = plan.steps.iter().map(|step| step.disk_there).max().unwrap_or(0);
    let Plan { cluster, from, to, migration, .. } = plan;
    line(&mut text, &format!("{cluster}: {from} -> {to} ({migration})"));
    line(
        &mut text,
        &format!(
            "  {} steps, about {}, of which about {} downtime; needs {} here and {} on the host",
            plan.steps.len(),
            about(plan.expected()),
            about(plan.downtime()),
            bytes(here),
            bytes(there)
        ),
    );
    line(
        &mut text,
        &format!("  apps: {}", if plan.apps.is_empty() { "none".into() } else { plan.apps.join(", ") }),
    );
    for note in &plan.notes {
        line(&mut text, &format!("  note: {}", printable(note)));
    }
    for (index, step) in plan.steps.iter().enumerate() {
        line(&mut text, "");
        write_step(&mut text, index + 1, step);
    }
    if !plan.rest.is_empty() {
        line(&mut text, "");
        line(&mut text, "  then, each planned from new facts and with a backup of its own:");
        for to in &plan.rest {
            line(&mut text, &format!("    to {to}: {}", migrations::outline(*to)));
        }
    }
    text
}

fn write_step(text: &mut String, number: usize, step: &Step) {
    line(text, &format!("  {number:>2}. {}  {}", step.id, printable(&step.title)));
    if matches!(step.action, Action::Ask(_)) {
        line(text, "      asked of you; the run waits for it");
        for detail in details(&step.action) {
            line(text, &format!("      {}", printable(&detail)));
        }
        return;
    }
    let mut traits = vec![step.class.as_str().to_owned(), format!("about {}", about(step.expected))];
    traits.push(format!("at most {}", about(step.deadline)));
    if !step.downtime.is_zero() {
        traits.push(format!("downtime about {}", about(step.downtime)));
    }
    if step.disk_here > 0 {
        traits.push(format!("{} here", bytes(step.disk_here)));
    }
    if step.class != Class::ReadOnly {
        traits.push(format!("if interrupted: {}", step.redo.describe()));
    }
    line(text, &format!("      {}", traits.join(", ")));
    for detail in details(&step.action) {
        line(text, &format!("      {}", printable(&detail)));
    }
}

fn details(action: &Action) -> Vec<String> {
    match action {
        Action::Run(command) => vec![format!("$ {command}")],
        Action::Job(command) => {
            vec![
                format!("$ {command}"),
                "on the host's own account: it goes on when the line is lost".to_owned(),
            ]
        }
        Action::Objects(Objects::Save { objects, .. } | Objects::Restore { objects, .. }) => {
            objects.iter().map(|object| format!("secret {object}")).collect()
        }
        Action::Objects(Objects::AddPassword { object, key, .. }) => {
            vec![format!("secret {object}, key {key}")]
        }
        Action::Backup(backup) => copied(backup),
        Action::Prove(prove) => vec![format!("datastore, objects and {} volumes", prove.volumes.len())],
        Action::Hold(truce) => held(truce),
        Action::GiveBack(_) => vec!["each as it was found when it was held".to_owned()],
        Action::Restore(restore) => put_back(restore),
        Action::WaitUntil { probe, remedies } => {
            let mut lines = vec![format!("until {probe}")];
            if !remedies.is_empty() {
                lines.push(format!("remedies that may be used: {}", remedies.join(", ")));
            }
            lines
        }
        Action::Objects(Objects::Copy { copies }) => {
            copies.iter().map(|copy| format!("{} {} as {}", copy.from.kind, copy.from, copy.to)).collect()
        }
        Action::Disown(objects) => objects.iter().map(|object| format!("{} {object}", object.kind)).collect(),
        Action::RemoveNamespaces(what) => {
            let claims =
                what.moved.iter().map(|moved| format!("only if claim {}/{} is bound", moved.to, moved.claim));
            what.namespaces.iter().map(|name| format!("namespace {name}")).chain(claims).collect()
        }
        Action::RemoveClaims(what) => {
            let release = |name: &String| format!("only if Helm has no record of {name} any more");
            let claim = |claimed: &Claimed| match claimed.volume.as_str() {
                "" => format!("claim {claimed}, which has no volume"),
                volume => format!("claim {claimed} with volume {volume}"),
            };
            what.releases.iter().map(release).chain(what.claims.iter().map(claim)).collect()
        }
        Action::MoveClaim(what) => vec![
            format!(
                "volume {}: Retain set and read back before the claim in {} is deleted",
                what.volume, what.from
            ),
            format!("its claim made anew as {}/{}, and waited for until it is bound", what.to, what.claim),
        ],
        Action::Stop(namespaces) => namespaces
            .iter()
            .map(|name| format!("namespace {name}: cron jobs, jobs, Deployments, then StatefulSets"))
            .collect(),
        Action::Local(script) => script_of(script),
        Action::Ask(ask) => ask.lines.iter().map(|line| format!("- {line}")).collect(),
    }
}

fn script_of(script: &Local) -> Vec<String> {
    let Local { release, commit, unless, remedies, .. } = script;
    let commit = commit.get(..12).unwrap_or(commit);
    let mut lines = vec![
        format!("$ {script}"),
        format!("on this machine, in Stackspin {release} at {commit}, with the cluster's API through SSH"),
    ];
    lines.extend(unless.iter().map(|probe| format!("only where this is not so: {probe}")));
    if !remedies.is_empty() {
        lines.push(format!("run again after a fault that a remedy knows: {}", remedies.join(", ")));
    }
    lines
}

/// What is held, and what is only written down, to be given back as it was found should the rung change it.
fn held(truce: &Truce) -> Vec<String> {
    let state = |found: &Found| if found.suspended { "suspended" } else { "not suspended" };
    let only = |held: bool| if held { "" } else { " (written down, not touched)" };
    let jobs = truce
        .cron_jobs
        .iter()
        .map(|job| format!("cron job {}, found {}{}", job.object, state(job), only(!job.suspended)));
    let sources = truce
        .sources
        .iter()
        .map(|source| format!("source {}, found {}{}", source.object, state(source), only(false)));
    let controller = truce.controller.iter().map(|(object, replicas)| {
        let number = count(usize::try_from(*replicas).unwrap_or(usize::MAX), "replica");
        format!("deployment {object}, found with {number}{}", only(*replicas > 0))
    });
    let timers = truce.timers.iter().map(|timer| format!("the host's {timer}"));
    jobs.chain(sources).chain(controller).chain(timers).collect()
}

fn put_back(restore: &Restore) -> Vec<String> {
    let folder = |put: &PutBack| {
        let claim = match &put.into {
            Some(into) => format!(" ({} -> {into})", put.claim),
            None if put.claim.is_empty() => String::new(),
            None => format!(" ({})", put.claim),
        };
        format!("{}{claim}: {}, up to {}", put.stem, put.folder, bytes(put.bytes))
    };
    match restore.part {
        RestorePart::Look => {
            let known = |what: &Option<String>| what.clone().unwrap_or_else(|| "whichever it is".to_owned());
            vec![format!("machine {}, k3s {}", known(&restore.machine_id), known(&restore.k3s))]
        }
        RestorePart::Unpack => restore.folders.iter().map(folder).collect(),
        RestorePart::Swap => vec![
            "by renaming, on the host's own account: it goes on when the line is lost".to_owned(),
            "k3s is started whatever happens".to_owned(),
        ],
    }
}

fn copied(backup: &Backup) -> Vec<String> {
    let Backup { k3s_data, k3s_config, volumes, cluster_dir, .. } = backup;
    let mut lines = vec![
        "all objects of the API, secrets among them".to_owned(),
        "k3s stopped with all its containers, and started again whatever happens".to_owned(),
        format!("{k3s_data}/server (datastore, token, certificates) and {k3s_config}"),
    ];
    for volume in volumes {
        let claim = if volume.claim.is_empty() {
            "unclaimed".to_owned()
        } else {
            format!("{}/{}", volume.namespace, volume.claim)
        };
        lines.push(format!("volume {claim}: {} ({})", volume.folder, bytes(volume.used)));
    }
    if let Some(folder) = cluster_dir {
        lines.push(format!("on this machine: {}", folder.display()));
    }
    lines
}

fn line(text: &mut String, content: &str) {
    // Writing to a String cannot fail.
    let _ = writeln!(text, "{content}");
}
