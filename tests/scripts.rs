//! Upstream's scripts on this machine: a stand-in Stackspin repository, real git, real processes; one through the lab's real tunnel.
#![expect(clippy::unwrap_used, clippy::panic, reason = "what cannot be set up fails its test")]

mod lab_support;

use std::fs;
use std::io::{Write, sink};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command as Program;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use fleet::event::{Event, Failure, What};
use fleet::inventory::{self, Cluster};
use fleet::journal::{self, Journal};
use fleet::lab::HostSpec;
use fleet::plan::{Action, Class, Fingerprint, Local, Plan, Step};
use fleet::remote::{Command, Exit, Forward, Output, Remote, RemoteError};
use fleet::run::local::{Place, carry};
use fleet::run::{Scribe, Start, Trouble, Wish, carry_out};
use fleet::state::{Run, RunFolder, SCHEMA};
use fleet::upstream::{self, alive, lay};
use fleet::version::Version;
use lab_support::Bench;
use tempfile::TempDir;
use tokio::io::AsyncWrite;
use tokio::time::Instant;

const HOUR: Duration = Duration::from_secs(3600);

/// A stand-in for the Stackspin checkout, and what `fleet` makes of it.
struct Site {
    folder: TempDir,
}

impl Site {
    /// With branch v1.0, on which there are these files; what is not called `.txt` may be run.
    fn new(files: &[(&str, &str)]) -> Self {
        let site = Self { folder: tempfile::tempdir().unwrap() };
        let checkout = site.checkout();
        fs::create_dir_all(&checkout).unwrap();
        site.git(&["init", "-q", "-b", "v1.0"]);
        site.git(&["remote", "add", "origin", "https://me:hunter2@git.example.org/stackspin.git"]);
        site.commit(&[&[(".gitignore", "clusters/\n"), ("requirements.txt", "# nothing\n")], files].concat());
        site.git(&["checkout", "-q", "-b", "operators-own"]);
        fs::create_dir_all(checkout.join("clusters/oak")).unwrap();
        fs::write(checkout.join("clusters/oak/.flux.env"), "domain=oak.example.org\n").unwrap();
        // A python that makes its environment in no time, and counts how often.
        let made = site.path("made");
        let python = format!(
            "#!/bin/sh\n[ \"$1 $2\" = '-m venv' ] || exit 9\necho once >>'{}'\nmkdir -p \"$3/bin\"\n\
             printf '#!/bin/sh\\necho \"pip here: $*\"\\n' >\"$3/bin/python\"\nchmod +x \"$3/bin/python\"\n",
            made.display()
        );
        program(&site.path("python"), &python);
        site
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn checkout(&self) -> PathBuf {
        self.path("stackspin")
    }

    fn git(&self, words: &[&str]) -> String {
        let mut git = Program::new("git");
        git.args(["-c", "user.name=t", "-c", "user.email=t@example.org", "-C"])
            .arg(self.checkout())
            .args(words);
        let output = git.env("GIT_CONFIG_GLOBAL", "/dev/null").output().unwrap();
        assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    fn commit(&self, files: &[(&str, &str)]) {
        for (name, text) in files {
            let path = self.checkout().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, text).unwrap();
            if path.extension() != Some("txt".as_ref()) {
                fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
            }
        }
        self.git(&["add", "-A"]);
        self.git(&["commit", "-q", "-m", "files"]);
    }

    /// The script, at the commit that the branch is at now.
    fn script(&self, argv: &[&str]) -> Local {
        Local {
            release: "v1.0".into(),
            commit: self.git(&["rev-parse", "v1.0"]),
            argv: argv.iter().map(|word| (*word).to_owned()).collect(),
            needs: Vec::new(),
            unless: None,
            remedies: Vec::new(),
        }
    }

    async fn lay(&self, script: &Local) -> Result<upstream::Release, String> {
        let (checkout, python, folder) = (self.checkout(), self.path("python"), self.path("scripts"));
        let place = upstream::Place { checkout: &checkout, python: &python, folder: &folder };
        lay(place, script, Instant::now() + HOUR, &mut sink()).await
    }

    fn cluster(&self) -> Cluster {
        Cluster {
            stackspin: Some(self.checkout()),
            python: Some(self.path("python")),
            ..Cluster::new("oak", "203.0.113.7")
        }
    }
}

fn program(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

fn read(path: impl AsRef<Path>) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

// ---- the release

#[tokio::test]
async fn a_release_is_laid_out_once_for_all_and_the_operators_checkout_stays_as_it_was() {
    let site = Site::new(&[("bin/upgrade.sh", "#!/bin/sh\necho first\n")]);
    let state = || {
        let listing =
            ["status --porcelain", "rev-parse HEAD", "worktree list", "for-each-ref", "config --list"]
                .map(|line| site.git(&line.split(' ').collect::<Vec<_>>()));
        (listing, fs::read(site.checkout().join(".git/index")).unwrap())
    };
    let before = state();
    let script = site.script(&["bin/upgrade.sh", "oak"]);
    let laid = futures::future::join_all((0..8).map(|_| site.lay(&script))).await;
    let release = laid[0].clone().unwrap();
    assert!(laid.iter().all(|other| other.as_ref() == Ok(&release)), "{laid:?}");
    assert_eq!(read(site.path("made")), "once\n");
    assert_eq!(state(), before);

    // What install-stackspin.sh reads out of the repository that it stands in.
    let asked = |words: &[&str]| {
        let output = Program::new("git").arg("-C").arg(&release.tree).args(words).output().unwrap();
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    assert_eq!(asked(&["rev-parse", "--abbrev-ref", "HEAD"]), "v1.0");
    assert_eq!(asked(&["rev-parse", "HEAD"]), script.commit);
    assert_eq!(asked(&["remote"]), "origin");
    assert_eq!(asked(&["config", "remote.origin.url"]), "https://me:hunter2@git.example.org/stackspin.git");
    assert_eq!(asked(&["rev-parse", "--symbolic-full-name", "HEAD"]), "refs/heads/v1.0");
    assert_eq!(read(release.tree.join("clusters/oak/.flux.env")), "domain=oak.example.org\n");
}

#[tokio::test]
async fn a_branch_that_has_moved_since_changes_nothing_of_what_was_planned() {
    let site = Site::new(&[("bin/upgrade.sh", "#!/bin/sh\necho first\n")]);
    let planned = site.script(&["bin/upgrade.sh"]);
    site.git(&["checkout", "-q", "v1.0"]);
    site.commit(&[("bin/upgrade.sh", "#!/bin/sh\necho second\n")]);
    let (old, new) = (site.lay(&planned).await.unwrap(), site.lay(&site.script(&["x"])).await.unwrap());
    assert!(read(old.tree.join("bin/upgrade.sh")).contains("first"));
    assert!(read(new.tree.join("bin/upgrade.sh")).contains("second"));
}

#[tokio::test]
async fn one_that_was_half_made_is_made_anew_and_one_without_its_python_too() {
    let site = Site::new(&[("bin/upgrade.sh", "#!/bin/sh\n")]);
    let script = site.script(&["bin/upgrade.sh"]);
    let release = site.lay(&script).await.unwrap();
    let ready = release.tree.with_file_name("ready");
    fs::remove_file(&ready).unwrap();
    fs::remove_file(release.tree.join("bin/upgrade.sh")).unwrap();
    assert_eq!(site.lay(&script).await.unwrap(), release);
    assert!(release.tree.join("bin/upgrade.sh").exists() && ready.exists());
    fs::remove_file(release.env.join("bin/python")).unwrap();
    site.lay(&script).await.unwrap();
    assert!(release.env.join("bin/python").exists());
    assert_eq!(read(site.path("made")), "once\n".repeat(3));
}

#[tokio::test]
async fn what_is_missing_here_is_named_and_nothing_is_left_that_looks_whole() {
    let site = Site::new(&[]);
    let script = site.script(&["x"]);
    let needing = Local { needs: vec!["no-such-helm".into()], ..script.clone() };
    assert_eq!(site.lay(&needing).await.unwrap_err(), "no-such-helm is not in the PATH of this machine");
    let gone = Local { commit: "f".repeat(40), ..script.clone() };
    let why = site.lay(&gone).await.unwrap_err();
    assert!(why.contains("git") && why.contains("checkout"), "{why}");
    for strange in ["../../etc", "main"] {
        let why = site.lay(&Local { release: strange.into(), ..script.clone() }).await.unwrap_err();
        assert!(why.contains("names no release"), "{why}");
    }
    program(&site.path("python"), "#!/bin/sh\necho 'no ensurepip' >&2; exit 1\n");
    let why = site.lay(&script).await.unwrap_err();
    assert!(why.contains("-m venv") && why.ends_with("no ensurepip"), "{why}");
    assert!(site.lay(&script).await.is_err());
}

// ---- the script

/// A host that gives k3s' kubeconfig, and a way to nowhere that is lost when the script has begun, or never.
struct Here {
    /// The file whose coming ends the way.
    lost_at: Option<PathBuf>,
}

impl Remote for Here {
    async fn run(&self, command: &Command, _: &mut (dyn Write + Send)) -> Result<Output, RemoteError> {
        assert_eq!(command.line(), "cat -- /etc/rancher/k3s/k3s.yaml");
        let text =
            "kind: Config\nclusters:\n- cluster:\n    server: https://127.0.0.1:6443\n  name: default\n";
        Ok(Output { exit: Exit::Code(0), stdout: text.into(), stderr: Vec::new(), dropped: 0 })
    }

    async fn stream(
        &self,
        command: &Command,
        _: &mut (dyn AsyncWrite + Unpin + Send),
    ) -> Result<Output, RemoteError> {
        panic!("streams {}", command.line())
    }

    async fn forward(&self, port: u16) -> Result<Forward, RemoteError> {
        assert_eq!(port, 6443);
        let lost_at = self.lost_at.clone();
        let serving = async move {
            match lost_at {
                Some(file) => until(|| file.exists()).await,
                None => std::future::pending().await,
            }
            RemoteError::Lost("cut".into())
        };
        Ok(Forward { port: 4321, serving: Box::pin(serving) })
    }
}

/// Looks again and again.
async fn until(is: impl Fn() -> bool) {
    while !is() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// How a script ended, its log and its journal.
struct Told {
    end: Result<(), Trouble>,
    log: String,
    events: Vec<Event>,
}

impl Told {
    fn failed(&self) -> &Failure {
        match &self.end {
            Err(Trouble::Failed(failure)) => failure,
            other => panic!("{other:?}\n{}", self.log),
        }
    }

    fn doubt(&self) -> &Failure {
        match &self.end {
            Err(Trouble::InDoubt(failure)) => failure,
            other => panic!("{other:?}\n{}", self.log),
        }
    }

    fn exits(&self) -> Vec<&str> {
        let mut exits = Vec::new();
        for event in &self.events {
            if let What::Ran { exit, .. } = &event.what {
                exits.push(exit.as_str());
            }
        }
        exits
    }
}

async fn told(site: &Site, argv: &[&str], deadline: Duration, remote: &Here) -> Told {
    let step = Step::new("to-1.0/script", "Run it", Class::Irreversible, Action::Local(site.script(argv)))
        .takes(Duration::from_secs(1), deadline);
    let Action::Local(script) = &step.action else { panic!() };
    let (log, path) = (site.path("log"), site.path("journal.ndjson"));
    let mut journal = Journal::create(&path, "oak", None).unwrap();
    let run = site.folder.path().display().to_string();
    let place = Place { cluster: site.cluster(), folder: site.path("scripts"), run };
    let end = {
        let mut scribe = Scribe::new(&mut journal, &step.id, &log).unwrap();
        carry(remote, &step, script, &place, &mut scribe).await
    };
    drop(journal);
    let told = Told { end, log: read(log), events: journal::read(&path).unwrap() };
    let mark = format!("{}/oak/to-1.0/script", place.run);
    // What is killed is gone a moment later.
    let gone = tokio::time::timeout(Duration::from_secs(60), until(|| alive(&mark).is_empty())).await;
    assert!(gone.is_ok(), "something of it is left: {:?}", alive(&mark));
    told
}

const STAYS: Here = Here { lost_at: None };

#[tokio::test]
async fn a_script_has_the_api_before_it_no_input_and_nothing_of_the_operators_environment() {
    let site = Site::new(&[(
        "bin/upgrade.sh",
        "#!/bin/sh\necho \"for $1 in $(pwd)\"; cat \"$KUBECONFIG\"; wc -c; env | cut -d= -f1 | sort | tr '\\n' ' '; python here\n",
    )]);
    let told = told(&site, &["bin/upgrade.sh", "oak"], HOUR, &STAYS).await;
    assert_eq!(told.end, Ok(()), "{}", told.log);
    let log = &told.log;
    assert!(log.contains("for oak in ") && log.contains("/scripts/v1.0-"), "{log}");
    assert!(log.contains("server: https://127.0.0.1:4321\n"), "{log}");
    assert!(log.contains("\n0\n"), "there was input: {log}");
    assert!(log.contains("pip here: here"), "its environment does not come first: {log}");
    assert!(!log.contains("CARGO"), "{log}");
    assert_eq!(told.exits(), ["exit status 0"]);
    let started = told.events.iter().position(|event| matches!(&event.what, What::Noted { text, .. } if text.starts_with("starts bin/upgrade.sh oak in ")));
    let ran = told.events.iter().position(|event| matches!(event.what, What::Ran { .. }));
    assert!(started.unwrap() < ran.unwrap());
}

#[tokio::test]
async fn its_exit_status_decides_and_its_last_words_are_told() {
    let site = Site::new(&[(
        "bin/upgrade.sh",
        "#!/bin/sh\necho much; echo 'daemonset is \x1b[31mimmutable' >&2; exit 3\n",
    )]);
    let told = told(&site, &["bin/upgrade.sh"], HOUR, &STAYS).await;
    let failure = told.failed();
    assert_eq!(failure.cause, "script-failed");
    assert!(
        failure.message.contains("exit status 3") && failure.message.contains("immutable"),
        "{failure:?}"
    );
    assert!(!failure.message.contains('\u{1b}'));
    assert_eq!(told.exits(), ["exit status 3"]);
}

#[tokio::test]
async fn one_beyond_its_time_is_ended_with_all_that_it_started_and_leaves_a_doubt() {
    // One child in its group that hears no request, one that has left the group.
    let site = Site::new(&[(
        "bin/upgrade.sh",
        "#!/bin/sh\n(trap '' TERM; exec sleep 600) & setsid sleep 600 &\necho begun; exec sleep 600\n",
    )]);
    // Laid out before, so that the time is the script's own.
    site.lay(&site.script(&["x"])).await.unwrap();
    let told = told(&site, &["bin/upgrade.sh"], Duration::from_secs(2), &STAYS).await;
    assert_eq!(told.doubt().cause, "deadline");
    assert!(told.doubt().message.ends_with(": begun"), "{:?}", told.doubt());
    assert_eq!(told.exits(), ["no end within 2 s"]);
}

#[tokio::test]
async fn one_whose_way_to_the_cluster_is_lost_is_ended_and_leaves_a_doubt() {
    let site = Site::new(&[("bin/upgrade.sh", "#!/bin/sh\ntouch \"$1\"; exec sleep 600\n")]);
    let begun = site.path("begun");
    let cut = Here { lost_at: Some(begun.clone()) };
    let told = told(&site, &["bin/upgrade.sh", begun.to_str().unwrap()], HOUR, &cut).await;
    assert_eq!(told.doubt().cause, "connection-lost", "a redo rule hears of it by this name");
    assert!(told.doubt().message.contains("cut"), "{:?}", told.doubt());
}

#[tokio::test]
async fn what_it_leaves_behind_ends_with_it_and_its_output_is_bounded() {
    let site = Site::new(&[(
        "bin/upgrade.sh",
        "#!/bin/sh\nsleep 600 &\nhead -c 20000000 /dev/zero | tr '\\0' x; echo; echo the end\n",
    )]);
    let told = told(&site, &["bin/upgrade.sh"], HOUR, &STAYS).await;
    assert_eq!(told.end, Ok(()));
    assert!(told.log.len() < 17 << 20, "{}", told.log.len());
    assert!(
        told.log.contains("# 20000009 bytes in all;") && told.log.ends_with("the end\n# exit status 0\n")
    );
}

#[tokio::test]
async fn a_script_that_never_began_has_failed_and_says_so() {
    let site = Site::new(&[("bin/no.txt", "no program\n")]);
    for (argv, why) in [
        (["bin/upgrade.sh"], "Stackspin v1.0 has no program bin/upgrade.sh"),
        (["bin/no.txt"], "Stackspin v1.0 has no program bin/no.txt"),
        (["no-such-program"], "there is no program no-such-program"),
    ] {
        let told = told(&site, &argv, HOUR, &STAYS).await;
        assert_eq!(told.failed().cause, "script-not-started");
        assert!(told.failed().message.ends_with(why), "{:?}", told.failed());
        assert_eq!(told.exits(), [""; 0]);
        fs::remove_file(site.path("journal.ndjson")).unwrap();
    }
}

// ---- a step, through the lab's real tunnel, in a real virtual environment

/// A wheel with the module `stackspin`, which asks the API with a real kubectl. It is read from disk alone.
const WHEEL: &str = r#"
import sys, zipfile
body = """import os, subprocess, sys
print("stackspin", *sys.argv[1:], "in", sys.prefix, flush=True)
sys.exit(subprocess.call(["kubectl", "get", "namespaces", "-o", "name"]))
"""
info = "stackspin-1.0.dist-info/"
with zipfile.ZipFile(sys.argv[1], "w") as wheel:
    wheel.writestr("stackspin/__init__.py", "")
    wheel.writestr("stackspin/__main__.py", body)
    wheel.writestr(info + "METADATA", "Metadata-Version: 2.1\nName: stackspin\nVersion: 1.0\n")
    wheel.writestr(info + "WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
    wheel.writestr(info + "RECORD", "stackspin/__init__.py,,\nstackspin/__main__.py,,\n" + info + "METADATA,,\n" + info + "WHEEL,,\n" + info + "RECORD,,\n")
"#;

#[test]
fn a_step_runs_upstreams_program_against_the_clusters_own_api() {
    let site = Site::new(&[("requirements.txt", "./stackspin-1.0-py3-none-any.whl\n")]);
    let wheel = site.path("stackspin-1.0-py3-none-any.whl");
    assert!(Program::new("python3").args(["-c", WHEEL]).arg(&wheel).status().unwrap().success());
    site.git(&["checkout", "-q", "v1.0"]);
    fs::copy(&wheel, site.checkout().join("stackspin-1.0-py3-none-any.whl")).unwrap();
    site.commit(&[]);

    let bench = Bench::new(vec![HostSpec::new("acme")]);
    let known = inventory::load(&bench.lab.inventory()).unwrap();
    let cluster = Cluster { stackspin: Some(site.checkout()), ..known.clusters["acme"].clone() };
    let run = Run {
        schema: SCHEMA,
        id: "20261122T101500Z-abcd".into(),
        started: "2026-11-22T10:15:00Z".parse().unwrap(),
        by: "operator@desk".into(),
        fleet: "0.1.0".into(),
        typed: Vec::new(),
        target: Some(Version::V1_0),
        clusters: vec!["acme".into()],
        acknowledged: Vec::new(),
        plan: None,
    };
    let folder = RunFolder::create(&bench.path("runs"), &run).unwrap().cluster("acme").unwrap();
    let script = site.script(&["python", "-m", "stackspin", "acme", "install"]);
    // Read-only, so that it needs no backup.
    let step = Step::new("to-1.0/install", "Install", Class::ReadOnly, Action::Local(script));
    let plan = Plan {
        schema: fleet::plan::SCHEMA,
        cluster: "acme".into(),
        migration: "to-1.0".into(),
        from: Version::V0_8,
        to: Version::V1_0,
        apps: Vec::new(),
        steps: vec![step],
        notes: Vec::new(),
        rest: Vec::new(),
        fingerprint: Fingerprint::new(),
    };
    let mut journal = Journal::create(&folder.journal(), "acme", None).unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let ended = runtime.block_on(async {
        let session = fleet::ssh::connect(&cluster.host).await.unwrap();
        let (backups, stopped) = (bench.path("backups"), AtomicBool::new(false));
        let wish = Wish {
            cluster: &cluster,
            target: Version::V1_0,
            acknowledged: &[],
            folder: &folder,
            backups: &backups,
            host_key: session.host_key(),
            plan: None,
            stop: &stopped,
        };
        let start = Start::anew(wish, &plan, &mut journal).unwrap();
        carry_out(&session, &plan, wish, start, &mut journal).await.unwrap()
    });
    let log = read(folder.path().join("to-1.0/steps/to-1.0-install.log"));
    assert_eq!(ended, Ok(()), "{log}");
    assert!(log.contains("stackspin acme install in ") && log.contains("namespace/flux-system\n"), "{log}");
    assert!(bench.path("scripts").is_dir(), "beside the runs");
    assert!(!log.contains("hunter2"), "the checkout's login came to light: {log}");
}
