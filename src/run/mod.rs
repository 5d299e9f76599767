//! One cluster, step by step: from the facts to the outcome.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::backup::{Folder, Proven};
use crate::checks;
use crate::event::{Failure, Left, Outcome, StepEnd, What, When};
use crate::facts::{self, Facts, Installed, Known};
use crate::files::write_json;
use crate::inventory::Cluster;
use crate::journal::Journal;
use crate::plan::{Action, Plan, Step};
use crate::planner::{self, Planned};
use crate::remote::{Remote, RemoteError, printable};
use crate::state::{ClusterFolder, step_log};
use crate::version::Version;

mod again;
pub mod ask;
mod changed;
pub mod claim;
pub mod cleanup;
pub mod copy;
pub mod disown;
pub mod fenced;
pub mod job;
mod keep;
pub mod local;
pub mod namespaces;
pub mod nextcloud;
pub mod objects;
mod onward;
pub mod position;
mod prove;
mod put_back;
mod reconcile;
mod redo;
mod remaining;
mod restore;
mod resume;
mod saved;
pub mod scribe;
pub mod stop;
mod truce;
mod turn;
pub mod vars;
mod verdicts;
pub mod wait;
pub mod window;

pub use fenced::Fenced;
pub use keep::done;
pub use position::Position;
pub use put_back::put_back;
pub use redo::ASK;
pub use resume::Start;
use resume::Taken;
pub use scribe::{Scribe, Trouble};
use verdicts::{blocked, out_of_order};
pub use verdicts::{held_back, unasked, unwell};

/// What the operator wants of one cluster, and where things are kept.
#[derive(Debug, Clone, Copy)]
pub struct Wish<'a> {
    /// The cluster.
    pub cluster: &'a Cluster,
    /// The version to reach.
    pub target: Version,
    /// Ids of the warnings that the operator has acknowledged.
    pub acknowledged: &'a [String],
    /// The cluster's folder in the run.
    pub folder: &'a ClusterFolder,
    /// The root of all backups.
    pub backups: &'a Path,
    /// The host key that the host showed.
    pub host_key: &'a str,
    /// The plan that was made before and is to be carried out as it stands; otherwise it is planned now.
    pub plan: Option<&'a Plan>,
    /// Whether the operator asked to stop; looked at between steps.
    pub stop: &'a AtomicBool,
}

/// Takes one cluster to the target, rung by rung, from where its journal ends. The cluster's trouble is an [`Outcome`]; `Err` is this
/// machine's own: the journal or the run folder cannot be written.
pub async fn climb<R: Remote>(
    remote: &R,
    wish: Wish<'_>,
    from: &Position,
    journal: &mut Journal,
) -> std::io::Result<Outcome> {
    let mut climbed = from.climbed;
    let mut before = match resume::take_up(remote, wish, from, journal).await? {
        Err(outcome) => return Ok(outcome),
        Ok(Taken::Nothing(facts)) => *facts,
        Ok(Taken::Up(up)) => match finish(remote, wish, &up.plan, &up.before, up.start, journal).await? {
            Err(outcome) => return Ok(outcome),
            Ok(_) if up.plan.to >= wish.target => return Ok(Outcome::Done),
            Ok(after) => {
                climbed = true;
                after
            }
        },
    };
    loop {
        if wish.stop.load(Ordering::Relaxed) || journal.is_short() {
            return Ok(Outcome::Interrupted { state: Left::Clean });
        }
        let plan = match consider(&before, wish, journal)? {
            Ok(plan) => plan,
            Err(Outcome::NothingToDo) if climbed => return Ok(Outcome::Done),
            Err(outcome) => return Ok(outcome),
        };
        let rung = wish.folder.rung(&plan.migration)?;
        write_json(&rung.join("before.json"), &before)?;
        write_json(&rung.join("plan.json"), &*plan)?;
        if let Err(outcome) = keep::rung(remote, wish, &rung, journal).await? {
            return Ok(outcome);
        }
        journal.record(What::planned(&plan))?;
        let start = Start::anew(wish, &plan, journal)?;
        let after = match finish(remote, wish, &plan, &before, start, journal).await? {
            Ok(after) => after,
            Err(outcome) => return Ok(outcome),
        };
        if plan.to >= wish.target {
            return Ok(Outcome::Done);
        }
        (climbed, before) = (true, after);
    }
}

/// Carries out the steps of a rung and judges the cluster after them; the facts that the next rung begins with.
async fn finish<R: Remote>(
    remote: &R,
    wish: Wish<'_>,
    plan: &Plan,
    before: &Facts,
    start: Start,
    journal: &mut Journal,
) -> std::io::Result<Result<Facts, Outcome>> {
    if let Err(outcome) = carry_out(remote, plan, wish, start, journal).await? {
        return Ok(Err(outcome));
    }
    let state = Left::Dirty { at: plan.steps.last().map_or_else(String::new, |step| step.id.clone()) };
    let after = match gather(remote, wish, When::After, journal).await? {
        Ok(facts) => facts,
        // The rung is done; whether it is well is not known.
        Err(error) => {
            let failure = Failure::new(error.kind(), format!("the post-checks could not be made: {error}"));
            return Ok(Err(Outcome::Failed { step: None, state, failure }));
        }
    };
    write_json(&wish.folder.rung(&plan.migration)?.join("after.json"), &after)?;
    let verdicts = checks::judge_all(Some(before), &after, wish.acknowledged);
    journal.record(What::Judged { when: When::After, verdicts: verdicts.clone() })?;
    Ok(match blocked(&verdicts) {
        Some(failure) => Err(Outcome::Failed { step: None, state, failure }),
        None => Ok(after),
    })
}

/// Judges the checks and plans the next rung; `Err` is the outcome when there is none.
fn consider(
    facts: &Facts,
    wish: Wish<'_>,
    journal: &mut Journal,
) -> std::io::Result<Result<Box<Plan>, Outcome>> {
    let verdicts = checks::judge_all(None, facts, wish.acknowledged);
    journal.record(What::Judged { when: When::Before, verdicts: verdicts.clone() })?;
    let now = planner::plan(facts, wish.cluster, wish.target);
    let planned = match wish.plan {
        Some(stored) => planner::hold_to(stored, now, facts, wish.cluster),
        None => now,
    };
    Ok(match planner::agreed(planned, wish.acknowledged) {
        Planned::NothingToDo(_) => Err(match unwell(&verdicts) {
            // At the target, but not well: perhaps an earlier run did not come to its end.
            Some(failure) => Outcome::Failed { step: None, state: Left::Clean, failure },
            None => Outcome::NothingToDo,
        }),
        Planned::Refusal(failure) => Err(Outcome::Refused { failure }),
        Planned::Plan(plan) => match held_back(&verdicts) {
            Some(failure) => Err(Outcome::Refused { failure }),
            None => Ok(plan),
        },
    })
}

/// Gathers facts and says so in the journal.
async fn gather<R: Remote>(
    remote: &R,
    wish: Wish<'_>,
    when: When,
    journal: &mut Journal,
) -> std::io::Result<Result<Facts, RemoteError>> {
    let gathered = facts::gather(remote, wish.cluster, wish.backups).await;
    for news in remote.news() {
        journal.record(What::Noted { step: "facts".to_owned(), text: printable(&news) })?;
    }
    let facts = match gathered {
        Ok(facts) => Facts { host_key: Known::Is(wish.host_key.to_owned()), ..facts },
        Err(error) => return Ok(Err(error)),
    };
    let version = match facts.installed() {
        Installed::Version(version) => version.to_string(),
        Installed::Mixed(_) => "mixed".to_owned(),
        Installed::Development(branch) => format!("development ({})", printable(&branch)),
        Installed::Unknown(_) => "unknown".to_owned(),
    };
    journal.record(What::Gathered { when, version, apps: facts.apps() })?;
    Ok(Ok(facts))
}

/// Carries out the steps of a plan in order, from where it is to be begun; the first that does not come to its end stops the cluster.
pub async fn carry_out<R: Remote>(
    remote: &R,
    plan: &Plan,
    wish: Wish<'_>,
    start: Start,
    journal: &mut Journal,
) -> std::io::Result<Result<(), Outcome>> {
    if let Some(failure) = out_of_order(plan) {
        return Ok(Err(Outcome::Refused { failure }));
    }
    let Start { folder, steps, from } = start;
    let rung = wish.folder.rung(&plan.migration)?;
    let mut ground = Ground {
        folder,
        proven: None,
        cluster: wish.cluster.name.clone(),
        run: wish.folder.run(),
        spool: wish.cluster.paths.spool.clone(),
        reconnect: wish.cluster.host.reconnect,
        held: false,
        scripts: local::Place::of(wish),
    };
    let mut left = from.dirty.clone().map_or(Left::Clean, |at| Left::Dirty { at });
    let mut ended = Ok(());
    for step in &steps {
        // Half a migration is no safe point: once it has begun, the rung is finished.
        if left == Left::Clean && (wish.stop.load(Ordering::Relaxed) || journal.is_short()) {
            ended = Err(Outcome::Interrupted { state: left.clone() });
            break;
        }
        if let Action::Ask(what) = &step.action {
            ended = Err(ask::stop(plan, step, what, left.clone(), &ground.folder, journal)?);
            break;
        }
        // Not with k3s stopped, and no part of the step's time.
        let Some(_turn) = turn::wait(remote, step, wish.stop, journal).await? else {
            ended = Err(Outcome::Interrupted { state: left.clone() });
            break;
        };
        if step.needs_proof() {
            left = Left::Dirty { at: step.id.clone() };
            remote.changes();
        }
        // Tried is as good as done here: a hold that failed in its middle has held something.
        ground.held |= matches!(step.action, Action::Hold(_));
        ended = match from.standing(&step.id) {
            Some(standing) => ground.go_on(remote, step, standing, &rung, &left, journal).await?,
            None => ground.do_step(remote, step, &rung, &left, journal).await?,
        };
        if ended.is_err() {
            break;
        }
        ground.held &= !matches!(step.action, Action::GiveBack(_));
    }
    // Whatever came in between: what is only for the time of the run is given back, or its own end says that it was not.
    if ground.held
        && let Some(step) = plan.steps.iter().find(|step| matches!(step.action, Action::GiveBack(_)))
    {
        let given_back = ground.do_step(remote, step, &rung, &left, journal).await?;
        ended = match (ended, given_back) {
            // Who stopped the run must know that something is still held; another trouble came first.
            (Err(Outcome::Interrupted { .. } | Outcome::Asked { .. }), Err(held)) => Err(held),
            (ended, given_back) => ended.and(given_back),
        };
    }
    Ok(ended)
}

/// What the steps of one rung stand on: the backup's folder, and its proof once there is one.
struct Ground {
    folder: Folder,
    proven: Option<Proven>,
    cluster: String,
    /// The run's id, by which a job on the host is found again.
    run: String,
    spool: String,
    /// How long making a lost line again may take, besides what the steps themselves may.
    reconnect: Duration,
    /// Whether what the cluster does by itself is held, or was tried to be.
    held: bool,
    /// What upstream's scripts stand on.
    scripts: local::Place,
}

impl Ground {
    fn place(&self) -> job::Place<'_> {
        job::Place { run: &self.run, cluster: &self.cluster, spool: &self.spool }
    }

    /// Does one step, and writes down that it is begun and how it ended. `Err` is the outcome of the cluster.
    async fn do_step<R: Remote>(
        &mut self,
        remote: &R,
        step: &Step,
        rung: &Path,
        left: &Left,
        journal: &mut Journal,
    ) -> std::io::Result<Result<(), Outcome>> {
        journal.record(What::StepStarted {
            step: step.id.clone(),
            title: step.title.clone(),
            class: step.class,
            expected_seconds: step.expected.as_secs(),
        })?;
        let began = Instant::now();
        let log = rung.join(step_log(&step.id));
        let done = {
            let mut scribe = Scribe::new(journal, &step.id, &log)?;
            match self.keep(remote, step, &mut scribe).await {
                Ok(()) => self.act(remote, step, &mut scribe).await,
                over => over,
            }
        };
        let took_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        let (end, outcome) = match done {
            Ok(()) => (StepEnd::Done, Ok(())),
            Err(Trouble::Failed(failure)) => {
                let (step, state) = (Some(step.id.clone()), left.clone());
                (StepEnd::Failed(failure.clone()), Err(Outcome::Failed { step, state, failure }))
            }
            Err(Trouble::InDoubt(failure)) => {
                let step = step.id.clone();
                (StepEnd::InDoubt(failure.clone()), Err(Outcome::InDoubt { step, failure }))
            }
        };
        journal.record(What::StepEnded { step: step.id.clone(), end, took_ms })?;
        Ok(outcome)
    }

    /// Tells the host that the run lives, where it waits for that.
    async fn keep<R: Remote>(&self, remote: &R, step: &Step, scribe: &mut Scribe<'_>) -> Result<(), Trouble> {
        if !self.held || matches!(step.action, Action::Hold(_) | Action::GiveBack(_)) {
            return Ok(());
        }
        truce::keep(remote, &self.spool, step.deadline, scribe).await
    }

    /// Does one step. A step that changes the cluster needs the proof, the copy alone excepted (promise M8).
    async fn act<R: Remote>(
        &mut self,
        remote: &R,
        step: &Step,
        scribe: &mut Scribe<'_>,
    ) -> Result<(), Trouble> {
        if step.needs_proof() && self.proven.is_none() {
            let failure = Failure::new("backup-not-proven", format!("{} needs a proven backup", step.id));
            return Err(Trouble::Failed(failure));
        }
        self.settle(remote, step, scribe).await
    }

    async fn verb<R: Remote>(
        &mut self,
        remote: &R,
        step: &Step,
        scribe: &mut Scribe<'_>,
    ) -> Result<(), Trouble> {
        match &step.action {
            Action::Run(command) => scribe.demand(remote, command).await.map(drop),
            Action::Job(command) => job::carry(remote, step, command, self.place(), scribe).await,
            Action::Hold(what) => truce::hold(remote, what, &self.spool, scribe).await,
            Action::GiveBack(what) => truce::give_back(remote, what, &self.spool, scribe).await,
            Action::Objects(what) => objects::carry(remote, what, &self.folder, self.place(), scribe).await,
            Action::Backup(what) => copy::copy(remote, what, &self.folder, step.deadline, scribe).await,
            Action::Restore(what) => {
                restore::carry(remote, what, &self.folder, step, self.place(), scribe).await
            }
            Action::WaitUntil { probe, remedies } => {
                wait::until(remote, probe, remedies, step.deadline, scribe).await
            }
            Action::MoveClaim(what) => claim::carry(remote, what, step.deadline, scribe).await,
            Action::Disown(what) => disown::carry(remote, what, step.deadline, scribe).await,
            Action::RemoveNamespaces(what) => namespaces::carry(remote, what, step.deadline, scribe).await,
            Action::RemoveClaims(what) => claim::remove::carry(remote, what, step.deadline, scribe).await,
            Action::Stop(what) => stop::carry(remote, what, step.deadline, scribe).await,
            Action::Prove(what) => {
                self.proven = Some(prove::carry(&self.folder, what, scribe).await?);
                Ok(())
            }
            Action::Local(script) => again::carry(remote, step, script, &self.scripts, scribe).await,
            Action::Ask(_) => Err(Trouble::Failed(Failure::new(ask::ASKED, "only a person can do this"))),
        }
    }
}
