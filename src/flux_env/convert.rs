//! `settings.yml` of 0.3 to 0.5 as `.flux.env` of 0.6 (guide, "Upgrading to 0.6.0" and "Upgrading from 0.3.0 to 0.4.0"; guide row G9).
//!
//! Pure. What stands in both under the same words is carried over; what has another name stands in `OTHERWISE`, with where that is known
//! from. Of what is not carried over the place and the kind are told, of nothing the value: settings hold passwords.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;

use secrecy::zeroize::Zeroizing;

use super::{differs, is_key};
use crate::inventory::import::value::{Node, Value, yaml};
use crate::inventory::import::{is_template, is_vault};

#[cfg(test)]
mod tests;

/// The variables of 0.6 and later that are known (facts section 2.2).
const KNOWN: [&str; 15] = [
    "domain",
    "ip_address",
    "admin_email",
    "outgoing_mail_enabled",
    "outgoing_mail_smtp_host",
    "outgoing_mail_smtp_port",
    "outgoing_mail_smtp_user",
    "outgoing_mail_smtp_password",
    "outgoing_mail_from_address",
    "outgoing_mail_domain",
    "backup_s3_url",
    "backup_s3_bucket",
    "backup_s3_prefix",
    "backup_s3_aws_access_key_id",
    "backup_s3_aws_secret_access_key",
];
/// Those without which there is no cluster.
const NEEDED: [&str; 3] = ["domain", "ip_address", "admin_email"];
/// Those that mail wants where it is on.
const OF_MAIL: [&str; 5] = [
    "outgoing_mail_smtp_host",
    "outgoing_mail_smtp_port",
    "outgoing_mail_smtp_user",
    "outgoing_mail_smtp_password",
    "outgoing_mail_from_address",
];
/// Those that backups want where Velero was on. The keys of the store never stood in the settings (guide: "as secrets; see the documentation").
const OF_BACKUPS: [&str; 5] = [
    "backup_s3_url",
    "backup_s3_bucket",
    "backup_s3_prefix",
    "backup_s3_aws_access_key_id",
    "backup_s3_aws_secret_access_key",
];
/// Settings whose variable has another name than their place: the block of the guide's section for 0.4, and what upstream's backups read
/// (facts section 2.2). The region is a variable only where the example has it.
const OTHERWISE: [(&str, &str); 4] = [
    ("backup.velero.url", "backup_s3_url"),
    ("backup.velero.bucket", "backup_s3_bucket"),
    ("backup.velero.prefix", "backup_s3_prefix"),
    ("backup.velero.region", "backup_s3_region"),
];
/// Whether backups were on.
const VELERO: &str = "backup.velero.enabled";
/// The whitelist of what was installed.
const ENABLED: &str = "enabled_applications";
/// Its entries that every later cluster has by itself (guide: "System components, necessary for the system to function").
const SYSTEM: [&str; 6] = [
    "cert-manager",
    "letsencrypt-production",
    "letsencrypt-staging",
    "ingress",
    "local-path-provisioner",
    "single-sign-on",
];

/// What came of it.
#[derive(Debug, Default)]
pub struct Converted {
    /// Variables that were taken, with where they stood: `settings.yml:4 domain`.
    pub taken: BTreeMap<String, String>,
    /// Variables that a person must fill in, and why.
    pub missing: BTreeMap<String, String>,
    /// What was not taken, with its place and why: one sentence each.
    pub left: Vec<String>,
    /// Applications that were on.
    pub apps: Vec<String>,
    values: BTreeMap<String, Zeroizing<String>>,
}

impl Converted {
    /// The file: what was taken, and as comments what is to be filled in. [`super::parse`] reads it.
    #[must_use]
    pub fn env(&self) -> Zeroizing<String> {
        let mut text = String::from("# Made by fleet vars convert.\n");
        // Writing to a string cannot fail.
        for (key, value) in &self.values {
            let _ = writeln!(text, "{key}={}", &**value);
        }
        for key in self.missing.keys() {
            let _ = writeln!(text, "# to be filled in: {key}=");
        }
        Zeroizing::new(text)
    }
}

/// The variables that an example names (`install/.flux.env.example` of the release that comes next), commented out or not.
#[must_use]
pub fn example(text: &str) -> BTreeSet<String> {
    let keys = text.lines().filter_map(|line| line.trim_start_matches(['#', ' ']).split_once('='));
    keys.map(|(key, _)| key.to_owned()).filter(|key| is_key(key)).collect()
}

/// Converts the text of a settings file. `Err` is one sentence with the file, and the line where there is one.
pub fn convert(file: &Path, text: &str, example: Option<&BTreeSet<String>>) -> Result<Converted, String> {
    if is_vault(text) {
        return Err(format!("{}: it is encrypted by ansible-vault: decrypt a copy first", file.display()));
    }
    let read = yaml(file, text).map_err(|error| error.to_string())?;
    let Some(settings) = read.map() else {
        return Err(format!(
            "{}: these are no settings: names stand at the top, as in `domain:`",
            file.display()
        ));
    };
    let mut reading =
        Reading { file, lines: text.lines().collect(), example, velero: false, made: Converted::default() };
    for (key, node) in settings {
        reading.take(key, node);
    }
    reading.ask_for_the_rest();
    Ok(reading.made)
}

struct Reading<'a> {
    file: &'a Path,
    lines: Vec<&'a str>,
    example: Option<&'a BTreeSet<String>>,
    /// Whether backups were on.
    velero: bool,
    made: Converted,
}

impl Reading<'_> {
    fn take(&mut self, path: &str, node: &Node) {
        if path == ENABLED {
            return self.take_apps(node);
        }
        if let Value::Map(inner) = &node.value {
            for (key, node) in inner {
                self.take(&format!("{path}.{key}"), node);
            }
            return;
        }
        if path == VELERO {
            self.velero |= node.value.flag() == Some(true);
            return;
        }
        let Some(variable) = self.variable(path) else {
            let kind = kind(&node.value);
            return self.leave(path, node, &format!("({kind}): no variable of this name is known"));
        };
        match self.value(&variable, node) {
            Ok(value) if value.is_empty() => {
                self.made.missing.insert(variable, format!("{} is empty", self.place(path, node)));
            }
            Ok(_) if self.made.taken.contains_key(&variable) => {
                self.leave(path, node, &format!("{variable} is taken from {}", self.made.taken[&variable]));
            }
            Ok(value) => {
                self.made.taken.insert(variable.clone(), self.place(path, node));
                self.made.missing.remove(&variable);
                self.made.values.insert(variable, Zeroizing::new(value));
            }
            Err(why) => {
                if !self.made.taken.contains_key(&variable) {
                    self.made.missing.insert(variable, format!("{} {why}", self.place(path, node)));
                }
            }
        }
    }

    /// The variable that a setting has become.
    fn variable(&self, path: &str) -> Option<String> {
        let named = OTHERWISE.iter().find(|(setting, _)| *setting == path);
        let variable = named.map_or_else(|| path.replace('.', "_"), |(_, variable)| (*variable).to_owned());
        let listed = self.example.is_some_and(|example| example.contains(&variable));
        (listed || KNOWN.contains(&variable.as_str())).then_some(variable)
    }

    /// The value as a line of `.flux.env` can hold it; why not, without the value.
    fn value(&self, variable: &str, node: &Node) -> Result<String, String> {
        let text = match &node.value {
            Value::Null => return Ok(String::new()),
            Value::Flag(flag) => return Ok(flag.to_string()),
            // What Ansible reads as true may be any of ten words.
            other if variable.ends_with("_enabled") => {
                return other
                    .flag()
                    .map(|flag| flag.to_string())
                    .ok_or_else(|| "is neither true nor false".to_owned());
            }
            Value::Text(text) => text.clone(),
            Value::Number(number) => {
                // A number may be read as another than stands there: 1.10, 0x10.
                let line =
                    usize::try_from(node.line).ok().and_then(|line| self.lines.get(line.checked_sub(1)?));
                if !line.is_some_and(|line| line.split([' ', '\t', ',', '}']).any(|word| word == number)) {
                    return Err("is a number that can be read in several ways: put it in quotes".to_owned());
                }
                number.clone()
            }
            Value::List(_) | Value::Map(_) => return Err(format!("is {}, not one value", kind(&node.value))),
        };
        if is_vault(&text) {
            return Err("is encrypted by ansible-vault".to_owned());
        }
        if is_template(&text) {
            return Err("is a template, which Ansible alone can work out".to_owned());
        }
        // The end of the line belongs to how YAML writes long texts.
        let text = text.trim_end_matches('\n').to_owned();
        differs(&text).map_or(Ok(text), Err)
    }

    fn take_apps(&mut self, node: &Node) {
        let Value::List(list) = &node.value else {
            return self.leave(
                ENABLED,
                node,
                &format!("({}): a list of applications was meant", kind(&node.value)),
            );
        };
        for app in list.iter().filter_map(Value::text) {
            self.velero |= app == "velero";
            if app != "velero" && !SYSTEM.contains(&app) {
                self.made.apps.push(app.to_owned());
            }
        }
    }

    /// What the release needs and the settings did not give.
    fn ask_for_the_rest(&mut self) {
        let mail = self.made.values.get("outgoing_mail_enabled").is_some_and(|on| on.as_str() == "true");
        let mut needed: Vec<(&str, &str)> = NEEDED.map(|key| (key, "every cluster has it")).to_vec();
        if mail {
            needed.extend(OF_MAIL.map(|key| (key, "mail was on")));
        }
        if self.velero {
            needed.extend(OF_BACKUPS.map(|key| (key, "backups by Velero were on")));
        }
        needed.extend(self.example.into_iter().flatten().map(|key| (key.as_str(), "the example has it")));
        for (key, why) in &needed {
            if !self.made.taken.contains_key(*key) {
                let why = format!("not in {}; {why}", self.file.display());
                self.made.missing.entry((*key).to_owned()).or_insert(why);
            }
        }
        // What is empty and not needed may stay so.
        let needed: BTreeSet<&str> = needed.iter().map(|(key, _)| *key).collect();
        self.made.missing.retain(|key, why| needed.contains(key.as_str()) || !why.ends_with(" is empty"));
        if let Some(example) = self.example {
            let unknown = self.made.taken.iter().filter(|(key, _)| !example.contains(*key));
            let told =
                unknown.map(|(key, place)| format!("{place} is taken as {key}, which the example has not"));
            self.made.left.extend(told);
        }
    }

    fn place(&self, path: &str, node: &Node) -> String {
        format!("{}:{} {path}", self.file.display(), node.line)
    }

    fn leave(&mut self, path: &str, node: &Node, why: &str) {
        let left = format!("{} {why}", self.place(path, node));
        self.made.left.push(left);
    }
}

/// What a value is, without the value.
fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "nothing",
        Value::Flag(_) => "true or false",
        Value::Number(_) => "a number",
        Value::Text(_) => "a text",
        Value::List(_) => "a list",
        Value::Map(_) => "a map",
    }
}
