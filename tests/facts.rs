//! Recorded answers in, facts out: `tests/facts/<fact>/<case>.txt` is what a host said, `<case>.json` what is made of it. Several
//! answers in a file are parted by a line of their own. With `FLEET_RECORD` set, the expected files are written anew.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot be set up says so at once")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use fleet::facts::kubernetes::{Groups, List};
use fleet::facts::{self, Known};
use serde::Serialize;
use serde_json::Value;

#[path = "facts/gathering.rs"]
mod gathering;
#[path = "facts/hostile.rs"]
mod hostile;

/// What parts the answers of one file.
const NEXT: &str = "=== next answer ===\n";

type Reader = fn(&[&str]) -> Result<Value, String>;

/// Every fact that is read from recorded answers.
const READERS: &[(&str, Reader)] = &[
    ("certificates", |said| json(facts::certificates::read(said[0], &list(said[1])?))),
    ("claims", |said| json(facts::claims::read(&list(said[0])?))),
    ("disks", |said| json(facts::disks::read(said[0]))),
    ("flux", |said| json(facts::flux::read(&list(said[0])?, &list(said[1])?, &Groups::read(said[2])?))),
    ("identity", |said| json(facts::identity::read(said[0], &list(said[1])?))),
    ("k3s", |said| json(facts::k3s::read(said[0]))),
    ("login", |said| json(facts::login::read(said[0]))),
    ("memory", |said| json(facts::memory::read(said[0]))),
    ("nightly", |said| json(facts::nightly::read(&list(said[0])?))),
    ("nodes", |said| json(facts::nodes::read(&list(said[0])?))),
    ("os", |said| json(facts::os::read(said[0]))),
    ("overrides", |said| json(Ok(facts::overrides::read(&list(said[0])?, &facts::secrets::read(said[1])?)))),
    ("packages", |said| json(facts::packages::read(said[0]))),
    ("pods", |said| json(facts::pods::read(&list(said[0])?))),
    ("secrets", |said| json(facts::secrets::read(said[0]))),
    ("timers", |said| json(facts::timers::read(said[0]))),
    ("tools", |said| json(facts::tools::read(said[0]))),
    ("upgrades", |said| json(facts::upgrades::read(&list(said[0])?, &list(said[1])?))),
    ("variables", |said| json(facts::variables::read(said[0]))),
    ("volumes", |said| {
        json(facts::volumes::read(&list(said[0])?).and_then(|v| facts::volumes::measure(v, said[1])))
    }),
    ("web", |said| {
        json(facts::web::hosts(&list(said[0])?).and_then(|hosts| facts::web::read(&hosts, said[1])))
    }),
];

fn json<T: Serialize>(fact: Result<T, String>) -> Result<Value, String> {
    fact.map(|fact| serde_json::to_value(fact).unwrap())
}

fn list(text: &str) -> Result<List, String> {
    List::read(text)
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/facts")
}

#[test]
fn recorded_answers_are_read_as_expected() {
    let mut wrong = Vec::new();
    for (fact, read) in READERS {
        let mut cases: Vec<PathBuf> = fs::read_dir(folder().join(fact))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.extension().is_some_and(|extension| extension == "txt"))
            .collect();
        cases.sort();
        assert!(cases.len() > 1 || *fact == "claims", "{fact} has too few cases");
        for case in cases {
            let text = fs::read_to_string(&case).unwrap();
            let said: Vec<&str> = text.split(NEXT).collect();
            let found = serde_json::to_value(Known::from(read(&said))).unwrap();
            let beside = case.with_extension("json");
            if std::env::var_os("FLEET_RECORD").is_some() {
                fs::write(&beside, serde_json::to_string_pretty(&found).unwrap() + "\n").unwrap();
            }
            let expected: Value = serde_json::from_str(&fs::read_to_string(&beside).unwrap()).unwrap();
            if found != expected {
                wrong.push(format!("{}: {found:#}", case.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_folder_of_recorded_answers_has_a_reader() {
    let folders: BTreeSet<String> = fs::read_dir(folder())
        .unwrap()
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.path().is_dir() && entry.file_name() != "gather")
        .map(|entry| entry.file_name().into_string().unwrap())
        .collect();
    let readers: BTreeSet<String> = READERS.iter().map(|(fact, _)| (*fact).to_owned()).collect();
    assert_eq!(folders, readers);
}

#[test]
fn no_planted_secret_is_in_any_fact() {
    for (fact, _) in READERS {
        for entry in fs::read_dir(folder().join(fact)).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|extension| extension == "json") {
                let text = fs::read_to_string(&path).unwrap();
                assert!(!text.contains("hunter") && !text.contains("aHVudGVyMg"), "{}", path.display());
            }
        }
    }
}
