//! Ansible inventories in its own INI format, as its `ini` plugin reads them.

use std::collections::BTreeMap;
use std::path::Path;

use super::ansible::{Tree, Var, Vars};
use super::value::Value;
use super::{Asked, Found, ImportError, Source, words};

pub(super) const SOURCE: Source = Source {
    id: "ansible-ini",
    about: "an Ansible inventory in INI format, with group_vars and host_vars beside it",
    read,
};

fn read(asked: &Asked) -> Result<Found, ImportError> {
    let tree = parse(&asked.path, &super::text(&asked.path)?)?;
    tree.found(&asked.path, asked.path.parent(), asked)
}

/// What the lines of a section are.
#[derive(Clone, Copy, PartialEq)]
enum Lines {
    Hosts,
    Children,
    Vars,
}

/// The groups and hosts that a file describes.
pub(super) fn parse(file: &Path, text: &str) -> Result<Tree, ImportError> {
    let mut tree = Tree::default();
    // Groups that something was said of before they were declared: what would be missing, and where.
    let mut undeclared: BTreeMap<String, (usize, String)> = BTreeMap::new();
    let (mut group, mut lines) = ("ungrouped".to_owned(), Lines::Hosts);
    for (number, line) in text.lines().enumerate() {
        let number = number + 1;
        let place = format!("{}:{number}", file.display());
        let fault = |what: String| ImportError::at(&place, what);
        let line = line.trim();
        if line.is_empty() || line.starts_with([';', '#']) {
            continue;
        }
        if let Some((name, kind)) = section(line) {
            lines = match kind {
                "hosts" => Lines::Hosts,
                "children" => Lines::Children,
                "vars" => Lines::Vars,
                other => {
                    return Err(fault(format!(
                        "[{name}:{other}] is no section: hosts, children and vars are"
                    )));
                }
            };
            if lines == Lines::Vars && !tree.has(name) {
                let why = format!("[{name}:vars] belongs to no group: write [{name}] too");
                undeclared.entry(name.to_owned()).or_insert((number, why));
            }
            if lines != Lines::Vars {
                undeclared.remove(name);
            }
            tree.group(name);
            name.clone_into(&mut group);
            continue;
        }
        if line.starts_with('[') && line.ends_with(']') {
            return Err(fault(
                "this is no section: a name without blanks and `:` stands in the brackets".to_owned(),
            ));
        }
        match lines {
            Lines::Hosts => host(&mut tree, &group, line, &place).map_err(fault)?,
            Lines::Children => {
                let child = line.split(['#', ' ', '\t']).next().unwrap_or_default();
                let comment = line[child.len()..].trim_start();
                if child.is_empty()
                    || child.contains([':', ']'])
                    || !(comment.is_empty() || comment.starts_with('#'))
                {
                    return Err(fault("this is no name of a group".to_owned()));
                }
                if !tree.has(child) {
                    let why = format!("group `{child}` is not declared: write [{child}]");
                    undeclared.insert(child.to_owned(), (number, why));
                }
                tree.child(&group, child);
            }
            Lines::Vars => {
                // The line may be a secret that lost its name: it is not repeated.
                let (name, value) =
                    line.split_once('=').ok_or_else(|| fault("this is no NAME=VALUE".to_owned()))?;
                let var = Var { value: literal(value.trim()), place: place.clone() };
                tree.group_var(&group, name.trim(), var).map_err(fault)?;
            }
        }
    }
    match undeclared.into_values().min() {
        Some((number, why)) => Err(ImportError::at(format!("{}:{number}", file.display()), why)),
        None => Ok(tree),
    }
}

/// `[NAME]` or `[NAME:KIND]`, perhaps with a comment behind.
fn section(line: &str) -> Option<(&str, &str)> {
    let (inside, behind) = line.strip_prefix('[')?.split_once(']')?;
    let (name, kind) = inside.split_once(':').unwrap_or((inside, "hosts"));
    let word = |c: char| c.is_alphanumeric() || c == '_';
    let plain =
        !name.is_empty() && !name.contains(char::is_whitespace) && !kind.is_empty() && kind.chars().all(word);
    let behind = behind.trim_start();
    (plain && (behind.is_empty() || behind.starts_with('#'))).then_some((name, kind))
}

fn host(tree: &mut Tree, group: &str, line: &str, place: &str) -> Result<(), String> {
    let words = words(line, true)?;
    let mut words = words.iter();
    let Some(pattern) = words.next() else { return Ok(()) };
    let mut vars = Vars::new();
    for word in words {
        let (name, value) =
            word.split_once('=').ok_or("behind a host stand NAME=VALUE pairs, and this is something else")?;
        vars.insert(name.to_owned(), Var { value: literal(value), place: place.to_owned() });
    }
    tree.hosts(pattern, group, &vars, place)
}

/// A value as Python reads it where it can: numbers, quoted texts, `True`; anything else is text. Lists and maps stay text.
fn literal(text: &str) -> Value {
    let plain = text.split('#').next().unwrap_or_default().trim();
    let digits = plain.trim_start_matches(['+', '-']);
    let number = !digits.is_empty() && digits.chars().all(|c| c.is_ascii_digit());
    if number && (!digits.starts_with('0') || digits.chars().all(|c| c == '0')) {
        return Value::Number(plain.trim_start_matches('+').to_owned());
    }
    match plain {
        "True" => return Value::Flag(true),
        "False" => return Value::Flag(false),
        "None" => return Value::Null,
        _ => {}
    }
    if text.starts_with(['\'', '"'])
        && let Some(inside) = quoted(text)
    {
        return Value::Text(inside);
    }
    Value::Text(text.to_owned())
}

/// The inside of a Python string, where the whole text is one.
fn quoted(text: &str) -> Option<String> {
    let mut letters = text.chars();
    let quote = letters.next()?;
    let mut inside = String::new();
    loop {
        match letters.next()? {
            end if end == quote => break,
            '\\' => match letters.next()? {
                'n' => inside.push('\n'),
                't' => inside.push('\t'),
                plain @ ('\\' | '\'' | '"') => inside.push(plain),
                other => inside.extend(['\\', other]),
            },
            plain => inside.push(plain),
        }
    }
    let behind = letters.as_str().trim_start();
    (behind.is_empty() || behind.starts_with('#')).then_some(inside)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn told(text: &str) -> String {
        parse(Path::new("hosts"), text).err().map(|error| error.to_string()).unwrap_or_default()
    }

    #[test]
    fn faults_are_told_with_their_line_and_never_with_what_may_be_a_secret() {
        for (text, line, why) in [
            ("[a]\nweb x", 2, "NAME=VALUE"),
            ("[a:vars]\nhunter2", 2, "NAME=VALUE"),
            ("[a:vars]\nx=1", 1, "no group"),
            ("\n[a:children]\nb", 3, "`b` is not declared"),
            ("[a:hostz]", 1, "no section"),
            ("[a b]", 1, "no section"),
            ("web[1", 1, "not closed"),
            ("web x=\"1", 1, "quotation mark"),
            ("[a:children]\nb c", 2, "no name of a group"),
        ] {
            let told = told(text);
            assert!(told.starts_with(&format!("hosts:{line}: ")) && told.contains(why), "{text}: {told}");
            assert!(!told.contains("hunter2"), "{told}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn any_text_is_read_or_refused(text in "(\\[[ab:vchildrens]{0,9}\\]\n|[ab\\[\\]:1-3= '\"#\\\\]{0,9}\n|.{0,9}\n){0,9}") {
            if let Ok(tree) = parse(Path::new("hosts"), &text) {
                let _ = tree.found(Path::new("hosts"), None, &Asked::default());
            }
        }
    }
}
