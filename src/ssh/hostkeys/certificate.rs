//! Whether a host certificate is good: OpenSSH's `sshkey_cert_check_host`, with its order of questions.
//!
//! The library checks the signature, whose it is and the time; type, principal and critical options are left to its user
//! (libraries 1.3).

use std::time::{SystemTime, UNIX_EPOCH};

use jiff::Timestamp;
use russh::keys::ssh_key::certificate::CertType;
use russh::keys::{Algorithm, Certificate, HashAlg};

use crate::form;
use crate::remote::printable;

/// Why this certificate is no proof that who shows it is the host of this name; `None` where it is one. Whose signature it bears
/// was looked at before.
pub(super) fn fault(certificate: &Certificate, name: &str) -> Option<String> {
    if certificate.cert_type() != CertType::Host {
        return Some("it is a user's certificate, not a host's".to_owned());
    }
    // A clock before 1970 finds every certificate not valid yet.
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    if now < certificate.valid_after() {
        return Some(format!("it is not valid before {}", moment(certificate.valid_after())));
    }
    if now >= certificate.valid_before() {
        return Some(format!("it expired at {}", moment(certificate.valid_before())));
    }
    let principals = certificate.valid_principals();
    if principals.is_empty() {
        // OpenSSH before 10.3 took it for a certificate of every host: whoever got one could be any cluster.
        return Some(format!("it names no host at all, so not {name} either"));
    }
    if !principals.iter().any(|principal| principal == name) {
        return Some(format!("it is for {}, not for {name}", list(principals)));
    }
    if !certificate.critical_options().is_empty() {
        let options: Vec<String> = certificate.critical_options().keys().cloned().collect();
        return Some(format!("it has critical options that nobody here understands ({})", list(&options)));
    }
    if matches!(certificate.signature().algorithm(), Algorithm::Dsa | Algorithm::Rsa { hash: None }) {
        return Some("its authority signed it with SHA-1".to_owned());
    }
    let signed_by = certificate.signature_key().fingerprint(HashAlg::Sha256);
    certificate.validate_at(now, [&signed_by]).is_err().then(|| "its signature is wrong".to_owned())
}

/// Seconds since 1970, for people.
fn moment(seconds: u64) -> String {
    let at = i64::try_from(seconds).ok().and_then(|seconds| Timestamp::from_second(seconds).ok());
    at.map_or_else(|| "the end of time".to_owned(), form::moment)
}

/// Words of a certificate, for people.
fn list(words: &[String]) -> String {
    printable(&words.join(", "))
}
