//! `fleet resume`: goes on with a run, each cluster from where its journal ends.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::upgrade::{Stored, Wanted, operator, work};
use super::{Exit, Trouble, control, handover, output, report, select};
use crate::cli::{Cli, ResumeArgs};
use crate::inventory::{self, Cluster, Inventory, Selection};
use crate::journal::{self, JournalError};
use crate::plan::{Plan, Redo};
use crate::plan_file::{self, Said};
use crate::remote::printable;
use crate::report::screen;
use crate::rollout::{Budget, Caps, Resumed, Settled};
use crate::run::Position;
use crate::run::position::Standing;
use crate::ssh::Limits;
use crate::state::{Run, RunFolder};

/// Goes on with the run that was named. One that a living process works on and that is paused is let go on.
pub(super) async fn run(cli: &Cli, args: &ResumeArgs) -> Result<Exit, Trouble> {
    select::acknowledged(&args.ack)?;
    let inventory = inventory::load(&cli.inventory).map_err(Trouble::usage)?;
    let (folder, all) = if args.from_hosts {
        handover::take_over(cli, args, &inventory).await?
    } else {
        (report::find(cli, &args.run)?, true)
    };
    match go_on(cli, args, &inventory, folder).await? {
        // A host that should have told its part and could not is none that is done.
        Exit::Done if !all => Ok(Exit::Failed),
        exit => Ok(exit),
    }
}

async fn go_on(
    cli: &Cli,
    args: &ResumeArgs,
    inventory: &Inventory,
    folder: RunFolder,
) -> Result<Exit, Trouble> {
    let Some(lock) = control::take(&folder)? else { return Ok(Exit::Done) };
    let run = folder.run()?;
    let Some(target) = run.target else {
        return Err(Trouble::usage(format!(
            "run {} is one of `fleet {}`: what it did on which host is in its report, and what to do about the rest only its operator \
             knows. Type the command again with --on",
            run.id,
            run.aim()
        )));
    };
    let names = chosen(&run, &args.on, inventory)?;
    let (mut clusters, mut unbegun) = (Vec::new(), Vec::new());
    for name in names {
        let position = position(&folder, &name)?;
        for settled in args.settle.iter().filter(|settled| settled.cluster == name) {
            may_settle(settled, &position, &folder)?;
        }
        if !position.is_done() {
            if position.rung.is_none() {
                unbegun.push(name.clone());
            }
            clusters.push(known(&name, inventory, &run)?);
        }
    }
    if let Some(stray) =
        args.settle.iter().find(|settled| !clusters.iter().any(|c| c.name == settled.cluster))
    {
        return Err(Trouble::usage(format!(
            "--settle {}:{}: that cluster is not one that this command goes on with",
            stray.cluster, stray.step
        )));
    }
    if clusters.is_empty() {
        let fleet = crate::report::write(&folder)?;
        output::print(&screen::render(&fleet, folder.path(), screen::Look::of_stdout()))?;
        return Ok(report::exit_of(&fleet));
    }
    let stored = stored(&folder, &run, &unbegun)?;
    let caps = Caps::of(inventory, args.work.parallel);
    let resumed = Resumed { by: operator(), settled: args.settle.clone() };
    let acknowledged = run.acknowledged.iter().chain(&args.ack).cloned().collect();
    let wanted = Wanted {
        clusters,
        target,
        acknowledged,
        caps,
        budget: Budget::from(&args.work.budget),
        limits: Limits::from(&args.work.network),
        runs: cli.runs.clone(),
        backups: cli.backups.clone(),
        typed: run.typed,
        stored,
    };
    work(wanted, &folder, &lock, Some(resumed)).await
}

/// The names of the run's clusters, of which `--on` may choose some.
fn chosen(run: &Run, on: &[String], inventory: &Inventory) -> Result<Vec<String>, Trouble> {
    if on.is_empty() {
        return Ok(run.clusters.clone());
    }
    // The run says which clusters there are: terms that only leave out are enough here.
    let all = on.iter().all(|term| term.trim().starts_with('!'));
    let selection = Selection { on: on.to_vec(), all, max_hosts: None };
    let selected = selection.of(inventory).map_err(Trouble::usage)?;
    let selected: BTreeSet<&str> = selected.iter().map(|cluster| cluster.name.as_str()).collect();
    let chosen: Vec<String> =
        run.clusters.iter().filter(|name| selected.contains(name.as_str())).cloned().collect();
    if chosen.is_empty() {
        return Err(Trouble::usage(format!("no cluster of run {} is in --on '{}'", run.id, on.join(","))));
    }
    Ok(chosen)
}

/// The plans of a run of `fleet apply`. A cluster of which nothing was begun is carried out by its plan or not at all.
fn stored(folder: &RunFolder, run: &Run, unbegun: &[String]) -> Result<Option<Stored>, Trouble> {
    let Some(used) = run.plan.clone() else { return Ok(None) };
    let refused = |why: &dyn std::fmt::Display| {
        Trouble::refused(format!(
            "run {} carries out a plan file: {}. Nothing was contacted. To go on without the clusters that were never begun, which only \
             that file has plans for: fleet resume {} --on '!{}'",
            run.id,
            printable(&why.to_string()),
            run.id,
            unbegun.join(",!")
        ))
    };
    let (file, _) = plan_file::load(&folder.plan()).map_err(|unfit| refused(&unfit))?;
    if !unbegun.is_empty() {
        file.is_good_at(Timestamp::now()).map_err(|unfit| refused(&unfit))?;
    }
    let plan = |said: &Said| match said {
        Said::Plan { plan, .. } => Some((**plan).clone()),
        _ => None,
    };
    let plans = file.clusters.iter().filter_map(|(name, said)| Some((name.clone(), plan(said)?))).collect();
    Ok(Some(Stored { file, used, plans, refused: BTreeMap::new() }))
}

/// Where a cluster's journal ends.
fn position(folder: &RunFolder, name: &str) -> Result<Position, Trouble> {
    match journal::read(&folder.path().join(name).join("journal.ndjson")) {
        Ok(events) => Ok(Position::of(&events)),
        Err(JournalError::Unreadable { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
            Ok(Position::default())
        }
        Err(error) => Err(Trouble::internal(format!(
            "{error}\nNothing was done. To go on with the other clusters: --on '!{}'",
            printable(name)
        ))),
    }
}

/// A cluster that the inventory must still have.
fn known(name: &str, inventory: &Inventory, run: &Run) -> Result<Cluster, Trouble> {
    inventory.clusters.get(name).cloned().ok_or_else(|| {
        Trouble::usage(format!(
            "cluster {} of run {} is not in the inventory any more. Put it back, or leave it out: --on '!NAME' knows only names of the \
             inventory, so name those to go on with",
            printable(name),
            run.id
        ))
    })
}

/// A person's word counts only where nobody else can tell: for a step in doubt that must not be done again unasked.
fn may_settle(settled: &Settled, position: &Position, folder: &RunFolder) -> Result<(), Trouble> {
    let Settled { cluster, step, .. } = settled;
    let no = |why: &str| Trouble::usage(format!("--settle {cluster}:{step}: {why}"));
    let rung = position.rung.as_ref().ok_or_else(|| no("no rung of it is under way"))?;
    let plan: Plan =
        crate::files::read_json(&folder.path().join(cluster).join(&rung.migration).join("plan.json"))
            .map_err(|error| no(&format!("its plan cannot be read: {error}")))?;
    let planned = plan.steps.iter().find(|planned| planned.id == *step).ok_or_else(|| {
        no(&format!("the plan {} has no such step; its report names the step in doubt", rung.migration))
    })?;
    match rung.standing(step) {
        None => return Err(no("it was never begun: it is done in its turn")),
        Some(Standing::Done) => return Err(no("it is done")),
        Some(Standing::Begun { .. } | Standing::Failed(_) | Standing::InDoubt(_) | Standing::Again) => {}
    }
    match &planned.redo {
        Redo::Never => Ok(()),
        other => Err(no(&format!(
            "nobody has to say: its rule is to {}, and fleet goes on by that. Leave --settle out",
            other.describe()
        ))),
    }
}
