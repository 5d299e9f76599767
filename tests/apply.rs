//! Plans that are made now and carried out later, by the real binary on simulated hosts: exactly what was planned, on the clusters that are
//! as they were, and on no other.
#![expect(clippy::unwrap_used, clippy::panic, reason = "what cannot be set up fails its test")]

mod lab_support;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use fleet::fingerprint;
use fleet::lab::{Fault, Host, HostSpec};
use fleet::plan_file::{self, PlanFile, Said};
use fleet::version::Version;
use jiff::{SignedDuration, Timestamp};
use lab_support::{Bench, Ran, acknowledging, replace_program};
use serde_json::Value;

const FLUX: &str = "flux-system";
const SOURCE: &str = "gitrepositories";
const STACKSPIN: &str = "openappstack";

/// A host with next to nothing on it: what many of them do is done soon.
fn small(name: &str) -> HostSpec {
    HostSpec::new(name).apps(Vec::<String>::new())
}

fn numbered(count: usize) -> Vec<HostSpec> {
    (1..=count).map(|number| small(&format!("host-{number:02}"))).collect()
}

/// Plans for every host into this file.
fn plan(bench: &Bench, name: &str) -> (PathBuf, PlanFile) {
    let path = bench.path(name);
    bench.fleet(&acknowledging(&["plan", "--all"], &["--out", path.to_str().unwrap()])).ends(2);
    let (file, _) = plan_file::load(&path).unwrap();
    (path, file)
}

fn apply(bench: &Bench, file: &str, more: &[&str]) -> Ran {
    let words: Vec<&str> = ["apply", file, "--parallel", "12"].iter().chain(more).copied().collect();
    bench.fleet(&words)
}

/// Stores a plan file as another one would have, and says where.
fn stored(bench: &Bench, name: &str, file: &PlanFile) -> String {
    let path = bench.path(name);
    file.store(&path).unwrap();
    path.to_str().unwrap().to_owned()
}

fn branch(host: &Host) -> Value {
    host.object(SOURCE, FLUX, STACKSPIN).unwrap()["spec"]["ref"]["branch"].clone()
}

fn suspend(host: &Host, suspended: bool) {
    host.edit(SOURCE, FLUX, STACKSPIN, |source| source["spec"]["suspend"] = suspended.into());
}

/// The message of a refusal in the newest run.
fn refused(bench: &Bench, cluster: &str) -> (String, String) {
    let report = bench.report(cluster);
    assert_eq!(report["outcome"], "refused", "{report}");
    let text = |key: &str| report["failure"][key].as_str().unwrap().to_owned();
    (text("cause"), text("message"))
}

/// What changes a cluster, as it is sent. The lock's own files in fleet's spool are nothing of the cluster's.
const CHANGES: [&str; 9] = [
    "kubectl patch",
    "kubectl create",
    "kubectl annotate",
    "kubectl delete",
    "kubectl replace",
    "kubectl scale",
    "systemctl stop",
    "systemctl start",
    "tar -C",
];

fn changing(host: &Host, from: usize) -> Vec<String> {
    let mut lines = host.commands().split_off(from);
    lines.retain(|line| CHANGES.iter().any(|change| line.contains(change)));
    lines
}

#[test]
fn of_fifty_clusters_the_one_that_changed_is_refused_alone_and_a_plan_applied_again_does_nothing() {
    let bench = Bench::new(numbered(50));
    let (path, file) = plan(&bench, "plan.json");
    let path = path.to_str().unwrap();
    assert_eq!(file.clusters.len(), 50);
    let changed = bench.host("host-25");
    suspend(changed, true);
    let asked = changed.commands().len();

    let ran = apply(&bench, path, &["--ack", "flux-source"]).ends(5);
    assert!(ran.out.contains("50 clusters: 49 done, 1 refused"), "{}", ran.out);
    assert!(ran.out.contains("source flux-system/openappstack suspended: no -> yes"), "{}", ran.out);
    assert!(ran.out.contains("plan --on host-25 --to 0.7"), "{}", ran.out);
    let (cause, message) = refused(&bench, "host-25");
    assert_eq!(cause, "stale-plan");
    assert!(message.starts_with("it has changed since the plan was made: "), "{message}");
    assert_eq!(changing(changed, asked), Vec::<String>::new());
    assert!(!changing(bench.host("host-01"), 0).is_empty(), "an upgrade is not seen");
    for host in bench.lab.hosts() {
        assert_eq!(branch(host), if host.spec().name == "host-25" { "v0.6" } else { "v0.7" });
    }
    what_ran_is_what_was_planned(&bench, &file);

    // Again: nothing for those that are done; the one that is as it was again fits the plan again.
    suspend(changed, false);
    let sent: Vec<usize> = bench.lab.hosts().map(|host| host.commands().len()).collect();
    let ran = apply(&bench, path, &[]).ends(0);
    assert!(ran.out.contains("50 clusters: 1 done, 49 nothing to do"), "{}", ran.out);
    assert_eq!(branch(changed), "v0.7");
    for (host, sent) in bench.lab.hosts().zip(sent).filter(|(host, _)| host.spec().name != "host-25") {
        assert_eq!(changing(host, sent), Vec::<String>::new());
    }
}

/// The run keeps the plan file, each cluster's plan is the one in it, and the reports name both.
fn what_ran_is_what_was_planned(bench: &Bench, file: &PlanFile) {
    let run = bench.run();
    let (kept, sum) = plan_file::load(&run.join("plan.json")).unwrap();
    assert_eq!(kept, *file);
    for (name, said) in file.clusters.iter().filter(|(name, _)| *name != "host-25") {
        let Said::Plan { plan, .. } = said else { panic!("{name}: {said:?}") };
        let stored = fs::read(run.join(name).join("to-0.7/plan.json")).unwrap();
        assert_eq!(serde_json::from_slice::<fleet::plan::Plan>(&stored).unwrap(), **plan, "{name}");
    }
    let report: Value = serde_json::from_slice(&fs::read(run.join("report.json")).unwrap()).unwrap();
    assert_eq!(report["run"]["plan"]["checksum"], sum);
    let told = fs::read_to_string(run.join("report.md")).unwrap();
    assert!(told.contains(&sum) && told.contains("plan.json"), "{told}");
}

#[test]
fn a_plan_that_is_not_good_is_refused_before_anybody_is_contacted() {
    let bench = Bench::new(vec![small("one")]);
    let (path, file) = plan(&bench, "plan.json");
    let path = path.to_str().unwrap();
    let connections = bench.host("one").connections();
    let text = fs::read_to_string(path).unwrap();
    let written = |name: &str, text: &str| {
        fs::write(bench.path(name), text).unwrap();
        bench.path(name).to_str().unwrap().to_owned()
    };
    let now = Timestamp::now();
    let hour = SignedDuration::from_hours(1);
    let old = PlanFile { made_at: now - hour * 3, expires_at: now - hour, ..file.clone() };
    let early = PlanFile { made_at: now + hour, expires_at: now + hour * 3, ..file.clone() };
    let other = PlanFile { fleet: "0.0.1".to_owned(), ..file.clone() };
    let edited = text.replace("\"branch\": \"v0.7\"", "\"branch\": \"v0.8\"");
    assert_ne!(edited, text);
    let cases = [
        (stored(&bench, "old.json", &old), 5, "the plan expired at"),
        (stored(&bench, "early.json", &early), 5, "one of the two clocks is wrong"),
        (stored(&bench, "other.json", &other), 5, "was made by fleet 0.0.1"),
        (written("edited.json", &edited), 5, "is not as `fleet plan` wrote it"),
        (written("torn.json", &text[..30_000.min(text.len() - 100)]), 5, "is no plan file, or a damaged one"),
        (written("form.json", &text.replace("\"schema\": 2", "\"schema\": 9")), 5, "has the form 9"),
        (bench.path("none.json").to_str().unwrap().to_owned(), 64, "cannot read the plan file"),
    ];
    for (path, code, why) in &cases {
        let ran = apply(&bench, path, &[]).ends(*code);
        assert!(ran.err.contains(why), "{path}: {}", ran.err);
        assert!(*code == 64 || ran.err.contains("Nothing was contacted"), "{path}: {}", ran.err);
    }
    let ran = apply(&bench, &cases[0].0, &[]).ends(5);
    let again = ran.err.lines().last().unwrap().trim();
    assert!(again.starts_with("fleet plan --all --out plan-") || again.contains(" --ack "), "{again}");
    assert!(!again.contains(path), "the old file would not be written over: {again}");
    assert_eq!(bench.host("one").connections(), connections);
    assert!(!bench.path("runs").exists(), "there was no run");

    // What is there is not written over, and nobody is asked for nothing.
    let ran = bench.fleet(&["plan", "--all", "--out", path]).ends(64);
    assert!(ran.err.contains("there is such a file already"), "{}", ran.err);
    assert_eq!(bench.host("one").connections(), connections);
    assert_eq!(fs::read_to_string(path).unwrap(), text);
}

/// Rewrites the inventory's entry of a cluster.
fn edit_inventory(bench: &Bench, cluster: &str, change: impl Fn(&str) -> String) {
    let path = bench.lab.inventory();
    let path = if path.is_dir() {
        let mut files: Vec<PathBuf> =
            fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.retain(|file| fs::read_to_string(file).unwrap().contains(&format!("[clusters.\"{cluster}\"]")));
        files.pop().unwrap()
    } else {
        path
    };
    let text = fs::read_to_string(&path).unwrap();
    let head = format!("[clusters.\"{cluster}\"]");
    let begin = text.find(&head).unwrap_or_else(|| panic!("{text}"));
    let end = text[begin + 1..].find("[clusters.").map_or(text.len(), |at| begin + 1 + at);
    fs::write(&path, format!("{}{}{}", &text[..begin], change(&text[begin..end]), &text[end..])).unwrap();
}

#[test]
fn a_cluster_that_the_inventory_no_longer_has_or_has_otherwise_is_refused_unasked() {
    let bench = Bench::new(["gone", "moved", "other-key", "same"].map(small).to_vec());
    let (path, file) = plan(&bench, "plan.json");
    let connections = |name: &str| bench.host(name).connections();
    let before: BTreeMap<&str, usize> =
        ["gone", "moved", "other-key"].map(|name| (name, connections(name))).into();
    let (port, other_port) = (bench.host("moved").ssh.number(), bench.host("gone").ssh.number());
    let Said::Plan { plan, .. } = &file.clusters["other-key"] else { panic!() };
    let key = plan.fingerprint["inventory host_key"].clone();
    let other_key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJHaHFQzEqqRnCLIRCvfgoWRV0dnD5ZhR1cNfDEBDvBd";
    edit_inventory(&bench, "gone", |_| String::new());
    edit_inventory(&bench, "moved", |text| {
        text.replace(&format!("port = {port}"), &format!("port = {other_port}"))
    });
    edit_inventory(&bench, "other-key", |text| text.replace(&key, other_key));

    let path = path.to_str().unwrap();
    let ran = apply(&bench, path, &[]).ends(5);
    assert!(ran.out.contains("4 clusters: 1 done, 3 refused"), "{}", ran.out);
    for (name, connections) in before {
        assert_eq!(bench.host(name).connections(), connections, "{name} was contacted");
    }
    assert_eq!(branch(bench.host("same")), "v0.7");
    let (cause, message) = refused(&bench, "gone");
    assert!(cause == "not-in-inventory" && message.contains("no cluster gone"), "{message}");
    let (cause, message) = refused(&bench, "moved");
    let moved = format!("inventory address: root@127.0.0.1:{port} -> root@127.0.0.1:{other_port}");
    assert!(cause == "stale-plan" && message.contains(&moved), "{message}");
    let (cause, message) = refused(&bench, "other-key");
    let changed = format!("inventory host_key: {key} -> {other_key}");
    assert!(cause == "stale-plan" && message.contains(&changed), "{message}");

    // By name it is asked for what is not there; what the plan has nothing for is left alone and told.
    apply(&bench, path, &["--on", "gone"]).ends(64);
    let ran = apply(&bench, path, &["--on", "same"]).ends(0);
    assert!(ran.out.contains("1 cluster: 1 nothing to do"), "{}", ran.out);
}

#[test]
fn whatever_a_plan_stands_on_is_named_when_it_changes_and_facts_gathered_twice_are_the_same() {
    let bench = Bench::new(vec![HostSpec::new("one").apps(["nextcloud"])]);
    let host = bench.host("one");
    let (path, file) = plan(&bench, "plan.json");
    let print = |file: &PlanFile| {
        let Said::Plan { plan, .. } = &file.clusters["one"] else { panic!("{file:?}") };
        plan.fingerprint.clone()
    };
    let first = print(&file);
    for name in ["host key", "k3s", "version", "cluster UID", "inventory address"] {
        assert!(first.contains_key(name), "{name}: {first:#?}");
    }
    assert!(first["host key"].starts_with("SHA256:"));
    assert_eq!(first["applications"], "nextcloud");
    assert!(first.keys().filter(|name| name.starts_with("volume ")).count() >= 3, "{first:#?}");
    assert!(!first.values().any(|value| value == "not known"), "{first:#?}");

    // What comes and goes by itself is in no fingerprint: annotations, resource versions, sizes, pods.
    let claim = host.objects("persistentvolumeclaims").remove(0);
    let volume = host.volume(&text(&claim, "namespace"), &text(&claim, "name")).unwrap();
    fs::write(volume.join("more"), vec![b'x'; 1 << 20]).unwrap();
    host.edit(SOURCE, FLUX, STACKSPIN, |source| source["metadata"]["annotations"]["seen"] = "yes".into());
    host.inject(Fault::FailingPod);
    let (_, again) = plan(&bench, "again.json");
    assert_eq!(fingerprint::changes(&first, &print(&again)), Vec::<String>::new());
    host.heal(&Fault::FailingPod);

    let job = host.objects("cronjobs").remove(0);
    let (namespace, name) = (text(&job, "namespace"), text(&job, "name"));
    let suspended = |yes: bool| move |job: &mut Value| job["spec"]["suspend"] = yes.into();
    host.edit("cronjobs", &namespace, &name, suspended(true));
    is_stale(&bench, &path, "suspended: no -> yes");
    host.edit("cronjobs", &namespace, &name, suspended(false));

    host.edit("secrets", FLUX, "oas-cluster-variables", |secret| secret["data"]["extra"] = "eA==".into());
    is_stale(&bench, &path, "secret flux-system/oas-cluster-variables: ");
    assert_eq!(branch(host), "v0.6");
}

fn text(object: &Value, key: &str) -> String {
    object["metadata"][key].as_str().unwrap().to_owned()
}

/// The plan no longer fits the only host, and this is why.
fn is_stale(bench: &Bench, path: &Path, why: &str) {
    apply(bench, path.to_str().unwrap(), &[]).ends(5);
    let (cause, message) = refused(bench, "one");
    assert!(cause == "stale-plan" && message.contains(why), "{message}");
}

#[test]
fn clusters_without_a_plan_are_left_alone_and_told_and_one_that_is_unwell_is_not_called_done() {
    let done = small("done").version(Version::V0_7);
    let sick = small("sick").version(Version::V0_7);
    let bench = Bench::new(vec![small("due"), done, sick]);
    replace_program(bench.host("sick"), "systemctl", "echo failed; exit 3");
    let path = bench.path("plan.json");
    let ran = bench.fleet(&acknowledging(&["plan", "--all"], &["--out", path.to_str().unwrap()])).ends(3);
    assert!(ran.out.contains("done: runs 0.7; nothing to do"), "{}", ran.out);
    assert!(
        ran.out.contains("sick: runs 0.7, so an upgrade has nothing to do, but it is not well: "),
        "{}",
        ran.out
    );
    assert!(
        ran.out.contains("1 to upgrade, 1 with nothing to do, 1 not well, 0 refused, 0 not reached"),
        "{}",
        ran.out
    );
    let sent = ["done", "sick"].map(|name| bench.host(name).commands().len());
    let ran = apply(&bench, path.to_str().unwrap(), &[]).ends(0);
    assert!(ran.out.contains("left alone: done (nothing to do), sick (not well)"), "{}", ran.out);
    assert!(ran.out.contains("1 cluster: 1 done"), "{}", ran.out);
    assert_eq!(["done", "sick"].map(|name| bench.host(name).commands().len()), sent);
}
