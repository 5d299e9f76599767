//! Runs that are cut off anywhere and gone on with by the real binary: nothing is lost, and nothing is done twice that must not be.
#![expect(clippy::unwrap_used, reason = "what cannot be set up fails its test")]

mod lab_support;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use fleet::event::{Event, StepEnd, What};
use fleet::inventory;
use fleet::journal::{self, Journal};
use fleet::lab::{Fault, Host, HostSpec, OF_THIS_MACHINE, Power};
use fleet::remote::{self, Output, Remote, RemoteError};
use fleet::run::{self, Position, Wish};
use fleet::ssh::{Limits, Network};
use fleet::state::{Run, RunFolder, SCHEMA};
use fleet::version::Version;
use lab_support::{Bench, acknowledging, left_on_spool, tree, until};
use serde_json::Value;
use tokio::io::AsyncWrite;
use tokio::sync::Notify;

/// Where the first process dies: at the how-manieth command of a step, before it is sent or when it has been done.
#[derive(Debug, Clone)]
struct Death {
    step: String,
    command: usize,
    after: bool,
}

/// A line on which the process that uses it dies: it never answers again, and whoever waits for it is dropped.
struct Dying<'a, R> {
    line: &'a R,
    journal: &'a Path,
    death: &'a Death,
    seen: AtomicUsize,
    dead: &'a Notify,
}

impl<R: Remote> Dying<'_, R> {
    /// Whether this command is the one.
    fn is_now(&self, command: &remote::Command) -> bool {
        let step =
            journal::read(self.journal).unwrap().into_iter().rev().find_map(|event| match event.what {
                What::StepStarted { step, .. } => Some(step),
                _ => None,
            });
        // Of the switch the one command that does it counts, not what keeps the truce alive.
        let counts = !self.death.step.ends_with("/switch-branch") || command.line().contains("kubectl patch");
        counts
            && step.as_deref() == Some(&*self.death.step)
            && self.seen.fetch_add(1, Ordering::Relaxed) + 1 == self.death.command
    }

    async fn die<T>(&self) -> T {
        self.dead.notify_one();
        std::future::pending().await
    }
}

impl<R: Remote> Remote for Dying<'_, R> {
    async fn run(
        &self,
        command: &remote::Command,
        sink: &mut (dyn Write + Send),
    ) -> Result<Output, RemoteError> {
        let now = self.is_now(command);
        if now && !self.death.after {
            return self.die().await;
        }
        let answer = self.line.run(command, sink).await;
        if now { self.die().await } else { answer }
    }

    async fn stream(
        &self,
        command: &remote::Command,
        sink: &mut (dyn AsyncWrite + Unpin + Send),
    ) -> Result<Output, RemoteError> {
        let now = self.is_now(command);
        if now && !self.death.after {
            return self.die().await;
        }
        let answer = self.line.stream(command, sink).await;
        if now { self.die().await } else { answer }
    }
}

/// Begins a run of all hosts of a bench in this process, which dies on each of them where it is told to.
fn begin(bench: &Bench, deaths: &BTreeMap<String, Death>) -> RunFolder {
    let mut inventory = inventory::load(&bench.lab.inventory()).unwrap();
    let acknowledged: Vec<String> = OF_THIS_MACHINE.iter().map(|id| (*id).to_owned()).collect();
    let run = Run {
        schema: SCHEMA,
        id: "20261122T101500Z-abcd".into(),
        started: "2026-11-22T10:15:00Z".parse().unwrap(),
        by: "operator@desk".into(),
        fleet: "0.1.0".into(),
        typed: Vec::new(),
        target: Some(Version::V0_7),
        clusters: inventory.clusters.keys().cloned().collect(),
        acknowledged: acknowledged.clone(),
        plan: None,
    };
    let folder = RunFolder::create(&bench.path("runs"), &run).unwrap();
    let (backups, network) = (bench.path("backups"), Network::new(Limits::default()));
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let tasks: Vec<_> = deaths
        .iter()
        .map(|(name, death)| {
            let cluster = inventory.clusters.remove(name).unwrap();
            let (network, death) = (Arc::clone(&network), death.clone());
            let (acknowledged, backups) = (acknowledged.clone(), backups.clone());
            let folder = folder.cluster(name).unwrap();
            runtime.spawn(async move {
                let session = network.connect(&cluster.host).await.unwrap();
                let path = folder.journal();
                let mut journal = Journal::create(&path, &cluster.name, None).unwrap();
                journal.record(What::Begun { address: cluster.login() }).unwrap();
                let dead = Notify::new();
                let line = Dying {
                    line: &session,
                    journal: &path,
                    death: &death,
                    seen: AtomicUsize::new(0),
                    dead: &dead,
                };
                let wish = Wish {
                    cluster: &cluster,
                    target: Version::V0_7,
                    acknowledged: &acknowledged,
                    folder: &folder,
                    backups: &backups,
                    host_key: session.host_key(),
                    plan: None,
                    stop: &AtomicBool::new(false),
                };
                let whole = Position::default();
                tokio::select! {
                    ended = run::climb(&line, wish, &whole, &mut journal) => panic!("{}: it lives: {ended:?}", cluster.name),
                    () = dead.notified() => {}
                }
            })
        })
        .collect();
    for task in tasks {
        runtime.block_on(task).unwrap();
    }
    folder
}

/// What a cluster has and how it says that it is, without what every run makes anew.
fn cluster(host: &Host) -> BTreeSet<String> {
    let store = host.store();
    let line = |object: &Value| {
        let name = |key: &str| object["metadata"][key].as_str().unwrap_or_default().to_owned();
        let kind = object["kind"].as_str().unwrap_or_default();
        let ready = &object["status"]["conditions"][0]["status"];
        format!("{kind} {}/{} {ready}", name("namespace"), name("name"))
    };
    let anew = ["Pod ", "Job ", "Event ", "ReplicaSet ", "Node ", "PersistentVolume "];
    let lines = store.all().map(|(_, object)| line(object));
    lines
        .filter(|line| !anew.iter().any(|kind| line.starts_with(kind)) && !line.contains("/sh.helm.release."))
        .collect()
}

/// The steps of a plan that change the cluster itself, and so need a proven backup before them.
fn is_change(event: &What) -> Option<&str> {
    match event {
        What::StepStarted { step, class, .. } if class.changes() && step.starts_with("to-") => Some(step),
        _ => None,
    }
}

/// What must be true of the journal of any run, however often it was gone on with.
fn holds_its_promises(name: &str, events: &[Event]) {
    let (mut proven, mut done) = (false, BTreeSet::new());
    for event in events {
        match &event.what {
            What::Resumed { .. } => proven = false,
            What::Planned { .. } => done.clear(),
            What::Proven { .. } => proven = true,
            What::StepEnded { step, end: StepEnd::Done, .. } => {
                done.insert(step.clone());
            }
            _ => {}
        }
        if let Some(step) = is_change(&event.what) {
            assert!(proven, "{name}: {step} was begun before this process had proven the backup");
            assert!(!done.contains(step), "{name}: {step} was done, and is done again");
        }
    }
}

/// At which commands of which steps: what every crash table walks wholly, here where it matters most.
const DEATHS: [(&str, usize, bool); 16] = [
    ("backup/copy", 1, false),
    ("backup/copy", 9, true),
    ("backup/copy", 14, false),
    ("backup/cluster-ready", 1, false),
    ("to-0.7/save-secrets", 1, false),
    ("to-0.7/switch-branch", 1, false),
    ("to-0.7/switch-branch", 1, true),
    ("to-0.7/resume-source", 1, true),
    ("to-0.7/fetch", 1, false),
    ("to-0.7/oas-secrets-gone", 1, false),
    ("to-0.7/restore-secrets", 1, false),
    ("to-0.7/restore-secrets", 3, true),
    ("to-0.7/reconcile", 1, true),
    ("to-0.7/converge", 1, false),
    ("truce/give-back", 1, false),
    ("truce/give-back", 2, true),
];

#[test]
fn a_process_that_dies_at_any_command_leaves_nothing_that_a_resume_does_not_bring_to_its_end() {
    let mut deaths = BTreeMap::new();
    for (step, command, after) in DEATHS {
        let when = if after { "after" } else { "before" };
        let name = format!("dies-{}-{command}-{when}", step.replace(['/', '.'], "-"));
        deaths.insert(name, Death { step: step.to_owned(), command, after });
    }
    let spec = |name: &str| {
        let mut spec = HostSpec::new(name).apps(["nextcloud", "wekan"]);
        spec.source_suspended = true;
        spec
    };
    let mut specs: Vec<HostSpec> = deaths.keys().map(|name| spec(name)).collect();
    specs.push(spec("unbroken"));
    let bench = Bench::new(specs);
    let volumes: BTreeMap<String, _> =
        bench.lab.hosts().map(|host| (host.spec().name.clone(), tree(&host.storage(), &[]))).collect();
    let folder = begin(&bench, &deaths);

    let ran = bench.fleet(&["resume", "last", "--parallel", "8"]).ends(0);
    assert!(ran.out.contains(&format!("{0} clusters: {0} done", deaths.len() + 1)), "{}", ran.out);
    let unbroken = cluster(bench.host("unbroken"));
    for host in bench.lab.hosts() {
        let name = &host.spec().name;
        let events = journal::read(&folder.cluster(name).unwrap().journal()).unwrap();
        holds_its_promises(name, &events);
        let differs: Vec<String> = cluster(host).symmetric_difference(&unbroken).cloned().collect();
        assert!(differs.is_empty(), "{name}: {differs:?}");
        assert!(volumes[name] == tree(&host.storage(), &[]), "{name}: its volumes have changed");
        assert_eq!(host.state().power, Power::Running, "{name}");
        assert_eq!(left_on_spool(host), Vec::<PathBuf>::new(), "{name}: nothing is left in its spool");
        let source = host.object("gitrepositories", "flux-system", "openappstack").unwrap();
        assert_eq!(source["spec"]["suspend"], true, "{name}");
    }
    // Done is done.
    let sent: usize = bench.lab.hosts().map(|host| host.commands().len()).sum();
    bench.fleet(&["resume", "last"]).ends(0);
    assert_eq!(bench.lab.hosts().map(|host| host.commands().len()).sum::<usize>(), sent);
}

/// Deaths by the host's name.
fn at(deaths: &[(&str, &str, bool)]) -> BTreeMap<String, Death> {
    let death = |step: &str, after| Death { step: step.to_owned(), command: 1, after };
    deaths.iter().map(|(name, step, after)| ((*name).to_owned(), death(step, *after))).collect()
}

/// A bench of hosts whose first process died where it was told to.
fn dead(deaths: &[(&str, &str, bool)]) -> (Bench, RunFolder) {
    let bench = Bench::new(deaths.iter().map(|(name, ..)| HostSpec::new(*name).apps(["wekan"])).collect());
    let folder = begin(&bench, &at(deaths));
    (bench, folder)
}

fn events(folder: &RunFolder, name: &str) -> Vec<Event> {
    journal::read(&folder.path().join(name).join("journal.ndjson")).unwrap()
}

/// Rewrites a cluster's stored plan.
fn edit_plan(folder: &RunFolder, name: &str, edit: impl FnOnce(&mut Vec<Value>)) {
    let path = folder.path().join(name).join("to-0.7/plan.json");
    let mut plan: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    edit(plan["steps"].as_array_mut().unwrap());
    fs::write(path, plan.to_string()).unwrap();
}

fn never(steps: &mut [Value]) {
    let switch = steps.iter_mut().find(|step| step["id"] == "to-0.7/switch-branch").unwrap();
    switch["redo"] = "never".into();
}

/// The folder of the only backup of a cluster.
fn backup(bench: &Bench, name: &str) -> PathBuf {
    let mut all = fs::read_dir(bench.path("backups").join(name)).unwrap();
    let only = all.next().unwrap().unwrap().path();
    assert!(all.next().is_none(), "{name} has one backup");
    only
}

#[test]
fn what_a_rung_stands_on_is_looked_at_before_anything_is_done() {
    let fetch = "to-0.7/fetch";
    let (bench, folder) = dead(&[
        ("lost-backup", fetch, false),
        ("lost-secrets", fetch, false),
        ("plan-edited", fetch, false),
        ("plan-torn", fetch, false),
        ("changed-since", fetch, false),
        ("of-yesterday", "to-0.7/save-secrets", false),
        ("damaged-backup", fetch, false),
    ]);
    let damaged = backup(&bench, "damaged-backup").join("server.tar.zst");
    let mut bytes = fs::read(&damaged).unwrap();
    *bytes.last_mut().unwrap() ^= 0xff;
    fs::write(&damaged, bytes).unwrap();
    let lost = backup(&bench, "lost-backup");
    fs::remove_file(lost.join("manifest.json")).unwrap();
    fs::remove_dir_all(lost.join("volumes")).unwrap();
    fs::remove_dir_all(backup(&bench, "lost-secrets")).unwrap();
    edit_plan(&folder, "plan-edited", |steps| {
        let switch = steps.iter().position(|step| step["id"] == "to-0.7/switch-branch").unwrap();
        let switch = steps.remove(switch);
        steps.insert(0, switch);
    });
    fs::write(folder.path().join("plan-torn/to-0.7/plan.json"), "{\"schema\":1,\"clus").unwrap();
    let spool = bench.host("changed-since").folder().join("spool");
    fs::write(spool.join("changed"), "999 20261123T080000Z-abcd\n").unwrap();
    // As if a day had gone by since the copy.
    let aged: String = events(&folder, "of-yesterday")
        .into_iter()
        .map(|event| {
            let at = event.at - std::time::Duration::from_secs(25 * 3600);
            journal::line(&Event { at, ..event }).unwrap()
        })
        .collect();
    fs::write(folder.path().join("of-yesterday/journal.ndjson"), aged).unwrap();
    let sent = |name: &str| bench.host(name).commands().len();
    let before = ["plan-edited", "plan-torn"].map(sent);

    bench.fleet(&["resume", "last"]).ends(3);
    let ended = |name: &str| {
        let report = bench.report(name);
        let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
        (text(&report["outcome"]), text(&report["state"]), text(&report["failure"]["cause"]))
    };
    let is =
        |outcome: &str, state: &str, cause: &str| (outcome.to_owned(), state.to_owned(), cause.to_owned());
    assert_eq!(ended("lost-backup"), is("done", "upgraded", "-"));
    assert_eq!(ended("lost-secrets"), is("failed", "dirty", "kept-lost"));
    assert_eq!(ended("plan-edited"), is("refused", "dirty", "plan-out-of-order"));
    assert_eq!(ended("plan-torn"), is("refused", "dirty", "stored-plan"));
    assert_eq!(ended("changed-since"), is("refused", "dirty", "changed-since"));
    assert_eq!(ended("of-yesterday"), is("done", "upgraded", "-"));
    assert_eq!(ended("damaged-backup"), is("failed", "dirty", "backup-not-proven"));
    // The others of the run have still failed.
    bench.fleet(&["resume", "last", "--on", "damaged-backup"]).ends(3);
    assert_eq!(ended("damaged-backup"), is("done", "upgraded", "-"));
    for name in ["lost-backup", "of-yesterday", "damaged-backup"] {
        holds_its_promises(name, &events(&folder, name));
    }
    let copies = |name: &str| {
        let copied = |event: &&Event| matches!(&event.what, What::StepEnded { step, end: StepEnd::Done, .. } if step == "backup/copy");
        events(&folder, name).iter().filter(copied).count()
    };
    let all = ["lost-backup", "of-yesterday", "lost-secrets", "damaged-backup"];
    assert_eq!(all.map(copies), [2, 2, 1, 2]);
    for (name, before) in ["plan-edited", "plan-torn"].into_iter().zip(before) {
        for line in &bench.host(name).commands()[before..] {
            assert!(!line.contains("kubectl patch") && !line.contains("kubectl annotate"), "{name}: {line}");
        }
    }
}

#[test]
fn a_step_that_only_a_person_can_settle_is_asked_about_and_gone_on_with_by_what_is_said() {
    let switch = "to-0.7/switch-branch";
    let (bench, folder) =
        dead(&[("was-done", switch, true), ("was-not", switch, false), ("other", switch, true)]);
    for name in ["was-done", "was-not"] {
        edit_plan(&folder, name, |steps| never(steps));
    }
    let patches = |name: &str| {
        let patch = |line: &&String| line.contains("kubectl patch") && line.contains(r#""branch":"v0.7""#);
        bench.host(name).commands().iter().filter(patch).count()
    };
    let needless = bench.fleet(&["resume", "last", "--settle", "other:to-0.7/switch-branch=done"]).ends(64);
    assert!(needless.err.contains("repeat unless"), "{}", needless.err);
    let ran = bench.fleet(&["resume", "last"]).ends(6);
    assert!(ran.out.contains("--settle was-done:to-0.7/switch-branch=done"), "{}", ran.out);
    assert!(ran.out.contains("2 in doubt"), "{}", ran.out);
    assert_eq!(["was-done", "was-not", "other"].map(patches), [1, 0, 1]);
    let report = bench.report("was-not");
    assert_eq!((&report["outcome"], &report["state"]), (&"in-doubt".into(), &"unknown".into()));

    for strange in ["was-done:to-0.7/fetch=done", "was-done:to-0.7/save-secrets=again", "nobody:a=done"] {
        bench.fleet(&["resume", "last", "--settle", strange]).ends(64);
    }
    let settled = ["was-done:to-0.7/switch-branch=done", "was-not:to-0.7/switch-branch=again"];
    let ran = bench.fleet(&["resume", "last", "--settle", settled[0], "--settle", settled[1]]).ends(0);
    assert!(ran.out.contains("3 done"), "{}", ran.out);
    assert_eq!(["was-done", "was-not", "other"].map(patches), [1, 1, 1]);
    for name in ["was-done", "was-not"] {
        let settled = |event: &Event| matches!(&event.what, What::Settled { step, .. } if step == switch);
        assert!(events(&folder, name).iter().any(settled), "{name}");
    }
}

#[test]
fn a_run_of_other_clusters_or_of_exec_is_not_gone_on_with() {
    let bench = Bench::new(vec![HostSpec::new("one")]);
    bench.fleet(&["exec", "--all", "--", "true"]).ends(0);
    let ran = bench.fleet(&["resume", "last"]).ends(64);
    assert!(ran.err.contains("fleet exec"), "{}", ran.err);
    let run = Run {
        schema: SCHEMA,
        id: "20261122T101500Z-abcd".into(),
        started: "2036-11-22T10:15:00Z".parse().unwrap(),
        by: "operator@desk".into(),
        fleet: "0.1.0".into(),
        typed: Vec::new(),
        target: Some(Version::V0_7),
        clusters: vec!["gone".into(), "one".into()],
        acknowledged: Vec::new(),
        plan: None,
    };
    RunFolder::create(&bench.path("runs"), &run).unwrap();
    let id = run.id.as_str();
    let ran = bench.fleet(&["resume", id]).ends(64);
    assert!(ran.err.contains("cluster gone of run"), "{}", ran.err);
    // Those that are there can be gone on with all the same; nothing of the machine's warnings is acknowledged here.
    bench.fleet(&["resume", id, "--on", "one"]).ends(7);
}

#[test]
fn a_process_that_was_killed_within_a_step_is_taken_up_by_the_next_as_if_nothing_had_been() {
    let hangs = [
        ("in-the-copy", "tar -C"),
        ("before-the-switch", r#""branch":"v0.7""#),
        ("behind-the-switch", "get helmreleases.helm.toolkit.fluxcd.io -A"),
        ("at-the-secrets", "create --validate=false"),
    ];
    let mut specs: Vec<HostSpec> = hangs
        .iter()
        .map(|(name, at)| HostSpec::new(*name).fault(Fault::CommandHangs((*at).into())))
        .collect();
    specs.push(HostSpec::new("unbroken"));
    let bench = Bench::new(specs);
    bench.upgrade(&["--on", "unbroken"]).ends(0);
    let mut child = bench
        .command(&acknowledging(&["upgrade", "--parallel", "12"], &["--all", "--on", "!unbroken"]))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    until("all hang", || {
        hangs.iter().all(|(name, at)| bench.host(name).commands().iter().any(|line| line.contains(at)))
    });
    child.kill().unwrap();
    child.wait().unwrap();
    for (name, at) in hangs {
        bench.host(name).heal(&Fault::CommandHangs(at.into()));
    }
    let ran = bench.fleet(&["resume", "last"]).ends(0);
    assert!(ran.out.contains("4 clusters: 4 done"), "{}", ran.out);
    let unbroken = cluster(bench.host("unbroken"));
    for (name, _) in hangs {
        let host = bench.host(name);
        let differs: Vec<String> = cluster(host).symmetric_difference(&unbroken).cloned().collect();
        assert!(differs.is_empty(), "{name}: {differs:?}");
        assert_eq!(left_on_spool(host), Vec::<PathBuf>::new(), "{name}: nothing is left in its spool");
        holds_its_promises(name, &bench.journal(name));
    }
}
