//! Locks of hosts: two that take at once, a lock that is shown, broken, lost, and what does not run then (promise M13).
#![expect(clippy::unwrap_used, clippy::panic, reason = "what cannot be set up fails its test")]

mod lab_support;
mod sshd;

use std::fs;
use std::io::sink;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use fleet::event::{Failure, Outcome, What};
use fleet::inventory::{self, Cluster};
use fleet::jobs::Job;
use fleet::journal::{self, Journal};
use fleet::lab::HostSpec;
use fleet::lock::{Answer, FRESH, Held, Lock, Question};
use fleet::remote::{Command, Exit, Remote, RemoteError};
use fleet::run::Fenced;
use fleet::ssh::Session;
use lab_support::{Bench, acknowledging, left_on_spool, replace_program, until};
use sshd::Sshd;

fn lock(spool: &str, run: &str) -> Lock {
    Lock {
        spool: spool.to_owned(),
        cluster: "acme".to_owned(),
        run: run.to_owned(),
        owner: format!("{run}@desk"),
        machine: Lock::machine(run, "desk"),
        reason: "upgrade to 0.7".to_owned(),
    }
}

fn cluster(bench: &Bench, name: &str) -> Cluster {
    inventory::load(&bench.lab.inventory()).unwrap().clusters[name].clone()
}

async fn asked(remote: &impl Remote, question: &Question) -> Answer {
    question.read(&remote.run(question.command(), &mut sink()).await.unwrap()).unwrap()
}

async fn taken(remote: &impl Remote, lock: &Lock) -> u64 {
    match asked(remote, &lock.take()).await {
        Answer::Taken { number } => number,
        other => panic!("{other:?}"),
    }
}

/// Makes the lock's last sign of life too old to count.
fn make_stale(spool: &Path, number: u64) {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    let up = fs::read_to_string("/proc/uptime").unwrap();
    let up: u64 = up.split('.').next().unwrap().parse().unwrap();
    let line = format!("{} {:>12}\n", boot.trim(), up.saturating_sub(FRESH.as_secs() + 60));
    fs::write(spool.join(format!("beat.{number}")), line).unwrap();
}

/// Rounds in which two take the lock at once: whoever gets it changes something behind it and gives it back; the other is told who has it. What
/// the change does is seen if two do it at once.
async fn race(one: &Session, other: &Session, spool: &str, rounds: u64) {
    let folder = tempfile::tempdir().unwrap();
    let count = folder.path().join("count").display().to_string();
    let change = Command::new("sh -c")
        .arg(r#"mkdir "$1.busy" && n=$(cat "$1" 2>/dev/null || echo 0) && echo $((n + 1)) >"$1" && rmdir "$1.busy""#)
        .arg("change")
        .arg(&count);
    let (locks, sessions) = ([lock(spool, "r1"), lock(spool, "r2")], [one, other]);
    let mut won = [0_u64; 2];
    for round in 1..=rounds {
        let questions = [locks[0].take(), locks[1].take()];
        let (first, second) = tokio::join!(asked(one, &questions[0]), asked(other, &questions[1]));
        let (winner, number, told) = match (first, second) {
            (Answer::Taken { number }, Answer::Held(told)) => (0, number, told),
            (Answer::Held(told), Answer::Taken { number }) => (1, number, told),
            both => panic!("round {round}: {both:?}"),
        };
        won[winner] += 1;
        assert_eq!(number, round, "each take counts the fence up by one");
        let Held { holder: Some(holder), idle } = told else { panic!("round {round}: {told}") };
        assert_eq!((holder.run, holder.number), (locks[winner].run.clone(), number));
        assert!(idle.is_fresh());

        // The loser tries all the same, with the number that he would have had.
        let journal = Journal::create(&folder.path().join(format!("{round}")), "acme", None).unwrap();
        let fenced = Fenced::new(sessions[winner], &locks[winner], number, journal.pending());
        let thief = Fenced::new(sessions[1 - winner], &locks[1 - winner], number, journal.pending());
        let (mut log, mut other_log) = (sink(), sink());
        let (done, stolen) = tokio::join!(fenced.run(&change, &mut log), thief.run(&change, &mut other_log));
        assert!(done.unwrap().success(), "round {round}");
        assert!(matches!(stolen, Err(RemoteError::LockLost(_))), "round {round}: {stolen:?}");
        fenced.release().await.unwrap();
    }
    assert_eq!(fs::read_to_string(&count).unwrap().trim(), rounds.to_string(), "as many changes as rounds");
    let both = won.iter().all(|times| *times > 0);
    assert!(both || rounds < 100, "it was no race: {won:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_who_race_a_thousand_times_exactly_one_changes_anything() {
    let bench = Bench::new(vec![HostSpec::new("acme")]);
    let acme = cluster(&bench, "acme");
    let one = fleet::ssh::connect(&acme.host).await.unwrap();
    let other = fleet::ssh::connect(&acme.host).await.unwrap();
    Box::pin(race(&one, &other, &acme.paths.spool, 1000)).await;
    one.close().await;
    other.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_real_openssh_server_keeps_two_apart_as_well() {
    let sshd = Sshd::start();
    let folder = tempfile::tempdir().unwrap();
    let one = fleet::ssh::connect(&sshd.host()).await.unwrap();
    let other = fleet::ssh::connect(&sshd.host()).await.unwrap();
    let spool = folder.path().join("spool").display().to_string();
    Box::pin(race(&one, &other, &spool, 25)).await;
    one.close().await;
    other.close().await;
}

#[test]
fn of_two_real_upgrades_of_one_host_one_does_it_and_the_other_names_him() {
    let bench = Bench::new(vec![HostSpec::new("acme"), HostSpec::new("bikes"), HostSpec::new("cafe")]);
    for name in ["acme", "bikes", "cafe"] {
        let start = |runs: &str| {
            let mut command = bench.command(&acknowledging(&["upgrade", "--on", name], &[]));
            command.env("FLEET_RUNS", bench.path(runs)).env("USER", runs);
            command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
        };
        let both = [start("anna"), start("otto")].map(|child| child.wait_with_output().unwrap());
        let mut codes: Vec<i32> = both.iter().map(|output| output.status.code().unwrap()).collect();
        let loser = codes.iter().position(|code| *code == 5).unwrap_or_else(|| panic!("{codes:?}"));
        codes.sort_unstable();
        assert_eq!(codes, [0, 5], "{name}");
        let said = String::from_utf8_lossy(&both[loser].stdout).into_owned();
        let winner = ["otto@", "anna@"][loser];
        assert!(said.contains(winner) && said.contains("locked"), "{said}");
        assert!(left_on_spool(bench.host(name)).is_empty(), "{name}");
    }
}

/// How many hosts two race for at once.
const AT_ONCE: usize = 25;

#[test]
#[ignore = "a thousand whole upgrades take a quarter of an hour; tests/bench/race runs it"]
fn of_two_real_upgrades_a_thousand_times_exactly_one_changes_anything() {
    let races = std::env::var("FLEET_RACES").ok().and_then(|races| races.parse().ok()).unwrap_or(1000);
    let mut won = [0_usize; 2];
    while won[0] + won[1] < races {
        let names: Vec<String> = (0..AT_ONCE).map(|number| format!("oak-{number}")).collect();
        let specs = names.iter().map(|name| HostSpec::new(name).apps(["wekan"]));
        let bench = Bench::new(specs.collect());
        let start = |runs: &str| {
            let mut command =
                bench.command(&acknowledging(&["upgrade", "--all", "--parallel", &AT_ONCE.to_string()], &[]));
            command
                .env("FLEET_RUNS", bench.path(runs))
                .env("USER", runs)
                .env("FLEET_BACKUPS", bench.path("b"));
            command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
        };
        let mut both = ["anna", "otto"].map(|who| (who, start(who)));
        let codes = both.each_mut().map(|(_, child)| child.wait().unwrap().code());
        let mut lost = [0_usize; 2];
        for name in &names {
            let outcome = |who: &str| {
                let run = fs::read_to_string(bench.path(who).join(".last")).unwrap();
                let journal = bench.path(who).join(run.trim()).join(name).join("journal.ndjson");
                match journal::read(&journal).unwrap().pop().map(|event| event.what) {
                    Some(What::Finished { outcome }) => outcome,
                    other => panic!("{name} of {who}: {other:?}"),
                }
            };
            let winner = match (outcome("anna"), outcome("otto")) {
                (Outcome::Done, Outcome::Refused { failure }) => told(name, &failure, "anna@", 0),
                (Outcome::Refused { failure }, Outcome::Done) => told(name, &failure, "otto@", 1),
                both => panic!("{name}: {both:?}"),
            };
            won[winner] += 1;
            lost[1 - winner] += 1;
            let switched = |line: &&String| line.contains("kubectl patch") && line.contains("v0.7");
            assert_eq!(bench.host(name).commands().iter().filter(switched).count(), 1, "{name}");
            assert!(left_on_spool(bench.host(name)).is_empty(), "{name}");
        }
        for (code, lost) in codes.into_iter().zip(lost) {
            assert_eq!(code, Some(if lost == 0 { 0 } else { 5 }));
        }
    }
    assert!(won.iter().all(|times| *times > 0), "it was no race: {won:?}");
    println!(
        "{} races of two whole upgrades, won by one {} times and by the other {}",
        won[0] + won[1],
        won[0],
        won[1]
    );
}

/// Whether the loser was told who has the lock; the winner.
fn told(name: &str, failure: &Failure, owner: &str, winner: usize) -> usize {
    assert_eq!(failure.cause, "locked", "{name}: {failure:?}");
    assert!(failure.message.contains(owner), "{name}: {}", failure.message);
    winner
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lock_of_the_living_is_not_broken_and_a_dead_ones_is_shown_broken_and_written_down() {
    let bench = Bench::new(vec![HostSpec::new("acme"), HostSpec::new("bikes")]);
    let acme = cluster(&bench, "acme");
    let session = fleet::ssh::connect(&acme.host).await.unwrap();
    let mine = lock(&acme.paths.spool, "r1");
    let number = taken(&session, &mine).await;
    let (spool, path) = (acme.paths.spool.clone(), bench.path("ran"));
    let bench = tokio::task::spawn_blocking(move || {
        let shown = bench.fleet(&["lock", "show", "--all"]).ends(0).out;
        assert!(shown.contains("bikes: nobody has its lock") && shown.contains("r1@desk"), "{shown}");
        let refused = bench.fleet(&["lock", "break", "acme", "--why", "impatience"]).ends(5);
        assert!(refused.out.contains("It shows life"), "{}", refused.out);
        let refused = bench.fleet(&acknowledging(&["upgrade", "--on", "acme"], &[])).ends(5);
        assert!(refused.out.contains("r1@desk has its lock for upgrade to 0.7"), "{}", refused.out);
        assert!(
            !bench.host("acme").commands().iter().any(|line| line.contains("helmreleases")),
            "nothing was asked but who it is"
        );

        make_stale(Path::new(&spool), number);
        let shown = bench.fleet(&["lock", "show", "--on", "acme"]).ends(0).out;
        assert!(shown.contains("last sign of life 6 m") && shown.contains("lock break acme"), "{shown}");
        let json = bench.fleet(&["lock", "show", "--on", "acme", "--format", "json"]).ends(0).out;
        let json: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(json["acme"]["held"]["holder"]["run"], "r1", "{json}");
        bench.fleet(&["lock", "break", "acme", "--why", " "]).ends(64);
        bench.fleet(&["lock", "break", "acme", "--why", "her laptop is lost"]).ends(0);
        let events = bench.journal("acme");
        let broken = events.iter().find_map(|event| match &event.what {
            What::LockBroken { owner, idle_seconds, why, .. } => Some((owner, idle_seconds, why)),
            _ => None,
        });
        let (owner, idle, why) = broken.unwrap();
        assert_eq!((owner.as_str(), why.as_str()), ("r1@desk (run r1)", "her laptop is lost"));
        assert!(idle.unwrap() >= FRESH.as_secs());
        assert_eq!(events.last().unwrap().what, What::Finished { outcome: Outcome::Done });
        assert!(bench.fleet(&["runs"]).ends(0).out.contains("lock break"));
        let log = fs::read_to_string(Path::new(&spool).join("locks.log")).unwrap();
        assert!(log.contains("broke the lock 1 of run r1") && log.contains("her laptop is lost"), "{log}");
        bench.fleet(&["lock", "break", "acme", "--why", "again"]).ends(0);
        bench
    })
    .await
    .unwrap();

    let journal = Journal::create(&bench.path("journal"), "acme", None).unwrap();
    let late = Fenced::new(&session, &mine, number, journal.pending());
    let touch = Command::new("touch").arg(path.display().to_string());
    let lost = late.run(&touch, &mut sink()).await.unwrap_err();
    assert!(
        matches!(&lost, RemoteError::LockLost(said) if said.contains("fleet lock show --on acme")),
        "{lost}"
    );
    assert!(late.stream(&touch, &mut Vec::new()).await.is_err());
    let job = |number| {
        let step = format!("to-0.7/long-{number}");
        Job::new(&acme.paths.spool, "r1", &step, &touch, Duration::from_secs(60)).fenced("r1", Some(number))
    };
    let started = session.run(&job(number).start(), &mut sink()).await.unwrap();
    assert_eq!(started.exit, Exit::Code(6), "{}", started.complaint());
    assert!(!path.exists(), "nothing of it ran");

    let number = taken(&session, &mine).await;
    let started = session.run(&job(number).start(), &mut sink()).await.unwrap();
    assert!(started.success(), "{}", started.complaint());
    tokio::task::spawn_blocking(move || until("the job of a good lock runs", || path.exists()))
        .await
        .unwrap();
    session.close().await;
}

#[test]
fn a_run_whose_lock_is_broken_in_its_middle_sends_nothing_more_and_says_what_to_do() {
    let bench = Bench::new(vec![HostSpec::new("acme")]);
    let host = bench.host("acme");
    let (waits, gate) = (bench.path("waits"), bench.path("gate"));
    let script = format!(
        r#"[ ! -e "{}" ] || touch "{}"; until [ ! -e "{0}" ] || [ -e "{2}" ]; do sleep 0.05; done; exec "$real" "$@""#,
        host.folder().join("spool/lock").display(),
        waits.display(),
        gate.display()
    );
    replace_program(host, "k3s", &script);
    let mut upgrade = bench.command(&acknowledging(&["upgrade", "--on", "acme"], &[]));
    let child = upgrade.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    until("it asks for facts", || waits.exists());
    let run = bench.run();
    make_stale(&host.folder().join("spool"), 1);
    bench.fleet(&["lock", "break", "acme", "--why", "it sleeps"]).ends(0);
    fs::write(&gate, "").unwrap();
    let ended = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&ended.stdout).into_owned();
    assert_eq!(ended.status.code(), Some(3), "{said}");
    let events = journal::read(&run.join("acme/journal.ndjson")).unwrap();
    let What::Finished { outcome } = &events.last().unwrap().what else { panic!("{events:?}") };
    let failure = outcome.failure().unwrap();
    assert_eq!(failure.cause, "lock-lost", "{outcome:?}");
    assert!(failure.message.contains("fleet lock show --on acme"), "{}", failure.message);
    assert!(!host.commands().iter().any(|line| line.contains("tar -C")), "no copy was begun");
}
