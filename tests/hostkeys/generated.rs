//! Generated known_hosts files: `fleet` connects where `ssh` does, and nowhere else. Which lines name a host is compared on many
//! more files with `ssh-keygen -F`, beside the code.

use std::cell::Cell;
use std::fs;

use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::{Config, TestRunner};

use crate::certificates::{Certified, certified};
use crate::judges::{Scene, new_key};

/// Enough for each kind of verdict, in seconds rather than minutes.
const CASES: u32 = 90;
/// The same for a host with several keys, where each takes several questions to `ssh`.
const CASES_OF_SEVERAL_KEYS: u32 = 24;

/// What a line says, before a host gives the words their meaning.
#[derive(Debug, Clone)]
struct Line {
    mark: &'static str,
    names: &'static str,
    key: &'static str,
    layout: &'static str,
}

impl Line {
    /// The line, for this host and these keys: its own, its authority's, another one.
    fn text(&self, name: &str, keys: [&str; 3]) -> String {
        let key = match self.key {
            "own" => keys[0].to_owned(),
            "authority" => keys[1].to_owned(),
            "other" => keys[2].to_owned(),
            broken => broken.to_owned(),
        };
        let names = self.names.replace("NAME", name);
        self.layout.replace("MARK", self.mark).replace("NAMES", &names).replace("KEY", &key)
    }
}

fn lines() -> impl Strategy<Value = Line> {
    let keys = || select(vec!["own", "own", "own", "authority", "other", "ssh-dss AAAA", "ssh-new AAAA", ""]);
    let layout = || {
        select(vec![
            "MARKNAMES KEY",
            "MARKNAMES\tKEY",
            "MARKNAMES KEY by hand",
            "\t MARKNAMES \t KEY\t# x",
            "#MARKNAMES KEY",
        ])
    };
    let names = select(vec![
        "NAME",
        "NAME",
        "127.0.0.1",
        "*",
        "127.0.0.?",
        "[127.0.0.*]:*",
        "oak",
        "O?K",
        "elm",
        "elm,NAME",
        "*,!NAME",
        "*,!oak",
        "*,!127.0.0.1",
        "!NAME",
        "[127.0.0.1]:22",
    ]);
    let trusting = (select(vec!["", "", "@cert-authority ", "@new "]), names, keys(), layout());
    // One that is revoked without port is refused by fleet alone, on purpose: see lines.rs.
    let revoked = select(vec!["NAME", "127.0.0.1,NAME", "*", "oak", "elm", "*,!elm,!oak"]);
    let revoking = (Just("@revoked "), revoked, keys(), layout());
    prop_oneof![6 => trusting, 1 => revoking].prop_map(|(mark, names, key, layout)| Line {
        mark,
        names,
        key,
        layout,
    })
}

/// A host, its own key, its authority's and another.
struct Host {
    scene: Scene,
    keys: [String; 3],
    /// A line that every first file begins with.
    first: String,
}

fn plain() -> Host {
    let scene = Scene::with(&["ed25519"]);
    let keys = [
        scene.sshd.host_key("ed25519"),
        new_key(&scene.sshd, "ed25519", "ca"),
        new_key(&scene.sshd, "ed25519", "other"),
    ];
    Host { scene, keys, first: String::new() }
}

/// Fleet asks for certificates where an authority is recorded, ssh always does: so there is always one.
fn with_certificate(words: &[&str]) -> (Host, tempfile::TempDir) {
    let Certified { scene, authority, key, dir } = certified(words);
    let other = new_key(&scene.sshd, "ed25519", "other");
    let stranger = new_key(&scene.sshd, "ed25519", "stranger");
    let first = format!("@cert-authority * {stranger}\n@cert-authority 127.0.0.1 {stranger}\n");
    (Host { scene, keys: [key, authority, other], first }, dir)
}

#[test]
fn fleet_connects_where_ssh_does_and_nowhere_else() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (good, _good) = with_certificate(&["-h", "-n", "127.0.0.1,oak"]);
    let (of_another, _of_another) = with_certificate(&["-h", "-n", "elm"]);
    let mut hosts = [plain(), good, of_another];
    for host in &mut hosts {
        let second = host.scene.sshd.dir().join("second");
        host.scene.files.push(second);
    }
    let hosts = std::cell::RefCell::new(hosts);
    let seen = Cell::new((0, 0));
    let case = (
        0..3_usize,
        proptest::option::weighted(0.2, Just("Oak".to_owned())),
        prop::collection::vec(lines(), 0..5),
        prop::collection::vec(lines(), 0..3),
    );
    let mut runner = TestRunner::new(Config {
        cases: CASES,
        failure_persistence: None,
        max_shrink_iters: 200,
        ..Config::default()
    });
    let verdict = runner.run(&case, |(which, alias, first, second)| {
        let host = &mut hosts.borrow_mut()[which];
        host.scene.alias = alias;
        let name = host.scene.sshd.known_as();
        let keys = [0, 1, 2].map(|n| host.keys[n].as_str());
        let text =
            |lines: &[Line]| lines.iter().map(|line| line.text(&name, keys) + "\n").collect::<String>();
        let (first, second) = (host.first.clone() + &text(&first), text(&second));
        fs::write(&host.scene.files[0], &first).unwrap();
        fs::write(&host.scene.files[1], &second).unwrap();
        let verdict = runtime.block_on(host.scene.fleet());
        let (accepted, said) = host.scene.ssh();
        prop_assert_eq!(
            verdict.is_ok(),
            accepted,
            "fleet (left) and ssh (right), host {}:\n{}---\n{}---\n{:?}\n{}",
            which,
            first,
            second,
            verdict,
            said
        );
        let (accepts, refusals) = seen.get();
        seen.set(if accepted { (accepts + 1, refusals) } else { (accepts, refusals + 1) });
        Ok(())
    });
    verdict.unwrap();
    let (accepts, refusals) = seen.get();
    assert!(accepts >= 3 && refusals >= 3, "{accepts} accepted, {refusals} refused: the cases are no test");
}

// ssh may ask for a kind of key that no plain line records, fleet does not: so it is asked about each kind in turn.
#[test]
fn a_host_with_several_keys_is_connected_to_where_ssh_accepts_one_of_them() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let scene = Scene::with(&["ed25519", "ecdsa", "rsa"]);
    let name = scene.sshd.known_as();
    let mut keys: Vec<String> =
        ["ed25519", "ecdsa", "rsa"].iter().map(|kind| scene.sshd.host_key(kind)).collect();
    keys.extend(
        ["ed25519", "ecdsa", "rsa"].iter().map(|kind| new_key(&scene.sshd, kind, &format!("other_{kind}"))),
    );
    let line = (select(vec![name.clone(), name, "127.0.0.1".to_owned()]), select(keys));
    let lines = prop::collection::vec(line.prop_map(|(name, key)| format!("{name} {key}\n")), 1..4);
    let seen = Cell::new((0, 0));
    let mut runner = TestRunner::new(Config {
        cases: CASES_OF_SEVERAL_KEYS,
        failure_persistence: None,
        ..Config::default()
    });
    let verdict = runner.run(&lines, |lines| {
        let known_hosts = lines.concat();
        fs::write(&scene.files[0], &known_hosts).unwrap();
        let verdict = runtime.block_on(scene.fleet());
        let (accepts, refusals) = seen.get();
        if verdict.is_ok() {
            seen.set((accepts + 1, refusals));
            let accepted = ["ssh-ed25519", "ecdsa-sha2-nistp256", "rsa-sha2-512"]
                .iter()
                .any(|kind| scene.ssh_with(&[&format!("HostKeyAlgorithms={kind}")]).0);
            prop_assert!(accepted, "fleet accepts a key that ssh does not:\n{}", known_hosts);
        } else {
            seen.set((accepts, refusals + 1));
            prop_assert!(!scene.ssh().0, "fleet refuses what ssh accepts:\n{}{:?}", known_hosts, verdict);
        }
        Ok(())
    });
    verdict.unwrap();
    let (accepts, refusals) = seen.get();
    assert!(accepts >= 3 && refusals >= 3, "{accepts} accepted, {refusals} refused: the cases are no test");
}
