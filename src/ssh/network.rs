//! What the connections of one run share.

use std::sync::Arc;

use super::{Session, keys, shake_hands};
use crate::inventory::Host;
use crate::remote::RemoteError;
use crate::ssh::hostkeys::HostKeys;

/// What one run may take of the network.
#[derive(Debug, Clone, Copy, Default)]
pub struct Limits {
    /// Bulk streams at once; no limit where nothing is said.
    pub streams: Option<usize>,
    /// Bytes per second of all bulk streams together; no limit where nothing is said.
    pub bandwidth: Option<u64>,
}

/// The connections of one run, and what they share.
#[derive(Debug)]
pub struct Network {}

impl Network {
    /// No connections yet.
    #[must_use]
    pub fn new(_limits: Limits) -> Arc<Self> {
        Arc::new(Self {})
    }

    /// Connects and logs in, under the host's deadlines. The host key must be known; nothing turns that off.
    ///
    /// Everything that this machine can get wrong (a key file, a known_hosts file) is looked at before the host is knocked at.
    pub async fn connect(self: &Arc<Self>, host: &Host) -> Result<Session, RemoteError> {
        let known = HostKeys::read(host).await?;
        let keys = keys::load(host).await?;
        let socket = super::dial(host).await?;
        shake_hands(host, socket, known, keys).await
    }
}
