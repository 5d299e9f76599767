//! Our side of the SSH protocol's callbacks: judge the host key, refuse what the host starts, remember why it ended.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use russh::client::{ChannelOpenHandle, DisconnectReason, Handler, Msg, Session};
use russh::keys::{HashAlg, PublicKeyOrCertificate};
use russh::{Channel, ChannelId, ChannelOpenFailure};
use tokio::sync::watch;

use super::hop::Ledger;
use super::hostkeys::HostKeys;
use crate::remote::printable;

/// How long to wait for the reason of an end that has already been noticed.
const REASON_WITHIN: Duration = Duration::from_secs(2);

/// What ends a connection.
#[derive(Debug, thiserror::Error)]
pub(super) enum Fault {
    /// The host's key is not accepted; the text is for people.
    #[error("{0}")]
    HostKey(String),
    /// Anything else.
    #[error(transparent)]
    Ssh(#[from] russh::Error),
}

/// What the callbacks tell the rest of the room.
#[derive(Debug, Clone)]
pub(super) struct Told {
    fingerprint: Arc<OnceLock<String>>,
    end: watch::Receiver<Option<String>>,
    ledger: Ledger,
}

impl Told {
    /// `SHA256:…` of the accepted host key; empty before there is one.
    pub(super) fn fingerprint(&self) -> &str {
        self.fingerprint.get().map_or("", String::as_str)
    }

    /// What is kept for the hops through this connection.
    pub(super) const fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// Why the connection ended, if that was told already.
    pub(super) fn reason(&self) -> Option<String> {
        self.end.borrow().clone()
    }

    /// Waits until the connection has ended; why, for people.
    pub(super) async fn ended(&self) -> String {
        let mut end = self.end.clone();
        match end.wait_for(Option::is_some).await {
            Ok(reason) => reason.clone().unwrap_or_default(),
            Err(_) => "it ended without a reason".to_owned(),
        }
    }

    /// Why the connection ended, for people. To be asked when its end was noticed: the library tells the reason only
    /// here, and a moment later (libraries 1.2, 1.6).
    pub(super) async fn why(&self) -> String {
        let mut end = self.end.clone();
        let told = tokio::time::timeout(REASON_WITHIN, end.wait_for(Option::is_some)).await;
        match told {
            Ok(Ok(reason)) => reason.clone().unwrap_or_default(),
            _ => "it ended without a reason".to_owned(),
        }
    }
}

/// The callbacks of one connection.
pub(super) struct Client {
    known: HostKeys,
    fingerprint: Arc<OnceLock<String>>,
    end: watch::Sender<Option<String>>,
    ledger: Ledger,
}

impl Client {
    /// Callbacks that accept these host keys only, and what they will tell.
    pub(super) fn new(known: HostKeys) -> (Self, Told) {
        let fingerprint = Arc::new(OnceLock::new());
        let (end, told_end) = watch::channel(None);
        let ledger = Ledger::default();
        let told = Told { fingerprint: Arc::clone(&fingerprint), end: told_end, ledger: ledger.clone() };
        (Self { known, fingerprint, end, ledger }, told)
    }
}

impl Client {
    /// Counts what came on a channel, and closes a hop that keeps too much.
    fn count(&self, channel: ChannelId, data: &[u8], session: &mut Session) -> Result<(), Fault> {
        if !self.ledger.came(channel.number(), data.len()) {
            tracing::warn!("a host behind a jump host sends on without being read, and is cut off");
            session.close(channel)?;
        }
        Ok(())
    }
}

/// An end in words. What the host said is made harmless.
fn say(reason: &DisconnectReason<Fault>) -> String {
    match reason {
        DisconnectReason::ReceivedDisconnect(info) => {
            format!("the host ended it, saying: {}", printable(&info.message))
        }
        DisconnectReason::Error(fault) => say_fault(fault),
    }
}

/// A fault in words.
pub(super) fn say_fault(fault: &Fault) -> String {
    match fault {
        Fault::Ssh(russh::Error::KeepaliveTimeout) => "the host stopped answering".to_owned(),
        Fault::Ssh(russh::Error::Disconnect | russh::Error::HUP | russh::Error::SendError) => {
            "the host closed the connection".to_owned()
        }
        Fault::Ssh(russh::Error::IO(error)) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
            "the host closed the connection".to_owned()
        }
        Fault::Ssh(russh::Error::Version) => "what answers there does not speak SSH".to_owned(),
        Fault::Ssh(russh::Error::NoAuthMethod) => "the host takes no further way to log in".to_owned(),
        other => printable(&other.to_string()),
    }
}

/// The answer to every channel that a host tries to open: nothing here was asked for, and the library's own answer would
/// be yes (libraries 1.7).
async fn refuse(reply: ChannelOpenHandle) -> Result<(), Fault> {
    reply.reject(ChannelOpenFailure::AdministrativelyProhibited).await;
    Ok(())
}

impl Handler for Client {
    type Error = Fault;

    async fn check_server_key(&mut self, shown: &PublicKeyOrCertificate) -> Result<bool, Fault> {
        self.known.judge(shown).map_err(Fault::HostKey)?;
        let key = shown.public_key();
        let _ = self.fingerprint.set(key.fingerprint(HashAlg::Sha256).to_string());
        Ok(true)
    }

    /// Comes after the message was put where its reader finds it.
    async fn data(&mut self, channel: ChannelId, data: &[u8], session: &mut Session) -> Result<(), Fault> {
        self.count(channel, data, session)
    }

    /// On a hop nobody reads it, so there it is never taken off the count.
    async fn extended_data(
        &mut self,
        channel: ChannelId,
        _: u32,
        data: &[u8],
        session: &mut Session,
    ) -> Result<(), Fault> {
        self.count(channel, data, session)
    }

    async fn disconnected(&mut self, reason: DisconnectReason<Fault>) -> Result<(), Fault> {
        let reason = say(&reason);
        tracing::debug!(reason, "ssh connection ended");
        self.end.send_replace(Some(reason));
        Ok(())
    }

    async fn server_channel_open_forwarded_tcpip(
        &mut self,
        _: Channel<Msg>,
        _: &str,
        _: u32,
        _: &str,
        _: u32,
        reply: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), Fault> {
        refuse(reply).await
    }

    async fn server_channel_open_forwarded_streamlocal(
        &mut self,
        _: Channel<Msg>,
        _: &str,
        reply: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), Fault> {
        refuse(reply).await
    }

    async fn server_channel_open_agent_forward(
        &mut self,
        _: Channel<Msg>,
        reply: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), Fault> {
        refuse(reply).await
    }

    async fn should_accept_unknown_server_channel(&mut self, _: ChannelId, _: &str) -> bool {
        false
    }

    async fn server_channel_open_session(
        &mut self,
        _: Channel<Msg>,
        reply: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), Fault> {
        refuse(reply).await
    }

    async fn server_channel_open_direct_tcpip(
        &mut self,
        _: Channel<Msg>,
        _: &str,
        _: u32,
        _: &str,
        _: u32,
        reply: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), Fault> {
        refuse(reply).await
    }

    async fn server_channel_open_direct_streamlocal(
        &mut self,
        _: Channel<Msg>,
        _: &str,
        reply: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), Fault> {
        refuse(reply).await
    }

    async fn server_channel_open_x11(
        &mut self,
        _: Channel<Msg>,
        _: &str,
        _: u32,
        reply: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), Fault> {
        refuse(reply).await
    }
}
