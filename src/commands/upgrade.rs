//! `fleet upgrade`: back up, prove, migrate, post-check; then the report.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use super::conduct::{Shown, conduct};
use super::{Exit, Trouble, output, report, select};
use crate::cli::{Cli, UpgradeArgs};
use crate::event::{Failure, Outcome, What};
use crate::files::is_full;
use crate::form;
use crate::inventory::Cluster;
use crate::journal::Journal;
use crate::plan::Plan;
use crate::plan_file::PlanFile;
use crate::report::screen;
use crate::rollout::{Budget, Caps, Resumed, Rollout, Tour};
use crate::ssh::Limits;
use crate::state::{PlanUsed, Run, RunFolder, RunLock, SCHEMA};
use crate::version::Version;

/// An upgrade that is to be done.
pub(super) struct Wanted {
    pub(super) clusters: Vec<Cluster>,
    pub(super) target: Version,
    pub(super) acknowledged: Vec<String>,
    pub(super) caps: Caps,
    pub(super) budget: Budget,
    pub(super) limits: Limits,
    pub(super) runs: PathBuf,
    pub(super) backups: PathBuf,
    /// The command line that the reports build their advice on.
    pub(super) typed: Vec<String>,
    /// What is carried out as it was planned before; otherwise each cluster is planned as the run goes.
    pub(super) stored: Option<Stored>,
}

/// Plans that were made before.
pub(super) struct Stored {
    pub(super) file: PlanFile,
    pub(super) used: PlanUsed,
    /// Those that are carried out.
    pub(super) plans: BTreeMap<String, Plan>,
    /// Clusters of the file that are refused before they are contacted.
    pub(super) refused: BTreeMap<String, Failure>,
}

/// Upgrades the selected clusters.
pub(super) async fn run(cli: &Cli, args: &UpgradeArgs) -> Result<Exit, Trouble> {
    select::acknowledged(&args.ack)?;
    let (clusters, caps) = select::clusters_and_caps(cli, &args.select, args.work.parallel)?;
    let (_, exit) = upgrade(Wanted {
        clusters,
        target: args.to,
        acknowledged: select::agreed(&args.ack, args.accept_data_loss),
        caps,
        budget: Budget::from(&args.work.budget),
        limits: Limits::from(&args.work.network),
        runs: cli.runs.clone(),
        backups: cli.backups.clone(),
        typed: super::typed(),
        stored: None,
    })
    .await?;
    Ok(exit)
}

/// Begins a new run and works on its clusters.
pub(super) async fn upgrade(wanted: Wanted) -> Result<(RunFolder, Exit), Trouble> {
    let refused = wanted.stored.iter().flat_map(|stored| stored.refused.keys());
    let mut names: Vec<String> =
        wanted.clusters.iter().map(|cluster| &cluster.name).chain(refused).cloned().collect();
    names.sort();
    let used = wanted.stored.as_ref().map(|stored| stored.used.clone());
    let (typed, acknowledged) = (wanted.typed.clone(), wanted.acknowledged.clone());
    let (folder, lock) = begin_run(&wanted.runs, typed, Some(wanted.target), names, acknowledged, used)?;
    if let Some(stored) = &wanted.stored {
        stored.file.store(&folder.plan())?;
    }
    let exit = work(wanted, &folder, &lock, None).await?;
    Ok((folder, exit))
}

/// Works on the clusters of a run that this process holds, new or gone on with, shows it, writes the reports and prints the table.
pub(super) async fn work(
    wanted: Wanted,
    folder: &RunFolder,
    _held: &RunLock,
    resumed: Option<Resumed>,
) -> Result<Exit, Trouble> {
    let Wanted { clusters, target, acknowledged, caps, budget, limits, backups, stored, .. } = wanted;
    let count = clusters.len() + stored.as_ref().map_or(0, |stored| stored.refused.len());
    let record = folder.run()?;
    let work = async |tour: Tour| {
        let plans = match stored {
            Some(stored) => refuse(stored, &tour)?,
            None => BTreeMap::new(),
        };
        let rollout = Rollout { target, plans, acknowledged, caps, tour, record, backups, resumed };
        Ok::<_, Trouble>(rollout.upgrade(clusters).await)
    };
    let results = conduct(folder, limits, budget, count, Shown::Always, work).await?.transpose()?;

    let fleet = match crate::report::write(folder) {
        // The journals are the truth: the report can be made again when there is room.
        Err(error) if is_full(&error) => crate::report::read(folder)?,
        written => written?,
    };
    output::print(&screen::render(&fleet, folder.path(), screen::Look::of_stdout()))?;
    let Some(results) = results else { return Ok(Exit::Interrupted) };
    untroubled(results)?;
    Ok(report::exit_of(&fleet))
}

/// Writes down which clusters of a plan file are refused at once; the plans of the others.
fn refuse(stored: Stored, tour: &Tour) -> Result<BTreeMap<String, Plan>, Trouble> {
    for (name, failure) in stored.refused {
        let path = tour.run.cluster(&name)?.journal();
        let mut journal = Journal::create(&path, &name, tour.listener.clone())?;
        journal.record(What::Finished { outcome: Outcome::Refused { failure } })?;
    }
    Ok(stored.plans)
}

/// Makes the folder of a new run, which this process holds from then on.
pub(super) fn begin_run(
    runs: &Path,
    typed: Vec<String>,
    target: Option<Version>,
    clusters: Vec<String>,
    acknowledged: Vec<String>,
    plan: Option<PlanUsed>,
) -> Result<(RunFolder, RunLock), Trouble> {
    let run = Run {
        schema: SCHEMA,
        id: form::id(Timestamp::now()),
        started: Timestamp::now(),
        by: operator(),
        fleet: env!("CARGO_PKG_VERSION").to_owned(),
        typed,
        target,
        clusters,
        acknowledged,
        plan,
    };
    RunFolder::begin(runs, &run).map_err(|error| {
        Trouble::internal(format!("cannot make a run folder in {}: {error}", runs.display()))
    })
}

/// The clusters' results, none of which may be this machine's own trouble.
pub(super) fn untroubled<T>(results: BTreeMap<String, Result<T, String>>) -> Result<(), Trouble> {
    let troubles: Vec<String> = results
        .into_iter()
        .filter_map(|(name, result)| result.err().map(|error| format!("{name}: {error}")))
        .collect();
    if troubles.is_empty() { Ok(()) } else { Err(Trouble::internal(troubles.join("\n"))) }
}

/// User and machine, for the run's record.
pub(super) fn operator() -> String {
    let user = ["SUDO_USER", "USER", "LOGNAME"]
        .iter()
        .find_map(|name| std::env::var(name).ok().filter(|user| !user.is_empty()))
        .unwrap_or_else(|| match rustix::process::getuid() {
            uid if uid.is_root() => "root".to_owned(),
            uid => format!("uid {}", uid.as_raw()),
        });
    let machine = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    format!("{user}@{}", machine.trim())
}
