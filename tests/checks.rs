//! Every check against facts files: `tests/checks/<check id>/<level>[-<fault>].json`, where the level is what the check must say.
//!
//! A file holds the facts that the check reads and no others; an after-check's file holds `{"before": …, "now": …}`.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test ends where its fixture is wrong"
)]

use std::collections::BTreeSet;
use std::path::Path;

use fleet::checks::{ALL, Check, Verdict, When, find};
use fleet::event::Level;
use fleet::facts::Facts;
use serde_json::Value;

/// What of [`Facts`] is no fact and cannot be unknown.
const NO_FACTS: [&str; 3] = ["schema", "cluster", "gathered_at"];

struct Case {
    check: &'static Check,
    /// `warn`, `block-ready-on-the-old-revision`.
    name: String,
    content: Value,
}

impl Case {
    fn judge(&self) -> Verdict {
        judge(self.check, &self.content)
    }

    fn level(&self) -> &str {
        self.name.split('-').next().unwrap()
    }

    fn title(&self) -> String {
        format!("{}/{}", self.check.id, self.name)
    }
}

fn judge(check: &Check, content: &Value) -> Verdict {
    let facts = |value: &Value| -> Facts { serde_json::from_value(value.clone()).unwrap() };
    match content.get("now") {
        Some(now) => (check.judge)(Some(&facts(&content["before"])), &facts(now)),
        None => (check.judge)(None, &facts(content)),
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn names_in(folder: &Path) -> BTreeSet<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

fn cases() -> Vec<Case> {
    let folder = root().join("tests/checks");
    let mut cases = Vec::new();
    for id in names_in(&folder) {
        let check = find(&id).unwrap_or_else(|| panic!("tests/checks/{id} is of no check"));
        for file in names_in(&folder.join(&id)) {
            let text = std::fs::read_to_string(folder.join(&id).join(&file)).unwrap();
            let content = serde_json::from_str(&text).unwrap_or_else(|why| panic!("{id}/{file}: {why}"));
            let name = file.strip_suffix(".json").expect("a case is a JSON file").to_owned();
            cases.push(Case { check, name, content });
        }
    }
    cases
}

#[test]
fn every_case_is_judged_as_its_name_says() {
    let wrong: Vec<String> = cases()
        .iter()
        .filter_map(|case| {
            let verdict = case.judge();
            (verdict.level.as_str() != case.level()).then(|| format!("{}: {verdict:?}", case.title()))
        })
        .collect();
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn every_verdict_says_what_was_seen() {
    for check in ALL {
        let said: Vec<String> = cases()
            .iter()
            .filter(|case| case.check.id == check.id)
            .map(|case| format!("{}: {}", case.name, case.judge().said))
            .collect();
        insta::assert_snapshot!(check.id, said.join("\n"));
    }
}

#[test]
fn every_check_has_a_case_of_each_level() {
    let cases = cases();
    for check in ALL {
        for level in ["pass", "warn", "block"] {
            let there = cases.iter().any(|case| case.check.id == check.id && case.level() == level);
            assert!(there, "tests/checks/{}/{level}.json is missing", check.id);
        }
    }
}

#[test]
fn a_check_that_knows_nothing_blocks() {
    let nothing = Facts::default();
    for check in ALL {
        let times: &[Option<&Facts>] = match check.when {
            When::Before => &[None],
            When::After | When::Always => &[None, Some(&nothing)],
        };
        for before in times {
            let verdict = (check.judge)(*before, &nothing);
            assert_eq!(verdict.level, Level::Block, "{}: {}", check.id, verdict.said);
            assert!(verdict.said.starts_with("cannot be judged: "), "{}: {}", check.id, verdict.said);
        }
    }
}

/// Takes each fact of each passing case away in turn: none may be one that the check does without.
#[test]
fn a_check_that_lacks_one_fact_blocks() {
    for case in cases().iter().filter(|case| case.level() == "pass") {
        let sides: &[&str] = if case.content.get("now").is_some() { &["/before", "/now"] } else { &[""] };
        for side in sides {
            let facts = case.content.pointer(side).unwrap().as_object().unwrap();
            for fact in facts.keys().filter(|fact| !NO_FACTS.contains(&fact.as_str())) {
                let mut content = case.content.clone();
                content.pointer_mut(side).unwrap()[fact] =
                    serde_json::json!({"unknown": "the host did not say"});
                let verdict = judge(case.check, &content);
                assert_eq!(
                    verdict.level,
                    Level::Block,
                    "{} without {side}/{fact}: {}",
                    case.title(),
                    verdict.said
                );
                assert!(verdict.said.contains("the host did not say"), "{}: {}", case.title(), verdict.said);
            }
        }
    }
}

#[test]
fn no_verdict_carries_a_control_character_to_the_terminal() {
    let facts: Facts = serde_json::from_value(serde_json::json!({
        "login": {"user": "ro\u{1b}[31mot\n", "uid": 0, "root": true}
    }))
    .unwrap();
    let judgements = fleet::checks::judge_all(None, &facts, &[]);
    let login = judgements.iter().find(|judgement| judgement.check == "login").unwrap();
    assert_eq!(login.said, "commands run as ro·[31mot·");
}

#[test]
fn every_check_is_one_file_and_one_heading_of_its_name() {
    let ids: BTreeSet<String> = ALL.iter().map(|check| check.id.to_owned()).collect();
    assert_eq!(ids.len(), ALL.len(), "an id is used twice");

    let mut files = names_in(&root().join("src/checks"));
    assert!(files.remove("mod.rs"));
    let from_files: BTreeSet<String> =
        files.iter().map(|file| file.strip_suffix(".rs").unwrap().replace('_', "-")).collect();
    assert_eq!(from_files, ids);

    let docs = std::fs::read_to_string(root().join("docs/checks.md")).unwrap();
    let headings: Vec<&str> = docs
        .lines()
        .filter_map(|line| line.strip_prefix("## "))
        .filter(|heading| find(heading).is_some())
        .collect();
    let table: Vec<&str> = ALL.iter().map(|check| check.id).collect();
    assert_eq!(headings, table, "docs/checks.md has one heading a check, in the order of the table");
}

#[test]
fn every_check_says_what_it_is_and_what_to_do() {
    for check in ALL {
        assert!(check.title.len() > 3, "{} has no title", check.id);
        assert!(check.remedy.len() > 20 && check.remedy.ends_with('.'), "{} has no remedy", check.id);
        assert!(!check.remedy.contains("  "), "{}: a line break left its indent in the remedy", check.id);
    }
}
