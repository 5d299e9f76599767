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
            "Compare the fingerprints with those on each host's own console\n(`{CONSOLE}`, or the other key files there)\nor in its \
             provider's pages. This and every later run believes what is confirmed."
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ssh::Recorded;

    fn host(name: &str, recorded: Recorded) -> Waiting {
        let key = ShownKey {
            algorithm: "ssh-ed25519".to_owned(),
            openssh: format!("ssh-ed25519 {name}"),
            fingerprint: format!("SHA256:{name}"),
            recorded,
        };
        Waiting { name: name.to_owned(), keys: vec![key] }
    }

    fn three() -> Vec<Waiting> {
        let changed = Recorded::Changed { recorded: "ssh-ed25519 SHA256:x".into(), place: "a.toml:1".into() };
        vec![host("acme", Recorded::Unknown), host("oak", Recorded::Unknown), host("pine", changed)]
    }

    fn typed(lines: &str) -> (Word, String) {
        let mut said = Vec::new();
        let word = ask(three(), &mut lines.as_bytes(), &mut said).unwrap();
        (word, String::from_utf8(said).unwrap())
    }

    fn word(all_new: bool, fingerprints: &[&str]) -> Word {
        Word { all_new, fingerprints: fingerprints.iter().map(|&text| text.to_owned()).collect() }
    }

    #[test]
    fn nothing_typed_and_the_end_of_input_confirm_nothing() {
        for lines in ["", "\n", "y\n", "YES\n\n", "SHA256:acm\n", "yes please\n\n"] {
            assert_eq!(typed(lines).0, Word::default(), "{lines:?}");
        }
    }

    #[test]
    fn yes_is_the_word_on_new_hosts_and_a_fingerprint_on_the_host_that_shows_it() {
        assert_eq!(typed("yes\n\n").0, word(true, &[]));
        assert_eq!(typed("SHA256:oak\n\n").0, word(false, &["SHA256:oak"]));
        assert_eq!(typed("SHA256:pine\nyes\nnever read\n").0, word(true, &["SHA256:pine"]));
        // With no new host left, yes means nothing.
        assert_eq!(typed("yes\nyes\n\n").0, word(true, &[]));
        let changed = three().pop().unwrap();
        for (word, allowed) in [(word(true, &[]), false), (word(false, &["SHA256:pine"]), true)] {
            let host = crate::inventory::Host::new("pine", "203.0.113.7");
            assert_eq!(word.on(&host, "pine", &changed.keys, true).is_ok(), allowed);
            assert!(word.on(&host, "pine", &changed.keys, false).is_err());
        }
    }

    #[test]
    fn what_is_asked_reads_well() {
        insta::assert_snapshot!(typed("SHA256:nobody\nSHA256:acme\nyes\n\n").1);
    }
}
