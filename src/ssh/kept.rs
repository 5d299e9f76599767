//! A session with a host: a connection that is made again when it is lost, by the next command that needs it.
//!
//! A command that was under way when the line died is never sent again from here: whether it may be done twice, only its sender knows.

use std::fmt;
use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use russh::client::Msg;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

use super::bandwidth::{Bulk, Measured};
use super::exec::{self, Take};
use super::frame::Frame;
use super::jump::Seat;
use super::{Line, Manner, Network};
use crate::inventory::Host;
use crate::remote::{Command, Forward, Output, Remote, RemoteError, Turn};

/// The pause before the second attempt; the first is made at once.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// No pause is longer, half of it more or less.
const LONGEST_PAUSE: Duration = Duration::from_secs(20);
/// A host that is starting may refuse a login that it takes a minute later; one that goes on refusing is not asked more often, since it may
/// lock this machine out.
const MOST_REFUSALS: u32 = 3;

/// A session with one host, logged in.
pub struct Session {
    network: Arc<Network>,
    host: Host,
    /// `SHA256:…` of the host key at first.
    host_key: String,
    kept: tokio::sync::Mutex<Kept>,
    news: Mutex<Vec<String>>,
    turn: Mutex<Weak<OwnedSemaphorePermit>>,
    /// Last, so that nobody else goes through before this session's connection has ended.
    seat: Option<Seat>,
}

/// The connection, and since when and why there is none.
struct Kept {
    line: Arc<Line>,
    lost: Option<(Instant, String)>,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Session({}, {})", self.host.login(), self.host_key)
    }
}

impl Session {
    /// A session over this connection.
    pub(super) fn begun(network: Arc<Network>, host: Host, seat: Option<Seat>, line: Line) -> Self {
        Self {
            network,
            host_key: line.told.fingerprint().to_owned(),
            host,
            kept: tokio::sync::Mutex::new(Kept { line: Arc::new(line), lost: None }),
            news: Mutex::default(),
            turn: Mutex::new(Weak::new()),
            seat,
        }
    }

    /// `SHA256:…` of the host key that was accepted. A session takes no other when it connects again.
    #[must_use]
    pub fn host_key(&self) -> &str {
        &self.host_key
    }

    /// Says goodbye; the connection is gone when this returns, whatever the host does. What still runs on the host runs
    /// on: nothing on this side can end it (libraries 1.6).
    pub async fn close(self) {
        Line::close(self.kept.into_inner().line).await;
    }

    /// Opens a channel, on a new connection where the old one is lost, for as long as the host's budget allows. Nothing was
    /// sent until it is done, so no error of it leaves anything in doubt.
    async fn open(&self) -> Result<(Arc<Line>, russh::Channel<Msg>), RemoteError> {
        let mut backoff = Backoff::new(self.host.reconnect);
        loop {
            let opened = match self.line().await {
                Ok(line) => match line.root.rights(&line).await {
                    Ok(_) => line.open().await.map(|channel| (line, channel)),
                    // What sudo says of a password it says once.
                    Err(error @ RemoteError::Auth(_)) => return Err(error),
                    Err(error) => Err(error),
                },
                Err(error) => Err(error),
            };
            match opened {
                Err(error) if backoff.allows(&error).await => {
                    tracing::debug!(host = self.host.login(), %error, "connecting again");
                }
                Err(error) => return Err(self.given_up(error).await),
                opened => return opened,
            }
        }
    }

    /// The connection: the one that is there, or a new one.
    pub(super) async fn line(&self) -> Result<Arc<Line>, RemoteError> {
        let mut kept = self.kept.lock().await;
        if !kept.line.is_gone() {
            return Ok(Arc::clone(&kept.line));
        }
        let (since, why) = match kept.lost.clone() {
            Some(lost) => lost,
            None => (Instant::now(), kept.line.told.why().await),
        };
        kept.lost = Some((since, why.clone()));
        if self.host.reconnect.is_zero() {
            return Err(super::unreachable(
                &self.host,
                format!("the connection is gone ({why}); the command was not sent"),
            ));
        }
        let manner = Manner { pinned: Some(&self.host_key), ..Manner::default() };
        let line = self.network.line(&self.host, self.seat.as_ref(), manner).await?;
        kept.line = Arc::new(line);
        kept.lost = None;
        let after = since.elapsed().as_secs_f64();
        let news =
            format!("the connection was lost ({why}) and made again {after:.1} s after that was noticed");
        self.news.lock().unwrap_or_else(PoisonError::into_inner).push(news);
        Ok(Arc::clone(&kept.line))
    }

    /// An error that ends the attempts, with what they were for.
    async fn given_up(&self, error: RemoteError) -> RemoteError {
        let lost = self.kept.lock().await.lost.clone();
        match (lost, error) {
            (Some((since, why)), RemoteError::Unreachable { address, why: at_last })
                if !self.host.reconnect.is_zero() =>
            {
                let seconds = since.elapsed().as_secs();
                RemoteError::Unreachable {
                    address,
                    why: format!(
                        "the connection was lost ({why}) and could not be made again in {seconds} s; the command was not sent. \
                         At last: {at_last}"
                    ),
                }
            }
            (_, error) => error,
        }
    }
}

impl Remote for Session {
    async fn run(&self, command: &Command, log: &mut (dyn Write + Send)) -> Result<Output, RemoteError> {
        let (line, channel) = self.open().await?;
        let frame = Frame::new(line.root.rights(&line).await?, command.line());
        let log = if command.is_sensitive() { None } else { Some(log) };
        exec::run(channel, command, &frame, (None, Take::Keep(log)), &line.told, &line.orphans).await
    }

    /// The sink is written where the channel is read: one that is slow slows the host down by TCP, and meanwhile the
    /// connection does nothing else; the command's deadline bounds it. A sink that waits for another command on the same
    /// connection would wait until then.
    ///
    /// Where bulk streams are limited it first waits for its turn ([`Remote::turn`]), which is no time of the command's.
    async fn stream(
        &self,
        command: &Command,
        sink: &mut (dyn AsyncWrite + Unpin + Send),
    ) -> Result<Output, RemoteError> {
        let _turn = self.turn().await;
        let (line, channel) = self.open().await?;
        let _bulk = Bulk::begin(&line.streams);
        let frame = Frame::new(line.root.rights(&line).await?, command.line());
        exec::run(channel, command, &frame, (None, Take::Pass(sink)), &line.told, &line.orphans).await
    }

    /// The source is read where the channel is written, as fast as the host takes it and the cap allows. It waits for its turn as
    /// [`Remote::stream`] does.
    async fn send(
        &self,
        command: &Command,
        source: &mut (dyn AsyncRead + Unpin + Send),
        log: &mut (dyn Write + Send),
    ) -> Result<Output, RemoteError> {
        let _turn = self.turn().await;
        let (line, channel) = self.open().await?;
        let frame = Frame::new(line.root.rights(&line).await?, command.line());
        let log = if command.is_sensitive() { None } else { Some(log) };
        let mut source = Measured::new(source, self.network.bandwidth());
        let both = (Some(&mut source as &mut (dyn AsyncRead + Unpin + Send)), Take::Keep(log));
        exec::run(channel, command, &frame, both, &line.told, &line.orphans).await
    }

    /// One turn at a time and session: while it is held, another is the same one.
    async fn turn(&self) -> Turn {
        let of_mine = || self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let mine = of_mine().upgrade();
        if mine.is_some() {
            return Turn::of(mine);
        }
        let turn = self.network.turn().await.map(Arc::new);
        if let Some(turn) = &turn {
            *of_mine() = Arc::downgrade(turn);
        }
        Turn::of(turn)
    }

    async fn forward(&self, port: u16) -> Result<Forward, RemoteError> {
        let tunnel = self.tunnel(port).await?;
        Ok(Forward { port: tunnel.local_port(), serving: Box::pin(async move { tunnel.serve().await }) })
    }

    fn news(&self) -> Vec<String> {
        std::mem::take(&mut *self.news.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// When to try again: at once, then ever more slowly and not in step with others, until the budget of time is over. An attempt that is
/// under way then is not broken off.
struct Backoff {
    ends: Instant,
    pause: Duration,
    refusals: u32,
}

impl Backoff {
    /// From now on, for so long.
    fn new(budget: Duration) -> Self {
        Self { ends: Instant::now() + budget, pause: Duration::ZERO, refusals: 0 }
    }

    /// Whether an attempt that ended so is to be followed by another; waits until its time has come.
    async fn allows(&mut self, error: &RemoteError) -> bool {
        match error {
            RemoteError::Unreachable { .. } => {}
            RemoteError::Auth(_) if self.refusals + 1 < MOST_REFUSALS => self.refusals += 1,
            _ => return false,
        }
        let left = self.ends.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return false;
        }
        let pause = self.pause.mul_f64(rand::random_range(0.5..1.5));
        tokio::time::sleep(pause.min(left)).await;
        self.pause = (self.pause * 2).clamp(FIRST_PAUSE, LONGEST_PAUSE);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn away() -> RemoteError {
        RemoteError::Unreachable { address: "oak".into(), why: "gone".into() }
    }

    /// The seconds after which each attempt is made, the first failing one being at 0.
    async fn attempts(budget: Duration, error: &RemoteError) -> Vec<f64> {
        let began = Instant::now();
        let mut backoff = Backoff::new(budget);
        let mut made = Vec::new();
        while backoff.allows(error).await {
            made.push(began.elapsed().as_secs_f64());
        }
        made
    }

    #[tokio::test(start_paused = true)]
    async fn attempts_are_made_at_once_then_ever_more_slowly_until_the_budget_is_over() {
        let made = attempts(Duration::from_secs(300), &away()).await;
        assert!(made[0] < 0.001, "{made:?}");
        let pauses: Vec<f64> = made.windows(2).map(|pair| pair[1] - pair[0]).collect();
        let most = LONGEST_PAUSE.as_secs_f64() * 1.5;
        assert!(pauses.iter().all(|pause| *pause < most + 0.01), "{pauses:?}");
        assert!(pauses[0] < 0.76 && pauses[6] > 9.9, "{pauses:?}");
        assert!((290.0..301.0).contains(made.last().unwrap()), "the last when the budget ends: {made:?}");
        assert!((12..40).contains(&made.len()), "{made:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn two_hosts_do_not_knock_in_step() {
        let budget = Duration::from_secs(60);
        let (one, other) = (attempts(budget, &away()).await, attempts(budget, &away()).await);
        assert!((one[3] - other[3]).abs() > 0.000_001, "{one:?} {other:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_budget_of_nothing_allows_no_attempt_and_a_refused_login_is_tried_thrice() {
        assert!(attempts(Duration::ZERO, &away()).await.is_empty());
        let budget = Duration::from_secs(300);
        let refused = RemoteError::Auth("no".into());
        assert_eq!(attempts(budget, &refused).await.len(), 2, "besides the first");
        for lasting in [RemoteError::HostKey("other".into()), RemoteError::Here("no key".into())] {
            assert!(attempts(budget, &lasting).await.is_empty(), "{lasting}");
        }
    }
}
