//! Whole upgrades of simulated hosts by the real binary: what is promised of a run, from the first question to the report.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::expect_used,
    reason = "what cannot be set up fails its test"
)]

mod lab_support;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use fleet::event::{Outcome, What};
use fleet::journal::Journal;
use fleet::lab::{Fault, Host, HostSpec, Power, RevisionFormat, Vintage};
use fleet::plan::Probe;
use fleet::remote::{self, Exit, Output, Remote, RemoteError};
use fleet::run::{Scribe, Trouble, wait};
use lab_support::{
    Bench, acknowledging, changes, control, files, holds, left_on_spool, replace_program, tree, until, writes,
};
use serde_json::Value;
use tokio::io::AsyncWrite;

const FLUX: &str = "flux-system";
const OAUTH: &str = "oas-oauth-variables";

fn power(host: &Host) -> Power {
    host.state().power
}

/// The data of the secrets that the guide saves, by name.
fn kept_secrets(host: &Host) -> BTreeMap<String, BTreeMap<String, Value>> {
    host.objects("secrets")
        .into_iter()
        .filter_map(|secret| {
            let name = secret["metadata"]["name"].as_str()?.to_owned();
            let kept =
                name.starts_with("oas-") && (name.ends_with("-variables") || name.ends_with("-basic-auth"));
            let data = secret["data"].as_object()?.clone().into_iter().collect();
            kept.then_some((name, data))
        })
        .collect()
}

/// Every object of the simulated cluster, with its resource version.
fn cluster(host: &Host) -> Vec<Value> {
    host.store().all().map(|(_, object)| (**object).clone()).collect()
}

#[test]
fn a_whole_fleet_goes_up_in_one_run_and_everything_is_as_it_was() {
    let with = |name: &str, flux, revisions| {
        let mut spec = HostSpec::new(name);
        (spec.flux, spec.revisions) = (flux, revisions);
        spec
    };
    let mut suspended = HostSpec::new("suspended");
    suspended.source_suspended = true;
    let mut new_flux = with("new-flux", Vintage::V1, RevisionFormat::Digest);
    new_flux.source_suspended = true;
    let bench = Bench::new(vec![
        HostSpec::new("everything"),
        HostSpec::new("two-apps").apps(["nextcloud", "wordpress"]),
        HostSpec::new("no-wekan").fault(Fault::MissingWekan),
        suspended,
        with("beta2", Vintage::Beta2, RevisionFormat::Slash),
        with("beta2-digest", Vintage::Beta2, RevisionFormat::Digest).apps(["nextcloud"]),
        new_flux,
        HostSpec { sudo: true, ..HostSpec::new("operator") },
    ]);
    let before: Vec<_> =
        bench.lab.hosts().map(|host| (host, kept_secrets(host), tree(&host.storage(), &[]))).collect();

    let ran = bench.upgrade(&["--all"]).ends(0);
    assert!(ran.out.contains("8 clusters: 8 done"), "{}", ran.out);

    for (host, secrets, volumes) in before {
        let name = host.spec().name.as_str();
        let source = host.object("gitrepositories", FLUX, "openappstack").unwrap();
        assert_eq!(source["spec"]["ref"]["branch"], "v0.7", "{name}");
        let revision = source["status"]["artifact"]["revision"].as_str().unwrap();
        assert!(revision.starts_with("v0.7"), "{name}: {revision}");
        assert_eq!(source["spec"]["suspend"] == Value::Bool(true), host.spec().source_suspended, "{name}");
        let kustomizations = host.objects("kustomizations");
        assert!(kustomizations.len() > 3, "{name}");
        for kustomization in kustomizations {
            assert_eq!(kustomization["status"]["lastAppliedRevision"], revision, "{name}: {kustomization}");
        }
        same_secrets(host, &secrets, &kept_secrets(host));
        assert!(!volumes.is_empty(), "{name} has volumes to lose");
        assert!(volumes == tree(&host.storage(), &[]), "{name}: its volumes have changed");
        assert_eq!(left_on_spool(host), Vec::<PathBuf>::new(), "{name}: nothing is left in its spool");
        let kept = files(&host.folder().join("spool/runs"));
        assert!(kept.iter().any(|(path, _)| path.ends_with("to-0.7/plan.json")), "{name}");
        assert!(
            !kept.iter().any(|(path, _)| path.to_string_lossy().contains("/kept/")),
            "{name}: a secret is left"
        );
        assert_eq!(power(host), Power::Running, "{name}");
        assert_eq!(host.connections(), 1, "{name}");
        let report = bench.report(name);
        assert_eq!((&report["outcome"], &report["state"]), (&"done".into(), &"upgraded".into()), "{name}");
        let journal = bench.journal(name);
        assert_eq!(
            journal.last().map(|event| &event.what),
            Some(&What::Finished { outcome: Outcome::Done }),
            "{name}"
        );
    }
    the_books_are_kept(&bench);
    a_second_run_finds_nothing_to_do(&bench);
}

/// What the secrets held they hold still, and what 0.7 wants besides is there.
fn same_secrets(
    host: &Host,
    before: &BTreeMap<String, BTreeMap<String, Value>>,
    after: &BTreeMap<String, BTreeMap<String, Value>>,
) {
    let name = &host.spec().name;
    let wekan = host.spec().apps.iter().any(|app| app == "wekan");
    let all_apps = host.spec().apps.len() == HostSpec::known_apps(host.spec().version).len();
    if all_apps {
        assert_eq!(before.len(), 10, "{name}: {:?}", before.keys());
    }
    assert_eq!(before["oas-oauth-variables"].contains_key("wekan_oauth_client_secret"), wekan, "{name}");
    for (secret, data) in before {
        for (key, value) in data {
            assert_eq!(after[secret].get(key), Some(value), "{name}: {secret}, {key}");
        }
        if secret != OAUTH {
            assert_eq!(after[secret].len(), data.len(), "{name}: {secret}");
        }
    }
    let added = after[OAUTH]["wekan_oauth_client_secret"].as_str().unwrap();
    let added = STANDARD.decode(added).unwrap();
    assert!(added.len() == 32 && added.iter().all(u8::is_ascii_alphabetic), "{name}: no line feed, no more");
}

/// Reports are remade byte for byte, the run is listed, the backups are proven anew.
fn the_books_are_kept(bench: &Bench) {
    let reports = || -> BTreeMap<PathBuf, Vec<u8>> {
        files(&bench.run())
            .into_iter()
            .filter(|(path, _)| {
                path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("report."))
            })
            .collect()
    };
    let made = reports();
    assert_eq!(made.len(), 2 + 2 * bench.lab.hosts().count());
    for path in made.keys() {
        fs::remove_file(path).unwrap();
    }
    assert!(reports().is_empty());
    bench.fleet(&["report", "last"]).ends(0);
    assert!(reports() == made, "a report made from the journals is another one");
    let id = bench.run().file_name().unwrap().to_str().unwrap().to_owned();
    let listed = bench.fleet(&["runs"]).ends(0).out;
    assert!(listed.contains(&id) && listed.contains("finished"), "{listed}");
    for host in bench.lab.hosts() {
        let verified = bench.fleet(&["backup", "verify", &host.spec().name]).ends(0).out;
        assert!(verified.contains("is proven"), "{verified}");
    }
}

fn a_second_run_finds_nothing_to_do(bench: &Bench) {
    let sent: Vec<usize> = bench.lab.hosts().map(|host| host.commands().len()).collect();
    let ran = bench.upgrade(&["--all"]).ends(0);
    assert!(ran.out.contains("8 clusters: 8 nothing to do"), "{}", ran.out);
    for (host, sent) in bench.lab.hosts().zip(sent) {
        let lines = &host.commands()[sent..];
        assert!(!lines.is_empty());
        for line in lines {
            assert_eq!(changes(line), None, "{}: {line}", host.spec().name);
        }
    }
}

#[test]
fn facts_check_and_plan_write_nothing_on_a_host() {
    let bench = Bench::new(vec![HostSpec::new("one")]);
    let host = bench.host("one");
    // What the lab itself writes: the command log, and the datastore from time to time.
    let own = ["commands.log", "rancher/server/db", "rancher/server/db/state.db"];
    host.flush().unwrap();
    let state = || (cluster(host), tree(host.folder(), &own));
    let before = state();
    bench.fleet(&["facts", "--all"]).ends(0);
    bench.fleet(&["facts", "--all", "--format", "json"]).ends(0);
    bench.fleet(&acknowledging(&["check"], &["--all"])).ends(0);
    let plan = bench.fleet(&acknowledging(&["plan"], &["--all"])).ends(2).out;
    assert!(plan.contains("to-0.7/switch-branch"), "{plan}");
    let lines = host.commands();
    assert!(lines.len() >= 12, "four times the facts are asked: {}", lines.len());
    for line in &lines {
        assert_eq!(writes(line), None, "{line}");
    }
    assert!(before == state(), "the host is not as it was");
    assert!(!bench.path("runs").exists() && !bench.path("backups").exists(), "nothing was to be kept");

    // The comparison sees the least of all writes, on either side.
    fs::write(host.folder().join("spool/left-behind"), "").unwrap();
    assert!(before.1 != state().1);
    host.edit("configmaps", "kube-system", "extension-apiserver-authentication", |_| {});
    host.edit("gitrepositories", FLUX, "openappstack", |source| {
        source["metadata"]["annotations"]["seen"] = "yes".into();
    });
    assert!(before.0 != state().0);
    for line in [
        "k3s kubectl patch x",
        "systemctl stop k3s",
        "echo 1 >/etc/x",
        "cat x | tee y",
        "sh -c 'k3s kubectl annotate x'",
    ] {
        assert!(writes(line).is_some(), "{line}");
    }
}

/// The steps that plans for these hosts hold, with their classes.
fn planned(bench: &Bench) -> BTreeMap<String, Vec<(String, String)>> {
    let out = bench.fleet(&acknowledging(&["plan", "--format", "json"], &["--all"])).ends(2).out;
    let plans: Value = serde_json::from_str(&out).unwrap();
    let plans = plans["clusters"].as_object().unwrap();
    plans
        .iter()
        .map(|(name, said)| {
            let steps = said["plan"]["plan"]["steps"].as_array().unwrap_or_else(|| panic!("{said}"));
            let text = |value: &Value| value.as_str().unwrap().to_owned();
            (name.clone(), steps.iter().map(|step| (text(&step["id"]), text(&step["class"]))).collect())
        })
        .collect()
}

/// A host that is worked on in the most steps.
fn night(name: &str) -> HostSpec {
    let mut spec = HostSpec::new(name);
    spec.source_suspended = true;
    spec
}

/// The fault by which this step, and no earlier one, fails. A step that is not known here has no test yet: think of a fault for it.
fn fault_in(step: &str) -> Option<Fault> {
    let fails = |text: &str| Some(Fault::CommandFails(text.to_owned()));
    let drops = |text: &str| Some(Fault::ConnectionDropsAt(text.to_owned()));
    match step {
        "backup/copy" => fails("tar -C"),
        "backup/cluster-ready" => drops("get nodes,pods -A"),
        // By programs of the host: see `alter_archives`, `lose_the_source` and `spoil_saved_copy`.
        "backup/prove" | "to-0.7/converge" => None,
        step if step.starts_with("to-0.7/add-oauth-") => None,
        "to-0.7/save-secrets" => fails("get secrets oas-"),
        "to-0.7/switch-branch" => fails(r#""branch":"v0.7""#),
        "to-0.7/resume-source" => fails(r#""suspend":false"#),
        "to-0.7/fetch" => drops("get gitrepositories.source.toolkit.fluxcd.io -n flux-system -o json"),
        "to-0.7/oas-secrets-gone" => drops("get helmreleases.helm.toolkit.fluxcd.io -A"),
        "to-0.7/restore-secrets" => fails("create --validate=false"),
        "to-0.7/reconcile" => fails("annotate --overwrite kustomizations"),
        "truce/hold" => fails("fleet-truce hold"),
        // By a timer of the host: see `keep_the_timer_stopped`.
        "truce/give-back" => None,
        other => panic!("no test makes the step {other} fail"),
    }
}

/// An archive of the right size and form, in which one file has another content.
fn alter_archives(host: &Host) {
    replace_program(host, "tar", r#""$real" "$@" | sed 's/^seed = /sEEd = /'"#);
}

/// Once the kustomizations were asked to reconcile, the cluster has no Flux objects any more: waiting for them is in vain.
fn lose_the_source(host: &Host) {
    let script = r#"mark="${real%/*}/../asked"
case "$*" in
    *'annotate --overwrite kustomizations'*) : >"$mark" ;;
    *'get gitrepositories'*) [ ! -e "$mark" ] || { echo '{"apiVersion":"v1","kind":"List","items":[]}'; exit 0; } ;;
esac
exec "$real" "$@""#;
    replace_program(host, "k3s", script);
}

/// A timer that was stopped cannot be started again, and k3s is said not to run, so that nobody waits for it.
fn keep_the_timer_stopped(host: &Host) {
    let script = r#"mark="${real%/*}/../failed"
case "$*" in
    'start apt-daily.timer') : >"$mark"; exit 1 ;;
    'is-active k3s') [ ! -e "$mark" ] || { echo inactive; exit 3; } ;;
esac
exec "$real" "$@""#;
    replace_program(host, "systemctl", script);
}

/// The saved copy of the OAuth secret is there already, and is no file.
fn spoil_saved_copy(bench: &Bench, host: &Host) {
    let kept = bench.path("backups").join(&host.spec().name);
    let script = format!(
        "case \"$*\" in *{OAUTH}*)\n    for kept in {}/*/kept/oas-secrets/*{OAUTH}.json; do rm \"$kept\" && mkdir \"$kept\"; done\nesac\nexec \"$real\" \"$@\"",
        kept.display()
    );
    // The last that is done with it before: the host has it too.
    replace_program(host, "sync", &script);
}

#[test]
fn a_host_that_fails_in_any_step_stops_there_and_the_others_are_done() {
    let plans = {
        let pattern = Bench::new(vec![night("full"), night("bare").apps(Vec::<String>::new())]);
        planned(&pattern)
    };
    let full: BTreeSet<&String> = plans["full"].iter().map(|(id, _)| id).collect();
    let steps: BTreeSet<&String> = plans.values().flatten().map(|(id, _)| id).collect();
    assert!(steps.len() > full.len() && full.len() >= 12, "{steps:?}");

    let host_of = |step: &str| format!("fails-in-{}", step.replace('/', "-"));
    let mut specs: Vec<HostSpec> = steps
        .iter()
        .map(|step| {
            let mut spec = night(&host_of(step));
            spec.faults.extend(fault_in(step));
            spec
        })
        .collect();
    specs.extend(["healthy-1", "healthy-2"].map(HostSpec::new));
    specs.push(HostSpec::new("healthy-3").fault(Fault::ContainersKeepWriting));
    specs.push(HostSpec::new("healthy-4").fault(Fault::SecretsConflict));
    let bench = Bench::new(specs);
    for step in &steps {
        if matches!(fault_in(step), Some(Fault::ConnectionDropsAt(_))) {
            bench.never_again(&host_of(step));
        }
    }
    alter_archives(bench.host(&host_of("backup/prove")));
    lose_the_source(bench.host(&host_of("to-0.7/converge")));
    keep_the_timer_stopped(bench.host(&host_of("truce/give-back")));
    for step in &steps {
        if let Some(app) = step.strip_prefix("to-0.7/add-oauth-") {
            let host = bench.host(&host_of(step));
            spoil_saved_copy(&bench, host);
            let key = format!("{app}_oauth_client_secret");
            host.edit("secrets", FLUX, OAUTH, |secret| {
                assert!(secret["data"].as_object_mut().unwrap().remove(&key).is_some());
            });
        }
    }
    let plans = planned(&bench);
    bench.upgrade(&["--all"]).ends(3);

    for step in steps {
        let name = host_of(step);
        let report = bench.report(&name);
        assert_eq!(report["outcome"], "failed", "{name}: {}", report["failure"]);
        assert_eq!(report["failed_step"], step.as_str(), "{name}: {}", report["failure"]);
        let started: Vec<&str> =
            report["steps"].as_array().unwrap().iter().map(|step| step["step"].as_str().unwrap()).collect();
        let last = started.iter().rfind(|id| **id != "truce/give-back" || step == "truce/give-back");
        assert_eq!(last, Some(&step.as_str()), "{name}: a later step was begun");
        let at = plans[&name].iter().position(|(id, _)| id == step).unwrap();
        let changed = plans[&name][..=at]
            .iter()
            .rfind(|(id, class)| class != "read-only" && id != "backup/copy" && !id.starts_with("truce/"));
        let left = changed.map(|(id, _)| id.as_str());
        assert_eq!(report["state"], if left.is_some() { "dirty" } else { "clean" }, "{name}");
        assert_eq!(report["left_at"].as_str(), left, "{name}");
        assert_eq!(power(bench.host(&name)), Power::Running, "{name}");
        let said = report["failure"]["message"].as_str().unwrap();
        assert!(!said.is_empty() && report["failure"]["read"].as_str().unwrap().contains(".md#"), "{name}");
    }
    for name in ["healthy-1", "healthy-2", "healthy-3", "healthy-4"] {
        assert_eq!(bench.report(name)["outcome"], "done", "{name}: {}", bench.report(name)["failure"]);
    }
}

/// The how-manieth uses of a remedy that a report tells.
fn remedies(report: &Value, id: &str) -> Vec<u64> {
    let all = report["remedies"].as_array().unwrap().iter();
    all.filter(|used| used["remedy"] == id).map(|used| used["time"].as_u64().unwrap()).collect()
}

#[test]
fn a_line_that_is_cut_is_made_again_and_only_a_copy_in_the_middle_of_its_stream_fails_for_it() {
    let (at, after) = (
        |text: &str| Fault::ConnectionDropsAt(text.to_owned()),
        |text: &str| Fault::ConnectionDropsAfter(text.to_owned()),
    );
    let copies = [
        ("copy-begun", at("tar -C")),
        ("copy-ended", after("tar -C")),
        ("stop", after("systemctl stop k3s")),
        ("kill-not-heard", at("exit; k3s-killall.sh")),
    ];
    let others = [
        ("facts", at("begin $1")),
        ("measure", after("du -skc")),
        ("start", after("systemctl start k3s && systemctl is-active")),
        ("save", after("get secrets oas-")),
        ("ready", at("get nodes,pods -A")),
        ("switch-not-heard", at("patch gitrepo")),
        ("switch-done", after("patch gitrepo")),
        ("resume", after(r#"{"spec":{"suspend":false}}"#)),
        ("restore", after("create --validate=false")),
        ("reconcile", after("annotate --overwrite")),
        ("fetch", at("get gitrepositories.source.toolkit.fluxcd.io -n flux-system -o json")),
        ("hold-armed", after("fleet-truce back")),
        ("hold", after("fleet-truce hold")),
    ];
    let mut specs: Vec<HostSpec> =
        copies.iter().chain(&others).map(|(name, fault)| night(name).fault(fault.clone())).collect();
    specs.push(HostSpec::new("healthy"));
    let bench = Bench::new(specs);
    bench.upgrade(&["--all"]).ends(3);
    assert_eq!(bench.report("healthy")["outcome"], "done");
    assert_eq!(bench.host("healthy").connections(), 1);
    let noted = |name: &str, text: &str| {
        let report = bench.report(name);
        let notes = report["notes"].as_array().unwrap().iter();
        notes.filter(|note| note["text"].as_str().unwrap().contains(text)).count()
    };
    for (name, fault) in copies.iter().chain(&others) {
        let host = bench.host(name);
        assert!(!host.has(fault), "{name}: was never cut");
        assert_eq!(host.connections(), 2, "{name}");
        assert_eq!(noted(name, "and made again"), 1, "{name}: {}", bench.report(name)["notes"]);
        assert_eq!(power(host), Power::Running, "{name}: nobody needs to wait for the watchdog");
    }
    for (name, _) in copies {
        let report = bench.report(name);
        assert_eq!((&report["outcome"], &report["state"]), (&"failed".into(), &"clean".into()), "{name}");
        assert_eq!(report["failed_step"], "backup/copy", "{name}");
        let said = report["failure"]["message"].as_str().unwrap();
        assert!(said.contains("lost before the command ended"), "{name}: {said}");
        assert!(said.ends_with("k3s was started again"), "{name}: {said}");
    }
    for (name, _) in others {
        let report = bench.report(name);
        assert_eq!(report["outcome"], "done", "{name}: {}", report["failure"]);
    }
    // What is seen to be done is not done twice.
    let sent = |name: &str, text: &str| {
        bench.host(name).commands().iter().filter(|line| line.contains(text)).count()
    };
    assert_eq!((sent("switch-not-heard", "patch gitrepo"), noted("switch-not-heard", "done again")), (3, 1));
    assert_eq!((sent("switch-done", "patch gitrepo"), noted("switch-done", "done all the same")), (2, 1));
}

#[test]
fn a_host_that_stays_away_is_lost_before_a_change_and_in_doubt_in_the_middle_of_one() {
    let bench = Bench::new(vec![
        night("asked").fault(Fault::ConnectionDropsAt("get nodes,pods -A".to_owned())),
        night("stopped").fault(Fault::ConnectionDropsAfter("systemctl stop k3s".to_owned())),
        night("changed").fault(Fault::ConnectionDropsAfter("patch gitrepo".to_owned())),
    ]);
    for name in ["asked", "stopped", "changed"] {
        bench.never_again(name);
    }
    bench.upgrade(&["--all"]).ends(6);
    let asked = bench.report("asked");
    assert_eq!((&asked["outcome"], &asked["state"]), (&"failed".into(), &"clean".into()), "{asked}");
    assert_eq!(asked["failure"]["cause"], "unreachable", "{asked}");
    for (name, step) in [("stopped", "backup/copy"), ("changed", "to-0.7/switch-branch")] {
        let report = bench.report(name);
        assert_eq!(report["outcome"], "in-doubt", "{name}: {}", report["failure"]);
        assert_eq!((&report["failed_step"], &report["state"]), (&step.into(), &"unknown".into()), "{name}");
        assert_eq!(bench.host(name).connections(), 1, "{name}: nobody goes on by himself");
    }
    let stopped = bench.host("stopped");
    let said = bench.report("stopped")["failure"]["message"].as_str().unwrap().to_owned();
    assert!(said.contains("its watchdog starts k3s by "), "{said}");
    assert_eq!(power(stopped), Power::Stopped, "nothing could start it yet");
    the_lease_is_over(stopped);
    until("k3s runs", || power(stopped) == Power::Running);
}

/// Minutes pass for the watchdog: its lease is a file on the host.
fn the_lease_is_over(host: &Host) {
    let spool = fs::read_dir(host.folder().join("spool")).unwrap().map(|entry| entry.unwrap().path());
    let mut watchdogs = spool.filter(|path| path.to_string_lossy().contains("/timer-k3s-"));
    let watchdog = watchdogs.next().expect("the watchdog's folder");
    assert!(watchdogs.next().is_none());
    fs::write(watchdog.join("lease.test"), "0\n").unwrap();
    fs::rename(watchdog.join("lease.test"), watchdog.join("lease")).unwrap();
}

#[test]
fn a_copy_that_is_not_proven_lets_no_step_of_a_migration_be_sent() {
    let tars = [
        ("altered", r#""$real" "$@" | sed 's/^seed = /sEEd = /'"#),
        ("short", r#""$real" "$@" | head -c 5120"#),
        ("missing-file", r#"exec "$real" --exclude=config.ini "$@""#),
        ("missing-datastore", r#"exec "$real" --exclude=state.db "$@""#),
        ("missing-folder", r#"exec "$real" --exclude=data "$@""#),
        ("still-written", "echo more >>\"$2/config.ini\" 2>/dev/null\nexec \"$real\" \"$@\""),
        ("other-mode", r#"exec "$real" --mode=a+w "$@""#),
        ("other-owner", r#"exec "$real" --owner=12345 "$@""#),
    ];
    let mut specs: Vec<HostSpec> = tars.iter().map(|(name, _)| HostSpec::new(*name)).collect();
    specs.push(HostSpec::new("killall-fails").fault(Fault::CommandFails("exit; k3s-killall.sh".to_owned())));
    specs.push(HostSpec::new("wont-start").fault(Fault::K3sWontStart));
    specs.push(
        HostSpec::new("cut-before-the-stop").fault(Fault::ConnectionDropsAt("/api/v1/configmaps".to_owned())),
    );
    let bench = Bench::new(specs);
    for (name, script) in tars {
        // The proof is told by the archives alone; asking tar's version is no copying.
        let asked = "[ \"$1\" = -C ] || exec \"$real\" \"$@\"\n";
        replace_program(bench.host(name), "tar", &format!("{asked}{script}"));
    }
    let before: Vec<_> = bench.lab.hosts().map(kept_secrets).collect();
    bench.upgrade(&["--all"]).ends(3);
    for (host, secrets) in bench.lab.hosts().zip(before) {
        let name = host.spec().name.as_str();
        let report = bench.report(name);
        assert_eq!(report["outcome"], "failed", "{name}: {}", report["failure"]);
        assert_eq!(report["state"], "clean", "{name}");
        let in_copy = matches!(name, "killall-fails" | "wont-start" | "cut-before-the-stop");
        let step = if in_copy { "backup/copy" } else { "backup/prove" };
        assert_eq!(report["failed_step"], step, "{name}: {}", report["failure"]);
        for line in host.commands().iter().filter(|line| !line.contains("fleet-truce")) {
            let changing = ["patch ", "annotate ", "create ", "replace ", "delete "];
            assert!(!changing.iter().any(|verb| line.contains(verb)), "{name}: {line}");
        }
        let source = host.object("gitrepositories", FLUX, "openappstack").unwrap();
        assert_eq!(source["spec"]["ref"]["branch"], "v0.6", "{name}");
        assert_eq!(kept_secrets(host), secrets, "{name}");
        if name != "wont-start" {
            assert_eq!(power(host), Power::Running, "{name}");
        }
        let backups = bench.fleet(&["backup", "list", name]).ends(0).out;
        assert!(
            backups.contains(if in_copy { "unfinished" } else { "not yet" }),
            "never called proven: {backups}"
        );
    }
    let said = bench.report("cut-before-the-stop")["failure"]["message"].as_str().unwrap().to_owned();
    assert!(said.ends_with("k3s was not stopped"), "{said}");
    let said = bench.report("wont-start")["failure"]["message"].as_str().unwrap().to_owned();
    assert!(said.starts_with("K3S IS STOPPED AND DOES NOT START"), "{said}");
    let host = bench.host("wont-start");
    host.heal(&Fault::K3sWontStart);
    until("the watchdog starts k3s once it can be started", || power(host) == Power::Running);
}

#[test]
fn a_bounded_number_of_remedies_mends_known_troubles_and_is_in_the_books() {
    let bench = Bench::new(vec![
        HostSpec::new("loki").fault(Fault::LokiRetries),
        HostSpec::new("sso").fault(Fault::SsoEmptyOauth),
        HostSpec::new("hopeless").fault(Fault::AppNeverReady("wordpress".to_owned())),
    ]);
    // Where the request of the plan's own step is lost, only the remedy reconciles kustomization core.
    let lost = "case \"$*\" in *'annotate --overwrite kustomizations'*' --all '*) exit 0 ;; esac\nexec \"$real\" \"$@\"";
    replace_program(bench.host("sso"), "k3s", lost);
    bench.upgrade(&["--all"]).ends(3);
    for name in ["loki", "sso"] {
        assert_eq!(bench.report(name)["outcome"], "done", "{name}: {}", bench.report(name)["failure"]);
    }
    let hopeless = bench.report("hopeless");
    assert_eq!(hopeless["failed_step"], "to-0.7/converge");
    assert_eq!(hopeless["failure"]["cause"], "terminal-state");
    let said = hopeless["failure"]["message"].as_str().unwrap();
    assert!(said.contains("HelmRelease oas-apps/wordpress"), "{said}");
    assert_eq!(remedies(&hopeless, "retries-exhausted"), [1, 2, 3], "bounded");
    for (name, remedy) in [("loki", "retries-exhausted"), ("sso", "empty-oauth")] {
        let report = bench.report(name);
        let used = remedies(&report, remedy);
        assert!((1..=3).contains(&used.len()), "{name}: {}", report["remedies"]);
        let counted: Vec<u64> = (1..).take(used.len()).collect();
        assert_eq!(used, counted, "{name}");
        let journalled = bench
            .journal(name)
            .into_iter()
            .filter(|event| matches!(&event.what, What::Remedied { remedy: id, .. } if id == remedy))
            .count();
        assert_eq!(journalled, used.len(), "{name}");
        let text = fs::read_to_string(bench.run().join(name).join("report.md")).unwrap();
        assert!(text.contains(remedy), "{name}");
    }
}

#[test]
fn a_hosts_own_words_never_reach_a_terminal_as_they_are() {
    let bench = Bench::new(vec![
        HostSpec::new("hostile").fault(Fault::HostileOutput),
        HostSpec::new("noisy").fault(Fault::NoisyShell),
        HostSpec::new("failing")
            .fault(Fault::HostileOutput)
            .fault(Fault::CommandFails("annotate --overwrite".to_owned())),
        HostSpec::new("hopeless")
            .fault(Fault::HostileOutput)
            .fault(Fault::CommandFails("systemctl stop k3s".to_owned())),
    ]);
    let mut said = Vec::new();
    for words in [
        &["facts", "--all"][..],
        &["facts", "--all", "--format", "json"],
        &["check", "--all"],
        &["plan", "--all"],
    ] {
        let ran = bench.fleet(words);
        assert!(matches!(ran.code, Some(0 | 1 | 2 | 5)), "{words:?}: {ran:?}");
        said.push(ran);
    }
    said.push(bench.upgrade(&["--all"]).ends(3));
    said.push(bench.fleet(&["report", "last"]).ends(3));
    for ran in &said {
        assert_eq!((control(&ran.out), control(&ran.err)), (None, None), "{ran:?}");
        // The escape sequence without its first byte is harmless, but nobody has asked for it either.
        assert!(!ran.out.contains("]0;owned") || ran.out.contains("·]0;owned"), "{}", ran.out);
    }
    assert_eq!(bench.report("hostile")["outcome"], "done", "{}", bench.report("hostile")["failure"]);
    // What a shell prints around the commands is in no answer and no archive.
    assert_eq!(bench.report("noisy")["outcome"], "done", "{}", bench.report("noisy")["failure"]);
    assert_eq!(bench.report("failing")["failed_step"], "to-0.7/reconcile");
    assert_eq!(bench.report("hopeless")["failed_step"], "backup/copy");
    let mut read = 0;
    for (path, bytes) in files(&bench.path("runs")) {
        let text = String::from_utf8(bytes).unwrap_or_default();
        match path.extension().and_then(|ending| ending.to_str()) {
            Some("md") => assert_eq!(control(&text), None, "{}", path.display()),
            Some("json") if path.file_name().is_some_and(|name| name == "report.json") => {
                harmless(&serde_json::from_str(&text).unwrap(), &path);
            }
            _ => continue,
        }
        read += 1;
    }
    assert_eq!(read, 2 * (4 + 1));
}

/// No string of a report holds what a terminal acts upon. A command line may have line feeds.
fn harmless(value: &Value, path: &Path) {
    match value {
        Value::String(text) => assert_eq!(control(text), None, "{}: {text:?}", path.display()),
        Value::Array(items) => items.iter().for_each(|item| harmless(item, path)),
        Value::Object(fields) => fields.values().for_each(|item| harmless(item, path)),
        _ => {}
    }
}

/// Secrets as they can be: in secrets, in the variables, in a volume, as passphrase, in an application's own.
const PLANTED: [&str; 5] = [
    "Kx7planted-in-a-secret-Qz",
    "Kx7planted-in-the-variables-Qz",
    "Kx7planted-in-a-volume-Qz",
    "Kx7planted-as-passphrase-Qz",
    "Kx7planted-in-an-app-Qz",
];

fn plant(bench: &Bench) {
    for host in bench.lab.hosts() {
        for (namespace, name, key, planted) in [
            (FLUX, OAUTH, "wordpress_oauth_client_secret", PLANTED[0]),
            (FLUX, "oas-cluster-variables", "outgoing_mail_smtp_password", PLANTED[1]),
            (FLUX, "oas-nextcloud-variables", "nextcloud_password", PLANTED[4]),
        ] {
            host.edit("secrets", namespace, name, |secret| {
                secret["data"][key] = STANDARD.encode(planted).into();
            });
        }
        let volume = host.volume("oas-apps", "wordpress-files").or_else(|| {
            let claims = host.objects("persistentvolumeclaims");
            let claim = &claims.first()?["metadata"];
            host.volume(claim["namespace"].as_str()?, claim["name"].as_str()?)
        });
        fs::write(volume.unwrap().join("secret.txt"), PLANTED[2]).unwrap();
        let env = bench.lab.folder().join("clusters").join(&host.spec().name).join(".flux.env");
        let text = fs::read_to_string(&env).unwrap();
        fs::write(&env, format!("{text}outgoing_mail_smtp_password={}\n", PLANTED[1])).unwrap();
    }
}

/// One cluster has the passphrase from the environment, the other from a file.
fn lock_the_key(bench: &Bench) {
    let key = bench.lab.folder().join("id_ed25519");
    let locked = Command::new("ssh-keygen")
        .args(["-q", "-p", "-P", "", "-N", PLANTED[3], "-f"])
        .arg(&key)
        .status()
        .expect("ssh-keygen, from openssh-client");
    assert!(locked.success());
    let file = bench.path("passphrase");
    fs::write(&file, format!("{}\n", PLANTED[3])).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    let inventory = bench.lab.inventory().join("lab.toml");
    let text = fs::read_to_string(&inventory).unwrap();
    let text = text
        .replace("[clusters.\"one\"]\n", "[clusters.\"one\"]\npassphrase = { env = \"KEY_PASSPHRASE\" }\n")
        .replace(
            "[clusters.\"failing\"]\n",
            &format!("[clusters.\"failing\"]\npassphrase = {{ file = {:?} }}\n", file.display().to_string()),
        );
    assert_eq!(text.matches("passphrase").count() + text.matches("PASSPHRASE").count(), 4, "{text}");
    fs::write(&inventory, text).unwrap();
}

#[test]
fn secrets_are_in_the_backup_and_nowhere_else() {
    let bench = Bench::new(vec![
        HostSpec::new("one").fault(Fault::SsoEmptyOauth),
        HostSpec::new("failing").fault(Fault::CommandFails("create --validate=false".to_owned())),
    ]);
    plant(&bench);
    lock_the_key(&bench);

    let mut said = Vec::new();
    let out = bench.path("plan.json");
    let out = out.to_str().unwrap();
    for words in [
        &["inventory", "show", "--format", "json"][..],
        &["facts", "--all"],
        &["facts", "--all", "--format", "json"],
        &["check", "--all"],
        &["plan", "--all", "--out", out],
        &acknowledging(&["upgrade"], &["--all"]),
        &["report", "last", "--format", "json"],
        &["runs"],
        &["backup", "list"],
        &["backup", "verify", "one"],
    ] {
        let mut command = bench.command(words);
        command.env("KEY_PASSPHRASE", PLANTED[3]).env("FLEET_LOG", "debug,russh=info");
        let ran = lab_support::run(&mut command);
        let expected = match words[0] {
            "upgrade" | "report" => 3,
            "plan" => 2,
            // What this machine is like decides.
            "check" => ran.code.unwrap(),
            _ => 0,
        };
        let ran = ran.ends(expected);
        said.push((PathBuf::from(format!("stdout of {words:?}")), ran.out.into_bytes()));
        said.push((PathBuf::from(format!("stderr of {words:?}")), ran.err.into_bytes()));
    }
    assert_eq!(bench.report("one")["outcome"], "done", "{}", bench.report("one")["failure"]);
    assert_eq!(bench.report("failing")["failed_step"], "to-0.7/restore-secrets");
    said.extend(files(&bench.path("runs")));
    said.push((PathBuf::from(out), fs::read(out).unwrap()));
    for host in bench.lab.hosts() {
        said.push((PathBuf::from("command lines"), host.commands().join("\n").into_bytes()));
    }
    assert!(said.len() > 40, "{}", said.len());
    let kept = files(&bench.path("backups"));
    for planted in PLANTED {
        // As it is, and as base64 says it wherever it stands in a longer text.
        let shifted = |by: usize| {
            let text = STANDARD.encode([&b"xxx"[..by], planted.as_bytes()].concat());
            text[4..text.len() - 4].to_owned()
        };
        let forms = [planted.to_owned(), shifted(0), shifted(1), shifted(2)];
        for (path, bytes) in &said {
            for form in &forms {
                assert!(!holds(bytes, form.as_bytes()), "{form} is in {}", path.display());
            }
        }
        if planted == PLANTED[0] || planted == PLANTED[1] || planted == PLANTED[4] {
            let found = kept.iter().filter(|(_, bytes)| holds(bytes, STANDARD.encode(planted).as_bytes()));
            assert!(found.count() >= 2, "each cluster's saved secrets hold {planted}");
        }
    }
    only_the_owner_reads(&bench.path("runs"));
    only_the_owner_reads(&bench.path("backups"));
}

/// Folders 0700, files 0600.
fn only_the_owner_reads(folder: &Path) {
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode(folder), 0o700, "{}", folder.display());
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            only_the_owner_reads(&path);
        } else {
            assert_eq!(mode(&path), 0o600, "{}", path.display());
        }
    }
}

#[test]
fn hosts_that_cannot_be_trusted_or_reached_are_asked_nothing() {
    let bench = Bench::new(vec![HostSpec::new("away").fault(Fault::Unreachable), HostSpec::new("stranger")]);
    let inventory = bench.lab.inventory().join("lab.toml");
    let text = fs::read_to_string(&inventory).unwrap();
    // Each cluster is pinned to the other's key.
    let keys: Vec<String> =
        text.lines().filter(|line| line.starts_with("host_key")).map(str::to_owned).collect();
    let text = text.replace(&keys[0], "swap").replace(&keys[1], &keys[0]).replace("swap", &keys[1]);
    fs::write(&inventory, text).unwrap();

    bench.upgrade(&["--all"]).ends(3);
    assert_eq!(bench.report("away")["outcome"], "unreachable");
    assert_eq!(bench.report("stranger")["outcome"], "refused");
    assert_eq!(bench.report("stranger")["failure"]["cause"], "host-key");
    bench.upgrade(&["--on", "stranger"]).ends(5);
    bench.upgrade(&["--on", "away"]).ends(3);
    for host in bench.lab.hosts() {
        assert_eq!(host.commands(), Vec::<String>::new(), "{}", host.spec().name);
        let report = bench.run();
        assert!(report.is_dir());
    }
    assert!(!bench.path("backups").exists(), "there is nothing to keep of them");
}

/// A cluster that always gives the same answer.
struct Always {
    answer: String,
    asked: Mutex<usize>,
}

impl Remote for Always {
    async fn run(&self, _: &remote::Command, _: &mut (dyn Write + Send)) -> Result<Output, RemoteError> {
        *self.asked.lock().unwrap() += 1;
        Ok(Output {
            exit: Exit::Code(0),
            stdout: self.answer.clone().into_bytes(),
            stderr: Vec::new(),
            dropped: 0,
        })
    }

    async fn stream(
        &self,
        command: &remote::Command,
        _: &mut (dyn AsyncWrite + Unpin + Send),
    ) -> Result<Output, RemoteError> {
        panic!("waiting streams nothing: {}", command.line())
    }
}

/// Waits for a probe on a cluster that never changes, for as long as the plan says; the clock is stopped and jumps.
async fn waited(probe: Probe, kinds: &[&str], host: &Host, deadline: Duration) -> (String, usize, Duration) {
    let items: Vec<Value> = kinds.iter().flat_map(|kind| host.objects(kind)).collect();
    let answer = serde_json::json!({"apiVersion": "v1", "kind": "List", "items": items}).to_string();
    let folder = tempfile::tempdir().unwrap();
    let mut journal = Journal::create(&folder.path().join("journal.ndjson"), "one", None).unwrap();
    let mut scribe = Scribe::new(&mut journal, "to-0.7/wait", &folder.path().join("log")).unwrap();
    let remote = Always { answer, asked: Mutex::new(0) };
    let began = tokio::time::Instant::now();
    let ended = wait::until(&remote, &probe, &[], deadline, &mut scribe).await;
    let Err(Trouble::Failed(failure)) = ended else { panic!("{ended:?}") };
    let asked = *remote.asked.lock().unwrap();
    (format!("{}: {}", failure.cause, failure.message), asked, began.elapsed())
}

#[tokio::test(start_paused = true)]
async fn a_source_that_is_never_fetched_and_a_chart_that_stays_are_waited_for_until_the_deadline_and_named() {
    let bench = Bench::new(vec![
        HostSpec::new("one").fault(Fault::SourceWontFetch),
        HostSpec::new("two").fault(Fault::OasSecretsStays),
    ]);
    let follow = |source: &mut Value| source["spec"]["ref"]["branch"] = "v0.7".into();
    let (one, two) = (bench.host("one"), bench.host("two"));
    for host in [one, two] {
        host.edit("gitrepositories", FLUX, "openappstack", follow);
    }
    let told = |host: &Host, kind: &str, text: &str| {
        host.objects(kind).iter().any(|object| object["status"].to_string().contains(text))
    };
    until("the source complains", || told(one, "gitrepositories", "i/o timeout"));
    until("the chart complains", || told(two, "helmreleases", "Helm uninstall failed"));

    let quarter = Duration::from_secs(900);
    let probe = Probe::SourceAt { source: "openappstack".into(), branch: "v0.7".into() };
    let (said, asked, took) = waited(probe, &["gitrepositories"], one, quarter).await;
    assert!(said.starts_with("wait-deadline: not so within 15 minutes"), "{said}");
    assert!(
        said.contains("GitRepository flux-system/openappstack") && said.contains("i/o timeout"),
        "{said}"
    );
    assert!(took >= quarter && took < quarter + Duration::from_secs(5), "{took:?}");
    assert!((50..90).contains(&asked), "ever more slowly: {asked}");

    let hour = Duration::from_secs(3600);
    let probe = Probe::ReleaseGone { name: "oas-secrets".into() };
    let (said, _, took) = waited(probe, &["helmreleases"], two, hour).await;
    assert!(said.contains("not so within 60 minutes") && said.contains("oas-secrets"), "{said}");
    assert!(took >= hour, "{took:?}");
}
