//! An archive of a backup as a stream: unpacked of its zstd on a thread of its own, a few hundred kilobytes ahead of who reads it.

use std::fs::File;
use std::io::{self, Read};
use std::path::PathBuf;

use tokio::io::{AsyncWriteExt, DuplexStream};
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

/// How far it is ahead.
const AHEAD: usize = 256 << 10;
/// How much is unpacked at once.
const PIECE: usize = 128 << 10;

/// An archive under way.
#[derive(Debug)]
pub struct Source {
    /// What to read from. It ends with the archive, and earlier where that cannot be read: ask [`Source::end`].
    pub stream: DuplexStream,
    thread: JoinHandle<io::Result<()>>,
}

impl Source {
    /// Begins to read this file. Must be called where tokio runs.
    #[must_use]
    pub fn open(path: PathBuf) -> Self {
        let (mut to, stream) = tokio::io::duplex(AHEAD);
        let tokio = Handle::current();
        let thread = tokio::task::spawn_blocking(move || {
            let mut archive = zstd::stream::read::Decoder::new(File::open(path)?)?;
            let mut piece = vec![0; PIECE];
            loop {
                let read = archive.read(&mut piece)?;
                let Some(piece) = piece.get(..read).filter(|piece| !piece.is_empty()) else { return Ok(()) };
                // Whoever read it has let go of it: what that means he knows.
                if tokio.block_on(to.write_all(piece)).is_err() {
                    return Ok(());
                }
            }
        });
        Self { stream, thread }
    }

    /// Whether it could be read as far as it was asked for.
    pub async fn end(self) -> io::Result<()> {
        drop(self.stream);
        self.thread.await.map_err(io::Error::other)?
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt as _;

    use super::*;

    #[tokio::test]
    async fn an_archive_comes_whole_and_one_that_is_cut_short_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.zst");
        let plain: Vec<u8> = (0..300_000_u32).flat_map(u32::to_le_bytes).collect();
        let packed = zstd::encode_all(&plain[..], 1).unwrap();
        std::fs::write(&path, &packed).unwrap();
        let mut source = Source::open(path.clone());
        let mut read = Vec::new();
        source.stream.read_to_end(&mut read).await.unwrap();
        assert!(read == plain);
        source.end().await.unwrap();

        // Who lets go of it early is not kept waiting.
        Source::open(path.clone()).end().await.unwrap();

        std::fs::write(&path, &packed[..1000]).unwrap();
        let mut source = Source::open(path);
        source.stream.read_to_end(&mut read).await.unwrap();
        assert!(source.end().await.is_err());
    }
}
