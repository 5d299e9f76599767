//! SSH: the one transport, and the only room that names russh.
//!
//! Every trap of that library that is known is written at the place that avoids it. What is checked, and what each error
//! asks of an operator, is told in `docs/ssh.md`.

use std::borrow::Cow;
use std::fmt;
use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use russh::client::{Config, Handle};
use russh::{Disconnect, Preferred, cipher, compression};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::inventory::Host;
use crate::remote::{Command, Output, Remote, RemoteError};
use client::{Client, Fault, Told, say_fault};
use exec::{Orphans, Take};
use hostkeys::HostKeys;
use keys::Keys;
use wire::Cutter;

mod auth;
mod client;
mod exec;
mod hostkeys;
mod keys;
mod network;
mod scan;
mod wire;

pub use hostkeys::Recorded;
pub use network::{Limits, Network};
pub use scan::ShownKey;

#[cfg(test)]
mod tests;

/// What a log filter must say last: in its own debugging the SSH library prints what an agent signs and what hosts send.
pub const QUIET: &str = "russh=warn";

/// After this long without a word from the host it is asked for one.
const KEEPALIVE: Duration = Duration::from_secs(15);
/// After this many questions without an answer the connection is lost: 60 s of silence in all.
const KEEPALIVES: usize = 3;
/// Bytes that a host may send ahead on one channel. 16 MiB is what a backup over a long line needs (2 MiB halves
/// OpenSSH's speed at 10 ms); it costs no memory. Behind a shared jump host it would let one slow reader stop every
/// host, so that needs 2 MiB or a larger `channel_buffer_size` there (libraries 1.5).
const WINDOW: u32 = 16 << 20;
/// How long a goodbye may take, twice.
const GOODBYE: Duration = Duration::from_secs(2);

/// A connection to one host, logged in.
pub struct Session {
    login: String,
    handle: Handle<Client>,
    told: Told,
    orphans: Orphans,
    open_within: Duration,
    /// Last, so that it cuts after the handle is gone.
    cutter: Cutter,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Session({}, {})", self.login, self.host_key())
    }
}

/// Connects to one host alone: [`Network::connect`] without limits.
pub async fn connect(host: &Host) -> Result<Session, RemoteError> {
    Network::new(Limits::default()).connect(host).await
}

fn unreachable(host: &Host, why: impl Into<String>) -> RemoteError {
    RemoteError::Unreachable { address: host.login(), why: why.into() }
}

/// A TCP connection to the first of the host's addresses that answers. The time is shared out among them, so that one
/// that swallows everything leaves some for the next.
async fn dial(host: &Host) -> Result<TcpStream, RemoteError> {
    let seconds = host.connect_timeout.as_secs();
    let found = timeout(host.connect_timeout, tokio::net::lookup_host((host.address.as_str(), host.port)));
    let addresses: Vec<SocketAddr> = match found.await {
        Err(_) => return Err(unreachable(host, format!("its name was not found out within {seconds} s"))),
        Ok(Err(error)) => return Err(unreachable(host, format!("its name cannot be found out: {error}"))),
        Ok(Ok(addresses)) => addresses.collect(),
    };
    let share = host.connect_timeout.div_f64(f64::from(u32::try_from(addresses.len().max(1)).unwrap_or(1)));
    let mut whys = Vec::new();
    for address in addresses {
        match timeout(share, TcpStream::connect(address)).await {
            Ok(Ok(socket)) => {
                // Without it every small request waits for the answer to the one before: 40 ms a login.
                if let Err(error) = socket.set_nodelay(true) {
                    tracing::debug!(%error, "TCP_NODELAY");
                }
                return Ok(socket);
            }
            Ok(Err(error)) => whys.push(format!("{address}: {error}")),
            Err(_) => whys.push(format!("{address}: no answer within {} s", share.as_secs_f64())),
        }
    }
    if whys.is_empty() {
        whys.push("its name has no address".to_owned());
    }
    Err(unreachable(host, whys.join("; ")))
}

/// From a bare stream to a session: banner, key exchange and host key under one deadline, the login under another. The
/// library has none for the first (libraries 1.6).
async fn shake_hands<S>(host: &Host, stream: S, known: HostKeys, keys: Keys) -> Result<Session, RemoteError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let seconds = host.connect_timeout.as_secs();
    let config = Arc::new(config(&known));
    let (wire, cutter) = wire::cuttable(stream);
    let (client, told) = Client::new(known);
    let shaken = timeout(host.connect_timeout, russh::client::connect_stream(config, wire, client)).await;
    let mut handle = match shaken {
        Ok(Ok(handle)) => handle,
        Ok(Err(Fault::HostKey(text))) => return Err(RemoteError::HostKey(text)),
        Ok(Err(fault)) => {
            let why = told.reason().unwrap_or_else(|| say_fault(&fault));
            let hint = "sshd's MaxStartups or PerSourcePenalties may keep this machine out for a while";
            return Err(unreachable(host, format!("{why}, before any login ({hint})")));
        }
        Err(_) => {
            return Err(unreachable(
                host,
                format!("it took the connection, but no SSH began within {seconds} s"),
            ));
        }
    };
    timeout(host.connect_timeout, auth::login(&mut handle, &told, host, keys)).await.unwrap_or_else(
        |_| {
            let who = if host.agent { "the host, or the SSH agent" } else { "the host" };
            Err(unreachable(
                host,
                format!("the login was not over within {seconds} s: {who} does not answer"),
            ))
        },
    )?;
    tracing::debug!(host = host.login(), host_key = told.fingerprint(), "logged in");
    Ok(Session {
        login: host.login(),
        handle,
        told,
        orphans: Orphans::default(),
        open_within: host.connect_timeout,
        cutter,
    })
}

fn config(known: &HostKeys) -> Config {
    Config {
        nodelay: true,
        keepalive_interval: Some(KEEPALIVE),
        keepalive_max: KEEPALIVES,
        inactivity_timeout: None,
        window_size: WINDOW,
        preferred: Preferred {
            key: Cow::Owned(known.algorithms()),
            host_key_certificates: Cow::Owned(known.certificate_algorithms()),
            // The library's first choice is half as fast where the processor knows AES.
            cipher: Cow::Borrowed(&[
                cipher::AES_256_GCM,
                cipher::AES_128_GCM,
                cipher::CHACHA20_POLY1305,
                cipher::AES_256_CTR,
            ]),
            // Streams are compressed at their source; a hostile host gets no decompressor to play with.
            compression: Cow::Borrowed(&[compression::NONE]),
            ..Preferred::DEFAULT
        },
        ..Config::default()
    }
}

impl Session {
    /// `SHA256:…` of the host key that was accepted.
    #[must_use]
    pub fn host_key(&self) -> &str {
        self.told.fingerprint()
    }

    /// Says goodbye; the connection is gone when this returns, whatever the host does. What still runs on the host runs
    /// on: nothing on this side can end it (libraries 1.6).
    pub async fn close(mut self) {
        let goodbye = self.handle.disconnect(Disconnect::ByApplication, "", "");
        if matches!(timeout(GOODBYE, goodbye).await, Ok(Ok(()))) {
            let _ = timeout(GOODBYE, &mut self.handle).await;
        }
        self.cutter.cut();
    }

    /// Opens a channel. Until that is done nothing was sent, so no error of it leaves anything in doubt.
    async fn open(&self) -> Result<russh::Channel<russh::client::Msg>, RemoteError> {
        exec::bury(&self.orphans).await;
        let gone = |why: String| RemoteError::Unreachable { address: self.login.clone(), why };
        match timeout(self.open_within, self.handle.channel_open_session()).await {
            Ok(Ok(channel)) => Ok(channel),
            Ok(Err(russh::Error::ChannelOpenFailure(reason))) => Err(RemoteError::Refused(format!(
                "it opens no further session on this connection ({reason:?}). Commands that were given up may still run \
                 there, and each holds one of the sessions that sshd allows (MaxSessions)"
            ))),
            Ok(Err(_)) => Err(gone(format!(
                "the connection is gone ({}); the command was not sent",
                self.told.why().await
            ))),
            Err(_) => {
                // An answer that came now would open a channel that nobody could close.
                self.cutter.cut();
                let seconds = self.open_within.as_secs();
                Err(gone(format!("no session was opened within {seconds} s; the command was not sent")))
            }
        }
    }
}

impl Remote for Session {
    async fn run(&self, command: &Command, log: &mut (dyn Write + Send)) -> Result<Output, RemoteError> {
        let channel = self.open().await?;
        let log = if command.is_sensitive() { None } else { Some(log) };
        exec::run(channel, command, Take::Keep(log), &self.told, &self.orphans).await
    }

    /// The sink is written where the channel is read: one that is slow slows the host down by TCP, and meanwhile the
    /// connection does nothing else; the command's deadline bounds it. A sink that waits for another command on the same
    /// connection would wait until then.
    async fn stream(
        &self,
        command: &Command,
        sink: &mut (dyn AsyncWrite + Unpin + Send),
    ) -> Result<Output, RemoteError> {
        let channel = self.open().await?;
        exec::run(channel, command, Take::Pass(sink), &self.told, &self.orphans).await
    }
}
