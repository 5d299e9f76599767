//! One key or certificate to show to a host, and who signs for it.

use std::path::Path;
use std::sync::Arc;

use russh::keys::agent::AgentIdentity;
use russh::keys::signature::Signer as _;
use russh::keys::ssh_encoding::Encode as _;
use russh::keys::ssh_key::private::KeypairData;
use russh::keys::ssh_key::public::KeyData;
use russh::keys::{Certificate, HashAlg, PrivateKey};
use russh::{AgentAuthError, Signer};

use super::agent::Agent;
use super::certificates;
use crate::ssh::hostkeys::name_key;

/// What the host is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Shown {
    /// A bare public key.
    Key(KeyData),
    /// A user certificate, without its comment.
    Certificate(Box<Certificate>),
}

impl Shown {
    /// A certificate; its comment, which differs between a file and an agent, is left away.
    pub(super) fn certificate(certificate: &Certificate) -> Self {
        let mut certificate = certificate.clone();
        certificate.set_comment("");
        Self::Certificate(Box::new(certificate))
    }

    /// Whether its signatures are made by an RSA key.
    pub(super) fn is_rsa(&self) -> bool {
        match self {
            Self::Key(key) => key.algorithm().is_rsa(),
            Self::Certificate(certificate) => certificate.algorithm().is_rsa(),
        }
    }
}

/// One thing to try.
#[derive(Debug)]
pub(super) struct Offer {
    /// What it is called in messages.
    pub(super) name: String,
    /// What the host is shown.
    pub(super) shown: Shown,
    /// The identity by which the agent is asked to sign; a key file signs without one.
    pub(super) signed_as: Option<AgentIdentity>,
}

impl Offer {
    /// The key of a file.
    pub(super) fn key(file: &Path, key: &PrivateKey) -> Self {
        let key = key.public_key();
        Self {
            name: format!("{} ({})", file.display(), name_key(key)),
            shown: Shown::Key(key.key_data().clone()),
            signed_as: None,
        }
    }

    /// The certificate of a file; `signed_as` where the agent holds its key.
    pub(super) fn certificate(
        file: &Path,
        certificate: &Certificate,
        signed_as: Option<AgentIdentity>,
    ) -> Self {
        let with = if signed_as.is_some() { ", signed for by the agent" } else { "" };
        let about = certificates::describe(certificate);
        Self {
            name: format!("certificate {} ({about}{with})", file.display()),
            shown: Shown::certificate(certificate),
            signed_as,
        }
    }
}

/// Who signs.
pub(super) enum Hand<'a> {
    /// A key of this process.
    File(Arc<PrivateKey>),
    /// The agent, by one of its identities: it does not know a certificate that only a file holds.
    Agent(&'a mut Agent, Box<AgentIdentity>),
}

impl Signer for Hand<'_> {
    type Error = AgentAuthError;

    /// What is to be signed, with the signature behind it.
    async fn auth_sign(
        &mut self,
        _: &AgentIdentity,
        hash: Option<HashAlg>,
        mut to_sign: Vec<u8>,
    ) -> Result<Vec<u8>, Self::Error> {
        match self {
            Self::Agent(agent, identity) => Ok(agent.sign_request(identity, hash, to_sign).await?),
            Self::File(key) => {
                // The library's own signing with a certificate knows SHA-1 alone for RSA, which no host takes.
                let signature = match key.key_data() {
                    KeypairData::Rsa(pair) => (pair, hash).try_sign(&to_sign),
                    pair => pair.try_sign(&to_sign),
                };
                let signature = signature.map_err(russh::keys::Error::from)?;
                signature.encode_prefixed(&mut to_sign).map_err(russh::keys::Error::from)?;
                Ok(to_sign)
            }
        }
    }
}
