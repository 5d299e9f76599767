//! Which host keys are accepted: the inventory's pinned one, or those that known_hosts files or their authorities vouch for.
//!
//! The search is OpenSSH's `check_host_key`, in its order, surprises included: the library's own check accepts a revoked key and
//! refuses much that OpenSSH accepts (libraries 1.3). Where this is stricter than OpenSSH it is said at the place.

use std::path::PathBuf;

use russh::keys::{Algorithm, Certificate, EcdsaCurve, HashAlg, PublicKey, PublicKeyOrCertificate};

use crate::inventory::Host;
use crate::remote::RemoteError;
use line::{Line, Mark};
pub(super) use refusal::name_key;

mod certificate;
mod line;
mod refusal;

/// What the inventory and the known_hosts files say about a key that a host shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Recorded {
    /// The inventory pins it.
    Pinned {
        /// Where: `host_key in clusters.toml:7`.
        place: String,
    },
    /// A known_hosts line has it.
    Known {
        /// Where: `/home/op/.ssh/known_hosts:3`.
        place: String,
    },
    /// The host has a good certificate for it, by an authority that a `@cert-authority` line names.
    Certified {
        /// Where that line is.
        place: String,
    },
    /// Another key is recorded for the host.
    Changed {
        /// That other key: `ssh-ed25519 SHA256:…`.
        recorded: String,
        /// Where.
        place: String,
    },
    /// It, or the authority of its certificate, is marked `@revoked`.
    Revoked {
        /// The key that is revoked: `ssh-ed25519 SHA256:…`.
        revoked: String,
        /// Where.
        place: String,
    },
    /// Nothing.
    Unknown,
}

impl Recorded {
    /// Whether a host that shows the key is connected to.
    #[must_use]
    pub const fn is_accepted(&self) -> bool {
        matches!(self, Self::Pinned { .. } | Self::Known { .. } | Self::Certified { .. })
    }
}

/// What is known about one host's keys.
#[derive(Debug)]
pub(super) struct HostKeys {
    /// The cluster's name, or the jump host's.
    host: String,
    /// `root@203.0.113.7:22`.
    login: String,
    /// The name that is looked up: `host`, `[host]:port` for a port other than 22, or the alias; in lower case.
    name: String,
    /// The name that a certificate must have: as above, without the port.
    principal: String,
    /// The inventory's own word, and where it stands.
    pinned: Option<(PublicKey, String)>,
    /// Lines that say the name.
    lines: Vec<Placed>,
    /// Lines that say the host's name once the port is left away. OpenSSH asks them last, and only to accept.
    portless: Vec<Placed>,
    /// The files that were read.
    files: Vec<PathBuf>,
}

/// A line and its place, `known_hosts:3`.
#[derive(Debug)]
struct Placed {
    line: Line,
    place: String,
}

/// What was found out about a key that a host shows.
#[derive(Debug)]
pub(super) struct Found {
    /// What is recorded.
    pub(super) recorded: Recorded,
    /// Why the certificate that it came with is of no use, where it came with one and that is so.
    fault: Option<String>,
}

impl HostKeys {
    /// Reads the files. One that does not exist is empty; one that cannot be read is an error: it may hold a revocation. (OpenSSH
    /// passes over both.)
    pub(super) async fn read(host: &Host) -> Result<Self, RemoteError> {
        let mut texts = Vec::new();
        for file in &host.known_hosts {
            match tokio::fs::read(file).await {
                Ok(bytes) => texts.push((file.clone(), String::from_utf8_lossy(&bytes).into_owned())),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => {
                    let file = file.display();
                    return Err(RemoteError::Here(format!("cannot read known_hosts file {file}: {error}")));
                }
            }
        }
        let mut known = Self::from_texts(host, &texts);
        if let Some(text) = &host.host_key {
            let key = PublicKey::from_openssh(text.trim()).map_err(|error| {
                RemoteError::Here(format!(
                    "{}: host_key of {} is not a public key ({error}); it is written `ssh-ed25519 AAAA…`, without a host name",
                    host.defined_at, host.name
                ))
            })?;
            known.pinned = Some((key, format!("host_key in {}", host.defined_at)));
        }
        Ok(known)
    }

    /// What these known_hosts texts say about the host.
    fn from_texts(host: &Host, texts: &[(PathBuf, String)]) -> Self {
        let address = host.address.to_ascii_lowercase();
        // An alias stands for host and port together.
        let principal =
            host.host_key_alias.as_ref().map_or_else(|| address.clone(), |alias| alias.to_ascii_lowercase());
        let has_port = host.host_key_alias.is_none() && host.port != 22;
        let name = if has_port { format!("[{address}]:{}", host.port) } else { principal.clone() };
        let (mut lines, mut portless) = (Vec::new(), Vec::new());
        for (file, text) in texts {
            for (index, text) in text.lines().enumerate() {
                let Some(line) = Line::parse(text, [&name, &address]) else { continue };
                let place = format!("{}:{}", file.display(), index + 1);
                // One that says both, `*` for example, is asked the first time.
                if line.names(&name) {
                    lines.push(Placed { line, place });
                } else if has_port && line.names(&address) {
                    portless.push(Placed { line, place });
                }
            }
        }
        Self {
            host: host.name.clone(),
            login: host.login(),
            name,
            principal,
            pinned: None,
            lines,
            portless,
            files: host.known_hosts.clone(),
        }
    }

    /// Host key algorithms in the order to ask for: those that are recorded first, or a host known by its RSA key alone
    /// would show another and look unknown (libraries 1.3); lines without port count after those with it, as in the search. The
    /// rest follow, so that a changed key can be named. SHA-1 signatures are not taken.
    pub(super) fn algorithms(&self) -> Vec<Algorithm> {
        let same = |key: &PublicKey, asked: &Algorithm| match (key.algorithm(), asked) {
            (Algorithm::Rsa { .. }, Algorithm::Rsa { .. }) => true,
            (recorded, asked) => recorded == *asked,
        };
        let among = |lines: &[Placed], asked: &Algorithm| {
            lines.iter().any(|placed| placed.line.mark == Mark::Plain && same(&placed.line.key, asked))
        };
        let mut algorithms = algorithms();
        algorithms.sort_by_key(|asked| match &self.pinned {
            Some((key, _)) => u8::from(!same(key, asked)),
            None if among(&self.lines, asked) => 0,
            None if among(&self.portless, asked) => 1,
            None => 2,
        });
        algorithms.to_vec()
    }

    /// The same for certificates, which a host shows before its plain keys: none unless an authority is recorded and no key is
    /// pinned, for a host may have certificates that mean nothing here.
    pub(super) fn certificate_algorithms(&self) -> Vec<Algorithm> {
        let wanted = self.pinned.is_none() && self.marked(Mark::Authority).next().is_some();
        if wanted { self.algorithms() } else { Vec::new() }
    }

    /// Accepts what the host showed, or says in full why not and what to do.
    pub(super) fn judge(&self, shown: &PublicKeyOrCertificate) -> Result<(), String> {
        let found = self.look_up(shown);
        if found.recorded.is_accepted() { Ok(()) } else { Err(self.refuse(shown, &found)) }
    }

    /// What is recorded about what the host showed.
    pub(super) fn look_up(&self, shown: &PublicKeyOrCertificate) -> Found {
        let key = shown.public_key();
        let certificate = shown.certificate();
        let mut fault = None;
        let recorded = if let Some(placed) = self.revocation(&key, certificate) {
            Recorded::Revoked { revoked: name_key(&placed.line.key), place: placed.place.clone() }
        } else if let Some((pinned, place)) = &self.pinned {
            let place = place.clone();
            if pinned.key_data() == key.key_data() {
                Recorded::Pinned { place }
            } else {
                Recorded::Changed { recorded: name_key(pinned), place }
            }
        } else {
            self.search(&key, certificate, &self.lines, &self.portless, &mut fault)
        };
        Found { recorded, fault }
    }

    /// The line that revokes the key, or the authority of its certificate. Stricter than OpenSSH, which does not look at a line
    /// without port for a host on another port once a line with the port knows the key: a key that is given up is so on every port.
    fn revocation(&self, key: &PublicKey, certificate: Option<&Certificate>) -> Option<&Placed> {
        self.marked(Mark::Revoked).find(|placed| {
            let revoked = placed.line.key.key_data();
            revoked == key.key_data() || certificate.is_some_and(|shown| revoked == shown.signature_key())
        })
    }

    /// OpenSSH's search: the certificate, if there is one; then, if that is of no use, the key in it as if it had come bare; each
    /// first among the lines that say the name with its port, then, if these say nothing at all, among those without.
    fn search(
        &self,
        key: &PublicKey,
        certificate: Option<&Certificate>,
        lines: &[Placed],
        portless: &[Placed],
        fault: &mut Option<String>,
    ) -> Recorded {
        let marked = |mark| lines.iter().filter(move |placed| placed.line.mark == mark);
        if let Some(shown) = certificate {
            let mut authorities = marked(Mark::Authority);
            let authority = authorities.find(|placed| placed.line.key.key_data() == shown.signature_key());
            match authority {
                Some(placed) => match certificate::fault(shown, &self.principal) {
                    None => return Recorded::Certified { place: placed.place.clone() },
                    Some(why) => *fault = Some(why),
                },
                None if !portless.is_empty() => {
                    let found = self.search(key, certificate, portless, &[], fault);
                    if found.is_accepted() {
                        return found;
                    }
                }
                None => *fault = Some(self.unknown_authority(shown)),
            }
        }
        let same = |placed: &&Placed| placed.line.key.key_data() == key.key_data();
        if let Some(placed) = marked(Mark::Plain).find(same) {
            return Recorded::Known { place: placed.place.clone() };
        }
        let alike = |placed: &&Placed| placed.line.key.algorithm() == key.algorithm();
        if let Some(placed) = marked(Mark::Plain).find(alike).or_else(|| marked(Mark::Plain).next()) {
            return Recorded::Changed { recorded: name_key(&placed.line.key), place: placed.place.clone() };
        }
        if portless.is_empty() {
            return Recorded::Unknown;
        }
        // A line without port makes a host on another port known, but never another host.
        match self.search(key, None, portless, &[], fault) {
            known @ Recorded::Known { .. } => known,
            _ => Recorded::Unknown,
        }
    }

    /// All lines about the host with this mark.
    fn marked(&self, mark: Mark) -> impl Iterator<Item = &Placed> {
        self.lines.iter().chain(&self.portless).filter(move |placed| placed.line.mark == mark)
    }
}

/// The host key algorithms that are taken, the best first.
fn algorithms() -> [Algorithm; 6] {
    [
        Algorithm::Ed25519,
        Algorithm::Ecdsa { curve: EcdsaCurve::NistP256 },
        Algorithm::Ecdsa { curve: EcdsaCurve::NistP384 },
        Algorithm::Ecdsa { curve: EcdsaCurve::NistP521 },
        Algorithm::Rsa { hash: Some(HashAlg::Sha512) },
        Algorithm::Rsa { hash: Some(HashAlg::Sha256) },
    ]
}

#[cfg(test)]
mod tests;
