//! Logging in, with few attempts: certificates and key files, then the agent's, then the password.

use std::path::PathBuf;
use std::sync::Arc;

use russh::client::{AuthResult, Handle};
use russh::keys::{Certificate, HashAlg, PrivateKey, PublicKey};
use russh::{MethodKind, MethodSet};
use tokio::time::timeout;

use super::client::{Client, Told};
use super::keys::Keys;
use super::passwords::{self, Gate};
use crate::inventory::Host;
use crate::remote::{RemoteError, printable};
use offer::{Hand, Offer, Shown};
use password::Answer;

mod agent;
pub(super) mod certificates;
mod offer;
mod password;
mod refusal;

/// OpenSSH cuts a connection off after six refused keys (MaxAuthTries), and then it looks lost rather than refused
/// (libraries 1.6): one fewer is offered. A password, the sixth, comes after them.
const MOST_KEYS: usize = 5;

/// Logs in with the first key or certificate that the host takes, and with the password where the host wants that and
/// keys did not do. The host's answers have `connect_timeout` for the keys together, and again for the password; a person who
/// types the password has as long as the host waits.
pub(super) async fn login(
    handle: &mut Handle<Client>,
    told: &Told,
    host: &Host,
    keys: Keys,
) -> Result<(), RemoteError> {
    let mut login = Login {
        handle,
        told,
        host,
        shown: Vec::new(),
        tried: Vec::new(),
        taken: Vec::new(),
        notes: keys.troubles.clone(),
        methods: None,
        sent: None,
    };
    let done = match timeout(host.connect_timeout, login.with_keys(&keys)).await {
        Ok(done) => done?,
        Err(_) => return Err(login.late()),
    };
    if done || login.with_password().await? { Ok(()) } else { Err(login.refused()) }
}

/// One login as far as it has come.
struct Login<'a> {
    handle: &'a mut Handle<Client>,
    told: &'a Told,
    host: &'a Host,
    /// Keys and certificates that the host was shown.
    shown: Vec<Shown>,
    /// What they are called, in order.
    tried: Vec<String>,
    /// What the host took as one of several things that it wants.
    taken: Vec<String>,
    /// What was left out, and why.
    notes: Vec<String>,
    /// What the host said last that it takes.
    methods: Option<MethodSet>,
    /// How the password was sent.
    sent: Option<String>,
}

impl Login<'_> {
    /// Certificates whose key is here, keys of files, then what the agent holds.
    async fn with_keys(&mut self, keys: &Keys) -> Result<bool, RemoteError> {
        let mut left = Vec::new();
        let mut of_files = Vec::new();
        for (file, certificate) in &keys.certificates {
            let its = |(_, key): &&(PathBuf, Arc<PrivateKey>)| {
                key.public_key().key_data() == certificate.public_key()
            };
            match keys.ready.iter().find(its) {
                Some((_, key)) => of_files.push((Offer::certificate(file, certificate, None), key)),
                None => left.push((file.clone(), certificate.clone())),
            }
        }
        of_files.extend(keys.ready.iter().map(|(file, key)| (Offer::key(file, key), key)));
        for (offer, key) in of_files {
            if self.offer(offer, Hand::File(Arc::clone(key))).await? {
                return Ok(true);
            }
        }
        let without_agent = self.shown.len();
        if self.host.agent
            && self.takes(MethodKind::PublicKey)
            && self.with_agent(&left, &keys.locked).await?
        {
            return Ok(true);
        }
        for (file, certificate) in &left {
            let shown = Shown::certificate(certificate);
            if !self.shown[without_agent..].contains(&shown) {
                self.notes.push(format!(
                    "certificate {} ({}) was not offered: its key is in no key file of `identity` that could be opened{}",
                    file.display(),
                    certificates::describe(certificate),
                    if self.host.agent { ", nor in the agent" } else { ", and `agent` is off" }
                ));
            }
        }
        // Where nothing could be shown the host has not said yet what it takes.
        if self.methods.is_none() {
            let answer = self.handle.authenticate_none(&self.host.user).await;
            return self.heard(None, answer.map_err(|error| error.to_string())).await;
        }
        Ok(false)
    }

    async fn with_agent(
        &mut self,
        files: &[(PathBuf, Certificate)],
        locked: &[PublicKey],
    ) -> Result<bool, RemoteError> {
        let (mut agent, held) = match agent::ask(self.handle).await {
            Ok(asked) => asked,
            Err(trouble) => {
                self.notes.push(trouble);
                return Ok(false);
            }
        };
        for offer in agent::offers(held, files, locked, &self.shown, &mut self.notes) {
            let Some(identity) = offer.signed_as.clone() else { continue };
            if self.offer(offer, Hand::Agent(&mut agent, Box::new(identity))).await? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Shows one key or certificate, if it may be; true for a login.
    async fn offer(&mut self, offer: Offer, mut hand: Hand<'_>) -> Result<bool, RemoteError> {
        if !self.takes(MethodKind::PublicKey) {
            return Ok(false);
        }
        if self.shown.len() >= MOST_KEYS {
            self.notes.push(format!(
                "{} was not offered: a host cuts off after six keys, so {MOST_KEYS} are offered at most",
                offer.name
            ));
            return Ok(false);
        }
        let hash = self.hash_for(&offer.shown).await;
        let user = &self.host.user;
        let answer = match &offer.shown {
            Shown::Key(key) => {
                let key = PublicKey::from(key.clone());
                self.handle.authenticate_publickey_with(user, key, hash, &mut hand).await
            }
            Shown::Certificate(certificate) => {
                let certificate = certificate.as_ref().clone();
                self.handle.authenticate_certificate_with(user, certificate, hash, &mut hand).await
            }
        };
        self.shown.push(offer.shown);
        self.tried.push(offer.name.clone());
        self.heard(Some(offer.name), answer.map_err(|error| error.to_string())).await
    }

    /// The signature hash for an RSA key: what the host says it takes, SHA-512 where it says nothing, never SHA-1.
    async fn hash_for(&self, shown: &Shown) -> Option<HashAlg> {
        if !shown.is_rsa() {
            return None;
        }
        let said = self.handle.best_supported_rsa_hash().await.ok().flatten().flatten();
        said.or(Some(HashAlg::Sha512))
    }

    /// Whether the host takes this method, as far as it has said.
    fn takes(&self, method: MethodKind) -> bool {
        self.methods.as_ref().is_none_or(|methods| methods.contains(&method))
    }

    /// Sends the password, where the host wants one, by one method and once: true for a login.
    async fn with_password(&mut self) -> Result<bool, RemoteError> {
        // With both, the simpler one: it has no questions that could be misunderstood.
        let ways = [MethodKind::Password, MethodKind::KeyboardInteractive];
        let Some(way) = ways.into_iter().find(|way| self.takes(*way)) else {
            if self.host.password.is_some() {
                self.notes.push("the password was not sent: the host takes none".to_owned());
            }
            return Ok(false);
        };
        let Some(reference) = &self.host.password else {
            self.notes.push(
                "the host takes a password, and the inventory does not say where one is (`password`)"
                    .to_owned(),
            );
            return Ok(false);
        };
        if passwords::was_refused(Gate::Login, self.host, reference) {
            self.notes.push(format!(
                "the password from {} was not sent: this host refused it before, and may lock the user out",
                passwords::say(reference)
            ));
            return Ok(false);
        }
        let password = match passwords::fetch(&self.host.user, reference).await {
            Ok(password) => password,
            Err(trouble) => {
                self.notes.push(trouble);
                return Ok(false);
            }
        };
        if self.handle.is_closed() {
            return Err(self.hung_up().await);
        }
        let name = format!("the password from {} (by {})", passwords::say(reference), <&str>::from(&way));
        self.sent = Some(name.clone());
        let user = &self.host.user;
        let answered = match way {
            MethodKind::Password => {
                timeout(self.host.connect_timeout, password::by_password(self.handle, user, &password)).await
            }
            _ => {
                timeout(self.host.connect_timeout, password::by_question(self.handle, user, &password)).await
            }
        };
        let done = match answered {
            Ok(Ok(Answer::Judged(answer))) => self.heard(Some(name), Ok(answer)).await,
            Ok(Ok(Answer::Asked(what))) => Err(self.asked(&what)),
            Ok(Err(error)) => self.heard(Some(name), Err(error.to_string())).await,
            Err(_) => Err(self.unanswered()),
        };
        let taken = self.taken.iter().any(|taken| Some(taken) == self.sent.as_ref());
        if !matches!(done, Ok(true)) && !taken {
            passwords::remember_refused(Gate::Login, self.host, reference);
        }
        done
    }

    /// Takes the answer to one try: true for a login, false to go on.
    async fn heard(
        &mut self,
        name: Option<String>,
        answer: Result<AuthResult, String>,
    ) -> Result<bool, RemoteError> {
        match answer {
            Ok(AuthResult::Success) => return Ok(true),
            Ok(AuthResult::Failure { remaining_methods, partial_success }) => {
                // A connection that was cut off answers "failure, no methods left" too.
                if self.handle.is_closed() || remaining_methods.is_empty() {
                    return Err(self.cut_off().await);
                }
                if partial_success {
                    self.taken.extend(name);
                }
                self.methods = Some(remaining_methods);
            }
            Err(_) if self.handle.is_closed() => return Err(self.cut_off().await),
            // The agent declined, or does not hold what it listed; the next key may do.
            Err(trouble) => self.notes.push(format!(
                "{} could not be used: {}",
                name.unwrap_or_else(|| "no key".to_owned()),
                printable(&trouble)
            )),
        }
        Ok(false)
    }
}
