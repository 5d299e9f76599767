//! The truce with what a cluster and its host do by themselves at night: held for the run, given back as it was found, whatever comes.
#![expect(clippy::unwrap_used, reason = "what cannot be set up fails its test")]

mod lab_support;
mod sshd;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::sink;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::Duration;

use fleet::event::{Event, What};
use fleet::lab::{Fault, Host, HostSpec};
use fleet::plan::{Found, Object, Truce};
use fleet::remote::{Command, Exit, Output, Remote};
use fleet::ssh::connect;
use fleet::truce::{self, Seen, Standing};
use lab_support::{Bench, acknowledging, replace_program, until};
use proptest::prelude::*;
use serde_json::{Value, json};
use sshd::{Options, Sshd};
use tempfile::TempDir;

const FLUX: &str = "flux-system";
const CONTROLLER: &str = "system-upgrade-controller";
/// The command of the rung's first change, and of no other step.
const CHANGE: &str = r#""branch":"v0.7""#;

// ---- whole runs on simulated hosts

/// How everything is that a truce may hold.
#[derive(Debug, Clone, PartialEq)]
struct Night {
    jobs: BTreeMap<String, bool>,
    source: bool,
    replicas: Option<u64>,
    timers: BTreeSet<String>,
}

fn night(host: &Host) -> Night {
    let suspended = |object: &Value| object["spec"]["suspend"] == Value::Bool(true);
    let name = |job: &Value| job["metadata"]["name"].as_str().unwrap().to_owned();
    let controller = host.object("deployments", "system-upgrade", CONTROLLER);
    Night {
        jobs: host.objects("cronjobs").iter().map(|job| (name(job), suspended(job))).collect(),
        source: suspended(&host.object("gitrepositories", FLUX, "openappstack").unwrap()),
        replicas: controller.and_then(|controller| controller["spec"]["replicas"].as_u64()),
        timers: host.timers(),
    }
}

fn is_held(host: &Host) -> bool {
    let night = night(host);
    night.jobs.values().all(|suspended| *suspended) && night.replicas == Some(0) && night.timers.is_empty()
}

/// A host in the middle of its night: the controller runs, two jobs are suspended for good, one timer is stopped, the source is suspended. All
/// jobs have missed their hours of two days, which they would make up for when they are resumed carelessly.
fn prepare(host: &Host) {
    host.edit("deployments", "system-upgrade", CONTROLLER, |controller| {
        controller["spec"]["replicas"] = json!(1);
    });
    let up = format!("{CONTROLLER}-scale-up");
    for (namespace, job) in [(FLUX, "flux-resume-source"), ("system-upgrade", &up)] {
        host.edit("cronjobs", namespace, job, |job| job["spec"]["suspend"] = json!(true));
    }
    assert!(host.set_timer("apt-daily.timer", false));
    let jobs = host.objects("cronjobs");
    assert_eq!(jobs.len(), 4);
    // Half a day away: no hour goes by while the test runs.
    let hour = jiff::Timestamp::now().as_second().div_euclid(3600).wrapping_add(12).rem_euclid(24);
    let days_ago = jiff::Timestamp::now().checked_sub(jiff::SignedDuration::from_hours(49)).unwrap();
    for job in jobs {
        let (namespace, name) = (job["metadata"]["namespace"].as_str(), job["metadata"]["name"].as_str());
        host.edit("cronjobs", namespace.unwrap(), name.unwrap(), |job| {
            job["spec"]["schedule"] = json!(format!("0 {hour} * * *"));
            job["status"]["lastScheduleTime"] = json!(days_ago.strftime("%Y-%m-%dT%H:%M:%SZ").to_string());
        });
    }
}

fn spec(name: &str) -> HostSpec {
    let mut spec = HostSpec::new(name);
    spec.source_suspended = true;
    spec
}

fn words<'a>(more: &[&'a str]) -> Vec<&'a str> {
    acknowledging(&["upgrade", "--ack", "upgrade-running"], more)
}

/// What the journal says of the truce: how often it was held and given back.
fn told(bench: &Bench, name: &str) -> (Vec<String>, Vec<String>) {
    let (mut held, mut back) = (Vec::new(), Vec::new());
    for event in bench.journal(name) {
        match event.what {
            What::Held { changes } => held.extend(changes),
            What::GivenBack { changes } => back.extend(changes),
            _ => {}
        }
    }
    (held, back)
}

fn nothing_is_left(host: &Host) {
    let names = fs::read_dir(host.folder().join("spool")).into_iter().flatten();
    let mut left: Vec<_> = names.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    // The host's record of who had it and what was done stays.
    left.retain(|name| !["fence", "changed", "runs", "locks.log"].contains(&name.as_str()));
    assert_eq!(left, Vec::<String>::new(), "{}: something is left on its spool", host.spec().name);
}

#[test]
fn a_run_that_is_done_and_one_that_fails_in_its_middle_give_back_what_they_held_as_they_found_it() {
    let bench = Bench::new(vec![spec("done"), spec("fails").fault(Fault::CommandFails(CHANGE.to_owned()))]);
    let before: Vec<Night> = bench
        .lab
        .hosts()
        .map(|host| {
            prepare(host);
            night(host)
        })
        .collect();
    bench.fleet(&words(&["--all"])).ends(3);
    for (host, before) in bench.lab.hosts().zip(before) {
        let name = host.spec().name.as_str();
        assert_eq!(
            bench.report(name)["outcome"] == "done",
            name == "done",
            "{}",
            bench.report(name)["failure"]
        );
        assert_eq!(night(host), before, "{name}");
        nothing_is_left(host);
        let (held, back) = told(&bench, name);
        assert!(held.contains(&format!("cron job {FLUX}/flux-suspend-source suspended")), "{name}: {held:?}");
        assert!(
            !held.iter().any(|change| change.contains("flux-resume-source")),
            "suspended before: {held:?}"
        );
        assert!(
            held.contains(&format!("system-upgrade/{CONTROLLER} scaled from 1 to 0")),
            "{name}: {held:?}"
        );
        assert_eq!(held.len(), back.len(), "{name}: {back:?}");
        assert!(back.contains(&"the host's apt-daily-upgrade.timer started".to_owned()), "{name}: {back:?}");
        assert!(back.contains(&format!("source {FLUX}/openappstack suspended, as it was found")), "{back:?}");
    }
}

#[test]
fn a_cluster_without_nightly_jobs_is_upgraded_and_its_source_given_back_all_the_same() {
    let bench = Bench::new(vec![spec("bare")]);
    let host = bench.host("bare");
    let jobs = host.objects("cronjobs");
    for job in &jobs {
        let (namespace, name) = (job["metadata"]["namespace"].as_str(), job["metadata"]["name"].as_str());
        host.edit("cronjobs", namespace.unwrap(), name.unwrap(), |job| {
            job["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"][0]["command"] =
                json!(["true"]);
        });
    }
    for timer in host.timers() {
        host.set_timer(&timer, false);
    }
    bench.upgrade(&["--all"]).ends(0);
    let (held, back) = told(&bench, "bare");
    assert_eq!(held, [format!("source {FLUX}/openappstack recorded: suspended")]);
    assert_eq!(back, [format!("source {FLUX}/openappstack suspended, as it was found")]);
    assert!(night(host).source);
    nothing_is_left(host);
}

/// A run that is stopped by its end of the test, whatever happens.
struct UnderWay(Child);

impl Drop for UnderWay {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn begin(bench: &Bench) -> UnderWay {
    let mut command = bench.command(&words(&["--all"]));
    UnderWay(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
}

fn signal(run: &UnderWay, signal: rustix::process::Signal) {
    let pid = rustix::process::Pid::from_raw(i32::try_from(run.0.id()).unwrap()).unwrap();
    rustix::process::kill_process(pid, signal).unwrap();
}

/// A run whose copy waits at a gate, with everything held.
fn held_in_the_copy(bench: &Bench, host: &Host) -> UnderWay {
    let gate = bench.path("gate");
    let script = format!(
        "[ \"$1\" = --version ] || while [ ! -e {} ]; do sleep 0.05; done\nexec \"$real\" \"$@\"",
        gate.display()
    );
    replace_program(host, "tar", &script);
    let run = begin(bench);
    until("everything is held", || is_held(host));
    until("it is in its copy", || host.commands().iter().any(|line| line.contains("k3s-killall.sh")));
    run
}

#[test]
fn a_run_that_is_told_to_stop_gives_everything_back() {
    let bench = Bench::new(vec![spec("one")]);
    let host = bench.host("one");
    prepare(host);
    let before = night(host);
    let mut run = held_in_the_copy(&bench, host);
    signal(&run, rustix::process::Signal::INT);
    fs::write(bench.path("gate"), "").unwrap();
    assert_eq!(run.0.wait().unwrap().code(), Some(7));
    assert_eq!(bench.report("one")["outcome"], "interrupted");
    assert_eq!(night(host), before);
    nothing_is_left(host);
}

/// A run that is killed, with everything held, in the middle of the first command that holds this text; then the host goes on with it
/// so.
fn killed_at(bench: &Bench, host: &Host, text: &str, then: &str) {
    let gate = bench.path("rung");
    let script = format!(
        "case \"$*\" in *'{text}'*) [ -e {0} ] || {{ : >{0}.there; while [ ! -e {0} ]; do sleep 0.05; done; {then}; }} ;; esac\n\
         exec \"$real\" \"$@\"",
        gate.display()
    );
    replace_program(host, "k3s", &script);
    let run = begin(bench);
    until("the rung is in its middle", || bench.path("rung.there").exists());
    signal(&run, rustix::process::Signal::KILL);
    drop(run);
    fs::write(gate, "").unwrap();
    assert!(is_held(host), "nobody gives back yet: {:?}", night(host));
}

#[test]
fn when_nobody_returns_the_host_gives_everything_back_by_itself() {
    let bench = Bench::new(vec![spec("one")]);
    let host = bench.host("one");
    prepare(host);
    let before = night(host);
    killed_at(&bench, host, "annotate --overwrite kustomizations", ":");
    assert!(!night(host).source, "the rung has resumed the source");
    // Flux sets the controller's replicas to what git says of them whenever it applies them: what the rung has asked for comes first.
    until("Flux has applied the controller as the rung asked it to", || {
        let kustomization = host.object("kustomizations", FLUX, CONTROLLER).unwrap();
        let asked = &kustomization["metadata"]["annotations"]["reconcile.fluxcd.io/requestedAt"];
        let applied = kustomization["status"]["lastAppliedRevision"].as_str().unwrap_or("");
        asked.is_string()
            && kustomization["status"]["lastHandledReconcileAt"] == *asked
            && applied.starts_with("v0.7")
    });
    // Hours pass for the timer: its lease is a file on the host.
    let timer = host.folder().join("spool/timer-truce");
    fs::write(timer.join("lease.test"), "0\n").unwrap();
    fs::rename(timer.join("lease.test"), timer.join("lease")).unwrap();
    until("it has given everything back", || timer.join("undone").exists());
    assert_eq!(night(host), before);
}

#[test]
fn a_later_run_takes_over_what_a_dead_one_has_held_and_gives_back_what_that_one_found() {
    let bench = Bench::new(vec![spec("one")]);
    let host = bench.host("one");
    prepare(host);
    let before = night(host);
    killed_at(&bench, host, CHANGE, "exit 1");
    // Minutes pass for its lock: its sign of life is a file on the host.
    let beat = host.folder().join("spool/beat.1");
    let lived = fs::read_to_string(&beat).unwrap();
    fs::write(&beat, format!("{} 0\n", lived.split(' ').next().unwrap())).unwrap();
    bench.fleet(&["lock", "break", "one", "--why", "its machine has died"]).ends(0);
    bench.fleet(&words(&["--all"])).ends(0);
    assert_eq!(night(host), before);
    nothing_is_left(host);
    let told = |event: &Event| matches!(&event.what, What::Noted { text, .. } if text.contains("taken over"));
    assert!(bench.journal("one").iter().any(told));
}

// ---- the script itself, in a real shell, with stand-ins that keep their state in files

const K3S: &str = r#"
cd "$(dirname "$0")/../state" || exit 1
[ ! -e away ] || { echo "The connection to the server 127.0.0.1:6443 was refused" >&2; exit 1; }
shift
verb=$1
shift
case "$verb $1" in
"get --raw")
    path=${2#/apis/batch/v1/namespaces/}
    file=cronjobs.batch.${path%%/*}.${path##*/}
    [ -e "$file" ] || exit 1
    if [ -e "$file.last" ]; then status="\"lastScheduleTime\":\"$(cat "$file.last")\""; fi
    printf '{"kind":"CronJob","spec":{"suspend":%s},"status":{%s}}\n' "$(cat "$file")" "$status"
    ;;
"replace --raw")
    path=${2#/apis/batch/v1/namespaces/}
    path=${path%/status}
    sent=$(cat)
    echo "$sent"
    echo "$sent" | sed -n 's/.*"lastScheduleTime":"\([^"]*\)".*/\1/p' >"cronjobs.batch.${path%%/*}.${path##*/}.last"
    ;;
get*)
    file=$1.$4.$2
    [ -e "$file" ] || exit 0
    case $7 in
    *replicas*) cat "$file" ;;
    *suspend*) echo "batch/v1|$(cat "$file")|$(cat "$file.active" 2>/dev/null)" ;;
    *) exit 1 ;;
    esac
    ;;
patch*)
    file=$1.$4.$2
    [ -e "$file" ] || exit 1
    # A cron job that missed its time starts at once when it is resumed.
    case $8 in *true*) echo true >"$file" ;; *) echo false >"$file"; [ -e "$file.last" ] || : >started ;; esac
    ;;
scale*) [ -e "$1.$4.$2" ] && echo "${5#--replicas=}" >"$1.$4.$2" ;;
*) exit 1 ;;
esac
"#;

const SYSTEMCTL: &str = r#"
cd "$(dirname "$0")/../state" || exit 1
case $1 in
is-active) cat "timer.$2" 2>/dev/null || { echo inactive; exit 3; } ;;
start) echo active >"timer.$2" ;;
stop) echo inactive >"timer.$2" ;;
*) exit 1 ;;
esac
"#;

/// A host that is two programs and a folder of states.
struct Site {
    folder: TempDir,
}

impl Site {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("state")).unwrap();
        fs::create_dir(folder.path().join("bin")).unwrap();
        for (name, script) in [("k3s", K3S), ("systemctl", SYSTEMCTL)] {
            let path = folder.path().join("bin").join(name);
            fs::write(&path, format!("#!/bin/sh\n{script}")).unwrap();
            fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
        }
        Self { folder }
    }

    fn put(&self, name: &str, state: &str) {
        fs::write(self.folder.path().join("state").join(name), format!("{state}\n")).unwrap();
    }

    fn remove(&self, name: &str) {
        fs::remove_file(self.folder.path().join("state").join(name)).unwrap();
    }

    /// Every state, but the times that schedules count from.
    fn states(&self) -> BTreeMap<String, String> {
        fs::read_dir(self.folder.path().join("state"))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .map(|path| {
                (path.file_name().unwrap().to_str().unwrap().to_owned(), fs::read_to_string(path).unwrap())
            })
            .filter(|(name, _)| name.rsplit('.').next() != Some("last"))
            .collect()
    }

    fn run(&self, command: &Command) -> Output {
        let bin = self.folder.path().join("bin");
        let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
        let output = std::process::Command::new("sh")
            .arg("-c")
            .arg(command.line())
            .env("PATH", path)
            .output()
            .unwrap();
        let exit = Exit::Code(u32::try_from(output.status.code().unwrap()).unwrap());
        Output { exit, stdout: output.stdout, stderr: output.stderr, dropped: 0 }
    }
}

fn object(namespace: &str, name: &str) -> Object {
    Object { kind: String::new(), namespace: namespace.into(), name: name.into() }
}

fn found(namespace: &str, name: &str) -> Found {
    Found { object: object(namespace, name), suspended: false }
}

/// A truce with everything in it.
fn full() -> Truce {
    Truce {
        cron_jobs: vec![found("a", "resume"), found("a", "suspend"), found("b", "up")],
        sources: vec![found("a", "oas")],
        controller: Some((object("b", CONTROLLER), 1)),
        timers: vec!["apt-daily.timer".into(), "apt-daily-upgrade.timer".into()],
        ..Truce::default()
    }
}

fn fill(site: &Site, states: [Option<&str>; 7]) {
    let names = [
        "cronjobs.batch.a.resume",
        "cronjobs.batch.a.suspend",
        "cronjobs.batch.b.up",
        "gitrepositories.source.toolkit.fluxcd.io.a.oas",
        "deployments.apps.b.system-upgrade-controller",
        "timer.apt-daily.timer",
        "timer.apt-daily-upgrade.timer",
    ];
    for (name, state) in names.into_iter().zip(states) {
        if let Some(state) = state {
            site.put(name, state);
        }
    }
}

fn look(site: &Site, truce: &Truce) -> Seen {
    let answer = site.run(&truce::look(&truce::things(truce)));
    assert!(answer.success(), "{}", answer.complaint());
    Seen::read(&answer).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20))]

    /// Also when it is given back twice, without having been held, and after the rung has turned the source.
    #[test]
    fn what_is_given_back_is_what_was_found(
        jobs in prop::array::uniform3(prop::option::of(any::<bool>())),
        source in prop::option::of(any::<bool>()),
        replicas in prop::option::of(0_u8..4),
        timers in prop::array::uniform2(any::<bool>()),
        turned in any::<bool>(),
        held in prop::bool::weighted(0.8),
    ) {
        let word = |yes: bool| if yes { "true" } else { "false" };
        let replicas = replicas.map(|number| number.to_string());
        let timer = |active: bool| Some(if active { "active" } else { "inactive" });
        let site = Site::new();
        fill(&site, [
            jobs[0].map(word), jobs[1].map(word), jobs[2].map(word), source.map(word), replicas.as_deref(),
            timer(timers[0]), timer(timers[1]),
        ]);
        let before = site.states();
        let seen = look(&site, &full());
        prop_assert_eq!(site.states(), before.clone(), "a look changes nothing");
        let things = truce::to_hold(&full(), &seen);
        if held {
            let answer = site.run(&truce::hold(&things));
            prop_assert!(answer.success(), "{}", answer.complaint());
            for (name, state) in site.states() {
                let quiet = if name.starts_with("cron") { "true\n" } else if name.starts_with("timer") { "inactive\n" } else { "0\n" };
                prop_assert!(name.starts_with("git") || state == quiet, "{} is {}", name, state);
            }
        }
        if turned && source.is_some() {
            site.put("gitrepositories.source.toolkit.fluxcd.io.a.oas", "false");
        }
        for _ in 0..2 {
            let answer = site.run(&truce::give_back(&things));
            prop_assert!(answer.success(), "{}", answer.complaint());
            prop_assert_eq!(site.states(), before.clone());
        }
    }
}

#[test]
fn an_hour_of_shutting_that_went_by_is_made_up_for_and_a_missed_hour_of_opening_is_not() {
    let site = Site::new();
    fill(&site, [Some("false"), Some("false"), Some("false"), Some("false"), Some("1"), None, None]);
    let mut things = truce::to_hold(&full(), &look(&site, &full()));
    for thing in
        things.iter_mut().filter(|thing| matches!(thing.kind, truce::Kind::Source | truce::Kind::Controller))
    {
        thing.shut = Some(1);
    }
    assert!(site.run(&truce::hold(&things)).success());
    let answer = site.run(&truce::give_back(&things));
    assert!(answer.success(), "{}", answer.complaint());
    let states = site.states();
    assert_eq!(states["gitrepositories.source.toolkit.fluxcd.io.a.oas"], "true\n");
    assert_eq!(states["deployments.apps.b.system-upgrade-controller"], "0\n");
    assert_eq!(states["cronjobs.batch.a.suspend"], "false\n");
    assert!(!states.contains_key("started"), "no missed run starts");
    let seen = Seen::read(&answer).unwrap();
    let told: Vec<String> = things.iter().map(|thing| seen.given_back(thing)).collect();
    assert!(
        told.iter().any(|told| told.contains("the hour at which the night suspends it went by")),
        "{told:?}"
    );
}

#[test]
fn an_api_that_is_away_is_no_success_and_what_could_be_done_is_done() {
    let site = Site::new();
    fill(&site, [Some("false"), None, None, None, None, Some("active"), None]);
    let things = truce::to_hold(&full(), &look(&site, &full()));
    assert!(site.run(&truce::hold(&things)).success());
    site.put("away", "");
    let answer = site.run(&truce::give_back(&things));
    assert!(!answer.success());
    let seen = Seen::read(&answer).unwrap();
    assert_eq!(seen.given_back(&things[0]), "cron job a/resume cannot be asked for");
    assert_eq!(site.states()["timer.apt-daily.timer"], "active\n");
    site.remove("away");
    assert!(site.run(&truce::give_back(&things)).success());
    assert_eq!(site.states()["cronjobs.batch.a.resume"], "false\n");
}

#[test]
fn a_nightly_job_that_runs_already_is_waited_for() {
    let site = Site::new();
    fill(&site, [Some("false"), None, None, None, None, None, None]);
    site.put("cronjobs.batch.a.resume.active", "[{}]");
    let things = truce::to_hold(&full(), &look(&site, &full()));
    let running = site.folder.path().join("state/cronjobs.batch.a.resume.active");
    let ended = std::thread::spawn(move || {
        std::thread::park_timeout(Duration::from_millis(300));
        fs::remove_file(running).unwrap();
    });
    let answer = site.run(&truce::hold(&things));
    ended.join().unwrap();
    assert!(answer.success(), "{}", answer.complaint());
    assert_eq!(site.states()["cronjobs.batch.a.resume"], "true\n");
}

// ---- over a real sshd

async fn ask(remote: &impl Remote, command: &Command) -> Output {
    remote.run(command, &mut sink()).await.unwrap()
}

#[tokio::test]
async fn on_a_real_host_the_timer_gives_back_what_stays_held_and_says_what_it_keeps() {
    let site = Site::new();
    fill(&site, [Some("false"), Some("true"), None, Some("true"), Some("2"), Some("active"), None]);
    let before = site.states();
    let sshd = Sshd::start_with(&Options {
        path_prefix: Some(site.folder.path().join("bin")),
        ..Options::default()
    });
    let session = connect(&sshd.host()).await.unwrap();
    let spool = site.folder.path().join("spool").to_str().unwrap().to_owned();
    let standing = async || truce::read_standing(&ask(&session, &truce::standing(&spool)).await).unwrap();
    assert_eq!(standing().await, Standing::None);
    let seen = Seen::read(&ask(&session, &truce::look(&truce::things(&full()))).await).unwrap();
    let things = truce::to_hold(&full(), &seen);
    let timer = truce::timer(&spool, &things);
    let hour = Duration::from_secs(3600);
    assert!(ask(&session, &timer.arm(hour, hour)).await.success());
    assert!(ask(&session, &truce::hold(&things)).await.success());
    assert_eq!(site.states()["deployments.apps.b.system-upgrade-controller"], "0\n");
    assert_eq!(standing().await, Standing::Waiting(things));
    assert!(ask(&session, &truce::renew(&spool, hour)).await.success());
    // The lease is over at once.
    let lease = Path::new(timer.folder()).join("lease");
    fs::write(lease.with_extension("test"), "0\n").unwrap();
    fs::rename(lease.with_extension("test"), lease).unwrap();
    let undone = Path::new(timer.folder()).join("undone");
    for _ in 0..1500 {
        if undone.exists() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(site.states(), before);
    assert_eq!(standing().await, Standing::Undone);
    assert_eq!(
        ask(&session, &truce::renew(&spool, hour)).await.exit,
        Exit::Code(3),
        "nothing is held any more"
    );
    assert!(ask(&session, &timer.disarm()).await.success());
    assert_eq!(standing().await, Standing::None);
    assert!(ask(&session, &truce::renew(&spool, hour)).await.success(), "nothing to renew is no trouble");
}
