//! The binary from outside: exit codes (promise M18), bad input, and Ctrl-C.

mod lab_support;

use std::fs;
use std::path::Path;

use fleet::lab::{Fault, HostSpec, Power};
use fleet::version::Version;
use lab_support::{Bench, UnderWay, acknowledging, fleet, replace_program, run, until};
use rustix::process::Signal;

#[test]
fn every_exit_code_means_what_the_table_says() {
    let bench = Bench::new(vec![
        HostSpec::new("fine"),
        HostSpec::new("at-target").version(Version::V0_7),
        HostSpec::new("too-old").version(Version::V0_5),
        HostSpec::new("away").fault(Fault::Unreachable),
        HostSpec::new("crashing").fault(Fault::FailingPod),
        HostSpec::new("doubtful").fault(Fault::ConnectionDropsAfter("patch gitrepositories".into())),
        HostSpec::new("failing").fault(Fault::CommandFails("tar -C".into())),
    ]);
    bench.never_again("doubtful");
    let table: [(&[&str], i32); 24] = [
        (&["--version"], 0),
        (&["--help"], 0),
        (&["upgrade", "--help"], 0),
        (&["inventory", "check"], 0),
        (&["inventory", "show"], 0),
        (&["runs"], 0),
        (&["backup", "list"], 0),
        (&["facts", "--on", "fine"], 0),
        (&["facts", "--on", "fine,away"], 3),
        (&acknowledging(&["check"], &["--on", "fine"]), 0),
        (&acknowledging(&["check"], &["--on", "crashing"]), 1),
        (&acknowledging(&["check"], &["--on", "crashing", "--ack", "pods", "--ack", "web"]), 0),
        (&acknowledging(&["check"], &["--on", "away"]), 3),
        (&acknowledging(&["plan"], &["--on", "at-target"]), 0),
        (&acknowledging(&["plan"], &["--on", "fine"]), 2),
        (&acknowledging(&["plan"], &["--on", "away"]), 3),
        (&acknowledging(&["plan"], &["--on", "too-old"]), 2),
        (&acknowledging(&["upgrade"], &["--on", "at-target"]), 0),
        (&acknowledging(&["upgrade"], &["--on", "away"]), 3),
        (&acknowledging(&["upgrade"], &["--on", "crashing"]), 5),
        (&acknowledging(&["upgrade"], &["--on", "too-old"]), 5),
        (&acknowledging(&["upgrade"], &["--on", "failing"]), 3),
        (&acknowledging(&["upgrade"], &["--on", "failing,doubtful,too-old,at-target"]), 6),
        (&["report", "last"], 6),
    ];
    for (words, code) in table {
        let ran = bench.fleet(words);
        assert_eq!(ran.code, Some(code), "{words:?}\nstdout:\n{}\nstderr:\n{}", ran.out, ran.err);
    }
    // The reserved and the remaining ones are tested where they arise: 7 and 64 and 70 below.
    for name in ["fine", "too-old", "crashing"] {
        let stopped = bench.host(name).commands().iter().any(|line| line.contains("systemctl stop k3s"));
        assert!(!stopped, "{name} was touched");
    }
}

#[test]
fn wrong_input_is_said_with_what_to_do_and_contacts_nobody() {
    let bench = Bench::new(vec![HostSpec::new("bakery"), HostSpec::new("bikes")]);
    let table: [(&[&str], &[&str]); 15] = [
        (&[], &["Usage: fleet"]),
        (&["upgrade", "--all", "--frobnicate"], &["--frobnicate", "Usage: fleet upgrade"]),
        (&["updgrade"], &["updgrade", "upgrade"]),
        (&["upgrade"], &["--on", "--all"]),
        (&["facts"], &["--on", "--all"]),
        (&["upgrade", "--on", "bakerry"], &["bakerry", "did you mean", "bakery"]),
        (&["upgrade", "--on", "@canary"], &["canary"]),
        (&["upgrade", "--all", "--max-hosts", "1"], &["2", "--max-hosts"]),
        (&["upgrade", "--all", "--to", "0.9"], &["0.9"]),
        (&["upgrade", "--all", "--ack", "podz"], &["--ack podz", "did you mean pods?", "docs/checks.md"]),
        (
            &["check", "--all", "--ack", "everything"],
            &["--ack everything: there is no such check. See docs/checks.md"],
        ),
        (&["report", "last"], &["there are no runs", "fleet upgrade"]),
        (&["report", "../../etc"], &["there are no runs"]),
        (&["backup", "verify", "nobody"], &["nobody"]),
        (&["lab", "up", "--hosts", "0"], &["--hosts 0"]),
    ];
    for (words, parts) in table {
        let ran = bench.fleet(words).ends(64);
        assert_eq!(ran.out, "", "{words:?}: trouble goes to standard error");
        for part in parts {
            assert!(ran.err.contains(part), "{words:?} should say {part:?}:\n{}", ran.err);
        }
    }
    assert!(
        !bench.path("runs").exists() && !bench.path("backups").exists() && !bench.path("lab/lab").exists()
    );
    for host in bench.lab.hosts() {
        assert_eq!(host.connections(), 0, "{}", host.spec().name);
    }
}

#[test]
fn an_inventory_that_is_missing_or_wrong_is_said_with_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let with = |inventory: &Path, words: &[&str]| {
        run(fleet(words).current_dir(folder.path()).env("FLEET_INVENTORY", inventory)).ends(64).err
    };
    for words in [&["inventory", "check"][..], &["facts", "--all"], &["upgrade", "--all"]] {
        let said = with(&folder.path().join("nowhere"), words);
        assert!(said.contains("nowhere") && said.contains("--inventory"), "{words:?}: {said}");
        // Nothing named at all: the default.
        let said = run(fleet(words).current_dir(folder.path())).ends(64).err;
        assert!(said.contains("inventory") && said.contains("inventory-example/"), "{words:?}: {said}");
    }
    let path = folder.path().join("clusters.toml");
    let cases = [
        ("[clusters.bakery]\nadress = \"203.0.113.7\"\n", "clusters.toml:2:1", "did you mean `address`?"),
        ("[clusters.bakery]\naddress = \"203.0.113.7\"\nport = 70000\n", "clusters.toml:3:8", "port"),
        ("[clusters.bakery]\naddress = \"203.0.113.7\n", "clusters.toml:2:", ""),
        ("[clusters.bakery]\n", "clusters.toml:1:", "address"),
    ];
    for (text, place, hint) in cases {
        fs::write(&path, text).unwrap();
        for words in [&["inventory", "check"][..], &["upgrade", "--all"]] {
            let said = with(&path, words);
            assert!(said.contains(place) && said.contains(hint), "{words:?}, {text:?}: {said}");
        }
    }
    assert!(!folder.path().join("runs").exists());
}

#[test]
fn a_machine_that_cannot_keep_its_books_touches_no_host() {
    let bench = Bench::new(vec![HostSpec::new("one")]);
    let file = bench.path("file");
    fs::write(&file, "").unwrap();
    // Below a file no folder can be made, not even by root.
    let runs = file.join("runs");
    let words = acknowledging(&["upgrade"], &["--all", "--runs", runs.to_str().unwrap()]);
    let ran = bench.fleet(&words).ends(70);
    assert!(ran.err.contains("on this machine") && ran.err.contains("run folder"), "{}", ran.err);
    assert_eq!(bench.host("one").connections(), 0);

    // Without a place for backups nothing is changed either.
    let backups = file.join("backups");
    let words = acknowledging(&["upgrade"], &["--all", "--backups", backups.to_str().unwrap()]);
    let ran = bench.fleet(&words);
    assert!(matches!(ran.code, Some(5 | 70)), "{ran:?}");
    let host = bench.host("one");
    assert!(!host.commands().iter().any(|line| line.contains("systemctl stop k3s")), "k3s was stopped");
}

#[test]
fn an_unknown_run_is_answered_with_those_that_are_there() {
    let bench = Bench::new(vec![HostSpec::new("away").fault(Fault::Unreachable)]);
    bench.upgrade(&["--all"]).ends(3);
    let id = bench.run().file_name().unwrap().to_str().unwrap().to_owned();
    let typo = format!("{id}x");
    let said = bench.fleet(&["report", &typo]).ends(64).err;
    assert!(said.contains(&typo) && said.contains(&id), "{said}");
    let said = bench.fleet(&["report", "../../etc"]).ends(64).err;
    assert!(said.contains("The last runs:") && said.contains(&id), "{said}");
    bench.fleet(&["report", &id]).ends(3);
}

/// Two hosts of which one is worked on, in the midst of its copy, until the file `gate` is there.
fn in_the_copy() -> (Bench, UnderWay, String, String) {
    let bench = Bench::new(vec![HostSpec::new("one"), HostSpec::new("two")]);
    let gate = bench.path("gate");
    for host in bench.lab.hosts() {
        let script = format!(
            "[ \"$1\" = -C ] && : >'{}' && until [ -e '{}' ] || [ ! -d '{}' ]; do sleep 0.05; done\nexec \"$real\" \"$@\"",
            host.folder().join("copying").display(),
            gate.display(),
            host.folder().display()
        );
        replace_program(host, "tar", &script);
    }
    let run = UnderWay::start(&bench, &acknowledging(&["upgrade"], &["--all", "--parallel", "1"]));
    let copying = |name: &str| bench.host(name).folder().join("copying").exists();
    until("a host is in its copy", || copying("one") || copying("two"));
    let (first, other) = if copying("one") { ("one", "two") } else { ("two", "one") };
    assert_eq!(bench.host(first).state().power, Power::Stopped);
    (bench, run, first.to_owned(), other.to_owned())
}

#[test]
fn ctrl_c_lets_the_copy_end_begins_nothing_new_and_writes_the_report() {
    let (bench, mut run, first, other) = in_the_copy();
    run.signal(Signal::INT);
    until("it says that it is stopping", || run.says("stopping, asked by Ctrl-C:\nnothing new is started"));
    fs::write(bench.path("gate"), "").unwrap();
    let status = run.child.wait().unwrap();
    assert_eq!(status.code(), Some(7), "{}", run.said());

    let report = bench.report(&first);
    assert_eq!((&report["outcome"], &report["state"]), (&"interrupted".into(), &"clean".into()));
    let steps = report["steps"].as_array().unwrap();
    let ended: Vec<_> = steps.iter().map(|step| (step["step"].as_str(), step["outcome"].as_str())).collect();
    let done = |step| (Some(step), Some("done"));
    assert_eq!(ended, ["truce/hold", "backup/copy", "truce/give-back"].map(done));
    assert_eq!(bench.host(&first).state().power, Power::Running);
    assert_eq!(bench.report(&other)["outcome"], "interrupted");
    assert_eq!(bench.host(&other).connections(), 0, "it was not begun");
    let text = fs::read_to_string(bench.run().join("report.md")).unwrap();
    assert!(text.contains("2 interrupted"), "{text}");
}

#[test]
fn ctrl_c_twice_lets_go_at_once_and_the_host_helps_itself() {
    let (bench, mut run, first, other) = in_the_copy();
    run.signal(Signal::INT);
    until("it says that it is stopping", || run.says("press Ctrl-C again"));
    run.signal(Signal::INT);
    let status = run.child.wait().unwrap();
    assert_eq!(status.code(), Some(7), "{}", run.said());
    let report = bench.report(&first);
    assert_eq!((&report["outcome"], &report["state"]), (&"in-doubt".into(), &"unknown".into()), "{report}");
    assert_eq!(bench.report(&other)["outcome"], "not-begun");
    let host = bench.host(&first);
    assert_eq!(host.state().power, Power::Stopped, "nobody could start it");
    // Minutes pass for the watchdog: its lease is a file on the host.
    let mut spool = fs::read_dir(host.folder().join("spool")).unwrap().map(|entry| entry.unwrap().path());
    let watchdog = spool.find(|path| path.to_string_lossy().contains("/timer-k3s-")).unwrap();
    fs::write(watchdog.join("lease.test"), "0\n").unwrap();
    fs::rename(watchdog.join("lease.test"), watchdog.join("lease")).unwrap();
    until("the watchdog starts k3s", || host.state().power == Power::Running);
    fs::write(bench.path("gate"), "").unwrap();
}
