//! Keys and what became of them, for people and for programs.

use std::fmt::Write as _;

use comfy_table::Table;
use serde::Serialize;

use super::record::Line;
use super::standing::Standing;
use super::{Exit, Met};
use crate::form::count;
use crate::remote::printable;
use crate::report::screen::{Look, wrap};
use crate::ssh::{Recorded, ShownKey};

/// One word for what is recorded of a key.
const fn word(recorded: &Recorded) -> &'static str {
    match recorded {
        Recorded::Pinned { .. } => "pinned",
        Recorded::Known { .. } => "known",
        Recorded::Certified { .. } => "certified",
        Recorded::Changed { .. } => "CHANGED",
        Recorded::Revoked { .. } => "REVOKED",
        Recorded::Unknown => "new",
    }
}

/// The table of keys. A fingerprint stays in one piece: it is compared by eye and copied.
pub(super) fn table(met: &[Met], look: Look) -> String {
    let mut rows = Vec::new();
    for met in met {
        let host = &met.candidate.host;
        let (name, address) = (host.name.clone(), printable(&host.login()));
        match &met.keys {
            Err(_) => rows.push([name, address, "-".into(), "none: not reached".into(), "-".into()]),
            Ok(keys) => rows.extend(keys.iter().map(|key| {
                let word = word(&key.recorded).to_owned();
                [name.clone(), address.clone(), key.algorithm.clone(), key.fingerprint.clone(), word]
            })),
        }
    }
    let head = ["host", "address", "key", "fingerprint", "recorded?"];
    let table: Table = look.table(head, rows.into_iter(), &[0, 3, 4]);
    look.finish(&table.to_string())
}

/// What became of each host. A terminal gets lines of its width, a file or a pipe one line a sentence, to be searched.
pub(super) fn told(lines: &[Line], look: Look) -> String {
    let mut text = String::new();
    for line in lines {
        let how = match line.exit {
            Exit::Done => "",
            Exit::Refused => " refused:",
            Exit::Internal => " not written:",
            _ => " failed:",
        };
        // Writing to a string cannot fail.
        if look.terminal && !how.is_empty() {
            let _ = writeln!(text, "{}:{how}", line.name);
            wrap(&mut text, "    ", &line.said, look.width);
        } else {
            let _ = writeln!(text, "{}:{how} {}", line.name, line.said);
        }
        for (key, value) in &line.found {
            let _ = writeln!(text, "    {key:<11} {}", printable(value));
        }
        if !line.read.is_empty() {
            let _ = writeln!(text, "    read {}", line.read);
        }
    }
    look.finish(&text)
}

/// The last lines: fingerprints that were confirmed and not met, and how many hosts ended how.
pub(super) fn sum(lines: &[Line], unseen: &[&str], look: Look) -> String {
    let mut text = String::from("\n");
    for fingerprint in unseen {
        let _ = writeln!(
            text,
            "No selected host shows {fingerprint}, which you have confirmed: what answers at its address may be another host"
        );
    }
    let of = |test: fn(Exit) -> bool| lines.iter().filter(|line| test(line.exit)).count();
    let _ = writeln!(
        text,
        "{}: {} recorded, {} refused, {} failed. Nothing was changed on any host.",
        count(lines.len(), "host"),
        of(|exit| exit == Exit::Done),
        of(|exit| exit == Exit::Refused),
        of(|exit| !matches!(exit, Exit::Done | Exit::Refused)),
    );
    look.finish(&text)
}

/// What `--format json` prints.
#[derive(Debug, Serialize)]
pub(super) struct Document<'a> {
    schema: u32,
    hosts: Vec<HostRow<'a>>,
}

#[derive(Debug, Serialize)]
struct HostRow<'a> {
    name: &'a str,
    /// `cluster` or `jump`.
    kind: &'static str,
    login: String,
    defined_at: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    standing: Option<Standing>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<ErrorRow>,
    keys: Vec<KeyRow<'a>>,
}

#[derive(Debug, Serialize)]
struct ErrorRow {
    cause: &'static str,
    message: String,
}

#[derive(Debug, Serialize)]
struct KeyRow<'a> {
    algorithm: &'a str,
    fingerprint: &'a str,
    key: &'a str,
    recorded: String,
    /// Where something is recorded.
    #[serde(skip_serializing_if = "Option::is_none")]
    place: Option<&'a str>,
    /// The other key that is recorded there, or the one that is revoked.
    #[serde(skip_serializing_if = "Option::is_none")]
    recorded_key: Option<&'a str>,
}

impl<'a> From<&'a ShownKey> for KeyRow<'a> {
    fn from(key: &'a ShownKey) -> Self {
        let (place, recorded_key) = match &key.recorded {
            Recorded::Pinned { place } | Recorded::Known { place } | Recorded::Certified { place } => {
                (Some(place.as_str()), None)
            }
            Recorded::Changed { recorded, place } => (Some(place.as_str()), Some(recorded.as_str())),
            Recorded::Revoked { revoked, place } => (Some(place.as_str()), Some(revoked.as_str())),
            Recorded::Unknown => (None, None),
        };
        Self {
            algorithm: &key.algorithm,
            fingerprint: &key.fingerprint,
            key: &key.openssh,
            recorded: word(&key.recorded).to_lowercase(),
            place,
            recorded_key,
        }
    }
}

/// The keys for programs.
pub(super) fn document(met: &[Met]) -> Document<'_> {
    let hosts = met.iter().map(|met| {
        let host = &met.candidate.host;
        let error = met.keys.as_ref().err();
        HostRow {
            name: &host.name,
            kind: if met.candidate.cluster.is_some() { "cluster" } else { "jump" },
            login: host.login(),
            defined_at: &host.defined_at,
            standing: met.keys.as_deref().ok().map(Standing::of),
            error: error
                .map(|error| ErrorRow { cause: error.kind(), message: printable(&error.to_string()) }),
            keys: met.keys.iter().flatten().map(KeyRow::from).collect(),
        }
    });
    Document { schema: 1, hosts: hosts.collect() }
}

/// The exit code of having looked alone.
pub(super) fn exit(met: &[Met]) -> Exit {
    let one = |met: &Met| match met.keys.as_deref().map(Standing::of) {
        Ok(Standing::Recorded) => Exit::Done,
        Ok(Standing::New) => Exit::Changes,
        Ok(Standing::Changed | Standing::Revoked) => Exit::Refused,
        Err(_) => Exit::Failed,
    };
    met.iter().map(one).max().unwrap_or(Exit::Done)
}
