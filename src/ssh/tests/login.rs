//! Before there is a session: the key exchange and the login.

use std::sync::atomic::Ordering;

use russh::MethodKind;
use russh::server::{Auth, Handler, PublicKeyOffer};

use super::*;

// Trap 1.6: the library has no deadline of its own for the key exchange, and what stands still there must not keep its socket.
#[tokio::test(start_paused = true)]
async fn a_host_that_freezes_in_the_key_exchange_is_given_up_and_let_go() {
    let mut cluster = oak();
    cluster.host_key = Some(random_key().public_key().to_openssh().unwrap());
    let (near, mut far) = tokio::io::duplex(64 << 10);
    tokio::io::AsyncWriteExt::write_all(&mut far, b"SSH-2.0-mute\r\n").await.unwrap();
    let known = HostKeys::read(&cluster).await.unwrap();
    let began = tokio::time::Instant::now();
    let error = shake_hands(&cluster, near, known, Keys::default()).await.unwrap_err();
    assert!(error.to_string().contains("no SSH began within 10 s"), "{error}");
    assert!(began.elapsed() <= Duration::from_secs(11), "{:?}", began.elapsed());
    // The other end sees the end of the stream, after what was sent before.
    let mut rest = Vec::new();
    let ended =
        timeout(Duration::from_secs(1), tokio::io::AsyncReadExt::read_to_end(&mut far, &mut rest)).await;
    assert!(ended.is_ok(), "the socket is still held");
}

/// Freezes its host when it is asked to judge a key.
struct Mute(Server);

impl Handler for Mute {
    type Error = russh::Error;

    async fn auth_publickey_offered(&mut self, _: &str, _: PublicKeyOffer<'_>) -> Result<Auth, Self::Error> {
        self.0.frozen.store(true, Ordering::SeqCst);
        Ok(Auth::Accept)
    }
}

#[tokio::test(start_paused = true)]
async fn a_login_that_is_never_answered_is_given_up() {
    let host = Server::default();
    let mut cluster = oak();
    let (near, far) = tokio::io::duplex(64 << 10);
    let far = Ice { stream: far, frozen: Arc::clone(&host.frozen) };
    let host_key = random_key();
    cluster.host_key = Some(host_key.public_key().to_openssh().unwrap());
    let config =
        russh::server::Config { keys: vec![host_key], inactivity_timeout: None, ..Default::default() };
    let server = Mute(host);
    tokio::spawn(async move {
        if let Ok(running) = run_stream(Arc::new(config), far, server).await {
            let _ = running.await;
        }
    });
    let known = HostKeys::read(&cluster).await.unwrap();
    let keys = Keys { ready: vec![("id".into(), Arc::new(random_key()))], ..Keys::default() };
    let began = tokio::time::Instant::now();
    let error = shake_hands(&cluster, near, known, keys).await.unwrap_err();
    assert!(error.to_string().contains("the login was not over within 10 s"), "{error}");
    assert!(began.elapsed() <= Duration::from_secs(11), "{:?}", began.elapsed());
}

// Trap 1.6: a refusal and a cut-off look alike to the library's caller.
#[tokio::test]
async fn a_refusal_names_the_key_and_the_ways_that_are_left() {
    let host = Server {
        refuses_every_key: true,
        methods_left: vec![MethodKind::Password, MethodKind::KeyboardInteractive],
        ..Server::default()
    };
    let Err(RemoteError::Auth(error)) = meet(&host).await else { panic!("logged in") };
    assert!(error.contains("refused every key") && error.contains("id (ssh-ed25519 SHA256:"), "{error}");
    assert!(error.contains("password, keyboard-interactive"), "{error}");
}

#[tokio::test]
async fn what_does_not_speak_ssh_is_named_as_such() {
    let mut cluster = oak();
    cluster.host_key = Some(random_key().public_key().to_openssh().unwrap());
    let (near, mut far) = tokio::io::duplex(64 << 10);
    tokio::io::AsyncWriteExt::write_all(&mut far, "HTTP/1.1 400 Bad Request\r\n".repeat(30).as_bytes())
        .await
        .unwrap();
    let known = HostKeys::read(&cluster).await.unwrap();
    let error = shake_hands(&cluster, near, known, Keys::default()).await.unwrap_err();
    assert!(error.to_string().contains("does not speak SSH"), "{error}");
}

#[test]
fn the_debug_form_of_a_session_and_of_its_keys_tells_no_secret() {
    let key = random_key();
    let keys = Keys { ready: vec![("id".into(), Arc::new(key.clone()))], ..Keys::default() };
    let secret = format!("{:?}", key.key_data().ed25519().unwrap().private.as_ref());
    assert!(!format!("{keys:?}").contains(secret.trim_matches(['[', ']'])));
}
