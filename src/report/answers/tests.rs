use super::*;
use crate::event::{Left, Outcome};

fn printed(code: u32, stdout: &str, stderr: &str) -> Answer {
    let failure = Failure::new("command-failed", "it failed");
    let outcome = match code {
        0 => Outcome::Done,
        _ => Outcome::Failed { step: None, state: Left::Clean, failure },
    };
    let output = Output { exit: Exit::Code(code), stdout: stdout.into(), stderr: stderr.into(), dropped: 0 };
    Answer { outcome, output: Some(output), took_ms: 12 }
}

fn silent(outcome: Outcome) -> Answer {
    Answer { outcome, output: None, took_ms: 12 }
}

fn unreachable(why: &str) -> Answer {
    silent(Outcome::Unreachable { failure: Failure::new("unreachable", why) })
}

fn show(answers: &[(&str, Answer)], how: How) -> String {
    let names: Vec<String> = answers.iter().map(|(name, _)| (*name).to_owned()).collect();
    let map = answers.iter().map(|(name, answer)| ((*name).to_owned(), answer.clone())).collect();
    let answered = Answered::new(&names, &map);
    match how {
        How::Folded => answered.folded(),
        How::Each => answered.each(),
        How::Json => answered.json("20261122-101500-abcd").unwrap(),
    }
}

#[derive(Clone, Copy)]
enum How {
    Folded,
    Each,
    Json,
}

/// So many lines that begin with this word.
fn long(word: &str) -> String {
    let mut text = String::new();
    for line in 0..1000 {
        writeln!(text, "{word} {line}").unwrap();
    }
    text
}

const RELEASE: &str = "Debian GNU/Linux\nversion 12\nkernel 6.1\nk3s 1.27\n";

#[test]
fn equal_answers_are_shown_once_and_odd_ones_as_their_difference() {
    let mut all: Vec<(String, Answer)> =
        (1..=6).map(|index| (format!("web{index}"), printed(0, RELEASE, ""))).collect();
    all[3].1 = printed(0, &RELEASE.replace("12", "11"), "");
    all.push(("zoo".into(), printed(2, RELEASE, "sh: 1: k4s: not found\n")));
    all.push(("zulu".into(), unreachable("cannot reach root@203.0.113.9:22: refused")));
    all.push(("zuse".into(), unreachable("cannot reach root@203.0.113.9:22: refused")));
    let all: Vec<(&str, Answer)> = all.iter().map(|(name, answer)| (name.as_str(), answer.clone())).collect();
    insta::assert_snapshot!(show(&all, How::Folded));
}

#[test]
fn answers_that_differ_on_every_host_are_not_compared() {
    let long = long("line");
    let all: Vec<(String, Answer)> = (1..=30)
        .map(|index| (format!("web{index:02}"), printed(0, &format!("web{index}\n{long}"), "")))
        .collect();
    let all: Vec<(&str, Answer)> = all.iter().map(|(name, answer)| (name.as_str(), answer.clone())).collect();
    let text = show(&all, How::Folded);
    assert!(!text.contains("@@"), "{text}");
    assert_eq!(text.matches("981 more lines").count(), ODD);
    assert!(text.contains("10 different answers more, from web[21-30]."), "{text}");
    assert!(show(&all, How::Each).lines().count() > 30_000);
}

#[test]
fn a_wholly_different_answer_beside_a_majority_is_shown_by_its_head() {
    let all = [
        ("a", printed(0, &long("a"), "")),
        ("b", printed(0, &long("a"), "")),
        ("c", printed(0, &long("c"), "")),
        ("d", printed(0, "short\n", "")),
    ];
    let text = show(&all, How::Folded);
    assert!(!text.contains("@@"), "{text}");
    assert!(text.contains("(980 more lines;"), "{text}");
    assert!(text.contains("1 of 4 hosts, exit status 0: d\nshort\n"), "{text}");
}

#[test]
fn answers_that_only_look_equal_are_told_apart() {
    let all = [
        ("a", printed(0, "x\u{1b}[31m\n", "")),
        ("b", printed(0, "x\u{1b}[31m\n", "")),
        ("c", printed(0, "x\u{7}[31m\n", "")),
        ("d", printed(1, "x\u{1b}[31m\n", "")),
    ];
    let text = show(&all, How::Folded);
    assert_eq!(text.matches("(equal as shown here").count(), 2, "{text}");
    assert!(!text.contains('\u{1b}') && !text.contains('\u{7}'));
}

#[test]
fn nothing_of_a_host_acts_upon_the_terminal() {
    let hostile = "a\u{1b}]0;title\u{7}\u{9b}31m\u{202e}\rb\tc\n";
    let all = [("a", printed(0, hostile, hostile)), ("b", unreachable(hostile))];
    for text in [show(&all, How::Folded), show(&all, How::Each)] {
        assert!(text.chars().all(|c| c == '\n' || printable(&c.to_string()) == c.to_string()), "{text:?}");
    }
    let json = show(&all, How::Json);
    assert!(json.chars().all(|c| c == '\n' || printable(&c.to_string()) == c.to_string()), "{json:?}");
    let back: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(back["hosts"][0]["stdout"], hostile, "and programs get it whole");
}

#[test]
fn what_was_not_kept_is_said() {
    let mut answer = printed(0, "head\n", "");
    answer.output.as_mut().unwrap().dropped = 77;
    let text = show(&[("a", answer)], How::Folded);
    assert!(text.contains("exit status 0, 77 bytes more not kept (see --limit): a"), "{text}");
}

#[test]
fn programs_get_every_host_and_who_answered_alike() {
    let all = [
        ("a", printed(0, "yes\n", "")),
        ("b", printed(3, "no\n", "why\n")),
        ("c", printed(0, "yes\n", "")),
        ("d", unreachable("gone")),
    ];
    insta::assert_snapshot!(show(&all, How::Json));
}

#[test]
fn whoever_was_never_begun_is_named_for_the_next_command() {
    let names = ["a".to_owned(), "b".to_owned(), "c".to_owned()];
    let halted = silent(Outcome::Halted { failure: Failure::new("budget", "never begun: too much failed") });
    let answers = BTreeMap::from([("a".to_owned(), printed(1, "", "")), ("b".to_owned(), halted)]);
    let answered = Answered::new(&names, &answers);
    assert_eq!(answered.not_sent().as_deref(), Some("b,c"));
    assert!(answered.folded().contains("1 host, not begun: c"));
    assert!(answered.folded().contains("b: never begun: too much failed"));
}
