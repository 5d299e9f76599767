//! Who each of the old users is now: the map that an operator writes, and what is to be done with it. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::Serialize;

/// Bytes of a user's id that Nextcloud keeps.
const LONGEST: usize = 64;
/// What stands before the names that single sign-on gave before 0.8 (guide, "Your SSO users will have new usernames").
const PREFIX: &str = "oas-";

/// An old user and the new one, as Nextcloud calls them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Pair {
    /// Whose files they are.
    pub old: String,
    /// Whose they become.
    pub new: String,
}

/// How a pair stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Standing {
    /// Both are there.
    Ready,
    /// There is no such user.
    NoUser(String),
    /// Its files were transferred, to this user.
    Transferred(String),
    /// A transfer to this user was begun, and nobody knows how it ended.
    Begun(String),
}

/// Reads a map: `old,new` a line, or a table `"old" = "new"` where the file's name ends in `.toml`. Two that lead to one user are
/// refused, for people's files would lie together. An error is one sentence with the file.
pub fn read(file: &Path, text: &str) -> Result<Vec<Pair>, String> {
    let at = |why: String| format!("{}: {why}", file.display());
    let is_toml = file.extension().is_some_and(|end| end == "toml");
    let pairs = if is_toml { of_toml(text) } else { of_csv(text) }.map_err(at)?;
    let (mut olds, mut news) = (BTreeSet::new(), BTreeSet::new());
    for Pair { old, new } in &pairs {
        for name in [old, new] {
            if name.is_empty() || name.len() > LONGEST || name.chars().any(char::is_control) {
                return Err(at(format!(
                    "{name:?} is no user of Nextcloud: 1 to {LONGEST} bytes, none a control character"
                )));
            }
        }
        if !olds.insert(old) || !news.insert(new) {
            return Err(at(format!("{old:?} or {new:?} stands twice")));
        }
    }
    if let Some(both) = olds.intersection(&news).next() {
        return Err(at(format!("{both:?} is an old user and a new one")));
    }
    if pairs.is_empty() { Err(at("there is no user in it".to_owned())) } else { Ok(pairs) }
}

fn of_toml(text: &str) -> Result<Vec<Pair>, String> {
    let table: BTreeMap<String, String> = toml::from_str(text)
        .map_err(|error| format!("this is no table of \"old\" = \"new\": {}", error.message()))?;
    Ok(table.into_iter().map(|(old, new)| Pair { old, new }).collect())
}

fn of_csv(text: &str) -> Result<Vec<Pair>, String> {
    let mut reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .trim(csv::Trim::All)
        .comment(Some(b'#'))
        .flexible(true)
        .from_reader(text.as_bytes());
    let mut pairs = Vec::new();
    for record in reader.records() {
        let record = record.map_err(|error| error.to_string())?;
        let line = record.position().map_or(0, csv::Position::line);
        match record.iter().collect::<Vec<_>>()[..] {
            ["old", "new"] => {}
            [old, new] => pairs.push(Pair { old: old.to_owned(), new: new.to_owned() }),
            _ => {
                return Err(format!(
                    "line {line}: old user and new user are wanted, with a comma between them"
                ));
            }
        }
    }
    Ok(pairs)
}

/// The pairs as Nextcloud calls their users: the old one with what single sign-on put before it, unless only the bare name is there.
#[must_use]
pub(super) fn resolve(pairs: &[Pair], users: &BTreeMap<String, String>) -> Vec<Pair> {
    let named = |Pair { old, new }: &Pair| {
        let full = format!("{PREFIX}{old}");
        let bare = !users.contains_key(&full) && (old.starts_with(PREFIX) || users.contains_key(old));
        Pair { old: if bare { old.clone() } else { full }, new: new.clone() }
    };
    pairs.iter().map(named).collect()
}

/// How a pair stands, by the users and by the mark of its old user.
#[must_use]
pub(super) fn standing(pair: &Pair, users: &BTreeMap<String, String>, mark: Option<&str>) -> Standing {
    if let Some(absent) = [&pair.old, &pair.new].into_iter().find(|name| !users.contains_key(*name)) {
        return Standing::NoUser(absent.clone());
    }
    match mark.and_then(|mark| mark.split_once(' ')) {
        Some(("done", new)) => Standing::Transferred(new.to_owned()),
        Some(("begun", new)) => Standing::Begun(new.to_owned()),
        _ => Standing::Ready,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(old: &str, new: &str) -> Pair {
        Pair { old: old.into(), new: new.into() }
    }

    #[test]
    fn a_map_is_read_from_lines_or_a_table_and_a_strange_one_is_refused() {
        let csv = |text: &str| read(Path::new("map.csv"), text);
        let both = [pair("editor", "stackspin-1"), pair("o'clock, $x", "stackspin-2")];
        assert_eq!(
            csv("old,new\n# of acme\neditor, stackspin-1\n\"o'clock, $x\",stackspin-2\n").unwrap(),
            both
        );
        let toml = "editor = \"stackspin-1\"\n\"o'clock, $x\" = \"stackspin-2\"\n";
        assert_eq!(read(Path::new("map.toml"), toml).unwrap(), both);
        for (text, why) in [
            ("", "no user in it"),
            ("editor\n", "line 1: old user and new user"),
            ("editor,b,c\n", "line 1: old user and new user"),
            ("editor,\n", "is no user of Nextcloud"),
            ("editor,x\nboard,x\n", "stands twice"),
            ("editor,x\neditor,y\n", "stands twice"),
            ("editor,board\nboard,x\n", "an old user and a new one"),
            ("\"a\nb\",x\n", "is no user of Nextcloud"),
        ] {
            let said = csv(text).unwrap_err();
            assert!(said.starts_with("map.csv: ") && said.contains(why), "{text:?}: {said}");
        }
        assert!(read(Path::new("map.toml"), "editor = 1\n").unwrap_err().contains("no table"));
    }

    #[test]
    fn old_names_get_their_prefix_and_both_users_must_be_there() {
        let users = ["oas-editor", "board", "oas-board", "oas-oas-team", "local", "stackspin-1"];
        let users: BTreeMap<String, String> =
            users.iter().map(|name| ((*name).to_owned(), String::new())).collect();
        let old = |name: &str| resolve(&[pair(name, "stackspin-1")], &users).remove(0).old;
        assert_eq!(old("editor"), "oas-editor");
        assert_eq!(old("oas-editor"), "oas-editor");
        assert_eq!(old("board"), "oas-board");
        assert_eq!(old("oas-team"), "oas-oas-team");
        assert_eq!(old("local"), "local");
        assert_eq!(old("guest"), "oas-guest");
        let of = |old: &str, new: &str, mark| standing(&pair(old, new), &users, mark);
        assert_eq!(of("oas-editor", "stackspin-1", None), Standing::Ready);
        assert_eq!(of("oas-editor", "stackspin-1", Some("The setting does not exist")), Standing::Ready);
        assert_eq!(of("oas-editor", "stackspin-1", Some("done x y")), Standing::Transferred("x y".into()));
        assert_eq!(of("oas-editor", "stackspin-1", Some("begun x")), Standing::Begun("x".into()));
        assert_eq!(of("oas-guest", "stackspin-1", None), Standing::NoUser("oas-guest".into()));
        assert_eq!(of("oas-editor", "guest", None), Standing::NoUser("guest".into()));
    }
}
