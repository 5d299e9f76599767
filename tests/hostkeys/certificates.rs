//! Host certificates, and the authorities that known_hosts believes. A real sshd shows each; `ssh` judges each.

use std::process::Command;

use tempfile::TempDir;

use crate::judges::Scene;
use crate::sshd::{self, Options, Sshd};

/// A host with a certificate, and its authority.
pub(crate) struct Certified {
    pub(crate) scene: Scene,
    /// The authority's public key.
    pub(crate) authority: String,
    /// The host's own.
    pub(crate) key: String,
    /// Where the host's keys are.
    pub(crate) dir: TempDir,
}

/// A host whose key an authority has signed, both Ed25519, with these words to `ssh-keygen -s`.
pub(crate) fn certified(words: &[&str]) -> Certified {
    certified_by("ed25519", "ed25519", words)
}

/// The same with a host key and an authority of these kinds.
fn certified_by(authority: &str, kind: &str, words: &[&str]) -> Certified {
    let dir = tempfile::tempdir().unwrap();
    let (host, ca) = (dir.path().join("host"), dir.path().join("ca"));
    sshd::keygen(kind, &host, "");
    sshd::keygen(authority, &ca, "");
    let mut sign = Command::new(sshd::find("ssh-keygen"));
    sign.arg("-q").arg("-s").arg(&ca).args(["-I", "host certificate for tests"]).args(words);
    let signed = sign.arg(host.with_extension("pub")).output().unwrap();
    assert!(signed.status.success(), "{signed:?}");
    let host = host.display();
    let config = format!("HostKey {host}\nHostCertificate {host}-cert.pub");
    let sshd = Sshd::start_with(&Options { host_keys: Vec::new(), config, ..Options::default() });
    Certified {
        scene: Scene::of(sshd),
        authority: sshd::public(&ca.with_extension("pub")),
        key: sshd::public(&dir.path().join("host.pub")),
        dir,
    }
}

impl Certified {
    /// Both judges, when the authority is believed for every host.
    async fn believed(&self) -> Result<(), String> {
        self.scene.both(&format!("@cert-authority * {}\n", self.authority)).await
    }

    /// The refusal, which must say this.
    async fn refused(&self, what: &str) {
        let error = self.believed().await.unwrap_err();
        assert!(error.contains("the host certificate of") && error.contains(what), "no {what:?} in: {error}");
    }
}

const GOOD: [&str; 3] = ["-h", "-n", "127.0.0.1"];

#[tokio::test]
async fn a_certificate_by_an_authority_of_the_host_is_accepted() {
    let host = certified(&GOOD);
    let (name, authority) = (host.scene.sshd.known_as(), &host.authority);
    for names in [name.as_str(), "127.0.0.1", "*", "127.0.0.?", "elm,[127.0.*]:*"] {
        host.scene.both(&format!("@cert-authority {names} {authority}\n")).await.unwrap();
    }
    for names in ["elm", "*,!127.0.0.1,![127.0.0.1]:*", "[127.0.0.1]:1"] {
        let error = host.scene.both(&format!("@cert-authority {names} {authority}\n")).await.unwrap_err();
        assert!(error.contains("is not known"), "{error}");
    }
}

#[tokio::test]
async fn a_certificate_by_an_rsa_and_by_an_ecdsa_authority_is_accepted() {
    certified_by("rsa", "ed25519", &GOOD).believed().await.unwrap();
    certified_by("ecdsa", "ed25519", &GOOD).believed().await.unwrap();
}

#[tokio::test]
async fn a_certificate_of_an_rsa_and_of_an_ecdsa_key_is_accepted() {
    certified_by("ed25519", "rsa", &GOOD).believed().await.unwrap();
    certified_by("ed25519", "ecdsa", &GOOD).believed().await.unwrap();
}

#[tokio::test]
async fn a_certificate_that_an_authority_signed_with_sha1_is_refused() {
    certified_by("rsa", "ed25519", &["-t", "ssh-rsa", "-h", "-n", "127.0.0.1"]).refused("SHA-1").await;
}

#[tokio::test]
async fn a_certificate_by_another_authority_is_refused() {
    let host = certified(&GOOD);
    let other = crate::judges::new_key(&host.scene.sshd, "ed25519", "other");
    let error = host.scene.both(&format!("@cert-authority * {other}\n")).await.unwrap_err();
    assert!(error.contains("but the authority of") && error.contains("known:1"), "{error}");
    // The authority's key as a plain line makes no authority of it.
    host.scene.both(&format!("* {}\n", host.authority)).await.unwrap_err();
    host.scene.both(&format!("@cert-authority * {other}\n* {}\n", host.authority)).await.unwrap_err();
}

#[tokio::test]
async fn a_certificate_that_has_expired_is_refused_with_the_time() {
    // ssh-keygen reads such a time as this machine's own.
    let words = ["-h", "-n", "127.0.0.1", "-V", "20200101000000:20210101120000"];
    certified(&words).refused("it expired at 20").await;
}

#[tokio::test]
async fn a_certificate_that_is_not_valid_yet_is_refused_with_the_time() {
    let words = ["-h", "-n", "127.0.0.1", "-V", "20990101000000:21000101000000"];
    certified(&words).refused("it is not valid before 20").await;
}

#[tokio::test]
async fn a_certificate_for_another_host_is_refused_with_the_names_it_has() {
    let host = certified(&["-h", "-n", "elm.example.org,oak.example.org"]);
    host.refused("it is for elm.example.org, oak.example.org, not for 127.0.0.1").await;
}

#[tokio::test]
async fn a_certificate_does_not_name_hosts_by_patterns_or_ports() {
    certified(&["-h", "-n", "127.0.0.*"]).refused("it is for 127.0.0.*").await;
    certified(&["-h", "-n", "[127.0.0.1]:22,127.0.0.1:22"]).refused("not for 127.0.0.1").await;
}

#[tokio::test]
async fn a_users_certificate_is_none_of_a_host() {
    certified(&["-n", "127.0.0.1"]).refused("it is a user's certificate").await;
}

#[tokio::test]
async fn a_certificate_with_a_critical_option_is_refused() {
    certified(&["-h", "-n", "127.0.0.1", "-O", "critical:moon@example.org=full"])
        .refused("moon@example.org")
        .await;
}

#[tokio::test]
async fn a_certificate_with_an_extension_is_accepted() {
    let words = ["-h", "-n", "127.0.0.1", "-O", "extension:moon@example.org=full"];
    certified(&words).believed().await.unwrap();
}

#[tokio::test]
async fn a_revoked_authority_and_a_revoked_key_beat_all() {
    let host = certified(&GOOD);
    let Certified { authority, key, .. } = &host;
    let trust = format!("@cert-authority * {authority}\n* {key}\n");
    let error = host.scene.both(&format!("{trust}@revoked * {authority}\n")).await.unwrap_err();
    assert!(
        error.contains("the authority behind the host certificate of") && error.contains("is revoked"),
        "{error}"
    );
    let error = host.scene.both(&format!("{trust}@revoked * {key}\n")).await.unwrap_err();
    assert!(error.contains("the host key of") && error.contains("is revoked"), "{error}");
}

#[tokio::test]
async fn an_alias_is_the_name_that_a_certificate_must_have() {
    let mut host = certified(&["-h", "-n", "oak"]);
    host.scene.alias = Some("oak".to_owned());
    host.believed().await.unwrap();
    host.scene.alias = Some("elm".to_owned());
    host.refused("it is for oak, not for elm").await;
    // ssh puts an alias into lower case, but not what a certificate says.
    host.scene.alias = Some("OAK".to_owned());
    host.believed().await.unwrap();
    let mut host = certified(&["-h", "-n", "OAK"]);
    host.scene.alias = Some("OAK".to_owned());
    host.refused("it is for OAK, not for oak").await;
}

#[tokio::test]
async fn a_key_that_is_recorded_is_accepted_whatever_its_certificate_is_worth() {
    let host = certified(&["-h", "-n", "elm"]);
    let Certified { authority, key, scene, .. } = &host;
    scene.both(&format!("@cert-authority * {authority}\n{} {key}\n", scene.sshd.known_as())).await.unwrap();
    scene.both(&format!("{} {key}\n", scene.sshd.known_as())).await.unwrap();
}

#[tokio::test]
async fn a_host_whose_plain_key_has_changed_is_accepted_by_its_certificate() {
    let host = certified(&GOOD);
    let other = crate::judges::new_key(&host.scene.sshd, "ed25519", "other");
    let name = host.scene.sshd.known_as();
    host.scene.both(&format!("{name} {other}\n@cert-authority * {}\n", host.authority)).await.unwrap();
}

#[tokio::test]
async fn a_host_without_certificate_is_not_known_by_its_authority() {
    let scene = Scene::with(&["ed25519"]);
    let authority = crate::judges::new_key(&scene.sshd, "ed25519", "authority");
    let error = scene.both(&format!("@cert-authority * {authority}\n")).await.unwrap_err();
    assert!(error.contains("is not known"), "{error}");
    let error =
        scene.both(&format!("@cert-authority * {}\n", scene.sshd.host_key("ed25519"))).await.unwrap_err();
    assert!(error.contains("is not known"), "{error}");
}

// Stricter than OpenSSH before 10.3.
#[tokio::test]
async fn a_certificate_that_names_no_host_is_for_none() {
    let host = certified(&["-h"]);
    let lines = format!("@cert-authority * {}\n", host.authority);
    std::fs::write(&host.scene.files[0], lines).unwrap();
    let error = host.scene.fleet().await.unwrap_err();
    assert!(error.contains("names no host at all"), "{error}");
}

#[tokio::test]
async fn a_pinned_key_needs_no_certificate_and_no_certificate_helps_against_it() {
    let host = certified(&GOOD);
    std::fs::write(&host.scene.files[0], format!("@cert-authority * {}\n", host.authority)).unwrap();
    let pinned = |key: &str| fleet::inventory::Host { host_key: Some(key.to_owned()), ..host.scene.host() };
    fleet::ssh::connect(&pinned(&host.key)).await.unwrap().close().await;
    let error = fleet::ssh::connect(&pinned(&host.authority)).await.unwrap_err();
    assert!(error.to_string().contains("has changed"), "{error}");
}
