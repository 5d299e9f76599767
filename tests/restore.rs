//! Backups that are put back by the real binary: the cluster is as it was, whatever came in between.
#![expect(clippy::unwrap_used, reason = "what cannot be set up fails its test")]

mod lab_support;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::thread;

use fleet::lab::{Fault, Host, HostSpec, Power};
use lab_support::{Bench, Ran, UnderWay, left_on_spool, tree, until};
use serde_json::Value;

const FLUX: &str = "flux-system";

/// Runs for each host in a folder of their own, so that several hosts can be restored at once.
fn runs(bench: &Bench, name: &str) -> PathBuf {
    bench.path(&format!("runs-{name}"))
}

fn fleet(bench: &Bench, name: &str, words: &[&str]) -> Ran {
    let mut command = bench.command(words);
    lab_support::run(command.env("FLEET_RUNS", runs(bench, name)))
}

fn restore(bench: &Bench, name: &str) -> Ran {
    fleet(bench, name, &["restore", "last", "--to", name, "--yes"])
}

fn report(bench: &Bench, name: &str) -> Value {
    let runs = runs(bench, name);
    let last = fs::read_to_string(runs.join(".last")).unwrap();
    serde_json::from_slice(&fs::read(runs.join(last.trim()).join(name).join("report.json")).unwrap()).unwrap()
}

/// The volumes' folders with what is in them, without what a restore has put beside them.
fn volumes(host: &Host) -> BTreeMap<PathBuf, BTreeMap<PathBuf, String>> {
    let folders = fs::read_dir(host.storage()).unwrap().map(|entry| entry.unwrap().path());
    folders
        .filter(|path| !path.to_string_lossy().contains(".fleet-"))
        .map(|path| (path.clone(), tree(&path, &[])))
        .collect()
}

/// What lies beside the live folders.
fn beside(host: &Host, ending: &str) -> Vec<PathBuf> {
    let folders = fs::read_dir(host.storage()).unwrap().map(|entry| entry.unwrap().path());
    folders.filter(|path| path.to_string_lossy().contains(ending)).collect()
}

/// The data of the secrets that version 0.6 has.
fn secrets(host: &Host) -> BTreeMap<String, Value> {
    let named = |secret: &Value| secret["metadata"]["name"].as_str().unwrap().to_owned();
    let all = host.objects("secrets").into_iter();
    all.map(|secret| (named(&secret), secret["data"].clone()))
        .filter(|(name, _)| name.starts_with("oas-"))
        .collect()
}

/// People go on working: something is written, something is gone, something is another.
fn work_on(host: &Host) {
    let folder = host.volume("oas-apps", "nextcloud-files").unwrap();
    fs::write(folder.join("written since"), "lost").unwrap();
    let some = tree(&folder, &[]).into_keys().find(|path| folder.join(path).is_file()).unwrap();
    fs::remove_file(folder.join(some)).unwrap();
}

fn stops(host: &Host) -> usize {
    host.commands().iter().filter(|line| line.contains("systemctl stop k3s")).count()
}

#[test]
fn a_cluster_that_failed_on_its_way_up_is_as_it_was_when_its_backup_was_made() {
    let broken = Fault::CommandFails("create --validate=false".to_owned());
    let mut spec = HostSpec::new("oak").apps(["nextcloud"]).fault(broken.clone());
    spec.source_suspended = true;
    let bench = Bench::new(vec![spec]);
    let host = bench.host("oak");
    let (files, kept) = (volumes(host), secrets(host));
    bench.upgrade(&["--on", "oak"]).ends(3);
    assert_eq!(bench.report("oak")["state"], "dirty");
    assert_ne!(secrets(host), kept, "the failed rung has taken secrets away");
    work_on(host);
    host.heal(&broken);

    let asked = host.commands().len();
    let unasked = fleet(&bench, "oak", &["restore", "last", "--to", "oak"]).ends(64);
    assert!(
        unasked.out.contains("lost is whatever was written") && unasked.err.contains("--yes"),
        "{unasked:?}"
    );
    let stray = fleet(&bench, "oak", &["restore", "20200101T000000Z-gone", "--to", "oak", "--yes"]).ends(64);
    assert!(stray.err.contains("fleet backup list oak"), "{}", stray.err);
    assert_eq!(host.commands().len(), asked, "nobody was contacted");

    restore(&bench, "oak").ends(0);
    assert_eq!(report(&bench, "oak")["outcome"], "done", "{}", report(&bench, "oak"));
    assert_eq!(volumes(host), files);
    assert_eq!(secrets(host), kept);
    let source = host.object("gitrepositories", FLUX, "openappstack").unwrap();
    assert_eq!(source["spec"]["ref"]["branch"], "v0.6");
    assert_eq!(source["spec"]["suspend"], true, "as it was found before the rung");
    for job in host.objects("cronjobs") {
        assert_ne!(job["spec"]["suspend"], true, "held when the backup was made, and given back: {job}");
    }
    assert_eq!(host.state().power, Power::Running);
    assert_eq!(left_on_spool(host), Vec::<PathBuf>::new());
    let before = beside(host, ".fleet-before-");
    assert_eq!(before.len(), files.len(), "what was live is kept");
    assert!(before.iter().any(|path| path.join("written since").exists()));
    assert_eq!(beside(host, ".fleet-restore"), Vec::<PathBuf>::new());

    // The run that failed is over; a new one goes the way again.
    let late = bench.fleet(&["resume", "last"]).ends(5);
    assert!(late.out.contains("has changed oak since"), "{}", late.out);
    bench.upgrade(&["--on", "oak"]).ends(0);
}

fn alter(file: &Path, from: &str, to: &str) {
    let text = fs::read_to_string(file).unwrap();
    assert!(text.contains(from), "{from} is not in {}", file.display());
    fs::write(file, text.replace(from, to)).unwrap();
}

/// The folder of a cluster's only backup.
fn backup(bench: &Bench, name: &str) -> PathBuf {
    let mut all = fs::read_dir(bench.path("backups").join(name)).unwrap();
    all.next().unwrap().unwrap().path()
}

#[test]
fn what_cannot_be_put_back_is_refused_before_anything_is_changed() {
    let bench = Bench::new(vec![HostSpec::new("oak").apps(["nextcloud"])]);
    bench.upgrade(&["--on", "oak"]).ends(0);
    let host = bench.host("oak");
    let (stopped, files, backup) = (stops(host), volumes(host), backup(&bench, "oak"));
    let id = backup.file_name().unwrap().to_str().unwrap();
    let refused = |cause: &str, step: &str| {
        // By its id: one that was altered is no proven one any more.
        fleet(&bench, "oak", &["restore", id, "--to", "oak", "--yes"]).ends(3);
        let report = report(&bench, "oak");
        assert_eq!(report["failure"]["cause"], cause, "{}", report["failure"]);
        assert_eq!((&report["failed_step"], &report["state"]), (&step.into(), &"clean".into()), "{cause}");
        assert_eq!(stops(host), stopped, "{cause}: k3s was not stopped");
        assert_eq!(beside(host, ".fleet-"), Vec::<PathBuf>::new(), "{cause}");
    };

    host.inject(Fault::DiskFull);
    refused("disk-full-there", "restore/look");
    host.heal(&Fault::DiskFull);

    let linked = host.volume("oas-apps", "nextcloud-files").unwrap();
    let elsewhere = bench.path("elsewhere");
    fs::rename(&linked, &elsewhere).unwrap();
    std::os::unix::fs::symlink(&elsewhere, &linked).unwrap();
    refused("not-to-be-swapped", "restore/look");
    fs::remove_file(&linked).unwrap();
    fs::rename(&elsewhere, &linked).unwrap();

    let archives = fs::read_dir(backup.join("volumes")).unwrap().map(|entry| entry.unwrap().path());
    let archive = archives.filter(|path| path.to_string_lossy().ends_with(".tar.zst")).min().unwrap();
    let whole = fs::read(&archive).unwrap();
    fs::write(&archive, &whole[..100]).unwrap();
    refused("backup-not-proven", "restore/prove");
    fs::write(&archive, &whole).unwrap();

    let manifest = backup.join("manifest.json");
    alter(&manifest, host.k3s_version(), "v1.0.0+k3s1");
    refused("other-k3s", "restore/look");
    alter(&manifest, "v1.0.0+k3s1", host.k3s_version());
    let machine = fs::read_to_string("/etc/machine-id").unwrap();
    alter(&backup.join("plan.json"), machine.trim(), "00000000000000000000000000000000");
    refused("other-machine", "restore/look");
    assert_eq!(volumes(host), files);
}

#[test]
fn a_restore_that_is_broken_off_anywhere_is_gone_on_with() {
    let at = |text: &str| Fault::ConnectionDropsAt(text.to_owned());
    let after = |text: &str| Fault::ConnectionDropsAfter(text.to_owned());
    // Whether the first process already brings it to its end.
    let faults = [
        ("cut-unpacking", at("-xpf"), Some(0)),
        ("reboots-swapping", Fault::RebootsAfter("fleet-restore-swap swap".to_owned()), Some(0)),
        ("cut-swapping", after("fleet-restore-swap swap"), Some(6)),
        ("wont-start", Fault::K3sWontStart, Some(3)),
        ("killed", Fault::CommandHangs("-xpf".to_owned()), None),
    ];
    let bench =
        Bench::new(faults.each_ref().map(|(name, ..)| HostSpec::new(*name).apps(["nextcloud"])).to_vec());
    bench.never_again("cut-swapping");
    let before: BTreeMap<&str, _> =
        faults.iter().map(|(name, ..)| (*name, volumes(bench.host(name)))).collect();
    bench.upgrade(&["--all"]).ends(0);
    thread::scope(|scope| {
        for (name, fault, code) in &faults {
            let (bench, before) = (&bench, &before[name]);
            scope.spawn(move || {
                let host = bench.host(name);
                work_on(host);
                host.inject(fault.clone());
                match code {
                    Some(code) => drop(restore(bench, name).ends(*code)),
                    None => dies_unpacking(bench, name),
                }
                host.heal(fault);
                if *name == "cut-swapping" {
                    the_watchdog_fires(host);
                }
                if *code != Some(0) {
                    fleet(bench, name, &["resume", "last"]).ends(0);
                }
                assert_eq!(report(bench, name)["outcome"], "done", "{name}: {}", report(bench, name));
                assert_eq!(&volumes(host), before, "{name}");
                let source = host.object("gitrepositories", FLUX, "openappstack").unwrap();
                assert_eq!(source["spec"]["ref"]["branch"], "v0.6", "{name}");
                assert_eq!(host.state().power, Power::Running, "{name}");
                assert_eq!(beside(host, ".fleet-restore"), Vec::<PathBuf>::new(), "{name}");
                assert_eq!(left_on_spool(host), Vec::<PathBuf>::new(), "{name}");
            });
        }
    });
}

/// Minutes pass for the watchdog of the swap: its lease is a file on the host.
fn the_watchdog_fires(host: &Host) {
    let spool = fs::read_dir(host.folder().join("spool")).unwrap().map(|entry| entry.unwrap().path());
    let watchdog = spool.into_iter().find(|path| path.to_string_lossy().contains("/timer-restore-")).unwrap();
    fs::write(watchdog.join("lease.test"), "0\n").unwrap();
    fs::rename(watchdog.join("lease.test"), watchdog.join("lease")).unwrap();
    until("it has done its work", || watchdog.join("undone").exists());
}

/// The process is killed while the host unpacks.
fn dies_unpacking(bench: &Bench, name: &str) {
    let runs = runs(bench, name);
    let words = ["restore", "last", "--to", name, "--yes", "--runs", runs.to_str().unwrap()];
    let under_way = UnderWay::start(bench, &words);
    until("it unpacks", || bench.host(name).commands().iter().any(|line| line.contains("-xpf")));
    drop(under_way);
}
