//! Hosts that misbehave, beside healthy ones: a clear outcome for the one, no harm to the others, bounded memory. Each is a real sshd whose
//! every command is what the host wants it to be. More of them, in memory, are in `src/ssh/tests/`.
#![expect(clippy::unwrap_used, reason = "what cannot be set up fails its test")]

#[path = "lab_support/mod.rs"]
mod lab_support;
mod sshd;

use std::fs;
use std::io::sink;
use std::path::Path;
use std::time::{Duration, Instant};

use fleet::lab::HostSpec;
use fleet::remote::{Command, Remote, RemoteError};
use fleet::ssh::connect;
use lab_support::Bench;
use sshd::{Options, Sshd};

/// A server that does this, a shell script, in place of every command; `begin` in it begins the command as an honest host would.
fn hostile(script: &str) -> (Sshd, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("hostile");
    let begin = r#"begin() { sh -c "$SSH_ORIGINAL_COMMAND"; }"#;
    fs::write(&file, format!("{begin}\n{script}\n")).unwrap();
    let config = format!("ForceCommand exec /bin/sh {}", file.display());
    (Sshd::start_with(&Options { config, ..Options::default() }), folder)
}

/// Most memory that this process has ever held, in KiB.
fn peak() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

type Expected = fn(&RemoteError) -> bool;

/// What it does, and what comes of a command that may take two seconds.
const KINDS: &[(&str, &str, Expected)] = &[
    ("endless noise", "exec yes", deadline),
    ("endless noise on one line", r"exec tr '\0' x </dev/zero", deadline),
    ("endless output", "begin; exec yes", deadline),
    ("endless output on one line", r"begin; exec tr '\0' x </dev/zero", deadline),
    ("endless complaints", "begin; exec yes >&2", deadline),
    ("endless random bytes", "begin; exec cat /dev/urandom", deadline),
    ("one byte a second", "begin; while :; do printf x; sleep 1; done", deadline),
    ("no answer", "exec sleep 20", deadline),
    ("cut in the middle", "begin; head -c 1000000 /dev/zero; kill -9 $PPID; sleep 5", |error| {
        matches!(error, RemoteError::Lost(_)) && error.in_doubt()
    }),
    (
        "strange bytes in place of a shell",
        r"printf '\033[2J\033]0;owned\007\200\377\n\342\200\256abc'; exit 3",
        |error| {
            matches!(error, RemoteError::Refused(why) if why.contains("abc") && why.contains("owned") && why.contains("exit status 3"))
                && !error.in_doubt()
        },
    ),
    ("another command", "echo I do what I like", |error| {
        matches!(error, RemoteError::Refused(why) if why.contains("I do what I like")) && !error.in_doubt()
    }),
];

fn deadline(error: &RemoteError) -> bool {
    matches!(error, RemoteError::Deadline(_)) && error.in_doubt()
}

#[tokio::test]
async fn a_hostile_host_comes_to_a_clear_end_and_harms_no_other() {
    let good = Sshd::start();
    let before = peak();
    for (kind, script, expected) in KINDS {
        let (bad, _folder) = hostile(script);
        let sessions = [connect(&good.host()).await.unwrap(), connect(&good.host()).await.unwrap()];
        let hostile = connect(&bad.host()).await.unwrap();
        let began = Instant::now();
        let command = Command::new("true").deadline(Duration::from_secs(2));
        let mut log = sink();
        let (error, ()) = tokio::join!(hostile.run(&command, &mut log), async {
            // All on one thread with the hostile one: what it sends must leave them their turn.
            for session in &sessions {
                for _ in 0..5 {
                    let output = session.run(&Command::new("echo well"), &mut sink()).await.unwrap();
                    assert_eq!((output.success(), output.text().as_ref()), (true, "well\n"), "{kind}");
                }
            }
        });
        let error = error.unwrap_err();
        assert!(expected(&error), "{kind}: {error}");
        assert!(!error.to_string().chars().any(char::is_control), "{kind}: {error:?}");
        assert!(began.elapsed() < Duration::from_secs(20), "{kind}: {:?}", began.elapsed());
    }
    let grown = peak().saturating_sub(before);
    assert!(grown < 64 << 10, "{grown} KiB more than before");
}

/// An inventory's entry for a server.
fn entry(name: &str, sshd: &Sshd) -> String {
    format!(
        "[clusters.{name}]\naddress = \"127.0.0.1\"\nport = {}\nuser = \"{}\"\nidentity = \"{}\"\nagent = false\nhost_key = \"{}\"\n",
        sshd.port(),
        sshd::user(),
        sshd.dir().join("id").display(),
        sshd.host_key("ed25519"),
    )
}

#[test]
fn healthy_clusters_are_upgraded_beside_hosts_that_are_none() {
    let bench = Bench::new(vec![HostSpec::new("oak"), HostSpec::new("elm").apps(["wordpress"])]);
    let cut = hostile("begin; kill -9 $PPID; sleep 5");
    let strange = hostile(r"printf '\033[2Jowned\n'; exit 3");
    let file = bench.lab.inventory().join("hostile.toml");
    fs::write(file, entry("cut", &cut.0) + &entry("strange", &strange.0)).unwrap();
    let ran = bench.upgrade(&["--all"]);
    assert!(matches!(ran.code, Some(3..=5)), "{ran:?}");
    for name in ["oak", "elm"] {
        assert_eq!(bench.report(name)["outcome"], "done", "{name}: {ran:?}");
    }
    for name in ["cut", "strange"] {
        assert!(ran.out.contains(name), "{ran:?}");
        assert!(!Path::new(&bench.run().join(name).join("plan.json")).exists(), "{name} has a plan");
    }
    for text in [&ran.out, &ran.err] {
        assert!(!text.chars().any(|c| c.is_control() && c != '\n'), "{text:?}");
    }
}
