//! A script that an earlier process began.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Child, Command as Program};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tokio::io::AsyncWrite;

use super::super::Ground;
use super::super::position::{Ran, Standing};
use super::*;
use crate::backup::Folder;
use crate::event::{Left, Outcome};
use crate::journal::Journal;
use crate::plan::{Action, Class, Redo};
use crate::remote::{Command, Output};

/// A host whose lock is another run's when it is asked for the third time.
#[derive(Default)]
struct Broken(AtomicU32);

impl Remote for Broken {
    async fn run(&self, _: &Command, _: &mut (dyn Write + Send)) -> Result<Output, RemoteError> {
        match self.0.fetch_add(1, Ordering::Relaxed) {
            0 => Err(RemoteError::Deadline(Duration::from_secs(1))),
            1 => Ok(Output { exit: Exit::Code(0), stdout: Vec::new(), stderr: Vec::new(), dropped: 0 }),
            _ => Err(RemoteError::LockLost("somebody broke it".into())),
        }
    }

    async fn stream(
        &self,
        command: &Command,
        _: &mut (dyn AsyncWrite + Unpin + Send),
    ) -> Result<Output, RemoteError> {
        panic!("streams {}", command.line())
    }
}

/// A host that is asked nothing.
struct Silent;

impl Remote for Silent {
    async fn run(&self, command: &Command, _: &mut (dyn Write + Send)) -> Result<Output, RemoteError> {
        panic!("asked {}", command.line())
    }

    async fn stream(
        &self,
        command: &Command,
        _: &mut (dyn AsyncWrite + Unpin + Send),
    ) -> Result<Output, RemoteError> {
        panic!("streams {}", command.line())
    }
}

const STEP: &str = "to-1.0/upgrade";

/// A run of this process alone: the marks of processes are seen by every suite that runs on this machine.
fn run(number: u8) -> String {
    format!("r{number}-{}", std::process::id())
}

fn place(run: &str) -> Place {
    Place { cluster: Cluster::new("oak", "203.0.113.7"), folder: PathBuf::new(), run: run.into() }
}

fn step(redo: Redo) -> Step {
    let script = Local {
        release: "v1.0".into(),
        commit: "0".repeat(40),
        argv: vec!["bin/upgrade.sh".into(), "oak".into()],
        needs: Vec::new(),
        unless: None,
        remedies: Vec::new(),
    };
    Step::new(STEP, "Run upstream's script", Class::Irreversible, Action::Local(script)).redo(redo)
}

/// How a step of which this is known is taken up by another process.
async fn taken_up(run: &str, standing: Standing, redo: Redo) -> Result<(), Outcome> {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("steps")).unwrap();
    let mut journal = Journal::create(&folder.path().join("journal.ndjson"), "oak", None).unwrap();
    let mut ground = Ground {
        folder: Folder::create(&folder.path().join("backups"), "oak", "1").unwrap(),
        cluster: "oak".into(),
        proven: None,
        run: run.into(),
        spool: String::new(),
        reconnect: Duration::ZERO,
        held: false,
        scripts: place(run),
    };
    let left = Left::Dirty { at: STEP.into() };
    let (rung, step) = (folder.path(), step(redo));
    ground.go_on(&Silent, &step, &standing, rung, &left, &mut journal).await.unwrap()
}

fn cause(outcome: Result<(), Outcome>) -> String {
    outcome.unwrap_err().failure().unwrap().cause.clone()
}

/// What an earlier process left behind, as one that has left its group.
fn left_behind(run: &str) -> Child {
    let mark = place(run).mark(STEP);
    Program::new("sleep").arg("600").env(upstream::MARK, mark).spawn().unwrap()
}

#[tokio::test]
async fn a_script_whose_end_was_written_down_is_not_run_again() {
    let ended =
        |line: &str, exit: &str| Standing::Begun { ran: Some(Ran { line: line.into(), exit: exit.into() }) };
    let script = "bin/upgrade.sh oak";
    assert_eq!(taken_up(&run(1), ended(script, "exit status 0"), Redo::Never).await, Ok(()));
    assert_eq!(cause(taken_up(&run(1), ended(script, "exit status 1"), Redo::Never).await), "ask-a-person");
    // What else is run within the step, such as the sign of life before it, tells nothing of the script.
    assert_eq!(cause(taken_up(&run(1), ended("true", "exit status 0"), Redo::Never).await), "ask-a-person");
}

#[tokio::test]
async fn one_whose_end_nobody_saw_is_run_again_only_where_its_rule_says_so() {
    let begun = || Standing::Begun { ran: None };
    assert_eq!(cause(taken_up(&run(2), begun(), Redo::Never).await), "ask-a-person");
    // Done again, it needs the proof, which this ground does not have.
    assert_eq!(cause(taken_up(&run(2), begun(), Redo::Repeatable).await), "backup-not-proven");
}

#[tokio::test]
async fn while_the_old_script_runs_no_new_one_is_started_whatever_the_rule_says() {
    let mut old = left_behind(&run(3));
    // Between fork and exec it looks like its parent.
    let seen = BTreeMap::from([(3, 1), (4, 0)]);
    for (number, expected) in seen {
        let mark = place(&run(number)).mark(STEP);
        let mut found = upstream::alive(&mark).len();
        for _ in 0..1000 {
            if found == expected {
                break;
            }
            std::thread::yield_now();
            found = upstream::alive(&mark).len();
        }
        assert_eq!(found, expected);
    }
    for standing in [Standing::Begun { ran: None }, Standing::Again] {
        let Err(Outcome::InDoubt { failure, .. }) = taken_up(&run(3), standing, Redo::Repeatable).await
        else {
            panic!()
        };
        assert_eq!(failure.cause, "script-runs");
        let told = format!("(kill {}) or wait for its end, then: fleet resume {}", old.id(), run(3));
        assert!(failure.message.contains(&told), "{}", failure.message);
    }
    old.kill().unwrap();
    old.wait().unwrap();
    assert_eq!(cause(taken_up(&run(3), Standing::Begun { ran: None }, Redo::Never).await), "ask-a-person");
}

/// The clock goes on by itself whenever nothing else is to be done: the script sleeps in real time, and is ended long before.
#[tokio::test(start_paused = true)]
async fn a_script_is_ended_with_all_that_it_started_when_the_hosts_lock_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    let mut journal = Journal::create(&folder.path().join("journal.ndjson"), "oak", None).unwrap();
    let mut scribe = Scribe::new(&mut journal, STEP, &folder.path().join("log")).unwrap();
    let step = step(Redo::Never);
    let Action::Local(script) = &step.action else { panic!() };
    let mark = place(&run(5)).mark(STEP);
    let mut command = Program::new("sh");
    command.args(["-c", "setsid sleep 600 & exec sleep 600"]).env(upstream::MARK, &mark);
    let running = Running::start(command, Some(&mark)).unwrap();
    let way = Forward { port: 1, serving: Box::pin(std::future::pending()) };
    let ends = Instant::now() + Duration::from_secs(3600);
    let host = Broken::default();
    let (exit, ended) = follow(&host, running, way, &step, script, ends, &mut scribe).await.unwrap();
    let Err(Trouble::InDoubt(failure)) = ended else { panic!("{ended:?}") };
    assert_eq!(failure.cause, "lock-lost");
    assert!(failure.message.contains("somebody else may be at work on the cluster"), "{}", failure.message);
    assert!(exit.contains("somebody broke it"), "{exit}");
    assert_eq!(host.0.load(Ordering::Relaxed), 3);
    assert_eq!(upstream::alive(&mark), Vec::new(), "nothing of it goes on");
}
