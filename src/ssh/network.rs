//! What the connections of one run share.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::bandwidth::Bandwidth;
use super::dial::dial;
use super::jump::{Jump, Seat};
use super::{Line, Manner, Session, keys, shake_hands};
use crate::inventory::Host;
use crate::remote::RemoteError;
use crate::ssh::hostkeys::HostKeys;

/// What one run may take of the network.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Limits {
    /// Bulk streams at once; no limit where nothing is said.
    pub streams: Option<usize>,
    /// Bytes per second of all bulk streams together; no limit where nothing is said.
    pub bandwidth: Option<u64>,
    /// Bytes that a host may send ahead on one channel, at most [`MOST_AHEAD`]; 4 MiB where nothing is said. A line of so many bytes per
    /// second and so long a round trip wants their product, twice.
    pub window: Option<u32>,
}

/// The largest window. Behind a jump host as much is kept in memory for a host whose stream nobody takes.
pub const MOST_AHEAD: u32 = 16 << 20;

/// The connections of one run, and what they share.
#[derive(Debug)]
pub struct Network {
    /// Every jump host that was asked for so far.
    jumps: Mutex<Vec<Arc<Jump>>>,
    streams: Option<Arc<Semaphore>>,
    bandwidth: Option<Arc<Bandwidth>>,
    window: Option<u32>,
}

impl Network {
    /// No connections yet.
    #[must_use]
    pub fn new(limits: Limits) -> Arc<Self> {
        Arc::new(Self {
            jumps: Mutex::default(),
            streams: limits.streams.map(|most| Arc::new(Semaphore::new(most.max(1)))),
            bandwidth: limits.bandwidth.map(|rate| Arc::new(Bandwidth::new(rate))),
            window: limits.window.map(|window| window.min(MOST_AHEAD)),
        })
    }

    /// Connects and logs in, under the host's deadlines. The host key must be known; nothing turns that off. Behind a jump host that has
    /// all its connections in use this waits until one ends; that is no time of connecting.
    ///
    /// Everything that this machine can get wrong (a key file, a known_hosts file) is looked at before the host is knocked at.
    pub async fn connect(self: &Arc<Self>, host: &Host) -> Result<Session, RemoteError> {
        let seat = match &host.jump {
            Some(jump) => Some(self.jump(jump).seat(self).await),
            None => None,
        };
        let line = self.line(host, seat.as_ref(), Manner::default()).await?;
        Ok(Session::begun(Arc::clone(self), host.clone(), seat, line))
    }

    /// One connection, made now, held to this network's bandwidth.
    pub(super) async fn line(
        &self,
        host: &Host,
        seat: Option<&Seat>,
        manner: Manner<'_>,
    ) -> Result<Line, RemoteError> {
        let known = HostKeys::read(host).await?;
        let keys = keys::load(host).await?;
        let manner = Manner { bandwidth: self.bandwidth.as_ref(), window: self.window, ..manner };
        let Some(seat) = seat else {
            let socket = dial(host).await?;
            return shake_hands(host, socket, known, keys, manner).await;
        };
        let (hop, through) = seat.hop(self, host).await?;
        let mut line = shake_hands(host, hop, known, keys, manner).await?;
        line.through = Some(through);
        Ok(line)
    }

    /// What is known of this jump host.
    pub(super) fn jump(&self, host: &Arc<Host>) -> Arc<Jump> {
        let mut jumps = self.jumps.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(jump) = jumps.iter().find(|jump| jump.is(host)) {
            return Arc::clone(jump);
        }
        let jump = Arc::new(Jump::new(Arc::clone(host)));
        jumps.push(Arc::clone(&jump));
        jump
    }

    /// What bulk streams are held to.
    pub(super) fn bandwidth(&self) -> Option<Arc<Bandwidth>> {
        self.bandwidth.clone()
    }

    /// Waits for a turn among the bulk streams; `None` where they are not limited.
    pub(super) async fn turn(&self) -> Option<OwnedSemaphorePermit> {
        // Nobody closes the semaphore.
        Arc::clone(self.streams.as_ref()?).acquire_owned().await.ok()
    }
}
