//! Looking at a host's keys without logging in: what `ssh-keyscan` shows, and what is recorded about it.

use std::borrow::Cow;
use std::sync::Arc;

use russh::client::{Config, Handler};
use russh::keys::{Algorithm, HashAlg, PublicKeyOrCertificate};
use russh::{AlgorithmKind, Preferred};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::client::{Fault, say_fault};
use super::dial::dial;
use super::hostkeys::{HostKeys, Recorded};
use super::{Manner, Network, config, unreachable, wire};
use crate::inventory::Host;
use crate::remote::{RemoteError, printable};

/// A key that a host has shown. It has proved that it holds the private half; whose host that is, is another question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShownKey {
    /// `ssh-ed25519`, `ecdsa-sha2-nistp256`, `ssh-rsa`.
    pub algorithm: String,
    /// As known_hosts and the inventory's `host_key` write it: `ssh-ed25519 AAAA…`.
    pub openssh: String,
    /// `SHA256:…`.
    pub fingerprint: String,
    /// What is recorded about it.
    pub recorded: Recorded,
}

impl Network {
    /// Asks a host for its public keys, one connection a kind (Ed25519, ECDSA, RSA), and goes away before any login; kinds that it
    /// does not have are left out. Under the host's deadlines, each connection. Nobody's key is trusted by this.
    ///
    /// Where a `@cert-authority` line names the host, its certificates are asked for, too, for what is recorded depends on them.
    pub async fn scan(self: &Arc<Self>, host: &Host) -> Result<Vec<ShownKey>, RemoteError> {
        let known = HostKeys::read(host).await?;
        let seat = match &host.jump {
            Some(jump) => Some(self.jump(jump).seat(self).await),
            None => None,
        };
        let (mut keys, mut way) = (Vec::new(), None);
        for kind in kinds(&known.algorithms()) {
            let shown = match &seat {
                None => look(host, dial(host).await?, &known, kind).await?,
                Some(seat) => {
                    let (hop, through) = seat.hop(self, host).await?;
                    // Kept for the next kind: otherwise each would be a login at the jump host.
                    way = Some(through);
                    look(host, hop, &known, kind).await?
                }
            };
            let Some(shown) = shown else { continue };
            let key = shown.public_key();
            keys.push(ShownKey {
                algorithm: printable(key.algorithm().as_str()),
                openssh: printable(&key.to_openssh().unwrap_or_default()),
                fingerprint: key.fingerprint(HashAlg::Sha256).to_string(),
                recorded: known.look_up(&shown).recorded,
            });
        }
        drop(way);
        // A key beside a recorded one is a further key; without that one it is what a connection would meet, and refuse.
        if keys.iter().any(|key| key.recorded.is_accepted()) {
            for key in &mut keys {
                let other_kind = |recorded: &str| recorded.split(' ').next() != Some(&key.algorithm);
                if matches!(&key.recorded, Recorded::Changed { recorded, .. } if other_kind(recorded)) {
                    key.recorded = Recorded::Unknown;
                }
            }
        }
        Ok(keys)
    }
}

/// The algorithms by kind of key; each kind is asked for on a connection of its own, because a host shows one key a connection.
fn kinds(algorithms: &[Algorithm]) -> [Vec<Algorithm>; 3] {
    let of = |wanted: fn(&Algorithm) -> bool| algorithms.iter().filter(|one| wanted(one)).cloned().collect();
    [of(|one| *one == Algorithm::Ed25519), of(|one| one.clone().is_ecdsa()), of(|one| one.clone().is_rsa())]
}

/// The key that the host shows when it is asked for these; `None` where it has none of them.
async fn look<S>(
    host: &Host,
    stream: S,
    known: &HostKeys,
    algorithms: Vec<Algorithm>,
) -> Result<Option<PublicKeyOrCertificate>, RemoteError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let certificates =
        if known.certificate_algorithms().is_empty() { Vec::new() } else { algorithms.clone() };
    let plain = config(known, Manner::default());
    let preferred = Preferred {
        key: Cow::Owned(algorithms),
        host_key_certificates: Cow::Owned(certificates),
        ..plain.preferred
    };
    let config = Arc::new(Config { preferred, ..plain });
    // When this returns, the connection is cut: the library would keep it for a while.
    let (wire, _cutter) = wire::cuttable(stream);
    let (show, mut shown) = oneshot::channel();
    let looker = Looker { show: Some(show) };
    let shaken = timeout(host.connect_timeout, russh::client::connect_stream(config, wire, looker)).await;
    if let Ok(shown) = shown.try_recv() {
        return Ok(Some(shown));
    }
    match shaken {
        Ok(Err(Fault::Ssh(russh::Error::NoCommonAlgo { kind: AlgorithmKind::Key, .. }))) => Ok(None),
        Ok(Err(fault)) => Err(unreachable(host, format!("{}, before it showed a key", say_fault(&fault)))),
        Ok(Ok(_)) => Err(unreachable(host, "it began a connection without showing a key")),
        Err(_) => {
            let seconds = host.connect_timeout.as_secs();
            Err(unreachable(host, format!("it took the connection, but showed no key within {seconds} s")))
        }
    }
}

/// Keeps the key that it is shown, and goes.
struct Looker {
    show: Option<oneshot::Sender<PublicKeyOrCertificate>>,
}

impl Handler for Looker {
    type Error = Fault;

    async fn check_server_key(&mut self, shown: &PublicKeyOrCertificate) -> Result<bool, Fault> {
        let copy = match shown.certificate() {
            Some(certificate) => certificate.clone().into(),
            None => shown.public_key().into(),
        };
        if let Some(show) = self.show.take() {
            let _ = show.send(copy);
        }
        Ok(false)
    }
}
