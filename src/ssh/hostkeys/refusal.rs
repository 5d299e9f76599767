//! What an operator is told when a host key is refused: what the host shows, what is recorded and where, and what to do.

use russh::keys::{Certificate, HashAlg, PublicKey, PublicKeyOrCertificate};

use super::{Found, HostKeys, Mark, Recorded};
use crate::remote::printable;

/// `ssh-ed25519 SHA256:…`.
pub(in crate::ssh) fn name_key(key: &PublicKey) -> String {
    printable(&format!("{} {}", key.algorithm(), key.fingerprint(HashAlg::Sha256)))
}

/// The key that signed a certificate.
fn authority_of(certificate: &Certificate) -> String {
    name_key(&PublicKey::from(certificate.signature_key().clone()))
}

impl HostKeys {
    /// Why a host that shows this is not connected to.
    pub(super) fn refuse(&self, shown: &PublicKeyOrCertificate, found: &Found) -> String {
        let key = shown.public_key();
        let text = match &found.recorded {
            Recorded::Revoked { revoked, place } => return self.revoked(&key, revoked, place),
            Recorded::Changed { recorded, place } => self.changed(&key, recorded, place),
            _ => self.unknown(&key),
        };
        match (&found.fault, shown.certificate()) {
            (Some(fault), Some(certificate)) => format!(
                "the host certificate of {} is not accepted: {fault} (signed by {}). Let its authority sign a right one. And \
                 without the certificate, {text}",
                self.login,
                authority_of(certificate)
            ),
            _ => text,
        }
    }

    /// Why a certificate is of no use whose authority nobody has recorded.
    pub(super) fn unknown_authority(&self, certificate: &Certificate) -> String {
        let recorded: Vec<String> = self
            .marked(Mark::Authority)
            .map(|placed| format!("{} in {}", name_key(&placed.line.key), placed.place))
            .collect();
        let signed_by = authority_of(certificate);
        format!(
            "it is signed by {signed_by}, but the authority of {} is {}",
            self.name,
            recorded.join(", or ")
        )
    }

    fn revoked(&self, key: &PublicKey, revoked: &str, place: &str) -> String {
        let what = if name_key(key) == revoked {
            format!("the host key of {}", self.login)
        } else {
            format!("the authority behind the host certificate of {}", self.login)
        };
        format!(
            "{what} is revoked: {revoked} is marked @revoked in {place}. Whoever holds that key may not be your host; give the \
             host a new key, then record it"
        )
    }

    fn changed(&self, key: &PublicKey, recorded: &str, place: &str) -> String {
        format!(
            "the host key of {} has changed: it shows {}, but {place} records {recorded}. Either the host was reinstalled, or \
             something between you and it answers in its place. `fleet trust --on {}` shows all of its keys. Ask somebody with a \
             console on the host for the output of `ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub` (or of the other key files \
             there); only if it is the fingerprint shown, replace the record at {place}",
            self.login,
            name_key(key),
            self.host,
        )
    }

    fn unknown(&self, key: &PublicKey) -> String {
        let written = printable(&key.to_openssh().unwrap_or_default());
        let file = self
            .files
            .first()
            .map_or_else(|| "a known_hosts file".to_owned(), |file| format!("{}", file.display()));
        format!(
            "the host key of {} is not known: it shows {}. Compare that fingerprint with the one on the host's own console; \
             if it is the same, `fleet trust --on {}` records it, or write to the inventory: host_key = \"{written}\" — or to \
             {file}: {} {written}",
            self.login,
            name_key(key),
            self.host,
            self.name
        )
    }
}
