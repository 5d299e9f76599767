//! The provisioning machine is lost: a run's folder is made anew from what the hosts keep of it.
#![expect(clippy::unwrap_used, reason = "what cannot be set up fails its test")]

mod lab_support;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use fleet::backup::of_cluster;
use fleet::event::{Event, Failure, Outcome, What};
use fleet::inventory::{self, Cluster};
use fleet::journal;
use fleet::lab::{Fault, HostSpec};
use fleet::rollout::handover::{Brought, Rebuilt, bring, known, rebuild};
use fleet::spool::lines;
use fleet::ssh::{Limits, Network};
use fleet::state::Run;
use jiff::Timestamp;
use lab_support::{Bench, files};
use serde_json::Value;

const EVIL: &str = "../../../evil";

/// A file of a run on a host, what somebody does to it, and what is said then.
type Try = (&'static str, &'static dyn Fn(&mut Value), &'static str);

/// What every host brought.
type All = BTreeMap<String, Result<Option<Brought>, Failure>>;

/// The step `to-0.7/resume-source` fails.
fn fails() -> Fault {
    Fault::CommandFails(r#""suspend":false"#.to_owned())
}

/// A run that failed in the middle of a migration, and what was on the machine that is lost now.
struct Lost {
    bench: Bench,
    id: String,
    run: PathBuf,
}

impl Lost {
    /// `left` fails within its migration, `never` could not be reached.
    fn new(left: &[&str], never: &[&str]) -> Self {
        let specs = left
            .iter()
            .map(|name| HostSpec { source_suspended: true, ..HostSpec::new(*name) }.fault(fails()))
            .chain(never.iter().map(|name| HostSpec::new(*name).fault(Fault::Unreachable)));
        let bench = Bench::new(specs.collect());
        bench.upgrade(&["--all"]).ends(3);
        let run = bench.run();
        let id = run.file_name().unwrap().to_str().unwrap().to_owned();
        for name in left {
            assert_eq!(bench.report(name)["failed_step"], "to-0.7/resume-source");
        }
        for name in never {
            bench.host(name).heal(&Fault::Unreachable);
        }
        Self { bench, id, run }
    }

    fn on_host(&self, name: &str, below: &str) -> PathBuf {
        self.bench.host(name).folder().join("spool/runs").join(&self.id).join(below)
    }

    fn clusters(&self, names: &[&str]) -> Vec<Cluster> {
        let inventory = inventory::load(&self.bench.lab.inventory()).unwrap();
        names.iter().map(|name| inventory.clusters[*name].clone()).collect()
    }

    fn bring(&self, names: &[&str]) -> All {
        let network = Network::new(Limits::default());
        wait(bring(self.clusters(names), &self.id, 4, &network))
    }

    /// On another machine.
    fn rebuild(&self, all: All) -> Result<Rebuilt, Failure> {
        let typed = vec!["fleet".to_owned(), "resume".to_owned()];
        rebuild(all, &self.elsewhere("runs"), &self.elsewhere("backups"), typed).unwrap()
    }

    fn elsewhere(&self, name: &str) -> PathBuf {
        self.bench.path("elsewhere").join(name)
    }

    /// Whoever has the host writes another text into a file of the run.
    fn edit(&self, name: &str, below: &str, change: impl FnOnce(&mut Value)) {
        let path = self.on_host(name, below);
        let mut value: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        change(&mut value);
        fs::write(path, value.to_string()).unwrap();
    }

    fn refusal(&self, name: &str) -> String {
        self.bring(&[name]).remove(name).unwrap().unwrap_err().message
    }
}

fn wait<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap().block_on(work)
}

/// The first step of a plan that does this with objects.
fn step(plan: &Value, verb: &str) -> usize {
    let steps = plan["steps"].as_array().unwrap();
    steps.iter().position(|step| step["action"]["objects"][verb].is_object()).unwrap()
}

fn line(cluster: &str, seq: usize, what: What) -> String {
    let at = Timestamp::now();
    journal::line(&Event { seq: seq as u64, at, cluster: cluster.to_owned(), what }).unwrap()
}

fn json<T: serde::de::DeserializeOwned>(path: &Path) -> T {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

/// Files below a folder by their place in it.
fn below(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    files(folder)
        .into_iter()
        .map(|(path, bytes)| (path.strip_prefix(folder).unwrap().to_owned(), bytes))
        .collect()
}

#[test]
fn a_run_is_made_anew_from_its_hosts_as_the_lost_machine_had_it() {
    let lost = Lost::new(&["acme", "globex"], &["initech"]);
    let names = ["acme", "globex", "initech"];
    let network = Network::new(Limits::default());
    let runs = wait(known(lost.clusters(&names), 4, &network));
    assert_eq!(runs["acme"].as_deref(), Ok([lost.id.clone()].as_slice()));
    assert_eq!(runs["initech"].as_deref(), Ok([].as_slice()));

    let rebuilt = lost.rebuild(lost.bring(&names)).unwrap();
    assert_eq!(rebuilt.never_begun, ["initech"]);
    assert!(rebuilt.left_out.is_empty(), "{:?}", rebuilt.left_out);
    let folder = rebuilt.folder.path();
    assert_eq!(folder, lost.elsewhere("runs").join(&lost.id));

    let (old, new): (Run, Run) = (json(&lost.run.join("run.json")), json(&folder.join("run.json")));
    assert_eq!(new, Run { typed: new.typed.clone(), ..old });
    assert_eq!(new.typed, ["fleet", "resume"], "advice is about the places of this machine");
    for name in ["acme", "globex"] {
        for file in ["to-0.7/plan.json", "to-0.7/before.json"] {
            let at = |root: &Path| fs::read(root.join(name).join(file)).unwrap();
            assert!(at(&lost.run) == at(folder), "{name}: {file} is not as it was");
        }
        let was = fs::read_to_string(lost.run.join(name).join("journal.ndjson")).unwrap();
        let is = fs::read_to_string(folder.join(name).join("journal.ndjson")).unwrap();
        assert!(is.starts_with(&was), "{name}: the lines are as they were, byte for byte:\n{was}\n{is}");
    }
    assert!(!folder.join("initech").exists());

    // The backup is lost with the machine: the next change needs a new one, and what was saved before waits for it.
    let backup = of_cluster(&lost.elsewhere("backups"), "acme").unwrap().pop().unwrap();
    let events = journal::read(&folder.join("acme/journal.ndjson")).unwrap();
    assert!(backup.manifest().is_err(), "nobody takes it for a whole one");
    let before = of_cluster(&lost.bench.path("backups"), "acme").unwrap().pop().unwrap();
    assert_eq!(backup.id(), before.id());
    let (saved, here) = (below(&before.path().join("kept")), below(&backup.path().join("kept")));
    assert!(saved.len() > 2 && saved == here, "{:?} and {:?}", saved.keys(), here.keys());
    let told = events.iter().any(|event| {
        matches!(&event.what, What::Noted { step, text }
        if step == "hand-over" && text.contains(&format!("backup {} is not on this machine", before.id())))
    });
    assert!(told, "{events:?}");

    // The report reads it as any run.
    let said = lost.bench.fleet(&["--runs", lost.elsewhere("runs").to_str().unwrap(), "report", &lost.id]);
    assert!(said.out.contains("acme"), "{}{}", said.out, said.err);
}

#[test]
fn another_machine_goes_on_with_the_run_to_its_end() {
    let lost = Lost::new(&["acme"], &["initech"]);
    lost.bench.host("acme").heal(&fails());
    lost.bench.host("initech").inject(Fault::Unreachable);
    fs::remove_dir_all(lost.bench.path("backups")).unwrap();
    let places = [lost.elsewhere("runs"), lost.elsewhere("backups")].map(|path| path.display().to_string());
    let there = |words: &[&str]| {
        let mut all = vec!["--runs", places[0].as_str(), "--backups", places[1].as_str()];
        all.extend(words);
        lost.bench.fleet(&all)
    };
    there(&["resume", "last", "--from-hosts"]).ends(64);
    // One host is done, of the other nobody knows: that is no success.
    let ran = there(&["resume", "last", "--from-hosts", "--all"]).ends(3);
    assert!(ran.out.contains(&format!("run {}, begun by ", lost.id)), "{}", ran.out);
    assert!(ran.out.contains("initech: left out ("), "{}", ran.out);
    let source = lost.bench.host("acme").object("gitrepositories", "flux-system", "openappstack").unwrap();
    assert_eq!(source["spec"]["ref"]["branch"], "v0.7");
    assert_eq!(source["spec"]["suspend"], true, "it was suspended before, and is again");
    let events = journal::read(&lost.elsewhere("runs").join(&lost.id).join("acme/journal.ndjson")).unwrap();
    assert_eq!(events.last().map(|event| &event.what), Some(&What::Finished { outcome: Outcome::Done }));
    // What changes the cluster was done after a new backup was proven here, and what was done before was not done again.
    let resumed = events.iter().position(|event| matches!(event.what, What::Resumed { .. })).unwrap();
    let mut proven = false;
    for event in &events[resumed..] {
        match &event.what {
            What::Proven { folder, .. } => proven = folder.starts_with(places[1].as_str()),
            What::StepStarted { step, .. } if step.starts_with("to-0.7/") => {
                assert!(proven, "{step} is begun without a backup");
                assert!(!["to-0.7/save-secrets", "to-0.7/switch-branch"].contains(&step.as_str()), "{step}");
            }
            _ => {}
        }
    }
    assert!(proven);
    // Once more: it is here now.
    let again = there(&["resume", &lost.id, "--from-hosts", "--on", "acme"]).ends(64);
    assert!(again.err.contains("is there already"), "{}", again.err);
    there(&["resume", &lost.id]).ends(0);
}

#[test]
fn a_backup_that_was_saved_elsewhere_is_found_and_a_run_that_is_here_already_is_left_alone() {
    let lost = Lost::new(&["acme"], &[]);
    fs::create_dir_all(lost.elsewhere("")).unwrap();
    fs::rename(lost.bench.path("backups"), lost.elsewhere("backups")).unwrap();
    let before = below(&lost.elsewhere("backups"));
    let rebuilt = lost.rebuild(lost.bring(&["acme"])).unwrap();
    assert!(before == below(&lost.elsewhere("backups")), "a backup that is there is not touched");

    let first = below(rebuilt.folder.path());
    let again = lost.rebuild(lost.bring(&["acme"])).unwrap_err();
    assert!(again.message.contains("is there already: go on with it, without --from-hosts"), "{again:?}");
    assert!(first == below(rebuilt.folder.path()));
    assert_eq!(fs::read_dir(lost.elsewhere("runs")).unwrap().count(), 1, "nothing is left beside it");
}

#[test]
fn hosts_that_cannot_be_asked_or_were_not_asked_are_left_out_by_name() {
    let lost = Lost::new(&["acme", "globex", "initech"], &[]);
    lost.bench.host("globex").inject(Fault::Unreachable);
    let rebuilt = lost.rebuild(lost.bring(&["acme", "globex"])).unwrap();
    let run: Run = json(&rebuilt.folder.path().join("run.json"));
    assert_eq!(run.clusters, ["acme"], "nobody goes on with a host of which nothing is known");
    assert_eq!(rebuilt.left_out.keys().collect::<Vec<_>>(), ["globex", "initech"]);
    let globex = rebuilt.left_out["globex"].as_ref().unwrap();
    assert_eq!(globex.cause, "unreachable", "{globex:?}");
    assert_eq!(rebuilt.left_out["initech"], None);

    let none = lost.rebuild(lost.bring(&["globex"])).unwrap_err();
    assert!(
        none.message.starts_with("none of the hosts that were asked brought the run; globex: "),
        "{none:?}"
    );
}

#[test]
fn a_host_that_tells_another_story_is_refused_and_leads_nowhere_on_this_machine() {
    let lost = Lost::new(&["acme"], &[]);
    let whole = lost.on_host("acme", "");
    let kept = below(&whole);
    let put_back = || {
        fs::remove_dir_all(&whole).unwrap();
        for (path, bytes) in &kept {
            fs::create_dir_all(whole.join(path).parent().unwrap()).unwrap();
            fs::write(whole.join(path), bytes).unwrap();
        }
    };
    let tries: [Try; 9] = [
        ("run.json", &|run| run["id"] = EVIL.into(), "that of another run"),
        ("run.json", &|run| run["clusters"] = Value::Array(vec![EVIL.into()]), "does not name this cluster"),
        ("run.json", &|run| run["schema"] = 9.into(), "has form 9, and fleet"),
        ("to-0.7/plan.json", &|plan| plan["cluster"] = "globex".into(), "that of another cluster, globex"),
        ("to-0.7/plan.json", &|plan| plan["migration"] = EVIL.into(), "that of another rung"),
        ("to-0.7/plan.json", &|plan| plan["schema"] = 9.into(), "has form 9, and fleet"),
        (
            "to-0.7/plan.json",
            &|plan| {
                let at = step(plan, "save");
                plan["steps"][at]["action"]["objects"]["save"]["set"] = EVIL.into();
            },
            "names secrets as no cluster can",
        ),
        (
            "to-0.7/plan.json",
            &|plan| {
                let at = step(plan, "restore");
                plan["steps"][at]["action"]["objects"]["restore"]["objects"][0]["name"] = EVIL.into();
            },
            "names secrets as no cluster can",
        ),
        (
            "to-0.7/before.json",
            &|facts| facts["cluster"] = "globex".into(),
            "that of another cluster, globex",
        ),
    ];
    for (file, change, told) in tries {
        lost.edit("acme", file, change);
        let said = lost.refusal("acme");
        assert!(said.contains(told), "{file}: {said}");
        put_back();
    }
    fs::rename(lost.on_host("acme", "to-0.7"), lost.on_host("acme", "to-9.9")).unwrap();
    let said = lost.refusal("acme");
    assert!(said.contains("this fleet has no rung to-9.9; use the one that began the run"), "{said}");
    put_back();
    fs::write(lost.on_host("acme", "journal.ndjson"), "{\"sum\":\"\u{1b}[2J\"}\n").unwrap();
    let said = lost.bring(&["acme"]);
    assert!(said["acme"].as_ref().unwrap().is_some(), "what is no line is set aside: {said:?}");
    put_back();

    // The journal's own words for where the backup is are not believed; nor is the plan's for what is copied from here.
    let text = lines(&fs::read(lost.on_host("acme", "journal.ndjson")).unwrap(), "acme").unwrap().text;
    let begun = What::BackupBegun { backup: EVIL.to_owned(), folder: "/etc".to_owned() };
    let more = line("acme", text.lines().count() + 1, begun);
    fs::write(lost.on_host("acme", "journal.ndjson"), text + &more).unwrap();
    let said = lost.refusal("acme");
    assert!(said.contains("its journal names a backup as no fleet does"), "{said}");
    put_back();
    lost.edit("acme", "to-0.7/plan.json", |plan| {
        let steps = plan["steps"].as_array().unwrap();
        let copy = steps.iter().position(|step| step["action"]["backup"].is_object()).unwrap();
        plan["steps"][copy]["action"]["backup"]["cluster_dir"] = "/etc".into();
    });
    let rebuilt = lost.rebuild(lost.bring(&["acme"])).unwrap();
    let plan = fs::read_to_string(rebuilt.folder.path().join("acme/to-0.7/plan.json")).unwrap();
    assert!(!plan.contains("\"/etc\""), "it would be copied into the backup");
    let made: Vec<_> =
        fs::read_dir(lost.elsewhere("")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(
        made.iter().all(|name| name == "runs" || name == "backups"),
        "nothing is made elsewhere: {made:?}"
    );
}

#[test]
fn hosts_that_keep_different_records_of_a_run_decide_for_nobody() {
    let lost = Lost::new(&["acme", "globex"], &[]);
    lost.edit("globex", "run.json", |run| run["acknowledged"] = Value::Array(vec!["disk-space".into()]));
    let said = lost.rebuild(lost.bring(&["acme", "globex"])).unwrap_err().message;
    assert!(said.contains("acme and globex keep different records (run.json) of the run"), "{said}");
    assert!(!lost.elsewhere("runs").exists());
    lost.rebuild(lost.bring(&["acme"])).unwrap();
}

#[test]
fn what_was_brought_shows_no_secret_when_it_is_printed() {
    let lost = Lost::new(&["acme"], &[]);
    let all = lost.bring(&["acme"]);
    let said = format!("{all:?}");
    assert!(said.len() < 200 && said.contains("acme"), "{said}");
}
