//! Maintenance windows on simulated hosts: what is opened is shut again, whoever dies.
#![expect(clippy::unwrap_used, reason = "what cannot be set up fails its test")]

mod lab_support;

use std::fs;

use fleet::lab::{Fault, Host, HostSpec};
use lab_support::{Bench, left_on_spool, until};
use serde_json::json;

const FLUX: &str = "flux-system";
const SYSTEM: &str = "system-upgrade";
const CONTROLLER: &str = "system-upgrade-controller";
/// The command that opens the window, and no other.
const OPENS: &str = "source flux-system openappstack false";

fn is_shut(host: &Host) -> bool {
    let source = host.object("gitrepositories", FLUX, "openappstack").unwrap();
    source["spec"]["suspend"] == json!(true)
}

fn replicas(host: &Host) -> u64 {
    host.object("deployments", SYSTEM, CONTROLLER).unwrap()["spec"]["replicas"].as_u64().unwrap()
}

fn shut(name: &str) -> HostSpec {
    let mut spec = HostSpec::new(name);
    spec.source_suspended = true;
    spec
}

/// The time of the window goes by: its lease is a file on the host.
fn time_goes_by(host: &Host, timer: &str) {
    let folder = host.folder().join("spool").join(timer);
    fs::write(folder.join("lease.test"), "0\n").unwrap();
    fs::rename(folder.join("lease.test"), folder.join("lease")).unwrap();
    until("the host has shut it", || folder.join("undone").exists());
}

#[test]
fn a_window_is_opened_once_and_shut_by_hand_or_by_the_host() {
    let bench = Bench::new(vec![shut("one"), HostSpec::new("always-open")]);
    let (one, always) = (bench.host("one"), bench.host("always-open"));

    let ran = bench.fleet(&["window", "open", "--all", "--for", "3h"]).ends(0);
    assert!(!is_shut(one) && !is_shut(always));
    assert!(ran.out.contains("one: done") && ran.out.contains("in 3 h 00 m 00 s"), "{}", ran.out);
    assert!(
        ran.out.contains("always-open: nothing to do") && ran.out.contains("not by fleet"),
        "{}",
        ran.out
    );
    assert_eq!(left_on_spool(always), Vec::<std::path::PathBuf>::new(), "what was open before gets no timer");

    let lease = || fs::read(one.folder().join("spool/timer-window/lease")).unwrap();
    let before = lease();
    let ran = bench.fleet(&["window", "open", "--on", "one", "--for", "9h"]).ends(0);
    assert!(ran.out.contains("open already"), "{}", ran.out);
    assert_eq!(lease(), before, "what is open already is left as it is");
    let shown = bench.fleet(&["window", "show", "--on", "one"]).ends(0);
    assert!(
        ["2 h 5", "3 h 00 m 00 s"]
            .iter()
            .any(|left| shown.out.contains(&format!("one: open, shut in {left}")))
            && shown.out.contains("flux-suspend-source (0 4 * * *)"),
        "{}",
        shown.out
    );

    bench.fleet(&["window", "close", "--on", "one"]).ends(0);
    assert!(is_shut(one));
    assert_eq!(left_on_spool(one), Vec::<std::path::PathBuf>::new());
    let ran = bench.fleet(&["window", "close", "--on", "one"]).ends(0);
    assert!(ran.out.contains("one: nothing to do"), "{}", ran.out);

    // Nobody comes back: the host does it, and the next opening takes away what is left of it.
    bench.fleet(&["window", "open", "--on", "one"]).ends(0);
    assert!(!is_shut(one));
    time_goes_by(one, "timer-window");
    assert!(is_shut(one));
    bench.fleet(&["window", "open", "--on", "one"]).ends(0);
    assert!(!is_shut(one));
}

#[test]
fn a_line_that_is_lost_and_an_opening_that_fails_leave_a_window_that_is_shut_in_time() {
    let lost = shut("lost").fault(Fault::ConnectionDropsAfter(OPENS.to_owned()));
    let bench = Bench::new(vec![lost, shut("fails").fault(Fault::CommandFails(OPENS.to_owned()))]);
    let ran = bench.fleet(&["window", "open", "--all"]).ends(3);
    assert!(ran.out.contains("lost: done"), "{}", ran.out);
    assert!(
        ran.out.contains("fails: failed") && ran.out.contains("is shut by the host's timer in"),
        "{}",
        ran.out
    );
    for name in ["lost", "fails"] {
        let host = bench.host(name);
        assert_eq!(is_shut(host), name == "fails");
        time_goes_by(host, "timer-window");
        assert!(is_shut(host), "{name}");
    }
}

#[test]
fn a_host_that_is_locked_or_another_is_left_alone() {
    let bench = Bench::new(vec![shut("locked"), shut("another")]);
    let spool = bench.host("locked").folder().join("spool");
    fs::create_dir_all(&spool).unwrap();
    let lock = "lock 7 20261122T101500Z-abcd 0123456789abcdef\nowner a@b\nsince 2026-11-22T10:15:00Z\nreason upgrade\nend\n";
    fs::write(spool.join("lock"), lock).unwrap();
    let inventory = bench.lab.inventory().join("lab.toml");
    let text = fs::read_to_string(&inventory).unwrap();
    let domain = bench.host("another").spec().domain();
    fs::write(&inventory, text.replace(&domain, "somebody.example.net")).unwrap();
    bench.fleet(&["window", "open", "--all"]).ends(5);
    for name in ["locked", "another"] {
        assert!(is_shut(bench.host(name)));
        assert!(!bench.host(name).folder().join("spool/timer-window").exists());
    }
    assert_eq!(bench.report("locked")["failure"]["cause"], "locked");
    assert_eq!(bench.report("another")["failure"]["cause"], "identity-differs");
}

#[test]
fn the_k3s_window_scales_the_controller_and_is_refused_where_k3s_would_be_taken_back() {
    let bench = Bench::new(vec![shut("plain"), shut("newer"), shut("own-plan")]);
    bench.host("own-plan").edit("plans", SYSTEM, "k3s-server", |plan| {
        plan["metadata"]["labels"] = json!({});
    });
    let node = bench.host("newer").objects("nodes").remove(0);
    bench.host("newer").edit("nodes", "", node["metadata"]["name"].as_str().unwrap(), |node| {
        node["status"]["nodeInfo"]["kubeletVersion"] = json!("v1.30.1+k3s1");
    });
    let ran = bench.fleet(&["k3s-window", "open", "--all", "--for", "30m"]).ends(5);
    assert!(ran.out.contains("it would be downgraded"), "{}", ran.out);
    assert!(ran.out.contains("is not Stackspin's"), "{}", ran.out);
    assert_eq!(["plain", "newer", "own-plan"].map(|name| replicas(bench.host(name))), [1, 0, 0]);
    let plain = bench.host("plain");
    time_goes_by(plain, "timer-k3s-window");
    assert_eq!(replicas(plain), 0);
    assert!(is_shut(plain), "the other window is none of it");
    bench.fleet(&["k3s-window", "open", "--on", "plain"]).ends(0);
    bench.fleet(&["k3s-window", "close", "--on", "plain"]).ends(0);
    assert_eq!(replicas(plain), 0);
    assert_eq!(left_on_spool(plain), Vec::<std::path::PathBuf>::new());
}

#[test]
fn an_upgrade_takes_a_window_that_is_open_over_and_gives_it_back_shut() {
    let bench = Bench::new(vec![shut("one").apps(["wordpress"])]);
    bench.fleet(&["window", "open", "--on", "one"]).ends(0);
    let host = bench.host("one");
    bench.upgrade(&["--all"]).ends(0);
    assert!(is_shut(host), "as it was before it was opened");
    assert_eq!(left_on_spool(host), Vec::<std::path::PathBuf>::new());
    let told =
        bench.journal("one").iter().any(|event| format!("{event:?}").contains("opened by hand is shut when"));
    assert!(told);
}
