//! A connection of its own through another one: what a jump host is asked for.
//!
//! On the connection to the jump host, one reader that stops must not stop the others (libraries 1.5: a channel that is not drained
//! holds up its whole connection). So what comes for a hop is always taken off that connection and kept for the hop's reader.
//! How much that can be is counted by the [`Ledger`]: a host that keeps to the protocol sends one window ahead, and one that does not is
//! cut off, alone.

use std::collections::BTreeMap;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use russh::ChannelStream;
use russh::client::Msg;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Messages that the library keeps for one reader of a jump host's connection before it waits for him: more than the ledger allows.
pub(super) const KEPT_MESSAGES: usize = 1 << 20;
/// Bytes that are kept for one hop's reader: four of the largest windows ([`super::network::MOST_AHEAD`]).
const MOST_KEPT: u64 = 64 << 20;
/// What a message takes besides what it says, in bytes.
const MESSAGE: u64 = 128;

/// What is kept for each hop through one connection and was not yet read.
#[derive(Debug, Clone, Default)]
pub(super) struct Ledger(Arc<Mutex<BTreeMap<u32, Kept>>>);

#[derive(Debug, Default, Clone, Copy)]
struct Kept {
    bytes: u64,
    /// The same and what the messages take besides.
    memory: u64,
}

impl Ledger {
    fn entries(&self) -> MutexGuard<'_, BTreeMap<u32, Kept>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a message that came on the channel of this number; whether its hop keeps no more than it may. A channel that is no hop
    /// has no limit here.
    pub(super) fn came(&self, channel: u32, bytes: usize) -> bool {
        let mut entries = self.entries();
        let Some(kept) = entries.get_mut(&channel) else { return true };
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        kept.bytes = kept.bytes.saturating_add(bytes);
        kept.memory = kept.memory.saturating_add(bytes).saturating_add(MESSAGE);
        kept.memory <= MOST_KEPT
    }

    /// Counts bytes that were read; with them goes their share of what the messages take besides.
    fn read(&self, channel: u32, bytes: usize) {
        if let Some(kept) = self.entries().get_mut(&channel) {
            let bytes = u64::try_from(bytes).unwrap_or(u64::MAX).min(kept.bytes);
            let share = kept.memory.saturating_mul(bytes).checked_div(kept.bytes).unwrap_or(kept.memory);
            kept.bytes -= bytes;
            kept.memory -= share;
        }
    }
}

/// The near end of a hop.
pub(super) struct Hop {
    stream: ChannelStream<Msg>,
    channel: u32,
    ledger: Ledger,
}

impl Hop {
    /// The hop that is this channel.
    pub(super) fn new(channel: russh::Channel<Msg>, ledger: Ledger) -> Self {
        let id = channel.id().number();
        ledger.entries().insert(id, Kept::default());
        Self { stream: channel.into_stream(), channel: id, ledger }
    }
}

impl Drop for Hop {
    fn drop(&mut self) {
        self.ledger.entries().remove(&self.channel);
    }
}

impl AsyncRead for Hop {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        self.ledger.read(self.channel, buf.filled().len() - before);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Hop {
    /// The library takes writing nothing for an error.
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if buf.is_empty() {
            return Poll::Ready(Ok(0));
        }
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ledger() -> Ledger {
        let ledger = Ledger::default();
        ledger.entries().insert(1, Kept::default());
        ledger
    }

    #[test]
    fn a_host_that_sends_its_window_ahead_is_let_be_and_one_that_sends_without_end_is_not() {
        let (honest, flood, drops) = (ledger(), ledger(), ledger());
        assert!((0..512).all(|_| honest.came(1, 32 << 10)), "16 MiB unread");
        let pieces = (0..100_000).take_while(|_| flood.came(1, 32 << 10)).count();
        assert!((1500..2048).contains(&pieces), "{pieces}");
        // What a message takes counts too: a million of one byte each is no megabyte.
        let pieces = (0..10_000_000).take_while(|_| drops.came(1, 1)).count();
        assert!(pieces < KEPT_MESSAGES, "the library would wait at {KEPT_MESSAGES}, not at {pieces}");
    }

    #[test]
    fn what_is_read_is_kept_no_more() {
        let ledger = ledger();
        for _ in 0..100_000 {
            assert!(ledger.came(1, 1000) && ledger.came(1, 1000));
            ledger.read(1, 1500);
            ledger.read(1, 500);
        }
        let kept = ledger.entries()[&1];
        assert_eq!((kept.bytes, kept.memory), (0, 0));
        // Reading lags, but goes on.
        for _ in 0..1_000_000 {
            assert!(ledger.came(1, 10));
            ledger.read(1, 10);
        }
    }

    #[test]
    fn a_channel_that_is_no_hop_is_not_counted() {
        assert!((0..10_000).all(|_| ledger().came(2, 1 << 20)));
    }
}
