//! Jump hosts: one connection to each, shared by the hosts behind it, with a cap of its own on how many go through.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::time::Duration;

use russh::ChannelOpenFailure;
use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout};

use super::hop::Hop;
use super::{Line, Manner, Network, named, unreachable};
use crate::inventory::Host;
use crate::remote::RemoteError;

/// For so long a jump host that did not answer is not asked again: as many hosts stand behind it, and each may be knocking.
const QUIET_FOR: Duration = Duration::from_secs(2);
/// For so long a jump host is not asked again whose key is not accepted, or which let nobody in: it would count as an attack there, and a
/// second asking has the same answer.
const BARRED_FOR: Duration = Duration::from_secs(5 * 60);

/// A jump host, for as long as its network.
#[derive(Debug)]
pub(super) struct Jump {
    host: Arc<Host>,
    /// A permit for each connection that may go through at once.
    seats: Arc<Semaphore>,
    /// Its own seat on the jump host before it, shared by those who go through here.
    before: Mutex<Weak<Seat>>,
    kept: Mutex<Kept>,
}

/// The connection to a jump host. It is those behind it who keep it alive.
#[derive(Debug, Default)]
struct Kept {
    line: Weak<Line>,
    /// `SHA256:…` of the host key at first.
    host_key: Option<String>,
    failed: Option<Failed>,
}

/// An attempt that failed: when, and for how long it answers for the next.
#[derive(Debug)]
struct Failed {
    at: Instant,
    holds: Duration,
    error: RemoteError,
}

/// The right to go through a jump host, and through those before it, for as long as it is held. A session keeps it while its
/// connection is made again: whoever waits for a seat would else get in between, for hours perhaps.
#[derive(Debug)]
pub(super) struct Seat {
    jump: Arc<Jump>,
    before: Option<Arc<Seat>>,
    _permit: Option<OwnedSemaphorePermit>,
}

impl Jump {
    /// This jump host, not asked yet.
    pub(super) fn new(host: Arc<Host>) -> Self {
        Self {
            seats: Arc::new(Semaphore::new(host.channels.max(1))),
            host,
            before: Mutex::new(Weak::new()),
            kept: Mutex::default(),
        }
    }

    /// Whether it is this one.
    pub(super) fn is(&self, host: &Host) -> bool {
        *self.host == *host
    }

    /// Waits for a seat: as long as others hold them all. That is no time of connecting.
    pub(super) fn seat<'a>(
        self: &'a Arc<Self>,
        network: &'a Network,
    ) -> Pin<Box<dyn Future<Output = Seat> + Send + 'a>> {
        Box::pin(async move {
            // Nobody closes the semaphore.
            let permit = Arc::clone(&self.seats).acquire_owned().await.ok();
            let before = match &self.host.jump {
                None => None,
                Some(host) => {
                    let mut shared = self.before.lock().await;
                    let held = shared.upgrade();
                    let seat = if let Some(seat) = held {
                        seat
                    } else {
                        Arc::new(network.jump(host).seat(network).await)
                    };
                    *shared = Arc::downgrade(&seat);
                    Some(seat)
                }
            };
            Seat { jump: Arc::clone(self), before, _permit: permit }
        })
    }
}

impl Seat {
    /// A hop to a host behind the jump host, and the connection that carries it. The errors name both hosts, and which one is the trouble.
    pub(super) async fn hop(&self, network: &Network, host: &Host) -> Result<(Hop, Arc<Line>), RemoteError> {
        let jump = &self.jump.host;
        let line = self.line(network).await.map_err(|error| by_way_of(host, jump, error))?;
        let seconds = host.connect_timeout.as_secs();
        let opened = line.handle.channel_open_direct_tcpip(
            host.address.as_str(),
            u32::from(host.port),
            "127.0.0.1",
            0,
        );
        let why = match timeout(host.connect_timeout, opened).await {
            Ok(Ok(channel)) => return Ok((Hop::new(channel, line.told.ledger().clone()), line)),
            Ok(Err(russh::Error::ChannelOpenFailure(ChannelOpenFailure::AdministrativelyProhibited))) => {
                format!(
                    "the trouble is the jump host {}: it forbids the way there; see AllowTcpForwarding, PermitOpen and \
                     DisableForwarding in its sshd_config, and the options of the key in its authorized_keys",
                    named(jump)
                )
            }
            Ok(Err(russh::Error::ChannelOpenFailure(reason))) => format!(
                "the trouble is the way from there on: the jump host {} is well, but cannot connect to {}:{} ({reason:?})",
                named(jump),
                host.address,
                host.port
            ),
            Ok(Err(_)) => format!(
                "the trouble is the jump host {}: its connection ended meanwhile ({})",
                named(jump),
                line.told.why().await
            ),
            Err(_) => format!(
                "the trouble is the way from there on: the jump host {} is well, but did not connect to {}:{} within {seconds} s",
                named(jump),
                host.address,
                host.port
            ),
        };
        Err(unreachable(host, why))
    }

    /// The connection to the jump host: the one that is there, or a new one, made once for all who ask meanwhile.
    fn line<'a>(
        &'a self,
        network: &'a Network,
    ) -> Pin<Box<dyn Future<Output = Result<Arc<Line>, RemoteError>> + Send + 'a>> {
        Box::pin(async move {
            let asked = Instant::now();
            let mut kept = self.jump.kept.lock().await;
            if let Some(line) = kept.line.upgrade().filter(|line| !line.is_gone()) {
                return Ok(line);
            }
            if let Some(failed) = &kept.failed
                && (failed.at >= asked || failed.at.elapsed() < failed.holds)
            {
                return Err(asked_once(&failed.error));
            }
            let manner = Manner { pinned: kept.host_key.as_deref(), carries: true, ..Manner::default() };
            let made = network.line(&self.jump.host, self.before.as_deref(), manner).await;
            match made {
                Ok(line) => {
                    let line = Arc::new(line);
                    kept.line = Arc::downgrade(&line);
                    kept.host_key = Some(line.told.fingerprint().to_owned());
                    kept.failed = None;
                    Ok(line)
                }
                Err(error) => {
                    let holds = match error {
                        RemoteError::Unreachable { .. } => QUIET_FOR,
                        _ => BARRED_FOR,
                    };
                    kept.failed = Some(Failed { at: Instant::now(), holds, error: error.clone() });
                    Err(error)
                }
            }
        })
    }
}

/// The jump host's trouble as that of a host behind it.
fn by_way_of(host: &Host, jump: &Host, error: RemoteError) -> RemoteError {
    let said = |text: &str| {
        format!("cannot reach {}: the trouble is the jump host {}: {text}", named(host), jump.name)
    };
    match error {
        RemoteError::Unreachable { .. } => {
            unreachable(host, format!("the trouble is the jump host {}: {error}", jump.name))
        }
        RemoteError::HostKey(text) => RemoteError::HostKey(said(&text)),
        RemoteError::Auth(text) => RemoteError::Auth(said(&text)),
        RemoteError::Here(text) => RemoteError::Here(said(&text)),
        other => other,
    }
}

/// An answer that was given to another host behind the same jump host.
fn asked_once(error: &RemoteError) -> RemoteError {
    const ONCE: &str = " (it was asked once for all hosts behind it)";
    match error.clone() {
        RemoteError::Unreachable { address, why } => RemoteError::Unreachable { address, why: why + ONCE },
        RemoteError::HostKey(text) => RemoteError::HostKey(text + ONCE),
        RemoteError::Auth(text) => RemoteError::Auth(text + ONCE),
        RemoteError::Here(text) => RemoteError::Here(text + ONCE),
        other => other,
    }
}
