//! An operator's word, at a terminal.

use std::io::{self, BufRead, Write};

use super::standing::{CONSOLE, Standing, Word};
use crate::form::count;
use crate::ssh::ShownKey;

/// A host whose key waits for a word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Waiting {
    /// Its name in the inventory.
    pub(super) name: String,
    /// What it showed.
    pub(super) keys: Vec<ShownKey>,
}

impl Waiting {
    fn changed(&self) -> bool {
        Standing::of(&self.keys) == Standing::Changed
    }
}

/// Asks until every host has its word or the operator leaves the rest: an empty line, or the end of input.
pub(super) fn ask(
    mut waiting: Vec<Waiting>,
    input: &mut impl BufRead,
    output: &mut impl Write,
) -> io::Result<Word> {
    let mut word = Word::default();
    if !waiting.is_empty() {
        writeln!(
            output,
            "Compare the fingerprints with those on each host's own console (`{CONSOLE}`, or the\nother key files there) or in its \
             provider's pages. Once confirmed they are what this and every later run believes."
        )?;
    }
    while !waiting.is_empty() {
        let new: Vec<&str> =
            waiting.iter().filter(|host| !host.changed()).map(|host| host.name.as_str()).collect();
        let changed: Vec<&str> =
            waiting.iter().filter(|host| host.changed()).map(|host| host.name.as_str()).collect();
        if !new.is_empty() {
            writeln!(output, "{} new: {}", count(new.len(), "host"), new.join(", "))?;
        }
        if !changed.is_empty() {
            let names = changed.join(", ");
            writeln!(output, "{} CHANGED: {names} (only by fingerprint)", count(changed.len(), "host"))?;
        }
        let yes = if new.is_empty() { "" } else { "\"yes\" if all of the new hosts' are right, " };
        write!(output, "Type {yes}a fingerprint that is right, or nothing to leave the rest: ")?;
        output.flush()?;
        let mut line = String::new();
        if input.read_line(&mut line)? == 0 {
            writeln!(output)?;
            break;
        }
        match line.trim() {
            "" => break,
            "yes" if !new.is_empty() => {
                word.all_new = true;
                waiting.retain(Waiting::changed);
            }
            typed => {
                let before = waiting.len();
                let shows = |host: &Waiting| host.keys.iter().any(|key| key.fingerprint == typed);
                waiting.retain(|host| !shows(host));
                if waiting.len() == before {
                    writeln!(output, "No host that waits shows that. Nothing is confirmed by it.")?;
                } else {
                    word.fingerprints.push(typed.to_owned());
                }
            }
        }
    }
    Ok(word)
}
