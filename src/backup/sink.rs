//! Where a stream from a host becomes a compressed file: zstd, hashed as it is written, no byte of it kept in memory.

use std::io::{self, Write};
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use sha2::{Digest, Sha256};
use tokio::io::{AsyncWrite, AsyncWriteExt};

use super::manifest::Sealed;
use crate::form::hex;

/// zstd's fastest ordinary level: the line, not the disk, is what a copy waits for.
const LEVEL: i32 = 1;
/// How much is compressed at once, so that one host's stream does not keep the others waiting.
const CHUNK: usize = 128 * 1024;

/// A compressed file under way. Compressing is done in place, writing by tokio's blocking threads.
pub struct Sink {
    name: String,
    file: tokio::fs::File,
    encoder: zstd::stream::write::Encoder<'static, Vec<u8>>,
    sent: usize,
    hash: Sha256,
    bytes: u64,
}

impl Sink {
    /// Begins a file below the backup's folder.
    pub fn create(folder: &Path, name: &str) -> io::Result<Self> {
        let file = crate::files::make_file(&folder.join(name))?;
        Ok(Self {
            name: name.to_owned(),
            file: tokio::fs::File::from_std(file),
            encoder: encoder(Vec::new())?,
            sent: 0,
            hash: Sha256::new(),
            bytes: 0,
        })
    }

    /// Ends the file; it is on disk when this returns.
    pub async fn finish(mut self) -> io::Result<Sealed> {
        self.encoder.do_finish()?;
        std::future::poll_fn(|cx| self.drain(cx)).await?;
        self.file.flush().await?;
        self.file.sync_all().await?;
        Ok(Sealed { file: self.name, bytes: self.bytes, sha256: hex(&self.hash.finalize()) })
    }

    /// Hands on what is compressed already.
    fn drain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            let rest = self.encoder.get_ref().get(self.sent..).unwrap_or_default();
            if rest.is_empty() {
                break;
            }
            let written = ready!(Pin::new(&mut self.file).poll_write(cx, rest))?;
            let Some(done) = rest.get(..written).filter(|done| !done.is_empty()) else {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            };
            self.hash.update(done);
            self.bytes += written as u64;
            self.sent += written;
        }
        self.encoder.get_mut().clear();
        self.sent = 0;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Sink {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        ready!(this.drain(cx))?;
        let taken = bytes.get(..CHUNK).unwrap_or(bytes);
        this.encoder.write_all(taken)?;
        Poll::Ready(Ok(taken.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.drain(cx))?;
        Pin::new(&mut this.file).poll_flush(cx)
    }

    /// Not the end of the file: only [`Sink::finish`] is, once the stream is known to be whole.
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_flush(cx)
    }
}

/// A zstd stream with its own checksum.
pub(super) fn encoder<W: Write>(inner: W) -> io::Result<zstd::stream::write::Encoder<'static, W>> {
    let mut encoder = zstd::stream::write::Encoder::new(inner, LEVEL)?;
    encoder.include_checksum(true)?;
    Ok(encoder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_went_in_comes_out_and_the_hash_is_the_files() {
        let folder = tempfile::tempdir().unwrap();
        let mut sink = Sink::create(folder.path(), "x.zst").unwrap();
        let plain: Vec<u8> = (0..1_000_000_u32).flat_map(u32::to_le_bytes).collect();
        sink.write_all(&plain).await.unwrap();
        let sealed = sink.finish().await.unwrap();
        let file = std::fs::read(folder.path().join("x.zst")).unwrap();
        assert_eq!(sealed.bytes, file.len() as u64);
        assert_eq!(sealed.sha256, hex(&Sha256::digest(&file)));
        assert_eq!(zstd::decode_all(&file[..]).unwrap(), plain);
    }

    #[tokio::test]
    async fn a_full_disk_is_an_error_and_never_a_short_file() {
        let folder = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("/dev/full", folder.path().join("x.zst")).unwrap();
        let mut sink = Sink::create(folder.path(), "x.zst").unwrap();
        let _ = sink.write_all(&[7; 100]).await;
        let error = sink.finish().await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    }
}
