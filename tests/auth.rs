//! Logging in to a real OpenSSH server: certificates, agents, passwords, and several of them together. Plain keys are in
//! `tests/ssh.rs`; what a real server cannot be made to do is in `src/ssh/tests/`.
#![expect(clippy::unwrap_used, clippy::panic, reason = "what cannot be set up fails its test")]

mod agent;
mod sshd;
mod traced;

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::Command;

use agent::{Agent, again, outside};
use base64::Engine as _;
use fleet::inventory::{Host, SecretRef};
use fleet::remote::RemoteError;
use fleet::ssh::connect;
use russh::keys::PrivateKey;
use russh::keys::signature::Signer as _;
use sha2::{Digest as _, Sha256};
use sshd::{Options, Sshd};
use traced::Traced;

/// What nothing may ever show.
const PASSWORD: &str = "correct horse";
/// The same, as /etc/shadow has it.
const HASHED: &str =
    "$6$fleettests$LZckcbFsRxOFfOeqVIBtqf7ljQ9UPBQWlHr7mD7naU6hmgPUq/LWO.D4SHNbPdRNl6BbFv.lB2GHvmFpMExk1.";

fn refusal<T: std::fmt::Debug>(result: Result<T, RemoteError>) -> String {
    match result {
        Err(RemoteError::Auth(error)) => {
            assert!(!error.contains(PASSWORD) && !error.contains("PRIVATE KEY"), "{error}");
            error
        }
        other => panic!("{other:?}"),
    }
}

// ---- certificates

/// A certificate authority, and keys beside it.
struct Authority {
    dir: PathBuf,
}

impl Authority {
    fn new(dir: &Path) -> Self {
        sshd::keygen("ed25519", &dir.join("ca"), "");
        Self { dir: dir.to_owned() }
    }

    /// A server that trusts it, and knows no key of its users.
    fn server(&self, more: &str) -> Sshd {
        let config = format!("TrustedUserCAKeys {}\n{more}", self.dir.join("ca.pub").display());
        let sshd = Sshd::start_with(&Options { config, ..Options::default() });
        fs::write(sshd.dir().join("authorized_keys"), "").unwrap();
        sshd
    }

    fn key(&self, kind: &str, name: &str) -> PathBuf {
        let file = self.dir.join(name);
        sshd::keygen(kind, &file, "");
        file
    }

    /// Makes `<key>-cert.pub`.
    fn sign(&self, key: &Path, principals: &str, validity: &str) -> PathBuf {
        let status = Command::new(sshd::find("ssh-keygen"))
            .args(["-q", "-I", "for tests", "-n", principals, "-V", validity, "-s"])
            .arg(self.dir.join("ca"))
            .arg(key.with_extension("pub"))
            .status();
        assert!(status.unwrap().success());
        let name = key.file_name().unwrap().to_string_lossy();
        key.with_file_name(format!("{name}-cert.pub"))
    }
}

fn with(sshd: &Sshd, identity: &[PathBuf]) -> Host {
    Host { identity: identity.to_vec(), ..sshd.host() }
}

#[tokio::test]
async fn a_certificate_beside_its_key_logs_in_before_the_bare_key_is_shown() {
    let dir = tempfile::tempdir().unwrap();
    let authority = Authority::new(dir.path());
    let sshd = authority.server("");
    for kind in ["ed25519", "ecdsa", "rsa"] {
        let key = authority.key(kind, kind);
        authority.sign(&key, &sshd::user(), "-1h:+1h");
        connect(&with(&sshd, &[key])).await.unwrap();
        sshd.wait_for_log(&format!("ssh2: {}-CERT", kind.to_uppercase()));
    }
    let log = sshd.log();
    assert_eq!(log.matches("Accepted publickey").count(), 3, "{log}");
    assert!(!log.contains("Failed publickey"), "{log}");
}

#[tokio::test]
async fn a_certificate_that_the_inventory_names_is_found_for_its_key() {
    let dir = tempfile::tempdir().unwrap();
    let authority = Authority::new(dir.path());
    let sshd = authority.server("");
    let (one, two) = (authority.key("ed25519", "one"), authority.key("ed25519", "two"));
    let elsewhere = dir.path().join("elsewhere.pub");
    fs::rename(authority.sign(&two, &sshd::user(), "-1h:+1h"), &elsewhere).unwrap();
    let host = Host { certificates: vec![elsewhere], ..with(&sshd, &[one, two]) };
    connect(&host).await.unwrap();
    sshd.wait_for_log("Accepted publickey");
    assert_eq!(sshd.log().matches("Postponed").count(), 1, "one try: {}", sshd.log());
    assert!(!sshd.log().contains("Failed"), "one try: {}", sshd.log());
}

#[tokio::test]
async fn a_certificate_out_of_its_time_is_not_offered_and_the_error_says_when_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let authority = Authority::new(dir.path());
    let sshd = authority.server("");
    let key = authority.key("ed25519", "key");
    for (validity, said) in [
        ("20200101000000Z:20200102030405Z", "expired at 2020-01-02 03:04:05Z"),
        ("20990101000000Z:20990102000000Z", "is not valid before 2099-01-01 00:00:00Z"),
    ] {
        authority.sign(&key, &sshd::user(), validity);
        let error = refusal(connect(&with(&sshd, std::slice::from_ref(&key))).await);
        assert!(error.contains("key-cert.pub") && error.contains(said), "{error}");
        assert!(error.contains("refused every key") && error.contains("It takes: publickey"), "{error}");
    }
    assert!(!sshd.log().contains("Certificate invalid"), "not even shown: {}", sshd.log());
}

#[tokio::test]
async fn a_certificate_for_somebody_else_is_refused_with_whom_it_is_for_and_whose_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let authority = Authority::new(dir.path());
    let sshd = authority.server("");
    let key = authority.key("ed25519", "key");
    authority.sign(&key, "alice,bob", "-1h:+1h");
    let error = refusal(connect(&with(&sshd, &[key])).await);
    assert!(error.contains("key-cert.pub (ssh-ed25519 SHA256:"), "{error}");
    assert!(error.contains("for alice, bob, until 20") && error.contains("by authority SHA256:"), "{error}");
    sshd.wait_for_log("Certificate invalid");
}

#[tokio::test]
async fn a_certificate_without_its_key_and_a_file_that_is_none_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let authority = Authority::new(dir.path());
    let sshd = authority.server("");
    let (mine, other) = (authority.key("ed25519", "mine"), authority.key("ed25519", "other"));
    let certificate = authority.sign(&other, &sshd::user(), "-1h:+1h");
    let certificates = vec![certificate, dir.path().join("ca.pub"), dir.path().join("none")];
    let error = refusal(connect(&Host { certificates, ..with(&sshd, &[mine]) }).await);
    assert!(
        error.contains("other-cert.pub") && error.contains("was not offered: its key is in no key file"),
        "{error}"
    );
    assert!(error.contains("ca.pub cannot be understood"), "{error}");
    assert!(error.contains("cannot read certificate") && error.contains("/none"), "{error}");
}

#[tokio::test]
async fn keys_and_certificates_together_are_five_tries_at_most() {
    let dir = tempfile::tempdir().unwrap();
    let authority = Authority::new(dir.path());
    let sshd = authority.server("");
    let keys: Vec<PathBuf> = (0..4).map(|n| authority.key("ed25519", &format!("key{n}"))).collect();
    for key in &keys {
        authority.sign(key, "somebody", "-1h:+1h");
    }
    let error = refusal(connect(&with(&sshd, &keys)).await);
    assert_eq!(error.matches("was not offered").count(), 3, "{error}");
    let tried = error.split("It takes").next().unwrap();
    assert!(
        tried.find("key3-cert.pub").unwrap() < tried.find("key0 (ssh").unwrap(),
        "certificates first: {error}"
    );
    assert!(!sshd.log().contains("Too many authentication failures"), "{}", sshd.log());
}

// ---- agents; their socket is named by the environment, so each test runs itself again with one

#[tokio::test]
async fn an_agent_that_holds_a_certificate_offers_it_first() {
    let Some(dir) = outside() else {
        let dir = tempfile::tempdir().unwrap();
        let authority = Authority::new(dir.path());
        let stranger = authority.key("ed25519", "stranger");
        for kind in ["rsa", "ed25519"] {
            let key = authority.key(kind, kind);
            authority.sign(&key, &sshd::user(), "-1h:+1h");
        }
        let socket = dir.path().join("agent");
        for kind in ["rsa", "ed25519"] {
            let _agent = Agent::start(&socket, &[&stranger, &dir.path().join(kind)]);
            again("an_agent_that_holds_a_certificate_offers_it_first", &socket, dir.path());
            fs::remove_file(&socket).ok();
        }
        return;
    };
    let sshd = Authority { dir }.server("");
    connect(&Host { agent: true, ..with(&sshd, &[]) }).await.unwrap();
    sshd.wait_for_log("-CERT");
    assert!(!sshd.log().contains("Failed publickey"), "{}", sshd.log());
}

#[tokio::test]
async fn an_agent_signs_for_a_certificate_that_only_a_file_holds() {
    let Some(dir) = outside() else {
        let dir = tempfile::tempdir().unwrap();
        let authority = Authority::new(dir.path());
        let keys = [authority.key("ed25519", "stranger"), authority.key("ed25519", "mine")];
        let socket = dir.path().join("agent");
        let _agent = Agent::start(&socket, &[&keys[0], &keys[1]]);
        authority.sign(&keys[1], &sshd::user(), "-1h:+1h");
        // The private key is in the agent alone.
        fs::remove_file(&keys[1]).unwrap();
        again("an_agent_signs_for_a_certificate_that_only_a_file_holds", &socket, dir.path());
        return;
    };
    let certificates = vec![dir.join("mine-cert.pub")];
    let sshd = Authority { dir }.server("");
    let host = Host { agent: true, certificates, ..with(&sshd, &[]) };
    connect(&host).await.unwrap();
    sshd.wait_for_log("ED25519-CERT");
    assert!(!sshd.log().contains("Failed publickey"), "{}", sshd.log());
    // Without the agent there is nobody to sign.
    let Err(RemoteError::Here(_)) = connect(&Host { agent: false, ..host }).await else {
        panic!("logged in")
    };
}

#[tokio::test]
async fn an_agents_certificate_that_has_expired_is_not_offered() {
    let Some(dir) = outside() else {
        let dir = tempfile::tempdir().unwrap();
        let authority = Authority::new(dir.path());
        let key = authority.key("ed25519", "key");
        authority.sign(&key, &sshd::user(), "20200101000000Z:20200102030405Z");
        let socket = dir.path().join("agent");
        let _agent = Agent::start(&socket, &[&key]);
        again("an_agents_certificate_that_has_expired_is_not_offered", &socket, dir.path());
        return;
    };
    let sshd = Authority { dir }.server("");
    let error = refusal(connect(&Host { agent: true, ..with(&sshd, &[]) }).await);
    assert!(
        error.contains("agent's certificate") && error.contains("expired at 2020-01-02 03:04:05Z"),
        "{error}"
    );
    assert!(!sshd.log().contains("-CERT"), "{}", sshd.log());
}

/// A FIDO key without the device: an agent that lists one and signs as one. The private half is an ordinary key.
fn fido_agent(socket: &Path) -> String {
    const APPLICATION: &str = "ssh:";
    fn text(bytes: &[u8]) -> Vec<u8> {
        [&u32::try_from(bytes.len()).unwrap().to_be_bytes()[..], bytes].concat()
    }
    fn next<'a>(from: &mut &'a [u8]) -> &'a [u8] {
        let (length, rest) = from.split_at(4);
        let (taken, rest) = rest.split_at(u32::from_be_bytes(length.try_into().unwrap()) as usize);
        *from = rest;
        taken
    }
    let key = PrivateKey::random(&mut rand::rng(), russh::keys::Algorithm::Ed25519).unwrap();
    let point = key.public_key().key_data().ed25519().unwrap().0;
    let kind = b"sk-ssh-ed25519@openssh.com";
    let blob = [text(kind), text(&point), text(APPLICATION.as_bytes())].concat();
    let answer = {
        let blob = blob.clone();
        move |asked: &[u8]| -> Vec<u8> {
            match asked[0] {
                11 => [&[12, 0, 0, 0, 1][..], &text(&blob), &text(b"my token")].concat(),
                13 => {
                    let mut rest = &asked[1..];
                    assert_eq!(next(&mut rest), blob);
                    let data = next(&mut rest);
                    let flags_and_counter = [1, 0, 0, 0, 7];
                    let signed = [
                        Sha256::digest(APPLICATION).as_slice(),
                        &flags_and_counter,
                        Sha256::digest(data).as_slice(),
                    ]
                    .concat();
                    let signature = key.try_sign(&signed).unwrap();
                    let signature =
                        [text(kind), text(signature.as_bytes()), flags_and_counter.to_vec()].concat();
                    [&[14][..], &text(&signature)].concat()
                }
                // Session binding and the rest it does not know.
                _ => vec![5],
            }
        }
    };
    let listener = UnixListener::bind(socket).unwrap();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            while let Ok(asked) = frame(&mut stream) {
                stream.write_all(&text(&answer(&asked))).unwrap();
            }
        }
    });
    format!(
        "sk-ssh-ed25519@openssh.com {} my token\n",
        base64::engine::general_purpose::STANDARD.encode(blob)
    )
}

fn frame(stream: &mut UnixStream) -> std::io::Result<Vec<u8>> {
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    let mut asked = vec![0; u32::from_be_bytes(length) as usize];
    stream.read_exact(&mut asked)?;
    Ok(asked)
}

#[tokio::test]
async fn a_fido_key_that_the_agent_lists_logs_in() {
    let Some(dir) = outside() else {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("agent");
        fs::write(dir.path().join("token.pub"), fido_agent(&socket)).unwrap();
        again("a_fido_key_that_the_agent_lists_logs_in", &socket, dir.path());
        return;
    };
    let sshd = Sshd::start();
    let host = Host { agent: true, ..with(&sshd, &[]) };
    let error = refusal(connect(&host).await);
    assert!(error.contains("agent's my token (sk-ssh-ed25519@openssh.com SHA256:"), "{error}");
    sshd.authorize(&dir.join("token.pub"));
    connect(&host).await.unwrap();
    sshd.wait_for_log("ssh2: ED25519-SK");
}

// ---- passwords

/// A server on which the one who runs the tests has a password. Nothing of this machine is changed.
fn server_with_password(config: &str) -> Sshd {
    server_with_pam(
        config,
        "auth required pam_unix.so\naccount required pam_permit.so\nsession required pam_permit.so\n",
        20_000,
    )
}

fn server_with_pam(config: &str, pam: &str, last_change: u32) -> Sshd {
    let shadow = format!("{}:{HASHED}:{last_change}:0:99999:7:::\n", sshd::user());
    // sshd and its sessions keep what they opened at the start.
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        path
    };
    let files = vec![("/etc/shadow", file("shadow", &shadow)), ("/etc/pam.d/sshd", file("pam", pam))];
    Sshd::start_with(&Options { config: config.to_owned(), files, ..Options::default() })
}

fn secret(sshd: &Sshd, text: &str) -> SecretRef {
    let file = sshd.dir().join("password");
    fs::write(&file, text).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    SecretRef::File(file)
}

/// How often the server judged a password.
fn judged(sshd: &Sshd) -> usize {
    let log = sshd.log();
    ["Accepted password", "Failed password", "Accepted keyboard-interactive", "Failed keyboard-interactive"]
        .iter()
        .map(|line| log.matches(line).count())
        .sum()
}

const BOTH: &str = "UsePAM yes\nPasswordAuthentication yes\nKbdInteractiveAuthentication yes";
const QUESTIONS: &str = "UsePAM yes\nKbdInteractiveAuthentication yes";

#[tokio::test]
async fn a_password_logs_in_by_the_method_that_the_host_has() {
    for (config, said) in [
        ("PasswordAuthentication yes", "Accepted password"),
        (BOTH, "Accepted password"),
        (QUESTIONS, "Accepted keyboard-interactive/pam"),
    ] {
        let sshd = server_with_password(config);
        let password = Some(secret(&sshd, &format!("{PASSWORD}\n")));
        connect(&Host { password, ..with(&sshd, &[]) }).await.unwrap();
        sshd.wait_for_log(said);
        assert_eq!(judged(&sshd), 1, "{}", sshd.log());
    }
}

#[tokio::test]
async fn a_password_is_fetched_only_when_keys_do_not_do_and_once_in_a_run() {
    let sshd = server_with_password("PasswordAuthentication yes");
    let asked = sshd.dir().join("asked");
    let line = format!("echo . >>{}; echo {PASSWORD}", asked.display());
    let host = Host { password: Some(SecretRef::Command(line)), ..sshd.host() };
    connect(&host).await.unwrap();
    assert!(!asked.exists(), "the key was enough");
    let host = Host { identity: Vec::new(), ..host };
    let (one, two, three) = tokio::join!(connect(&host), connect(&host), connect(&host));
    one.and(two).and(three).unwrap();
    assert_eq!(fs::read_to_string(asked).unwrap(), ".\n");
}

#[tokio::test]
async fn a_wrong_password_is_sent_once_and_to_that_host_never_again() {
    for config in ["PasswordAuthentication yes", QUESTIONS] {
        let sshd = server_with_password(config);
        let stranger = sshd.dir().join("stranger");
        sshd::keygen("ed25519", &stranger, "");
        let host = Host { password: Some(secret(&sshd, "battery staple\n")), ..with(&sshd, &[stranger]) };
        let error = refusal(connect(&host).await);
        assert!(error.contains("refused every key it was offered, and the password"), "{error}");
        assert!(
            error.contains("stranger (ssh-ed25519") && error.contains("the password from file "),
            "{error}"
        );
        assert!(error.contains("It takes: publickey,"), "{error}");
        let error = refusal(connect(&host).await);
        assert!(error.contains("was not sent: this host refused it before"), "{error}");
        assert!(!error.contains("battery") && !format!("{host:?}").contains("battery"), "{error}");
        sshd.wait_for_log("Failed");
        assert_eq!(judged(&sshd), 1, "{}", sshd.log());
    }
}

#[tokio::test]
async fn a_host_that_takes_passwords_is_said_to_where_the_inventory_has_none() {
    let sshd = server_with_password(BOTH);
    let stranger = sshd.dir().join("stranger");
    sshd::keygen("ed25519", &stranger, "");
    let error = refusal(connect(&with(&sshd, &[stranger])).await);
    assert!(error.contains("It takes: publickey, password, keyboard-interactive"), "{error}");
    assert!(error.contains("does not say where one is (`password`)"), "{error}");
}

#[tokio::test]
async fn a_password_is_not_even_fetched_for_a_host_that_takes_none() {
    let sshd = Sshd::start();
    let asked = sshd.dir().join("asked");
    let command = SecretRef::Command(format!("touch {}; echo {PASSWORD}", asked.display()));
    let error = refusal(connect(&Host { password: Some(command), ..with(&sshd, &[]) }).await);
    assert!(error.contains("no key could be offered") && error.contains("the host takes none"), "{error}");
    assert!(error.contains("It takes: publickey"), "{error}");
    assert!(!asked.exists());
}

#[tokio::test]
async fn a_password_that_cannot_be_fetched_is_said_so_and_nothing_is_sent() {
    let sshd = server_with_password("PasswordAuthentication yes");
    let password = Some(SecretRef::Command("echo correct horse; exit 3".to_owned()));
    let error = refusal(connect(&Host { password, ..with(&sshd, &[]) }).await);
    assert!(error.contains("password of the SSH user") && error.contains("exit status: 3"), "{error}");
    assert_eq!(judged(&sshd), 0, "{}", sshd.log());
}

// ---- more than one thing

#[tokio::test]
async fn a_host_that_wants_a_key_and_a_password_gets_both() {
    for second in ["password", "keyboard-interactive"] {
        let sshd = server_with_password(&format!("{BOTH}\nAuthenticationMethods publickey,{second}"));
        let host = Host { password: Some(secret(&sshd, &format!("{PASSWORD}\n"))), ..sshd.host() };
        connect(&host).await.unwrap();
        sshd.wait_for_log("Partial publickey");
        sshd.wait_for_log(&format!("Accepted {second}"));
        assert_eq!(judged(&sshd), 1, "{}", sshd.log());
        let error = refusal(connect(&sshd.host()).await);
        assert!(
            error.contains("wants more than a key to log in") && error.contains("(`password`)"),
            "{error}"
        );
    }
}

#[tokio::test]
async fn a_host_that_wants_two_keys_gets_both() {
    let config = "AuthenticationMethods publickey,publickey".to_owned();
    let sshd = Sshd::start_with(&Options { config, ..Options::default() });
    let second = sshd.dir().join("second");
    sshd::keygen("ed25519", &second, "");
    sshd.authorize(&second.with_extension("pub"));
    connect(&with(&sshd, &[sshd.dir().join("id"), second])).await.unwrap();
}

#[tokio::test]
async fn a_wrong_password_after_the_right_key_names_both() {
    let sshd = server_with_password(&format!("{BOTH}\nAuthenticationMethods publickey,password"));
    let host = Host { password: Some(secret(&sshd, "battery staple\n")), ..sshd.host() };
    let error = refusal(connect(&host).await);
    assert!(error.contains("took ") && error.contains("wants more than a key"), "{error}");
    assert!(error.contains("Tried, in order:") && error.contains("the password from file"), "{error}");
    sshd.wait_for_log("Failed password");
    assert_eq!(judged(&sshd), 1, "{}", sshd.log());
}

// ---- questions that are not answered

#[tokio::test]
async fn a_password_that_has_expired_is_not_changed() {
    let pam = "auth required pam_unix.so\naccount required pam_unix.so\npassword required pam_unix.so\n";
    // Day 0: it must be changed at once.
    let sshd = server_with_pam(QUESTIONS, pam, 0);
    let host = Host { password: Some(secret(&sshd, &format!("{PASSWORD}\n"))), ..with(&sshd, &[]) };
    let error = refusal(connect(&host).await);
    assert!(
        error.contains("asks another thing after the password") && error.contains("must be changed"),
        "{error}"
    );
    assert!(error.contains(&format!("ssh -p {}", sshd.port())), "{error}");
}

// ---- silence

#[tokio::test]
async fn a_password_is_in_no_log_even_where_everything_is_traced() {
    const TEST: &str = "a_password_is_in_no_log_even_where_everything_is_traced";
    // In a process of its own: a subscriber is for all tests of one.
    if outside().is_none() {
        let dir = tempfile::tempdir().unwrap();
        return again(TEST, Path::new("/nonexistent"), dir.path());
    }
    let traced = Traced::begin();
    for config in ["PasswordAuthentication yes", QUESTIONS] {
        let sshd = server_with_password(config);
        let password = Some(secret(&sshd, &format!("{PASSWORD}\n")));
        let session = connect(&Host { password, ..with(&sshd, &[]) }).await.unwrap();
        assert!(!format!("{session:?}").contains(PASSWORD));
        session.close().await;
    }
    let said = traced.said();
    let bytes: Vec<String> = PASSWORD.bytes().map(|byte| byte.to_string()).collect();
    assert!(!said.contains(PASSWORD) && !said.contains(&bytes.join(", ")), "{said}");
}
