//! A jump host that sends on a hop what has no place there.

use super::*;
use crate::ssh::hop::Hop;

/// Longer than it takes on a busy machine.
const SOON: Duration = Duration::from_secs(60);

// What is no data no reader of a hop ever takes: unread, it would stay in memory, without bound.
#[tokio::test]
async fn errors_without_end_on_a_hop_end_it_and_the_connection_lives() {
    let host = Server::default();
    let session = meet_as(&host, Manner { carries: true, ..Manner::default() }).await.unwrap();
    let line = session.line().await.unwrap();
    let channel = line.handle.channel_open_direct_tcpip("10.0.0.1", 22, "127.0.0.1", 0).await.unwrap();
    let _hop = Hop::new(channel, line.told.ledger().clone());
    timeout(SOON, host.hop_closed.notified()).await.expect("it went on and on");
    assert!(ask(&session, "end without close").await.unwrap().success());
}
