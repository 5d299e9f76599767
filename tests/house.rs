//! The rules of the house, held by a test: floors, tables, docs headings, words.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test ends where what it stands on is wrong")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use fleet::{checks, migrations, remedies};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: impl AsRef<Path>) -> String {
    let path = root().join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Every `.rs` file below `src`, with its path relative to `src`.
fn sources() -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut folders = vec![root().join("src")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|ext| ext == "rs") {
                let name = path.strip_prefix(root().join("src")).unwrap().display().to_string();
                found.push((name, fs::read_to_string(path).unwrap()));
            }
        }
    }
    found.sort();
    found
}

/// Module → floor, as `lib.rs` tells it.
fn floors() -> BTreeMap<String, usize> {
    let mut floor = 0;
    let mut floors = BTreeMap::new();
    for line in read("src/lib.rs").lines() {
        if line.starts_with("// floor: ") {
            floor += 1;
        } else if let Some(module) = line.strip_prefix("pub mod ").and_then(|rest| rest.strip_suffix(';')) {
            assert!(floor > 0, "{module} stands on no floor");
            floors.insert(module.to_owned(), floor);
        }
    }
    assert_eq!(floor, 5, "words, knowledge, world, work, faces");
    floors
}

/// Modules that a source text names with `crate::`, `crate::{a, b}` too.
fn used(text: &str) -> BTreeSet<String> {
    let mut modules = BTreeSet::new();
    for (at, _) in text.match_indices("crate::") {
        if text[..at].ends_with('$') {
            continue;
        }
        let rest = &text[at + "crate::".len()..];
        if let Some(list) = rest.strip_prefix('{') {
            let mut depth = 1;
            let mut word = String::new();
            for c in list.chars() {
                match c {
                    '{' => depth += 1,
                    '}' => depth -= 1,
                    _ => {}
                }
                if depth == 1 && (c.is_alphanumeric() || c == '_') {
                    word.push(c);
                } else if !word.is_empty() && depth <= 1 && (c == ',' || c == ':' || c == '}') {
                    modules.insert(std::mem::take(&mut word));
                } else if c == ',' {
                    word.clear();
                }
                if depth == 0 {
                    break;
                }
            }
        } else {
            modules.insert(rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect());
        }
    }
    modules
}

fn module_of(file: &str) -> String {
    file.split('/').next().unwrap().trim_end_matches(".rs").to_owned()
}

#[test]
fn no_module_uses_a_later_floor() {
    let floors = floors();
    let mut seen = 0;
    for (file, text) in sources() {
        let Some(floor) = floors.get(&module_of(&file)) else {
            assert!(matches!(file.as_str(), "lib.rs" | "main.rs"), "{file} is not on the map in lib.rs");
            continue;
        };
        for module in used(&text) {
            if let Some(other) = floors.get(&module) {
                assert!(other <= floor, "{file} (floor {floor}) uses {module} of the later floor {other}");
                seen += 1;
            }
        }
    }
    assert!(seen > 50, "the scan found only {seen} uses: it no longer reads the sources");
}

#[test]
fn there_are_no_circles_between_modules() {
    let floors = floors();
    let mut uses: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (file, text) in sources() {
        let module = module_of(&file);
        for other in used(&text) {
            if other != module && floors.contains_key(&other) && floors.contains_key(&module) {
                uses.entry(module.clone()).or_default().insert(other);
            }
        }
    }
    let mut remaining = uses.clone();
    loop {
        let leaves: Vec<String> = remaining
            .iter()
            .filter(|(_, others)| others.iter().all(|other| !remaining.contains_key(other)))
            .map(|(module, _)| module.clone())
            .collect();
        if leaves.is_empty() {
            break;
        }
        for leaf in leaves {
            remaining.remove(&leaf);
        }
    }
    assert!(remaining.is_empty(), "modules in a circle: {remaining:#?}");
}

/// Files of a growing list: everything in the folder but `mod.rs` and what the list's machinery is called.
fn list(folder: &str, not: &[&str]) -> BTreeSet<String> {
    fs::read_dir(root().join("src").join(folder))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter_map(|name| name.strip_suffix(".rs").map(str::to_owned))
        .filter(|name| name != "mod" && !not.contains(&name.as_str()))
        .collect()
}

#[test]
fn every_check_migration_and_remedy_is_a_file_in_its_table_with_a_heading_in_the_docs() {
    let kebab = |id: &str| id.replace(['-', '.'], "_");
    let tables: [(&str, &str, Vec<&str>); 3] = [
        ("checks", "docs/checks.md", checks::ALL.iter().map(|check| check.id).collect()),
        ("migrations", "docs/migrations.md", migrations::ALL.iter().map(|migration| migration.id).collect()),
        ("remedies", "docs/remedies.md", remedies::ALL.iter().map(|remedy| remedy.id).collect()),
    ];
    for (folder, page, ids) in tables {
        let unique: BTreeSet<String> = ids.iter().map(|id| kebab(id)).collect();
        assert_eq!(unique.len(), ids.len(), "an id stands twice in {folder}::ALL");
        assert_eq!(unique, list(folder, &[]), "files in src/{folder} and ids in {folder}::ALL");
        let docs = read(page);
        for id in ids {
            assert!(docs.lines().any(|line| line == format!("## {id}")), "{page} has no heading `## {id}`");
        }
    }
    assert!(checks::ALL.len() >= 15);
}

#[test]
fn the_ladder_goes_up_without_a_gap_and_has_no_rung_twice() {
    for pair in migrations::ALL.windows(2) {
        assert_eq!(pair[0].to, pair[1].from, "{} and {}", pair[0].id, pair[1].id);
    }
    for migration in migrations::ALL {
        assert!(migration.from < migration.to, "{}", migration.id);
    }
}

/// The anchor that a Markdown heading gets.
fn anchor(heading: &str) -> String {
    heading
        .trim_start_matches('#')
        .trim()
        .to_lowercase()
        .chars()
        .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'))
        .map(|c| if c == ' ' { '-' } else { c })
        .collect()
}

#[test]
fn every_page_and_heading_that_a_message_points_to_is_there() {
    let mut pointed = 0;
    for (file, text) in sources() {
        for (at, _) in text.match_indices("docs/") {
            let target: String =
                text[at..].chars().take_while(|c| c.is_alphanumeric() || "/._-#".contains(*c)).collect();
            let target = target.trim_end_matches('.');
            let (page, heading) =
                target.split_once('#').map_or((target, ""), |(page, heading)| (page, heading));
            if page.strip_suffix(".md").is_none() {
                continue;
            }
            let docs = read(page);
            pointed += 1;
            let there = docs.lines().filter(|line| line.starts_with('#')).any(|line| anchor(line) == heading);
            assert!(heading.is_empty() || there, "src/{file} points to {target}, which has no such heading");
        }
    }
    assert!(pointed > 10, "only {pointed} pointers found");
}

#[test]
fn russh_is_named_by_ssh_and_by_the_labs_server_alone() {
    for (file, text) in sources() {
        let allowed = file.starts_with("ssh/") || file.starts_with("lab/") || file == "main.rs";
        let named = text.lines().any(|line| line.contains("russh::") && !line.trim_start().starts_with("//"));
        assert!(allowed || !named, "{file} names russh");
    }
}

#[test]
fn production_code_does_not_know_the_lab() {
    for (file, text) in sources() {
        let face = matches!(module_of(&file).as_str(), "lab" | "commands" | "cli" | "lib" | "main");
        assert!(face || !used(&text).contains("lab"), "{file} uses the lab");
    }
}

#[test]
fn tasks_are_started_in_rollout_alone() {
    for (file, text) in sources() {
        let allowed = file.starts_with("rollout/") || file.starts_with("lab/");
        let production = text.split("#[cfg(test)]").next().unwrap();
        assert!(
            allowed
                || file.ends_with("tests.rs")
                || file.contains("/tests/")
                || !production.contains("tokio::spawn("),
            "{file} starts a task"
        );
    }
}

#[test]
fn the_words_that_mean_nothing_are_not_used() {
    let banned =
        ["manager", "handler", "helper", "util", "utils", "common", "context", "operation", "phase", "stage"];
    for (file, _) in sources() {
        for word in file.trim_end_matches(".rs").split(['/', '_']) {
            // The package manager is what it is called.
            assert!(
                !banned.contains(&word) || file == "checks/package_manager.rs",
                "src/{file}: call it what it is"
            );
        }
    }
}

/// A fault that does not go into the code any more shows nothing (`tests/crash/mutate`).
#[test]
fn every_fault_that_the_crash_table_must_catch_still_goes_into_the_code() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let patches = root.join("tests/crash/mutants");
    let patches: Vec<PathBuf> = fs::read_dir(patches).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(patches.len() >= 7, "{patches:?}");
    for patch in patches {
        let applies =
            Command::new("git").args(["apply", "--check"]).arg(&patch).current_dir(root).output().unwrap();
        assert!(applies.status.success(), "{}", String::from_utf8_lossy(&applies.stderr));
    }
}

/// Each file that a row names, with the tests that follow it.
#[test]
fn every_test_that_the_guides_rows_name_is_there() {
    let (mut file, mut count) = (String::new(), 0);
    // What stands between backquotes is every second piece.
    for word in read("docs/guide-rows.md").lines().filter(|line| line.starts_with('|')).flat_map(quoted) {
        if Path::new(&word).extension().is_some_and(|end| end == "rs") {
            file = read(&word);
        } else if word.matches('_').count() > 1 {
            assert!(file.contains(&format!("fn {word}(")), "there is no test {word}");
            count += 1;
        }
    }
    assert!(count > 30, "{count} tests are named");
}

fn quoted(line: &str) -> Vec<String> {
    line.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}
