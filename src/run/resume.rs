//! A rung that another process began: what it stands on now, and what of it is left to do.
//!
//! The journal tells what was done, the host how it stands, and the disk whether the backup is still a good one. While nothing of the
//! migration was changed, a rung that cannot be gone on with is begun anew; afterwards its own plan is carried out to the end, never a
//! new one.

use std::time::Duration;

use jiff::Timestamp;

use super::changed::changed;
use super::position::{Position, Rung, Standing};
use super::saved::{find, is_fresh, new_backup};
use super::{Scribe, Trouble, Wish, consider, gather, objects, out_of_order, unasked, wait};
use crate::backup::{self, Folder};
use crate::event::{Failure, Outcome, StepEnd, What, When};
use crate::facts::Facts;
use crate::files::read_json;
use crate::jobs::Timer;
use crate::journal::Journal;
use crate::plan::{Action, Class, Objects, Plan, Probe, Redo, SCHEMA, Step};
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
        return Ok(match gather(remote, wish, When::Before, journal).await? {
            Ok(facts) => Ok(Taken::Nothing(Box::new(facts))),
            Err(error) => Err(unasked(&error)),
        });
    };
    let (plan, before) = match stored(wish, rung) {
        Ok(stored) => stored,
        Err(failure) => return Ok(Err(Outcome::Refused { failure })),
    };
    let spool = &wish.cluster.paths.spool;
    match changed(remote, spool).await {
        Err(error) => return Ok(Err(from.truth(unasked(&error)))),
        Ok(last) => {
            if let Some(failure) = last.and_then(|last| last.by_another(&wish.folder.run(), from.lock)) {
                return Ok(Err(Outcome::Refused { failure }));
            }
        }
    }
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
    let saved = rung.backup.as_ref().and_then(|backup| find(wish, backup));
    let whole = saved.clone().filter(|folder| folder.manifest().is_ok());
    if rung.dirty.is_none() {
        let fresh = rung.backup.as_ref().is_some_and(|backup| is_fresh(backup, Timestamp::now()));
        let Some(folder) = whole.filter(|_| fresh && same_work(&plan, &facts, wish)) else {
            return Ok(Ok(Taken::Nothing(Box::new(facts))));
        };
        // The pre-flight is judged anew: hours may have gone by.
        if let Err(outcome) = consider(&facts, wish, journal)? {
            return Ok(Err(outcome));
        }
        let steps = remaining(&plan, rung, None);
        let start = Start { folder, steps, from: rung.clone() };
        return Ok(Ok(Taken::Up(Box::new(Up { plan, before, start }))));
    }
    if let Some(failure) = exchanged(&facts, &before) {
        return Ok(Err(Outcome::Refused { failure }));
    }
    let needs = plan.steps.iter().any(|step| step.needs_proof() && !rung.is_done(&step.id));
    let (folder, anew) = match (whole, saved) {
        (Some(folder), _) => (folder, None),
        (None, Some(folder)) if !needs => (folder, None),
        (None, saved) => {
            (new_backup(wish, journal, Some((rung, saved)))?, Some(backup::steps(&facts, wish.cluster)))
        }
    };
    let from_here = not_taken_back(&plan, rung);
    let steps = remaining(&plan, &from_here, anew.as_deref());
    let start = Start { folder, steps, from: from_here };
    Ok(match lost_set(&start) {
        Some((step, failure)) => Err(Outcome::Failed { step: Some(step), state: from.left(), failure }),
        None => Ok(Taken::Up(Box::new(Up { plan, before, start }))),
    })
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

/// What is left of a plan. What is only for the time of the run is done around whatever is left; the backup is proven again before
/// anything is changed. `anew`: the steps of a new backup, in place of the plan's own.
pub(super) fn remaining(plan: &Plan, from: &Rung, anew: Option<&[Step]>) -> Vec<Step> {
    let open = |step: &Step| !from.is_done(&step.id);
    let any = plan.steps.iter().any(|step| open(step) && !is_around(step));
    let changes = plan.steps.iter().any(|step| open(step) && step.needs_proof());
    let left = |step: &&Step| match &step.action {
        Action::Hold(_) => any,
        Action::GiveBack(_) => any || open(step),
        _ if step.id.starts_with("backup/") && anew.is_some() => false,
        Action::Prove(_) => changes || open(step),
        _ => open(step),
    };
    let mut steps: Vec<Step> = plan.steps.iter().filter(left).cloned().collect();
    if let Some(anew) = anew.filter(|_| changes) {
        let at = steps.iter().position(|step| !matches!(step.action, Action::Hold(_))).unwrap_or(0);
        steps.splice(at..at, anew.iter().cloned());
    }
    steps
}

/// The rung with those of its done steps open again that giving back the truce takes back while something is left to do: a source that the
/// rung has resumed is suspended again, by the process that failed or by the host's own timer. Their probes tell whether it is so.
fn not_taken_back(plan: &Plan, from: &Rung) -> Rung {
    let mut rung = from.clone();
    if plan.steps.iter().any(|step| !from.is_done(&step.id) && !is_around(step)) {
        for step in plan.steps.iter().filter(|step| from.is_done(&step.id)) {
            if matches!(step.redo, Redo::Unless(Probe::SourceSuspended { .. })) {
                rung.steps.insert(step.id.clone(), Standing::Begun { ran: None });
            }
        }
    }
    rung
}

/// Whether a step is only for the time of the run, and so is done around whatever is left.
const fn is_around(step: &Step) -> bool {
    matches!(step.action, Action::Hold(_) | Action::GiveBack(_))
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{Fingerprint, Prove, Truce};
    use crate::version::Version;

    fn plan() -> Plan {
        let run = |id: &str, class| Step::new(id, id, class, Action::Run(Command::new("true")));
        let truce = Truce::default;
        Plan {
            schema: SCHEMA,
            cluster: "oak".into(),
            migration: "to-0.7".into(),
            from: Version::V0_6,
            to: Version::V0_7,
            apps: Vec::new(),
            steps: vec![
                Step::new("truce/hold", "", Class::Undoable, Action::Hold(truce())),
                run("backup/copy", Class::ReadOnly),
                Step::new("backup/prove", "", Class::ReadOnly, Action::Prove(Prove { volumes: vec![] })),
                run("to-0.7/switch", Class::Undoable),
                run("to-0.7/wait", Class::ReadOnly),
                Step::new("truce/give-back", "", Class::Undoable, Action::GiveBack(truce())),
            ],
            notes: Vec::new(),
            rest: Vec::new(),
            fingerprint: Fingerprint::new(),
        }
    }

    fn left(done: &[&str], anew: bool) -> Vec<String> {
        let steps = done.iter().map(|step| ((*step).to_owned(), Standing::Done)).collect();
        let rung = Rung { migration: "to-0.7".into(), steps, ..Rung::default() };
        let anew = anew.then(|| {
            ["backup/copy", "backup/prove"]
                .map(|id| Step::new(id, "anew", Class::ReadOnly, Action::Run(Command::new("true"))))
                .to_vec()
        });
        let name = |step: Step| if step.title == "anew" { format!("{} anew", step.id) } else { step.id };
        remaining(&plan(), &rung, anew.as_deref()).into_iter().map(name).collect()
    }

    #[test]
    fn a_source_that_was_suspended_again_meanwhile_is_looked_at_before_the_rung_goes_on() {
        let resumes = Redo::Unless(Probe::SourceSuspended { source: "s".into(), suspended: false });
        let mut plan = plan();
        let switch = plan.steps.iter().position(|step| step.id == "to-0.7/switch").unwrap();
        plan.steps[switch].redo = resumes;
        let done = |ids: &[&str]| Rung {
            migration: "to-0.7".into(),
            steps: ids.iter().map(|id| ((*id).to_owned(), Standing::Done)).collect(),
            ..Rung::default()
        };
        let half = not_taken_back(&plan, &done(&["truce/hold", "to-0.7/switch"]));
        assert!(!half.is_done("to-0.7/switch") && half.is_done("truce/hold"));
        let all: Vec<&str> = plan.steps.iter().map(|step| step.id.as_str()).collect();
        assert!(not_taken_back(&plan, &done(&all)).is_done("to-0.7/switch"), "nothing is left to do");
    }

    #[test]
    fn what_is_left_is_held_proven_and_given_back_around_and_nothing_else_is_done_twice() {
        let (hold, prove, back) = ("truce/hold", "backup/prove", "truce/give-back");
        let saved = [hold, "backup/copy", prove];
        assert_eq!(
            left(&saved[..1], false),
            [hold, "backup/copy", prove, "to-0.7/switch", "to-0.7/wait", back]
        );
        assert_eq!(left(&saved, false), [hold, prove, "to-0.7/switch", "to-0.7/wait", back]);
        let switched = [&saved[..], &["to-0.7/switch", back]].concat();
        assert_eq!(left(&switched, false), [hold, "to-0.7/wait", back], "what is left changes nothing");
        let waited = [&saved[..], &["to-0.7/switch", "to-0.7/wait"]].concat();
        assert_eq!(left(&waited, false), [back]);
        assert_eq!(left(&[&waited[..], &[back]].concat(), false), [""; 0]);
        assert_eq!(
            left(&saved, true),
            [hold, "backup/copy anew", "backup/prove anew", "to-0.7/switch", "to-0.7/wait", back]
        );
    }
}
