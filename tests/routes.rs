//! Routes over rungs that upstream's scripts climb: stopped, cut off and killed in their middle, and gone on with.
#![expect(clippy::unwrap_used, reason = "what cannot be set up fails its test")]

mod lab_support;
mod upstream_repo;

use std::fs;
use std::path::PathBuf;

use fleet::lab::HostSpec;
use fleet::upstream::alive;
use fleet::version::Version;
use lab_support::{UnderWay, acknowledging, tree, until};
use rustix::process::Signal;
use serde_json::Value;
use upstream_repo::bench::Upstream;

const HOST: &str = "oak";

/// A provisioning machine with one small host.
fn small(version: Version) -> Upstream {
    Upstream::new(vec![HostSpec::new(HOST).version(version).apps(["wordpress"])])
}

/// An upgrade that is in the middle of this script of upstream's, which waits for the file to go away.
fn in_a_script(up: &Upstream, script: &str) -> (UnderWay, PathBuf) {
    let waits = up.checkout.join("clusters").join(HOST).join("waits");
    fs::write(&waits, "").unwrap();
    let run = UnderWay::of(&mut up.command(&acknowledging(&["upgrade", "--to", "2"], &["--all"])));
    until("the script runs", || up.ran(HOST).last().is_some_and(|last| last == script));
    (run, waits)
}

/// Whether anything is left of the script of a step of the newest run.
fn is_alive(up: &Upstream, step: &str) -> bool {
    !alive(&format!("{}/{HOST}/{step}", up.run())).is_empty()
}

/// The branch that the cluster follows.
fn branch(up: &Upstream) -> Value {
    let source = up.bench.host(HOST).object("gitrepositories", "flux-system", "stackspin").unwrap();
    source["spec"]["ref"]["branch"].clone()
}

/// Commands that the report says are to be typed next.
fn next(up: &Upstream) -> Vec<String> {
    let report = up.bench.report(HOST);
    let next = report["next"].as_array().unwrap().iter();
    next.map(|next| next["command"].as_str().unwrap().to_owned()).collect()
}

/// Types a command that was advised.
fn type_it(up: &Upstream, command: &str) -> lab_support::Ran {
    let words: Vec<&str> = command.strip_prefix("fleet ").unwrap().split(' ').collect();
    up.fleet(&words)
}

#[test]
fn ctrl_c_lets_a_script_go_on_to_its_end_and_the_run_stops_behind_its_rung() {
    let up = small(Version::V0_8);
    let (mut run, waits) = in_a_script(&up, "upgrade");
    run.signal(Signal::INT);
    until("it says that it is stopping", || run.says("nothing new is started"));
    assert!(is_alive(&up, "to-1.0/upgrade"), "the script goes on");
    fs::remove_file(waits).unwrap();
    assert_eq!(run.child.wait().unwrap().code(), Some(7), "{}", run.said());

    let report = up.bench.report(HOST);
    assert_eq!((&report["outcome"], &report["state"]), (&"interrupted".into(), &"clean".into()), "{report}");
    assert_eq!(report["version_after"], "1.0", "the rung was finished: half of one is no safe point");
    assert_eq!(up.ran(HOST), ["install", "upgrade"]);
    assert_eq!(next(&up), [format!("fleet resume {} --on {HOST}", up.run())]);
}

#[test]
fn a_second_ctrl_c_ends_the_script_with_all_that_it_started_and_a_person_says_whether_it_was_done() {
    let up = small(Version::V0_8);
    let (mut run, waits) = in_a_script(&up, "upgrade");
    run.signal(Signal::INT);
    until("it says how to let go", || run.says("press Ctrl-C again"));
    run.signal(Signal::INT);
    assert_eq!(run.child.wait().unwrap().code(), Some(7), "{}", run.said());
    assert!(!is_alive(&up, "to-1.0/upgrade"), "nothing of the script goes on");
    let report = up.bench.report(HOST);
    assert_eq!((&report["outcome"], &report["state"]), (&"in-doubt".into(), &"unknown".into()), "{report}");
    let backup = report["way_back"]["backup"].as_str().unwrap();
    assert_eq!(next(&up).last().unwrap(), &format!("fleet restore {backup} --to {HOST}"));

    // Nobody has said that the script may be run twice: it is not, until somebody does.
    up.fleet(&["resume", "last"]).ends(6);
    let report = up.bench.report(HOST);
    assert_eq!(report["failure"]["cause"], "ask-a-person");
    let settle = format!("fleet resume {} --on {HOST} --settle {HOST}:to-1.0/upgrade=done", up.run());
    assert!(next(&up).contains(&settle), "{:?}", next(&up));
    assert_eq!(up.ran(HOST), ["install", "upgrade"]);
    assert_eq!(branch(&up), "v0.8");

    fs::remove_file(waits).unwrap();
    type_it(&up, &settle.replace("=done", "=again")).ends(0);
    assert_eq!(up.bench.report(HOST)["outcome"], "done");
    assert_eq!(up.ran(HOST)[..3], ["install", "upgrade", "upgrade"]);
    assert_eq!(branch(&up), "v2");
}

#[test]
fn a_fleet_that_is_killed_within_a_script_starts_no_second_one_beside_it() {
    let up = small(Version::V1_0);
    let volumes = tree(&up.bench.host(HOST).storage(), &[]);
    let (run, waits) = in_a_script(&up, "upgrade");
    // As kill -9 does.
    drop(run);
    assert!(is_alive(&up, "to-2/upgrade"), "nobody has ended it");
    let held_up = up.fleet(&["resume", "last"]).ends(6);
    assert!(held_up.out.contains("still runs on this machine"), "{}", held_up.out);
    assert_eq!(up.bench.report(HOST)["failure"]["cause"], "script-runs");
    assert_eq!(up.ran(HOST), ["upgrade"]);

    // Its way to the cluster is gone: it fails of that.
    fs::remove_file(waits).unwrap();
    until("the script has ended", || !is_alive(&up, "to-2/upgrade"));
    up.fleet(&["resume", "last"]).ends(0);
    assert_eq!(up.ran(HOST), ["upgrade", "upgrade", "upgrade"], "again, and once more for the DaemonSet");
    assert_eq!(branch(&up), "v2");
    assert!(volumes == tree(&up.bench.host(HOST).storage(), &[]), "its volumes have changed");
}
