//! A host that answers strangely, and the whole way of a lock in a real shell.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::Path;
use std::process::Stdio;

use super::*;
use crate::remote::Exit;
use crate::remote::shell::in_shell as run;

fn lock(spool: &Path, run: &str) -> Lock {
    Lock {
        spool: spool.display().to_string(),
        cluster: "acme".into(),
        run: run.into(),
        owner: "karin@laptop".into(),
        machine: Lock::machine("0123", "laptop"),
        reason: "upgrade to 0.7".into(),
    }
}

fn answer(question: &Question) -> Answer {
    question.read(&run(question.command())).unwrap()
}

fn taken(lock: &Lock) -> u64 {
    match answer(&lock.take()) {
        Answer::Taken { number } => number,
        other => panic!("{other:?}"),
    }
}

fn held(answer: Answer) -> Held {
    match answer {
        Answer::Held(held) => held,
        other => panic!("{other:?}"),
    }
}

/// Makes the last sign of life this old.
fn age(spool: &Path, number: u64, boot: Option<&str>, seconds: u64) {
    let own = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    let up = fs::read_to_string("/proc/uptime").unwrap();
    let up: u64 = up.split('.').next().unwrap().parse().unwrap();
    let line = format!("{} {:>12}\n", boot.unwrap_or(own.trim()), up.saturating_sub(seconds));
    fs::write(spool.join(format!("beat.{number}")), line).unwrap();
}

#[test]
fn a_lock_is_taken_shown_given_back_and_its_numbers_count_up() {
    let folder = tempfile::tempdir().unwrap();
    let spool = folder.path().join("not there yet");
    let (one, other) = (lock(&spool, "r1"), lock(&spool, "r2"));
    assert_eq!(answer(&look(&one.spool)), Answer::Free);
    assert_eq!(taken(&one), 1);

    let seen = held(answer(&other.take()));
    let looked = held(answer(&look(&one.spool)));
    // A second may pass between the two: the ages are not compared.
    assert!(seen.idle.is_fresh() && looked.idle.is_fresh());
    assert_eq!(seen.holder, looked.holder);
    let holder = seen.holder.unwrap();
    assert_eq!((holder.number, holder.run.as_str(), holder.owner.as_str()), (1, "r1", "karin@laptop"));
    assert_eq!(holder.reason, "upgrade to 0.7");

    assert_eq!(held(answer(&other.release(1))).holder.unwrap().run, "r1", "not theirs to give back");
    assert_eq!(answer(&one.release(1)), Answer::Released);
    assert_eq!(answer(&one.release(1)), Answer::Free);
    assert_eq!(taken(&other), 2);
    fs::remove_file(spool.join("fence")).unwrap();
    assert_eq!(taken(&other), 3, "a lost counter does not begin anew beneath a lock");
}

#[test]
fn a_run_takes_its_own_lock_again_from_the_same_machine_alone() {
    let folder = tempfile::tempdir().unwrap();
    let one = lock(folder.path(), "r1");
    assert_eq!((taken(&one), taken(&one)), (1, 2));
    let elsewhere = Lock { machine: Lock::machine("4567", "laptop"), ..one.clone() };
    held(answer(&elsewhere.take()));
    let (old, new) = (one.guard(1, &Load::default(), &Command::new("echo ran")), Load::default());
    let stopped = run(old.command());
    assert_eq!((old.stopped(&stopped), stopped.text().as_ref()), (Some(Stopped::Lost), ""));
    assert_eq!(run(one.guard(2, &new, &Command::new("echo ran")).command()).text(), "ran\n");
}

#[test]
fn a_lock_of_the_living_is_not_broken_and_a_stale_one_is_with_its_owner_written_down() {
    let folder = tempfile::tempdir().unwrap();
    let one = lock(folder.path(), "r1");
    let breaks = |number| breaks(&one.spool, number, "otto@desk", "laptop lost");
    assert_eq!(answer(&breaks(Some(1))), Answer::Free);
    taken(&one);
    held(answer(&breaks(Some(1))));
    age(folder.path(), 1, Some("another-boot"), 9_999_999);
    age(folder.path(), 1, None, FRESH.as_secs() + 5);
    held(answer(&breaks(Some(7))));
    held(answer(&breaks(None)));
    let Answer::Broken(broken) = answer(&breaks(Some(1))) else { panic!("it is stale") };
    assert_eq!(broken.holder.unwrap().owner, "karin@laptop");
    assert!(broken.idle.seconds().unwrap() >= FRESH.as_secs());
    let log = fs::read_to_string(folder.path().join("locks.log")).unwrap();
    assert!(log.contains("otto@desk broke the lock 1 of run r1") && log.ends_with("laptop lost\n"), "{log}");

    let guarded = one.guard(1, &Load::default(), &Command::new("echo ran"));
    assert_eq!(guarded.stopped(&run(guarded.command())), Some(Stopped::Lost));
    assert_eq!(taken(&lock(folder.path(), "r2")), 2);
    assert_eq!(guarded.stopped(&run(guarded.command())), Some(Stopped::Lost));
}

#[test]
fn a_command_that_has_passed_its_guard_goes_on_when_the_lock_is_broken_and_its_line_names_the_run() {
    let folder = tempfile::tempdir().unwrap();
    let one = lock(folder.path(), "20261122T101500Z-abcd");
    taken(&one);
    let guarded = one.guard(1, &Load::default(), &Command::new("echo began; cat"));
    let mut child = std::process::Command::new("/bin/sh")
        .args(["-c", guarded.command().line()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    said.read_line(&mut line).unwrap();
    age(folder.path(), 1, None, FRESH.as_secs() + 5);
    assert!(matches!(answer(&breaks(&one.spool, Some(1), "otto", "dead")), Answer::Broken(_)));
    let shown = fs::read_to_string(format!("/proc/{}/cmdline", child.id())).unwrap();
    assert!(shown.contains(" i=20261122T101500Z-abcd "), "as docs/locks.md says: {shown}");
    child.stdin.take().unwrap().write_all(b"to its end\n").unwrap();
    said.read_to_string(&mut line).unwrap();
    assert!(child.wait().unwrap().success());
    assert_eq!(line, "began\nto its end\n");
}

#[test]
fn a_host_started_anew_says_so_and_gives_a_holder_time_to_come_back() {
    let folder = tempfile::tempdir().unwrap();
    let one = lock(folder.path(), "r1");
    taken(&one);
    age(folder.path(), 1, Some("another-boot"), 0);
    let seen = held(answer(&look(&one.spool)));
    assert!(matches!(seen.idle, Idle::StartedAnew(_)), "{seen}");
    assert!(Idle::StartedAnew(10).is_fresh() && !Idle::StartedAnew(301).is_fresh());
}

#[test]
fn a_torn_lock_is_nobodys_and_never_stolen() {
    let folder = tempfile::tempdir().unwrap();
    let one = lock(folder.path(), "r1");
    taken(&one);
    let path = folder.path().join("lock");
    let whole = fs::read_to_string(&path).unwrap();
    for torn in ["", "lock", "lock x r1 m\nend\n", &whole[..whole.len() - 5], "\0\0\0\0"] {
        fs::write(&path, torn).unwrap();
        let seen = held(answer(&one.take()));
        assert_eq!(seen.holder, None, "{torn:?}");
        assert!(seen.to_string().contains("damaged"), "{seen}");
        let guarded = one.guard(1, &Load::default(), &Command::new("true"));
        let cut = !torn.starts_with("lock 1 ");
        assert_eq!(guarded.stopped(&run(guarded.command())), cut.then_some(Stopped::Lost), "{torn:?}");
    }
    held(answer(&breaks(&one.spool, None, "otto", "torn")));
    age(folder.path(), 1, None, FRESH.as_secs() + 5);
    assert!(matches!(answer(&breaks(&one.spool, None, "otto", "torn")), Answer::Broken(_)));
}

#[test]
fn a_guard_shows_life_keeps_the_journal_and_hands_on_the_input() {
    let folder = tempfile::tempdir().unwrap();
    let one = lock(folder.path(), "r1");
    taken(&one);
    age(folder.path(), 1, None, 250);
    let journal = folder.path().join("runs/r1/journal.ndjson");
    let first = ["{\"seq\":1,\"said\":\"it's \\\\ !\"}\n".to_owned(), "{\"seq\":2}\n".to_owned()];
    let cat = Command::new("cat; echo $s$f$m >&2; exit 97").stdin(b"own input".to_vec());
    let guarded = one.guard(1, &Load { lines: &first, torn: true, changes: false }, &cat);
    let output = run(guarded.command());
    assert_eq!((output.text().as_ref(), output.stderr.as_slice()), ("own input", &b"\n"[..]));
    assert_eq!(guarded.stopped(&output), None, "its own exit status is its own");
    assert_eq!(fs::read_to_string(&journal).unwrap(), first.concat());
    assert!(matches!(held(answer(&look(&one.spool))).idle, Idle::Since(0..100)));
    assert!(!folder.path().join("changed").exists());

    let more = ["{\"seq\":3}\n".to_owned()];
    let guarded = one.guard(1, &Load { lines: &more, torn: true, changes: true }, &Command::new("true"));
    assert!(run(guarded.command()).success());
    assert_eq!(fs::read_to_string(&journal).unwrap(), format!("{}\n{}", first.concat(), more[0]));
    assert_eq!(fs::read_to_string(folder.path().join("changed")).unwrap(), "1 r1\n");
}

#[test]
fn lines_that_come_in_part_are_not_appended_and_the_command_is_not_run() {
    let folder = tempfile::tempdir().unwrap();
    let one = lock(folder.path(), "r1");
    taken(&one);
    let lines = ["{\"seq\":1}\n".to_owned()];
    let guarded = one.guard(1, &Load { lines: &lines, ..Load::default() }, &Command::new("echo ran"));
    let cut = guarded.command().clone().stdin(b"{\"seq\":1}\n".to_vec());
    let output = run(&cut);
    assert_eq!((guarded.stopped(&output), output.text().as_ref()), (Some(Stopped::Cut), ""));
    assert!(!folder.path().join("runs/r1/journal.ndjson").exists());
}

#[test]
fn a_spool_that_cannot_be_written_runs_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let one = lock(folder.path(), "r1");
    taken(&one);
    // A folder in the journal's place: writing fails for root too.
    fs::create_dir(folder.path().join("runs/r1/journal.ndjson")).unwrap();
    let lines = ["{\"seq\":1}\n".to_owned()];
    let guarded = one.guard(1, &Load { lines: &lines, ..Load::default() }, &Command::new("echo ran"));
    let output = run(guarded.command());
    assert_eq!((guarded.stopped(&output), output.text().as_ref()), (Some(Stopped::Full), ""));

    fs::write(folder.path().join("file"), "").unwrap();
    let nowhere = lock(&folder.path().join("file/spool"), "r1");
    let Answer::Cannot(why) = answer(&nowhere.take()) else { panic!("there is no folder") };
    assert!(why.contains("cannot be written"), "{why}");
}

#[test]
fn a_guarded_line_shows_the_bare_one() {
    let one = lock(Path::new("/var/lib/it's fleet"), "r1");
    for line in ["true", "a || exit; b", "sh -c 'x'"] {
        let command = Command::new("eval").arg(line);
        assert_eq!(bare(one.guard(1, &Load::default(), &command).command().line()), command.line());
        assert_eq!(bare(command.line()), command.line());
    }
}

#[test]
fn what_a_hostile_host_says_is_bounded_and_harmless_or_no_answer() {
    let question = look("/var/lib/fleet");
    let mark = question.command().line().rsplit(' ').next().unwrap().to_owned();
    let says = |text: &str| {
        let stdout = text.replace("MARK", &mark).into_bytes();
        question.read(&Output { exit: Exit::Code(0), stdout, stderr: Vec::new(), dropped: 0 })
    };
    for strange in [
        "",
        "free",
        "\nMARK",
        "\nMARK \n",
        "\nMARK nonsense\n",
        "\nMARK taken -1\n",
        "\nMARK taken 99999999999999999999999\n",
        "\nMARK taken 1 x y\n",
        "\nMARK held since\n",
        "\nMARK held since 1\nlock 1 r m\n",
        "\nMARK held since -1\nlock 1 r m\n\nMARK end\n",
        "\nMARK held never 1\nlock 1 r m\n\nMARK end\n",
    ] {
        assert!(says(strange).is_err(), "{strange:?}: {:?}", says(strange));
    }
    assert_eq!(says("motd\n\nMARK free\nbye"), Ok(Answer::Free));
    let long = "x".repeat(9000);
    let file = format!("lock 1 r\u{1b}[2J m\nowner \u{202e}{long}\nsince now\nreason \u{7}\nend\n");
    let Ok(Answer::Held(held)) = says(&format!("\nMARK held since 7\n{file}\nMARK end\n")) else {
        panic!("it is whole")
    };
    let said = held.to_string();
    assert!(said.len() < 1000 && !said.chars().any(|c| c.is_control() || c == '\u{202e}'), "{said}");
}
