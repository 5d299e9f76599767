//! Where a command's output goes: memory, log and sink, each with its own trouble.

use std::future::Future as _;
use std::pin::Pin;
use std::task::{Context, Poll};

use super::host::MIB;
use super::*;
use crate::remote::Exit;

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
    let session = meet(&Server::default()).await.unwrap();
    let mut log = Counter(0);
    let output = session.run(&Command::new("flood").limit(MIB), &mut log).await.unwrap();
    assert_eq!(output.stdout.len(), MIB);
    assert!(output.stdout.capacity() <= 2 * MIB, "{}", output.stdout.capacity());
    assert_eq!(output.dropped, u64::try_from(99 * MIB).unwrap());
    assert_eq!(log.0, 100 * MIB);
}

#[tokio::test]
async fn what_a_sensitive_command_prints_stays_out_of_the_log() {
    let session = meet(&Server::default()).await.unwrap();
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
    let session = meet(&Server::default()).await.unwrap();
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
    let session = meet(&Server::default()).await.unwrap();
    let wait = 10 * KEEPALIVE;
    let mut sink = SlowSink { rest: Some(Box::pin(tokio::time::sleep(wait))), got: 0 };
    let command = Command::new("flood").deadline(Duration::from_secs(3600));
    let output = session.stream(&command, &mut sink).await.unwrap();
    assert!(output.success() && output.stdout.is_empty());
    assert_eq!(sink.got, 100 * MIB);
    assert!(ask(&session, "end without close").await.unwrap().success());
}

// Trap 1.5: a channel whose reader was let go of must not stop the next command. That the connection goes on is shown with a
// real sshd (tests/ssh.rs): the library's server does not always get over a flood that nobody takes.
#[tokio::test(start_paused = true)]
async fn a_sink_that_never_takes_anything_is_given_up_in_time() {
    let session = meet(&Server::default()).await.unwrap();
    let mut sink =
        SlowSink { rest: Some(Box::pin(tokio::time::sleep(Duration::from_secs(1 << 30)))), got: 0 };
    let began = tokio::time::Instant::now();
    let result = session.stream(&Command::new("flood").deadline(Duration::from_secs(5)), &mut sink).await;
    assert_eq!(result.unwrap_err(), RemoteError::Deadline(Duration::from_secs(5)));
    // The reader is let go of first: a connection that waits for it would not take the order to close.
    assert!(began.elapsed() < Duration::from_secs(6), "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_sink_that_fails_is_this_machines_trouble() {
    let session = meet(&Server::default()).await.unwrap();
    let (mut sink, reader) = tokio::io::duplex(16);
    drop(reader);
    let result = session.stream(&Command::new("flood"), &mut sink).await;
    assert!(matches!(result, Err(RemoteError::Here(_))), "{result:?}");
}

#[tokio::test(start_paused = true)]
async fn what_a_command_printed_before_its_deadline_is_in_the_log() {
    let session = meet(&Server::default()).await.unwrap();
    let mut log = Vec::new();
    let error = session.run(&Command::new("begin and hang"), &mut log).await.unwrap_err();
    assert!(matches!(error, RemoteError::Deadline(_)) && error.in_doubt(), "{error}");
    assert_eq!(log, b"begun");
}
