//! `php occ` in the container of Nextcloud, as far as it is about users and whose their files are. What it knows is `container/nextcloud.json`
//! in the host's folder.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::Done;

/// What a Nextcloud knows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Nextcloud {
    /// The name that each user shows, by id.
    pub users: BTreeMap<String, String>,
    /// What `occ user:setting` has set, by user, then by application and key.
    pub settings: BTreeMap<String, BTreeMap<String, String>>,
    /// The paths of each user's files.
    pub files: BTreeMap<String, Vec<String>>,
    /// A user whose files cannot be transferred.
    pub broken: String,
}

impl Default for Nextcloud {
    /// A new one: its administrator.
    fn default() -> Self {
        Self {
            users: BTreeMap::from([("admin".to_owned(), "Admin".to_owned())]),
            settings: BTreeMap::new(),
            files: BTreeMap::new(),
            broken: String::new(),
        }
    }
}

/// Does what `php occ` with these words does.
pub(super) fn run(folder: &Path, words: &[String]) -> Done {
    let path = folder.join("container/nextcloud.json");
    let mut cloud: Nextcloud =
        fs::read(&path).ok().and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default();
    let before = cloud.clone();
    let done = cloud.occ(words);
    if cloud != before
        && let Err(error) = fs::write(&path, serde_json::to_vec(&cloud).unwrap_or_default())
    {
        return Done::failed(1, format!("{}: {error}\n", path.display()));
    }
    done
}

impl Nextcloud {
    fn occ(&mut self, words: &[String]) -> Done {
        let Some((command, words)) = words.split_first() else { return Done::default() };
        let (options, words) = split(words);
        match (command.as_str(), &words[..]) {
            ("user:list", []) => {
                let limit = options.iter().find_map(|option| option.strip_prefix("--limit="));
                let limit = limit.and_then(|limit| limit.parse().ok()).unwrap_or(500);
                let users: BTreeMap<_, _> = self.users.iter().take(limit).collect();
                Done::said(serde_json::to_string(&users).unwrap_or_default() + "\n")
            }
            ("user:setting", [user, rest @ ..]) if self.users.contains_key(*user) => self.setting(user, rest),
            ("user:setting", [user, ..]) => said(1, &format!("The user \"{user}\" does not exist.")),
            ("files:transfer-ownership", [old, new]) => self.transfer(old, new),
            (command, _) if command.starts_with("app:") => Done::default(),
            (command, _) => said(1, &format!("Command \"{command}\" is not defined.")),
        }
    }

    fn setting(&mut self, user: &str, words: &[&str]) -> Done {
        let of = self.settings.entry(user.to_owned()).or_default();
        match words {
            [app, key] => match of.get(&format!("{app} {key}")) {
                Some(value) => Done::said(format!("{value}\n")),
                None => said(1, &format!("The setting does not exist for user \"{user}\".")),
            },
            [app, key, value] => {
                of.insert(format!("{app} {key}"), (*value).to_owned());
                Done::default()
            }
            _ => said(1, "Not enough arguments."),
        }
    }

    fn transfer(&mut self, old: &str, new: &str) -> Done {
        for (which, user) in [("source", old), ("destination", new)] {
            if !self.users.contains_key(user) {
                return said(1, &format!("Unknown {which} user {user}"));
            }
        }
        if old == self.broken {
            return said(1, "Could not transfer files.");
        }
        let moved = self.files.remove(old).unwrap_or_default();
        let into = self.files.entry(new.to_owned()).or_default();
        into.extend(moved.into_iter().map(|file| format!("Transferred from {old}/{file}")));
        Done::said("Analysing files\nTransferring files\n")
    }
}

/// `occ` complains on standard output.
fn said(code: u8, text: &str) -> Done {
    Done { out: format!("{text}\n"), code, ..Done::default() }
}

/// Options and other words; after `--` all are words.
fn split(words: &[String]) -> (Vec<&str>, Vec<&str>) {
    let (mut options, mut rest, mut all) = (Vec::new(), Vec::new(), false);
    for word in words.iter().map(String::as_str) {
        match word {
            "--" if !all => all = true,
            option if !all && option.starts_with('-') => options.push(option),
            word => rest.push(word),
        }
    }
    (options, rest)
}
