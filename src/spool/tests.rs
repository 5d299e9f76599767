//! What a host keeps of a run: the commands in a real shell, and what a hostile host may answer.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use tempfile::TempDir;

use super::*;
use crate::event::{Event, Outcome, What};
use crate::journal;
use crate::remote::shell::in_shell as sh;

const RUN: &str = "20261122T101500Z-abcd";

/// What a host brought of a run.
type Brought = Result<Option<Vec<(Place, Vec<u8>)>>, Unreadable>;

/// A host's spool and the runs on it.
struct Site {
    folder: TempDir,
    runs: Runs,
}

impl Site {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let runs = Runs::on(folder.path().join("a spool/").to_str().unwrap());
        Self { folder, runs }
    }

    fn path(&self, below: &str) -> PathBuf {
        self.folder.path().join("a spool/runs").join(below)
    }

    fn put(&self, run: &str, place: &Place, text: &str) {
        let output = sh(&self.runs.put(run, &[(place.clone(), text.into())]));
        assert!(output.success(), "{}", output.complaint());
    }

    /// A file that the host itself put there.
    fn plant(&self, below: &str, text: &str) {
        let path = self.path(below);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn fetch(&self, run: &str) -> Brought {
        let fetch = self.runs.fetch(run);
        read(&fetch, &sh(fetch.command()))
    }

    fn list(&self) -> Vec<String> {
        let listing = self.runs.list();
        listing.read(&sh(listing.command())).unwrap()
    }
}

/// The answer as it comes through a login shell that prints something first.
fn read(fetch: &Fetch, output: &Output) -> Brought {
    let stdout = [b"Welcome!\n", output.stdout.as_slice()].concat();
    fetch.read(&Output { stdout, ..output.clone() })
}

fn kept(set: &str, file: &str) -> Place {
    Place::Kept { set: set.to_owned(), file: file.to_owned() }
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

/// A journal of so many lines.
fn journal_of(count: u64) -> Vec<String> {
    (1..=count)
        .map(|seq| {
            let what = What::Noted { step: "to-0.7/x".to_owned(), text: format!("\"{{\"sum\":\" no {seq}") };
            let at = Timestamp::from_second(1_800_000_000).unwrap();
            journal::line(&Event { seq, at, cluster: "acme".to_owned(), what }).unwrap()
        })
        .collect()
}

#[test]
fn what_was_put_comes_back_byte_for_byte_and_only_its_owner_reads_it() {
    let site = Site::new();
    let places = [
        (Place::Run, "{\"id\": 1}\n"),
        (Place::Plan("to-0.7".to_owned()), "a plan that ends without a newline, with 'quotes'"),
        (Place::Before("to-0.7".to_owned()), "\n\nfleet-0 end\n\u{0}\u{1b}"),
        (kept("secrets", "oas_one.json"), "hunter2"),
    ];
    for (place, text) in &places {
        site.put(
            RUN,
            place,
            "an older one, which is longer than the newer one is by far: it is replaced whole",
        );
        site.put(RUN, place, text);
    }
    site.plant(&format!("{RUN}/journal.ndjson"), "");
    let mut found = site.fetch(RUN).unwrap().unwrap();
    found.sort();
    let mut wanted: Vec<(Place, Vec<u8>)> =
        places.iter().map(|(place, text)| (place.clone(), text.as_bytes().to_vec())).collect();
    wanted.push((Place::Journal, Vec::new()));
    wanted.sort();
    assert_eq!(found, wanted);
    for folder in ["", RUN, &format!("{RUN}/to-0.7"), &format!("{RUN}/kept/secrets")] {
        assert_eq!(mode(&site.path(folder)), 0o700, "{folder}");
    }
    assert_eq!(mode(&site.path(&format!("{RUN}/kept/secrets/oas_one.json"))), 0o600);
}

#[test]
fn files_whose_line_is_cut_are_not_put_and_the_ones_before_them_stay() {
    let site = Site::new();
    site.put(RUN, &Place::Run, "before");
    let files =
        [(Place::Before("to-0.7".to_owned()), b"{}".to_vec()), (Place::Run, b"a longer one".to_vec())];
    let put = site.runs.put(RUN, &files);
    let shorter = site.runs.put(RUN, &[files[0].clone(), (Place::Run, b"a longer".to_vec())]);
    // The line of the one, the input of the other: what a host sees whose connection ends in the middle.
    let cut = Command::new("").then("", &put).stdin(shorter.input().unwrap().to_vec());
    let output = sh(&cut);
    assert!(!output.success());
    assert!(output.complaint().contains("run.json cannot be written"), "{}", output.complaint());
    assert_eq!(site.fetch(RUN).unwrap().unwrap(), [(Place::Run, b"before".to_vec())]);
    let left = |below: &str| fs::read_dir(site.path(below)).unwrap().count();
    assert_eq!(left(&format!("{RUN}/to-0.7")), 0, "what came whole beside it is not put either");
    assert_eq!(left(RUN), 2, "nothing is left beside it");

    assert!(sh(&put).success());
    let mut found = site.fetch(RUN).unwrap().unwrap();
    found.sort();
    assert_eq!(found, [files[1].clone(), files[0].clone()]);
}

#[test]
fn no_secret_stands_on_a_command_line() {
    let put = Runs::on("/spool").put(RUN, &[(kept("secrets", "a_b.json"), b"hunter2".to_vec())]);
    assert!(!put.line().contains("hunter2"));
    assert!(Runs::on("/spool").fetch(RUN).command().is_sensitive(), "it is written to no log");
}

#[test]
fn a_host_that_has_nothing_says_so() {
    let site = Site::new();
    assert_eq!(site.fetch(RUN), Ok(None));
    assert_eq!(site.list(), Vec::<String>::new());
    assert!(sh(&site.runs.prune(RUN)).success());
    assert!(sh(&site.runs.forget_secrets(RUN)).success());
}

#[test]
fn runs_are_listed_newest_first_and_names_that_are_not_fleets_are_passed_over() {
    let site = Site::new();
    for run in ["20261120T101500Z-abcd", "20261122T101500Z-abcd", "20261121T101500Z-abcd"] {
        site.put(run, &Place::Run, "{}");
    }
    site.plant("\u{1b}[31mred/run.json", "{}");
    site.plant("a b/run.json", "{}");
    site.plant("20261123T101500Z-none/other", "{}");
    let days: Vec<String> = site.list().iter().map(|run| run[6..8].to_owned()).collect();
    assert_eq!(days, ["22", "21", "20"]);
}

#[test]
fn an_answer_that_is_cut_anywhere_is_none() {
    let site = Site::new();
    site.put(RUN, &Place::Run, "{}");
    site.put(RUN, &kept("secrets", "a_b.json"), "hunter2");
    let (fetch, listing) = (site.runs.fetch(RUN), site.runs.list());
    let (whole, all) = (sh(fetch.command()), sh(listing.command()));
    let cut = |output: &Output, at: usize| Output { stdout: output.stdout[..at].to_vec(), ..output.clone() };
    for at in 0..whole.stdout.len() - 1 {
        assert!(matches!(fetch.read(&cut(&whole, at)), Err(Unreadable::Cut(_))), "cut at {at}");
    }
    for at in 0..all.stdout.len() - "end\n".len() {
        assert_eq!(listing.read(&cut(&all, at)), None, "cut at {at}");
    }
    assert_eq!(fetch.read(&Output { dropped: 1, ..whole }), Err(Unreadable::TooMuch));
}

#[test]
fn files_that_fleet_would_not_have_put_there_are_refused_by_name() {
    for (path, told) in [
        ("elsewhere.json", "elsewhere.json"),
        ("to-0.7/steps/x.log", "to-0.7/steps/x.log"),
        ("kept/secrets/a b.json", "a b.json"),
        ("kept/secrets/.profile", ".profile"),
        ("kept/secrets/\u{1b}[2J", "·[2J"),
        (".ssh/plan.json", ".ssh"),
        ("kept/a\nb/c.json", "kept/a"),
    ] {
        let site = Site::new();
        site.put(RUN, &Place::Run, "{}");
        site.plant(&format!("{RUN}/{path}"), "x");
        let Err(Unreadable::Strange(said)) = site.fetch(RUN) else { panic!("{path:?} was taken") };
        assert!(said.contains(told) && !said.contains('\u{1b}'), "{said:?}");
    }
}

#[test]
fn links_of_a_host_are_not_followed_and_a_file_that_is_too_large_is_not_taken() {
    let site = Site::new();
    site.put(RUN, &Place::Run, "{}");
    fs::create_dir(site.path(&format!("{RUN}/to-0.7"))).unwrap();
    symlink("/etc/passwd", site.path(&format!("{RUN}/to-0.7/plan.json"))).unwrap();
    assert_eq!(site.fetch(RUN).unwrap().unwrap().len(), 1);
    // Sparse: it takes no room.
    fs::File::create(site.path(&format!("{RUN}/to-0.7/before.json"))).unwrap().set_len(17 << 20).unwrap();
    let Err(Unreadable::Strange(said)) = site.fetch(RUN) else { panic!("it was taken") };
    assert_eq!(said, "to-0.7/before.json");
}

#[test]
fn only_the_newest_runs_stay_and_those_that_somebody_may_go_on_with() {
    let site = Site::new();
    let run = |day: u32| format!("202611{day:02}T101500Z-abcd");
    for day in 1..=9 {
        site.put(&run(day), &Place::Run, "{}");
    }
    site.put(&run(2), &kept("secrets", "a_b.json"), "hunter2");
    // The one that begins is kept even where its clock is behind.
    assert!(sh(&site.runs.prune(&run(1))).success());
    let stay = site.list();
    assert_eq!(stay, [run(9), run(8), run(7), run(6), run(2), run(1)]);
    assert_eq!(stay.len(), RUNS + 1);

    assert!(sh(&site.runs.forget_secrets(&run(2))).success());
    assert!(!site.path(&run(2)).join("kept").exists());
    assert!(sh(&site.runs.prune(&run(9))).success());
    assert_eq!(site.list(), [run(9), run(8), run(7), run(6), run(2)]);
}

#[test]
fn a_journal_whose_lines_came_twice_and_torn_is_the_journal_that_was_written() {
    let written = journal_of(6);
    let text = written.concat();
    // The last append but one came twice, the one before it was torn by a power cut: its rest stands before the next line.
    for cut in 1..written[3].len() {
        let host = [
            &written[..3].concat(),
            &written[3][..cut],
            &written[3..5].concat(),
            &written[3..5].concat(),
            &written[5],
        ]
        .concat();
        let kept = lines(host.as_bytes(), "acme").unwrap();
        assert_eq!(kept.text, text, "cut at {cut}");
        // Torn off its newline alone, it is whole.
        assert_eq!(kept.torn, usize::from(cut < written[3].len() - 1), "cut at {cut}");
    }
    for cut in 0..text.len() {
        let kept = lines(&text.as_bytes()[..cut], "acme").unwrap();
        assert!(text.starts_with(&kept.text), "cut at {cut}");
        assert!(text.len() - kept.text.len() < text.len() - cut + written[0].len(), "cut at {cut}");
    }
}

#[test]
fn a_journal_with_a_gap_with_two_stories_or_of_another_cluster_is_refused() {
    let written = journal_of(4);
    let said = |text: &str| lines(text.as_bytes(), "acme").unwrap_err().to_string();
    let gap = [&written[0], &written[2], &written[3]].map(String::as_str).concat();
    assert_eq!(said(&gap), "its journal is damaged: after line 1: line number 3 where 2 should be");

    let what = What::Finished { outcome: Outcome::Done };
    let at = Timestamp::from_second(1_800_000_001).unwrap();
    let other = journal::line(&Event { seq: 3, at, cluster: "acme".to_owned(), what }).unwrap();
    let twice = written.concat() + &other;
    assert!(matches!(lines(twice.as_bytes(), "acme"), Err(Damaged::Twice(3))));

    let flipped = written.concat().replace("no 2", "no 7");
    assert_eq!(said(&flipped), "its journal is damaged: after line 1: line number 3 where 2 should be");
    let other = lines(written.concat().as_bytes(), "globex").unwrap_err().to_string();
    assert!(other.contains("it is that of acme"), "{other}");
}
