//! A byte stream that can be cut from outside.
//!
//! The SSH library ends a session only when it gets round to it: one whose key exchange is not over, or whose
//! write waits for a frozen peer, would keep its socket for ever after its owner is gone (libraries 1.6).

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use futures::task::AtomicWaker;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::bandwidth::Meter;

/// Cuts its [`Wire`] when told to, or when dropped.
#[derive(Debug)]
pub(super) struct Cutter(Arc<State>);

/// A stream whose every read and write fails once it is cut.
#[derive(Debug)]
pub(super) struct Wire<S> {
    stream: S,
    state: Arc<State>,
    meter: Option<Meter>,
}

#[derive(Debug, Default)]
struct State {
    cut: AtomicBool,
    reader: AtomicWaker,
    writer: AtomicWaker,
}

/// Puts a cutter to a stream.
pub(super) fn cuttable<S>(stream: S) -> (Wire<S>, Cutter) {
    let state = Arc::new(State::default());
    (Wire { stream, state: Arc::clone(&state), meter: None }, Cutter(state))
}

impl<S> Wire<S> {
    /// The same, read no faster than this meter allows.
    pub(super) fn metered(self, meter: impl Into<Option<Meter>>) -> Self {
        Self { meter: meter.into(), ..self }
    }
}

impl Cutter {
    /// Cuts the stream; whoever waits on it is woken.
    pub(super) fn cut(&self) {
        self.0.cut.store(true, Ordering::SeqCst);
        self.0.reader.wake();
        self.0.writer.wake();
    }
}

impl Drop for Cutter {
    fn drop(&mut self) {
        self.cut();
    }
}

impl State {
    /// Registers who waits, then says whether it is too late; in this order no cut is missed.
    fn check(&self, waker: &AtomicWaker, cx: &Context<'_>) -> io::Result<()> {
        waker.register(cx.waker());
        if self.cut.load(Ordering::SeqCst) {
            return Err(io::Error::new(io::ErrorKind::ConnectionAborted, "closed on this side"));
        }
        Ok(())
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Wire<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.state.check(&self.state.reader, cx)?;
        if let Some(meter) = &mut self.meter {
            ready!(meter.poll_turn(cx));
        }
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        if let Some(meter) = &mut self.meter {
            meter.took(buf.filled().len() - before);
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Wire<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.state.check(&self.state.writer, cx)?;
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.state.check(&self.state.writer, cx)?;
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    /// Never fails: the library would forget why the connection ended if saying goodbye on a dead one did.
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.state.check(&self.state.writer, cx).is_err() {
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.stream).poll_shutdown(cx).map(|_| Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    // Libraries 1.6: a hard stop from outside.
    #[tokio::test]
    async fn a_cut_wakes_a_reader_and_a_writer_that_wait() {
        let (near, _far) = tokio::io::duplex(8);
        let (wire, cutter) = cuttable(near);
        let (mut reader, mut writer) = tokio::io::split(wire);
        let mut buf = [0_u8; 1];
        let (read, written, ()) = tokio::join!(reader.read(&mut buf), writer.write_all(&[0; 64]), async {
            tokio::task::yield_now().await;
            cutter.cut();
        });
        assert_eq!(read.unwrap_err().kind(), io::ErrorKind::ConnectionAborted);
        assert_eq!(written.unwrap_err().kind(), io::ErrorKind::ConnectionAborted);
    }

    #[tokio::test]
    async fn a_dropped_cutter_cuts_and_a_goodbye_on_a_cut_wire_is_no_error() {
        let (near, _far) = tokio::io::duplex(8);
        let (mut wire, cutter) = cuttable(near);
        drop(cutter);
        assert!(wire.write_all(b"x").await.is_err());
        wire.shutdown().await.unwrap();
    }
}
