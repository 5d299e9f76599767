//! One line of a known_hosts file, read as OpenSSH's `hostkeys_foreach` reads it.
//!
//! Names and keys are parsed by the library. How a line falls into its words is ours, because the library's own splitting rejects
//! tabs and leading blanks (libraries 1.3).

use hmac::{Hmac, KeyInit, Mac};
use russh::keys::ssh_key::known_hosts::HostPatterns;
use russh::keys::{Algorithm, PublicKey};
use sha1::Sha1;

/// What stands between words. Nothing else does: OpenSSH takes any other white space for a part of a word.
const BLANKS: [char; 2] = [' ', '\t'];
/// A pattern of so many bytes makes OpenSSH give up on the line.
const LONGEST_PATTERN: usize = 1023;
/// Bytes of the salt of a hashed name; OpenSSH takes no other.
const SALT: usize = 20;

/// What a line is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mark {
    /// A host has this key.
    Plain,
    /// `@cert-authority`: who has this key may vouch for hosts.
    Authority,
    /// `@revoked`: nobody may be believed who shows this key, or a certificate by it.
    Revoked,
}

/// A line that can be understood.
#[derive(Debug)]
pub(super) struct Line {
    /// What it is about.
    pub(super) mark: Mark,
    /// Its names.
    names: HostPatterns,
    /// Its key.
    pub(super) key: PublicKey,
}

impl Line {
    /// Reads a line, without its line end, that may be about one of these hosts. `None` where it says nothing, cannot be understood or is
    /// plainly about others: it is passed over, and a bad line never spoils the file.
    pub(super) fn parse(text: &str, hosts: [&str; 2]) -> Option<Self> {
        // The end of a string, to a program in C.
        let text = text.split('\0').next()?.trim_start_matches(BLANKS);
        if text.starts_with('#') {
            return None;
        }
        let (mark, text) = marked(text)?;
        let (names, text) = text.split_once(BLANKS)?;
        if is_of_others(names, hosts) {
            return None;
        }
        let (kind, text) = text.trim_start_matches(BLANKS).split_once(BLANKS)?;
        // What follows is a comment.
        let blob = text.trim_start_matches(BLANKS).split(BLANKS).next()?;
        Some(Self { mark, names: names_of(names)?, key: key_of(kind, blob)? })
    }

    /// Whether its names say this name, in lower case.
    pub(super) fn names(&self, name: &str) -> bool {
        match &self.names {
            HostPatterns::HashedName { salt, hash } => Hmac::<Sha1>::new_from_slice(salt)
                .is_ok_and(|mac| mac.chain_update(name.as_bytes()).verify_slice(hash).is_ok()),
            HostPatterns::Patterns(patterns) => any_of(patterns, name),
        }
    }
}

/// The mark of a line, and what follows it.
///
/// OpenSSH looks for the first space, and for a tab only where there is none: `@revoked<tab>host key` is to it a line with the
/// unknown mark `@revoked<tab>host`, which it passes over. So is it with an authority here; a revocation, however it is written,
/// is believed.
fn marked(text: &str) -> Option<(Mark, &str)> {
    if !text.starts_with('@') {
        return Some((Mark::Plain, text));
    }
    let (word, rest) = text.split_once(BLANKS)?;
    let tab_then_space = text[word.len()..].starts_with('\t') && text.contains(' ');
    let mark = match word {
        "@revoked" => Mark::Revoked,
        "@cert-authority" if !tab_then_space => Mark::Authority,
        _ => return None,
    };
    let rest = rest.trim_start_matches(BLANKS);
    // One mark is all that a line may have.
    (!rest.starts_with('@')).then_some((mark, rest))
}

/// Whether a plain list of names has none of these. It is asked before the key is decoded: a file that a provider's hundreds of hosts
/// are in is read for each of them.
fn is_of_others(names: &str, hosts: [&str; 2]) -> bool {
    !names.contains(['*', '?', '!', '|'])
        && !names.split(',').any(|name| hosts.iter().any(|host| name.eq_ignore_ascii_case(host)))
}

/// The names of a line: patterns, or one hash.
fn names_of(text: &str) -> Option<HostPatterns> {
    let names: HostPatterns = text.parse().ok()?;
    match &names {
        HostPatterns::HashedName { salt, .. } if salt.len() != SALT => None,
        // A hash of another kind is no pattern.
        HostPatterns::Patterns(_) if text.starts_with('|') => None,
        _ => Some(names),
    }
}

/// A key from its type and its base64.
fn key_of(kind: &str, blob: &str) -> Option<PublicKey> {
    // These are names of signatures; OpenSSH takes them for the name of the key as well.
    let kind = if matches!(kind, "rsa-sha2-256" | "rsa-sha2-512") { "ssh-rsa" } else { kind };
    // A carriage return at the end of a file without a last line end, for one.
    let blob: String = blob.chars().filter(|c| !c.is_ascii_whitespace()).collect();
    let key = PublicKey::from_openssh(&format!("{kind} {blob}")).ok()?;
    // The library carries types that it does not know; OpenSSH passes such a line over.
    (!matches!(key.algorithm(), Algorithm::Other(_))).then_some(key)
}

/// Whether the patterns say this name, in lower case. What is excluded once is excluded whatever else the line says.
fn any_of(patterns: &[String], name: &str) -> bool {
    let mut found = false;
    for pattern in patterns {
        let (excludes, pattern) =
            pattern.strip_prefix('!').map_or((false, pattern.as_str()), |rest| (true, rest));
        if pattern.len() >= LONGEST_PATTERN {
            return false;
        }
        if glob(pattern.to_ascii_lowercase().as_bytes(), name.as_bytes()) {
            if excludes {
                return false;
            }
            found = true;
        }
    }
    found
}

/// `*` is any text, `?` any one byte; nothing else is special, `[` least of all.
pub(super) fn glob(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    // Where the last star stands, and how much of the text it has eaten.
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(&c) if c == b'?' || c == text[t] => {
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
    pattern[p..].iter().all(|&c| c == b'*')
}
