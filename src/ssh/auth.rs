//! Logging in: the inventory's key files in order, then the agent's keys.

use russh::client::{AuthResult, Handle};
use russh::keys::agent::AgentIdentity;
use russh::keys::agent::client::AgentClient;
use russh::keys::{HashAlg, PrivateKeyWithHashAlg, PublicKey};
use russh::{MethodKind, MethodSet};
use tokio::net::UnixStream;

use super::client::{Client, Told};
use super::hostkeys::name_key;
use super::keys::Keys;
use crate::inventory::Host;
use crate::remote::{RemoteError, printable};

/// OpenSSH cuts a connection off after six refused keys (MaxAuthTries), and then it looks lost rather than refused
/// (libraries 1.6): one fewer is offered.
const MOST_KEYS: usize = 5;

/// Logs in with the first key that the host takes.
pub(super) async fn login(
    handle: &mut Handle<Client>,
    told: &Told,
    host: &Host,
    keys: Keys,
) -> Result<(), RemoteError> {
    let mut login = Login { handle, told, host, offered: Vec::new(), notes: keys.troubles, methods: None };
    let from_files: Vec<PublicKey> = keys.ready.iter().map(|(_, key)| key.public_key().clone()).collect();
    for (file, key) in keys.ready {
        let name = format!("{} ({})", file.display(), name_key(key.public_key()));
        if !login.may_offer(&name) {
            continue;
        }
        let hash = login.hash_for(key.public_key()).await;
        let key = PrivateKeyWithHashAlg::new(key, hash);
        let answer = login.handle.authenticate_publickey(&host.user, key).await;
        if login.heard(name, answer.map_err(|error| error.to_string())).await? {
            return Ok(());
        }
    }
    if host.agent {
        match ask_agent(login.handle, &keys.locked).await {
            Err(trouble) => login.notes.push(trouble),
            Ok((mut agent, held)) => {
                for (key, comment) in held {
                    // What a file has offered already would only cost one more of the few attempts.
                    if from_files.iter().any(|tried| tried.key_data() == key.key_data()) {
                        continue;
                    }
                    let name = format!("agent's {} ({})", printable(&comment), name_key(&key));
                    if !login.may_offer(&name) {
                        continue;
                    }
                    let hash = login.hash_for(&key).await;
                    let answer =
                        login.handle.authenticate_publickey_with(&host.user, key, hash, &mut agent).await;
                    if login.heard(name, answer.map_err(|error| error.to_string())).await? {
                        return Ok(());
                    }
                }
            }
        }
    }
    Err(login.refused())
}

/// One login as far as it has come.
struct Login<'a> {
    handle: &'a mut Handle<Client>,
    told: &'a Told,
    host: &'a Host,
    offered: Vec<String>,
    notes: Vec<String>,
    methods: Option<MethodSet>,
}

impl Login<'_> {
    /// Whether this key may still be offered; notes it where not.
    fn may_offer(&mut self, name: &str) -> bool {
        let takes_keys = self.methods.as_ref().is_none_or(|methods| methods.contains(&MethodKind::PublicKey));
        if takes_keys && self.offered.len() < MOST_KEYS {
            return true;
        }
        if takes_keys {
            self.notes.push(format!(
                "{name} was not offered: a host cuts off after six keys, so {MOST_KEYS} are offered at most"
            ));
        }
        false
    }

    /// The signature hash for an RSA key: what the host says it takes, SHA-512 where it says nothing, never SHA-1.
    async fn hash_for(&self, key: &PublicKey) -> Option<HashAlg> {
        if !key.algorithm().is_rsa() {
            return None;
        }
        let said = self.handle.best_supported_rsa_hash().await.ok().flatten().flatten();
        said.or(Some(HashAlg::Sha512))
    }

    /// Takes the answer to one key: true for a login, false to try the next.
    async fn heard(&mut self, name: String, answer: Result<AuthResult, String>) -> Result<bool, RemoteError> {
        self.offered.push(name.clone());
        match answer {
            Ok(AuthResult::Success) => return Ok(true),
            Ok(AuthResult::Failure { remaining_methods, partial_success }) => {
                // A connection that was cut off answers "failure, no methods left" too.
                if self.handle.is_closed() || remaining_methods.is_empty() {
                    return Err(self.cut_off().await);
                }
                if partial_success {
                    return Err(RemoteError::Auth(format!(
                        "{} took {name}, but wants more than a key to log in: {}. fleet logs in with a key alone; \
                         see AuthenticationMethods in the host's sshd_config",
                        self.host.login(),
                        say_methods(&remaining_methods)
                    )));
                }
                self.methods = Some(remaining_methods);
            }
            // The agent declined, or does not hold what it listed; the next key may do.
            Err(_) if self.handle.is_closed() => return Err(self.cut_off().await),
            Err(trouble) => self.notes.push(format!("{name} could not sign: {}", printable(&trouble))),
        }
        Ok(false)
    }

    async fn cut_off(&self) -> RemoteError {
        RemoteError::Auth(format!(
            "{} cut the connection off while logging in, after {} ({}); this is not a plain refusal of the key: look at \
             the host's sshd log, and offer fewer keys if it says \"Too many authentication failures\"",
            self.host.login(),
            count(self.offered.len()),
            self.told.why().await
        ))
    }

    fn refused(self) -> RemoteError {
        let login = self.host.login();
        let notes = self.notes.join("; ");
        if self.offered.is_empty() {
            return RemoteError::Auth(format!("no key could be offered to {login}: {notes}"));
        }
        let methods = self.methods.as_ref().map_or_else(|| "nothing that it names".to_owned(), say_methods);
        let notes = if notes.is_empty() { notes } else { format!(" Besides: {notes}.") };
        RemoteError::Auth(format!(
            "{login} refused every key it was offered: {}. It takes: {methods}. Put one of these keys into that user's \
             authorized_keys on the host, or name the right key in the inventory (`identity`).{notes}",
            self.offered.join(", ")
        ))
    }
}

fn count(keys: usize) -> String {
    if keys == 1 { "1 key".to_owned() } else { format!("{keys} keys") }
}

fn say_methods(methods: &MethodSet) -> String {
    methods.iter().map(<&str>::from).collect::<Vec<_>>().join(", ")
}

type Agent = AgentClient<UnixStream>;

/// The agent, bound to this connection, and the keys it holds: first those whose files are locked.
async fn ask_agent(
    handle: &Handle<Client>,
    first: &[PublicKey],
) -> Result<(Agent, Vec<(PublicKey, String)>), String> {
    let trouble = |error: russh::keys::Error| format!("the SSH agent is of no use: {error}");
    let mut agent = AgentClient::connect_env().await.map_err(trouble)?;
    if let Some(binding) = handle.agent_session_binding() {
        // Older agents do not know how to be bound, and hold no keys that demand it.
        let _ = agent.bind_session(binding, false).await;
    }
    let mut held: Vec<(PublicKey, String)> = Vec::new();
    for identity in agent.request_identities().await.map_err(trouble)? {
        // Certificates are not offered yet; their bare keys would only be refused.
        if let AgentIdentity::PublicKey { key, comment } = identity {
            held.push((key, comment));
        }
    }
    if held.is_empty() {
        return Err("the SSH agent holds no keys (ssh-add -l)".to_owned());
    }
    held.sort_by_key(|(key, _)| !first.iter().any(|wanted| wanted.key_data() == key.key_data()));
    Ok((agent, held))
}
