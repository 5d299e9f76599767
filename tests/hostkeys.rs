//! Host keys: what is accepted, against a real OpenSSH server and with the real OpenSSH client as judge.
#![expect(clippy::unwrap_used, reason = "what cannot be set up fails its test")]

mod sshd;

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;

use fleet::inventory::Host;
use fleet::remote::RemoteError;
use fleet::ssh::{Limits, Network, Recorded, ShownKey};
use sshd::{Options, Sshd};

// ---- looking at keys without logging in

fn with_host_keys(kinds: &[&'static str]) -> Sshd {
    Sshd::start_with(&Options { host_keys: kinds.to_vec(), ..Options::default() })
}

fn fingerprint(public_key_file: &Path) -> String {
    let output = Command::new(sshd::find("ssh-keygen")).arg("-lf").arg(public_key_file).output().unwrap();
    String::from_utf8(output.stdout).unwrap().split(' ').nth(1).unwrap().to_owned()
}

async fn scan(host: &Host) -> Vec<ShownKey> {
    Network::new(Limits::default()).scan(host).await.unwrap()
}

#[tokio::test]
async fn a_scan_shows_every_key_that_the_host_has_and_logs_nobody_in() {
    let sshd = with_host_keys(&["rsa", "ed25519", "ecdsa"]);
    let host = Host { host_key: None, ..sshd.host() };
    let shown = scan(&host).await;
    let kinds: Vec<&str> = shown.iter().map(|key| key.algorithm.as_str()).collect();
    assert_eq!(kinds, ["ssh-ed25519", "ecdsa-sha2-nistp256", "ssh-rsa"]);
    for (key, kind) in shown.iter().zip(["ed25519", "ecdsa", "rsa"]) {
        assert_eq!(key.openssh, sshd.host_key(kind));
        assert_eq!(key.fingerprint, fingerprint(&sshd.dir().join(format!("host_{kind}.pub"))));
        assert_eq!(key.recorded, Recorded::Unknown);
    }
    assert!(!sshd.log().contains("Accepted"), "{}", sshd.log());
}

#[tokio::test]
async fn a_scan_leaves_out_kinds_of_key_that_the_host_does_not_have() {
    let sshd = with_host_keys(&["ecdsa"]);
    let shown = scan(&Host { host_key: None, ..sshd.host() }).await;
    assert_eq!(shown.iter().map(|key| key.algorithm.as_str()).collect::<Vec<_>>(), ["ecdsa-sha2-nistp256"]);
}

#[tokio::test]
async fn a_scan_tells_what_is_recorded_about_each_key_and_where() {
    let sshd = with_host_keys(&["rsa", "ed25519", "ecdsa"]);
    let file = sshd.dir().join("known");
    let name = sshd.known_as();
    let (ed25519, ecdsa, rsa) = (sshd.host_key("ed25519"), sshd.host_key("ecdsa"), sshd.host_key("rsa"));
    let host = Host { host_key: None, known_hosts: vec![file.clone()], ..sshd.host() };
    let recorded = async |lines: String| {
        fs::write(&file, lines).unwrap();
        scan(&host).await.into_iter().map(|key| key.recorded).collect::<Vec<_>>()
    };
    let place = |line: usize| format!("{}:{line}", file.display());
    let found = recorded(format!("# a comment\n{name} {ed25519}\n@revoked {name} {rsa}\n")).await;
    assert_eq!(found[0], Recorded::Known { place: place(2) });
    assert_eq!(found[1], Recorded::Unknown, "a further key beside the recorded one is no change");
    assert!(matches!(&found[2], Recorded::Revoked { place: at, .. } if *at == place(3)), "{found:?}");
    // The ECDSA key under the name of an Ed25519 key that the host does not have.
    sshd::keygen("ed25519", &sshd.dir().join("other"), "");
    let other = sshd.dir().join("other.pub");
    let found = recorded(format!("{name} {}\n", sshd::public(&other))).await;
    let changed =
        Recorded::Changed { recorded: format!("ssh-ed25519 {}", fingerprint(&other)), place: place(1) };
    assert_eq!(found, [changed.clone(), changed.clone(), changed]);
    let pinned = scan(&Host { host_key: Some(ecdsa), ..host.clone() }).await;
    assert_eq!(
        pinned[1].recorded,
        Recorded::Pinned { place: "host_key in tests/sshd/mod.rs".to_owned() },
        "{pinned:?}"
    );
}

#[tokio::test]
async fn a_scan_of_a_port_where_no_ssh_is_says_so_within_the_hosts_deadline() {
    let mute = TcpListener::bind("127.0.0.1:0").unwrap();
    let host = Host {
        port: mute.local_addr().unwrap().port(),
        connect_timeout: std::time::Duration::from_millis(300),
        ..Host::new("mute", "127.0.0.1")
    };
    let error = Network::new(Limits::default()).scan(&host).await.unwrap_err();
    assert!(matches!(error, RemoteError::Unreachable { .. }), "{error}");
    assert!(error.to_string().contains("showed no key within"), "{error}");
}
