//! SSH: the one transport, and the only room that names russh.

use std::io::Write;

use tokio::io::AsyncWrite;

use crate::inventory::Cluster;
use crate::remote::{Command, Output, Remote, RemoteError};

/// A connection to one host, logged in.
#[derive(Debug)]
pub struct Session {}

/// Connects and logs in, under the cluster's deadlines. The host key must be known; nothing turns that off.
pub async fn connect(cluster: &Cluster) -> Result<Session, RemoteError> {
    Err(RemoteError::Unreachable { address: cluster.login(), why: "not connected".to_owned() })
}

impl Session {
    /// `SHA256:…` of the host key that was accepted.
    #[must_use]
    pub fn host_key(&self) -> &str {
        ""
    }

    /// Says goodbye; the connection is gone when this returns, whatever the host does.
    pub async fn close(self) {}
}

impl Remote for Session {
    async fn run(&self, _command: &Command, _log: &mut (dyn Write + Send)) -> Result<Output, RemoteError> {
        Err(RemoteError::Lost(String::new()))
    }

    async fn stream(
        &self,
        _command: &Command,
        _sink: &mut (dyn AsyncWrite + Unpin + Send),
    ) -> Result<Output, RemoteError> {
        Err(RemoteError::Lost(String::new()))
    }
}
