//! A rung that another process began: what it stands on now, and what of it is left to do.
//!
//! The journal tells what was done, the host how it stands, and the disk whether the backup is still a good one. While nothing of the
//! migration was changed, a rung that cannot be gone on with is begun anew; afterwards its own plan is carried out to the end, never a
//! new one.

use std::time::Duration;

use jiff::Timestamp;

use super::changed::changed;
use super::position::{Position, Rung, Standing};
use super::remaining::{not_taken_back, remaining};
use super::saved::{find, is_fresh, new_backup};
use super::{Scribe, Trouble, Wish, consider, gather, objects, out_of_order, unasked, wait};
use crate::backup::{self, Folder, NOT_PROVEN};
use crate::event::{Failure, Outcome, StepEnd, What, When};
use crate::facts::Facts;
use crate::files::read_json;
use crate::jobs::Timer;
use crate::journal::Journal;
use crate::migrations;
use crate::plan::{Action, Class, Objects, Plan, Probe, SCHEMA, Step};
use crate::planner::{self, Planned};
use crate::remote::{Command, Remote};
use crate::state::step_log;

/// The step in which a cluster is made to answer before anything is asked of it.
pub(super) const READY: &str = "resume/cluster-ready";
/// How long it may take.
const READY_WITHIN: Duration = Duration::from_secs(20 * 60);
/// Where to read on.
const READ: &str = "docs/resume.md#when-a-run-cannot-be-gone-on-with";

/// Where the steps of a rung are begun.
#[derive(Debug)]
pub struct Start {
    /// The backup's folder.
    pub(super) folder: Folder,
    /// The steps to do, in order.
    pub(super) steps: Vec<Step>,
    /// What was done of the rung before.
    pub(super) from: Rung,
}

impl Start {
    /// A rung from its beginning, with a new folder for its backup.
    pub fn anew(wish: Wish<'_>, plan: &Plan, journal: &mut Journal) -> std::io::Result<Self> {
        let folder = new_backup(wish, journal, None)?;
        folder.keep_plan(plan)?;
        Ok(Self { folder, steps: plan.steps.clone(), from: Rung::default() })
    }
}

/// What [`take_up`] found.
pub(super) enum Taken {
    /// No rung is to be gone on with: these are the facts to plan from.
    Nothing(Box<Facts>),
    /// This one.
    Up(Box<Up>),
}

/// A rung to go on with.
pub(super) struct Up {
    pub(super) plan: Plan,
    /// The facts from before its first step.
    pub(super) before: Facts,
    pub(super) start: Start,
}

/// Finds out whether the rung in which the journal ends can be gone on with, and how. `Err` is the outcome where nothing may be done.
pub(super) async fn take_up<R: Remote>(
    remote: &R,
    wish: Wish<'_>,
    from: &Position,
    journal: &mut Journal,
) -> std::io::Result<Result<Taken, Outcome>> {
    let Some(rung) = &from.rung else {
        let gathered = gather(remote, wish, When::Before, journal).await?;
        return Ok(gathered.map(|facts| Taken::Nothing(Box::new(facts))).map_err(|error| unasked(&error)));
    };
    let (plan, before) = match ours(remote, wish, from, rung).await {
        Ok(stored) => stored,
        Err(outcome) => return Ok(Err(outcome)),
    };
    if let Err(outcome) = ready(remote, wish, from, rung, journal).await? {
        return Ok(Err(outcome));
    }
    let facts = match gather(remote, wish, When::Before, journal).await? {
        Ok(facts) => facts,
        Err(error) => return Ok(Err(from.truth(unasked(&error)))),
    };
    if let Some(failure) = planner::mistaken(&who(&facts, &before), wish.cluster) {
        return Ok(Err(Outcome::Refused { failure }));
    }
    if rung.dirty.is_none() {
        untouched(wish, rung, plan, facts, before, journal)
    } else {
        half_done(wish, from, rung, plan, &facts, before, journal)
    }
}

/// The rung's plan and facts as they were stored, while no other run has changed the host since.
async fn ours<R: Remote>(
    remote: &R,
    wish: Wish<'_>,
    from: &Position,
    rung: &Rung,
) -> Result<(Plan, Facts), Outcome> {
    let stored = stored(wish, rung).map_err(|failure| Outcome::Refused { failure })?;
    let last =
        changed(remote, &wish.cluster.paths.spool).await.map_err(|error| from.truth(unasked(&error)))?;
    match last.and_then(|last| last.by_another(wish, from.lock)) {
        Some(failure) => Err(Outcome::Refused { failure }),
        None => Ok(stored),
    }
}

/// A rung that has changed nothing yet: gone on with where its backup is whole and of today and a plan of now would do the same; else begun
/// anew.
fn untouched(
    wish: Wish<'_>,
    rung: &Rung,
    plan: Plan,
    facts: Facts,
    before: Facts,
    journal: &mut Journal,
) -> std::io::Result<Result<Taken, Outcome>> {
    let fresh = rung.backup.as_ref().filter(|backup| is_fresh(backup, Timestamp::now()));
    let folder = find(wish.backups, &wish.cluster.name, fresh).filter(|folder| is_whole(folder, rung));
    let Some(folder) = folder.filter(|_| same_work(&plan, &facts, wish)) else {
        return Ok(Ok(Taken::Nothing(Box::new(facts))));
    };
    // The pre-flight is judged anew: hours may have gone by.
    if let Err(outcome) = consider(&facts, wish, journal)? {
        return Ok(Err(outcome));
    }
    let steps = remaining(&plan, rung, None);
    let start = Start { folder, steps, from: rung.clone() };
    Ok(Ok(Taken::Up(Box::new(Up { plan, before, start }))))
}

/// A rung that has begun to change the cluster: its own plan is carried out to the end, on its backup, or on a new one where that is gone
/// and something is left that needs one.
fn half_done(
    wish: Wish<'_>,
    from: &Position,
    rung: &Rung,
    plan: Plan,
    facts: &Facts,
    before: Facts,
    journal: &mut Journal,
) -> std::io::Result<Result<Taken, Outcome>> {
    if let Some(failure) = exchanged(facts, &before) {
        return Ok(Err(Outcome::Refused { failure }));
    }
    let needs = plan.steps.iter().any(|step| step.needs_proof() && !rung.is_done(&step.id));
    let (folder, anew) = match find(wish.backups, &wish.cluster.name, rung.backup.as_ref()) {
        Some(folder) if !needs || is_whole(&folder, rung) => (folder, None),
        _ if migrations::loses_data(&plan.migration) => {
            let failure = backup_gone(rung, wish);
            return Ok(Err(Outcome::Failed { step: None, state: from.left(), failure }));
        }
        saved => (new_backup(wish, journal, Some((rung, saved)))?, Some(backup::steps(facts, wish.cluster))),
    };
    let from_here = not_taken_back(&plan, rung);
    let steps = remaining(&plan, &from_here, anew.as_deref());
    let start = Start { folder, steps, from: from_here };
    Ok(match lost_set(&start) {
        Some((step, failure)) => Err(Outcome::Failed { step: Some(step), state: from.left(), failure }),
        None => Ok(Taken::Up(Box::new(Up { plan, before, start }))),
    })
}

/// Why a rung that deletes data goes on with no other backup than the one that it began with: what was purged meanwhile is in that one alone.
fn backup_gone(rung: &Rung, wish: Wish<'_>) -> Failure {
    let id = rung.backup.as_ref().map_or("none", |backup| backup.id.as_str());
    let cluster = &wish.cluster.name;
    let said = format!(
        "its backup {id} is not among the backups of {cluster} any more, or not whole, and what was purged since is in no other: nothing is deleted. \
         Put its folder back where it was, then fleet resume. If nothing was purged yet, begin anew with fleet upgrade, which makes another"
    );
    Failure::new("backup-gone", said).read("docs/rebuild.md#before-03")
}

/// Whether a backup can be built on, for all that is known before it is proven again: all of it is there, and the last proof has not found
/// it to be none. To prove that one again would find the same for ever.
fn is_whole(folder: &Folder, rung: &Rung) -> bool {
    let refuted = matches!(rung.standing("backup/prove"), Some(Standing::Failed(failure)) if failure.cause == NOT_PROVEN);
    folder.manifest().is_ok() && !refuted
}

/// What tells whose cluster it is. Within a rung the secret with the domain may be away: then the domain is what it was before, if the
/// cluster is.
fn who(facts: &Facts, before: &Facts) -> Facts {
    let of = |facts: &Facts| facts.identity.get().ok().map(|identity| identity.cluster_uid.clone());
    let told = facts.variables.get().is_ok_and(|variables| !variables.domain.is_empty());
    let same = of(facts).is_some_and(|uid| !uid.is_empty()) && of(facts) == of(before);
    let variables = if !told && same { &before.variables } else { &facts.variables };
    Facts { identity: facts.identity.clone(), variables: variables.clone(), ..Facts::default() }
}

/// The plan of a rung and the facts from before it, as they were stored.
fn stored(wish: Wish<'_>, rung: &Rung) -> Result<(Plan, Facts), Failure> {
    let folder = wish.folder.path().join(&rung.migration);
    let refused = |why: String| Failure::new("stored-plan", why).read(READ);
    let unread = |file: &str, error: std::io::Error| {
        refused(format!("{} cannot be used: {error}; nothing was done", folder.join(file).display()))
    };
    let plan: Plan = read_json(&folder.join("plan.json")).map_err(|error| unread("plan.json", error))?;
    let before: Facts =
        read_json(&folder.join("before.json")).map_err(|error| unread("before.json", error))?;
    if plan.schema > SCHEMA {
        return Err(refused(format!(
            "the plan of {} was made by a newer fleet (form {}, this one reads {SCHEMA}): go on with that one",
            rung.migration, plan.schema
        )));
    }
    if (plan.cluster.as_str(), plan.migration.as_str()) != (&wish.cluster.name, &rung.migration) {
        return Err(refused(format!(
            "{} holds the plan {} of {}; nothing was done",
            folder.join("plan.json").display(),
            plan.migration,
            plan.cluster
        )));
    }
    match out_of_order(&plan) {
        Some(failure) => Err(failure),
        None => Ok((plan, before)),
    }
}

/// Why a host is not the one of which the rung was begun, whatever the inventory pins.
fn exchanged(now: &Facts, before: &Facts) -> Option<Failure> {
    let (now, before) = (now.identity.get().ok()?, before.identity.get().ok()?);
    let same = now.cluster_uid == before.cluster_uid && now.machine_id == before.machine_id;
    (!same).then(|| {
        let message = format!(
            "the rung was begun on machine {} with cluster {}, and this is machine {} with cluster {}",
            before.machine_id, before.cluster_uid, now.machine_id, now.cluster_uid
        );
        Failure::new("identity-differs", message).read("docs/inventory.md#identity")
    })
}

/// Makes the cluster answer: k3s is started where a copy had stopped it, and waited for.
async fn ready<R: Remote>(
    remote: &R,
    wish: Wish<'_>,
    from: &Position,
    rung: &Rung,
    journal: &mut Journal,
) -> std::io::Result<Result<(), Outcome>> {
    let title = "Wait until the cluster answers".to_owned();
    let class = Class::Repeatable;
    journal.record(What::StepStarted { step: READY.to_owned(), title, class, expected_seconds: 60 })?;
    let began = std::time::Instant::now();
    let done = {
        let log = wish.folder.rung(&rung.migration)?.join(step_log(READY));
        let mut scribe = Scribe::new(journal, READY, &log)?;
        wake(remote, wish, rung, &mut scribe).await
    };
    let took_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    let (end, outcome) = match done {
        Ok(()) => (StepEnd::Done, Ok(())),
        // Starting k3s is all that this changes: nothing can be in doubt because of it.
        Err(Trouble::Failed(failure) | Trouble::InDoubt(failure)) => {
            let outcome = match from.doubt() {
                Some(step) => Outcome::InDoubt { step: step.to_owned(), failure: failure.clone() },
                None => Outcome::Failed {
                    step: Some(READY.to_owned()),
                    state: from.left(),
                    failure: failure.clone(),
                },
            };
            (StepEnd::Failed(failure), Err(outcome))
        }
    };
    journal.record(What::StepEnded { step: READY.to_owned(), end, took_ms })?;
    Ok(outcome)
}

async fn wake<R: Remote>(
    remote: &R,
    wish: Wish<'_>,
    rung: &Rung,
    scribe: &mut Scribe<'_>,
) -> Result<(), Trouble> {
    let copying = rung.standing("backup/copy").is_some_and(|standing| *standing != Standing::Done);
    if let Some(backup) = rung.backup.as_ref().filter(|_| copying) {
        let start = Command::new("systemctl start k3s").deadline(Duration::from_secs(300));
        super::scribe::well(&start, scribe.repeat(remote, &start).await?)?;
        let watchdog = Timer::starts_k3s(&wish.cluster.paths.spool, &backup.id);
        // Where it cannot be disarmed it starts what runs already, and ends.
        scribe.repeat(remote, &watchdog.disarm()).await?;
    }
    wait::until(remote, &Probe::ClusterReady, &[], READY_WITHIN, scribe).await
}

/// Whether a plan that is made now would do the same. Sizes and times change by the minute and do not count.
fn same_work(stored: &Plan, facts: &Facts, wish: Wish<'_>) -> bool {
    let Planned::Plan(now) = planner::plan(facts, wish.cluster, wish.target) else { return false };
    let work = |plan: &Plan| -> Vec<(String, Action)> {
        let counts =
            |step: &&Step| step.needs_proof() || matches!(step.action, Action::Prove(_) | Action::Objects(_));
        plan.steps.iter().filter(counts).map(|step| (step.id.clone(), step.action.clone())).collect()
    };
    now.migration == stored.migration && work(&now) == work(stored)
}

/// A set of objects that is to be put back and is not there any more; the step, and why.
fn lost_set(start: &Start) -> Option<(String, Failure)> {
    start.steps.iter().find_map(|step| {
        let Action::Objects(Objects::Restore { set, objects }) = &step.action else { return None };
        let saves = |step: &Step| {
            matches!(&step.action, Action::Objects(Objects::Save { set: saved, .. }) if saved == set)
        };
        if start.steps.iter().any(saves) || objects::are_kept(&start.folder, set, objects) {
            return None;
        }
        let message = format!(
            "the secrets {set} that were saved before the migration are not in {}: without them it cannot be ended. Put that folder \
             back where it was; where this machine has lost it, the host has a copy: fleet resume --from-hosts",
            start.folder.path().join("kept").join(set).display()
        );
        Some((step.id.clone(), Failure::new("kept-lost", message).read(READ)))
    })
}
