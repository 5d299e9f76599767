//! Jobs and timers on real hosts: Debian's sshd, real shells, and where it matters a real systemd as process 1 of a namespace of its own.
#![expect(clippy::unwrap_used, clippy::panic, reason = "what cannot be set up fails its test")]

mod machine;
mod proxy;
mod sshd;

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fs;
use std::io::sink;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use fleet::event::{Event, Failure, StepEnd, What};
use fleet::inventory::{Cluster, Host};
use fleet::jobs::{How, Job, Leftovers, Now, Seen, State, Timer, Why};
use fleet::journal::{self, Journal};
use fleet::plan::{Action, Class, Fingerprint, Plan, Probe, Redo, Step};
use fleet::remote::{Command, Exit, Output, Remote};
use fleet::run::job::{Place, carry};
use fleet::run::{Scribe, Trouble, Wish};
use fleet::ssh::connect;
use fleet::state::{Run, RunFolder};
use machine::Machine;
use proxy::{Proxy, Way};
use sshd::{Options, Sshd};
use tempfile::TempDir;
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
        Self::with_shell("dash")
    }

    /// Whose `sh` is this shell.
    fn with_shell(shell: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let bin = folder.path().join("bin");
        fs::create_dir(&bin).unwrap();
        std::os::unix::fs::symlink(format!("/bin/{shell}"), bin.join("sh")).unwrap();
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

/// What `seq 1 LAST` prints.
fn numbers(last: u32) -> String {
    (1..=last).fold(String::new(), |text, n| text + &n.to_string() + "\n")
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
    for site in [Site::with_shell("dash"), Site::with_shell("bash")] {
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
                let whole = numbers(20000);
                assert!(output == whole + "no line end", "{} bytes", output.len());
            } else if !said.is_empty() {
                assert_eq!(output, said, "{line}");
            }
            assert!(ask(&session, &job.clean()).await.success());
            assert_eq!(glance(&session, &job).await.state, State::Absent);
        }
        assert!(!Path::new(&site.spool()).exists(), "the spool is clean when nothing is on it");
    }
}

#[tokio::test]
async fn a_job_started_twice_even_at_the_same_time_runs_once() {
    for site in [Site::with_shell("dash"), Site::with_shell("bash")] {
        let session = connect(&site.sshd.host()).await.unwrap();
        let ran = site.path("ran");
        let job = site.job("to-0.7/once", &Command::new("echo $$ >>").arg(&ran).fixed("; sleep 1"));
        let command = job.start();
        let starts = futures::future::join_all((0..8).map(|_| ask(&session, &command))).await;
        for started in starts {
            assert!(started.success(), "{}", started.complaint());
        }
        start(&session, &job).await;
        // Two who come past the first look at the same time start a keeper each: one of them leaves.
        let keeper = Command::new("sh")
            .arg(format!("{}/keep", job.folder()))
            .arg(job.folder())
            .fixed("3600 2048 10 0022");
        assert!(ask(&session, &keeper).await.success());
        assert_eq!(follow(&session, &job).await.0, State::Ended(How::Itself, Exit::Code(0)));
        // Also when it is over.
        start(&session, &job).await;
        assert_eq!(read(&ran).lines().count(), 1, "{}", read(&ran));

        let other = site.job("to-0.7/once", &Command::new("echo other"));
        let refused = ask(&session, &other.start()).await;
        assert_eq!(refused.exit, Exit::Code(4), "{}", refused.complaint());
    }
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
    for site in [Site::with_shell("dash"), Site::with_shell("bash")] {
        let session = connect(&site.sshd.host()).await.unwrap();
        let line = "(trap '' TERM; sh -c 'echo $$; exec sleep 1000') & sleep 1000";
        let job = Job::new(&site.spool(), "r", "to-0.7/long", &Command::new(line), Duration::from_secs(2));
        start(&session, &job).await;
        let (state, output) = follow(&session, &job).await;
        assert_eq!(state, State::Ended(How::Overdue, Exit::Signal("TERM".into())));
        comes_true("the grandchild that takes no TERM is gone", || !alive(&output)).await;
    }
}

/// Tells a process and all that it has started to end, each once. What those that were told are by now.
fn tell(keeper: &str, told: &RefCell<BTreeSet<String>>) -> String {
    let mut found = vec![keeper.to_owned()];
    for parent in 0.. {
        let Some(pid) = found.get(parent).cloned() else { break };
        let children = read(format!("/proc/{pid}/task/{pid}/children"));
        found.extend(children.split_whitespace().map(str::to_owned));
        let number = pid.parse().ok().and_then(rustix::process::Pid::from_raw).unwrap();
        if told.borrow_mut().insert(pid) {
            // One that has ended meanwhile needs no telling.
            let _ = rustix::process::kill_process(number, rustix::process::Signal::TERM);
        }
    }
    told.borrow().iter().map(|pid| read(format!("/proc/{pid}/cmdline"))).collect()
}

/// As systemd does, which looks for processes of a unit to tell until it finds no new one.
#[tokio::test]
async fn a_job_of_which_every_process_is_told_to_end_is_ended_though_its_command_does_not_listen() {
    let site = Site::with_shell("dash");
    let session = connect(&site.sshd.host()).await.unwrap();
    let job = site.job("to-0.7/deaf", &Command::new("trap '' TERM; echo begun; while :; do sleep 0.2; done"));
    start(&session, &job).await;
    comes_true("it has begun", || read(Path::new(job.folder()).join("out")) == "begun\n").await;
    let folder = job.folder().to_owned();
    let keeper = read(Path::new(&folder).join("pid")).split(' ').next().unwrap().to_owned();
    let told = RefCell::default();
    comes_true("whoever ends it at last was told as well", || tell(&keeper, &told).contains("\0last\0"))
        .await;
    // Ten seconds are left to the command.
    comes_true("its end is written down", || Path::new(&folder).join("ended").exists()).await;
    let (state, _) = follow(&session, &job).await;
    assert_eq!(state, State::Ended(How::Stopped, Exit::Signal("KILL".into())));
}

#[tokio::test]
async fn a_job_that_is_told_to_end_ends_whole_and_says_so() {
    for site in [Site::with_shell("dash"), Site::with_shell("bash")] {
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

/// How the log of a step that is a job begins.
fn step_line(step: &Step) -> String {
    let Action::Job(command) = &step.action else { panic!("{step:?}") };
    format!("$ {command}")
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

// ---- lost lines

/// A line that is cut again and again, wherever its bytes happen to be, and a job that prints all the while.
#[tokio::test]
async fn a_line_that_is_cut_at_any_byte_loses_and_doubles_nothing() {
    let site = Site::new();
    let proxy = Proxy::to(site.sshd.port());
    let remote = connect(&Host { port: proxy.port(), ..site.sshd.host() }).await.unwrap();
    let (ran, enough) = (site.path("ran"), site.path("enough"));
    // Ends only when the line was cut often enough.
    let line = format!(
        "echo x >>{ran}; n=0; until [ -e {enough} ]; do n=$((n + 1)); echo $n; sleep 0.005; done; exit 5"
    );
    let spool = site.spool();
    let step = job_step(&line, Redo::Never);
    let cutter = async {
        let mut bytes = 1_u64;
        for cut in 0..20 {
            bytes = bytes.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let way = if cut % 3 == 0 { Way::ToHost } else { Way::ToClient };
            proxy.cut_after(way, (bytes >> 33) % 6000);
            comes_true("the line is cut", || proxy.cuts() > cut).await;
        }
        fs::write(&enough, "").unwrap();
    };
    let (told, ()) = tokio::join!(told(&remote, &spool, &step), cutter);
    assert!(!told.in_doubt(), "{:?}", told.end);
    assert!(told.failure().message.contains("exit status 5"), "{:?}", told.end);
    assert_eq!(read(&ran), "x\n", "it was started once");
    let last = told.log.lines().filter_map(|line| line.parse().ok()).max().unwrap();
    let whole = format!("\n{}# exit status 5\n", numbers(last));
    assert!(told.log.ends_with(&whole), "{last} lines:\n{}", told.log);
    assert_eq!(told.log.len(), step_line(&step).len() + whole.len(), "nothing before them");
    assert!(last > 100, "{last} lines");
    assert!(!Path::new(&spool).exists(), "the spool is clean");
}

#[tokio::test]
async fn a_job_goes_on_while_its_hosts_sshd_is_away_and_is_followed_again_when_it_is_back() {
    let mut site = Site::new();
    let (up, go) = (site.path("up"), site.path("go"));
    let line = format!("echo before; touch {up}; until [ -e {go} ]; do sleep 0.05; done; echo after");
    let (spool, step) = (site.spool(), job_step(&line, Redo::Never));
    let remote = connect(&site.sshd.host()).await.unwrap();
    let away = async {
        comes_true("it runs", || Path::new(&up).exists()).await;
        site.sshd.kill();
        // Its end comes while nobody can look.
        fs::write(&go, "").unwrap();
        let ended = site.folder.path().join("spool/job-20261122T101500Z-abcd-to-0.7-long/ended");
        comes_true("it ended", || ended.exists()).await;
        site.sshd.start_again();
    };
    let (told, ()) = tokio::join!(told(&remote, &spool, &step), away);
    assert_eq!(told.end, Ok(()), "{told:?}");
    assert!(told.log.ends_with("\nbefore\nafter\n# exit status 0\n"), "{}", told.log);
    assert!(!Path::new(&spool).exists());
}

#[tokio::test]
async fn a_host_that_cannot_be_reached_any_more_leaves_its_job_in_doubt_and_the_next_command_is_told() {
    let mut site = Site::new();
    let up = site.path("up");
    let (spool, step) = (site.spool(), job_step(&format!("touch {up}; sleep 1000"), Redo::Repeatable));
    // One that makes no connection again.
    let session = connect(&Host { reconnect: Duration::ZERO, ..site.sshd.host() }).await.unwrap();
    let away = async {
        comes_true("it runs", || Path::new(&up).exists()).await;
        site.sshd.kill();
    };
    let (told, ()) = tokio::join!(told(&session, &spool, &step), away);
    assert!(told.in_doubt(), "{told:?}");
    assert!(told.failure().message.contains("Look with: fleet doctor --on acme"), "{told:?}");

    site.sshd.start_again();
    let session = connect(&site.sshd.host()).await.unwrap();
    let Action::Job(command) = &step.action else { panic!("{step:?}") };
    let job = Job::new(&spool, "20261122T101500Z-abcd", &step.id, command, HOUR);
    assert_eq!(glance(&session, &job).await.state, State::Running, "nobody has started or ended anything");
    assert!(ask(&session, &job.end()).await.success());
}

/// Follows a job for the test below, in a process of its own that is killed meanwhile.
async fn be_the_follower(folder: &Path) {
    let words = read(folder.join("words"));
    let [port, spool, line] = words.lines().collect::<Vec<_>>()[..] else { panic!("{words}") };
    let host = Host {
        port: port.parse().unwrap(),
        user: sshd::user(),
        identity: vec![folder.join("id")],
        agent: false,
        host_key: Some(read(folder.join("host_key"))),
        ..Host::new("sshd", "127.0.0.1")
    };
    told_in(folder, &connect(&host).await.unwrap(), spool, &job_step(line, Redo::Never)).await;
}

#[tokio::test]
async fn a_job_outlives_the_program_that_follows_it_and_another_one_has_its_whole_output_and_end() {
    const TEST: &str =
        "a_job_outlives_the_program_that_follows_it_and_another_one_has_its_whole_output_and_end";
    if let Some(folder) = std::env::var_os("FOLLOWER") {
        return be_the_follower(Path::new(&folder)).await;
    }
    let site = Site::new();
    let (ran, go) = (site.path("ran"), site.path("go"));
    let line =
        format!("echo x >>{ran}; seq 1 1000; until [ -e {go} ]; do sleep 0.05; done; echo last; exit 3");
    let folder = tempfile::tempdir().unwrap();
    fs::copy(site.sshd.dir().join("id"), folder.path().join("id")).unwrap();
    fs::write(folder.path().join("host_key"), site.sshd.host_key("ed25519")).unwrap();
    fs::write(folder.path().join("words"), format!("{}\n{}\n{line}\n", site.sshd.port(), site.spool()))
        .unwrap();
    let mut follower = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", TEST])
        .env("FOLLOWER", folder.path())
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let log = folder.path().join("log");
    comes_true("it is followed", || read(&log).contains("\n1000\n")).await;
    follower.kill().unwrap();
    follower.wait().unwrap();
    fs::write(go, "").unwrap();

    let session = connect(&site.sshd.host()).await.unwrap();
    let told = told(&session, &site.spool(), &job_step(&line, Redo::Never)).await;
    assert!(told.failure().message.contains("exit status 3"), "{:?}", told.end);
    let whole = numbers(1000);
    assert!(told.log.ends_with(&format!("\n{whole}last\n# exit status 3\n")), "{}", told.log);
    assert_eq!(read(&ran), "x\n");
    assert!(!Path::new(&site.spool()).exists());
}

// ---- reboots and full disks

/// A line that starts what a reboot ends once, and comes to its end when it is started again.
fn once_then(machine: &Machine, then: &str) -> String {
    let ran = machine.path("ran").display().to_string();
    format!("echo x >>{ran}; echo begun; [ $(wc -l <{ran}) -gt 1 ] || sleep 1000; {then}")
}

async fn reboot_when_it_runs(machine: &Mutex<Machine>) {
    let ran = machine.lock().await.path("ran");
    comes_true("the job runs", || !read(&ran).is_empty()).await;
    machine.lock().await.reboot();
}

#[tokio::test]
async fn after_a_reboot_a_job_is_in_doubt_and_its_step_says_what_is_right() {
    for redo in [Redo::Never, Redo::Repeatable] {
        let machine = Mutex::new(Machine::plain());
        let (spool, line, remote) = {
            let machine = machine.lock().await;
            let spool = machine.path("spool").display().to_string();
            let remote = connect(&machine.sshd().host()).await.unwrap();
            (spool, once_then(&machine, "echo ended"), remote)
        };
        let step = job_step(&line, redo.clone());
        let (told, ()) = tokio::join!(told(&remote, &spool, &step), reboot_when_it_runs(&machine));
        let ran = read(machine.lock().await.path("ran"));
        if redo == Redo::Never {
            assert!(told.in_doubt(), "{told:?}");
            let message = &told.failure().message;
            assert!(message.contains("the host was started anew while it ran"), "{message}");
            assert!(message.contains("fleet doctor --on acme"), "{message}");
            assert_eq!(ran, "x\n");
            let Action::Job(command) = &step.action else { panic!("{step:?}") };
            let job = Job::new(&spool, "20261122T101500Z-abcd", &step.id, command, HOUR);
            assert_eq!(
                glance(&remote, &job).await.state,
                State::Gone(Why::Rebooted),
                "it is kept for a person"
            );
        } else {
            assert_eq!(told.end, Ok(()), "{told:?}");
            assert!(told.log.ends_with("begun\nended\n# exit status 0\n"), "{}", told.log);
            assert_eq!(ran, "x\nx\n", "once before and once after");
            assert!(!Path::new(&spool).exists());
        }
    }
}

#[tokio::test]
async fn after_a_reboot_the_probe_of_a_step_is_asked_whether_it_is_done() {
    for done in [true, false] {
        let machine = Mutex::new(Machine::plain());
        let (spool, line, remote) = {
            let machine = machine.lock().await;
            let release = if done {
                ""
            } else {
                r#"{"kind": "HelmRelease", "metadata": {"namespace": "oas", "name": "old"}}"#
            };
            program(
                &machine.path("bin").join("k3s"),
                &format!(
                    "case \"$*\" in\n*helmreleases*) echo '{{\"kind\": \"List\", \"items\": [{release}]}}' ;;\n\
                     *nodes*) echo '{{\"kind\": \"List\", \"items\": [{{\"kind\": \"Node\", \"metadata\": {{\"name\": \"n\"}}, \
                     \"status\": {{\"conditions\": [{{\"type\": \"Ready\", \"status\": \"True\"}}]}}}}]}}' ;;\nesac"
                ),
            );
            let spool = machine.path("spool").display().to_string();
            let remote = connect(&machine.sshd().host()).await.unwrap();
            (spool, once_then(&machine, "echo ended"), remote)
        };
        let step = job_step(&line, Redo::Unless(Probe::ReleaseGone { name: "old".into() }));
        let (told, ()) = tokio::join!(told(&remote, &spool, &step), reboot_when_it_runs(&machine));
        assert_eq!(told.end, Ok(()), "{told:?}");
        let ran = read(machine.lock().await.path("ran"));
        assert_eq!(ran.lines().count(), if done { 1 } else { 2 }, "{told:?}");
        assert!(!Path::new(&spool).exists());
    }
}

#[tokio::test]
async fn a_disk_that_a_job_fills_does_not_hide_how_it_ended() {
    let machine = Machine::with_disk("2m");
    let session = connect(&machine.sshd().host()).await.unwrap();
    let disk = machine.path("disk").display().to_string();
    let line = format!(
        "echo begun; until [ -s {disk}/spool/job-r-s/out ]; do sleep 0.05; done; cat /dev/zero >{disk}/full; echo said to a full disk; exit 6"
    );
    let job = Job::new(&format!("{disk}/spool"), "r", "s", &Command::new("sh -c").arg(line), HOUR);
    start(&session, &job).await;
    let mut seen = glance(&session, &job).await;
    while seen.state == State::Running {
        seen = job.look(seen.size).read(&ask(&session, job.look(seen.size).command()).await).unwrap_or(seen);
    }
    let seen = glance(&session, &job).await;
    assert_eq!(seen.state, State::Ended(How::Itself, Exit::Code(6)));
    assert!(seen.news.starts_with(b"begun\n"), "{seen:?}");

    // And where there is no room from the beginning, nothing is started, and that is known.
    let late = Job::new(
        &format!("{disk}/spool"),
        "r",
        "late",
        &Command::new("touch").arg(format!("{disk}/ran")),
        HOUR,
    );
    let refused = ask(&session, &late.start()).await;
    assert_eq!(refused.exit, Exit::Code(3), "{}", refused.complaint());
    assert!(refused.complaint().contains("it was not started; its disk: tmpfs"), "{}", refused.complaint());
    let gone = ask(&session, &Command::new("test -e").arg(format!("{disk}/ran"))).await;
    assert_eq!(gone.exit, Exit::Code(1));
}

// ---- systemd

#[tokio::test]
async fn where_systemd_is_process_1_a_job_is_a_unit_and_ends_with_all_that_left_its_process_group() {
    let machine = Machine::systemd();
    let session = connect(&machine.sshd().host()).await.unwrap();
    let spool = machine.path("spool").display().to_string();
    let line = "setsid sleep 1000 & grep 0:: /proc/self/cgroup; sleep 1; umask; pwd; echo $HOME; exit 4";
    let job = Job::new(&spool, "r", "to-0.7/unit", &shell(line), HOUR);
    let command = job.start();
    let (one, two) = tokio::join!(ask(&session, &command), ask(&session, &command));
    assert!(one.success() && two.success(), "{} {}", one.complaint(), two.complaint());
    let (state, output) = follow(&session, &job).await;
    assert_eq!(state, State::Ended(How::Itself, Exit::Code(4)));
    let there = ask(&session, &Command::new("umask; pwd; echo $HOME")).await;
    assert_eq!(output, format!("0::/system.slice/fleet-job-r-to-0.7-unit.service\n{}", there.text()));
    let mut left = String::new();
    for _ in 0..100 {
        left = ask(&session, &Command::new("pgrep -x sleep; systemctl is-active fleet-job-r-to-0.7-unit"))
            .await
            .text()
            .into_owned();
        if left == "inactive\n" {
            break;
        }
    }
    assert_eq!(left, "inactive\n", "nothing of it is left");
    assert!(ask(&session, &job.clean()).await.success());

    for (step, how) in [("late", How::Overdue), ("told", How::Stopped)] {
        let line = "trap '' TERM; echo begun; while :; do sleep 0.2; done";
        let deadline = if how == How::Overdue { Duration::from_secs(1) } else { HOUR };
        let job = Job::new(&spool, "r", step, &Command::new(line), deadline);
        start(&session, &job).await;
        if how == How::Stopped {
            let out = Path::new(job.folder()).join("out");
            comes_true("it has begun", || read(&out) == "begun\n").await;
            assert!(
                ask(&session, &Command::new("systemctl stop").arg(format!("fleet-job-r-{step}")))
                    .await
                    .success()
            );
        }
        let (state, _) = follow(&session, &job).await;
        assert_eq!(state, State::Ended(how, Exit::Signal("KILL".into())), "{step}");
    }
    // What it says while it ends is not lost, though systemd tells every process of the unit to end.
    let polite = "trap 'sleep 0.5; echo goodbye; exit 9' TERM; echo begun; while :; do sleep 0.2; done";
    let job = Job::new(&spool, "r", "polite", &Command::new(polite), HOUR);
    start(&session, &job).await;
    let out = Path::new(job.folder()).join("out");
    comes_true("it has begun", || read(&out) == "begun\n").await;
    assert!(ask(&session, &Command::new("systemctl stop fleet-job-r-polite")).await.success());
    let (state, output) = follow(&session, &job).await;
    assert_eq!(state, State::Ended(How::Stopped, Exit::Code(9)));
    assert!(output.ends_with("goodbye\n"), "{output:?}");
    // However early it is told.
    for n in 0..8 {
        let job = Job::new(&spool, "r", &format!("early-{n}"), &Command::new("sleep 1000"), HOUR);
        let at_once =
            job.start().then("; systemctl stop", &Command::new("fleet-job-r-early-").joined(n.to_string()));
        assert!(ask(&session, &at_once).await.success());
        let (state, _) = follow(&session, &job).await;
        assert_eq!(state, State::Ended(How::Stopped, Exit::Signal("TERM".into())), "{n}");
    }
}

// ---- timers

fn armed(machine: &Machine) -> (Timer, String) {
    let (spool, undone) = (machine.path("spool"), machine.path("undone").display().to_string());
    let undo = Command::new("echo undone >>").arg(&undone);
    (Timer::new(spool.to_str().unwrap(), "r-to-0.7-hold", &undo), undone)
}

/// Ends the lease, as time would.
fn expire(timer: &Timer) {
    let lease = Path::new(timer.folder()).join("lease");
    fs::write(lease.with_extension("test"), "0\n").unwrap();
    fs::rename(lease.with_extension("test"), lease).unwrap();
}

#[tokio::test]
async fn a_timer_undoes_once_when_its_lease_is_over_and_says_so_when_it_is_disarmed() {
    for machine in [Machine::plain(), Machine::systemd()] {
        let session = connect(&machine.sshd().host()).await.unwrap();
        let (timer, undone) = armed(&machine);
        for _ in 0..2 {
            let answer = ask(&session, &timer.arm(HOUR, 2 * HOUR)).await;
            assert!(answer.success(), "{}", answer.complaint());
            assert_eq!(Timer::outlives_reboot(&answer), machine.is_systemd());
        }
        assert!(ask(&session, &timer.is_waiting()).await.success());
        assert!(ask(&session, &timer.guard(HOUR, &Command::new("true"))).await.success());
        expire(&timer);
        comes_true("it is undone", || Path::new(timer.folder()).join("undone").exists()).await;
        assert!(!ask(&session, &timer.is_waiting()).await.success());
        let late = ask(&session, &timer.guard(HOUR, &Command::new("echo changed"))).await;
        assert_eq!(
            (late.exit.clone(), late.text().as_ref()),
            (Exit::Code(3), ""),
            "no change without a timer"
        );
        let again = ask(&session, &timer.arm(HOUR, HOUR)).await;
        assert_eq!(again.exit, Exit::Code(1), "an id that has fired is not armed again");
        let disarmed = ask(&session, &timer.disarm()).await;
        assert!(disarmed.success() && Timer::had_fired(&disarmed), "{disarmed:?}");
        assert_eq!(read(&undone), "undone\n", "once");
        assert!(!machine.path("spool").exists());
        assert_eq!(
            fs::read_dir(machine.path("units"))
                .unwrap()
                .map(|entry| entry.unwrap().path())
                .filter(|path| path.is_file())
                .count(),
            0
        );
    }
}

#[tokio::test]
async fn a_timer_that_is_disarmed_in_time_undoes_nothing_and_leaves_nothing() {
    for machine in [Machine::plain(), Machine::systemd()] {
        let session = connect(&machine.sshd().host()).await.unwrap();
        let (timer, undone) = armed(&machine);
        assert!(ask(&session, &timer.arm(HOUR, HOUR)).await.success());
        let pid = read(Path::new(timer.folder()).join("pid"));
        let disarmed = ask(&session, &timer.disarm()).await;
        assert!(disarmed.success() && !Timer::had_fired(&disarmed), "{disarmed:?}");
        let left = ask(&session, &Command::new("kill -0").arg(pid.trim())).await;
        assert!(!left.success(), "the loop has ended");
        assert!(!machine.path("spool").exists() && !Path::new(&undone).exists());
        assert!(ask(&session, &timer.disarm()).await.success(), "disarming twice does no harm");
    }
}

#[tokio::test]
async fn under_systemd_a_timer_outlives_a_reboot_and_its_own_death_and_without_it_the_doctor_tells_of_it() {
    let mut machine = Machine::systemd();
    let (timer, undone) = armed(&machine);
    let session = connect(&machine.sshd().host()).await.unwrap();
    assert!(ask(&session, &timer.arm(HOUR, 2 * HOUR)).await.success());
    machine.reboot();
    let session = connect(&machine.sshd().host()).await.unwrap();
    let mut waiting = false;
    for _ in 0..100 {
        waiting = waiting || ask(&session, &timer.is_waiting()).await.success();
    }
    assert!(waiting, "it waits again, with its lease anew");
    let boot = Path::new(timer.folder()).join("boot");
    comes_true("it knows the new boot", || read(&boot).contains("000000000002")).await;
    let pid = read(Path::new(timer.folder()).join("pid"));
    assert!(ask(&session, &Command::new("kill -KILL").arg(pid.trim())).await.success());
    comes_true("another took its place", || read(Path::new(timer.folder()).join("pid")) != pid).await;
    assert!(!Path::new(&undone).exists());
    expire(&timer);
    comes_true("it is undone", || Path::new(timer.folder()).join("undone").exists()).await;
    machine.reboot();
    let session = connect(&machine.sshd().host()).await.unwrap();
    let disarmed = ask(&session, &timer.disarm()).await;
    assert!(Timer::had_fired(&disarmed), "{disarmed:?}");
    assert_eq!(read(&undone), "undone\n", "once, also after another reboot");

    let mut machine = Machine::plain();
    let (timer, undone) = armed(&machine);
    let session = connect(&machine.sshd().host()).await.unwrap();
    assert!(ask(&session, &timer.arm(HOUR, 2 * HOUR)).await.success());
    machine.reboot();
    let session = connect(&machine.sshd().host()).await.unwrap();
    assert!(!ask(&session, &timer.is_waiting()).await.success());
    let question = Leftovers::on(machine.path("spool").to_str().unwrap());
    let (found, _) = question.read(&ask(&session, &question.command()).await).unwrap();
    assert_eq!(found[0].now, Now::NotUndone);
    assert!(found[0].clean().is_none());
    // What the doctor says to type does what it should.
    assert!(ask(&session, &shell(&found[0].by_hand().unwrap())).await.success());
    assert_eq!(read(&undone), "undone\n");
    let (found, _) = question.read(&ask(&session, &question.command()).await).unwrap();
    assert!(ask(&session, &found[0].clean().unwrap()).await.success());
    assert!(!machine.path("spool").exists());
}

// ---- the doctor

fn doctor(site: &Site, words: &[&str]) -> (i32, String) {
    let inventory = site.folder.path().join("clusters.toml");
    fs::write(
        &inventory,
        format!(
            "[clusters.acme]\naddress = \"127.0.0.1\"\nport = {}\nuser = {:?}\nidentity = [{:?}]\nagent = false\nhost_key = {:?}\n\
             paths = {{ spool = {:?} }}\n",
            site.sshd.port(),
            sshd::user(),
            site.sshd.dir().join("id").to_str().unwrap(),
            site.sshd.host_key("ed25519"),
            site.spool()
        ),
    )
    .unwrap();
    let mut command = assert_cmd::Command::cargo_bin("fleet").unwrap();
    let done =
        command.arg("--inventory").arg(&inventory).args(["doctor", "--all"]).args(words).output().unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    (done.status.code().unwrap(), said)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_doctor_lists_what_is_left_and_removes_only_what_is_over() {
    let site = Site::new();
    assert_eq!(doctor(&site, &[]), (0, "acme: nothing left\n".to_owned()));
    let session = connect(&site.sshd.host()).await.unwrap();
    let runs = site.job("to-0.7/runs", &Command::new("sleep 1000"));
    let over = site.job("to-0.7/over", &Command::new("exit 2"));
    let timer = Timer::new(&site.spool(), "k3s-b", &Command::new("true"));
    start(&session, &runs).await;
    start(&session, &over).await;
    follow(&session, &over).await;
    assert!(ask(&session, &timer.arm(HOUR, HOUR)).await.success());
    fs::create_dir(Path::new(&site.spool()).join("job-\u{1b}[31m strange")).unwrap();

    let (code, said) = doctor(&site, &[]);
    assert_eq!(code, 1, "{said}");
    let spool = site.spool();
    for part in [
        "acme: 3 left, 1 more that cannot be listed",
        "ended with exit status 2",
        &format!(
            "20261122T101500Z-abcd-to-0.7-runs: on the host: tail -f {spool}/job-20261122T101500Z-abcd-to-0.7-runs/out"
        ),
        "20261122T101500Z-abcd-to-0.7-over: fleet doctor --on acme --clean",
        "armed: fires in",
    ] {
        assert!(said.contains(part), "{part}:\n{said}");
    }
    assert!(!said.contains('\u{1b}'), "{said:?}");
    let (_, json) = doctor(&site, &["--format", "json"]);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    let left = json["acme"]["found"]["left"].as_array().unwrap();
    assert_eq!(left.len(), 3, "{json}");
    let of_run =
        |row: &&serde_json::Value| row["run"] == "20261122T101500Z-abcd" && row["step"] == "to-0.7-runs";
    assert_eq!(left.iter().filter(of_run).count(), 1, "{json}");

    let (code, said) = doctor(&site, &["--clean"]);
    assert_eq!(code, 1);
    assert!(said.contains("acme: 2 left, 1 removed"), "{said}");
    assert_eq!(glance(&session, &runs).await.state, State::Running);
    assert!(ask(&session, &timer.is_waiting()).await.success());

    assert!(ask(&session, &runs.end()).await.success());
    assert!(ask(&session, &timer.disarm()).await.success());
    fs::remove_dir(Path::new(&site.spool()).join("job-\u{1b}[31m strange")).unwrap();
    assert_eq!(doctor(&site, &["--clean"]), (0, "acme: nothing left, 1 removed\n".to_owned()));
    assert!(!Path::new(&site.spool()).exists());
    drop(site.sshd);
}

// ---- a plan

#[tokio::test]
async fn a_plan_with_a_job_is_carried_out_and_its_text_says_that_the_host_has_it() {
    let site = Site::new();
    let session = connect(&site.sshd.host()).await.unwrap();
    let mut step = job_step("echo counted; exit 0", Redo::Repeatable);
    step.class = Class::ReadOnly;
    let plan = Plan {
        schema: fleet::plan::SCHEMA,
        cluster: "acme".into(),
        migration: "to-0.7".into(),
        from: "0.6".parse().unwrap(),
        to: "0.7".parse().unwrap(),
        apps: Vec::new(),
        steps: vec![step],
        notes: Vec::new(),
        rest: Vec::new(),
        fingerprint: Fingerprint::new(),
    };
    let stored: Plan = serde_json::from_str(&serde_json::to_string(&plan).unwrap()).unwrap();
    assert_eq!(stored, plan);
    let text = fleet::report::plan_text(&plan);
    assert!(text.contains("$ sh -c 'echo counted; exit 0'\n      on the host's own account"), "{text}");

    let here = tempfile::tempdir().unwrap();
    let run = Run {
        schema: fleet::state::SCHEMA,
        id: "20261122T101500Z-abcd".into(),
        started: "2026-11-22T10:15:00Z".parse().unwrap(),
        by: "operator@desk".into(),
        fleet: "0.1.0".into(),
        typed: Vec::new(),
        target: Some(plan.to),
        clusters: vec!["acme".into()],
        acknowledged: Vec::new(),
        plan: None,
    };
    let folder = RunFolder::create(here.path(), &run).unwrap().cluster("acme").unwrap();
    let mut cluster = Cluster::new("acme", "127.0.0.1");
    cluster.paths.spool = site.spool();
    let wish = Wish {
        host_key: "",
        plan: None,
        cluster: &cluster,
        target: plan.to,
        acknowledged: &[],
        folder: &folder,
        backups: &here.path().join("backups"),
        stop: &AtomicBool::new(false),
    };
    let rung = folder.rung(&plan.migration).unwrap();
    let mut journal = Journal::create(&folder.journal(), "acme", None).unwrap();
    let start = fleet::run::Start::anew(wish, &plan, &mut journal).unwrap();
    let done = fleet::run::carry_out(&session, &plan, wish, start, &mut journal).await.unwrap();
    assert_eq!(done, Ok(()));
    assert!(read(rung.join("steps/to-0.7-long.log")).contains("\ncounted\n# exit status 0\n"));
    let ended = journal::read(&folder.journal()).unwrap();
    assert!(ended.iter().any(|event| matches!(event.what, What::StepEnded { end: StepEnd::Done, .. })));
    assert!(!Path::new(&site.spool()).exists());
}
