//! One cluster, step by step: from the facts to the outcome.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use jiff::Timestamp;

use crate::backup::{self, Folder, Proven};
use crate::checks;
use crate::event::{Failure, Judgement, Left, Level, Outcome, StepEnd, What, When};
use crate::facts::{self, Facts, Installed};
use crate::files::write_json;
use crate::form;
use crate::inventory::Cluster;
use crate::journal::Journal;
use crate::plan::{Action, Plan, Step};
use crate::planner::{self, Planned};
use crate::remote::{MOST_ASKED, Remote, RemoteError, printable};
use crate::state::{ClusterFolder, step_log};
use crate::version::Version;

pub mod copy;
pub mod job;
pub mod objects;
mod redo;
pub mod scribe;
mod truce;
pub mod wait;

use redo::Again;
pub use scribe::{Scribe, Trouble};

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
    /// Whether the operator asked to stop; looked at between steps.
    pub stop: &'a AtomicBool,
}

/// Takes one cluster to the target, rung by rung. The cluster's trouble is an [`Outcome`]; `Err` is this machine's own: the journal or
/// the run folder cannot be written.
pub async fn climb<R: Remote>(remote: &R, wish: Wish<'_>, journal: &mut Journal) -> std::io::Result<Outcome> {
    let mut before = match gather(remote, wish, When::Before, journal).await? {
        Ok(facts) => facts,
        Err(error) => return Ok(unasked(&error)),
    };
    let mut climbed = false;
    loop {
        if wish.stop.load(Ordering::Relaxed) {
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
        journal.record(What::planned(&plan))?;
        if let Err(outcome) = carry_out(remote, &plan, wish, &rung, journal).await? {
            return Ok(outcome);
        }
        let state = Left::Dirty { at: plan.steps.last().map_or_else(String::new, |step| step.id.clone()) };
        let after = match gather(remote, wish, When::After, journal).await? {
            Ok(facts) => facts,
            // The rung is done; whether it is well is not known.
            Err(error) => {
                let failure =
                    Failure::new(error.kind(), format!("the post-checks could not be made: {error}"));
                return Ok(Outcome::Failed { step: None, state, failure });
            }
        };
        write_json(&rung.join("after.json"), &after)?;
        let verdicts = checks::judge_all(Some(&before), &after, wish.acknowledged);
        journal.record(What::Judged { when: When::After, verdicts: verdicts.clone() })?;
        if let Some(failure) = blocked(&verdicts) {
            return Ok(Outcome::Failed { step: None, state, failure });
        }
        climbed = true;
        if plan.to >= wish.target {
            return Ok(Outcome::Done);
        }
        before = after;
    }
}

/// Judges the checks and plans the next rung; `Err` is the outcome when there is none.
fn consider(
    facts: &Facts,
    wish: Wish<'_>,
    journal: &mut Journal,
) -> std::io::Result<Result<Box<Plan>, Outcome>> {
    let verdicts = checks::judge_all(None, facts, wish.acknowledged);
    journal.record(What::Judged { when: When::Before, verdicts: verdicts.clone() })?;
    Ok(match planner::plan(facts, wish.cluster, wish.target) {
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
        Ok(facts) => facts,
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

/// The outcome when a cluster could not even be asked: nothing was changed.
#[must_use]
pub fn unasked(error: &RemoteError) -> Outcome {
    let failure = Failure::new(error.kind(), error.to_string());
    match error {
        RemoteError::HostKey(_) => {
            Outcome::Refused { failure: failure.read("docs/ssh.md#is-it-the-right-host") }
        }
        _ => Outcome::Unreachable { failure: failure.read("docs/ssh.md#errors-and-what-to-do") },
    }
}

/// Why the pre-flight forbids the upgrade: a block, or a warning that nobody acknowledged.
#[must_use]
pub fn held_back(verdicts: &[Judgement]) -> Option<Failure> {
    blocked(verdicts).or_else(|| {
        let open: Vec<&str> = verdicts
            .iter()
            .filter(|verdict| verdict.level == Level::Warn && !verdict.acknowledged)
            .map(|verdict| verdict.check.as_str())
            .collect();
        let first = verdicts.iter().find(|verdict| Some(&verdict.check.as_str()) == open.first())?;
        let acks: Vec<String> = open.iter().map(|id| format!("--ack {id}")).collect();
        let message = format!(
            "warnings that nobody acknowledged: {} ({}). If that is as it should be, add {}",
            open.join(", "),
            first.said,
            acks.join(" ")
        );
        Some(Failure::new("warnings", message).read(format!("docs/checks.md#{}", first.check)))
    })
}

/// Why a cluster at the target is not as an upgrade must leave it. What only an upgrade needs (room, tools, the hour) does not count.
fn unwell(verdicts: &[Judgement]) -> Option<Failure> {
    let of_state = |id: &str| checks::find(id).is_some_and(|check| check.when == checks::When::Always);
    let state: Vec<Judgement> = verdicts.iter().filter(|verdict| of_state(&verdict.check)).cloned().collect();
    blocked(&state)
}

fn blocked(verdicts: &[Judgement]) -> Option<Failure> {
    let blocks: Vec<&Judgement> = verdicts.iter().filter(|verdict| verdict.level == Level::Block).collect();
    let first = blocks.first()?;
    let others: Vec<&str> = blocks.iter().skip(1).map(|verdict| verdict.check.as_str()).collect();
    let also = if others.is_empty() { String::new() } else { format!("; also {}", others.join(", ")) };
    let message = format!("check {} blocks: {}{also}", first.check, first.said);
    Some(
        Failure::new(format!("check-{}", first.check), message)
            .read(format!("docs/checks.md#{}", first.check)),
    )
}

/// Carries out the steps of a plan in order; the first that does not come to its end stops the cluster.
pub async fn carry_out<R: Remote>(
    remote: &R,
    plan: &Plan,
    wish: Wish<'_>,
    rung: &Path,
    journal: &mut Journal,
) -> std::io::Result<Result<(), Outcome>> {
    if let Some(step) = plan.changes_before_proof() {
        // Never true of a plan that the planner made; a stored one may have been edited.
        let message = format!("the plan would change the cluster in {} before its backup is proven", step.id);
        return Ok(Err(Outcome::Refused { failure: Failure::new("plan-out-of-order", message) }));
    }
    let mut ground = Ground {
        folder: Folder::create(wish.backups, &wish.cluster.name, &form::id(Timestamp::now()))?,
        proven: None,
        run: wish.folder.run(),
        spool: wish.cluster.paths.spool.clone(),
        reconnect: wish.cluster.host.reconnect,
        held: false,
    };
    let mut left = Left::Clean;
    let mut ended = Ok(());
    for step in &plan.steps {
        // Half a migration is no safe point: once it has begun, the rung is finished.
        if left == Left::Clean && wish.stop.load(Ordering::Relaxed) {
            ended = Err(Outcome::Interrupted { state: left.clone() });
            break;
        }
        if step.needs_proof() {
            left = Left::Dirty { at: step.id.clone() };
        }
        // Tried is as good as done here: a hold that failed in its middle has held something.
        ground.held |= matches!(step.action, Action::Hold(_));
        ended = ground.do_step(remote, step, rung, &left, journal).await?;
        if ended.is_err() {
            break;
        }
        ground.held &= !matches!(step.action, Action::GiveBack(_));
    }
    // Whatever came in between: what is only for the time of the run is given back, or its own end says that it was not.
    if ground.held
        && let Some(step) = plan.steps.iter().find(|step| matches!(step.action, Action::GiveBack(_)))
    {
        let given_back = ground.do_step(remote, step, rung, &left, journal).await?;
        ended = match (ended, given_back) {
            // Who stopped the run must know that something is still held; another trouble came first.
            (Err(Outcome::Interrupted { .. }), Err(held)) => Err(held),
            (ended, given_back) => ended.and(given_back),
        };
    }
    Ok(ended)
}

/// What the steps of one rung stand on: the backup's folder, and its proof once there is one.
struct Ground {
    folder: Folder,
    proven: Option<Proven>,
    /// The run's id, by which a job on the host is found again.
    run: String,
    /// The spool folder on the host.
    spool: String,
    /// How long making a lost line again may take, besides what the steps themselves may.
    reconnect: Duration,
    /// Whether what the cluster does by itself is held, or was tried to be.
    held: bool,
}

impl Ground {
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
        // A copy waits for its turn here, not with k3s stopped; and waiting is no part of its time.
        let _turn = match step.action {
            Action::Backup(_) => Some(remote.turn().await),
            _ => None,
        };
        self.settle(remote, step, scribe).await
    }

    /// Does it, and again as its rule allows where the line was lost in its middle.
    async fn settle<R: Remote>(
        &mut self,
        remote: &R,
        step: &Step,
        scribe: &mut Scribe<'_>,
    ) -> Result<(), Trouble> {
        let mut cut: Option<Failure> = None;
        let mut attempts = 0;
        loop {
            attempts += 1;
            match (self.attempt(remote, step, scribe).await, cut.take()) {
                (Err(trouble), _) if trouble.is_cut() && attempts < MOST_ASKED => {
                    let again = redo::may_repeat(remote, step, scribe).await;
                    let (Trouble::Failed(failure) | Trouble::InDoubt(failure)) = trouble;
                    match again {
                        Again::Yes => {
                            scribe.note(format!("done again, as this step may be: {}", failure.message))?;
                            cut = Some(failure);
                        }
                        Again::IsDone(what) => {
                            return scribe
                                .note(format!("{}; it was done all the same: {what}", failure.message));
                        }
                        Again::No => return Err(Trouble::InDoubt(failure)),
                    }
                }
                // Nobody could look whether the attempt before, which was cut, has done it.
                (Err(Trouble::Failed(failure)), Some(before))
                    if step.class.changes() && redo::was_not_run(&failure) =>
                {
                    let said = format!("{}; then {}", before.message, failure.message);
                    return Err(Trouble::InDoubt(Failure::new(before.cause, said).read(before.read)));
                }
                // What changes nothing cannot be half done: a cut line leaves no doubt there.
                (Err(Trouble::InDoubt(failure)), _) if !step.class.changes() => {
                    return Err(Trouble::Failed(failure.read("docs/operating.md#when-a-cluster-fails")));
                }
                (ended, _) => return ended,
            }
        }
    }

    /// One attempt at a step, within its time.
    async fn attempt<R: Remote>(
        &mut self,
        remote: &R,
        step: &Step,
        scribe: &mut Scribe<'_>,
    ) -> Result<(), Trouble> {
        // What is inside has its own, earlier ends; this one is for what nobody thought of. A copy is never to be dropped while k3s is
        // stopped, so its own end has time to start k3s again.
        let rest =
            if matches!(step.action, Action::Backup(_)) { copy::WAKING } else { Duration::from_secs(60) };
        let limit = step.deadline.saturating_add(rest).saturating_add(self.reconnect);
        match tokio::time::timeout(limit, self.verb(remote, step, scribe)).await {
            Ok(result) => result,
            Err(_) if step.class.changes() => Err(Trouble::InDoubt(overdue(step))),
            Err(_) => Err(Trouble::Failed(overdue(step))),
        }
    }

    async fn verb<R: Remote>(
        &mut self,
        remote: &R,
        step: &Step,
        scribe: &mut Scribe<'_>,
    ) -> Result<(), Trouble> {
        match &step.action {
            Action::Run(command) => scribe.demand(remote, command).await.map(drop),
            Action::Job(command) => {
                let place = job::Place { run: &self.run, cluster: self.folder.cluster(), spool: &self.spool };
                job::carry(remote, step, command, place, scribe).await
            }
            Action::Hold(what) => truce::hold(remote, what, &self.spool, scribe).await,
            Action::GiveBack(what) => truce::give_back(remote, what, &self.spool, scribe).await,
            Action::Objects(what) => objects::carry(remote, what, &self.folder, scribe).await,
            Action::Backup(what) => copy::copy(remote, what, &self.folder, step.deadline, scribe).await,
            Action::WaitUntil { probe, remedies } => {
                wait::until(remote, probe, remedies, step.deadline, scribe).await
            }
            Action::Prove(what) => {
                let (folder, what) = (self.folder.clone(), what.clone());
                let proven = tokio::task::spawn_blocking(move || backup::prove(&folder, &what))
                    .await
                    .map_err(|error| Trouble::Failed(Failure::new("proof-died", error.to_string())))?
                    .map_err(Trouble::Failed)?;
                scribe.record(What::Proven {
                    backup: proven.id.clone(),
                    folder: self.folder.path().display().to_string(),
                    files: proven.files,
                    bytes: proven.bytes,
                })?;
                self.proven = Some(proven);
                Ok(())
            }
        }
    }
}

fn overdue(step: &Step) -> Failure {
    Failure::new("deadline", format!("{} did not end within {} s", step.id, step.deadline.as_secs()))
        .read("docs/operating.md#in-doubt")
}
