//! OpenSSH user certificates: a public key with an authority's word on who it is for and how long.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use russh::keys::ssh_key::certificate::CertType;
use russh::keys::{Certificate, HashAlg};

use crate::form;
use crate::inventory::Host;
use crate::remote::printable;

/// `valid before` of a certificate that never expires.
const FOREVER: u64 = u64::MAX;

/// The certificate files that are there and hold today: those that the inventory names, then each key's own
/// `<key>-cert.pub`, as OpenSSH finds them. What is of no use, and why, goes to `troubles`.
///
/// Blocking.
pub(in crate::ssh) fn read(host: &Host, troubles: &mut Vec<String>) -> Vec<(PathBuf, Certificate)> {
    let named = host.certificates.iter().map(|file| (file.clone(), true));
    let beside = host.identity.iter().map(|key| (beside(key), false));
    let mut found: Vec<(PathBuf, Certificate)> = Vec::new();
    for (file, must_be_there) in named.chain(beside) {
        if found.iter().any(|(known, _)| *known == file) {
            continue;
        }
        match read_one(&file, must_be_there) {
            Ok(Some(certificate)) => found.push((file, certificate)),
            Ok(None) => {}
            Err(trouble) => troubles.push(trouble),
        }
    }
    found
}

/// `id_ed25519` → `id_ed25519-cert.pub`.
fn beside(key: &Path) -> PathBuf {
    let mut name = key.as_os_str().to_owned();
    name.push("-cert.pub");
    PathBuf::from(name)
}

fn read_one(file: &Path, must_be_there: bool) -> Result<Option<Certificate>, String> {
    let shown = file.display();
    let cannot = |error: &dyn std::fmt::Display| format!("cannot read certificate {shown}: {error}");
    // Opening a pipe would wait for whoever fills it.
    match std::fs::metadata(file) {
        Ok(meta) if meta.is_file() => {}
        Ok(_) => return Err(format!("certificate {shown} is no regular file")),
        Err(error) if error.kind() == ErrorKind::NotFound && !must_be_there => return Ok(None),
        Err(error) => return Err(cannot(&error)),
    }
    let text = std::fs::read_to_string(file).map_err(|error| cannot(&error))?;
    let certificate = Certificate::from_openssh(text.trim())
        .map_err(|error| format!("certificate {shown} cannot be understood: {error}"))?;
    useful(&certificate, Timestamp::now()).map_err(|why| format!("certificate {shown} {why}"))?;
    Ok(Some(certificate))
}

/// Whether it can be offered now; if not, why. Whether the host trusts its authority is the host's to say.
pub(super) fn useful(certificate: &Certificate, now: Timestamp) -> Result<(), String> {
    let now = u64::try_from(now.as_second()).unwrap_or(0);
    if certificate.cert_type() != CertType::User {
        return Err("is a host's certificate, not a user's".to_owned());
    }
    if certificate.valid_before() <= now {
        return Err(format!("expired at {}: have it renewed", moment(certificate.valid_before())));
    }
    if certificate.valid_after() > now {
        return Err(format!(
            "is not valid before {} (this machine's clock says {})",
            moment(certificate.valid_after()),
            moment(now)
        ));
    }
    Ok(())
}

/// What an operator needs to see why a host may refuse it: `ssh-ed25519 SHA256:… for root, until …, by authority SHA256:…`.
pub(super) fn describe(certificate: &Certificate) -> String {
    let principals = match certificate.valid_principals() {
        [] => "any user".to_owned(),
        some => some.join(", "),
    };
    let until = match certificate.valid_before() {
        FOREVER => String::new(),
        end => format!(", until {}", moment(end)),
    };
    let only: Vec<&str> = certificate.critical_options().keys().map(String::as_str).collect();
    let only = if only.is_empty() { String::new() } else { format!(", with {}", only.join(" and ")) };
    printable(&format!(
        "{} {} for {principals}{until}{only}, by authority {}",
        certificate.algorithm(),
        certificate.public_key().fingerprint(HashAlg::Sha256),
        certificate.signature_key().fingerprint(HashAlg::Sha256)
    ))
}

fn moment(seconds: u64) -> String {
    i64::try_from(seconds)
        .ok()
        .and_then(|seconds| Timestamp::from_second(seconds).ok())
        .map_or_else(|| "the end of time".to_owned(), form::moment)
}

#[cfg(test)]
mod tests {
    use russh::keys::ssh_key::certificate::Builder;
    use russh::keys::{Algorithm, PrivateKey};

    use super::*;

    fn certificate(kind: CertType, after: u64, before: u64) -> Certificate {
        let [subject, authority] =
            [(); 2].map(|()| PrivateKey::random(&mut rand::rng(), Algorithm::Ed25519).unwrap());
        let key = subject.public_key();
        let mut builder = Builder::new_with_random_nonce(&mut rand::rng(), key, after, before).unwrap();
        builder.cert_type(kind).unwrap();
        builder.key_id("id").unwrap();
        builder.valid_principal("ro\u{1b}ot").unwrap();
        builder.sign(&authority).unwrap()
    }

    #[test]
    fn only_a_users_certificate_within_its_time_is_useful() {
        let now = Timestamp::from_second(1_000).unwrap();
        let judge = |kind, after, before| useful(&certificate(kind, after, before), now);
        assert_eq!(judge(CertType::User, 1_000, 1_001), Ok(()));
        assert_eq!(judge(CertType::User, 0, FOREVER), Ok(()));
        let expired = judge(CertType::User, 0, 1_000).unwrap_err();
        assert!(expired.contains("expired at 1970-01-01 00:16:40Z"), "{expired}");
        let early = judge(CertType::User, 1_001, 2_000).unwrap_err();
        assert!(early.contains("not valid before 1970-01-01 00:16:41Z"), "{early}");
        assert!(judge(CertType::Host, 0, 2_000).unwrap_err().contains("host's certificate"));
    }

    #[test]
    fn what_is_said_of_a_certificate_is_harmless_to_a_terminal() {
        let said = describe(&certificate(CertType::User, 0, 2_000));
        assert!(said.contains("for ro·ot, until 1970-01-01 00:33:20Z, by authority SHA256:"), "{said}");
    }
}
