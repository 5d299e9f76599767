//! Kinds of lines, one a test: what `ssh` does with each is what `fleet` does. The first eleven are those that the SSH library's own
//! check gets wrong or right (libraries 1.3).

use std::fs;
use std::process::Command;

use crate::judges::{Scene, fingerprint, new_key};
use crate::sshd;

fn ed25519() -> Scene {
    Scene::with(&["ed25519"])
}

#[tokio::test]
async fn a_plain_line_is_accepted() {
    let scene = ed25519();
    let (name, key) = (scene.sshd.known_as(), scene.sshd.host_key("ed25519"));
    scene.both(&format!("{name} {key}\n")).await.unwrap();
}

#[tokio::test]
async fn a_hashed_line_is_accepted() {
    let scene = ed25519();
    let (name, key) = (scene.sshd.known_as(), scene.sshd.host_key("ed25519"));
    fs::write(&scene.files[0], format!("{name} {key}\n")).unwrap();
    let keygen = Command::new(sshd::find("ssh-keygen")).arg("-Hf").arg(&scene.files[0]).output().unwrap();
    assert!(keygen.status.success(), "{keygen:?}");
    let hashed = fs::read_to_string(&scene.files[0]).unwrap();
    assert!(hashed.starts_with("|1|"), "{hashed}");
    scene.both(&hashed).await.unwrap();
}

#[tokio::test]
async fn a_wrong_key_is_refused_with_both_fingerprints_and_the_line_that_disagrees() {
    let scene = ed25519();
    let (name, other) = (scene.sshd.known_as(), new_key(&scene.sshd, "ed25519", "other"));
    let error = scene.both(&format!("# today\n{name} {other}\n")).await.unwrap_err();
    let dir = scene.sshd.dir();
    for needed in [
        "has changed",
        &fingerprint(&dir.join("other.pub")),
        &fingerprint(&dir.join("host_ed25519.pub")),
        &format!("{}:2 records", scene.files[0].display()),
        "fleet trust --on sshd",
    ] {
        assert!(error.contains(needed), "no {needed} in: {error}");
    }
}

#[tokio::test]
async fn a_wildcard_within_brackets_is_accepted() {
    let scene = ed25519();
    let key = scene.sshd.host_key("ed25519");
    scene.both(&format!("[127.0.0.*]:{} {key}\n", scene.sshd.port())).await.unwrap();
}

#[tokio::test]
async fn tabs_and_leading_blanks_are_accepted() {
    let scene = ed25519();
    let (name, key) = (scene.sshd.known_as(), scene.sshd.host_key("ed25519").replace(' ', "\t"));
    scene.both(&format!("{name}\t{key}\n")).await.unwrap();
    scene.both(&format!(" \t{name} \t {key}\tby hand\r\n")).await.unwrap();
    scene.both(&format!("{name} {key}\r")).await.unwrap();
}

#[tokio::test]
async fn a_revoked_key_is_refused_though_another_line_knows_it() {
    let scene = ed25519();
    let (name, key) = (scene.sshd.known_as(), scene.sshd.host_key("ed25519"));
    let plain = format!("{name} {key}\n");
    for revoked in [format!("@revoked {name} {key}\n"), format!("@revoked * {key}\n")] {
        for lines in [format!("{plain}{revoked}"), format!("{revoked}{plain}")] {
            let error = scene.both(&lines).await.unwrap_err();
            assert!(error.contains("is revoked"), "{error}");
        }
    }
}

#[tokio::test]
async fn the_second_of_two_keys_of_a_host_is_accepted() {
    let scene = ed25519();
    let (name, key) = (scene.sshd.known_as(), scene.sshd.host_key("ed25519"));
    let other = new_key(&scene.sshd, "ed25519", "other");
    scene.both(&format!("{name} {other}\n{name} {key}\n")).await.unwrap();
}

#[tokio::test]
async fn a_host_that_is_known_by_its_rsa_key_alone_is_asked_for_it() {
    let scene = Scene::with(&["ed25519", "ecdsa", "rsa"]);
    let name = scene.sshd.known_as();
    for kind in ["rsa", "ecdsa", "ed25519"] {
        scene.both(&format!("{name} {}\n", scene.sshd.host_key(kind))).await.unwrap();
    }
}

#[tokio::test]
async fn a_host_is_asked_for_the_key_recorded_with_its_port_before_that_without() {
    let scene = Scene::with(&["ed25519", "rsa"]);
    let (name, key) = (scene.sshd.known_as(), scene.sshd.host_key("rsa"));
    let other = new_key(&scene.sshd, "ed25519", "other");
    scene.both(&format!("127.0.0.1 {other}\n{name} {key}\n")).await.unwrap();
}

#[tokio::test]
async fn a_line_of_an_unsupported_type_does_not_spoil_the_file() {
    let scene = ed25519();
    let (name, key) = (scene.sshd.known_as(), scene.sshd.host_key("ed25519"));
    scene.both(&format!("{name} ssh-dss AAAAB3NzaC1kc3MAAACB\n{name} {key}\n")).await.unwrap();
    scene
        .both(&format!("{name} ssh-new AAAAB3NzaC1kc3MAAACB\n{name} 1024 35 12345\n{name} {key}\n"))
        .await
        .unwrap();
}

// The name without the port is not excluded, and it is asked last.
#[tokio::test]
async fn an_exclusion_with_port_does_not_exclude_the_host_without_port() {
    let scene = ed25519();
    let (name, key) = (scene.sshd.known_as(), scene.sshd.host_key("ed25519"));
    scene.both(&format!("*,!{name} {key}\n")).await.unwrap();
    scene.both(&format!("*,!{name},!127.0.0.1 {key}\n")).await.unwrap_err();
}

// ---- what else there is

#[tokio::test]
async fn an_unknown_host_is_refused_with_the_line_to_add() {
    let scene = ed25519();
    let (name, key) = (scene.sshd.known_as(), scene.sshd.host_key("ed25519"));
    let error = scene.both("").await.unwrap_err();
    for needed in
        ["is not known", "fleet trust --on sshd", &format!("{name} {key}"), &format!("host_key = \"{key}\"")]
    {
        assert!(error.contains(needed), "no {needed} in: {error}");
    }
}

#[tokio::test]
async fn a_line_without_port_helps_only_where_none_with_the_port_disagrees() {
    let scene = ed25519();
    let (name, key) = (scene.sshd.known_as(), scene.sshd.host_key("ed25519"));
    let other = new_key(&scene.sshd, "ed25519", "other");
    scene.both(&format!("127.0.0.1 {key}\n")).await.unwrap();
    let error = scene.both(&format!("127.0.0.1 {key}\n{name} {other}\n")).await.unwrap_err();
    assert!(error.contains("has changed"), "{error}");
    // It never makes another host of it.
    let error = scene.both(&format!("127.0.0.1 {other}\n")).await.unwrap_err();
    assert!(error.contains("is not known"), "{error}");
}

#[tokio::test]
async fn several_files_are_asked_and_a_missing_one_is_empty() {
    let mut scene = ed25519();
    let (name, key) = (scene.sshd.known_as(), scene.sshd.host_key("ed25519"));
    let dir = scene.sshd.dir().to_owned();
    scene.files.extend([dir.join("missing"), dir.join("second")]);
    fs::write(&scene.files[2], format!("{name} {key}\n")).unwrap();
    scene.both("").await.unwrap();
    let error = scene.both(&format!("@revoked {name} {key}\n")).await.unwrap_err();
    assert!(error.contains("is revoked"), "{error}");
}

#[tokio::test]
async fn an_alias_is_looked_up_in_place_of_address_and_port() {
    let mut scene = ed25519();
    let (name, key) = (scene.sshd.known_as(), scene.sshd.host_key("ed25519"));
    scene.alias = Some("Oak".to_owned());
    scene.both(&format!("oak {key}\n")).await.unwrap();
    scene.both(&format!("{name} {key}\n127.0.0.1 {key}\n")).await.unwrap_err();
    scene.both(&format!("[oak]:{} {key}\n", scene.sshd.port())).await.unwrap_err();
}

#[tokio::test]
async fn an_rsa_key_by_the_name_of_its_signature_is_accepted() {
    let scene = Scene::with(&["rsa"]);
    let (name, key) = (scene.sshd.known_as(), scene.sshd.host_key("rsa"));
    scene.both(&format!("{name} {}\n", key.replace("ssh-rsa", "rsa-sha2-512"))).await.unwrap();
}

// ---- where fleet is stricter, on purpose

#[tokio::test]
async fn a_key_that_is_revoked_without_port_is_revoked_on_every_port() {
    let scene = ed25519();
    let (name, key) = (scene.sshd.known_as(), scene.sshd.host_key("ed25519"));
    fs::write(&scene.files[0], format!("{name} {key}\n@revoked 127.0.0.1 {key}\n")).unwrap();
    assert!(scene.ssh().0, "ssh has changed its mind: this difference can go");
    assert!(scene.fleet().await.unwrap_err().contains("is revoked"));
}

#[tokio::test]
async fn a_revocation_with_a_tab_is_a_revocation() {
    let scene = ed25519();
    let (name, key) = (scene.sshd.known_as(), scene.sshd.host_key("ed25519"));
    fs::write(&scene.files[0], format!("{name} {key}\n@revoked\t{name} {key}\n")).unwrap();
    assert!(scene.ssh().0, "ssh has changed its mind: this difference can go");
    assert!(scene.fleet().await.unwrap_err().contains("is revoked"));
}

#[tokio::test]
async fn a_pinned_key_wins_over_known_hosts_but_not_over_a_revocation() {
    let scene = ed25519();
    let (name, key) = (scene.sshd.known_as(), scene.sshd.host_key("ed25519"));
    let other = new_key(&scene.sshd, "ed25519", "other");
    let pinned = fleet::inventory::Host { host_key: Some(key.clone()), ..scene.host() };
    fs::write(&scene.files[0], format!("{name} {other}\n")).unwrap();
    fleet::ssh::connect(&pinned).await.unwrap().close().await;
    fs::write(&scene.files[0], format!("@revoked {name} {key}\n")).unwrap();
    let error = fleet::ssh::connect(&pinned).await.unwrap_err();
    assert!(error.to_string().contains("is revoked"), "{error}");
}
