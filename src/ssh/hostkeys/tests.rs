//! The table of libraries 1.3: what OpenSSH does with each kind of line is what is done here, and safer where they differ.

use hmac::{Hmac, KeyInit, Mac};
use russh::keys::PrivateKey;
use sha1::Sha1;

use super::line::glob;
use super::*;

fn key_of(algorithm: Algorithm) -> PublicKey {
    PrivateKey::random(&mut rand::rng(), algorithm).unwrap().public_key().clone()
}

fn ed25519() -> PublicKey {
    key_of(Algorithm::Ed25519)
}

fn ecdsa() -> PublicKey {
    key_of(Algorithm::Ecdsa { curve: EcdsaCurve::NistP256 })
}

fn text(key: &PublicKey) -> String {
    key.to_openssh().unwrap()
}

fn host(port: u16) -> Host {
    Host {
        port,
        agent: false,
        known_hosts: vec![PathBuf::from("/etc/known"), PathBuf::from("/home/known")],
        defined_at: "clusters.toml:7".to_owned(),
        ..Host::new("oak", "Oak.example.org")
    }
}

fn known(port: u16, lines: &str) -> HostKeys {
    HostKeys::from_texts(&host(port), &[(PathBuf::from("/etc/known"), lines.to_owned())])
}

fn accepts(port: u16, lines: &str, key: &PublicKey) -> bool {
    known(port, lines).judge(&key.clone().into()).is_ok()
}

// `ssh-keygen -H` by hand: HMAC-SHA1 of the name under a random salt.
fn hashed(name: &str) -> String {
    use base64::Engine;
    let salt = [7_u8; 20];
    let hash = Hmac::<Sha1>::new_from_slice(&salt).unwrap().chain_update(name).finalize().into_bytes();
    let base64 = base64::engine::general_purpose::STANDARD;
    format!("|1|{}|{}", base64.encode(salt), base64.encode(hash))
}

#[test]
fn a_plain_line_is_accepted_whatever_its_case_and_its_comment() {
    let key = ed25519();
    assert!(accepts(22, &format!("oak.example.org {}", text(&key)), &key));
    assert!(accepts(22, &format!("OAK.example.ORG {} put here by hand # today", text(&key)), &key));
    assert!(accepts(22, &format!("elm,oak.example.org,192.0.2.1 {}", text(&key)), &key));
}

#[test]
fn a_line_for_another_host_makes_nothing_known() {
    let key = ed25519();
    assert!(!accepts(22, &format!("elm.example.org {}", text(&key)), &key));
    assert!(!accepts(22, &format!("oak.example.org.evil.example {}", text(&key)), &key));
}

#[test]
fn a_port_other_than_22_is_looked_up_in_brackets() {
    let key = ed25519();
    assert!(accepts(2222, &format!("[oak.example.org]:2222 {}", text(&key)), &key));
    assert!(!accepts(2222, &format!("[oak.example.org]:2200 {}", text(&key)), &key));
    assert!(!accepts(22, &format!("[oak.example.org]:2222 {}", text(&key)), &key));
}

#[test]
fn a_line_without_port_helps_a_host_on_another_port_but_never_condemns_it() {
    let (key, other) = (ed25519(), ed25519());
    assert!(accepts(2222, &format!("oak.example.org {}", text(&key)), &key));
    let error =
        known(2222, &format!("oak.example.org {}", text(&other))).judge(&key.clone().into()).unwrap_err();
    assert!(error.contains("is not known"), "{error}");
}

#[test]
fn a_hashed_name_is_accepted() {
    let key = ed25519();
    assert!(accepts(22, &format!("{} {}", hashed("oak.example.org"), text(&key)), &key));
    assert!(accepts(2222, &format!("{} {}", hashed("[oak.example.org]:2222"), text(&key)), &key));
    assert!(!accepts(22, &format!("{} {}", hashed("elm.example.org"), text(&key)), &key));
}

#[test]
fn wildcards_match_and_brackets_are_only_brackets() {
    let key = ed25519();
    assert!(accepts(22, &format!("*.example.org {}", text(&key)), &key));
    assert!(accepts(22, &format!("?ak.*.org {}", text(&key)), &key));
    assert!(accepts(2222, &format!("[*.example.org]:2222 {}", text(&key)), &key));
    assert!(!accepts(22, &format!("[o]ak.example.org {}", text(&key)), &key));
}

#[test]
fn an_exclusion_wins_over_every_other_name_of_its_line() {
    let key = ed25519();
    assert!(!accepts(22, &format!("*,!oak.example.org {}", text(&key)), &key));
    assert!(!accepts(22, &format!("!oak.*,* {}", text(&key)), &key));
    assert!(accepts(22, &format!("*,!elm.example.org {}", text(&key)), &key));
    // As OpenSSH: the name without the port is not excluded.
    assert!(accepts(2222, &format!("*,![oak.example.org]:2222 {}", text(&key)), &key));
}

#[test]
fn tabs_and_leading_blanks_do_not_hide_a_line() {
    let key = ed25519();
    let tabbed = text(&key).replace(' ', "\t");
    assert!(accepts(22, &format!(" \t oak.example.org\t{tabbed}\r\n"), &key));
}

#[test]
fn a_revoked_key_is_refused_though_every_other_line_accepts_it() {
    let key = ed25519();
    let plain = format!("oak.example.org {}", text(&key));
    for revoked in ["@revoked oak.example.org", "@revoked *", "@revoked\t*"] {
        let revoked = format!("{revoked} {}", text(&key));
        for lines in [format!("{plain}\n{revoked}"), format!("{revoked}\n{plain}")] {
            let error = known(22, &lines).judge(&key.clone().into()).unwrap_err();
            assert!(error.contains("revoked") && error.contains("/etc/known:"), "{error}");
        }
    }
}

#[test]
fn a_revoked_key_is_refused_though_the_inventory_pins_it() {
    let key = ed25519();
    let mut known = known(2222, &format!("@revoked oak.example.org {}", text(&key)));
    known.pinned = Some((key.clone(), "host_key in clusters.toml:7".to_owned()));
    assert!(known.judge(&key.clone().into()).unwrap_err().contains("revoked"));
}

#[test]
fn a_certificate_authority_makes_nothing_known() {
    let key = ed25519();
    let error = known(22, &format!("@cert-authority *.example.org {}", text(&key)))
        .judge(&key.clone().into())
        .unwrap_err();
    assert!(error.contains("is not known"), "{error}");
}

#[test]
fn any_one_of_several_recorded_keys_is_accepted() {
    let (first, second) = (ed25519(), ed25519());
    let lines = format!("oak.example.org {}\noak.example.org {}", text(&first), text(&second));
    assert!(accepts(22, &lines, &first));
    assert!(accepts(22, &lines, &second));
    assert!(!accepts(22, &lines, &ed25519()));
}

#[test]
fn a_recorded_key_of_another_type_is_asked_for_first() {
    let known = known(22, &format!("oak.example.org {}", text(&ecdsa())));
    assert_eq!(known.algorithms()[0], Algorithm::Ecdsa { curve: EcdsaCurve::NistP256 });
    assert_eq!(known.algorithms().len(), 6);
}

#[test]
fn a_revoked_key_is_not_asked_for_first_and_sha1_is_never_asked_for() {
    let known = known(22, &format!("@revoked * {}", text(&ecdsa())));
    assert_eq!(known.algorithms()[0], Algorithm::Ed25519);
    assert!(!known.algorithms().contains(&Algorithm::Rsa { hash: None }));
}

#[test]
fn a_bad_line_does_not_spoil_the_file() {
    let key = ed25519();
    let lines = format!(
        "oak.example.org ssh-dss AAAAB3NzaC1kc3MAAACB\n\u{0}\u{fffd}\n@strange oak.example.org x y\noak.example.org\n\
         oak.example.org 1024 35 1234567890\n|1|broken| ssh-ed25519 AAAA\n# {}\noak.example.org {}",
        text(&key),
        text(&key)
    );
    assert!(accepts(22, &lines, &key));
}

#[test]
fn a_line_that_is_commented_out_makes_nothing_known() {
    let key = ed25519();
    assert!(!accepts(22, &format!("#oak.example.org {}", text(&key)), &key));
    assert!(!accepts(22, &format!("# oak.example.org {}", text(&key)), &key));
}

#[test]
fn a_changed_key_names_both_fingerprints_and_the_line_that_disagrees() {
    let (recorded, shown) = (ed25519(), ecdsa());
    let lines = format!("# a comment\n\noak.example.org {}", text(&recorded));
    let error = known(22, &lines).judge(&shown.clone().into()).unwrap_err();
    assert!(error.contains("has changed"), "{error}");
    assert!(error.contains("/etc/known:3"), "{error}");
    for key in [&recorded, &shown] {
        assert!(error.contains(&key.fingerprint(HashAlg::Sha256).to_string()), "{error}");
    }
}

#[test]
fn an_unknown_key_shows_its_fingerprint_and_the_very_line_to_add() {
    let key = ed25519();
    let error = known(2222, "").judge(&key.clone().into()).unwrap_err();
    assert!(error.contains(&key.fingerprint(HashAlg::Sha256).to_string()), "{error}");
    assert!(error.contains(&format!("host_key = \"{}\"", text(&key))), "{error}");
    let line = format!("[oak.example.org]:2222 {}", text(&key));
    assert!(error.contains(&format!("/etc/known: {line}")), "{error}");
    assert!(accepts(2222, &line, &key), "the line it advises must be accepted");
}

#[test]
fn a_pinned_key_is_the_only_one_whatever_known_hosts_says() {
    let (pinned, shown) = (ed25519(), ed25519());
    let mut known = known(22, &format!("oak.example.org {}", text(&shown)));
    known.pinned = Some((pinned.clone(), "host_key in clusters.toml:7".to_owned()));
    assert!(known.judge(&pinned.clone().into()).is_ok());
    let error = known.judge(&shown.clone().into()).unwrap_err();
    assert!(error.contains("has changed") && error.contains("host_key in clusters.toml:7"), "{error}");
}

#[tokio::test]
async fn a_pinned_key_that_is_none_is_this_machines_trouble_and_names_its_place() {
    let mut oak = host(22);
    oak.known_hosts.clear();
    oak.host_key = Some("oak.example.org ssh-ed25519 AAAA".to_owned());
    let Err(RemoteError::Here(error)) = HostKeys::read(&oak).await else { panic!("accepted") };
    assert!(error.starts_with("clusters.toml:7: host_key of oak"), "{error}");
}

#[tokio::test]
async fn a_missing_known_hosts_file_is_empty_and_an_unreadable_one_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let mut oak = host(22);
    oak.known_hosts = vec![dir.path().join("missing")];
    assert!(HostKeys::read(&oak).await.unwrap().judge(&ed25519().into()).is_err());
    // A directory cannot be read as a file by anybody, root included.
    oak.known_hosts.push(dir.path().to_owned());
    let Err(RemoteError::Here(error)) = HostKeys::read(&oak).await else { panic!("read") };
    assert!(error.contains("cannot read known_hosts file"), "{error}");
}

#[test]
fn globs_with_many_stars_end_at_once() {
    let text = "a".repeat(300);
    assert!(!glob(format!("{}b", "*a".repeat(100)).as_bytes(), text.as_bytes()));
    assert!(glob("*a".repeat(100).as_bytes(), text.as_bytes()));
    assert!(glob(b"*", b"") && glob(b"", b"") && !glob(b"?", b""));
}
