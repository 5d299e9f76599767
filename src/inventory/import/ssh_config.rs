//! The hosts of an ssh_config file: each alias that is no pattern, as `ssh -G` resolves it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::{Asked, Draft, Found, ImportError, Notes, Source, words};
use crate::inventory::alias::Aliases;
use crate::inventory::select::matches;
use crate::inventory::{Host, load, rules};

pub(super) const SOURCE: Source =
    Source { id: "ssh-config", about: "the hosts of an ssh_config file, each as `ssh -G` resolves it", read };

/// How deep files may include each other (`readconf.c` has the same bound).
const DEEP: usize = 16;

fn read(asked: &Asked) -> Result<Found, ImportError> {
    let home = load::home();
    let mut found = Found::default();
    let mut reading = Listing::new(home.as_deref(), &mut found.notes);
    reading.file(&asked.path, &super::text(&asked.path)?, 0);
    let listed = reading.names;
    // `-F` with a relative path means the folder of whoever calls.
    let config = std::path::absolute(&asked.path).unwrap_or_else(|_| asked.path.clone());
    let names = listed.iter().map(|(name, _)| name.as_str());
    let mut aliases = Aliases::ask(names, Some(&config), home.as_deref(), BTreeSet::new());
    for (name, place) in &listed {
        match aliases.host(name) {
            Ok((host, notes)) => {
                found.clusters.push(draft(&host, place, home.as_deref()));
                for note in notes {
                    found.notes.add(place, note);
                }
            }
            Err(why) => found.notes.add(place, format!("{name} is left out: {why}")),
        }
    }
    Ok(found)
}

/// The aliases that stand behind `Host`, here and in what is included, each with its place.
struct Listing<'a> {
    home: Option<&'a Path>,
    names: Vec<(String, String)>,
    seen: BTreeSet<String>,
    /// Files that were read: a second time they tell nothing new, and files that include each other would be read without end.
    files: BTreeSet<PathBuf>,
    notes: &'a mut Notes,
}

impl<'a> Listing<'a> {
    fn new(home: Option<&'a Path>, notes: &'a mut Notes) -> Self {
        Self { home, names: Vec::new(), seen: BTreeSet::new(), files: BTreeSet::new(), notes }
    }

    fn file(&mut self, file: &Path, text: &str, depth: usize) {
        self.files.insert(file.to_owned());
        for (number, line) in text.lines().enumerate() {
            let place = format!("{}:{}", file.display(), number + 1);
            let line = line.trim();
            let (key, rest) = line.split_once(|c: char| c.is_whitespace() || c == '=').unwrap_or((line, ""));
            let rest = rest.trim_start_matches(|c: char| c.is_whitespace() || c == '=');
            // `ssh -G` tells what is wrong with such a line.
            let Ok(words) = words(rest, false) else { continue };
            match key.to_lowercase().as_str() {
                "host" => words.iter().for_each(|word| self.alias(word, &place)),
                "include" if depth < DEEP => words.iter().for_each(|word| self.include(word, &place, depth)),
                _ => {}
            }
        }
    }

    fn alias(&mut self, word: &str, place: &str) {
        if word.contains(['*', '?', '!']) || self.seen.contains(word) {
            return;
        }
        match rules::alias(word) {
            Ok(_) => {
                self.seen.insert(word.to_owned());
                self.names.push((word.to_owned(), place.to_owned()));
            }
            Err(why) => self.notes.add(place, format!("`{word}` is left out: {why}")),
        }
    }

    fn include(&mut self, word: &str, place: &str, depth: usize) {
        let Ok(path) = rules::local_path(word, &self.home.unwrap_or(Path::new("")).join(".ssh"), self.home)
        else {
            return self.notes.add(place, "the hosts of this Include are not listed");
        };
        let folder = path.parent().unwrap_or(Path::new("/"));
        let pattern: Vec<char> = path.file_name().unwrap_or_default().to_string_lossy().chars().collect();
        if folder.to_string_lossy().contains(['*', '?', '[']) || pattern.contains(&'[') {
            return self.notes.add(
                place,
                "the hosts of this Include are not listed: `*` and `?` are understood in the last part alone",
            );
        }
        let files: Vec<PathBuf> = if pattern.contains(&'*') || pattern.contains(&'?') {
            let entries = folder.read_dir().into_iter().flatten().flatten();
            let named = |path: &PathBuf| {
                let name: Vec<char> =
                    path.file_name().unwrap_or_default().to_string_lossy().chars().collect();
                name.first() != Some(&'.') && matches(&pattern, &name)
            };
            let mut files: Vec<PathBuf> = entries.map(|entry| entry.path()).filter(named).collect();
            files.sort();
            files
        } else {
            vec![path]
        };
        for file in files.iter().filter(|file| file.exists()) {
            if self.files.contains(file) {
                continue;
            }

            match super::text(file) {
                Ok(text) => self.file(file, &text, depth + 1),
                Err(error) => {
                    self.notes.add(place, format!("the hosts of this Include are not listed: {error}"));
                }
            }
        }
    }
}

/// A host as a draft: what `fleet` would assume anyway is not said.
fn draft(host: &Host, place: &str, home: Option<&Path>) -> Draft {
    let usual = Host::new("", "");
    let mut draft = Draft { name: host.name.clone(), place: place.to_owned(), ..Draft::default() };
    let list = |paths: &[PathBuf]| paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>();
    draft.set("address", host.address.as_str());
    if host.port != usual.port {
        draft.set("port", i64::from(host.port));
    }
    // Said even where it is root: it is ssh's word, not an assumption.
    draft.set("user", host.user.as_str());
    if !host.identity.is_empty() {
        draft.set("identity", list(&host.identity));
    }
    if !host.certificates.is_empty() {
        draft.set("certificate", list(&host.certificates));
    }
    if host.agent != host.identity.is_empty() {
        draft.set("agent", host.agent);
    }
    if let Some(alias) = &host.host_key_alias {
        draft.set("host_key_alias", alias.as_str());
    }
    let assumed: Vec<PathBuf> = home.map(|home| home.join(".ssh/known_hosts")).into_iter().collect();
    let known: Vec<PathBuf> =
        host.known_hosts.iter().filter(|path| assumed.contains(path) || path.exists()).cloned().collect();
    if known != assumed {
        draft.set("known_hosts", list(if known.is_empty() { &host.known_hosts } else { &known }));
    }
    if host.connect_timeout != usual.connect_timeout {
        draft.set(
            "connect_timeout_seconds",
            i64::try_from(host.connect_timeout.as_secs()).unwrap_or(i64::MAX),
        );
    }
    draft.jump = host.jump.as_ref().map(|jump| Box::new(self::draft(jump, place, home)));
    draft
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_includes_itself_is_listed_once() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("config");
        let text = format!("Host one two/three\nInclude {0} {0}\n", file.display());
        std::fs::write(&file, &text).unwrap();
        let mut notes = Notes::default();
        let mut listing = Listing::new(None, &mut notes);
        listing.file(&file, &text, 0);
        assert_eq!(listing.names.len(), 1);
        let more: Vec<usize> = notes.0.values().map(|note| note.more).collect();
        assert_eq!(more, [0], "{notes:?}");
    }
}
