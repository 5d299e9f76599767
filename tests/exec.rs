//! `fleet exec` with the real binary, on simulated hosts whose commands a real shell runs; and the budget of failures, of `exec` and of `upgrade`.
#![expect(clippy::unwrap_used, reason = "what cannot be set up fails its test")]

mod lab_support;

use std::fs;
use std::io::Read as _;
use std::process::Stdio;

use fleet::event::{StepEnd, What};
use fleet::lab::{Fault, HostSpec};
use lab_support::{Bench, Ran, acknowledging, control, files, holds, run, until};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

fn bench(names: &[&str]) -> Bench {
    Bench::new(names.iter().map(|name| HostSpec::new(*name)).collect())
}

fn json(ran: &Ran) -> Value {
    serde_json::from_str(&ran.out).unwrap()
}

/// How each host ended, in order of name.
fn outcomes(json: &Value) -> Vec<&str> {
    json["hosts"].as_array().unwrap().iter().map(|host| host["outcome"].as_str().unwrap()).collect()
}

#[test]
fn equal_answers_are_shown_once_and_everything_is_written_down() {
    let bench = bench(&["web1", "web2", "web3", "zoo"]);
    let line = "printf 'a\\nb\\n'; case $HOME in */zoo/*) echo c ;; esac; echo 'said \"so\"' >&2";
    let ran = bench.fleet(&["exec", "--all", "--", line]).ends(0);
    assert!(
        ran.out.contains("3 of 4 hosts, exit status 0: web[1-3]\na\nb\nstderr: said \"so\"\n"),
        "{}",
        ran.out
    );
    assert!(ran.out.contains(": zoo\n@@ -1,3 +1,4 @@\n a\n b\n+c\n stderr: said \"so\"\n"), "{}", ran.out);
    assert!(ran.out.contains("4 hosts: 4 done\n"), "{}", ran.out);
    assert_eq!(ran.err, "", "nobody watches");

    let events = bench.journal("zoo");
    let whats: Vec<&What> = events.iter().map(|event| &event.what).collect();
    assert!(
        matches!(
            whats[..],
            [
                What::Begun { .. },
                What::Connected { .. },
                What::StepStarted { .. },
                What::Ran { .. },
                What::StepEnded { end: StepEnd::Done, .. },
                What::Finished { .. }
            ]
        ),
        "{whats:#?}"
    );
    let log = fs::read_to_string(bench.run().join("zoo/steps/exec-command.log")).unwrap();
    assert!(log.contains("said \"so\""), "{log}");
    let runs = bench.fleet(&["runs"]).ends(0).out;
    assert!(runs.contains("exec") && runs.contains("4 done"), "{runs}");
    let report = bench.fleet(&["report", "last"]).ends(0).out;
    assert!(report.contains(": exec, by "), "{report}");
    assert_eq!(bench.report("zoo")["target"], Value::Null);
    for host in bench.lab.hosts() {
        assert_eq!(host.connections(), 1);
    }
}

#[test]
fn words_are_joined_as_ssh_joins_them_and_each_host_can_be_shown_on_its_own() {
    let bench = bench(&["a", "b"]);
    let ran =
        bench.fleet(&["exec", "--all", "--each", "--", "echo", "one  two;", "echo", "$((1 + 2))"]).ends(0);
    assert!(
        ran.out.contains("a, exit status 0:\none two\n3\n\nb, exit status 0:\none two\n3\n"),
        "{}",
        ran.out
    );
}

// Promise M3: an address that has become another machine's.
#[test]
fn a_host_whose_machine_or_cluster_is_another_is_sent_nothing_and_one_that_cannot_tell_is_mended() {
    let api_away = HostSpec::new("d").fault(Fault::ApiAway);
    let specs = ["a", "b", "c"].map(HostSpec::new).into_iter().chain([api_away]).collect();
    let bench = Bench::new(specs);
    let inventory = bench.lab.inventory().join("lab.toml");
    let text = fs::read_to_string(&inventory).unwrap();
    let other = format!("[clusters.\"a\"]\nmachine_id = \"{}\"\n", "0123456789abcdef".repeat(2));
    let text = text.replace("[clusters.\"a\"]\n", &other);
    let text = text.replace("\"b.example.org\"", "\"other.example.org\"");
    fs::write(&inventory, text).unwrap();
    let ran = bench.fleet(&["exec", "--all", "--", "echo reached"]).ends(5);
    assert_eq!(
        outcomes(&json(&bench.fleet(&["exec", "--all", "--format", "json", "--", "echo reached"]).ends(5))),
        ["refused", "refused", "done", "done"]
    );
    let noted = |name: &str| {
        let note = |what: &What| matches!(what, What::Noted { text, .. } if text.contains("it pins domain d.example.org, but it cannot be told"));
        bench.journal(name).iter().filter(|event| note(&event.what)).count()
    };
    assert_eq!(["c", "d"].map(noted), [0, 1]);
    assert!(ran.out.contains("machine_id 0123456789abcdef"), "{}", ran.out);
    assert!(ran.out.contains("domain other.example.org"), "{}", ran.out);
    for name in ["a", "b"] {
        let asked = bench.host(name).commands();
        assert!(!asked.iter().any(|line| line.contains("reached")), "{asked:#?}");
    }
}

#[test]
fn a_script_is_sent_and_never_written_on_the_host() {
    let bench = bench(&["a"]);
    let script = bench.path("mend.sh");
    fs::write(&script, "printf '%s\\n' \"$#\" \"$@\"\n# a mark to look for: 5c0b1\nexit 3\n").unwrap();
    let name = script.to_str().unwrap();
    let ran = bench.fleet(&["exec", "--on", "a", "--script", name, "--", "it's", "", "-x"]).ends(3);
    assert!(ran.out.contains("1 of 1 host, exit status 3: a\n3\nit's\n\n-x\n"), "{}", ran.out);
    // Some of a simulated host's files cannot be opened; grep goes on.
    let folder = bench.host("a").folder();
    let found = std::process::Command::new("grep").args(["-rsl", "5c0b1"]).arg(folder).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&found.stdout), "", "the script is there");
    let events = bench.journal("a");
    let titled = |what: &What| matches!(what, What::StepStarted { title, .. } if title.contains("SHA-256 "));
    assert!(events.iter().any(|event| titled(&event.what)), "{events:#?}");
    bench.fleet(&["exec", "--on", "a", "--script", "nowhere.sh"]).ends(64);
}

#[test]
fn every_ending_has_its_exit_code_and_the_worst_counts() {
    let bench = Bench::new(vec![
        HostSpec::new("away").fault(Fault::Unreachable),
        HostSpec::new("fine"),
        HostSpec::new("hangs").fault(Fault::CommandHangs("echo".into())),
        HostSpec::new("lost").fault(Fault::ConnectionDropsAfter("echo".into())),
        HostSpec::new("stranger"),
        HostSpec::new("wrong").fault(Fault::CommandFails("echo".into())),
    ]);
    // The stranger shows another key than the inventory has.
    let inventory = bench.lab.inventory().join("lab.toml");
    let text = fs::read_to_string(&inventory).unwrap();
    let key = |name: &str| {
        let table = &text[text.find(&format!("[clusters.\"{name}\"]")).unwrap()..];
        let line = table.lines().find(|line| line.starts_with("host_key")).unwrap();
        line.split('"').nth(1).unwrap().to_owned()
    };
    fs::write(&inventory, text.replace(&key("stranger"), &key("fine"))).unwrap();

    let exec =
        |on: &str| bench.fleet(&["exec", "--format", "json", "--deadline", "2", "--on", on, "--", "echo x"]);
    for (on, code, outcome) in [
        ("fine", 0, "done"),
        ("away", 3, "unreachable"),
        ("wrong", 3, "failed"),
        ("stranger", 5, "refused"),
        ("hangs", 6, "in-doubt"),
        ("lost", 6, "in-doubt"),
    ] {
        assert_eq!(outcomes(&json(&exec(on).ends(code))), [outcome], "{on}");
    }
    let all = exec("fine,away,wrong,stranger,hangs").ends(6);
    assert_eq!(outcomes(&json(&all)), ["unreachable", "done", "in-doubt", "refused", "failed"]);
    exec("fine,away,stranger").ends(3);
    exec("fine,stranger").ends(5);
    assert!(!bench.host("stranger").commands().iter().any(|line| line.contains("echo x")));
}

#[test]
fn wrong_words_contact_nobody() {
    let bench = bench(&["a", "b"]);
    for words in [
        &["exec", "--", "true"][..],
        &["exec", "--all"],
        &["exec", "--all", "--", ""],
        &["exec", "--all", "--max-hosts", "1", "--", "true"],
        &["exec", "--all", "--parallel", "0", "--", "true"],
        &["exec", "--all", "--deadline", "0", "--", "true"],
        &["exec", "--all", "--max-failures", "-1", "--", "true"],
        &["exec", "--on", "c", "--", "true"],
    ] {
        bench.fleet(words).ends(64);
    }
    assert!(!bench.path("runs").exists());
    assert!(bench.lab.hosts().all(|host| host.connections() == 0));
}

#[test]
fn an_endless_printer_is_kept_to_the_limit_on_screen_and_on_disk() {
    let bench = bench(&["a"]);
    let line = "head -c 3000000 /dev/zero | tr '\\0' 'x'; printf '\\033[31m' >&2";
    let ran = bench.fleet(&["exec", "--on", "a", "--limit", "1000", "--", line]).ends(0);
    assert!(ran.out.contains("2999000 bytes more not kept"), "{}", ran.out.len());
    assert!(ran.out.len() < 3000);
    assert_eq!(control(&ran.out), None);
    let log = fs::metadata(bench.run().join("a/steps/exec-command.log")).unwrap();
    assert_eq!(log.len(), 2000);
}

#[test]
fn a_sensitive_answer_is_shown_and_kept_nowhere() {
    let bench = bench(&["a"]);
    for (line, code) in [("echo hunter$((1 + 1))", 0), ("echo hunter$((1 + 1)) >&2; exit 1", 3)] {
        let ran = bench.fleet(&["exec", "--on", "a", "--sensitive", "--", line]).ends(code);
        assert!(ran.out.contains("hunter2"));
        bench.fleet(&["report", "last"]).ends(code);
        for (path, bytes) in files(&bench.path("runs")) {
            assert!(!holds(&bytes, b"hunter2"), "it is in {}", path.display());
        }
    }
}

#[test]
fn once_the_budget_is_used_up_nothing_is_sent_to_those_that_wait() {
    let names = ["a", "b", "c", "d", "e", "f"];
    let bench = bench(&names);
    let ran = bench.fleet(&["exec", "--all", "--max-failures", "1", "--", "exit 9"]).ends(4);
    let asked = |name: &&&str| bench.host(name).commands().iter().any(|line| line.contains("exit 9"));
    assert_eq!(names.iter().filter(asked).count(), 2, "{}", ran.out);
    assert!(ran.out.contains("4 hosts, halted: c, d, e, f"), "{}", ran.out);
    assert!(ran.out.contains("--max-failures allows 1"), "{}", ran.out);
    assert!(ran.out.contains("the same command with --on c,d,e,f\n"), "{}", ran.out);
    assert_eq!(bench.host("f").connections(), 0);
    let report = bench.fleet(&["report", "last"]).ends(4).out;
    assert!(report.contains("4 halted"), "{report}");
    // What is wrong on some only, and within the budget, stops nobody.
    let ran =
        bench.fleet(&["exec", "--all", "--max-failures", "5", "--", "case $HOME in */a/*) exit 9 ;; esac"]);
    assert!(ran.ends(3).out.contains("6 hosts: 5 done, 1 failed"));
}

#[test]
fn hosts_that_cannot_be_reached_have_a_limit_of_their_own() {
    let mut specs: Vec<HostSpec> =
        ["a", "b"].map(|name| HostSpec::new(name).fault(Fault::Unreachable)).into();
    specs.push(HostSpec::new("c"));
    let bench = Bench::new(specs);
    let exec = |limit: &str| {
        bench.fleet(&[
            "exec",
            "--all",
            "--format",
            "json",
            "--parallel",
            "1",
            "--max-failures",
            "0",
            "--max-unreachable",
            limit,
            "--",
            "true",
        ])
    };
    assert_eq!(outcomes(&json(&exec("2").ends(3))), ["unreachable", "unreachable", "done"]);
    assert_eq!(outcomes(&json(&exec("0").ends(4))), ["unreachable", "halted", "halted"]);
}

#[test]
fn an_upgrade_begins_nothing_new_once_its_budget_is_used_up() {
    let failing = || Fault::CommandFails("tar -C".into());
    let bench = Bench::new(vec![
        HostSpec::new("a").fault(failing()),
        HostSpec::new("b").fault(failing()),
        HostSpec::new("c").fault(failing()),
    ]);
    let ran = bench.fleet(&acknowledging(&["upgrade"], &["--all", "--max-failures", "0"])).ends(4);
    assert_eq!(bench.report("a")["outcome"], "failed");
    for name in ["b", "c"] {
        assert_eq!(bench.report(name)["outcome"], "halted");
        assert_eq!(bench.report(name)["state"], "clean");
        assert_eq!(bench.host(name).connections(), 0);
    }
    assert!(ran.out.contains("halted: budget (2 clusters)"), "{}", ran.out);
    assert!(ran.out.contains(" --on b,c\n") && ran.out.contains("fleet resume "), "{}", ran.out);
}

/// The binary with a command under way on `a` that waits for a file, and `b` waiting for its turn.
fn under_way(bench: &Bench) -> std::process::Child {
    let (began, gate) = (bench.path("began"), bench.path("gate"));
    let folder = bench.host("a").folder();
    let line = format!(
        ": > '{}'; until [ -e '{}' ] || [ ! -d '{}' ]; do sleep 0.05; done; echo waited",
        began.display(),
        gate.display(),
        folder.display()
    );
    let child = bench
        .command(&["exec", "--all", "--parallel", "1", "--", &line])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    until("the command runs on a", || began.exists());
    child
}

fn interrupt(child: &std::process::Child) {
    kill_process(Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap(), Signal::INT).unwrap();
}

/// Reads on until it says that it is stopping.
fn until_stopping(child: &mut std::process::Child) {
    let stderr = child.stderr.as_mut().unwrap();
    let mut said = Vec::new();
    let mut byte = [0];
    while !holds(&said, b"press Ctrl-C again to let go of them at once") {
        assert_eq!(stderr.read(&mut byte).unwrap(), 1, "{}", String::from_utf8_lossy(&said));
        said.push(byte[0]);
    }
}

#[test]
fn ctrl_c_waits_for_those_under_way_and_sends_it_to_nobody_else() {
    let bench = bench(&["a", "b"]);
    let mut child = under_way(&bench);
    interrupt(&child);
    until_stopping(&mut child);
    fs::write(bench.path("gate"), "").unwrap();
    let output = child.wait_with_output().unwrap();
    let out = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(7), "{out}");
    assert!(out.contains("waited") && out.contains("1 host, interrupted: b"), "{out}");
    assert!(out.contains("the same command with --on b\n"), "{out}");
    assert_eq!(bench.host("b").connections(), 0);
}

#[test]
fn ctrl_c_twice_lets_go_and_what_was_sent_is_in_doubt() {
    let bench = bench(&["a", "b"]);
    let mut child = under_way(&bench);
    interrupt(&child);
    until_stopping(&mut child);
    interrupt(&child);
    let output = child.wait_with_output().unwrap();
    let out = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(7), "{out}");
    assert!(out.contains("1 host, in doubt: a") && out.contains("1 host, not begun: b"), "{out}");
    bench.fleet(&["report", "last"]).ends(6);
    fs::write(bench.path("gate"), "").unwrap();
}

#[test]
fn a_path_that_is_no_text_may_be_typed_and_is_written_down_as_far_as_it_is() {
    use std::os::unix::ffi::OsStrExt as _;
    let bench = Bench::new(vec![HostSpec::new("away").fault(Fault::Unreachable)]);
    let runs = bench.path("").join(std::ffi::OsStr::from_bytes(b"runs-\xff"));
    let mut command = bench.command(&["exec", "--all", "--runs"]);
    run(command.arg(&runs).args(["--", "true"])).ends(3);
    let mut folders = fs::read_dir(&runs).unwrap().map(|entry| entry.unwrap().path());
    let folder = folders.find(|path| path.is_dir()).unwrap();
    let written: Value = serde_json::from_slice(&fs::read(folder.join("run.json")).unwrap()).unwrap();
    let typed = written["typed"].as_array().unwrap();
    assert!(typed.iter().any(|word| word.as_str().unwrap().ends_with("/runs-\u{fffd}")), "{written}");
}
