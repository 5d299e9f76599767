//! Clusters from what others wrote: each source is a file here that makes drafts; what they share is below. What is written is an
//! inventory that loads, and never a secret.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use toml::{Table, Value};

use crate::remote::printable;

mod ansible;
mod ansible_ini;
mod ansible_pattern;
mod ansible_yaml;
mod connection;
mod csv;
mod finish;
mod program;
mod ssh_config;
mod stackspin;
pub(crate) mod value;

pub use finish::{Imported, import};

/// What can be read.
pub const ALL: &[Source] = &[
    stackspin::SOURCE,
    ansible_ini::SOURCE,
    ansible_yaml::SOURCE,
    ssh_config::SOURCE,
    csv::SOURCE,
    program::SOURCE,
];

/// Largest file that is read, in bytes: an inventory of ten thousand hosts has three million.
const LARGEST: u64 = 64 * 1024 * 1024;

/// Something that clusters can be imported from.
#[derive(Debug)]
pub struct Source {
    /// Its name on the command line.
    pub id: &'static str,
    /// What it is, in one line.
    pub about: &'static str,
    /// Reads it.
    read: fn(&Asked) -> Result<Found, ImportError>,
}

/// What is asked of an import.
#[derive(Debug, Clone, Default)]
pub struct Asked {
    /// The file, folder or program.
    pub path: PathBuf,
    /// What the program is given; `--list` where nothing is said.
    pub args: Vec<String>,
    /// The group that all clusters get in place of the source's; those become tags.
    pub group: Option<String>,
    /// Whether a name without an address of its own is an alias of ssh_config. Otherwise it is the address.
    pub aliases: bool,
}

/// Why nothing was imported.
#[derive(Debug, thiserror::Error)]
#[error("{}", printable(.0))]
pub struct ImportError(String);

impl ImportError {
    fn at(place: impl fmt::Display, what: impl fmt::Display) -> Self {
        Self(format!("{place}: {what}"))
    }
}

/// What could not be carried over. Never holds a secret.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Note {
    /// File and line where they are known, or the cluster.
    pub place: String,
    /// What, and what to do about it.
    pub what: String,
    /// At how many more places the same is so.
    pub more: usize,
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { place, what, more } = self;
        write!(f, "{}: {}", printable(place), printable(what))?;
        match more {
            0 => Ok(()),
            more => write!(f, " (and {more} more)"),
        }
    }
}

/// What a source holds.
#[derive(Debug, Default)]
struct Found {
    clusters: Vec<Draft>,
    notes: Notes,
}

/// Notes, those with the same words as one.
#[derive(Debug, Default)]
struct Notes(BTreeMap<String, Note>);

impl Notes {
    fn add(&mut self, place: impl fmt::Display, what: impl Into<String>) {
        let (place, what) = (place.to_string(), what.into());
        let note = Note { place, what: what.clone(), more: 0 };
        self.0.entry(what).and_modify(|note| note.more += 1).or_insert(note);
    }
}

/// A cluster, or a jump host, as a source tells it: nothing is checked yet.
#[derive(Debug, Clone, Default, PartialEq)]
struct Draft {
    name: String,
    /// Where it stands, for notes.
    place: String,
    /// Its groups, the one that is most its own first.
    groups: Vec<String>,
    /// Values under the inventory's keys; what the inventory refuses is left out with a note.
    keys: Table,
    /// The jump host.
    jump: Option<Box<Draft>>,
}

impl Draft {
    fn set(&mut self, key: &str, value: impl Into<Value>) {
        self.keys.insert(key.to_owned(), value.into());
    }

    /// A jump host as `ssh -J` names it: `[user@]host[:port]`, several joined by commas, the outermost first.
    fn way(list: &str, place: &str, asked: &Asked) -> Result<Self, String> {
        let mut way: Option<Self> = None;
        for spec in list.split(',') {
            let (user, (host, port)) = super::rules::login(spec.trim())?;
            let mut hop = Self { name: host.clone(), place: place.to_owned(), ..Self::default() };
            hop.set(asked.place_key(&host), host);
            if let Some(user) = user {
                hop.set("user", user);
            }
            if let Some(port) = port {
                hop.set("port", i64::from(port));
            }
            hop.jump = way.map(Box::new);
            way = Some(hop);
        }
        way.ok_or_else(|| "it names no host".to_owned())
    }
}

impl Asked {
    /// The key for a name that may be an alias of ssh_config or an address: an address is what it looks like, or what was asked for.
    fn place_key(&self, name: &str) -> &'static str {
        let ip = name.parse::<std::net::IpAddr>().is_ok();
        if self.aliases && !ip && super::rules::alias(name).is_ok() { "ssh_alias" } else { "address" }
    }
}

/// Reads a file as text. A byte order mark is no part of it.
fn text(path: &Path) -> Result<String, ImportError> {
    let refuse = |why: &dyn fmt::Display| ImportError::at(path.display(), format!("cannot be read: {why}"));
    let about = path.metadata().map_err(|error| refuse(&error))?;
    // Asked before it is opened: opening a pipe would wait for whoever fills it.
    if !about.is_file() {
        return Err(refuse(&"it is no regular file"));
    }
    if about.len() > LARGEST {
        return Err(refuse(&format!("it has more than {LARGEST} bytes")));
    }
    let bytes = std::fs::read(path).map_err(|error| refuse(&error))?;
    let text = String::from_utf8(bytes).map_err(|error| {
        let line = error.as_bytes()[..error.utf8_error().valid_up_to()].split(|byte| *byte == b'\n').count();
        ImportError::at(format!("{}:{line}", path.display()), "this is no UTF-8 text")
    })?;
    Ok(text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text))
}

/// Whether a value stands for what only Ansible can work out.
pub(crate) fn is_template(text: &str) -> bool {
    text.contains("{{") || text.contains("{%")
}

/// Whether a text is encrypted by `ansible-vault`.
pub(crate) fn is_vault(text: &str) -> bool {
    text.trim_start().starts_with("$ANSIBLE_VAULT")
}

/// Whether a key sounds as if its value were a secret.
fn sounds_secret(key: &str) -> bool {
    super::page::is_secret(key)
}

/// Words as a POSIX shell splits them, without expanding anything. With `comments` a `#` outside of quotes ends the text.
fn words(text: &str, comments: bool) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '#' if comments => break,
            '\'' | '"' => {
                let word = word.get_or_insert_default();
                loop {
                    match letters.next().ok_or("a quotation mark is not closed")? {
                        end if end == letter => break,
                        '\\' if letter == '"' => {
                            match letters.next().ok_or("a quotation mark is not closed")? {
                                plain @ ('"' | '\\') => word.push(plain),
                                other => word.extend(['\\', other]),
                            }
                        }
                        plain => word.push(plain),
                    }
                }
            }
            '\\' => word.get_or_insert_default().push(letters.next().ok_or("it ends with `\\`")?),
            space if space.is_whitespace() => words.extend(word.take()),
            plain => word.get_or_insert_default().push(plain),
        }
    }
    words.extend(word);
    Ok(words)
}
