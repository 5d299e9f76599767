//! How Ansible's variables say where a host is and how to log in, and what of that an inventory can say too.

use std::path::PathBuf;

use super::ansible::{Var, Vars};
use super::value::Value;
use super::{Asked, Draft, Notes, is_template, is_vault, sounds_secret, words};

/// Variables that say where a host is; of several the last that is said counts, as with Ansible's ssh connection.
const ADDRESS: [&str; 2] = ["ansible_host", "ansible_ssh_host"];
const PORT: [&str; 2] = ["ansible_port", "ansible_ssh_port"];
const USER: [&str; 2] = ["ansible_user", "ansible_ssh_user"];
const KEY: [&str; 2] = ["ansible_private_key_file", "ansible_ssh_private_key_file"];

/// Variables with options of `ssh`; all of them count.
const ARGUMENTS: [&str; 3] = ["ansible_ssh_args", "ansible_ssh_common_args", "ansible_ssh_extra_args"];

/// Variables that are secrets, and what to write in their place.
const SECRETS: [(&str, &str); 10] = [
    ("ansible_password", "password"),
    ("ansible_ssh_pass", "password"),
    ("ansible_ssh_password", "password"),
    ("ansible_become_pass", "sudo_password"),
    ("ansible_become_password", "sudo_password"),
    ("ansible_sudo_pass", "sudo_password"),
    ("ansible_sudo_password", "sudo_password"),
    ("ansible_private_key_passphrase", "passphrase"),
    ("ansible_ssh_private_key_passphrase", "passphrase"),
    ("ansible_ssh_private_key", "identity"),
];

/// Keywords of ssh_config that make ssh quicker or quieter, no more.
const QUIET: [&str; 8] = [
    "controlmaster",
    "controlpersist",
    "controlpath",
    "serveraliveinterval",
    "serveralivecountmax",
    "loglevel",
    "compression",
    "preferredauthentications",
];

/// Ways of Ansible to reach a host that are SSH.
const SSH: [&str; 5] = ["ssh", "smart", "paramiko", "paramiko_ssh", "ansible.builtin.ssh"];

/// Fills in what the variables say. `false` where the host is none that can be reached over SSH.
pub(super) fn read(draft: &mut Draft, vars: &Vars, asked: &Asked, notes: &mut Notes) -> bool {
    let mut reading = Reading { draft, vars, asked, notes };
    let kept = reading.connection() && reading.address();
    if kept {
        reading.login();
        reading.sudo();
        reading.arguments();
        reading.rest();
    }
    kept
}

struct Reading<'a> {
    draft: &'a mut Draft,
    vars: &'a Vars,
    asked: &'a Asked,
    notes: &'a mut Notes,
}

impl<'a> Reading<'a> {
    /// The text of a variable that counts; none where only Ansible could work it out.
    fn text(&mut self, names: &[&str]) -> Option<(&'a str, &'a Var)> {
        let (name, var) = names.iter().rev().find_map(|name| Some((*name, self.vars.get(*name)?)))?;
        let text = var.value.text().filter(|text| !is_template(text) && !is_vault(text));
        if text.is_none() {
            self.notes.add(&var.place, format!("{name} is no plain value: write what it stands for by hand"));
        }
        Some((text?.trim(), var)).filter(|(text, _)| !text.is_empty())
    }

    fn says(&self, names: &[&str]) -> bool {
        names.iter().any(|name| self.vars.contains_key(*name))
    }

    fn connection(&mut self) -> bool {
        let Some((way, var)) = self.text(&["ansible_connection"]) else { return true };
        if SSH.contains(&way) {
            return true;
        }
        self.notes.add(
            &var.place,
            format!(
                "{} is left out: Ansible does not reach it over SSH (ansible_connection={way})",
                self.draft.name
            ),
        );
        false
    }

    fn address(&mut self) -> bool {
        match self.text(&ADDRESS) {
            Some((address, _)) => self.draft.set("address", address),
            None if self.says(&ADDRESS) => {
                let what = format!("{} is left out: its address is no plain value", self.draft.name);
                self.notes.add(&self.draft.place, what);
                return false;
            }
            None => {
                let name = self.draft.name.clone();
                self.draft.set(self.asked.place_key(&name), name);
            }
        }
        true
    }

    fn login(&mut self) {
        if let Some((port, var)) = self.text(&PORT) {
            // YAML 1.1 lets `_` stand between digits.
            match port.replace('_', "").parse::<i64>() {
                Ok(port) => self.draft.set("port", port),
                Err(_) => self.notes.add(&var.place, "the port is no number"),
            }
        }
        match self.text(&USER) {
            Some((user, _)) => self.draft.set("user", user),
            None => self.notes.add(
                self.draft.place.clone(),
                "no user is said: fleet takes root, Ansible the one that ssh takes; write `user` where that is another",
            ),
        }
        if let Some((file, _)) = self.text(&KEY) {
            self.draft.set("identity", file);
        }
    }

    fn sudo(&mut self) {
        let Some(var) = self.vars.get("ansible_become") else { return };
        match var.value.flag() {
            Some(true) => {}
            Some(false) => return,
            None => {
                return self
                    .notes
                    .add(&var.place, "ansible_become is neither true nor false: write `sudo` by hand");
            }
        }
        for (name, usual) in [("ansible_become_method", "sudo"), ("ansible_become_user", "root")] {
            if let Some((value, var)) = self.text(&[name]).filter(|(value, _)| *value != usual) {
                return self.notes.add(
                    &var.place,
                    format!("{name}={value} cannot be carried over: fleet knows sudo to root alone"),
                );
            }
        }
        // Root needs none, and has no sudo on many a host.
        if self.draft.keys.get("user").and_then(toml::Value::as_str) != Some("root") {
            self.draft.set("sudo", true);
        }
    }

    /// The words of a variable with options: no such list where nobody can tell them, nothing at all where it says nothing.
    fn words_of(&mut self, name: &str) -> Option<(Option<Vec<String>>, &'a Var)> {
        let var = self.vars.get(name)?;
        let Some((text, _)) = self.text(&[name]) else {
            let blank = var.value.text().is_some_and(|text| text.trim().is_empty());
            return (!blank && var.value != Value::Null).then_some((None, var));
        };
        let words = words(text, false);
        if let Err(why) = &words {
            self.notes.add(&var.place, format!("{name} is not carried over: {why}"));
        }
        Some((words.ok(), var))
    }

    fn arguments(&mut self) {
        let mut decided = false;
        for name in ARGUMENTS {
            let Some((words, var)) = self.words_of(name) else { continue };
            let Options { jump, jump_key, left } = match words {
                Some(words) => options(&words),
                // Nobody knows whether it names a jump host.
                None => Options { jump: Some(String::new()), ..Options::default() },
            };
            // As with ssh, what is said first counts.
            if let Some(list) = jump.filter(|_| !decided) {
                decided = true;
                match Draft::way(&list, &var.place, self.asked) {
                    _ if list == "none" => {}
                    Ok(mut way) => {
                        if let Some(key) = jump_key {
                            way.set("identity", key);
                        }
                        self.draft.jump = Some(Box::new(way));
                    }
                    // Without its way another host may be reached: an empty one leaves the cluster out.
                    Err(_) => self.draft.jump = Some(Box::default()),
                }
            }
            if !left.is_empty() {
                let left = left.join(", ");
                let what = format!("not carried over from {name}: {left} (the host key is always checked)");
                self.notes.add(&var.place, what);
            }
        }
    }

    /// Secrets, and whatever else is said of connecting.
    fn rest(&mut self) {
        for (name, var) in self.vars {
            let vault = var.value.text().is_some_and(is_vault);
            let what = if let Some((_, key)) = SECRETS.iter().find(|(secret, _)| secret == name) {
                if *key == "identity" {
                    format!(
                        "{name} is a secret and not written: put it into a file and say identity = \"FILE\""
                    )
                } else {
                    format!(
                        "{name} is a secret and not written: say where it is, such as {key} = {{ prompt = true }}"
                    )
                }
            } else if vault || (sounds_secret(name) && var.value.text().is_some()) {
                format!("{name} is or may be a secret and is not written")
            } else if name.starts_with("ansible_ssh_") && !known(name) {
                format!("{name} has no like in an inventory of fleet")
            } else {
                continue;
            };
            self.notes.add(&var.place, what);
        }
    }
}

fn known(name: &str) -> bool {
    [&ADDRESS[..], &PORT, &USER, &KEY, &ARGUMENTS].iter().any(|names| names.contains(&name))
}

/// What options of `ssh` say.
#[derive(Default)]
struct Options {
    /// `[user@]host[:port]`, as for `-J`; `none` for the direct way, empty for one that is not understood.
    jump: Option<String>,
    /// The jump host's own key file.
    jump_key: Option<String>,
    /// By name, what is not understood.
    left: Vec<String>,
}

fn options(words: &[String]) -> Options {
    let mut found = Options::default();
    let mut words = words.iter().map(String::as_str);
    while let Some(word) = words.next() {
        let (option, said) = word.split_at_checked(2).unwrap_or((word, ""));
        match option {
            "-J" => {
                let list = if said.is_empty() { words.next().unwrap_or_default() } else { said };
                found.jump.get_or_insert_with(|| list.to_owned());
            }
            "-o" => found.keyword(if said.is_empty() { words.next().unwrap_or_default() } else { said }),
            "-C" | "-q" | "-4" | "-6" | "-A" | "-a" if said.is_empty() => {}
            // The value of an unknown option may be anything: only the option is told.
            _ if word.starts_with('-') => found.left.push(option.to_owned()),
            _ => {}
        }
    }
    found
}

impl Options {
    /// `-o KEYWORD=VALUE`
    fn keyword(&mut self, said: &str) {
        let (name, value) =
            said.trim().split_once(|c: char| c == '=' || c.is_whitespace()).unwrap_or((said, ""));
        let value = value.trim_start_matches([' ', '=']);
        let lower = name.to_lowercase();
        match lower.as_str() {
            "proxyjump" | "proxycommand" if self.jump.is_some() => {}
            "proxyjump" => self.jump = Some(value.to_owned()),
            "proxycommand" if value == "none" => self.jump = Some(value.to_owned()),
            "proxycommand" => {
                let way = through(value);
                if way.is_none() {
                    self.left.push(name.to_owned());
                }
                let (jump, key) = way.unwrap_or_default();
                (self.jump, self.jump_key) = (Some(jump), key);
            }
            _ if QUIET.contains(&lower.as_str()) => {}
            _ => self.left.push(name.to_owned()),
        }
    }
}

/// The jump host of a `ProxyCommand` that does no more than ssh's own jumping: `ssh -W %h:%p [user@]host [-p port] [-i key]`, and its key.
fn through(line: &str) -> Option<(String, Option<String>)> {
    let words = words(line, false).ok()?;
    let mut words = words.iter().map(String::as_str);
    if !words.next()?.ends_with("ssh") {
        return None;
    }
    let (mut host, mut port, mut user, mut key, mut forwards) = (None, None, None, None, false);
    while let Some(word) = words.next() {
        match word {
            "-W" => forwards = matches!(words.next()?, "%h:%p" | "[%h]:%p"),
            "-W%h:%p" | "-W[%h]:%p" => forwards = true,
            "-p" => port = Some(words.next()?),
            "-l" => user = Some(words.next()?),
            "-i" => key = Some(words.next()?.to_owned()),
            "-q" | "-C" | "-A" | "-a" | "-T" | "-x" => {}
            option if option.starts_with('-') => return None,
            word if host.is_none() => host = Some(word),
            _ => return None,
        }
    }
    let host = host.filter(|host| forwards && !host.contains('%'))?;
    let user = user.map(|user| format!("{user}@")).unwrap_or_default();
    let port = port.map(|port| format!(":{port}")).unwrap_or_default();
    Some((format!("{user}{host}{port}"), key))
}

/// A path of a variable, as it stands: only what begins at `~` or `/` means the same everywhere.
pub(super) fn absolute(text: &str, base: &std::path::Path) -> PathBuf {
    let path = if text.starts_with('~') { PathBuf::from(text) } else { base.join(text) };
    if text.starts_with('~') { path } else { std::path::absolute(&path).unwrap_or(path) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn jump(text: &str) -> (Option<String>, Vec<String>) {
        let found = options(&words(text, false).unwrap());
        (found.jump, found.left)
    }

    #[test]
    fn a_jump_host_is_found_however_it_is_said() {
        for text in [
            "-J op@gate:2222",
            "-Jop@gate:2222",
            "-o ProxyJump=op@gate:2222",
            "-oProxyJump=op@gate:2222",
            "-o 'ProxyJump op@gate:2222'",
            "-o ProxyCommand='ssh -W %h:%p -q op@gate -p 2222'",
            "-o ProxyCommand=\"/usr/bin/ssh -q -l op -p 2222 -W [%h]:%p gate\"",
            "-C -o ControlMaster=auto -J op@gate:2222",
        ] {
            assert_eq!(jump(text), (Some("op@gate:2222".to_owned()), Vec::new()), "{text}");
        }
    }

    #[test]
    fn what_is_no_plain_jump_is_told_by_name_alone() {
        let left = |text: &str| {
            let (jump, left) = jump(text);
            assert!(jump.is_none_or(|jump| jump.is_empty()), "{text}");
            left.join(" ")
        };
        assert_eq!(left("-o ProxyCommand='nc hunter2 %p'"), "ProxyCommand");
        assert_eq!(left("-o ProxyCommand='sshpass -p hunter2 ssh -W %h:%p gate'"), "ProxyCommand");
        assert_eq!(left("-o StrictHostKeyChecking=no -F x"), "StrictHostKeyChecking -F");
    }
}
