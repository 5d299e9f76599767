//! Generated known_hosts files: the lines that are found to name a host are those that `ssh-keygen -F` finds.

use std::cell::Cell;
use std::fs;
use std::process::Command;

use base64::Engine;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::*;

/// Names that are looked up: a host, the same on another port, an IPv6 address.
const NAMES: [&str; 4] = ["oak.example.org", "[oak.example.org]:2222", "192.0.2.7", "[2001:db8::7]:2222"];
/// Names and patterns that lines have; some say a name above, some nearly.
const PATTERNS: [&str; 22] = [
    "oak.example.org",
    "OAK.example.ORG",
    "[oak.example.org]:2222",
    "[Oak.example.org]:2222",
    "[oak.example.org]:22",
    "oak.example.org:2222",
    "[oak.example.org]",
    "*.example.org",
    "[*.example.org]:2222",
    "[oak.*]:*",
    "*",
    "?ak.example.org",
    "oak.example.or?",
    "oak?example.org?",
    "[o]ak.example.org",
    "192.0.2.7",
    "192.0.2.*",
    "[2001:db8::7]:2222",
    "2001:db8::7",
    "elm.example.org",
    "",
    "oak.exämple.org",
];

fn names() -> impl Strategy<Value = String> {
    let pattern = (proptest::sample::select(&PATTERNS[..]), prop::bool::weighted(0.2))
        .prop_map(|(pattern, excluded)| if excluded { format!("!{pattern}") } else { pattern.to_owned() });
    let patterns = prop::collection::vec(pattern, 1..4).prop_map(|patterns| patterns.join(","));
    let odd = proptest::sample::select(vec![
        "|1|",
        "|1|AAAA|AAAA",
        "|2|x|y",
        "|*",
        "||",
        "!",
        ",",
        "*,",
        "!!oak.example.org,*",
        "@",
        "#",
    ]);
    let too_long = Just(format!("oak.example.org,{},*", "x".repeat(1023)));
    let long = Just(format!("oak.example.org,{},*", "x".repeat(1022)));
    prop_oneof![
        12 => patterns,
        3 => proptest::sample::select(&NAMES[..]).prop_map(hashed),
        1 => proptest::sample::select(&NAMES[..]).prop_map(|name| hashed_with(&[7; 16], name)),
        1 => odd.prop_map(str::to_owned),
        1 => prop_oneof![too_long, long],
    ]
}

/// A public key of these parts, the first of which is its type.
fn from_parts(parts: &[&[u8]]) -> String {
    let with_length = |part: &&[u8]| [&u32::try_from(part.len()).unwrap().to_be_bytes()[..], part].concat();
    let blob: Vec<u8> = parts.iter().flat_map(with_length).collect();
    let blob = base64::engine::general_purpose::STANDARD.encode(blob);
    format!("{} {blob}", String::from_utf8_lossy(parts[0]))
}

/// A key, or what is none.
fn keys() -> impl Strategy<Value = String> {
    let security_key = from_parts(&[b"sk-ssh-ed25519@openssh.com", &[7; 32], b"ssh:"]);
    let rsa = from_parts(&[b"ssh-rsa", &[1, 0, 1], &[0x55; 256]]);
    let good: Vec<String> = vec![text(&ed25519()), text(&ecdsa()), rsa.clone(), security_key];
    let mut all = good.clone();
    for key in &good {
        all.push(key.replace(' ', "\t \t"));
        all.push(key[..key.len() - 5].to_owned());
        all.push(format!("{key}="));
        all.push(format!("{key}\r"));
        all.push(format!("# {key}"));
        all.push(key.split(' ').next().unwrap().to_owned());
        all.push(format!("{} AAAA", key.split(' ').next().unwrap()));
        all.push(format!("ssh-ed25519 {}", key.split(' ').nth(1).unwrap()));
        all.push(format!("ecdsa-sha2-nistp384 {}", key.split(' ').nth(1).unwrap()));
        all.push(format!("ssh-new@example.org {}", key.split(' ').nth(1).unwrap()));
    }
    all.push(rsa.replace("ssh-rsa", "rsa-sha2-256"));
    all.push("1024 35 1234567890".to_owned());
    all.push(String::new());
    prop_oneof![proptest::sample::select(good), proptest::sample::select(all)]
}

fn lines() -> impl Strategy<Value = String> {
    let blank = || proptest::sample::select(vec![" ", " ", " ", "\t", "  ", " \t "]);
    let indent = proptest::sample::select(vec!["", "", "", " ", "\t", " \t "]);
    let mark = proptest::sample::select(vec![
        "",
        "",
        "",
        "@revoked ",
        "@revoked ",
        "@cert-authority ",
        "@revoked\t",
        "@cert-authority\t",
        "@cert-authority  \t",
        "@new ",
        "@ ",
        "@revoked @cert-authority ",
        "@REVOKED ",
    ]);
    let comment = proptest::sample::select(vec!["", "", " by hand", "\tby hand # today", " #", "  ", "\r"]);
    let line = (indent, mark, names(), blank(), keys(), comment).prop_map(
        |(indent, mark, names, blank, key, comment)| format!("{indent}{mark}{names}{blank}{key}{comment}"),
    );
    let other = proptest::sample::select(vec![
        "",
        "   ",
        "\t",
        "# oak.example.org",
        "oak.example.org",
        "@revoked",
        "\r",
    ]);
    prop_oneof![9 => line, 1 => other.prop_map(str::to_owned), 1 => "[ -~]{0,30}"]
}

/// What `ssh-keygen` finds: line, mark and fingerprint, as it prints them.
fn found_by_keygen(name: &str, file: &std::path::Path) -> Vec<(usize, Mark, String)> {
    let mut keygen = Command::new("ssh-keygen");
    let output = keygen.args(["-l", "-F", name, "-f"]).arg(file).output();
    let output = output.expect("ssh-keygen is not here: install Debian's openssh-client");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut rows = text.lines();
    let mut found = Vec::new();
    while let (Some(head), Some(key)) = (rows.next(), rows.next()) {
        let mut words = head.split(' ').skip_while(|word| *word != "line").skip(1);
        let number = words.next().unwrap().parse().unwrap();
        let mark = match words.next().unwrap_or_default() {
            "CA" => Mark::Authority,
            "REVOKED" => Mark::Revoked,
            _ => Mark::Plain,
        };
        let fingerprint = key.split(' ').find(|word| word.starts_with("SHA256:")).unwrap().to_owned();
        found.push((number, mark, fingerprint));
    }
    found
}

#[test]
fn the_lines_that_name_a_host_are_those_that_ssh_keygen_finds() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("known_hosts");
    let seen = Cell::new([0_usize; 3]);
    let files = prop::collection::vec((lines(), proptest::sample::select(vec!["\n", "\n", "\r\n"])), 1..12);
    let mut runner = TestRunner::new(Config { cases: 300, failure_persistence: None, ..Config::default() });
    let verdict = runner.run(&(files, proptest::sample::select(&NAMES[..])), |(lines, name)| {
        let text: String = lines.iter().flat_map(|(line, end)| [line.as_str(), end]).collect();
        fs::write(&file, &text).unwrap();
        let mut found = Vec::new();
        for (index, text) in text.lines().enumerate() {
            // The one difference, on purpose: see `marked`.
            let tabbed = text.trim_start_matches([' ', '\t']).starts_with("@revoked\t");
            if let Some(line) = Line::parse(text, [name, name]).filter(|line| line.names(name) && !tabbed) {
                found.push((index + 1, line.mark, line.key.fingerprint(HashAlg::Sha256).to_string()));
            }
        }
        let mut counts = seen.get();
        for (_, mark, _) in &found {
            counts[*mark as usize] += 1;
        }
        seen.set(counts);
        prop_assert_eq!(found, found_by_keygen(name, &file), "{}", text);
        Ok(())
    });
    verdict.unwrap();
    assert!(seen.get().iter().all(|count| *count > 3), "too few lines were found: {seen:?}");
}
