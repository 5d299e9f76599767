//! A step whose line was lost in its middle: what its rule says about doing it again.

use std::path::Path;
use std::time::{Duration, Instant};

use super::position::{Ran, Standing};
use super::{Ground, Scribe, Trouble, copy, job, local, wait};
use crate::event::{Failure, Left, Outcome, StepEnd, What};
use crate::journal::Journal;
use crate::plan::{Action, Probe, Redo, Step};
use crate::probes::Progress;
use crate::remote::{Exit, MOST_ASKED, Remote};
use crate::state::step_log;

/// Whether a step may be done again whose line was lost in its middle.
pub(super) enum Again {
    /// Its rule says so.
    Yes,
    /// It need not: a probe says so.
    IsDone(String),
    /// Its rule would say, and the cluster cannot be asked just now.
    Unasked,
    /// Nobody but a person may say.
    No,
}

impl Ground {
    /// Does it, and again as its rule allows where the line was lost in its middle.
    pub(super) async fn settle<R: Remote>(
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
                    let again = may_repeat(remote, step, scribe).await;
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
                        Again::Unasked | Again::No => return Err(Trouble::InDoubt(failure)),
                    }
                }
                // Nobody could look whether the attempt before, which was cut, has done it.
                (Err(Trouble::Failed(failure)), Some(before))
                    if step.class.changes() && was_not_run(&failure) =>
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
}

fn overdue(step: &Step) -> Failure {
    Failure::new("deadline", format!("{} did not end within {} s", step.id, step.deadline.as_secs()))
        .read("docs/operating.md#in-doubt")
}

/// What is to be done with a step that an earlier process began.
enum Begin {
    /// Do it.
    Do,
    /// It is done already; why.
    IsDone(String),
    /// A person must say.
    Ask(Failure),
}

impl Ground {
    /// Takes a step up that an earlier process began: as its rule says, by asking the host, and never by guessing.
    pub(super) async fn go_on<R: Remote>(
        &mut self,
        remote: &R,
        step: &Step,
        standing: &Standing,
        rung: &Path,
        left: &Left,
        journal: &mut Journal,
    ) -> std::io::Result<Result<(), Outcome>> {
        let began = Instant::now();
        let first = {
            let mut scribe = Scribe::new(journal, &step.id, &rung.join(step_log(&step.id)))?;
            self.judge(remote, step, standing, &mut scribe).await
        };
        let took_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        let id = step.id.clone();
        let (whats, outcome) = match first {
            Begin::Do => return self.do_step(remote, step, rung, left, journal).await,
            Begin::IsDone(what) => {
                let text =
                    crate::remote::printable(&format!("it was done before the run was cut off: {what}"));
                ([What::Noted { step: id.clone(), text }, ended(id, StepEnd::Done, took_ms)], Ok(()))
            }
            Begin::Ask(failure) => {
                let text = "nobody knows whether it was done, and it is not done again unasked".to_owned();
                let end = ended(id.clone(), StepEnd::InDoubt(failure.clone()), took_ms);
                let outcome = Outcome::InDoubt { step: id.clone(), failure };
                ([What::Noted { step: id, text }, end], Err(outcome))
            }
        };
        journal.record_all(whats)?;
        Ok(outcome)
    }

    /// What a step's rule says of one that was begun.
    async fn judge<R: Remote>(
        &self,
        remote: &R,
        step: &Step,
        standing: &Standing,
        scribe: &mut Scribe<'_>,
    ) -> Begin {
        if matches!(step.action, Action::Local(_))
            && let Some(failure) = local::still_runs(step, &self.scripts)
        {
            return Begin::Ask(failure);
        }
        // The copy goes into a new folder, or begins with a new plan; what is held is held again.
        if !step.needs_proof() {
            return Begin::Do;
        }
        let (why, was_job) = match standing {
            Standing::Done => return Begin::Do,
            Standing::Again => {
                if let Action::Job(command) = &step.action {
                    job::forget(remote, step, command, self.place(), scribe).await;
                }
                return Begin::Do;
            }
            Standing::Failed(failure) if not_run_at_all(failure) => return Begin::Do,
            Standing::Failed(failure) => (format!("it failed ({})", failure.message), false),
            Standing::Begun { ran: Some(ran) } if is_own(step, ran) => {
                if ran.exit == Exit::Code(0).to_string() {
                    return Begin::IsDone("its command had ended with exit status 0".to_owned());
                }
                (
                    format!("its command ended with {}", ran.exit),
                    is_job(step) && !ran.exit.starts_with("exit status"),
                )
            }
            Standing::Begun { .. } => ("its end was not written down".to_owned(), is_job(step)),
            Standing::InDoubt(failure) => (failure.message.clone(), is_job(step)),
        };
        // The host's own record settles it, or says that it cannot.
        if was_job {
            return Begin::Do;
        }
        if let Redo::Unless(_) = step.redo
            && let Err(Trouble::Failed(failure) | Trouble::InDoubt(failure)) =
                wait::until(remote, &Probe::ClusterReady, &[], ANSWERS_WITHIN, scribe).await
        {
            let said = format!("{why}, and the cluster cannot be asked: {}", failure.message);
            return Begin::Ask(Failure::new(failure.cause, said).read("docs/operating.md#in-doubt"));
        }
        match may_repeat(remote, step, scribe).await {
            Again::Yes => match scribe.note(format!("done again, as this step may be: {why}")) {
                Ok(()) => Begin::Do,
                Err(Trouble::Failed(failure) | Trouble::InDoubt(failure)) => Begin::Ask(failure),
            },
            Again::IsDone(what) => Begin::IsDone(what),
            Again::Unasked => Begin::Ask(said_before(standing, UNASKED).unwrap_or_else(|| {
                let said = format!("{why}, and the cluster cannot be asked whether it was done");
                Failure::new(UNASKED, said).read("docs/operating.md#in-doubt")
            })),
            Again::No => Begin::Ask(said_before(standing, ASK).unwrap_or_else(|| {
                let (run, cluster, id) = (&self.run, self.folder.cluster(), &step.id);
                let said = format!(
                    "{why}. Only a person can tell whether it was done: look at the cluster, then type \
                     fleet resume {run} --settle {cluster}:{id}=done, or =again"
                );
                Failure::new(ASK, said).read("docs/resume.md#settling")
            })),
        }
    }
}

/// The cause of a step that a person must settle.
pub const ASK: &str = "ask-a-person";

/// The cause of a step in doubt whose cluster could not be asked just now: the next resume asks again.
const UNASKED: &str = "cannot-be-asked";

/// What a resume before has said of the step, where nothing has changed since: it is said once.
fn said_before(standing: &Standing, cause: &str) -> Option<Failure> {
    match standing {
        Standing::InDoubt(before) if before.cause == cause => Some(before.clone()),
        _ => None,
    }
}

/// How long a cluster may take to answer whether a step was done.
const ANSWERS_WITHIN: Duration = Duration::from_secs(20 * 60);

const fn is_job(step: &Step) -> bool {
    matches!(step.action, Action::Job(_))
}

/// Whether a command that ended is the one that the whole step is. Beside it others are run: one before each step keeps the truce alive.
fn is_own(step: &Step, ran: &Ran) -> bool {
    match &step.action {
        Action::Job(command) => ran.line == command.line(),
        Action::Local(script) => ran.line == script.to_string(),
        _ => false,
    }
}

fn ended(step: String, end: StepEnd, took_ms: u64) -> What {
    What::StepEnded { step, end, took_ms }
}

/// Whether a failure says that nothing at all was sent for this step.
fn not_run_at_all(failure: &Failure) -> bool {
    let own =
        ["backup-not-proven", "job-with-a-secret", "job-not-started", "job-of-another", local::NOT_STARTED];
    own.contains(&failure.cause.as_str()) || (was_not_run(failure) && failure.cause != "this-machine")
}

/// Asks the step's rule, and the host where the rule says so. A copy has made its own end: it is not one of one moment any more.
pub(super) async fn may_repeat<R: Remote>(remote: &R, step: &Step, scribe: &mut Scribe<'_>) -> Again {
    match &step.redo {
        _ if matches!(step.action, Action::Backup(_)) => Again::No,
        _ if !step.class.changes() => Again::Yes,
        Redo::Never => Again::No,
        Redo::Repeatable => Again::Yes,
        Redo::Unless(probe) => match wait::look(remote, probe, scribe).await {
            Ok(Progress::Reached(what)) => Again::IsDone(what),
            // An API that is away has not said no.
            Ok(Progress::NotYet(stuck)) if stuck.iter().any(|stuck| stuck.kind == "API") => Again::Unasked,
            Ok(Progress::NotYet(_) | Progress::Never(_)) => Again::Yes,
            Err(_) => Again::Unasked,
        },
    }
}

/// Whether the command was not run, because the host could not be asked.
pub(super) fn was_not_run(failure: &Failure) -> bool {
    matches!(
        failure.cause.as_str(),
        "unreachable"
            | "host-key"
            | "authentication"
            | "refused-by-host"
            | "lock-lost"
            | "spool-full"
            | "this-machine"
    )
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::io::Write;
    use std::path::PathBuf;
    use std::sync::Mutex;

    use tokio::io::AsyncWrite;

    use super::*;
    use crate::backup::Folder;
    use crate::journal::Journal;
    use crate::plan::{Class, Probe};
    use crate::remote::{Command, Exit, Output, RemoteError};

    /// A host that gives these answers and then no more.
    struct Script(Mutex<VecDeque<Result<Output, RemoteError>>>);

    impl Remote for Script {
        async fn run(&self, _: &Command, _: &mut (dyn Write + Send)) -> Result<Output, RemoteError> {
            self.0.lock().unwrap().pop_front().expect("one command too many")
        }

        async fn stream(
            &self,
            command: &Command,
            _: &mut (dyn AsyncWrite + Unpin + Send),
        ) -> Result<Output, RemoteError> {
            panic!("streams nothing: {}", command.line())
        }
    }

    #[expect(clippy::unnecessary_wraps, reason = "one of the answers in a row of them")]
    fn says(text: &str) -> Result<Output, RemoteError> {
        Ok(Output { exit: Exit::Code(0), stdout: text.into(), stderr: Vec::new(), dropped: 0 })
    }

    #[expect(clippy::unnecessary_wraps, reason = "one of the answers in a row of them")]
    fn fails() -> Result<Output, RemoteError> {
        Ok(Output { exit: Exit::Code(1), stdout: Vec::new(), stderr: Vec::new(), dropped: 0 })
    }

    fn cut() -> Result<Output, RemoteError> {
        Err(RemoteError::Lost("cut".into()))
    }

    fn away() -> Result<Output, RemoteError> {
        Err(RemoteError::Unreachable { address: "oak".into(), why: "gone".into() })
    }

    const HAS_CHART: &str = r#"{"kind":"List","items":[{"apiVersion":"helm.toolkit.fluxcd.io/v2beta1","kind":"HelmRelease","metadata":{"name":"oas-secrets","namespace":"oas"}}]}"#;
    const HAS_SOURCE: &str = r#"{"kind":"List","items":[{"apiVersion":"source.toolkit.fluxcd.io/v1beta1","kind":"GitRepository","metadata":{"name":"stackspin","namespace":"flux-system"},"spec":{"ref":{"branch":"v0.8"}}}]}"#;
    const HAS_NONE: &str = r#"{"kind":"List","items":[]}"#;

    /// How a step of this class and rule ends on a host that gives these answers; all of them must be asked for.
    async fn ended(class: Class, redo: Redo, answers: Vec<Result<Output, RemoteError>>) -> String {
        let folder = tempfile::tempdir().unwrap();
        let mut journal = Journal::create(&folder.path().join("journal.ndjson"), "oak", None).unwrap();
        let mut scribe = Scribe::new(&mut journal, "to-0.7/step", &folder.path().join("log")).unwrap();
        let folder = Folder::create(&folder.path().join("backups"), "oak", "1").unwrap();
        let mut ground = Ground {
            folder,
            cluster: "oak".into(),
            proven: None,
            run: String::new(),
            spool: String::new(),
            reconnect: Duration::ZERO,
            held: false,
            scripts: local::Place {
                cluster: crate::inventory::Cluster::new("oak", "203.0.113.7"),
                folder: PathBuf::new(),
                run: String::new(),
            },
        };
        let step = Step::new("to-0.7/step", "Do it", class, Action::Run(Command::new("do it"))).redo(redo);
        let host = Script(Mutex::new(answers.into()));
        let ended = match ground.settle(&host, &step, &mut scribe).await {
            Ok(()) => "done".to_owned(),
            Err(Trouble::Failed(failure)) => format!("failed: {}", failure.cause),
            Err(Trouble::InDoubt(failure)) => format!("in doubt: {}", failure.cause),
        };
        assert_eq!(host.0.lock().unwrap().len(), 0, "not all was asked for");
        ended
    }

    #[tokio::test]
    async fn what_was_cut_is_done_again_as_its_rule_says_and_never_guessed_at() {
        let unless = || Redo::Unless(Probe::ReleaseGone { name: "oas-secrets".into() });
        let made = || Redo::Unless(Probe::SourceWants { source: "stackspin".into(), branch: "v0.8".into() });
        let (change, read) = (Class::Undoable, Class::ReadOnly);
        let table = [
            (read, Redo::Repeatable, vec![cut(), says("")], "done"),
            (read, Redo::Never, vec![cut(), cut(), says("")], "done"),
            (read, Redo::Repeatable, vec![cut(), cut(), cut()], "failed: connection-lost"),
            (read, Redo::Repeatable, vec![cut(), away()], "failed: unreachable"),
            (change, Redo::Repeatable, vec![cut(), says("")], "done"),
            (change, Redo::Repeatable, vec![cut(), cut(), cut()], "in doubt: connection-lost"),
            (change, Redo::Repeatable, vec![cut(), away()], "in doubt: connection-lost"),
            (change, Redo::Repeatable, vec![cut(), cut(), away()], "in doubt: connection-lost"),
            (change, Redo::Repeatable, vec![cut(), fails()], "failed: command-failed"),
            (change, Redo::Repeatable, vec![away()], "failed: unreachable"),
            (change, Redo::Never, vec![cut()], "in doubt: connection-lost"),
            (change, unless(), vec![cut(), says(HAS_NONE)], "done"),
            (change, unless(), vec![cut(), says(HAS_CHART), says("")], "done"),
            (change, unless(), vec![cut(), cut(), says(HAS_CHART), says("")], "done"),
            (change, made(), vec![cut(), says(HAS_SOURCE)], "done"),
            (change, made(), vec![cut(), says(HAS_NONE), says("")], "done"),
            // An API that does not answer has not said that it is not done.
            (change, unless(), vec![cut(), fails()], "in doubt: connection-lost"),
            (change, unless(), vec![cut(), away()], "in doubt: connection-lost"),
        ];
        for (n, (class, redo, answers, expected)) in table.into_iter().enumerate() {
            assert_eq!(ended(class, redo, answers).await, expected, "row {n}");
        }
    }
}
