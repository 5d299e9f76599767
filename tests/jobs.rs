//! Jobs and timers on real hosts: Debian's sshd, real shells, and where it matters a real systemd as process 1 of a namespace of its own.
#![expect(clippy::unwrap_used, clippy::panic, reason = "what cannot be set up fails its test")]

mod machine;
mod proxy;
mod sshd;

use std::fs;
use std::io::{Write, sink};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use fleet::event::{Event, Failure, What};
use fleet::inventory::Host;
use fleet::jobs::{How, Job, Leftovers, Now, Seen, State, Timer, Why};
use fleet::journal::{self, Journal};
use fleet::plan::{Action, Class, Probe, Redo, Step};
use fleet::remote::{Command, Exit, Output, Remote, RemoteError};
use fleet::run::job::{Place, carry};
use fleet::run::{Scribe, Trouble};
use fleet::ssh::{Session, connect};
use machine::Machine;
use proxy::Proxy;
use sshd::{Options, Sshd};
use tempfile::TempDir;
use tokio::io::AsyncWrite;
use tokio::sync::Mutex;

const HOUR: Duration = Duration::from_secs(3600);

/// A host without systemd, and its spool.
struct Site {
    sshd: Sshd,
    folder: TempDir,
}

impl Site {
    /// Sessions find stand-ins first on their path: a `systemctl` that has nothing to say, so that nothing here is given to the systemd of
    /// the machine that runs the tests.
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let bin = folder.path().join("bin");
        fs::create_dir(&bin).unwrap();
        program(&bin.join("systemctl"), "exit 1");
        Self { sshd: Sshd::start_with(&Options { path_prefix: Some(bin), ..Options::default() }), folder }
    }

    fn spool(&self) -> String {
        self.path("spool")
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().unwrap().to_owned()
    }

    fn job(&self, step: &str, command: &Command) -> Job {
        Job::new(&self.spool(), "20261122T101500Z-abcd", step, command, HOUR)
    }
}

fn program(path: &Path, body: &str) {
    fs::write(path, format!("#!/bin/sh\n{body}\n")).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

fn shell(line: &str) -> Command {
    Command::new("sh -c").arg(line)
}

async fn ask(remote: &impl Remote, command: &Command) -> Output {
    remote.run(command, &mut sink()).await.unwrap()
}

async fn start(remote: &impl Remote, job: &Job) {
    let started = ask(remote, &job.start()).await;
    assert!(started.success(), "{}: {}", started.exit, started.complaint());
}

async fn glance(remote: &impl Remote, job: &Job) -> Seen {
    let look = job.glance(0);
    look.read(&ask(remote, look.command()).await).unwrap()
}

/// Looks until it runs no more, and gives its whole output.
async fn follow(remote: &impl Remote, job: &Job) -> (State, String) {
    let mut output = Vec::new();
    for _ in 0..100 {
        let look = job.look(output.len() as u64);
        let seen = look.read(&ask(remote, look.command()).await).unwrap();
        output.extend(seen.news);
        if !matches!(seen.state, State::Running | State::Starting) && output.len() as u64 == seen.size {
            return (seen.state, String::from_utf8(output).unwrap());
        }
    }
    panic!("{job:?} does not end");
}

/// Looks again and again, for thirty seconds at most.
async fn comes_true(what: &str, is: impl Fn() -> bool) {
    for _ in 0..1500 {
        if is() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("it never came true that {what}");
}

fn alive(pid: &str) -> bool {
    // A process that has ended keeps its number until it is reaped.
    fs::read_to_string(format!("/proc/{}/stat", pid.trim()))
        .is_ok_and(|stat| !stat.rsplit_once(')').is_some_and(|(_, rest)| rest.starts_with(" Z")))
}

fn read(path: impl AsRef<Path>) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

// ---- jobs

#[tokio::test]
async fn a_job_has_its_whole_output_and_its_exit_status() {
    let site = Site::new();
    let session = connect(&site.sshd.host()).await.unwrap();
    for (number, (line, end, said)) in [
        ("echo out; echo err >&2; exit 7", Exit::Code(7), "out\nerr\n"),
        ("seq 1 20000; printf 'no line end'", Exit::Code(0), ""),
        ("kill -SEGV $$", Exit::Signal("SEGV".into()), ""),
        ("exit 255", Exit::Code(255), ""),
        ("nothing-of-this-name 2>/dev/null", Exit::Code(127), ""),
        ("echo \"it's $0 and \\$(this)\"; cat", Exit::Code(0), ""),
    ]
    .into_iter()
    .enumerate()
    {
        let job = site.job(&format!("to-0.7/{number}"), &Command::new(line));
        start(&session, &job).await;
        let (state, output) = follow(&session, &job).await;
        assert_eq!(state, State::Ended(How::Itself, end), "{line}");
        if number == 1 {
            let whole: String = (1..=20000).map(|n| format!("{n}\n")).collect();
            assert!(output == whole + "no line end", "{} bytes", output.len());
        } else if !said.is_empty() {
            assert_eq!(output, said, "{line}");
        }
        assert!(ask(&session, &job.clean()).await.success());
        assert_eq!(glance(&session, &job).await.state, State::Absent);
    }
    assert!(!Path::new(&site.spool()).exists(), "the spool is clean when nothing is on it");
}

#[tokio::test]
async fn a_job_started_twice_even_at_the_same_time_runs_once() {
    let site = Site::new();
    let session = connect(&site.sshd.host()).await.unwrap();
    let ran = site.path("ran");
    let job = site.job("to-0.7/once", &Command::new("echo $$ >>").arg(&ran).fixed("; sleep 1"));
    let command = job.start();
    let starts = futures::future::join_all((0..8).map(|_| ask(&session, &command))).await;
    for started in starts {
        assert!(started.success(), "{}", started.complaint());
    }
    start(&session, &job).await;
    assert_eq!(follow(&session, &job).await.0, State::Ended(How::Itself, Exit::Code(0)));
    // Also when it is over.
    start(&session, &job).await;
    assert_eq!(read(&ran).lines().count(), 1, "{}", read(&ran));

    let other = site.job("to-0.7/once", &Command::new("echo other"));
    let refused = ask(&session, &other.start()).await;
    assert_eq!(refused.exit, Exit::Code(4), "{}", refused.complaint());
}

#[tokio::test]
async fn a_start_that_died_half_way_does_no_harm() {
    let site = Site::new();
    let session = connect(&site.sshd.host()).await.unwrap();
    let job = site.job("to-0.7/half", &Command::new("echo done"));
    // As it is when the one who starts it ends after its first write.
    fs::create_dir_all(job.folder()).unwrap();
    fs::write(Path::new(job.folder()).join("line.123"), "ech").unwrap();
    assert_eq!(glance(&session, &job).await.state, State::Starting);
    start(&session, &job).await;
    assert_eq!(follow(&session, &job).await, (State::Ended(How::Itself, Exit::Code(0)), "done\n".into()));
}

#[tokio::test]
async fn at_its_deadline_the_host_ends_a_job_with_its_grandchildren() {
    let site = Site::new();
    let session = connect(&site.sshd.host()).await.unwrap();
    let line = "(trap '' TERM; sh -c 'echo $$; exec sleep 1000') & sleep 1000";
    let job = Job::new(&site.spool(), "r", "to-0.7/long", &Command::new(line), Duration::from_secs(2));
    start(&session, &job).await;
    let (state, output) = follow(&session, &job).await;
    assert_eq!(state, State::Ended(How::Overdue, Exit::Signal("TERM".into())));
    comes_true("the grandchild that takes no TERM is gone", || !alive(&output)).await;
}

#[tokio::test]
async fn a_job_that_is_told_to_end_ends_whole_and_says_so() {
    let site = Site::new();
    let session = connect(&site.sshd.host()).await.unwrap();
    let job = site.job("to-0.7/stop", &Command::new("sh -c 'echo $$; exec sleep 1000' & wait"));
    start(&session, &job).await;
    let child = Path::new(job.folder()).join("out");
    comes_true("the child has said its number", || read(&child).ends_with('\n')).await;
    let cleaned = ask(&session, &job.clean()).await;
    assert_eq!(cleaned.exit, Exit::Code(3), "a job that runs is not cleaned away");
    assert!(ask(&session, &job.end()).await.success());
    let (state, output) = follow(&session, &job).await;
    assert_eq!(state, State::Ended(How::Stopped, Exit::Signal("TERM".into())));
    comes_true("its child is gone", || !alive(&output)).await;
    assert!(ask(&session, &job.end()).await.success(), "ending twice does no harm");
}

#[tokio::test]
async fn output_beyond_what_the_host_keeps_is_left_out_and_its_end_is_kept() {
    let site = Site::new();
    let session = connect(&site.sshd.host()).await.unwrap();
    let line = "head -c 70000000 /dev/zero | tr '\\0' x; echo; echo the last word";
    let step = job_step(line, Redo::Never);
    let told = told(&session, &site.spool(), &step).await;
    assert_eq!(told.end, Ok(()), "{told:?}");
    assert!(told.log.ends_with("the last word\n# exit status 0\n"));
    assert!(told.log.contains("# output was left out here"));
    let bytes = told.log.len();
    assert!(bytes > 64 << 20 && bytes < 65 << 20, "{bytes}");
}

#[tokio::test]
async fn a_job_whose_keeper_is_killed_is_in_doubt_and_can_be_ended() {
    let site = Site::new();
    let session = connect(&site.sshd.host()).await.unwrap();
    let job = site.job("to-0.7/killed", &Command::new("echo $$; while :; do sleep 1; done"));
    start(&session, &job).await;
    let folder = Path::new(job.folder());
    comes_true("it runs", || read(folder.join("out")).ends_with('\n') && folder.join("group").exists()).await;
    let keeper = read(folder.join("pid")).split(' ').next().unwrap().to_owned();
    assert!(ask(&session, &Command::new("kill -KILL").arg(keeper)).await.success());
    let vanished = follow(&session, &job).await;
    assert_eq!(vanished.0, State::Gone(Why::Vanished));
    assert!(alive(&vanished.1), "without systemd the command itself goes on");
    assert!(ask(&session, &job.end()).await.success());
    comes_true("it has ended", || !alive(&vanished.1)).await;
}

#[tokio::test]
async fn what_stands_in_the_spools_files_cannot_lead_astray() {
    let site = Site::new();
    let session = connect(&site.sshd.host()).await.unwrap();
    let job = site.job("to-0.7/hostile", &Command::new("true"));
    let folder = PathBuf::from(job.folder());
    for (file, text) in [
        ("ended", "itself 0"),
        ("ended", ""),
        ("ended", "   \n"),
        ("ended", "itself 0 now now now\n"),
        ("ended", "\u{1b}[31m $(touch /tmp/never) `reboot` ; & \n"),
        ("pid", "1; touch /tmp/never\n"),
        ("pid", "../../1 x\n"),
        ("pid", "-1 x\n"),
    ] {
        fs::remove_dir_all(&folder).ok();
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join(file), text).unwrap();
        let seen = glance(&session, &job).await;
        assert_eq!(seen.state, State::Strange, "{file} {text:?}");
    }
    // A number that is another's by now, and endless files.
    fs::remove_dir_all(&folder).unwrap();
    fs::create_dir_all(&folder).unwrap();
    let boot = read("/proc/sys/kernel/random/boot_id");
    fs::write(folder.join("pid"), format!("{} {boot}", std::process::id())).unwrap();
    assert_eq!(glance(&session, &job).await.state, State::Gone(Why::Vanished));
    std::os::unix::fs::symlink("/dev/zero", folder.join("ended")).unwrap();
    assert_eq!(glance(&session, &job).await.state, State::Strange);
}

// ---- steps

fn job_step(line: &str, redo: Redo) -> Step {
    let step = Step::new("to-0.7/long", "Do something long", Class::Repeatable, Action::Job(shell(line)));
    step.redo(redo).takes(Duration::from_secs(1), Duration::from_secs(120))
}

/// What a step that was carried out left here.
#[derive(Debug)]
struct Told {
    end: Result<(), Trouble>,
    log: String,
    events: Vec<Event>,
}

impl Told {
    fn failure(&self) -> &Failure {
        match &self.end {
            Err(Trouble::Failed(failure) | Trouble::InDoubt(failure)) => failure,
            Ok(()) => panic!("it is done: {self:?}"),
        }
    }

    fn in_doubt(&self) -> bool {
        matches!(self.end, Err(Trouble::InDoubt(_)))
    }
}

async fn told(remote: &impl Remote, spool: &str, step: &Step) -> Told {
    let folder = tempfile::tempdir().unwrap();
    told_in(folder.path(), remote, spool, step).await
}

async fn told_in(folder: &Path, remote: &impl Remote, spool: &str, step: &Step) -> Told {
    let Action::Job(command) = &step.action else { panic!("{step:?}") };
    let (log, lines) = (folder.join("log"), folder.join("journal.ndjson"));
    let mut journal = Journal::create(&lines, "acme", None).unwrap();
    let mut scribe = Scribe::new(&mut journal, &step.id, &log).unwrap();
    let place = Place { run: "20261122T101500Z-abcd", cluster: "acme", spool };
    let end = carry(remote, step, command, place, &mut scribe).await;
    Told { end, log: read(log), events: journal::read(&lines).unwrap() }
}

/// A host whose connection is made again when it is lost: every question has a connection, or there is none to be had within ten seconds.
struct Again {
    host: Host,
    session: Mutex<Option<Session>>,
    made: AtomicUsize,
}

impl Again {
    fn to(host: Host) -> Self {
        Self { host, session: Mutex::new(None), made: AtomicUsize::new(0) }
    }
}

impl Remote for Again {
    async fn run(&self, command: &Command, log: &mut (dyn Write + Send)) -> Result<Output, RemoteError> {
        let mut session = self.session.lock().await;
        let until = Instant::now() + Duration::from_secs(10);
        loop {
            if session.is_none() {
                match connect(&self.host).await {
                    Ok(new) => {
                        self.made.fetch_add(1, Ordering::Relaxed);
                        *session = Some(new);
                    }
                    Err(error) if Instant::now() > until => return Err(error),
                    Err(_) => {
                        tokio::time::sleep(Duration::from_millis(50)).await;
                        continue;
                    }
                }
            }
            let Some(open) = session.as_ref() else { continue };
            match open.run(command, log).await {
                Err(RemoteError::Unreachable { .. }) if Instant::now() < until => *session = None,
                Err(error) => {
                    *session = None;
                    return Err(error);
                }
                Ok(output) => return Ok(output),
            }
        }
    }

    async fn stream(
        &self,
        command: &Command,
        _: &mut (dyn AsyncWrite + Unpin + Send),
    ) -> Result<Output, RemoteError> {
        Err(RemoteError::Deadline(command.time_allowed()))
    }
}

#[tokio::test]
async fn a_step_that_is_a_job_leaves_its_output_in_the_log_its_end_in_the_journal_and_nothing_on_the_host() {
    let site = Site::new();
    let session = connect(&site.sshd.host()).await.unwrap();
    let step = job_step("echo one; sleep 1; echo two", Redo::Never);
    let well = told(&session, &site.spool(), &step).await;
    assert_eq!(well.end, Ok(()), "{well:?}");
    assert_eq!(well.log, "$ sh -c 'echo one; sleep 1; echo two'\none\ntwo\n# exit status 0\n");
    assert!(
        matches!(&well.events[..], [Event { what: What::Ran { exit, .. }, .. }] if exit == "exit status 0"),
        "{:?}",
        well.events
    );
    assert!(!Path::new(&site.spool()).exists());

    let ill = told(&session, &site.spool(), &job_step("echo no room >&2; exit 9", Redo::Never)).await;
    assert!(!ill.in_doubt());
    let message = &ill.failure().message;
    assert!(message.ends_with("ended with exit status 9: no room"), "{message}");
    assert!(!Path::new(&site.spool()).exists());

    let mut late = job_step("echo begun; sleep 1000", Redo::Never);
    late.deadline = Duration::from_secs(1);
    let late = told(&session, &site.spool(), &late).await;
    assert!(!late.in_doubt());
    assert!(late.failure().message.contains("took longer than 1 s and the host ended it: begun"), "{late:?}");
}

#[tokio::test]
async fn a_job_takes_no_secret() {
    let site = Site::new();
    let session = connect(&site.sshd.host()).await.unwrap();
    for command in [Command::new("cat").stdin(b"hunter2".to_vec()), Command::new("cat /secret").sensitive()] {
        let mut step = job_step("", Redo::Never);
        step.action = Action::Job(command);
        let refused = told(&session, &site.spool(), &step).await;
        assert_eq!(refused.failure().cause, "job-with-a-secret");
        assert!(!Path::new(&site.spool()).exists());
    }
}
