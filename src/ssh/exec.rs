//! One command on one channel: its input fed, its output taken, its end believed only when it was seen.

use std::io::Write;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use russh::ChannelMsg;
use russh::client::Msg;
use russh::{ChannelReadHalf, ChannelWriteHalf};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

use super::client::Told;
use super::frame::{Frame, Stream};
use crate::remote::{Command, Exit, Output, RemoteError};

/// How long closing a channel may take on a connection that does not move.
const CLOSE_WITHIN: Duration = Duration::from_secs(2);
/// Input is handed over in pieces, so that a large one is not held twice.
const PIECE: usize = 32 << 10;

/// Where standard output goes.
pub(super) enum Take<'a> {
    /// Into memory, up to the command's limit; and, with standard error, into the log.
    Keep(Option<&'a mut (dyn Write + Send)>),
    /// All of it into the sink.
    Pass(&'a mut (dyn AsyncWrite + Unpin + Send)),
}

/// What goes to standard input behind what the command itself gives.
pub(super) type Source<'a> = Option<&'a mut (dyn AsyncRead + Unpin + Send)>;

/// The writing ends of channels whose command was let go of before it could say so.
pub(super) type Orphans = Mutex<Vec<ChannelWriteHalf<Msg>>>;

/// Closes the channels that were let go of.
pub(super) async fn bury(orphans: &Orphans) {
    let left = std::mem::take(&mut *orphans.lock().unwrap_or_else(PoisonError::into_inner));
    // On leashes: who lets go of this in the middle leaves the rest to the next.
    let left: Vec<Leash<'_>> = left.into_iter().map(|channel| Leash::new(channel, orphans)).collect();
    for leash in left {
        leash.close().await;
    }
}

/// Holds a channel's writing end, and sees to it that the channel is closed: the library sends nothing when a channel is
/// dropped, and each channel left open takes one of the host's ten sessions (libraries 1.4).
pub(super) struct Leash<'a> {
    channel: Option<ChannelWriteHalf<Msg>>,
    orphans: &'a Orphans,
}

impl<'a> Leash<'a> {
    /// A leash on this channel; dropped unclosed, it leaves the channel to the orphans.
    pub(super) const fn new(channel: ChannelWriteHalf<Msg>, orphans: &'a Orphans) -> Self {
        Self { channel: Some(channel), orphans }
    }

    /// The channel's writing end.
    pub(super) const fn channel(&self) -> Option<&ChannelWriteHalf<Msg>> {
        self.channel.as_ref()
    }

    /// Closes the channel, if that goes quickly.
    pub(super) async fn close(mut self) {
        if let Some(channel) = &self.channel
            && timeout(CLOSE_WITHIN, channel.close()).await.is_ok()
        {
            self.channel = None;
        }
    }
}

impl Drop for Leash<'_> {
    /// A future that is dropped in the middle cannot say goodbye: the next command does it.
    fn drop(&mut self) {
        if let Some(channel) = self.channel.take() {
            self.orphans.lock().unwrap_or_else(PoisonError::into_inner).push(channel);
        }
    }
}

/// Runs a command on an open channel, within its time.
pub(super) async fn run(
    channel: russh::Channel<Msg>,
    command: &Command,
    frame: &Frame,
    (source, take): (Source<'_>, Take<'_>),
    told: &Told,
    orphans: &Orphans,
) -> Result<Output, RemoteError> {
    let (mut read, write) = channel.split();
    let leash = Leash { channel: Some(write), orphans };
    let result = match &leash.channel {
        Some(write) => {
            let talk = converse(&mut read, write, command, frame, (source, take), told);
            timeout(command.time_allowed(), talk).await
        }
        None => return Err(RemoteError::Lost("no channel".to_owned())),
    };
    // The reader goes first: a connection that waits for it sends nothing, a close least of all.
    drop(read);
    leash.close().await;
    result.unwrap_or(Err(RemoteError::Deadline(command.time_allowed())))
}

/// The whole conversation, from the request to the end. The reader decides: a feeder that waits for room never wakes
/// once the channel or the connection is gone (libraries 1.4), so it is never waited for.
async fn converse(
    read: &mut ChannelReadHalf,
    write: &ChannelWriteHalf<Msg>,
    command: &Command,
    frame: &Frame,
    (source, take): (Source<'_>, Take<'_>),
    told: &Told,
) -> Result<Output, RemoteError> {
    if write.exec(true, frame.line()).await.is_err() {
        return Err(RemoteError::Lost(told.why().await));
    }
    let mut heard = Heard::new(command.memory_allowed(), frame, take);
    let feeder = feed(write, frame.first_input(), command.input(), source);
    // It does not wait for the host to say that the command was begun: that would cost each command with input a round trip.
    tokio::pin!(feeder);
    let mut fed = false;
    while !heard.complete() {
        tokio::select! {
            message = read.wait() => match message {
                Some(message) => heard.take(message).await?,
                None => break,
            },
            ended = &mut feeder, if !fed => {
                fed = true;
                ended?;
            }
        }
        if heard.closed {
            break;
        }
    }
    heard.judge(frame, told).await
}

/// Sends the input and its end. A host that is gone, or that has stopped reading, shows in what is read. A source that cannot be read is
/// this machine's trouble; the host sees an early end.
async fn feed(
    write: &ChannelWriteHalf<Msg>,
    first: &[u8],
    input: Option<&[u8]>,
    source: Source<'_>,
) -> Result<(), RemoteError> {
    for piece in first.chunks(PIECE).chain(input.unwrap_or_default().chunks(PIECE)) {
        if write.data_bytes(piece.to_vec()).await.is_err() {
            return Ok(());
        }
    }
    if let Some(source) = source {
        let mut piece = vec![0; PIECE];
        loop {
            let read = source
                .read(&mut piece)
                .await
                .map_err(|error| RemoteError::Here(format!("cannot read what the host is sent: {error}")))?;
            let Some(piece) = piece.get(..read).filter(|piece| !piece.is_empty()) else { break };
            if write.data_bytes(piece.to_vec()).await.is_err() {
                return Ok(());
            }
        }
    }
    let _ = write.eof().await;
    Ok(())
}

/// What was heard of a command so far.
struct Heard<'a> {
    take: Take<'a>,
    limit: usize,
    out: Stream,
    err: Stream,
    stdout: Vec<u8>,
    stderr: Vec<u8>,
    dropped: u64,
    exit: Option<Exit>,
    eof: bool,
    closed: bool,
}

impl<'a> Heard<'a> {
    fn new(limit: usize, frame: &Frame, take: Take<'a>) -> Self {
        Self {
            take,
            limit,
            out: frame.stream(),
            err: frame.stream(),
            stdout: Vec::new(),
            stderr: Vec::new(),
            dropped: 0,
            exit: None,
            eof: false,
            closed: false,
        }
    }

    /// Whether nothing more can come.
    const fn complete(&self) -> bool {
        self.eof && self.exit.is_some()
    }

    async fn take(&mut self, message: ChannelMsg) -> Result<(), RemoteError> {
        match message {
            ChannelMsg::Failure => {
                return Err(RemoteError::Refused("it does not start commands for this user".to_owned()));
            }
            ChannelMsg::Data { data } => self.stdout(&data).await?,
            ChannelMsg::ExtendedData { data, ext: 1 } => {
                let own = self.err.own(&data);
                log(&mut self.take, own);
                self.dropped += keep(&mut self.stderr, own, self.limit);
            }
            ChannelMsg::ExitStatus { exit_status } => self.exit = Some(Exit::Code(exit_status)),
            ChannelMsg::ExitSignal { signal_name, .. } => {
                self.exit = Some(Exit::Signal(signal_text(&signal_name)));
            }
            ChannelMsg::Eof => self.eof = true,
            ChannelMsg::Close => self.closed = true,
            _ => {}
        }
        Ok(())
    }

    async fn stdout(&mut self, data: &[u8]) -> Result<(), RemoteError> {
        let data = self.out.own(data);
        match &mut self.take {
            Take::Keep(_) => {
                log(&mut self.take, data);
                self.dropped += keep(&mut self.stdout, data, self.limit);
            }
            Take::Pass(sink) => sink
                .write_all(data)
                .await
                .map_err(|error| RemoteError::Here(format!("cannot store what the host sends: {error}")))?,
        }
        Ok(())
    }

    /// The output, if the end was seen: an exit and an orderly end of what was printed. A stream is whole only with
    /// end-of-file; for a short command a closed channel will do. A command whose marks did not come before the end was never begun.
    async fn judge(mut self, frame: &Frame, told: &Told) -> Result<Output, RemoteError> {
        if let Take::Pass(sink) = &mut self.take
            && self.eof
        {
            sink.flush()
                .await
                .map_err(|error| RemoteError::Here(format!("cannot store what the host sends: {error}")))?;
        }
        let ended = match self.take {
            Take::Keep(_) => self.eof || self.closed,
            Take::Pass(_) => self.eof,
        };
        match self.exit {
            Some(exit) if ended && !self.out.begun() => Err(if self.err.begun() {
                RemoteError::Lost(format!(
                    "the command ended ({exit}), but its output never came: a file that the login shell reads sends it elsewhere"
                ))
            } else {
                RemoteError::Refused(frame.not_begun(&exit, &self.out, &self.err))
            }),
            Some(exit) if ended => {
                Ok(Output { exit, stdout: self.stdout, stderr: self.stderr, dropped: self.dropped })
            }
            // An orderly close that left the stream without its end is the host's doing; anything else ended the connection.
            Some(exit) => {
                let why =
                    if self.closed { "the host closed the channel".to_owned() } else { told.why().await };
                Err(RemoteError::Lost(format!("{why}; {exit} was seen, but the output is not whole")))
            }
            None if self.closed => {
                Err(RemoteError::Lost("the host closed the channel without an exit status".to_owned()))
            }
            None => Err(RemoteError::Lost(told.why().await)),
        }
    }
}

/// A log that cannot be written does not change what the host did: the command goes on, and its outcome stands.
fn log(take: &mut Take<'_>, data: &[u8]) {
    if let Take::Keep(log) = take
        && let Some(writer) = log
        && let Err(error) = writer.write_all(data)
    {
        tracing::warn!(%error, "a step's log cannot be written; the rest of this command's output is not logged");
        *log = None;
    }
}

/// Keeps the head; the number of bytes that found no room.
fn keep(kept: &mut Vec<u8>, data: &[u8], limit: usize) -> u64 {
    let room = limit.saturating_sub(kept.len()).min(data.len());
    kept.extend_from_slice(&data[..room]);
    u64::try_from(data.len() - room).unwrap_or(u64::MAX)
}

/// `TERM`. A name of the host's own making is made harmless.
fn signal_text(signal: &russh::Sig) -> String {
    match signal {
        russh::Sig::Custom(name) => crate::remote::printable(name),
        known => format!("{known:?}"),
    }
}
