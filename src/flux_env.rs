//! `.flux.env`: the cluster's variables on this machine, and what they are against the cluster's Secret (guide row G2; facts sections 2.2
//! and 2.4).
//!
//! Pure. Values are secret: nothing here prints one, not even in an error.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use secrecy::zeroize::Zeroizing;
use serde::Serialize;

pub mod convert;

/// The file, in the cluster's directory.
pub const FILE: &str = ".flux.env";
/// Bytes that it may have; a Secret may have no more.
pub const LONGEST: u64 = 1 << 20;

/// Values by key.
pub type Values = BTreeMap<String, Zeroizing<Vec<u8>>>;

/// Reads the text of a file. Every line must mean the same to kustomize (which makes the Secret of it) and to a shell (`source`), and hold
/// none of the characters that upstream's installer refuses. An error is one sentence with file and line, and without the value.
pub fn parse(file: &Path, text: &[u8]) -> Result<Values, String> {
    let at = |line: usize, why: &str| format!("{}:{line}: {why}", file.display());
    let mut values = Values::new();
    for (index, bytes) in text.split(|byte| *byte == b'\n').enumerate() {
        let number = index.saturating_add(1);
        let line = std::str::from_utf8(bytes).map_err(|_| at(number, "this line is no UTF-8"))?;
        let line = line.trim_start_matches([' ', '\t']);
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (key, value) = line.split_once('=').ok_or_else(|| {
            at(
                number,
                "there is no `=`: kustomize would take the value from the environment; write KEY=VALUE",
            )
        })?;
        if !is_key(key) {
            return Err(at(
                number,
                "before the `=` must stand one name of letters, digits and _, and nothing else",
            ));
        }
        if let Some(why) = differs(value) {
            return Err(at(number, &format!("the value of {key} {why}")));
        }
        if values.insert(key.to_owned(), Zeroizing::new(value.as_bytes().to_vec())).is_some() {
            return Err(at(number, &format!("{key} stands twice")));
        }
    }
    if values.is_empty() {
        Err(format!("{}: there is no variable in it", file.display()))
    } else {
        Ok(values)
    }
}

fn is_key(key: &str) -> bool {
    let first = key.bytes().next().is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_');
    first && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// What is wrong with a value; none where kustomize and a shell read the same in it.
fn differs(value: &str) -> Option<String> {
    if let Some(refused) = value.chars().find(|c| matches!(c, '"' | '$')) {
        return Some(format!("holds {refused}, which upstream's installer refuses"));
    }
    if value.ends_with('\r') {
        return Some("ends with a carriage return: the file has line ends of another system".to_owned());
    }
    if value.starts_with('~') || value.contains(":~") {
        return Some("has a ~ at its beginning or after a colon, which a shell reads as a home folder and kustomize does not".to_owned());
    }
    let special = |c: &char| c.is_whitespace() || c.is_control() || "'\\`;&|<>()".contains(*c);
    let name = match value.chars().find(special)? {
        c if c.is_whitespace() => "a blank".to_owned(),
        c if c.is_control() => "a control character".to_owned(),
        c => c.to_string(),
    };
    Some(format!("holds {name}, which a shell reads in another way than kustomize"))
}

/// What becomes of one variable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Change {
    /// It is in the file alone.
    Added,
    /// It is another in the file.
    Changed,
    /// It is in the cluster alone: nothing becomes of it.
    OnlyThere,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Added => "(set), is not in the cluster",
            Self::Changed => "(changed)",
            Self::OnlyThere => "is in the cluster alone, and stays",
        })
    }
}

/// The variables that are not the same here and there, by key. Those that are the same do not stand in it.
#[must_use]
pub fn changes(here: &Values, there: &Values) -> BTreeMap<String, Change> {
    let ours = here.iter().filter_map(|(key, value)| match there.get(key) {
        None => Some((key.clone(), Change::Added)),
        Some(other) if **other != **value => Some((key.clone(), Change::Changed)),
        Some(_) => None,
    });
    let alone = there.keys().filter(|key| !here.contains_key(*key));
    ours.chain(alone.map(|key| (key.clone(), Change::OnlyThere))).collect()
}

/// Whether something is to be done.
#[must_use]
pub fn is_something(changes: &BTreeMap<String, Change>) -> bool {
    changes.values().any(|change| *change != Change::OnlyThere)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<(String, String)>, String> {
        let text_of = |value: &Zeroizing<Vec<u8>>| String::from_utf8(value.to_vec()).unwrap();
        let values = parse(Path::new("c/.flux.env"), text.as_bytes())?;
        Ok(values.iter().map(|(key, value)| (key.clone(), text_of(value))).collect())
    }

    /// What a shell makes of the file, and what kustomize does: the oracle for what is taken.
    #[test]
    fn what_is_taken_means_the_same_to_a_shell() {
        let text = "# of acme\n\ndomain=acme.example.org\n  ip_address=203.0.113.7\nempty=\nadmin_email=a+b@example.org\nodd=a=b#c,d:e/f*g?[h]{i}!%^\n";
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join(".flux.env");
        std::fs::write(&file, text).unwrap();
        let read = read(text).unwrap();
        assert_eq!(read.len(), 5);
        for (key, value) in read {
            let script = format!(". {}; printf %s \"${key}\"", file.display());
            let output = std::process::Command::new("sh").arg("-c").arg(script).output().unwrap();
            assert_eq!(String::from_utf8(output.stdout).unwrap(), value, "{key}");
        }
    }

    #[test]
    fn what_is_wrong_is_told_with_file_and_line_and_without_the_value() {
        for (line, why) in [
            ("password=hunter\"2", "holds \""),
            ("password=hunter$2", "holds $"),
            ("password=hunter 2", "holds a blank"),
            ("password=hunter2 ", "holds a blank"),
            ("password='hunter2'", "holds '"),
            ("password=hunter\\2", "holds \\"),
            ("password=hunter&2", "holds &"),
            ("password=~hunter2", "has a ~ at its beginning"),
            ("password=hunter2\r", "carriage return"),
            ("export password=hunter2", "must stand one name"),
            ("pass-word=hunter2", "must stand one name"),
            ("2password=hunter2", "must stand one name"),
            ("=hunter2", "must stand one name"),
            ("hunter2", "no `=`"),
            ("domain=hunter2", "stands twice"),
        ] {
            let said = read(&format!("domain=a\n{line}\n")).unwrap_err();
            assert!(said.starts_with("c/.flux.env:2: ") && said.contains(why), "{line:?}: {said}");
            assert!(!said.contains("hunter"), "{said}");
        }
        assert!(read("# nothing\n").unwrap_err().contains("no variable"));
        assert!(parse(Path::new("f"), b"a=\xff\n").unwrap_err().starts_with("f:1: "));
    }

    #[test]
    fn only_what_differs_is_a_change_and_what_is_there_alone_stays() {
        let values = |pairs: &[(&str, &str)]| -> Values {
            pairs
                .iter()
                .map(|(key, value)| ((*key).to_owned(), Zeroizing::new(value.as_bytes().to_vec())))
                .collect()
        };
        let there = values(&[("same", "1"), ("other", "1"), ("only_there", "1")]);
        let changes = changes(&values(&[("same", "1"), ("other", "2"), ("new", "")]), &there);
        let said: Vec<(&str, Change)> = changes.iter().map(|(key, change)| (key.as_str(), *change)).collect();
        let expected =
            [("new", Change::Added), ("only_there", Change::OnlyThere), ("other", Change::Changed)];
        assert_eq!(said, expected);
        assert!(is_something(&changes));
        assert!(!is_something(&super::changes(&values(&[("same", "1")]), &there)));
    }
}
