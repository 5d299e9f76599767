//! Passwords of SSH users, for logins and for sudo: fetched when one is asked for, and never sent a second time where it was refused.

use std::sync::{Mutex as Lock, PoisonError};

use secrecy::SecretString;
use tokio::sync::Mutex;

use crate::inventory::{Host, SecretRef};
use crate::remote::printable;

/// Passwords that were fetched, or why not, for as long as the process lives: a hundred clusters with one password must not
/// ask the operator a hundred times.
static FETCHED: Mutex<Vec<Fetched>> = Mutex::const_new(Vec::new());

struct Fetched {
    user: String,
    reference: SecretRef,
    password: Result<SecretString, String>,
}

/// What asks for a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Gate {
    /// The host's sshd.
    Login,
    /// The host's sudo.
    Sudo,
}

/// Where which password was sent and not taken. It is not sent there again: hosts lock a user out after a few wrong ones.
static REFUSED: Lock<Vec<(Gate, String, SecretRef)>> = Lock::new(Vec::new());

/// The user's password. Waiting for another host's asking is waiting for the same answer.
pub(super) async fn fetch(user: &str, reference: &SecretRef) -> Result<SecretString, String> {
    let mut fetched = FETCHED.lock().await;
    if let Some(known) = fetched.iter().find(|known| known.user == user && known.reference == *reference) {
        return known.password.clone();
    }
    let (from, what) = (reference.clone(), format!("password of the SSH user {user}"));
    let job = tokio::task::spawn_blocking(move || from.fetch(&what).map_err(|error| error.to_string()));
    let password = job.await.map_err(|error| error.to_string()).flatten();
    fetched.push(Fetched { user: user.to_owned(), reference: reference.clone(), password: password.clone() });
    password
}

/// A host, apart from all others: the same private address behind another jump host is another one.
fn door(host: &Host) -> String {
    std::iter::once(host).chain(host.way()).map(Host::login).collect::<Vec<_>>().join(" by way of ")
}

/// Whether this gate of this host did not take this password before.
pub(super) fn was_refused(gate: Gate, host: &Host, reference: &SecretRef) -> bool {
    let door = door(host);
    let refused = REFUSED.lock().unwrap_or_else(PoisonError::into_inner);
    refused.iter().any(|(of, known, password)| *of == gate && *known == door && password == reference)
}

/// Remembers that this gate of this host did not take this password.
pub(super) fn remember_refused(gate: Gate, host: &Host, reference: &SecretRef) {
    let mut refused = REFUSED.lock().unwrap_or_else(PoisonError::into_inner);
    refused.push((gate, door(host), reference.clone()));
}

/// Where a password comes from, for messages. A command is not repeated: people do write secrets into commands.
pub(super) fn say(reference: &SecretRef) -> String {
    match reference {
        SecretRef::Command(_) => "a command".to_owned(),
        other => printable(&other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_one_host_refused_is_not_held_against_another_with_the_same_address_behind_another_jump_host() {
        let reference = SecretRef::Env("FLEET_SHARED_PASSWORD".into());
        let behind = |jump: &str| {
            let jump = Some(std::sync::Arc::new(Host::new("gate", jump)));
            Host { jump, ..Host::new("acme", "10.0.0.1") }
        };
        let (one, other) = (behind("198.51.100.7"), behind("198.51.100.8"));
        for gate in [Gate::Login, Gate::Sudo] {
            remember_refused(gate, &one, &reference);
            assert!(was_refused(gate, &one, &reference));
            assert!(!was_refused(gate, &other, &reference));
            assert!(!was_refused(gate, &Host::new("acme", "10.0.0.1"), &reference));
        }
    }

    #[test]
    fn a_password_that_a_command_gives_is_named_without_the_command() {
        assert_eq!(say(&SecretRef::Command("echo hunter2".into())), "a command");
        assert_eq!(say(&SecretRef::Env("FLEET_PASSWORD".into())), "variable FLEET_PASSWORD");
    }
}
