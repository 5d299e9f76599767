//! `fleet rehearse`: a whole upgrade on simulated twins of the inventory's clusters.

use std::fmt::Write;
use std::path::PathBuf;

use jiff::Timestamp;

use super::upgrade::{self, Wanted};
use super::{Exit, Trouble, output, plan, select};
use crate::cli::{self, Cli, RehearseArgs};
use crate::inventory::{self, Cluster, Selection};
use crate::lab::{Fault, HostSpec, Lab, OF_THIS_MACHINE};
use crate::rollout::Budget;
use crate::ssh::Limits;
use crate::version::Version;
use crate::{files, form};

/// How many twins are worked on at once.
const PARALLEL: usize = 10;

/// Rehearses.
pub(super) async fn run(cli: &Cli, args: &RehearseArgs) -> Result<Exit, Trouble> {
    select::acknowledged(&args.ack)?;
    let clusters = select::clusters(cli, &args.select)?;
    let folder = folder(args)?;
    let specs = specs(&clusters, args)?;
    let exe = std::env::current_exe()?;
    output::print(&format!(
        "A rehearsal: {} on this machine. No cluster of {} is contacted.\n\n",
        form::count(clusters.len(), "simulated twin"),
        cli.inventory.display()
    ))?;
    let lab = Lab::start(&folder.join("lab"), specs, &exe).map_err(Trouble::internal)?;
    let result = rehearse(&lab, &folder, args).await;
    lab.stop();
    result
}

async fn rehearse(lab: &Lab, folder: &std::path::Path, args: &RehearseArgs) -> Result<Exit, Trouble> {
    let all = Selection { all: true, ..Selection::default() };
    let twins =
        all.of(&inventory::load(&lab.inventory()).map_err(Trouble::internal)?).map_err(Trouble::internal)?;
    let acknowledged: Vec<String> =
        args.ack.iter().cloned().chain(OF_THIS_MACHINE.map(str::to_owned)).collect();
    let (runs, backups) = (folder.join("runs"), folder.join("backups"));

    let made_at = Timestamp::now();
    let plans = plan::consider(twins.clone(), args.to, &acknowledged, PARALLEL, backups.clone()).await;
    files::write_whole(&folder.join("plan.txt"), plan::text(&plans).as_bytes())?;
    output::print(&format!("{}\n", plan::summary(&plans)))?;
    let file = plan::file(plans, made_at, cli::GOOD_FOR, args.to, acknowledged.clone())?;
    plan::store(&file, &folder.join("plan.json"))?;

    // What the reports advise to type must never reach the clusters that the twins stand for.
    let inventory = lab.inventory();
    let places = [("--inventory", &inventory), ("--runs", &runs), ("--backups", &backups)];
    let places = places.iter().flat_map(|(flag, path)| [(*flag).to_owned(), path.display().to_string()]);
    let typed = std::iter::once("fleet".to_owned())
        .chain(places)
        .chain(["upgrade".to_owned(), "--all".to_owned()])
        .collect();
    let wanted = Wanted {
        clusters: twins,
        target: args.to,
        acknowledged,
        caps: PARALLEL.into(),
        budget: Budget::default(),
        limits: Limits::default(),
        runs: runs.clone(),
        backups: backups.clone(),
        typed,
        stored: None,
    };
    let (run, exit) = upgrade::upgrade(wanted).await?;
    let mut text = String::from("\nThe rehearsal is over; the twins are gone, what they left is here:\n");
    for (what, path) in [
        ("the plans", folder.join("plan.txt")),
        ("the report", run.path().join("report.md")),
        ("a folder a cluster", run.path().to_owned()),
        ("the backups", backups),
    ] {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "  {what:<19} {}", path.display());
    }
    output::print(&text)?;
    Ok(exit)
}

/// The folder for twins, runs and backups, absolute and not in use.
fn folder(args: &RehearseArgs) -> Result<PathBuf, Trouble> {
    let folder = match &args.folder {
        Some(folder) => std::path::absolute(folder)?,
        None => std::env::temp_dir().join(format!("fleet-rehearsal-{}", form::id(Timestamp::now()))),
    };
    if folder.exists() && folder.read_dir().is_ok_and(|mut entries| entries.next().is_some()) {
        return Err(Trouble::usage(format!(
            "{} is not empty; name a new folder, or leave --folder out for a temporary one",
            folder.display()
        )));
    }
    files::make_folder(&folder)
        .map_err(|error| Trouble::internal(format!("cannot make {}: {error}", folder.display())))?;
    Ok(folder)
}

/// A twin for each cluster. What real clusters have installed differs, so the twins do too: by turns all applications, two only, and all but
/// Wekan; one in four has its source suspended by the night.
fn specs(clusters: &[Cluster], args: &RehearseArgs) -> Result<Vec<HostSpec>, Trouble> {
    let mut specs: Vec<HostSpec> = clusters
        .iter()
        .enumerate()
        .map(|(index, cluster)| {
            let mut spec = HostSpec::new(&cluster.name).version(args.from);
            spec.apps.retain(|app| match index % 3 {
                1 => matches!(app.as_str(), "nextcloud" | "wordpress"),
                2 => app != "wekan",
                _ => true,
            });
            spec.source_suspended = index % 4 == 3 && args.from >= Version::V0_6;
            spec.group.clone_from(&cluster.group);
            spec.tags.clone_from(&cluster.tags);
            spec.domain.clone_from(&cluster.domain);
            spec
        })
        .collect();
    for given in &args.fault {
        let (name, fault) = given
            .split_once('=')
            .ok_or_else(|| Trouble::usage(format!("--fault {given}: write it as CLUSTER=FAULT")))?;
        let fault: Fault = fault.parse().map_err(|why| Trouble::usage(format!("--fault {given}: {why}")))?;
        let spec = specs.iter_mut().find(|spec| spec.name == name).ok_or_else(|| {
            Trouble::usage(format!("--fault {given}: {name} is not among the selected clusters"))
        })?;
        spec.faults.push(fault);
    }
    Ok(specs)
}
