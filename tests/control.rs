//! What an operator does with a run that goes on: look at it, pause it, end it, close its terminal.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test ends where what it stands on is wrong")]

mod lab_support;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Mutex;

use fleet::event::{Left, Outcome, What};
use fleet::journal;
use fleet::lab::{Fault, Host, HostSpec, Power};
use fleet::state::RunFolder;
use lab_support::{Bench, UnderWay, acknowledging, replace_program, until};
use rustix::process::Signal;
use serde_json::Value;

/// Hosts whose copies wait for the file `gate`, and a run over them.
struct Waiting {
    bench: Bench,
    run: UnderWay,
    /// The host in its copy.
    first: String,
    /// One that waits for its turn.
    other: String,
}

/// Lets the host's copy wait for the file `gate`, having made the file `copying`.
fn hold_the_copy(bench: &Bench, host: &Host) {
    let script = format!(
        "[ \"$1\" = -C ] && : >'{}' && until [ -e '{}' ] || [ ! -d '{}' ]; do sleep 0.05; done\nexec \"$real\" \"$@\"",
        host.folder().join("copying").display(),
        bench.path("gate").display(),
        host.folder().display()
    );
    replace_program(host, "tar", &script);
}

impl Waiting {
    fn new(more: &[&str]) -> Self {
        let bench = Bench::new(vec![HostSpec::new("one"), HostSpec::new("two")]);
        for host in bench.lab.hosts() {
            hold_the_copy(&bench, host);
        }
        let run = UnderWay::start(&bench, &acknowledging(&["upgrade", "--all"], more));
        let copying = |name: &str| bench.host(name).folder().join("copying").exists();
        until("a host is in its copy", || copying("one") || copying("two"));
        let (first, other) = if copying("one") { ("one", "two") } else { ("two", "one") };
        Self { run, first: first.to_owned(), other: other.to_owned(), bench }
    }

    fn open_the_gate(&self) {
        fs::write(self.bench.path("gate"), "").unwrap();
    }

    fn folder(&self) -> RunFolder {
        let path = self.bench.run();
        RunFolder::open(path.parent().unwrap(), path.file_name().unwrap().to_str().unwrap())
    }

    fn status(&self) -> Value {
        let ran = self.bench.fleet(&["status", "last", "--format", "json"]);
        serde_json::from_str(&ran.out).unwrap_or_else(|error| panic!("{error}: {ran:?}"))
    }

    fn ends(&mut self, code: i32) {
        let status = self.run.child.wait().unwrap();
        assert_eq!(status.code(), Some(code), "{}", self.run.said());
    }
}

#[test]
fn a_paused_run_begins_nothing_new_says_so_and_goes_on_when_it_is_told() {
    let mut waiting = Waiting::new(&["--parallel", "1"]);
    let said = waiting.bench.fleet(&["pause", "last"]).ends(0).out;
    assert!(said.contains("fleet resume "), "{said}");
    until("it says that it is paused", || waiting.run.says("no further cluster is begun"));
    let status = waiting.status();
    assert_eq!(status["state"], "paused", "{status}");
    assert_eq!((&status["totals"]["under_way"], &status["totals"]["waiting"]), (&1.into(), &1.into()));
    waiting.open_the_gate();
    let first = waiting.first.clone();
    until("the one under way is done", || waiting.run.says(&format!("{first}  ENDED: done")));
    let text = waiting.bench.fleet(&["status", "last"]).ends(0).out;
    assert!(
        text.contains("paused, asked by ") && text.contains("1 done, 0 not done, 0 under way, 1 waiting"),
        "{text}"
    );
    assert_eq!(waiting.bench.host(&waiting.other).connections(), 0);
    let said = waiting.bench.fleet(&["resume", "last"]).ends(0).out;
    assert!(said.contains("is asked to go on"), "{said}");
    waiting.ends(0);
    assert!(waiting.run.says("goes on, says "));
    assert_eq!(waiting.bench.report(&waiting.other)["outcome"], "done");
}

#[test]
fn an_aborted_run_ends_at_the_next_safe_point_as_by_ctrl_c() {
    let mut waiting = Waiting::new(&["--parallel", "1"]);
    waiting.bench.fleet(&["abort", "last"]).ends(0);
    until("it says that it is stopping", || waiting.run.says("stopping, asked by "));
    assert_eq!(waiting.status()["state"], "stopping");
    // A word too late.
    let said = waiting.bench.fleet(&["pause", "last"]).ends(64).err;
    assert!(said.contains("is stopping already"), "{said}");
    waiting.open_the_gate();
    waiting.ends(7);
    let report = waiting.bench.report(&waiting.first);
    assert_eq!((&report["outcome"], &report["state"]), (&"interrupted".into(), &"clean".into()));
    assert_eq!(waiting.bench.host(&waiting.first).state().power, Power::Running);
    assert_eq!(waiting.bench.host(&waiting.other).connections(), 0, "it was not begun");
}

#[test]
fn a_paused_run_that_is_aborted_ends() {
    let mut waiting = Waiting::new(&["--parallel", "1"]);
    waiting.bench.fleet(&["pause", "last"]).ends(0);
    until("it is paused", || waiting.run.says("paused by"));
    waiting.open_the_gate();
    let first = waiting.first.clone();
    until("the one under way is done", || waiting.run.says(&format!("{first}  ENDED: done")));
    waiting.bench.fleet(&["abort", "last"]).ends(0);
    waiting.ends(7);
    assert_eq!(waiting.bench.report(&waiting.other)["outcome"], "interrupted");
}

#[test]
fn a_copy_that_waits_for_its_turn_hears_the_operator() {
    let mut waiting = Waiting::new(&["--parallel", "2", "--streams", "1"]);
    let other = waiting.other.clone();
    until("the other waits for its turn", || {
        let status = waiting.status();
        let clusters = status["clusters"].as_array().unwrap();
        let cluster = clusters.iter().find(|cluster| cluster["cluster"] == other.as_str()).unwrap();
        cluster["noted"].as_str().is_some_and(|noted| noted.contains("waits for its turn"))
    });
    waiting.run.signal(Signal::INT);
    until("the other ends", || waiting.run.says(&format!("{other}  ENDED: interrupted")));
    waiting.open_the_gate();
    waiting.ends(7);
    assert_eq!(waiting.bench.host(&other).state().power, Power::Running);
    assert!(!waiting.bench.host(&other).commands().iter().any(|line| line.contains("systemctl stop k3s")));
}

#[test]
fn whoever_watches_sees_what_the_runs_own_terminal_shows_and_ends_as_it_ends() {
    let mut waiting = Waiting::new(&["--parallel", "2"]);
    let mut watch = UnderWay::start(&waiting.bench, &["watch", "last"]);
    until("it shows what was before", || watch.says("backup/copy started"));
    waiting.open_the_gate();
    waiting.ends(0);
    assert_eq!(watch.child.wait().unwrap().code(), Some(0), "{}", watch.said());
    let lines = |said: String| {
        let mut lines: Vec<String> = said.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    until("it has shown all", || lines(watch.said()) == lines(waiting.run.said()));
    // A run that is over is watched to its end at once.
    let ran = waiting.bench.fleet(&["watch", "last"]).ends(0);
    assert_eq!(lines(ran.err), lines(waiting.run.said()));
    assert!(ran.out.contains("2 clusters: 2 done"), "{}", ran.out);
}

#[test]
fn a_run_whose_process_is_gone_is_told_as_unfinished_with_what_goes_on_with_it() {
    let mut waiting = Waiting::new(&["--parallel", "1"]);
    assert_eq!(waiting.status()["state"], "running");
    let said = waiting.bench.fleet(&["resume", "last"]).ends(64).err;
    assert!(said.contains("is being worked on (process "), "{said}");
    waiting.run.signal(Signal::KILL);
    waiting.run.child.wait().unwrap();
    let id = waiting.folder().id();
    let ran = waiting.bench.fleet(&["status", "last"]).ends(6);
    assert!(
        ran.out.contains("not running, unfinished") && ran.out.contains(&format!("fleet resume {id}")),
        "{}",
        ran.out
    );
    for word in ["pause", "abort"] {
        let said = waiting.bench.fleet(&[word, "last"]).ends(64).err;
        assert!(said.contains(&format!("run {id} is not running")), "{said}");
    }
    let ran = waiting.bench.fleet(&["watch", "last"]).ends(6);
    assert!(ran.out.contains("is not running, unfinished. To go on with it: fleet resume"), "{}", ran.out);
    assert!(waiting.bench.fleet(&["runs"]).ends(0).out.contains("unfinished"));
    waiting.open_the_gate();
}

/// How many hosts get their signal at once: each is a whole upgrade.
const AT_ONCE: usize = 4;
/// A run writes about a hundred lines; every so many-th gets its signal, and with `FLEET_EVERY_LINE` set, each.
const EVERY: usize = 10;
const LINES: usize = 105;

/// The lines of a journal that is being written.
fn lines(journal: &Path) -> usize {
    fs::read(journal).map_or(0, |text| text.split(|byte| *byte == b'\n').count() - 1)
}

/// Begins an upgrade of one host, sends the signal when its journal has so many lines, and looks at what became of it.
fn signalled_at(bench: &Bench, name: &str, line: usize, signal: Signal) -> String {
    let runs = bench.path(&format!("runs-{name}"));
    let words = ["upgrade", "--on", name, "--runs", runs.to_str().unwrap()];
    let mut run = UnderWay::start(bench, &acknowledging(&words, &[]));
    let folder = || {
        let mut folders = fs::read_dir(&runs).ok()?.map(|entry| entry.unwrap().path());
        folders.find(|path| path.is_dir())
    };
    let journal = || folder().map_or_else(PathBuf::new, |run| run.join(name).join("journal.ndjson"));
    let mut ended = None;
    until("the line is written, or the run is over", || {
        ended = run.child.try_wait().unwrap();
        ended.is_some() || lines(&journal()) >= line
    });
    if ended.is_none() {
        run.signal(signal);
    }
    let code = run.child.wait().unwrap().code();
    let said = format!("{name}, line {line}, {signal:?}: exit code {code:?}\n{}", run.said());
    let events = journal::read(&journal()).unwrap_or_else(|error| panic!("{said}\n{error}"));
    let Some(What::Finished { outcome }) = events.last().map(|event| &event.what) else {
        panic!("no end is written: {said}")
    };
    match outcome {
        Outcome::Done => assert_eq!(code, Some(0), "{said}"),
        Outcome::Interrupted { state: Left::Clean } => assert_eq!(code, Some(7), "{said}"),
        outcome => panic!("{outcome:?}: {said}"),
    }
    assert!(folder().unwrap().join("report.md").exists(), "no report: {said}");
    let host = bench.host(name);
    assert_eq!(host.state().power, Power::Running, "k3s stands still: {said}");
    assert!(!host.folder().join("spool/lock").exists(), "the lock is not given back: {said}");
    let doctor = bench.fleet(&["doctor", "--on", name]);
    assert_eq!(doctor.code, Some(0), "something temporary is left: {said}\n{}", doctor.out);
    outcome.as_str().to_owned()
}

#[test]
fn a_signal_at_any_line_ends_the_run_at_a_safe_point_with_nothing_temporary_left() {
    let every = if std::env::var_os("FLEET_EVERY_LINE").is_some() { 1 } else { EVERY };
    let points: Vec<usize> = (1..=LINES).step_by(every).collect();
    let name = |line: usize| format!("at-{line:03}");
    let bench = Bench::new(points.iter().map(|line| HostSpec::new(name(*line))).collect());
    let waiting = Mutex::new(points.into_iter());
    let outcomes = Mutex::new(BTreeMap::<String, usize>::new());
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                loop {
                    let Some(line) = waiting.lock().unwrap().next() else { return };
                    let signal = if line % 2 == 0 { Signal::TERM } else { Signal::INT };
                    let outcome = signalled_at(&bench, &name(line), line, signal);
                    *outcomes.lock().unwrap().entry(outcome).or_default() += 1;
                }
            });
        }
    });
    let outcomes = outcomes.into_inner().unwrap();
    assert_eq!(outcomes.keys().collect::<Vec<_>>(), ["done", "interrupted"], "{outcomes:?}");
}

/// A terminal of its own with the run in it, as `script` makes one; closing it is killing `script`.
#[test]
fn a_terminal_that_is_closed_stops_the_run_at_a_safe_point_and_breaks_nothing() {
    let bench = Bench::new(vec![HostSpec::new("one"), HostSpec::new("two")]);
    for host in bench.lab.hosts() {
        hold_the_copy(&bench, host);
    }
    let (code, words) = (bench.path("code"), acknowledging(&["upgrade", "--all", "--parallel", "1"], &[]));
    // The shell does what a login shell does when its terminal is gone, and outlives it to tell how the run ended.
    let line = format!(
        "'{}' {} & run=$!; trap \"kill -HUP $run\" HUP; wait $run; wait $run; echo $? >'{}.new'; mv '{}.new' '{}'",
        env!("CARGO_BIN_EXE_fleet"),
        words.join(" "),
        code.display(),
        code.display(),
        code.display()
    );
    let mut places = bench.command(&[]);
    places.env("FLEET_LOG", "debug").env("TERM", "xterm").env("SHELL", "/bin/sh");
    // Tests that are run under nohup hand on that a hangup is ignored, and fleet would keep to that.
    let mut script = std::process::Command::new("env");
    script
        .args(["--default-signal=HUP", "script", "-qec", &line, "/dev/null"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    script.current_dir(places.get_current_dir().unwrap());
    script.env_clear().envs(places.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let mut script = script.spawn().unwrap();
    let copying = |name: &str| bench.host(name).folder().join("copying").exists();
    until("a host is in its copy", || copying("one") || copying("two"));
    script.kill().unwrap();
    script.wait().unwrap();
    let run = bench.run();
    until("the run knows that its terminal is gone", || {
        fs::read_to_string(run.join("control")).is_ok_and(|text| text.contains("a closed terminal"))
    });
    fs::write(bench.path("gate"), "").unwrap();
    until("the run is over", || code.exists());
    assert_eq!(fs::read_to_string(&code).unwrap().trim(), "7");
    for name in ["one", "two"] {
        assert_eq!(bench.report(name)["outcome"], "interrupted");
        let events = bench.journal(name);
        assert!(matches!(events.last().unwrap().what, What::Finished { .. }));
        assert_eq!(bench.host(name).state().power, Power::Running);
    }
    assert!(run.join("report.md").exists());
}

#[test]
fn a_host_whose_disk_is_full_says_so_and_is_gone_on_with_once_there_is_room() {
    let points = [
        ("at-the-lock", ""),
        ("in-the-copy", r#""what":"step-started","step":"backup/copy""#),
        ("in-the-proof", r#""what":"step-started","step":"backup/prove""#),
        ("in-the-rung", r#""what":"step-started","step":"to-0.7/fetch""#),
    ];
    let bench = Bench::new(points.iter().map(|(name, _)| HostSpec::new(*name)).collect());
    bench.host("at-the-lock").inject(Fault::NoRoom);
    let mut run = UnderWay::start(&bench, &acknowledging(&["upgrade", "--all"], &[]));
    until("the run has begun", || bench.path("runs").join(".last").exists());
    for (name, text) in points.iter().filter(|(_, text)| !text.is_empty()) {
        let journal = bench.run().join(name).join("journal.ndjson");
        until(text, || fs::read_to_string(&journal).is_ok_and(|lines| lines.contains(text)));
        bench.host(name).inject(Fault::NoRoom);
    }
    let code = run.child.wait().unwrap().code();
    assert!(matches!(code, Some(3 | 5 | 6)), "{code:?}\n{}", run.said());
    for (name, _) in &points {
        let report = bench.report(name);
        let outcome = report["outcome"].as_str().unwrap();
        assert_ne!(outcome, "done", "{name} cannot be");
        let message = report["failure"]["message"].as_str().unwrap();
        assert!(
            message.contains("spool") && message.contains("cannot be written"),
            "{name}: {outcome}: {message}"
        );
        assert!(report["next"].as_array().is_some_and(|next| !next.is_empty()), "{name}: nothing to type");
    }
    for (name, _) in &points {
        bench.host(name).heal(&Fault::NoRoom);
    }
    bench.fleet(&["resume", "last"]).ends(0);
    for (name, _) in &points {
        assert_eq!(bench.report(name)["outcome"], "done");
        assert_eq!(bench.fleet(&["doctor", "--on", name]).code, Some(0), "{name}: something is left");
    }
}
