//! Routes over rungs that upstream's scripts climb: stopped, cut off and killed in their middle, and gone on with.
#![expect(clippy::unwrap_used, reason = "what cannot be set up fails its test")]

mod lab_support;
mod shim;
mod upstream_repo;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;
use std::thread;

use fleet::lab::{Host, HostSpec, Power};
use fleet::upstream::alive;
use fleet::version::Version;
use lab_support::{Ran, UnderWay, acknowledging, left_on_spool, run, tree, until};
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
fn type_it(up: &Upstream, command: &str) -> Ran {
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

/// Types it on another machine, which has the inventory, the keys and a Stackspin checkout, and of the run only what the host keeps.
fn elsewhere(up: &Upstream, words: &[&str]) -> Ran {
    let places = ["runs", "backups"].map(|name| up.bench.path("elsewhere").join(name).display().to_string());
    up.fleet(&[&["--runs", &places[0], "--backups", &places[1]], words].concat())
}

#[test]
fn another_machine_goes_on_within_a_rung_of_scripts_with_its_own_checkout_at_the_commit_of_the_plan() {
    let up = small(Version::V0_8);
    let take_over = ["resume", "last", "--from-hosts", "--all"];
    // The host has the line that announces the script, and no machine knows how it ended.
    kill("before", "step-ended", "to-1.0/upgrade")
        .strikes(up.command(&acknowledging(&["upgrade", "--to", "2"], &["--all"])));
    let git = |words: &[&str]| {
        let ran = run(std::process::Command::new("git").arg("-C").arg(&up.checkout).args(words));
        assert_eq!(ran.code, Some(0), "{}", ran.err);
        ran.out.trim().to_owned()
    };
    fs::remove_dir_all(up.bench.path("backups")).unwrap();
    let commit = git(&["rev-parse", "v1.0"]);
    git(&["branch", "--force", "v1.0", "v0.8"]);
    let refused = elsewhere(&up, &take_over).ends(64);
    let told = format!("at commit {commit}, and the Stackspin checkout here has it at");
    assert!(refused.err.contains(&told), "{}", refused.err);
    git(&["branch", "--force", "v1.0", &commit]);

    let asks = elsewhere(&up, &take_over).ends(6);
    assert!(asks.out.contains(&format!("--settle {HOST}:to-1.0/upgrade=done, or =again")), "{}", asks.out);
    assert_eq!(up.ran(HOST), ["install", "upgrade"], "nothing is run again unasked");
    // As a person would, who has looked at the cluster: the script came to its end.
    elsewhere(&up, &["resume", "last", "--settle", &format!("{HOST}:to-1.0/upgrade=done")]).ends(0);
    assert_eq!(up.ran(HOST)[..2], ["install", "upgrade"]);
    assert_eq!(up.ran(HOST)[2..], ["upgrade", "upgrade"], "those are of the rung to 2");
    assert_eq!(branch(&up), "v2");
}

/// The rungs of the whole route.
const RUNGS: [&str; 4] = ["to-0.7", "to-0.8", "to-1.0", "to-2"];

/// Where `fleet` is killed: at the how-manieth line of the journal that holds all this.
struct Kill {
    how: &'static str,
    what: &'static str,
    step: &'static str,
    nth: &'static str,
}

const fn kill(how: &'static str, what: &'static str, step: &'static str) -> Kill {
    Kill { how, what, step, nth: "1" }
}

impl Kill {
    /// Lets it come to that process, which must not outlive it.
    fn strikes(&self, mut command: std::process::Command) {
        let Self { how, what, step, nth } = self;
        shim::strike(&mut command, how, &format!(r#""what":"{what}","step":"{step}"#));
        command.env("CRASH_NTH", nth);
        let ran = run(&mut command);
        assert_eq!(ran.code, None, "{how} {what} of {step}: it was not killed: {}", ran.err);
    }
}

/// Takes the host up the whole route, killed in the middle of every rung.
fn climbs(up: &Upstream, kills: &[Kill]) {
    let mut command = up.command(&acknowledging(&["upgrade", "--to", "2"], &["--all"]));
    for kill in kills {
        kill.strikes(command);
        command = up.command(&["resume", "last"]);
    }
    run(&mut command).ends(0);
}

/// The data of the secrets that every version carries over, by the name that they have since 0.8.
fn secrets(host: &Host) -> BTreeMap<String, Value> {
    let carried = host.objects("secrets").into_iter().filter_map(|secret| {
        let name = secret["metadata"]["name"].as_str()?;
        let carried = name.ends_with("-variables") || name.ends_with("-basic-auth");
        let name =
            name.strip_prefix("oas-").map_or_else(|| name.to_owned(), |rest| format!("stackspin-{rest}"));
        carried.then(|| (name, secret["data"].clone()))
    });
    carried.collect()
}

/// What these secrets held and those do not, by name and key.
fn lost(before: &BTreeMap<String, Value>, after: &BTreeMap<String, Value>) -> Vec<String> {
    let mut lost = Vec::new();
    for (name, data) in before {
        let keys = data.as_object().into_iter().flatten();
        let gone =
            keys.filter(|(key, value)| after.get(name).is_none_or(|data| data[key.as_str()] != **value));
        lost.extend(gone.map(|(key, _)| format!("{name}: {key}")));
    }
    lost
}

/// What a cluster has, and whether it says that it is ready; without what every run makes anew.
fn objects(host: &Host) -> BTreeSet<String> {
    let anew = ["Pod", "Job", "Event", "ReplicaSet", "Node", "PersistentVolume"];
    let store = host.store();
    let all = store.all().map(|(_, object)| object.clone());
    let lines = all.filter_map(|object| {
        let of = |key: &str| object["metadata"][key].as_str().unwrap_or_default();
        let kind = object["kind"].as_str().unwrap_or_default();
        let kept = !anew.contains(&kind) && !of("name").starts_with("sh.helm.release.");
        let ready = &object["status"]["conditions"][0]["status"];
        kept.then(|| format!("{kind} {}/{} {ready}", of("namespace"), of("name")))
    });
    lines.collect()
}

/// What must be so at the end of the route, however it was gone.
fn has_arrived(up: &Upstream, volumes: &BTreeMap<PathBuf, String>, secrets_before: &BTreeMap<String, Value>) {
    let host = up.bench.host(HOST);
    let report = up.bench.report(HOST);
    assert_eq!(report["outcome"], "done", "{}", report["failure"]);
    assert_eq!((&report["version_after"], &report["way_back"]), (&"2".into(), &Value::Null));
    let rungs: Vec<&str> =
        report["rungs"].as_array().unwrap().iter().map(|rung| rung["migration"].as_str().unwrap()).collect();
    assert_eq!(rungs, RUNGS);
    for rung in RUNGS {
        for file in ["plan.json", "before.json", "after.json"] {
            assert!(up.bench.run().join(HOST).join(rung).join(file).is_file(), "{rung} has no {file}");
        }
    }
    assert_eq!(report["backups"].as_array().unwrap().len(), RUNGS.len(), "one a rung, proven");
    assert_eq!(branch(up), "v2");
    for kustomization in host.objects("kustomizations") {
        let applied = kustomization["status"]["lastAppliedRevision"].as_str().unwrap();
        assert!(applied.starts_with("v2"), "{kustomization}");
    }
    assert!(!volumes.is_empty(), "there are volumes to lose");
    // Applications that a later version has besides have volumes besides.
    let now = tree(&host.storage(), &[]);
    let changed: Vec<_> = volumes
        .iter()
        .filter(|(path, what)| now.get(*path) != Some(*what))
        .map(|(path, what)| format!("{}: {what} became {:?}", path.display(), now.get(path)))
        .collect();
    assert_eq!(changed, Vec::<String>::new());
    assert!(!secrets_before.is_empty());
    assert_eq!(lost(secrets_before, &secrets(host)), Vec::<String>::new());
    assert_eq!(host.state().power, Power::Running);
    assert_eq!(left_on_spool(host), Vec::<PathBuf>::new());
    up.fleet(&["plan", "--to", "2", "--all"]).ends(0);
}

/// The rungs that were climbed, with the ids of their steps.
fn steps(up: &Upstream) -> String {
    let report = up.bench.report(HOST);
    let rungs = report["rungs"].as_array().unwrap().iter();
    let said = rungs.map(|rung| {
        let head = format!("{} to {}\n", rung["from"].as_str().unwrap(), rung["to"].as_str().unwrap());
        let steps = rung["steps"].as_array().unwrap().iter();
        steps.fold(head, |said, step| said + "  " + step.as_str().unwrap() + "\n")
    });
    said.collect()
}

/// A host with these applications goes the whole way; what it has at the end.
fn goes(name: &str, apps: &[&str], kills: &[Kill]) -> BTreeSet<String> {
    let up = Upstream::new(vec![HostSpec::new(HOST).apps(apps.iter().copied())]);
    let host = up.bench.host(HOST);
    let (volumes, secrets) = (tree(&host.storage(), &[]), secrets(host));
    let plan = up.fleet(&["plan", "--to", "2", "--all"]).ends(2).out;
    for rung in ["to 0.8: ", "to 1.0: ", "to 2: "] {
        assert!(plan.contains(rung), "no {rung:?} in:\n{plan}");
    }
    climbs(&up, kills);
    has_arrived(&up, &volumes, &secrets);
    insta::assert_snapshot!(name, steps(&up));
    objects(host)
}

#[test]
fn a_route_that_is_killed_in_the_middle_of_every_rung_ends_where_an_unbroken_one_does() {
    let all = HostSpec::known_apps(Version::V0_6);
    let of_all = [
        kill("after", "step-ended", "to-0.7/switch-branch"),
        kill("after", "step-started", "to-0.8/source"),
        // Some of its claims are moved, and some are not.
        Kill { nth: "12", ..kill("torn", "ran", "to-0.8/move-") },
        kill("after", "step-started", "to-1.0/install"),
        kill("before", "step-ended", "to-1.0/upgrade"),
        kill("torn", "step-ended", "to-2/fix-nextcloud"),
    ];
    let of_two =
        [kill("after", "step-ended", "to-1.0/upgrade"), kill("after", "step-started", "to-2/converge")];
    thread::scope(|scope| {
        let unbroken = scope.spawn(|| goes("steps_with_all_apps", all, &[]));
        let killed = scope.spawn(|| goes("steps_with_all_apps", all, &of_all));
        let two = scope.spawn(|| goes("steps_with_two_apps", &["wordpress", "nextcloud"], &of_two));
        let (unbroken, killed) = (unbroken.join().unwrap(), killed.join().unwrap());
        let differs: Vec<&String> = unbroken.symmetric_difference(&killed).collect();
        assert!(differs.is_empty(), "{differs:?}");
        assert!(two.join().unwrap().len() < unbroken.len());
    });
}
