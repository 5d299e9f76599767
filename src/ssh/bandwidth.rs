//! A cap on the bytes per second of all bulk streams of a run together.
//!
//! What is sent is held to it where it is read ([`Measured`]). What comes is held to it where bytes come off the wire, not where a stream's sink takes them: a channel that is read slowly would stop its whole
//! connection, other commands and keepalives with it (libraries 1.5). A wire that is read slowly slows the host down by TCP, and what
//! else it sends stands in the same queue, which [`Bandwidth::window`] keeps short.

use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

/// What was not used in so much time may be caught up with.
const CATCH_UP: Duration = Duration::from_millis(100);
/// The least that a host may send ahead: two of its packets.
const SMALLEST_WINDOW: u64 = 64 << 10;

/// The cap, shared by all connections of a run.
#[derive(Debug)]
pub(super) struct Bandwidth {
    /// Bytes per second, at least one.
    rate: u64,
    /// When all that was taken so far is paid for.
    paid: Mutex<Instant>,
}

impl Bandwidth {
    /// So many bytes per second.
    pub(super) fn new(rate: u64) -> Self {
        Self { rate: rate.max(1), paid: Mutex::new(Instant::now()) }
    }

    /// How much a host may send ahead on one channel, in bytes, at most `usual`: a quarter of a second's share, since a command's answer on
    /// the same connection comes after it.
    pub(super) fn window(&self, usual: u32) -> u32 {
        let quarter = self.rate.div_euclid(4).max(SMALLEST_WINDOW);
        u32::try_from(quarter).unwrap_or(usual).min(usual)
    }

    /// Takes so many bytes; the moment from which the next may be taken.
    fn take(&self, bytes: usize) -> Instant {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        #[expect(clippy::cast_precision_loss, reason = "a rate beyond 2^53 bytes per second is no cap")]
        let costs = Duration::from_secs_f64(f64::from(bytes) / self.rate as f64);
        let mut paid = self.paid.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        *paid = (*paid).max(now.checked_sub(CATCH_UP).unwrap_or(now)) + costs;
        *paid
    }
}

/// What holds one wire to the cap for as long as a bulk stream comes over it.
#[derive(Debug)]
pub(super) struct Meter {
    bandwidth: Arc<Bandwidth>,
    streams: Arc<AtomicUsize>,
    rest: Option<Pin<Box<Sleep>>>,
}

impl Meter {
    /// A meter that counts while `streams` is not 0.
    pub(super) const fn new(bandwidth: Arc<Bandwidth>, streams: Arc<AtomicUsize>) -> Self {
        Self { bandwidth, streams, rest: None }
    }

    /// Ready when the next bytes may be taken.
    pub(super) fn poll_turn(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(rest) = &mut self.rest {
            ready!(rest.as_mut().poll(cx));
            self.rest = None;
        }
        Poll::Ready(())
    }

    /// Counts bytes that came.
    pub(super) fn took(&mut self, bytes: usize) {
        if self.streams.load(Ordering::Relaxed) > 0 {
            let until = self.bandwidth.take(bytes);
            if until > Instant::now() {
                self.rest = Some(Box::pin(sleep_until(until)));
            }
        }
    }
}

/// What is sent to a host, held to the cap where it is read.
pub(super) struct Measured<'a> {
    source: &'a mut (dyn AsyncRead + Unpin + Send),
    bandwidth: Option<Arc<Bandwidth>>,
    rest: Option<Pin<Box<Sleep>>>,
}

impl<'a> Measured<'a> {
    /// The source, held back where there is a cap.
    pub(super) const fn new(
        source: &'a mut (dyn AsyncRead + Unpin + Send),
        bandwidth: Option<Arc<Bandwidth>>,
    ) -> Self {
        Self { source, bandwidth, rest: None }
    }
}

impl AsyncRead for Measured<'_> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        if let Some(rest) = &mut self.rest {
            ready!(rest.as_mut().poll(cx));
            self.rest = None;
        }
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.source).poll_read(cx, buffer))?;
        let bytes = buffer.filled().len().saturating_sub(before);
        if let Some(bandwidth) = &self.bandwidth {
            let until = bandwidth.take(bytes);
            if until > Instant::now() {
                self.rest = Some(Box::pin(sleep_until(until)));
            }
        }
        Poll::Ready(Ok(()))
    }
}

/// One bulk stream on a connection, until dropped.
#[derive(Debug)]
pub(super) struct Bulk(Arc<AtomicUsize>);

impl Bulk {
    /// Counts one more.
    pub(super) fn begin(streams: &Arc<AtomicUsize>) -> Self {
        streams.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(streams))
    }
}

impl Drop for Bulk {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;
    use crate::ssh::wire;

    async fn seconds_for(wires: usize, bytes: usize, rate: u64, streaming: bool) -> f64 {
        let bandwidth = Arc::new(Bandwidth::new(rate));
        let began = Instant::now();
        let reads = (0..wires).map(|_| async {
            let (mut far, near) = tokio::io::duplex(64 << 10);
            let streams = Arc::new(AtomicUsize::new(0));
            let _bulk = streaming.then(|| Bulk::begin(&streams));
            let (wire, _cutter) = wire::cuttable(near);
            let mut wire = wire.metered(Meter::new(Arc::clone(&bandwidth), Arc::clone(&streams)));
            let write = async {
                far.write_all(&vec![0; bytes]).await.unwrap();
                drop(far);
            };
            let mut got = Vec::new();
            let (read, ()) = tokio::join!(wire.read_to_end(&mut got), write);
            assert_eq!(read.unwrap(), bytes);
        });
        futures::future::join_all(reads).await;
        began.elapsed().as_secs_f64()
    }

    #[tokio::test(start_paused = true)]
    async fn all_wires_together_stay_under_the_cap_and_use_it_up() {
        for wires in [1, 5] {
            let took = seconds_for(wires, 10_000_000, 1_000_000, true).await;
            let least = 10.0 * f64::from(u32::try_from(wires).unwrap());
            assert!((least - 0.3..least + 0.3).contains(&took), "{wires} wires: {took} s");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_sent_is_held_to_the_same_cap() {
        let bandwidth = Arc::new(Bandwidth::new(1_000_000));
        let began = Instant::now();
        let bytes = vec![7; 5_000_000];
        for cap in [None, Some(bandwidth)] {
            let (mut source, mut sent) = (&bytes[..], Vec::new());
            Measured::new(&mut source, cap).read_to_end(&mut sent).await.unwrap();
            assert!(sent == bytes);
        }
        let took = began.elapsed().as_secs_f64();
        assert!((4.7..5.3).contains(&took), "{took} s");
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_bulk_stream_nothing_is_held_back() {
        let took = seconds_for(3, 10_000_000, 1_000_000, false).await;
        assert!(took < 0.001, "{took} s");
    }

    #[test]
    fn the_window_is_a_quarter_of_a_second_between_two_packets_and_the_usual_one() {
        let window = |rate| Bandwidth::new(rate).window(16 << 20);
        assert_eq!((window(1), window(20 << 20), window(u64::MAX)), (64 << 10, 5 << 20, 16 << 20));
    }
}
