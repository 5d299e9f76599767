//! Reports from journals: whole runs on disk in, files, screens and exit codes out.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "what tests build must be there")]

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use assert_cmd::Command;
use fleet::event::{Event, Failure, Judgement, Left, Level, Outcome, StepEnd, What, When};
use fleet::journal;
use fleet::plan::Class;
use fleet::report::{self, Ending, State, screen};
use fleet::state::{self, Run, RunFolder};
use fleet::version::Version;
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

const RUN: &str = "20261122-101500-abcd";
const HOSTILE: &str =
    "\u{1b}]0;pwn\u{7}<script>alert(1)</script>|`x`\nsecond line\u{202e}[a](https://example.org)";

/// A cluster's journal in the making: the clock goes on by what each event took.
struct Story {
    cluster: &'static str,
    at: Timestamp,
    events: Vec<Event>,
}

impl Story {
    fn new(cluster: &'static str) -> Self {
        Self { cluster, at: "2026-11-22T10:15:00Z".parse().unwrap(), events: Vec::new() }
    }

    fn then(mut self, after_ms: i64, what: What) -> Self {
        self.at += SignedDuration::from_millis(after_ms);
        let seq = self.events.len() as u64 + 1;
        self.events.push(Event { seq, at: self.at, cluster: self.cluster.to_owned(), what });
        self
    }

    fn begun(self) -> Self {
        let address = format!("root@{}.example.org:22", self.cluster);
        self.then(100, What::Begun { address })
    }

    fn connected(self) -> Self {
        self.begun().then(200, What::Connected { host_key: "SHA256:Zm9vYmFy".into() })
    }

    fn gathered(self, when: When, version: &str) -> Self {
        let apps = vec!["nextcloud".into(), "wekan".into()];
        self.then(2_000, What::Gathered { when, version: version.into(), apps })
    }

    fn judged(self, when: When, level: Level, said: &str, acknowledged: bool) -> Self {
        let verdict = |check: &str, level, said: &str, acknowledged| Judgement {
            check: check.into(),
            level,
            said: said.into(),
            acknowledged,
        };
        let verdicts = vec![
            verdict("sudo", Level::Pass, "sudo asks for no password", false),
            verdict("disk-space", level, said, acknowledged),
        ];
        self.then(10, What::Judged { when, verdicts })
    }

    fn planned(self) -> Self {
        self.connected()
            .gathered(When::Before, "0.6")
            .judged(When::Before, Level::Warn, "12 GiB free of the 15 GiB that are advised", true)
            .then(
                5,
                What::Planned {
                    migration: "to-0.7".into(),
                    from: Version::V0_6,
                    to: Version::V0_7,
                    steps: [
                        "backup/copy",
                        "backup/prove",
                        "to-0.7/save-secrets",
                        "to-0.7/switch-branch",
                        "to-0.7/wait-converged",
                    ]
                    .map(String::from)
                    .to_vec(),
                    expected_seconds: 1500,
                    downtime_seconds: 120,
                },
            )
    }

    fn started(self, step: &str, title: &str, class: Class) -> Self {
        let what = What::StepStarted { step: step.into(), title: title.into(), class, expected_seconds: 120 };
        self.then(10, what)
    }

    fn ran(self, step: &str, line: &str, exit: &str) -> Self {
        self.then(340, What::Ran { step: step.into(), line: line.into(), exit: exit.into(), took_ms: 340 })
    }

    fn ended(self, step: &str, took_ms: i64, end: StepEnd) -> Self {
        let took = u64::try_from(took_ms).unwrap();
        self.then(took_ms, What::StepEnded { step: step.into(), end, took_ms: took })
    }

    fn copied(self) -> Self {
        self.planned()
            .started("backup/copy", "Copy everything, with k3s stopped", Class::Undoable)
            .ran("backup/copy", "systemctl stop k3s", "exit status 0")
            .ended("backup/copy", 65_000, StepEnd::Done)
    }

    fn proven(self) -> Self {
        let (backup, folder) = (
            format!("20261122-101502-{}", self.cluster),
            format!("backups/{0}/20261122-101502-{0}", self.cluster),
        );
        self.copied()
            .started("backup/prove", "Prove the copy", Class::ReadOnly)
            .ended("backup/prove", 30_000, StepEnd::Done)
            .then(1, What::Proven { backup, folder, files: 12_345, bytes: 1_503_238_553 })
    }

    fn switched(self) -> Self {
        self.proven()
            .started("to-0.7/save-secrets", "Save the secrets", Class::ReadOnly)
            .ended("to-0.7/save-secrets", 900, StepEnd::Done)
            .started("to-0.7/switch-branch", "Switch the source to v0.7", Class::Irreversible)
            .ran(
                "to-0.7/switch-branch",
                "k3s kubectl patch gitrepositories.source.toolkit.fluxcd.io openappstack -n flux-system --type merge -p '{\"spec\":{\"ref\":{\"branch\":\"v0.7\"}}}'",
                "exit status 0",
            )
            .ended("to-0.7/switch-branch", 400, StepEnd::Done)
    }

    fn waiting(self) -> Self {
        self.switched().started("to-0.7/wait-converged", "Wait until everything is at 0.7", Class::ReadOnly)
    }

    fn finished(self, outcome: Outcome) -> Self {
        self.then(5, What::Finished { outcome })
    }

    fn failed(self, message: &str) -> Self {
        let failure = Failure::new("deadline", message);
        self.waiting().ended("to-0.7/wait-converged", 600_000, StepEnd::Failed(failure.clone())).finished(
            Outcome::Failed {
                step: Some("to-0.7/wait-converged".into()),
                state: Left::Dirty { at: "to-0.7/switch-branch".into() },
                failure,
            },
        )
    }

    fn lines(&self) -> String {
        self.events.iter().map(|event| journal::line(event).unwrap()).collect()
    }

    fn write(&self, folder: &RunFolder) {
        fs::write(folder.cluster(self.cluster).unwrap().journal(), self.lines()).unwrap();
    }
}

fn unreachable(cluster: &'static str) -> Story {
    Story::new(cluster)
        .begun()
        .finished(Outcome::Unreachable { failure: Failure::new("unreachable", "connection refused") })
}

fn done(cluster: &'static str) -> Story {
    Story::new(cluster)
        .waiting()
        .then(
            5_000,
            What::Remedied {
                step: "to-0.7/wait-converged".into(),
                remedy: "sso-database".into(),
                object: "stackspin/single-sign-on".into(),
                time: 1,
            },
        )
        .then(
            1,
            What::Noted { step: "to-0.7/wait-converged".into(), text: "12 of 14 releases are ready".into() },
        )
        .ended("to-0.7/wait-converged", 305_000, StepEnd::Done)
        .gathered(When::After, "0.7")
        .judged(When::After, Level::Pass, "20 GiB free", false)
        .finished(Outcome::Done)
}

fn run(clusters: &[&str]) -> Run {
    let mut clusters: Vec<String> = clusters.iter().map(|name| (*name).to_owned()).collect();
    clusters.sort();
    Run {
        schema: state::SCHEMA,
        id: RUN.into(),
        started: "2026-11-22T10:15:00Z".parse().unwrap(),
        by: "operator@desk".into(),
        fleet: "0.1.0".into(),
        typed: ["fleet", "--inventory", "my fleet", "upgrade", "--all", "--ack", "disk-space"]
            .map(String::from)
            .to_vec(),
        target: Some(Version::V0_7),
        clusters,
        acknowledged: vec!["disk-space".into()],
        plan: None,
    }
}

/// A run in which everything happens that can happen to a cluster.
fn rich(root: &Path) -> RunFolder {
    let stories = [
        done("acme"),
        Story::new("birch").connected().gathered(When::Before, "0.7").finished(Outcome::NothingToDo),
        Story::new("cedar")
            .connected()
            .gathered(When::Before, "0.6")
            .judged(When::Before, Level::Block, "1 GiB free of the 15 GiB that are needed", false)
            .finished(Outcome::Refused {
                failure: Failure::new("check-blocks", "disk-space: 1 GiB free of the 15 GiB that are needed")
                    .read("docs/checks.md#disk-space"),
            }),
        unreachable("delta"),
        unreachable("echo"),
        {
            let failure = Failure::new("archive-differs", "volume pvc-1: 2 of 345 files differ");
            Story::new("fir")
                .copied()
                .started("backup/prove", "Prove the copy", Class::ReadOnly)
                .ended("backup/prove", 30_000, StepEnd::Failed(failure.clone()))
                .finished(Outcome::Failed { step: Some("backup/prove".into()), state: Left::Clean, failure })
        },
        Story::new("gum").failed("HelmRelease wekan is not ready after 10 minutes"),
        Story::new("hazel").failed("HelmRelease nextcloud is not ready after 10 minutes"),
        Story::new("iris").failed("HelmRelease nextcloud is not ready after 10 minutes"),
        {
            let failure =
                Failure::new("connection-lost", "the connection was lost before the command ended: reset")
                    .read("docs/operating.md#in-doubt");
            Story::new("juniper")
                .proven()
                .started("to-0.7/switch-branch", "Switch the source to v0.7", Class::Irreversible)
                .ended("to-0.7/switch-branch", 45_000, StepEnd::InDoubt(failure.clone()))
                .finished(Outcome::InDoubt { step: "to-0.7/switch-branch".into(), failure })
        },
        // Killed within the copy: k3s may be stopped.
        Story::new("kauri").planned().started("backup/copy", "Copy everything", Class::Undoable),
        // Killed while it only looked.
        Story::new("larch").connected().gathered(When::Before, "0.6"),
        // Killed while it waited, with the branch switched.
        Story::new("maple").waiting(),
        Story::new("nutmeg").proven().finished(Outcome::Interrupted { state: Left::Clean }),
    ];
    let names: Vec<&str> = stories.iter().map(|story| story.cluster).chain(["oak", "pine"]).collect();
    let folder = RunFolder::create(root, &run(&names)).unwrap();
    for story in &stories {
        story.write(&folder);
    }
    // The branch was switched, then a bit on the disk flipped.
    let lines = done("oak").lines().replace("\"what\":\"remedied\"", "\"what\":\"remedjed\"");
    fs::write(folder.cluster("oak").unwrap().journal(), lines).unwrap();
    // Nothing was ever written for pine.
    folder
}

fn fleet(args: &[&str]) -> Command {
    let mut command = Command::cargo_bin("fleet").unwrap();
    command.args(args).env_remove("FLEET_RUNS");
    command
}

fn text(path: &Path) -> String {
    fs::read_to_string(path).unwrap()
}

#[test]
fn the_screen_of_a_rich_run() {
    let root = tempfile::tempdir().unwrap();
    let report = report::write(&rich(root.path())).unwrap();
    let folder = Path::new("runs").join(RUN);
    insta::assert_snapshot!("screen_plain", screen::render(&report, &folder, screen::Look::PLAIN));
    let narrow = screen::Look { width: 80, terminal: true };
    insta::assert_snapshot!("screen_terminal", screen::render(&report, &folder, narrow));
}

#[test]
fn the_markdown_of_a_rich_run() {
    let root = tempfile::tempdir().unwrap();
    let folder = rich(root.path());
    report::write(&folder).unwrap();
    insta::assert_snapshot!("fleet_md", text(&folder.path().join("report.md")));
    for cluster in ["acme", "cedar", "gum", "kauri", "oak", "pine"] {
        insta::assert_snapshot!(
            format!("cluster_md_{cluster}"),
            text(&folder.path().join(cluster).join("report.md"))
        );
    }
}

#[test]
fn the_json_of_a_rich_run() {
    let root = tempfile::tempdir().unwrap();
    let folder = rich(root.path());
    report::write(&folder).unwrap();
    insta::assert_snapshot!("fleet_json", text(&folder.path().join("report.json")));
    insta::assert_snapshot!("cluster_json_gum", text(&folder.path().join("gum/report.json")));
}

#[test]
fn every_ending_is_told_as_what_it_is() {
    use Ending::{Done, Failed, InDoubt, Interrupted, NotBegun, NotFinished, NothingToDo, Refused};
    let root = tempfile::tempdir().unwrap();
    let fleet = report::read(&rich(root.path())).unwrap();
    let told: Vec<(&str, Ending, State, Option<&str>)> = fleet
        .clusters
        .iter()
        .map(|report| (report.cluster.as_str(), report.outcome, report.state, report.left_at.as_deref()))
        .collect();
    let branch = Some("to-0.7/switch-branch");
    assert_eq!(
        told,
        [
            ("acme", Done, State::Upgraded, None),
            ("birch", NothingToDo, State::Upgraded, None),
            ("pine", NotBegun, State::Clean, None),
            ("nutmeg", Interrupted, State::Clean, None),
            ("larch", NotFinished, State::Clean, None),
            ("maple", NotFinished, State::Dirty, branch),
            ("cedar", Refused, State::Clean, None),
            ("delta", Ending::Unreachable, State::Clean, None),
            ("echo", Ending::Unreachable, State::Clean, None),
            ("fir", Failed, State::Clean, None),
            ("gum", Failed, State::Dirty, branch),
            ("hazel", Failed, State::Dirty, branch),
            ("iris", Failed, State::Dirty, branch),
            ("juniper", InDoubt, State::Unknown, branch),
            ("kauri", InDoubt, State::Unknown, None),
            ("oak", InDoubt, State::Unknown, branch),
        ]
    );
    assert!(!fleet.is_finished());
}

#[test]
fn failures_of_one_cause_are_one_group_with_equal_messages_folded() {
    let root = tempfile::tempdir().unwrap();
    let fleet = report::read(&rich(root.path())).unwrap();
    let group = fleet.groups.iter().find(|group| group.cause == "deadline").unwrap();
    assert_eq!(group.clusters, ["gum", "hazel", "iris"]);
    assert_eq!(group.step.as_deref(), Some("to-0.7/wait-converged"));
    let folded: Vec<Vec<String>> = group.messages.iter().map(|said| said.clusters.clone()).collect();
    assert_eq!(folded, [vec!["hazel", "iris"], vec!["gum"]], "the sentence said most often comes first");
    // Each cluster that is not well is in exactly one group.
    let grouped: Vec<&String> = fleet.groups.iter().flat_map(|group| &group.clusters).collect();
    let unwell: Vec<&String> =
        fleet.clusters.iter().filter(|r| !r.outcome.is_good()).map(|r| &r.cluster).collect();
    assert_eq!(grouped.len(), unwell.len());
    assert_eq!(grouped.into_iter().collect::<BTreeSet<_>>(), unwell.into_iter().collect::<BTreeSet<_>>());
}

#[test]
fn what_is_not_done_is_gone_on_with_and_never_upgraded_anew() {
    let root = tempfile::tempdir().unwrap();
    let fleet = report::read(&rich(root.path())).unwrap();
    for report in &fleet.clusters {
        let next = report::next(report, &fleet.run);
        let says = |word: &str| next.iter().any(|next| next.command.contains(word));
        let unread = report.failure.as_ref().is_some_and(|failure| failure.cause == "damaged-journal");
        assert_eq!(says(" resume "), !report.outcome.is_good() && !unread, "{}: {next:?}", report.cluster);
        assert!(!says(" upgrade "), "{}: {next:?}", report.cluster);
        // A run that was told where its inventory lies says so again.
        assert!(
            next.iter().all(|next| next.command.starts_with("fleet --inventory 'my fleet' ")),
            "{next:?}"
        );
    }
}

#[test]
fn next_commands_are_understood_by_the_command_line() {
    use clap::Parser;
    let root = tempfile::tempdir().unwrap();
    let fleet = report::read(&rich(root.path())).unwrap();
    let mut seen = BTreeSet::new();
    let all: Vec<&report::ClusterReport> = fleet.clusters.iter().collect();
    for next in report::next_all(&all, &fleet.run) {
        let words = next.command.replace("'my fleet'", "inventory");
        let parsed = fleet::cli::Cli::try_parse_from(words.split(' '));
        assert!(parsed.is_ok(), "{words}: {parsed:?}");
        seen.insert(words.split(' ').nth(3).unwrap().to_owned());
    }
    assert_eq!(seen, ["backup", "check", "facts", "restore", "resume"].map(String::from).into());
}

#[test]
fn the_way_back_is_told_of_whom_a_rung_has_left_half_way_and_of_nobody_else() {
    let root = tempfile::tempdir().unwrap();
    let fleet = report::read(&rich(root.path())).unwrap();
    let restores = |report: &report::ClusterReport| -> Vec<String> {
        let next = report::next(report, &fleet.run).into_iter().map(|next| next.command);
        next.filter(|command| command.contains(" restore ")).collect()
    };
    let told: Vec<&str> = fleet
        .clusters
        .iter()
        .filter(|report| !restores(report).is_empty())
        .map(|report| report.cluster.as_str())
        .collect();
    assert_eq!(told, ["maple", "gum", "hazel", "iris", "juniper"]);
    let gum = fleet.clusters.iter().find(|report| report.cluster == "gum").unwrap();
    assert_eq!(restores(gum), ["fleet --inventory 'my fleet' restore 20261122-101502-gum --to gum"]);
    assert!(fleet.clusters.iter().all(|report| report.state != State::Clean || report.way_back.is_none()));
}

#[test]
fn a_refusal_before_the_next_rung_leaves_the_cluster_clean() {
    let failure = Failure::new("check-blocks", "disk-space: 1 GiB free");
    let story = Story::new("acme")
        .waiting()
        .ended("to-0.7/wait-converged", 1_000, StepEnd::Done)
        .gathered(When::After, "0.7")
        .judged(When::After, Level::Pass, "20 GiB free", false)
        .judged(When::Before, Level::Block, "1 GiB free", false)
        .finished(Outcome::Refused { failure });
    let report = report::ClusterReport::fold("acme", &story.events);
    assert_eq!((report.state, report.left_at, report.way_back), (State::Clean, None, None));
}

#[test]
fn reports_made_anew_are_equal_byte_for_byte_and_private() {
    let root = tempfile::tempdir().unwrap();
    let folder = rich(root.path());
    report::write(&folder).unwrap();
    let files = ["report.md", "report.json", "acme/report.md", "acme/report.json", "oak/report.md"];
    let read = || files.map(|file| text(&folder.path().join(file)));
    let first = read();
    for file in files {
        let path = folder.path().join(file);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o077, 0, "{file}");
        fs::write(path, "spoilt").unwrap();
    }
    report::write(&folder).unwrap();
    assert_eq!(read(), first);
}

#[test]
fn a_damaged_journal_is_told_and_harms_no_other_cluster() {
    let root = tempfile::tempdir().unwrap();
    let folder = rich(root.path());
    let before = text(&folder.path().join("oak/journal.ndjson"));
    let fleet = report::write(&folder).unwrap();
    let oak = fleet.clusters.iter().find(|report| report.cluster == "oak").unwrap();
    let failure = oak.failure.as_ref().unwrap();
    assert_eq!(failure.cause, "damaged-journal");
    assert!(
        failure.message.contains("line 18 of its journal is damaged (the checksum is wrong)"),
        "{}",
        failure.message
    );
    assert_eq!(failure.read, "docs/reports.md#a-damaged-journal");
    assert!(oak.backup().is_some(), "what the whole lines tell is still told");
    assert_eq!(text(&folder.path().join("oak/journal.ndjson")), before, "the journal is left as it is");
    assert_eq!(fleet.counts()[&Ending::Done], 1);
}

#[test]
fn a_journal_that_cannot_be_read_is_that_clusters_trouble_alone() {
    let root = tempfile::tempdir().unwrap();
    let folder = RunFolder::create(root.path(), &run(&["acme", "birch"])).unwrap();
    done("acme").write(&folder);
    // A folder where the file should be: an error that root gets, too.
    fs::create_dir(folder.cluster("birch").unwrap().journal()).unwrap();
    let fleet = report::write(&folder).unwrap();
    let outcomes: Vec<Ending> = fleet.clusters.iter().map(|report| report.outcome).collect();
    assert_eq!(outcomes, [Ending::Done, Ending::InDoubt]);
    assert_eq!(fleet.groups[0].cause, "unreadable-journal");
}

#[test]
fn a_torn_end_leaves_the_step_before_it_in_doubt() {
    let root = tempfile::tempdir().unwrap();
    let folder = RunFolder::create(root.path(), &run(&["acme"])).unwrap();
    // Cut within the line that says that the branch was switched.
    let lines = Story::new("acme").switched().lines();
    fs::write(folder.cluster("acme").unwrap().journal(), &lines[..lines.len() - 9]).unwrap();
    let fleet = report::write(&folder).unwrap();
    let acme = &fleet.clusters[0];
    assert_eq!((acme.outcome, acme.state), (Ending::InDoubt, State::Unknown));
    assert_eq!(acme.failed_step.as_deref(), Some("to-0.7/switch-branch"));
    assert!(acme.failure.as_ref().unwrap().message.contains("nobody knows whether that step was done"));
}

#[test]
fn a_journal_of_a_newer_fleet_is_read_as_far_as_it_is_known() {
    let root = tempfile::tempdir().unwrap();
    let folder = RunFolder::create(root.path(), &run(&["acme"])).unwrap();
    let mut story = done("acme");
    story.events.insert(1, Event { what: What::Unknown, ..story.events[0].clone() });
    for (index, event) in story.events.iter_mut().enumerate() {
        event.seq = index as u64 + 1;
    }
    story.write(&folder);
    let fleet = report::write(&folder).unwrap();
    assert_eq!(fleet.clusters[0].unknown_events, 1);
    assert!(text(&folder.path().join("acme/report.md")).contains("1 event of a newer fleet"));
}

#[test]
fn hostile_text_is_harmless_in_every_report() {
    let root = tempfile::tempdir().unwrap();
    let folder = RunFolder::create(root.path(), &run(&["acme"])).unwrap();
    let evil = || HOSTILE.to_owned();
    let step = || format!("to-0.7/{HOSTILE}");
    // Built by hand: a journal may be written by anything.
    let failure = Failure { cause: evil(), message: evil(), read: evil() };
    Story::new("acme")
        .then(1, What::Begun { address: evil() })
        .then(1, What::Connected { host_key: evil() })
        .then(1, What::Gathered { when: When::Before, version: evil(), apps: vec![evil()] })
        .judged(When::Before, Level::Warn, HOSTILE, true)
        .then(
            1,
            What::Planned {
                migration: evil(),
                from: Version::V0_6,
                to: Version::V0_7,
                steps: vec![step(), evil()],
                expected_seconds: 1,
                downtime_seconds: 1,
            },
        )
        .then(1, What::Proven { backup: evil(), folder: evil(), files: 1, bytes: 1 })
        .started(&step(), HOSTILE, Class::Irreversible)
        .ran(&step(), HOSTILE, HOSTILE)
        .then(1, What::Noted { step: step(), text: evil() })
        .then(1, What::Remedied { step: step(), remedy: evil(), object: evil(), time: 1 })
        .ended(&step(), 1, StepEnd::Failed(failure.clone()))
        .then(1, What::Gathered { when: When::After, version: evil(), apps: vec![evil()] })
        .finished(Outcome::Failed { step: Some(step()), state: Left::Dirty { at: step() }, failure })
        .write(&folder);
    let fleet = report::write(&folder).unwrap();
    let terminal = screen::Look { width: 110, terminal: true };
    let screens = [screen::Look::PLAIN, terminal].map(|look| screen::render(&fleet, folder.path(), look));
    let files = ["report.md", "report.json", "acme/report.md", "acme/report.json"]
        .map(|file| text(&folder.path().join(file)));
    for text in screens.iter().chain(&files) {
        assert!(text.contains("pwn"), "the text itself is shown");
        let bad = text.chars().find(|c| (c.is_control() && *c != '\n') || *c == '\u{202e}');
        assert_eq!(bad, None, "{text}");
        assert!(!text.contains("\nsecond line"), "a newline of a host begins a line of ours:\n{text}");
    }
    assert!(screens[0].is_ascii());
    for markdown in [&files[0], &files[2]] {
        let (mut fence, mut table): (Option<&str>, usize) = (None, 0);
        for line in markdown.lines() {
            match fence {
                Some(bar) if line == bar => fence = None,
                Some(_) => {}
                None if line.starts_with("```") => fence = Some(line.trim_end_matches("text")),
                None => {
                    assert!(!line.contains("<script"), "{line}");
                    assert!(!line.contains("https://"), "{line}");
                    let cells = line.replace("\\\\", "").replace("\\|", "").matches('|').count();
                    // Every row of a table has as many cells as its head.
                    assert!(table == 0 || cells == 0 || cells == table, "{line}");
                    table = cells;
                }
            }
        }
        assert_eq!(fence, None, "a fence is left open");
    }
}

/// The keys of every object below `value`, with lists as `[]`.
fn keys(value: &Value, path: &str, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                // The counts' keys are outcomes, not names of the schema.
                let key = if path.ends_with("counts") { "OUTCOME" } else { key };
                let path = if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
                found.insert(path.clone());
                keys(value, &path, found);
            }
        }
        Value::Array(list) => list.iter().for_each(|value| keys(value, &format!("{path}[]"), found)),
        _ => {}
    }
}

/// The keys that `docs/reports.md` tells in the table under this heading.
fn documented(heading: &str) -> BTreeSet<String> {
    let docs = include_str!("../docs/reports.md");
    let section = docs.split(&format!("\n### {heading}\n")).nth(1).expect(heading);
    let section = section.split("\n#").next().unwrap();
    section.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next()).map(String::from).collect()
}

#[test]
fn the_json_has_exactly_the_documented_keys() {
    let root = tempfile::tempdir().unwrap();
    let folder = rich(root.path());
    report::write(&folder).unwrap();
    let parse = |path: &str| serde_json::from_str::<Value>(&text(&folder.path().join(path))).unwrap();
    let all = parse("report.json");
    assert_eq!(all["schema"], 1);
    let mut found = BTreeSet::new();
    keys(&all, "", &mut found);
    assert_eq!(found, documented("The fleet's report.json"));

    let mut found = BTreeSet::new();
    for cluster in parse("run.json")["clusters"].as_array().unwrap() {
        keys(&parse(&format!("{}/report.json", cluster.as_str().unwrap())), "", &mut found);
    }
    assert_eq!(found, documented("A cluster's report.json"));
}

#[test]
fn the_sample_lines_in_the_docs_are_a_whole_journal() {
    let docs = include_str!("../docs/reports.md");
    let lines: Vec<&str> = docs.lines().filter(|line| line.starts_with("{\"sum\":")).collect();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal.ndjson");
    fs::write(&path, format!("{}\n", lines.join("\n"))).unwrap();
    let events = journal::read(&path).unwrap();
    assert_eq!(events.len(), 2);
    assert_eq!(journal::line(&events[1]).unwrap().trim_end(), lines[1]);
}

#[test]
fn fleet_report_makes_the_files_prints_the_screen_and_ends_as_the_run_did() {
    let root = tempfile::tempdir().unwrap();
    let folder = rich(root.path());
    let runs = root.path().to_str().unwrap();
    let output = fleet(&["report", "last", "--runs", runs]).assert().code(6).get_output().clone();
    let printed = String::from_utf8(output.stdout).unwrap();
    assert!(printed.contains("16 clusters: 1 done, 1 nothing to do"), "{printed}");
    assert!(printed.is_ascii());
    assert!(folder.path().join("gum/report.json").exists());

    let output =
        fleet(&["report", RUN, "--runs", runs, "--format", "json"]).assert().code(6).get_output().clone();
    let printed: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(printed["run"]["id"], RUN);
}

#[test]
fn fleet_report_of_a_good_run_ends_with_zero() {
    let root = tempfile::tempdir().unwrap();
    let folder = RunFolder::create(root.path(), &run(&["acme"])).unwrap();
    done("acme").write(&folder);
    fleet(&["report", "last", "--runs", root.path().to_str().unwrap()]).assert().code(0);
}

#[test]
fn fleet_report_of_an_unknown_run_is_wrong_usage_and_names_the_last_runs() {
    let root = tempfile::tempdir().unwrap();
    rich(root.path());
    let runs = root.path().to_str().unwrap();
    for wanted in ["20261122-101500-abce", "../../etc", "/etc", ".", ""] {
        let output = fleet(&["report", wanted, "--runs", runs]).assert().code(64).get_output().clone();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.contains(&format!("The last runs: {RUN}.")), "{said}");
    }
    let empty = tempfile::tempdir().unwrap();
    fleet(&["report", "last", "--runs", empty.path().to_str().unwrap()]).assert().code(64);
}

#[test]
fn a_cluster_name_that_leads_out_of_the_run_is_refused() {
    for name in ["../outside", "/tmp", "..", "a/b", "a\u{1b}b", ""] {
        let root = tempfile::tempdir().unwrap();
        let folder = RunFolder::create(&root.path().join("runs"), &run(&[name])).unwrap();
        let error = report::write(&folder).unwrap_err().to_string();
        assert!(error.contains("is no name of a cluster"), "{error}");
        assert!(!root.path().join("runs/outside").exists());
    }
}

#[test]
fn fleet_runs_lists_every_run_and_the_ones_that_cannot_be_told() {
    let root = tempfile::tempdir().unwrap();
    let runs = root.path().to_str().unwrap();
    fleet(&["runs", "--runs", runs]).assert().code(0).stdout(format!("No runs in {runs}.\n"));
    let finished = Run { id: "20261123-080000-beef".into(), ..run(&["acme"]) };
    done("acme").write(&RunFolder::create(root.path(), &finished).unwrap());
    rich(root.path());
    fs::create_dir(root.path().join("20261101-000000-lost")).unwrap();
    let before = fs::read_dir(root.path().join(RUN)).unwrap().count();

    let output = fleet(&["runs", "--runs", runs]).assert().code(0).get_output().clone();
    let printed = String::from_utf8(output.stdout).unwrap().replace(runs, "RUNS");
    let lines: Vec<&str> = printed.lines().collect();
    let line = |id: &str| lines.iter().position(|line| line.contains(id)).unwrap();
    assert!(line("20261101-000000-lost") < line(RUN));
    assert!(line(RUN) < line("20261123-080000-beef"));
    assert!(printed.contains("cannot be told"), "{printed}");

    let output = fleet(&["runs", "--runs", runs, "--format", "json"]).assert().code(0).get_output().clone();
    let rows: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(rows[2]["outcomes"]["done"], 1);
    assert_eq!(rows[2]["finished"], true);
    assert_eq!(rows[1]["finished"], false);
    assert_eq!(rows[1]["outcomes"]["in-doubt"], 3);
    assert!(rows[0]["trouble"].as_str().unwrap().contains("run.json"));
    assert_eq!(fs::read_dir(root.path().join(RUN)).unwrap().count(), before, "listing writes nothing");
}
