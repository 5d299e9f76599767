//! Hosts that misbehave as a real sshd will not: each is the library's own server on an in-memory stream, with the clock
//! paused where time matters. What a real sshd does is in `tests/ssh.rs`.
//!
//! Here is how they are met; [`host`] is what they do.

use std::io::Write;

use russh::keys::{Algorithm, PrivateKey};
use russh::server::run_stream;

use super::*;
use crate::remote::{Command, Output, Remote};
use host::{Ice, Server};

mod deadlines;
mod ends;
mod frames;
mod hops;
mod host;
mod login;
mod output;
mod passwords;

fn oak() -> Host {
    let (connect_timeout, reconnect) = (Duration::from_secs(10), Duration::ZERO);
    Host { agent: false, connect_timeout, reconnect, ..Host::new("oak", "203.0.113.7") }
}

fn random_key() -> PrivateKey {
    PrivateKey::random(&mut rand::rng(), Algorithm::Ed25519).unwrap()
}

/// Begins a session with this host, which has a host key of its own that the cluster pins.
async fn meet(host: &Server) -> Result<Session, RemoteError> {
    meet_as(host, Manner::default()).await
}

async fn meet_as(host: &Server, manner: Manner<'_>) -> Result<Session, RemoteError> {
    let mut cluster = oak();
    let host_key = random_key();
    cluster.host_key = Some(host_key.public_key().to_openssh().unwrap());
    let (near, far) = tokio::io::duplex(64 << 10);
    let far = Ice { stream: far, frozen: Arc::clone(&host.frozen) };
    let (far, cutter) = wire::cuttable(far);
    *host.cutter.lock().unwrap() = Some(cutter);
    let config = russh::server::Config {
        keys: vec![host_key],
        auth_rejection_time: Duration::ZERO,
        inactivity_timeout: None,
        ..Default::default()
    };
    let server = host.clone();
    tokio::spawn(async move {
        if let Ok(running) = run_stream(Arc::new(config), far, server).await {
            let _ = running.await;
        }
    });
    let known = HostKeys::read(&cluster).await.unwrap();
    let keys = Keys { ready: vec![("id".into(), Arc::new(random_key()))], ..Keys::default() };
    let line = super::shake_hands(&cluster, near, known, keys, manner).await?;
    Ok(Session::begun(Network::new(Limits::default()), cluster, None, line))
}

/// Without jump host, pinned key or cap.
async fn shake_hands<S>(host: &Host, stream: S, known: HostKeys, keys: Keys) -> Result<Line, RemoteError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    super::shake_hands(host, stream, known, keys, Manner::default()).await
}

async fn ask(session: &Session, line: &'static str) -> Result<Output, RemoteError> {
    session.run(&Command::new(line), &mut std::io::sink()).await
}
