//! The SSH agent: what it holds, in the order in which it is offered.

use std::path::PathBuf;

use jiff::Timestamp;
use russh::client::Handle;
use russh::keys::agent::AgentIdentity;
use russh::keys::agent::client::AgentClient;
use russh::keys::ssh_key::public::KeyData;
use russh::keys::{Certificate, PublicKey};
use tokio::net::UnixStream;

use super::certificates;
use super::offer::{Offer, Shown};
use crate::remote::printable;
use crate::ssh::client::Client;
use crate::ssh::hostkeys::name_key;

/// A connection to the agent.
pub(super) type Agent = AgentClient<UnixStream>;

/// The agent, bound to this connection, and the identities that it holds.
pub(super) async fn ask(handle: &Handle<Client>) -> Result<(Agent, Vec<AgentIdentity>), String> {
    let trouble = |error: russh::keys::Error| format!("the SSH agent is of no use: {error}");
    let mut agent = AgentClient::connect_env().await.map_err(trouble)?;
    if let Some(binding) = handle.agent_session_binding() {
        // Older agents do not know how to be bound, and hold no keys that demand it.
        let _ = agent.bind_session(binding, false).await;
    }
    let held = agent.request_identities().await.map_err(trouble)?;
    if held.is_empty() {
        return Err("the SSH agent holds no keys (ssh-add -l)".to_owned());
    }
    Ok((agent, held))
}

/// What to offer of an agent: certificate files whose key it holds; then what it holds itself, first for the key files
/// that are locked, certificates before bare keys. What was shown already would only cost one more of the few attempts.
pub(super) fn offers(
    held: Vec<AgentIdentity>,
    files: &[(PathBuf, Certificate)],
    locked: &[PublicKey],
    shown: &[Shown],
    notes: &mut Vec<String>,
) -> Vec<Offer> {
    let mut offers = Vec::new();
    for (file, certificate) in files {
        if let Some(key) = held.iter().find_map(|identity| bare(identity, certificate.public_key())) {
            offers.push(Offer::certificate(file, certificate, Some(key)));
        }
    }
    let mut held = held;
    held.sort_by_key(|identity| {
        let known = locked.iter().any(|key| key.key_data() == data(identity));
        (!known, matches!(identity, AgentIdentity::PublicKey { .. }))
    });
    for identity in held {
        let comment = printable(identity.comment());
        match &identity {
            AgentIdentity::PublicKey { key, .. } => {
                let name = format!("agent's {comment} ({})", name_key(key));
                offers.push(Offer {
                    name,
                    shown: Shown::Key(key.key_data().clone()),
                    signed_as: Some(identity),
                });
            }
            AgentIdentity::Certificate { certificate, .. } => {
                let name = format!("agent's certificate {comment} ({})", certificates::describe(certificate));
                match certificates::useful(certificate, Timestamp::now()) {
                    Ok(()) => {
                        let shown = Shown::certificate(certificate);
                        offers.push(Offer { name, shown, signed_as: Some(identity) });
                    }
                    Err(why) => notes.push(format!("the {name} {why}")),
                }
            }
        }
    }
    let mut fresh: Vec<Offer> = Vec::new();
    for offer in offers {
        if !shown.contains(&offer.shown) && !fresh.iter().any(|other| other.shown == offer.shown) {
            fresh.push(offer);
        }
    }
    fresh
}

/// The bare key by which an agent signs for a certificate that it does not hold itself.
fn bare(identity: &AgentIdentity, key: &KeyData) -> Option<AgentIdentity> {
    match identity {
        AgentIdentity::PublicKey { key: held, .. } if held.key_data() == key => Some(identity.clone()),
        _ => None,
    }
}

fn data(identity: &AgentIdentity) -> &KeyData {
    match identity {
        AgentIdentity::PublicKey { key, .. } => key.key_data(),
        AgentIdentity::Certificate { certificate, .. } => certificate.public_key(),
    }
}
