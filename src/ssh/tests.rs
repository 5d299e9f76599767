//! Hosts that misbehave as a real sshd will not: each is the library's own server on an in-memory stream, with the clock
//! paused where time matters. What a real sshd does is in `tests/ssh.rs`.

use std::future::Future as _;
use std::pin::Pin;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::task::{Context, Poll};

use russh::keys::{Algorithm, PrivateKey};
use russh::server::{
    Auth, ChannelOpenHandle, Handler, Msg, PublicKeyOffer, Session as ServerSession, VerifiedPublicKey,
    run_stream,
};
use russh::{Channel, ChannelId, ChannelWriteHalf, MethodKind, MethodSet, Sig};
use tokio::io::{DuplexStream, ReadBuf};

use super::*;
use crate::remote::Exit;

const MIB: usize = 1 << 20;
/// Of 32 KiB each: 100 MiB.
const FLOOD_PIECES: usize = 3200;

/// A stream that stands still when told to, as that of a stopped machine.
struct Ice {
    stream: DuplexStream,
    frozen: Arc<AtomicBool>,
}

impl AsyncRead for Ice {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        if self.frozen.load(Ordering::SeqCst) {
            return Poll::Pending;
        }
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Ice {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        if self.frozen.load(Ordering::SeqCst) {
            return Poll::Pending;
        }
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// What a test sees and steers of a host.
#[derive(Clone, Default)]
struct Host {
    frozen: Arc<AtomicBool>,
    cutter: Arc<Mutex<Option<Cutter>>>,
    open_channels: Arc<AtomicU32>,
    most_open: Arc<AtomicU32>,
    lines: Arc<Mutex<Vec<Vec<u8>>>>,
    /// The writing ends of the channels. A host writes much through these alone: the library's `Handle::data` does not
    /// wait for room, and a client's close of a channel with data still queued then stops the whole connection.
    writers: Arc<Mutex<Vec<Arc<ChannelWriteHalf<Msg>>>>>,
    /// Never answers the request to open a channel.
    mute_to_opens: bool,
    refuses_every_key: bool,
    methods_left: Vec<MethodKind>,
}

impl Host {
    fn cut(&self) {
        if let Some(cutter) = self.cutter.lock().unwrap().as_ref() {
            cutter.cut();
        }
    }
}

impl Handler for Host {
    type Error = russh::Error;

    async fn auth_publickey(&mut self, _: &str, _: VerifiedPublicKey<'_>) -> Result<Auth, Self::Error> {
        if self.refuses_every_key {
            let left = Some(MethodSet::from(self.methods_left.as_slice()));
            return Ok(Auth::Reject { proceed_with_methods: left, partial_success: false });
        }
        Ok(Auth::Accept)
    }

    async fn channel_open_session(
        &mut self,
        channel: Channel<Msg>,
        reply: ChannelOpenHandle,
        _: &mut ServerSession,
    ) -> Result<(), Self::Error> {
        self.writers.lock().unwrap().push(Arc::new(channel.split().1));
        if self.mute_to_opens {
            std::mem::forget(reply);
            return Ok(());
        }
        let open = self.open_channels.fetch_add(1, Ordering::SeqCst) + 1;
        self.most_open.fetch_max(open, Ordering::SeqCst);
        reply.accept().await;
        Ok(())
    }

    async fn channel_close(&mut self, _: ChannelId, _: &mut ServerSession) -> Result<(), Self::Error> {
        self.open_channels.fetch_sub(1, Ordering::SeqCst);
        Ok(())
    }

    async fn exec_request(
        &mut self,
        channel: ChannelId,
        line: &[u8],
        session: &mut ServerSession,
    ) -> Result<(), Self::Error> {
        self.lines.lock().unwrap().push(line.to_vec());
        let host = self.clone();
        let handle = session.handle();
        let line = String::from_utf8_lossy(line).into_owned();
        if line == "refuse" {
            return session.channel_failure(channel);
        }
        session.channel_success(channel)?;
        tokio::spawn(async move { host.act(&line, channel, handle).await });
        Ok(())
    }
}

impl Host {
    fn writer(&self, channel: ChannelId) -> Arc<ChannelWriteHalf<Msg>> {
        let writers = self.writers.lock().unwrap();
        Arc::clone(writers.iter().find(|writer| writer.id() == channel).unwrap())
    }

    async fn act(&self, line: &str, channel: ChannelId, host: russh::server::Handle) {
        let _ = match line {
            "greet" => {
                host.data(channel, "out".as_bytes().to_vec()).await.ok();
                host.extended_data(channel, 1, "err".as_bytes().to_vec()).await.ok();
                host.exit_status_request(channel, 3).await.ok();
                host.eof(channel).await.ok();
                host.close(channel).await
            }
            "begin and hang" => host.data(channel, "begun".as_bytes().to_vec()).await.map_err(drop),
            "end without close" => {
                host.exit_status_request(channel, 0).await.ok();
                host.eof(channel).await
            }
            "close without status" => {
                host.data(channel, "half".as_bytes().to_vec()).await.ok();
                host.eof(channel).await.ok();
                host.close(channel).await
            }
            "close without end" => {
                host.data(channel, "half".as_bytes().to_vec()).await.ok();
                host.exit_status_request(channel, 0).await.ok();
                host.close(channel).await
            }
            "cut in the middle" => {
                host.data(channel, vec![b'x'; MIB]).await.ok();
                self.cut();
                Ok(())
            }
            "cut after the status" => {
                host.exit_status_request(channel, 0).await.ok();
                let (_, ()) = tokio::join!(host.data(channel, vec![b'x'; 10]), async {
                    tokio::task::yield_now().await;
                });
                self.cut();
                Ok(())
            }
            "say goodbye" => {
                let text = "going down \u{1b}[31mnow".to_owned();
                host.disconnect(russh::Disconnect::ByApplication, text, String::new()).await.ok();
                Ok(())
            }
            "freeze" => {
                self.frozen.store(true, Ordering::SeqCst);
                Ok(())
            }
            "die of a signal" => {
                let strange = Sig::Custom("R\u{1b}T".to_owned());
                host.exit_signal_request(channel, strange, false, String::new(), String::new()).await.ok();
                host.eof(channel).await.ok();
                host.close(channel).await
            }
            "flood" => {
                let writer = self.writer(channel);
                for _ in 0..FLOOD_PIECES {
                    writer.data_bytes(vec![b'x'; 32 << 10]).await.ok();
                }
                host.exit_status_request(channel, 0).await.ok();
                host.eof(channel).await.ok();
                host.close(channel).await
            }
            "knock" => {
                let accepted = [
                    host.channel_open_session().await.is_ok(),
                    host.channel_open_agent().await.is_ok(),
                    host.channel_open_direct_tcpip("127.0.0.1", 1, "127.0.0.1", 1).await.is_ok(),
                    host.channel_open_forwarded_tcpip("127.0.0.1", 1, "127.0.0.1", 1).await.is_ok(),
                    host.channel_open_forwarded_streamlocal("/run/x").await.is_ok(),
                    host.channel_open_direct_streamlocal("/run/x").await.is_ok(),
                    host.channel_open_x11("127.0.0.1", 1).await.is_ok(),
                ];
                let count = accepted.iter().filter(|accepted| **accepted).count();
                host.data(channel, "knocked".as_bytes().to_vec()).await.ok();
                host.exit_status_request(channel, u32::try_from(count).unwrap()).await.ok();
                host.eof(channel).await.ok();
                host.close(channel).await
            }
            echo if echo.starts_with("echo ") => {
                host.exit_status_request(channel, 0).await.ok();
                host.eof(channel).await
            }
            // Everything else never ends.
            _ => Ok(()),
        };
    }
}

fn cluster() -> Cluster {
    Cluster { agent: false, connect_timeout: Duration::from_secs(10), ..Cluster::new("oak", "203.0.113.7") }
}

fn random_key() -> PrivateKey {
    PrivateKey::random(&mut rand::rng(), Algorithm::Ed25519).unwrap()
}

/// Begins a session with this host, which has a host key of its own that the cluster pins.
async fn meet(host: &Host) -> Result<Session, RemoteError> {
    meet_with(host, cluster()).await
}

async fn meet_with(host: &Host, mut cluster: Cluster) -> Result<Session, RemoteError> {
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
    shake_hands(&cluster, near, known, keys).await
}

async fn ask(session: &Session, line: &'static str) -> Result<Output, RemoteError> {
    session.run(&Command::new(line), &mut std::io::sink()).await
}

#[tokio::test]
async fn an_orderly_command_gives_both_outputs_and_its_exit_status() {
    let session = meet(&Host::default()).await.unwrap();
    let mut log = Vec::new();
    let output = session.run(&Command::new("greet"), &mut log).await.unwrap();
    assert_eq!(output.exit, Exit::Code(3));
    assert_eq!((output.stdout.as_slice(), output.stderr.as_slice()), (&b"out"[..], &b"err"[..]));
    assert_eq!(log, b"outerr");
    assert!(session.host_key().starts_with("SHA256:"), "{}", session.host_key());
}

#[tokio::test]
async fn the_line_reaches_the_host_as_it_is() {
    let host = Host::default();
    let session = meet(&host).await.unwrap();
    let command = Command::new("echo").arg("it's $HOME\n'x'");
    session.run(&command, &mut std::io::sink()).await.unwrap();
    assert_eq!(host.lines.lock().unwrap()[0], command.line().as_bytes());
}

// Trap 1.4: an end is believed only when exit status and end-of-file were both seen.
#[tokio::test]
async fn a_command_whose_host_never_closes_the_channel_still_ends() {
    let session = meet(&Host::default()).await.unwrap();
    assert!(ask(&session, "end without close").await.unwrap().success());
}

#[tokio::test]
async fn a_channel_closed_without_an_exit_status_is_a_loss_and_no_success() {
    let session = meet(&Host::default()).await.unwrap();
    let Err(RemoteError::Lost(why)) = ask(&session, "close without status").await else { panic!("an end") };
    assert!(why.contains("without an exit status"), "{why}");
    let mut sink = Vec::new();
    let result = session.stream(&Command::new("close without status"), &mut sink).await;
    assert!(matches!(result, Err(RemoteError::Lost(_))), "{result:?}");
}

// Trap 0.5: a stream without its end-of-file is not whole, whatever its exit status.
#[tokio::test]
async fn a_stream_closed_without_end_of_file_is_a_loss_though_its_status_is_zero() {
    let session = meet(&Host::default()).await.unwrap();
    let mut sink = Vec::new();
    let result = session.stream(&Command::new("close without end"), &mut sink).await;
    let Err(RemoteError::Lost(why)) = result else { panic!("{result:?}") };
    assert!(why.contains("not whole"), "{why}");
    // For a short command the orderly close says enough.
    assert!(ask(&session, "close without end").await.unwrap().success());
}

// Trap 0.5: a connection killed in the middle must not look like a short success.
#[tokio::test]
async fn a_connection_cut_in_the_middle_of_a_stream_is_a_loss() {
    let host = Host::default();
    let session = meet(&host).await.unwrap();
    let mut sink = Vec::new();
    let result = session.stream(&Command::new("cut in the middle"), &mut sink).await;
    let Err(RemoteError::Lost(why)) = result else { panic!("{result:?}") };
    assert!(why.contains("closed the connection"), "{why}");
}

#[tokio::test]
async fn a_connection_cut_after_the_exit_status_is_a_loss_that_tells_the_status() {
    let session = meet(&Host::default()).await.unwrap();
    let Err(RemoteError::Lost(why)) = ask(&session, "cut after the status").await else { panic!("an end") };
    assert!(why.contains("exit status 0 was seen"), "{why}");
}

// Trap 1.2: nothing but `disconnected` carries the reason, and it is the host's own text.
#[tokio::test]
async fn the_hosts_goodbye_is_told_and_cannot_paint_on_the_terminal() {
    let session = meet(&Host::default()).await.unwrap();
    let Err(RemoteError::Lost(why)) = ask(&session, "say goodbye").await else { panic!("an end") };
    assert!(why.contains("going down ·[31mnow"), "{why:?}");
    // What comes later was not sent, and says so.
    let later = ask(&session, "greet").await.unwrap_err();
    assert!(!later.in_doubt(), "{later}");
    assert!(
        later.to_string().contains("was not sent") && later.to_string().contains("going down"),
        "{later}"
    );
}

#[tokio::test]
async fn a_signals_name_of_the_hosts_own_making_is_made_harmless() {
    let session = meet(&Host::default()).await.unwrap();
    assert_eq!(ask(&session, "die of a signal").await.unwrap().exit, Exit::Signal("R·T".to_owned()));
}

#[tokio::test]
async fn a_refused_command_did_not_run() {
    let session = meet(&Host::default()).await.unwrap();
    let error = ask(&session, "refuse").await.unwrap_err();
    assert!(matches!(error, RemoteError::Refused(_)) && !error.in_doubt(), "{error}");
}

// Trap 1.7: the library's default answer is yes.
#[tokio::test]
async fn a_host_that_opens_channels_to_us_is_refused_every_kind() {
    let session = meet(&Host::default()).await.unwrap();
    let output = ask(&session, "knock").await.unwrap();
    assert_eq!(output.stdout, b"knocked");
    assert_eq!(output.exit, Exit::Code(0), "channels accepted");
}

struct Counter(usize);

impl Write for Counter {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

// Trap 1.4: output is bounded in memory, and all of it is in the log.
#[tokio::test]
async fn a_hundred_megabytes_on_one_line_stay_out_of_memory() {
    let session = meet(&Host::default()).await.unwrap();
    let mut log = Counter(0);
    let output = session.run(&Command::new("flood").limit(MIB), &mut log).await.unwrap();
    assert_eq!(output.stdout.len(), MIB);
    assert!(output.stdout.capacity() <= 2 * MIB, "{}", output.stdout.capacity());
    assert_eq!(output.dropped, u64::try_from(99 * MIB).unwrap());
    assert_eq!(log.0, 100 * MIB);
}

#[tokio::test]
async fn what_a_sensitive_command_prints_stays_out_of_the_log() {
    let session = meet(&Host::default()).await.unwrap();
    let mut log = Vec::new();
    let output = session.run(&Command::new("greet").sensitive(), &mut log).await.unwrap();
    assert_eq!(output.stdout, b"out");
    assert!(log.is_empty(), "{log:?}");
}

struct FullDisk;

impl Write for FullDisk {
    fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
        Err(std::io::ErrorKind::StorageFull.into())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn a_log_on_a_full_disk_does_not_change_what_the_host_did() {
    let session = meet(&Host::default()).await.unwrap();
    let output = session.run(&Command::new("greet"), &mut FullDisk).await.unwrap();
    assert_eq!((output.exit, output.stdout), (Exit::Code(3), b"out".to_vec()));
}

/// A sink that takes a minute for its first piece.
struct SlowSink {
    rest: Option<Pin<Box<tokio::time::Sleep>>>,
    got: usize,
}

impl AsyncWrite for SlowSink {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        if let Some(rest) = &mut self.rest {
            std::task::ready!(rest.as_mut().poll(cx));
            self.rest = None;
        }
        self.got += buf.len();
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

// Trap 1.5: an undrained channel blocks its connection, keepalives and all; it must outlive a slow disk.
#[tokio::test(start_paused = true)]
async fn a_sink_slower_than_every_keepalive_loses_nothing() {
    let session = meet(&Host::default()).await.unwrap();
    let wait = 10 * KEEPALIVE;
    let mut sink = SlowSink { rest: Some(Box::pin(tokio::time::sleep(wait))), got: 0 };
    let command = Command::new("flood").deadline(Duration::from_secs(3600));
    let output = session.stream(&command, &mut sink).await.unwrap();
    assert!(output.success() && output.stdout.is_empty());
    assert_eq!(sink.got, 100 * MIB);
    assert!(ask(&session, "end without close").await.unwrap().success());
}

// Trap 1.5: a channel whose reader was let go of must not stop the next command.
#[tokio::test(start_paused = true)]
async fn a_sink_that_never_takes_anything_is_given_up_and_the_connection_lives() {
    let session = meet(&Host::default()).await.unwrap();
    let mut sink =
        SlowSink { rest: Some(Box::pin(tokio::time::sleep(Duration::from_secs(1 << 30)))), got: 0 };
    let began = tokio::time::Instant::now();
    let result = session.stream(&Command::new("flood").deadline(Duration::from_secs(5)), &mut sink).await;
    assert_eq!(result.unwrap_err(), RemoteError::Deadline(Duration::from_secs(5)));
    // The reader is let go of first: a connection that waits for it would not take the order to close.
    assert!(began.elapsed() < Duration::from_secs(6), "{:?}", began.elapsed());
    assert!(ask(&session, "end without close").await.unwrap().success());
}

#[tokio::test]
async fn a_sink_that_fails_is_this_machines_trouble() {
    let session = meet(&Host::default()).await.unwrap();
    let (mut sink, reader) = tokio::io::duplex(16);
    drop(reader);
    let result = session.stream(&Command::new("flood"), &mut sink).await;
    assert!(matches!(result, Err(RemoteError::Here(_))), "{result:?}");
    assert!(ask(&session, "end without close").await.unwrap().success());
}

#[tokio::test(start_paused = true)]
async fn what_a_command_printed_before_its_deadline_is_in_the_log() {
    let session = meet(&Host::default()).await.unwrap();
    let mut log = Vec::new();
    let error = session.run(&Command::new("begin and hang"), &mut log).await.unwrap_err();
    assert!(matches!(error, RemoteError::Deadline(_)) && error.in_doubt(), "{error}");
    assert_eq!(log, b"begun");
}

// Trap 1.4: dropping a channel sends no CLOSE.
#[tokio::test(start_paused = true)]
async fn thirty_commands_that_time_out_hold_one_channel_at_a_time() {
    let host = Host::default();
    let session = meet(&host).await.unwrap();
    for _ in 0..30 {
        assert!(matches!(ask(&session, "never end").await, Err(RemoteError::Deadline(_))));
    }
    assert!(ask(&session, "end without close").await.unwrap().success());
    let most = host.most_open.load(Ordering::SeqCst);
    assert!(most <= 2, "{most} channels were open at once");
}

// Trap 1.4, and a future dropped in the middle (Ctrl-C, a race that another branch won).
#[tokio::test(start_paused = true)]
async fn commands_that_are_cancelled_leave_no_channel_to_the_next() {
    let host = Host::default();
    let session = meet(&host).await.unwrap();
    for _ in 0..30 {
        assert!(timeout(Duration::from_secs(1), ask(&session, "never end")).await.is_err());
    }
    assert!(ask(&session, "end without close").await.unwrap().success());
    let most = host.most_open.load(Ordering::SeqCst);
    assert!(most <= 2, "{most} channels were open at once");
}

// Trap 1.6: keepalives notice a host that stands still.
#[tokio::test(start_paused = true)]
async fn a_host_that_freezes_is_noticed_within_a_minute() {
    let session = meet(&Host::default()).await.unwrap();
    let command = Command::new("freeze").deadline(Duration::from_secs(3600));
    let began = tokio::time::Instant::now();
    let error = session.run(&command, &mut std::io::sink()).await.unwrap_err();
    assert!(began.elapsed() <= Duration::from_secs(61), "{:?}", began.elapsed());
    assert_eq!(error, RemoteError::Lost("the host stopped answering".to_owned()));
}

// Trap 1.6: with something of ours stuck on the way, too.
#[tokio::test(start_paused = true)]
async fn a_command_to_a_frozen_host_with_stuck_input_ends_at_its_deadline() {
    let session = meet(&Host::default()).await.unwrap();
    let command = Command::new("freeze").stdin(vec![0; 8 * MIB]).deadline(Duration::from_secs(30));
    assert_eq!(
        session.run(&command, &mut std::io::sink()).await.unwrap_err(),
        RemoteError::Deadline(Duration::from_secs(30))
    );
}

#[tokio::test(start_paused = true)]
async fn a_close_comes_back_from_a_frozen_host() {
    let host = Host::default();
    let session = meet(&host).await.unwrap();
    host.frozen.store(true, Ordering::SeqCst);
    let began = tokio::time::Instant::now();
    session.close().await;
    assert!(began.elapsed() <= 2 * GOODBYE, "{:?}", began.elapsed());
}

// Trap 1.6: the library has no deadline of its own for opening a channel.
#[tokio::test(start_paused = true)]
async fn a_host_that_answers_no_open_is_given_up_and_nothing_is_in_doubt() {
    let session = meet(&Host { mute_to_opens: true, ..Host::default() }).await.unwrap();
    let began = tokio::time::Instant::now();
    let error = ask(&session, "greet").await.unwrap_err();
    assert!(began.elapsed() <= Duration::from_secs(11), "{:?}", began.elapsed());
    assert!(!error.in_doubt() && error.to_string().contains("no session was opened within 10 s"), "{error}");
    let later = ask(&session, "greet").await.unwrap_err();
    assert!(later.to_string().contains("the connection is gone"), "{later}");
}

// Trap 1.6: nor for the key exchange, and what stands still there must not keep its socket.
#[tokio::test(start_paused = true)]
async fn a_host_that_freezes_in_the_key_exchange_is_given_up_and_let_go() {
    let mut cluster = cluster();
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
struct Mute(Host);

impl Handler for Mute {
    type Error = russh::Error;

    async fn auth_publickey_offered(&mut self, _: &str, _: PublicKeyOffer<'_>) -> Result<Auth, Self::Error> {
        self.0.frozen.store(true, Ordering::SeqCst);
        Ok(Auth::Accept)
    }
}

#[tokio::test(start_paused = true)]
async fn a_login_that_is_never_answered_is_given_up() {
    let host = Host::default();
    let mut cluster = cluster();
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
    let host = Host {
        refuses_every_key: true,
        methods_left: vec![MethodKind::Password, MethodKind::KeyboardInteractive],
        ..Host::default()
    };
    let Err(RemoteError::Auth(error)) = meet(&host).await else { panic!("logged in") };
    assert!(error.contains("refused every key") && error.contains("id (ssh-ed25519 SHA256:"), "{error}");
    assert!(error.contains("password, keyboard-interactive"), "{error}");
}

#[tokio::test]
async fn what_does_not_speak_ssh_is_named_as_such() {
    let mut cluster = cluster();
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
