//! A host that does what it is told to, however strange: the library's own server.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use russh::server::{Auth, ChannelOpenHandle, Handler, Msg, Session as ServerSession, VerifiedPublicKey};
use russh::{Channel, ChannelId, ChannelWriteHalf, MethodKind, MethodSet, Sig};
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};
use tokio::sync::Notify;

use crate::ssh::frame::{Sent, read_back};
use crate::ssh::wire::Cutter;

pub(super) const MIB: usize = 1 << 20;
/// Of 32 KiB each: 100 MiB.
const FLOOD_PIECES: usize = 3200;

/// A stream that stands still when told to, as that of a stopped machine.
pub(super) struct Ice {
    pub(super) stream: DuplexStream,
    pub(super) frozen: Arc<AtomicBool>,
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
pub(super) struct Server {
    pub(super) frozen: Arc<AtomicBool>,
    pub(super) cutter: Arc<Mutex<Option<Cutter>>>,
    pub(super) open_channels: Arc<AtomicU32>,
    pub(super) most_open: Arc<AtomicU32>,
    pub(super) lines: Arc<Mutex<Vec<Vec<u8>>>>,
    /// The writing ends of the channels. A host writes much through these alone: the library's `Handle::data` does not
    /// wait for room, and a client's close of a channel with data still queued then stops the whole connection.
    pub(super) writers: Arc<Mutex<Vec<Arc<ChannelWriteHalf<Msg>>>>>,
    /// Never answers the request to open a channel.
    pub(super) mute_to_opens: bool,
    /// Answers the request to open a channel after so long.
    pub(super) opens_after: Duration,
    /// Told when a hop through it is closed.
    pub(super) hop_closed: Arc<Notify>,
    pub(super) refuses_every_key: bool,
    pub(super) methods_left: Vec<MethodKind>,
}

impl Server {
    fn cut(&self) {
        if let Some(cutter) = self.cutter.lock().unwrap().as_ref() {
            cutter.cut();
        }
    }
}

impl Handler for Server {
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
        if self.opens_after.is_zero() {
            reply.accept().await;
        } else {
            let after = self.opens_after;
            tokio::spawn(async move {
                tokio::time::sleep(after).await;
                reply.accept().await;
            });
        }
        Ok(())
    }

    /// Sends errors without end, as no TCP connection does.
    async fn channel_open_direct_tcpip(
        &mut self,
        channel: Channel<Msg>,
        _: &str,
        _: u32,
        _: &str,
        _: u32,
        reply: ChannelOpenHandle,
        _: &mut ServerSession,
    ) -> Result<(), Self::Error> {
        self.open_channels.fetch_add(1, Ordering::SeqCst);
        reply.accept().await;
        let (mut read, write) = channel.split();
        let told = Arc::clone(&self.hop_closed);
        tokio::spawn(async move {
            let flood = async { while write.extended_data_bytes(1, vec![b'x'; 32 << 10]).await.is_ok() {} };
            let closed = async { while read.wait().await.is_some() {} };
            tokio::select! { () = flood => {}, () = closed => {} }
            told.notify_one();
        });
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
        let sent = read_back(&String::from_utf8_lossy(line)).unwrap();
        if sent.line == "refuse" {
            return session.channel_failure(channel);
        }
        session.channel_success(channel)?;
        tokio::spawn(async move {
            if let Some(line) = host.begin(&sent, channel, &handle).await {
                host.act(line, channel, handle).await;
            }
        });
        Ok(())
    }
}

impl Server {
    fn writer(&self, channel: ChannelId) -> Arc<ChannelWriteHalf<Msg>> {
        let writers = self.writers.lock().unwrap();
        // A number is given again once its channel is closed: the newest is meant.
        Arc::clone(writers.iter().rev().find(|writer| writer.id() == channel).unwrap())
    }

    /// What its login shell does before the command's turn, `SHELL then LINE`: the marks, where nothing else is asked for. The line that
    /// is left to do.
    async fn begin<'a>(
        &self,
        sent: &'a Sent,
        channel: ChannelId,
        host: &russh::server::Handle,
    ) -> Option<&'a str> {
        let (shell, line) = sent.line.split_once(" then ").unwrap_or(("", &sent.line));
        let mark = sent.mark.as_bytes().to_vec();
        match shell {
            "no account" => {
                host.data(channel, b"This account is \x1b[31mcurrently not available.\n".to_vec()).await.ok();
                host.exit_status_request(channel, 1).await.ok();
                host.eof(channel).await.ok();
                host.close(channel).await.ok();
                return None;
            }
            // A banner without a line end, and the mark in two pieces.
            "banner" => {
                host.data(channel, [b"Welcome to \xff oak", &mark[..5]].concat()).await.ok();
                host.extended_data(channel, 1, b"motd\r\n".to_vec()).await.ok();
                host.data(channel, mark[5..].to_vec()).await.ok();
            }
            "errors elsewhere" => {
                host.data(channel, mark).await.ok();
                return Some(line);
            }
            "output elsewhere" => {}
            "endless noise" => {
                let writer = self.writer(channel);
                while writer.data_bytes(vec![b'x'; 32 << 10]).await.is_ok() {}
                return None;
            }
            _ => {
                host.data(channel, mark).await.ok();
            }
        }
        host.extended_data(channel, 1, sent.mark.as_bytes().to_vec()).await.ok();
        Some(line)
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
