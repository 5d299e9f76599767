//! A way for programs of this machine to a port on the host's own loopback, through the connection that is there.

use std::fmt;
use std::io::sink;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use russh::client::Msg;
use russh::{Channel, ChannelMsg, ChannelOpenFailure, ChannelReadHalf, ChannelWriteHalf};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::exec::Leash;
use super::frame::{Frame, Rights, Stream};
use super::{Line, Session};
use crate::remote::{Command, Remote as _, RemoteError};

/// Connections at once; more wait until one ends.
const MOST: usize = 32;
/// The same where each takes one of the ten sessions that sshd allows on a connection: some are left for commands.
const MOST_BY_COMMAND: usize = 6;
/// Bytes that are kept for a local program that does not take them. The host's channel is emptied whatever the program does, or
/// the whole SSH connection would stand still (libraries 1.5); a program that is further behind is cut off.
const BEHIND: usize = 32 << 20;
/// How long the host may take to end a connection that its local end has closed.
const LINGER: Duration = Duration::from_secs(10);
/// Input is handed over in pieces of so many bytes.
const PIECE: usize = 32 << 10;

/// The host's bash as a way to a port, where sshd forbids forwarding. Each end of the line ends it: `cat` ends with the channel,
/// and its reader then too. The words come as `$0`.
const BY_COMMAND: &str = "exec bash -c 'exec 3<>/dev/tcp/127.0.0.1/\"$0\" || exit 1; exec 2>/dev/null; cat <&3 & reader=$!; \
                          exec >&3 3>&-; cat; kill $reader'";
/// Whether that way leads anywhere.
const TRY_COMMAND: &str = "bash -c 'exec 3<>/dev/tcp/127.0.0.1/\"$0\"'";

/// How connections go through the SSH connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// By `direct-tcpip`.
    Forward,
    /// By a command.
    Command,
}

/// A port of 127.0.0.1 on this machine that leads to one on the host. It is served only while [`Tunnel::serve`] runs.
///
/// Whoever may use this machine's loopback may use it too; what is reached must ask for credentials of its own, as the
/// Kubernetes API does.
pub struct Tunnel {
    /// The connection that carries it: a tunnel is not made again with the session's line.
    line: Arc<Line>,
    listener: TcpListener,
    local: u16,
    port: u16,
    way: Way,
}

impl fmt::Debug for Tunnel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tunnel({} to port {} of {}, {:?})", self.local, self.port, self.line.address, self.way)
    }
}

impl Session {
    /// Opens a tunnel to this port of the host's loopback. Something must listen there: it is tried, and so it is found out once
    /// whether sshd forwards or a command must do it.
    pub async fn tunnel(&self, port: u16) -> Result<Tunnel, RemoteError> {
        let line = self.line().await?;
        let way = match line.forward(port).await? {
            Ok(channel) => {
                let _ = timeout(line.open_within, channel.close()).await;
                Way::Forward
            }
            Err(ChannelOpenFailure::AdministrativelyProhibited) => {
                self.try_command(port, line.open_within).await?;
                Way::Command
            }
            Err(_) => {
                return Err(RemoteError::Refused(format!(
                    "nothing answers on port {port} of its loopback; is k3s running there?"
                )));
            }
        };
        let here = |error: std::io::Error| RemoteError::Here(format!("no port for a tunnel: {error}"));
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.map_err(here)?;
        let local = listener.local_addr().map_err(here)?.port();
        tracing::debug!(host = line.address, local, port, ?way, "tunnel");
        Ok(Tunnel { line, listener, local, port, way })
    }

    async fn try_command(&self, port: u16, within: Duration) -> Result<(), RemoteError> {
        let command = Command::new(TRY_COMMAND).arg(port.to_string()).deadline(within);
        let output = self.run(&command, &mut sink()).await?;
        if output.success() {
            return Ok(());
        }
        Err(RemoteError::Refused(format!(
            "its sshd forbids forwarding (AllowTcpForwarding, PermitOpen), and its bash does not reach port {port} of its \
             loopback either ({}); is k3s running there?",
            output.complaint()
        )))
    }
}

impl Line {
    /// A forwarded channel, or why the host opens none.
    async fn forward(&self, port: u16) -> Result<Result<Channel<Msg>, ChannelOpenFailure>, RemoteError> {
        let open = self.handle.channel_open_direct_tcpip("127.0.0.1", u32::from(port), "127.0.0.1", 0);
        match timeout(self.open_within, open).await {
            Ok(Ok(channel)) => Ok(Ok(channel)),
            Ok(Err(russh::Error::ChannelOpenFailure(why))) => Ok(Err(why)),
            Ok(Err(_)) => Err(RemoteError::Lost(self.told.why().await)),
            Err(_) => {
                // An answer that came now would open a channel that nobody could close.
                self.cutter.cut();
                Err(RemoteError::Lost(format!(
                    "no connection through it within {} s",
                    self.open_within.as_secs()
                )))
            }
        }
    }
}

impl Tunnel {
    /// The port on 127.0.0.1 of this machine.
    #[must_use]
    pub const fn local_port(&self) -> u16 {
        self.local
    }

    /// Carries connections until the SSH connection is gone, and tells why. Dropped before, it ends those that are open; what
    /// they had asked for may have been done.
    pub async fn serve(&self) -> RemoteError {
        let most = if self.way == Way::Forward { MOST } else { MOST_BY_COMMAND };
        let mut open = FuturesUnordered::new();
        loop {
            tokio::select! {
                accepted = self.listener.accept(), if open.len() < most => match accepted {
                    Ok((local, _)) => open.push(self.connection(local)),
                    // It has gone again, or this machine has no file handles left: those that are open go on.
                    Err(error) => {
                        tracing::warn!(%error, "a connection to the tunnel was not taken");
                        tokio::time::sleep(Duration::from_millis(100)).await;
                    }
                },
                Some(()) = open.next() => {}
                why = self.line.told.ended() => return RemoteError::Lost(why),
            }
        }
    }

    /// One connection, from its begin to its end. What goes wrong is the local program's to see: its connection ends.
    async fn connection(&self, local: TcpStream) {
        if let Err(error) = local.set_nodelay(true) {
            tracing::debug!(%error, "TCP_NODELAY");
        }
        let opened = match self.way {
            Way::Forward => self.line.forward(self.port).await.and_then(|opened| {
                opened.map(|channel| (channel, None)).map_err(|why| {
                    RemoteError::Refused(format!("no connection to port {}: {why:?}", self.port))
                })
            }),
            Way::Command => self.by_command().await.map(|(channel, noise)| (channel, Some(noise))),
        };
        let (channel, noise) = match opened {
            Ok(opened) => opened,
            Err(error) => {
                tracing::warn!(host = self.line.address, %error, "tunnel");
                return;
            }
        };
        let (from_host, to_host) = channel.split();
        let leash = Leash::new(to_host, &self.line.orphans);
        if let Some(to_host) = leash.channel() {
            carry(local, from_host, to_host, noise).await;
        }
        leash.close().await;
    }

    /// A channel by a command, and what tells the login shell's noise from what comes through it.
    async fn by_command(&self) -> Result<(Channel<Msg>, Stream), RemoteError> {
        let channel = self.line.open().await?;
        let command = Command::new(BY_COMMAND).arg(self.port.to_string());
        let frame = Frame::new(Rights::Own, command.line());
        channel
            .exec(false, frame.line())
            .await
            .map_err(|_| RemoteError::Lost("it ended before the command was sent".to_owned()))?;
        Ok((channel, frame.stream()))
    }
}

/// Carries bytes both ways until the host's end is over and delivered, or the local end has left.
async fn carry(
    local: TcpStream,
    mut from_host: ChannelReadHalf,
    to_host: &ChannelWriteHalf<Msg>,
    mut noise: Option<Stream>,
) {
    let (local_out, local_in) = local.into_split();
    let (queue, queued) = mpsc::unbounded_channel();
    let behind = AtomicUsize::new(0);
    let up = async {
        send(local_out, to_host).await;
        tokio::time::sleep(LINGER).await;
    };
    let down = async {
        let delivery = deliver(local_in, queued, &behind);
        tokio::pin!(delivery);
        tokio::select! {
            whole = drain(&mut from_host, queue, &behind, &mut noise) => if !whole { return false },
            () = &mut delivery => return true,
        }
        delivery.await;
        true
    };
    // The reader decides: a writer that waits for room never wakes once the channel is gone (libraries 1.4).
    let whole = tokio::select! {
        whole = down => whole,
        () = up => true,
    };
    if !whole {
        tracing::warn!(
            "a program at the tunnel did not take {} MiB that the host had sent; its connection was cut",
            BEHIND >> 20
        );
    }
}

/// What the local program says, and that it has nothing more to say.
async fn send(mut local: OwnedReadHalf, to_host: &ChannelWriteHalf<Msg>) {
    let mut piece = vec![0; PIECE];
    while let Ok(read) = local.read(&mut piece).await {
        if read == 0 || to_host.data_bytes(piece[..read].to_vec()).await.is_err() {
            break;
        }
    }
    let _ = to_host.eof().await;
}

/// What the host says, taken as soon as it comes. False when the local program is too far behind.
async fn drain(
    from_host: &mut ChannelReadHalf,
    queue: mpsc::UnboundedSender<Vec<u8>>,
    behind: &AtomicUsize,
    noise: &mut Option<Stream>,
) -> bool {
    while let Some(message) = from_host.wait().await {
        match message {
            ChannelMsg::Data { data } => {
                let data = noise.as_mut().map_or(&data[..], |noise| noise.own(&data));
                let waiting = behind.fetch_add(data.len(), Ordering::Relaxed) + data.len();
                if waiting > BEHIND {
                    return false;
                }
                if queue.send(data.to_vec()).is_err() {
                    return true;
                }
            }
            ChannelMsg::Eof | ChannelMsg::Close => return true,
            _ => {}
        }
    }
    true
}

/// Hands it to the local program; the end too.
async fn deliver(
    mut local: OwnedWriteHalf,
    mut queued: mpsc::UnboundedReceiver<Vec<u8>>,
    behind: &AtomicUsize,
) {
    while let Some(data) = queued.recv().await {
        if local.write_all(&data).await.is_err() {
            return;
        }
        behind.fetch_sub(data.len(), Ordering::Relaxed);
    }
    let _ = local.shutdown().await;
}
