//! SSH: the one transport, and the only room that names russh.
//!
//! Every trap of that library that is known is written at the place that avoids it. What is checked, and what each error
//! asks of an operator, is told in `docs/ssh.md`.

use std::borrow::Cow;
use std::io::Write;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use russh::client::{Config, Handle, Msg};
use russh::{Channel, Disconnect, Preferred, cipher, compression};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Mutex;
use tokio::time::timeout;

use crate::inventory::Host;
use crate::remote::{Command, Output, RemoteError};
use bandwidth::{Bandwidth, Meter};
use client::{Client, Fault, Told, say_fault};
use exec::{Orphans, Take};
use frame::{Frame, Rights};
use hostkeys::HostKeys;
use keys::Keys;
use wire::Cutter;

mod auth;
mod bandwidth;
mod client;
mod dial;
mod exec;
pub(crate) mod frame;
mod hop;
mod hostkeys;
mod jump;
mod kept;
mod keys;
mod network;
mod passwords;
mod scan;
mod sudo;
mod tunnel;
mod wire;

pub use hostkeys::Recorded;
pub use kept::Session;
pub use network::{Limits, MOST_AHEAD, Network};
pub use scan::ShownKey;
pub use tunnel::Tunnel;

#[cfg(test)]
mod tests;

/// What a log filter must say last: in its own debugging the SSH library prints what an agent signs and what hosts send.
pub const QUIET: &str = "russh=warn";

/// After this long without a word from the host it is asked for one.
const KEEPALIVE: Duration = Duration::from_secs(15);
/// After this many questions without an answer the connection is lost: 60 s of silence in all.
const KEEPALIVES: usize = 3;
/// Bytes that a host may send ahead on one channel, where [`Limits::window`] does not say. 2 MiB, the library's own, halves OpenSSH's speed
/// at 10 ms. More than is needed is not free: with 16 MiB the sshds of eight hosts took four times as long (docs/performance.md). Behind a
/// shared jump host see [`hop`].
const WINDOW: u32 = 4 << 20;
/// Messages of 32 KiB at most that a command's reader may leave before its connection waits for him.
const UNREAD_MESSAGES: usize = 100;
/// How long a goodbye may take, twice.
const GOODBYE: Duration = Duration::from_secs(2);

/// A channel on its way.
type Opening = Pin<Box<dyn Future<Output = Result<Channel<Msg>, russh::Error>> + Send>>;

/// A connection to one host, logged in.
struct Line {
    /// Who and where, for people.
    address: String,
    handle: Arc<Handle<Client>>,
    /// The channel that is being opened, whoever asked for it.
    opening: Mutex<Option<Opening>>,
    told: Told,
    orphans: Orphans,
    open_within: Duration,
    root: sudo::Root,
    /// Bulk streams that come over it now.
    streams: Arc<AtomicUsize>,
    /// After the handle, so that it cuts when that is gone.
    cutter: Cutter,
    /// The jump host's connection that carries it. Last: it may end when its last user has.
    through: Option<Arc<Line>>,
}

impl std::fmt::Debug for Line {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Line({}, {})", self.address, self.told.fingerprint())
    }
}

/// How a connection is to be, besides what its host says.
#[derive(Debug, Clone, Copy, Default)]
struct Manner<'a> {
    /// The fingerprint of the one host key that will do.
    pinned: Option<&'a str>,
    /// What bulk streams are held to.
    bandwidth: Option<&'a Arc<Bandwidth>>,
    /// Bytes that the host may send ahead on one channel.
    window: Option<u32>,
    /// Whether it carries the connections of hosts behind it.
    carries: bool,
}

/// Connects to one host alone: [`Network::connect`] without limits.
pub async fn connect(host: &Host) -> Result<Session, RemoteError> {
    Network::new(Limits::default()).connect(host).await
}

fn unreachable(host: &Host, why: impl Into<String>) -> RemoteError {
    RemoteError::Unreachable { address: named(host), why: why.into() }
}

/// A host for people: `root@203.0.113.7:22`, behind jump hosts with its name and theirs, the nearest to it first.
fn named(host: &Host) -> String {
    let hops: Vec<&str> = host.way().map(|hop| hop.name.as_str()).collect();
    if hops.is_empty() {
        host.login()
    } else {
        format!("{} ({}) by way of {}", host.name, host.login(), hops.join(", itself by way of "))
    }
}

/// From a bare stream to a connection that is logged in: banner, key exchange and host key under one deadline; the login has its own. The
/// library has none for the first (libraries 1.6).
async fn shake_hands<S>(
    host: &Host,
    stream: S,
    known: HostKeys,
    keys: Keys,
    manner: Manner<'_>,
) -> Result<Line, RemoteError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let seconds = host.connect_timeout.as_secs();
    let streams = Arc::new(AtomicUsize::new(0));
    let config = Arc::new(config(&known, manner));
    let (wire, cutter) = wire::cuttable(stream);
    let meter = manner.bandwidth.map(|bandwidth| Meter::new(Arc::clone(bandwidth), Arc::clone(&streams)));
    let wire = wire.metered(meter);
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
    if let Some(pinned) = manner.pinned
        && pinned != told.fingerprint()
    {
        cutter.cut();
        return Err(RemoteError::HostKey(format!(
            "{} shows another host key than when this session began: {} now, {pinned} then. Both are accepted, but a host does not \
             change its key while it is worked on: nothing more is sent to it. Look at who answers at this address",
            named(host),
            told.fingerprint()
        )));
    }
    auth::login(&mut handle, &told, host, keys).await?;
    tracing::debug!(host = host.login(), host_key = told.fingerprint(), "logged in");
    Ok(Line {
        address: named(host),
        handle: Arc::new(handle),
        opening: Mutex::default(),
        told,
        orphans: Orphans::default(),
        open_within: host.connect_timeout,
        root: sudo::Root::new(host),
        streams,
        cutter,
        through: None,
    })
}

fn config(known: &HostKeys, manner: Manner<'_>) -> Config {
    let window = manner.window.unwrap_or(WINDOW);
    Config {
        nodelay: true,
        keepalive_interval: Some(KEEPALIVE),
        keepalive_max: KEEPALIVES,
        inactivity_timeout: None,
        window_size: manner.bandwidth.map_or(window, |bandwidth| bandwidth.window(window)),
        channel_buffer_size: if manner.carries { hop::KEPT_MESSAGES } else { UNREAD_MESSAGES },
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

impl Line {
    /// Whether it has ended.
    fn is_gone(&self) -> bool {
        self.handle.is_closed() || self.told.reason().is_some()
    }

    /// Says goodbye, to the jump hosts too whose last user this was; the connection is gone when this returns, whatever the host does. One
    /// that others still use is left alone.
    async fn close(this: Arc<Self>) {
        let mut last = Some(this);
        while let Some(Some(mut line)) = last.take().map(Arc::into_inner) {
            // It would hold on to the handle.
            drop(line.opening);
            let goodbye = line.handle.disconnect(Disconnect::ByApplication, "", "");
            if matches!(timeout(GOODBYE, goodbye).await, Ok(Ok(())))
                && let Some(handle) = Arc::get_mut(&mut line.handle)
            {
                let _ = timeout(GOODBYE, handle).await;
            }
            line.cutter.cut();
            last = line.through.take();
        }
    }

    /// Runs a command with these rights.
    async fn send(
        &self,
        rights: Rights<'_>,
        command: &Command,
        log: &mut (dyn Write + Send),
    ) -> Result<Output, RemoteError> {
        let channel = self.open().await?;
        let log = if command.is_sensitive() { None } else { Some(log) };
        let frame = Frame::new(rights, command.line());
        exec::run(channel, command, &frame, (None, Take::Keep(log)), &self.told, &self.orphans).await
    }

    /// Opens a channel. Until that is done nothing was sent, so no error of it leaves anything in doubt.
    async fn open(&self) -> Result<Channel<Msg>, RemoteError> {
        exec::bury(&self.orphans).await;
        let gone = |why: String| RemoteError::Unreachable { address: self.address.clone(), why };
        match timeout(self.open_within, self.opened()).await {
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

    /// The next channel. One whose asker has let go of it before it came goes to the next who asks: nobody could close it, and it would
    /// take one of the host's ten sessions for as long as the connection lives.
    async fn opened(&self) -> Result<Channel<Msg>, russh::Error> {
        let mut opening = self.opening.lock().await;
        let handle = Arc::clone(&self.handle);
        let asked =
            opening.get_or_insert_with(|| Box::pin(async move { handle.channel_open_session().await }));
        let opened = asked.await;
        *opening = None;
        opened
    }
}
