//! What a host's keys are to us, and what an operator's word makes of it. Pure.

use serde::Serialize;

use crate::inventory::Host;
use crate::ssh::{Recorded, ShownKey};

/// What was shown, as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Standing {
    /// One of its keys is recorded: a connection would go on with that one.
    Recorded,
    /// Nothing is recorded for it.
    New,
    /// Other keys are recorded for it than it has.
    Changed,
    /// It has a key that was given up as stolen.
    Revoked,
}

impl Standing {
    /// Of a host with these keys.
    pub(super) fn of(keys: &[ShownKey]) -> Self {
        let any = |test: fn(&Recorded) -> bool| keys.iter().any(|key| test(&key.recorded));
        if any(|recorded| matches!(recorded, Recorded::Revoked { .. })) {
            Self::Revoked
        } else if any(Recorded::is_accepted) {
            Self::Recorded
        } else if any(|recorded| matches!(recorded, Recorded::Changed { .. })) {
            Self::Changed
        } else {
            Self::New
        }
    }
}

/// What an operator has confirmed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Word {
    /// Every new host, as it was shown. Never a changed one.
    pub(super) all_new: bool,
    /// These fingerprints, `SHA256:…`.
    pub(super) fingerprints: Vec<String>,
}

impl Word {
    /// The first of these keys whose fingerprint was named.
    pub(super) fn names<'a>(&self, keys: &'a [ShownKey]) -> Option<&'a ShownKey> {
        keys.iter().find(|key| self.fingerprints.contains(&key.fingerprint))
    }

    /// The key that may be recorded for a host that `--on` calls `on`; `Ok(None)` where one is recorded already. `Err` says why not, and what
    /// to do.
    pub(super) fn on<'a>(
        &self,
        host: &Host,
        on: &str,
        keys: &'a [ShownKey],
        replace: bool,
    ) -> Result<Option<&'a ShownKey>, String> {
        let named = self.names(keys);
        match Standing::of(keys) {
            Standing::Recorded => Ok(None),
            Standing::New if named.is_some() => Ok(named),
            Standing::New if self.all_new => Ok(keys.first()),
            Standing::New => Err(unconfirmed(host, on)),
            Standing::Changed if replace && named.is_some() => Ok(named),
            Standing::Changed => Err(changed(host, on, keys, replace)),
            Standing::Revoked => Err(revoked(host, keys)),
        }
    }
}

fn unconfirmed(host: &Host, on: &str) -> String {
    format!(
        "nobody has confirmed that this is the key of {}. Read the fingerprint on the host's own console (`{CONSOLE}`, or the other key files \
         there) or in its provider's pages, then: fleet trust --on {on} --confirm SHA256:… with the one that you have read",
        host.login()
    )
}

/// What shows a host's fingerprints on its own console.
pub(super) const CONSOLE: &str = "ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub";

fn changed(host: &Host, on: &str, keys: &[ShownKey], replace: bool) -> String {
    let mut said = String::new();
    for key in keys {
        if let Recorded::Changed { recorded, place } = &key.recorded {
            said = format!("it shows {} {}, but {place} records {recorded}", key.algorithm, key.fingerprint);
            break;
        }
    }
    let missing = if replace { "--replace needs the fingerprint, too: " } else { "" };
    format!(
        "the host key of {} has changed: {said}. Either the host was reinstalled, or something between you and it answers in its place. Ask \
         somebody with a console on the host for the output of `{CONSOLE}` (or of the other key files there). Only if it is a fingerprint \
         shown here, {missing}fleet trust --on {on} --replace --confirm SHA256:… with the one from the console",
        host.login()
    )
}

fn revoked(host: &Host, keys: &[ShownKey]) -> String {
    let said = keys.iter().find_map(|key| match &key.recorded {
        Recorded::Revoked { revoked, place } => Some(format!("{revoked} is marked @revoked in {place}")),
        _ => None,
    });
    format!(
        "{} has a key that is revoked: {}. Whoever holds that key may not be your host. Take the key off the host (give it a new one), then \
         come back; nothing records a revoked key",
        host.login(),
        said.unwrap_or_default()
    )
}
