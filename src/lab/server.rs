//! The SSH server of a simulated host: public keys only, commands run by a real shell in the host's own folder.

use std::collections::BTreeMap;
use std::net::Shutdown;
use std::sync::Arc;

use hyper::body::Bytes;
use russh::keys::{PrivateKey, PublicKey};
use russh::server::{
    Auth, ChannelOpenHandle, Config, Handler, Msg, PublicKeyOffer, Session, VerifiedPublicKey,
};
use russh::{Channel, ChannelId, ChannelMsg, ChannelReadHalf, ChannelWriteHalf, MethodKind, MethodSet};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::ChildStdin;
use tokio::sync::mpsc;

use super::faults::Fault;
use super::host::Host;
use crate::lock;
use crate::ssh::frame::read_back;

/// How much of a child's output is sent at once.
const CHUNK: usize = 32 << 10;
/// What a hostile host puts on standard error: it clears the screen, sets the title, rings, and turns text around.
const HOSTILE: &[u8] = b"\x1b[2J\x1b]0;owned\x07\x1b[31mWelcome\r\xe2\x80\xae\x9b31m\n";
/// What a talkative login shell prints.
const BANNER: &[u8] = b"*** Scheduled maintenance on Sunday ***\n";

/// The keys of a host's SSH server.
#[derive(Debug, Clone)]
pub(super) struct Keys {
    /// The host's own.
    pub host: PrivateKey,
    /// The one client that may log in.
    pub client: PublicKey,
}

/// Accepts connections for as long as the lab runs. `listener` is the one of the beginning, so that a host answers from
/// the moment on that it is there.
pub(super) async fn serve(host: Arc<Host>, keys: Keys, mut listener: Option<TcpListener>) {
    let config = Arc::new(Config {
        keys: vec![keys.host],
        methods: MethodSet::from(&[MethodKind::PublicKey][..]),
        auth_rejection_time: std::time::Duration::from_millis(10),
        auth_rejection_time_initial: Some(std::time::Duration::ZERO),
        inactivity_timeout: None,
        nodelay: true,
        ..Config::default()
    });
    let mut state = host.follow();
    loop {
        let reachable = |state: &super::host::State| !state.faults.contains(&Fault::Unreachable);
        if state.wait_for(reachable).await.is_err() {
            return;
        }
        let listening = match listener.take() {
            Some(listener) => Ok(listener),
            None => host.ssh.listen_again().await,
        };
        let listener = match listening {
            Ok(listener) => listener,
            Err(error) => {
                tracing::error!("the lab cannot listen on port {}: {error}", host.ssh.number());
                return;
            }
        };
        while reachable(&state.borrow()) {
            tokio::select! {
                accepted = listener.accept() => {
                    if let Ok((stream, _)) = accepted {
                        tokio::spawn(connection(host.clone(), config.clone(), keys.client.clone(), stream));
                    }
                }
                changed = state.changed() => if changed.is_err() { return },
            }
        }
    }
}

/// One connection, until it ends or the host becomes unreachable.
async fn connection(host: Arc<Host>, config: Arc<Config>, client: PublicKey, stream: TcpStream) {
    // A second handle to the socket, by which a fault cuts the line under SSH.
    let Ok((stream, cutter)) = stream.into_std().and_then(|stream| {
        let cutter = stream.try_clone()?;
        Ok((TcpStream::from_std(stream)?, cutter))
    }) else {
        return;
    };
    host.connected();
    let _ = stream.set_nodelay(true);
    let cutter = Arc::new(cutter);
    let mut state = host.follow();
    let login = Login { host, client, cutter: cutter.clone(), channels: BTreeMap::new() };
    let Ok(session) = russh::server::run_stream(config, stream, login).await else { return };
    let gone = state.wait_for(|state| state.faults.contains(&Fault::Unreachable));
    tokio::select! {
        // A client that leaves without a word ends with an error: that is usual.
        _ = session => {}
        _ = gone => { let _ = cutter.shutdown(Shutdown::Both); }
    }
}

/// One client's session.
struct Login {
    host: Arc<Host>,
    client: PublicKey,
    cutter: Arc<std::net::TcpStream>,
    channels: BTreeMap<u32, Channel<Msg>>,
}

impl Login {
    fn judge(&self, key: &PublicKey) -> Auth {
        let known = key.key_data() == self.client.key_data() && !self.host.has(&Fault::AuthRefused);
        if known { Auth::Accept } else { Auth::reject() }
    }

    /// What stands in the way of this command line, if anything does. A cut happens once.
    fn obstacle(&self, line: &str) -> Obstacle {
        let found = self.host.state().faults.into_iter().find_map(|fault| match &fault {
            Fault::ConnectionDropsAt(text) if line.contains(text.as_str()) => {
                Some((Obstacle::CutBefore, Some(fault)))
            }
            Fault::ConnectionDropsAfter(text) if line.contains(text.as_str()) => {
                Some((Obstacle::CutAfter, Some(fault)))
            }
            Fault::RebootsAt(text) if line.contains(text.as_str()) => {
                Some((Obstacle::RebootBefore, Some(fault)))
            }
            Fault::RebootsAfter(text) if line.contains(text.as_str()) => {
                Some((Obstacle::RebootAfter, Some(fault)))
            }
            Fault::CommandHangs(text) if line.contains(text.as_str()) => Some((Obstacle::Hang, None)),
            Fault::CommandFails(text) if line.contains(text.as_str()) => Some((Obstacle::Fail, None)),
            _ => None,
        });
        let Some((obstacle, spent)) = found else { return Obstacle::None };
        if let Some(fault) = spent {
            self.host.heal(&fault);
        }
        obstacle
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Obstacle {
    None,
    CutBefore,
    CutAfter,
    RebootBefore,
    RebootAfter,
    Hang,
    Fail,
}

impl Handler for Login {
    type Error = russh::Error;

    async fn auth_publickey_offered(
        &mut self,
        _: &str,
        offer: PublicKeyOffer<'_>,
    ) -> Result<Auth, russh::Error> {
        Ok(self.judge(offer.public_key))
    }

    async fn auth_publickey(&mut self, _: &str, key: VerifiedPublicKey<'_>) -> Result<Auth, russh::Error> {
        Ok(self.judge(key.public_key))
    }

    async fn channel_open_session(
        &mut self,
        channel: Channel<Msg>,
        reply: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), russh::Error> {
        self.channels.insert(channel.id().into(), channel);
        reply.accept().await;
        Ok(())
    }

    async fn channel_open_direct_tcpip(
        &mut self,
        channel: Channel<Msg>,
        address: &str,
        port: u32,
        _: &str,
        _: u32,
        reply: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), russh::Error> {
        // A tunnel leads to the host itself and nowhere else.
        let local = matches!(address, "127.0.0.1" | "localhost");
        let target = match u16::try_from(port) {
            Ok(port) if local => TcpStream::connect(("127.0.0.1", port)).await.ok(),
            _ => None,
        };
        let Some(mut target) = target else {
            reply.reject(russh::ChannelOpenFailure::ConnectFailed).await;
            return Ok(());
        };
        reply.accept().await;
        tokio::spawn(async move {
            let _ = tokio::io::copy_bidirectional(&mut channel.into_stream(), &mut target).await;
        });
        Ok(())
    }

    async fn exec_request(
        &mut self,
        id: ChannelId,
        line: &[u8],
        session: &mut Session,
    ) -> Result<(), russh::Error> {
        let Some(channel) = self.channels.remove(&u32::from(id)) else {
            return session.channel_failure(id);
        };
        let line = String::from_utf8_lossy(line).into_owned();
        // What is recorded and what faults look at is the command, as plans and journals show it.
        let said = read_back(&line).map_or_else(|| line.clone(), |sent| lock::bare(&sent.line).to_owned());
        self.host.record(&said);
        let obstacle = self.obstacle(&said);
        if obstacle == Obstacle::CutBefore {
            let _ = self.cutter.shutdown(Shutdown::Both);
            return Ok(());
        }
        if obstacle == Obstacle::RebootBefore {
            tokio::spawn(reboot(self.host.clone()));
            return Ok(());
        }
        session.channel_success(id)?;
        let (host, cutter) = (self.host.clone(), self.cutter.clone());
        tokio::spawn(async move {
            execute(&host, &cutter, channel, &line, obstacle).await;
            if obstacle == Obstacle::RebootAfter {
                reboot(host).await;
            }
        });
        Ok(())
    }
}

/// Runs a command line with a real shell, as sshd does: its own process group, and nothing that ends it but itself.
async fn execute(
    host: &Host,
    cutter: &std::net::TcpStream,
    channel: Channel<Msg>,
    line: &str,
    obstacle: Obstacle,
) {
    let (reader, writer) = channel.split();
    if obstacle == Obstacle::Fail {
        // It is begun: without its marks it would be one that was not.
        if let Some(sent) = read_back(line) {
            let _ = writer.data_bytes(sent.mark.clone()).await;
            let _ = writer.extended_data_bytes(1, sent.mark).await;
        }
        let _ = writer.extended_data_bytes(1, &b"Input/output error\n"[..]).await;
        return end(&writer, Some(1)).await;
    }
    let line = if obstacle == Obstacle::Hang { "exec sleep 86400" } else { line };
    let child = host.shell(line).spawn();
    let mut child = match child {
        Ok(child) => child,
        Err(error) => {
            let text = format!("the lab cannot start a shell: {error}\n");
            let _ = writer.extended_data_bytes(1, Bytes::from(text)).await;
            return end(&writer, Some(255)).await;
        }
    };
    let (Some(stdin), Some(stdout), Some(stderr)) =
        (child.stdin.take(), child.stdout.take(), child.stderr.take())
    else {
        return;
    };
    if host.has(&Fault::NoisyShell) {
        let _ = writer.data_bytes(BANNER).await;
    }
    let hostile = if host.has(&Fault::HostileOutput) { HOSTILE } else { b"" };
    let output = async {
        let streams = tokio::join!(pump(stdout, &writer, None, b""), pump(stderr, &writer, Some(1), hostile));
        streams.0 && streams.1
    };
    let (bytes, feed) = mpsc::unbounded_channel();
    let feeder = tokio::spawn(feeding(stdin, feed));
    // A writer that waits for window space never hears that the client is gone; the reader does (libraries 1.4).
    let heard = tokio::select! {
        whole = output => whole,
        () = listen(reader, bytes) => false,
    };
    feeder.abort();
    // Whether or not anybody listens still, the child goes on to its own end.
    let status = child.wait().await;
    if obstacle == Obstacle::RebootAfter {
        return;
    }
    if obstacle == Obstacle::CutAfter {
        let _ = cutter.shutdown(Shutdown::Both);
        return;
    }
    if heard {
        use std::os::unix::process::ExitStatusExt as _;
        let code =
            status.ok().map(|status| status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0)));
        end(&writer, code.and_then(|code| u32::try_from(code).ok())).await;
    }
}

async fn reboot(host: Arc<Host>) {
    if let Err(error) = host.reboot().await {
        tracing::error!("the lab cannot start {} anew: {error}", host.spec().name);
    }
}

/// The order in which OpenSSH ends a command: exit status, end of file, close.
async fn end(writer: &ChannelWriteHalf<Msg>, code: Option<u32>) {
    if let Some(code) = code {
        let _ = writer.exit_status(code).await;
    }
    let _ = writer.eof().await;
    let _ = writer.close().await;
}

/// Sends a child's output as it comes, no faster than the client takes it, and `added` behind what comes first (the mark of a framed line:
/// what comes before that is noise to a client). Whether all was sent.
async fn pump(
    mut from: impl AsyncRead + Unpin,
    to: &ChannelWriteHalf<Msg>,
    kind: Option<u32>,
    mut added: &[u8],
) -> bool {
    let mut buffer = vec![0; CHUNK];
    loop {
        let read = match from.read(&mut buffer).await {
            Ok(0) | Err(_) => return true,
            Ok(read) => read,
        };
        let bytes = Bytes::from([&buffer[..read], std::mem::take(&mut added)].concat());
        let sent = match kind {
            None => to.data_bytes(bytes).await,
            Some(kind) => to.extended_data_bytes(kind, bytes).await,
        };
        if sent.is_err() {
            return false;
        }
    }
}

/// Hears the client until it is gone; what it sends goes to the child.
async fn listen(mut reader: ChannelReadHalf, bytes: mpsc::UnboundedSender<Bytes>) {
    let mut bytes = Some(bytes);
    while let Some(message) = reader.wait().await {
        match message {
            ChannelMsg::Data { data } => {
                if let Some(bytes) = &bytes {
                    // The child may have closed its standard input.
                    let _ = bytes.send(data);
                }
            }
            ChannelMsg::Eof => bytes = None,
            ChannelMsg::Close => return,
            _ => {}
        }
    }
}

async fn feeding(mut stdin: ChildStdin, mut feed: mpsc::UnboundedReceiver<Bytes>) {
    while let Some(bytes) = feed.recv().await {
        if stdin.write_all(&bytes).await.is_err() {
            return;
        }
    }
}
