//! Which host keys are accepted: the inventory's pinned one, or those of known_hosts files.
//!
//! Lines are parsed by the library's parser; the matching is ours, because the library's own check accepts a revoked
//! key and refuses much that OpenSSH accepts (libraries 1.3). Certificate authorities are not used yet: their lines
//! make nothing known.

use std::path::PathBuf;

use hmac::{Hmac, KeyInit, Mac};
use russh::keys::ssh_key::known_hosts::{Entry, HostPatterns, Marker};
use russh::keys::{Algorithm, EcdsaCurve, HashAlg, PublicKey};
use sha1::Sha1;

use crate::inventory::Host;
use crate::remote::{RemoteError, printable};

/// What is known about one host's keys.
#[derive(Debug)]
pub(super) struct HostKeys {
    /// `root@203.0.113.7:22`.
    login: String,
    /// The name as known_hosts writes it: `host`, or `[host]:port` for a port other than 22.
    name: String,
    /// The inventory's own word, and where it stands.
    pinned: Option<(PublicKey, String)>,
    /// Lines that match the name, and lines that match the host without its port.
    lines: Vec<Line>,
    /// The files that were read.
    files: Vec<PathBuf>,
}

/// One line of a known_hosts file that is about this host.
#[derive(Debug)]
struct Line {
    key: PublicKey,
    revoked: bool,
    /// Whether it matches only once the port is left away; OpenSSH asks such lines last, and only to accept.
    portless: bool,
    file: PathBuf,
    number: usize,
}

impl HostKeys {
    /// Reads the files. One that does not exist is empty; one that cannot be read is an error: it may hold a revocation.
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
            known.pinned = Some((key, host.defined_at.clone()));
        }
        Ok(known)
    }

    /// What these known_hosts texts say about the host's host.
    fn from_texts(host: &Host, texts: &[(PathBuf, String)]) -> Self {
        let address = host.address.to_lowercase();
        let name = if host.port == 22 { address.clone() } else { format!("[{address}]:{}", host.port) };
        let mut lines = Vec::new();
        for (file, text) in texts {
            for (index, line) in text.lines().enumerate() {
                let Some(entry) = parse(line) else { continue };
                if entry.marker() == Some(&Marker::CertAuthority) {
                    continue;
                }
                let exact = matches(entry.host_patterns(), &name);
                if exact || matches(entry.host_patterns(), &address) {
                    lines.push(Line {
                        key: entry.public_key().clone(),
                        revoked: entry.marker() == Some(&Marker::Revoked),
                        portless: !exact,
                        file: file.clone(),
                        number: index + 1,
                    });
                }
            }
        }
        let files = host.known_hosts.clone();
        Self { login: host.login(), name, pinned: None, lines, files }
    }

    /// Host key algorithms in the order to ask for: those that are recorded first, or a host known by its RSA key alone
    /// would show another and look unknown (libraries 1.3). The rest follow, so that a changed key can be named.
    /// SHA-1 signatures are not taken.
    pub(super) fn algorithms(&self) -> Vec<Algorithm> {
        let recorded = |algorithm: &Algorithm| {
            let same = |key: &PublicKey| match (key.algorithm(), algorithm) {
                (Algorithm::Rsa { .. }, Algorithm::Rsa { .. }) => true,
                (known, asked) => known == *asked,
            };
            match &self.pinned {
                Some((key, _)) => same(key),
                None => self.lines.iter().any(|line| !line.revoked && same(&line.key)),
            }
        };
        let all = [
            Algorithm::Ed25519,
            Algorithm::Ecdsa { curve: EcdsaCurve::NistP256 },
            Algorithm::Ecdsa { curve: EcdsaCurve::NistP384 },
            Algorithm::Ecdsa { curve: EcdsaCurve::NistP521 },
            Algorithm::Rsa { hash: Some(HashAlg::Sha512) },
            Algorithm::Rsa { hash: Some(HashAlg::Sha256) },
        ];
        let (first, rest): (Vec<_>, Vec<_>) = all.into_iter().partition(recorded);
        first.into_iter().chain(rest).collect()
    }

    /// Accepts the key that the host showed, or says in full why not and what to do.
    pub(super) fn judge(&self, shown: &PublicKey) -> Result<(), String> {
        let same = |line: &&Line| line.key.key_data() == shown.key_data();
        if let Some(line) = self.lines.iter().filter(|line| line.revoked).find(same) {
            return Err(format!(
                "the host key of {} is revoked: {} is marked @revoked in {}:{}. Whoever holds that key may not be your \
                 host; give the host a new key, then record it",
                self.login,
                name_key(shown),
                line.file.display(),
                line.number
            ));
        }
        if let Some((pinned, place)) = &self.pinned {
            if pinned.key_data() == shown.key_data() {
                return Ok(());
            }
            return Err(self.changed(shown, pinned, &format!("host_key in {place}")));
        }
        let mut lines = self.lines.iter().filter(|line| !line.revoked);
        if lines.clone().any(|line| same(&line)) {
            return Ok(());
        }
        match lines.find(|line| !line.portless) {
            Some(line) => {
                let place = format!("{}:{}", line.file.display(), line.number);
                Err(self.changed(shown, &line.key, &place))
            }
            None => Err(self.unknown(shown)),
        }
    }

    fn changed(&self, shown: &PublicKey, recorded: &PublicKey, place: &str) -> String {
        format!(
            "the host key of {} has changed: it shows {}, but {place} records {}. Either the host was reinstalled, or \
             something between you and it answers in its place. Ask somebody with a console on the host for the output of \
             `ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub` (or of the other key files there); only if it is the \
             fingerprint shown, replace the record at {place}",
            self.login,
            name_key(shown),
            name_key(recorded)
        )
    }

    fn unknown(&self, shown: &PublicKey) -> String {
        let key = printable(&shown.to_openssh().unwrap_or_default());
        let file = self
            .files
            .first()
            .map_or_else(|| "a known_hosts file".to_owned(), |file| format!("{}", file.display()));
        format!(
            "the host key of {} is not known: it shows {}. Compare that fingerprint with the one on the host's own console; \
             if it is the same, write to the inventory: host_key = \"{key}\" — or to {file}: {} {key}",
            self.login,
            name_key(shown),
            self.name
        )
    }
}

/// `ssh-ed25519 SHA256:…`.
pub(super) fn name_key(key: &PublicKey) -> String {
    printable(&format!("{} {}", key.algorithm(), key.fingerprint(HashAlg::Sha256)))
}

/// A line as the library's parser takes it: it rejects tabs and leading blanks, and comments are of no use here.
/// `None` where there is nothing to learn: a bad line never spoils the file.
fn parse(line: &str) -> Option<Entry> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let wanted = if fields.first()?.starts_with('@') { 4 } else { 3 };
    if fields.first()?.starts_with('#') || fields.len() < wanted {
        return None;
    }
    fields[..wanted].join(" ").parse().ok()
}

/// Whether a line's names say this name, in lower case.
fn matches(names: &HostPatterns, name: &str) -> bool {
    match names {
        HostPatterns::HashedName { salt, hash } => Hmac::<Sha1>::new_from_slice(salt)
            .is_ok_and(|mac| mac.chain_update(name.as_bytes()).verify_slice(hash).is_ok()),
        HostPatterns::Patterns(patterns) => {
            let mut found = false;
            for pattern in patterns {
                let pattern = pattern.to_lowercase();
                match pattern.strip_prefix('!') {
                    // What is excluded once is excluded whatever else the line says.
                    Some(pattern) if glob(pattern, name) => return false,
                    Some(_) => {}
                    None => found |= glob(&pattern, name),
                }
            }
            found
        }
    }
}

/// `*` is any text, `?` any one character; nothing else is special, `[` least of all.
fn glob(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<char>, Vec<char>) = (pattern.chars().collect(), text.chars().collect());
    let (mut p, mut t) = (0, 0);
    // Where the last star stands, and how much of the text it has eaten.
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some('*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(&c) if c == '?' || c == text[t] => {
                p += 1;
                t += 1;
            }
            _ => match star {
                Some((at, eaten)) => {
                    star = Some((at, eaten + 1));
                    p = at + 1;
                    t = eaten + 1;
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|&c| c == '*')
}

#[cfg(test)]
#[path = "hostkeys_tests.rs"]
mod tests;
