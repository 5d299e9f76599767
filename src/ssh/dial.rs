//! The way to a host's SSH port: a TCP connection.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::timeout;

use super::unreachable;
use crate::inventory::Host;
use crate::remote::RemoteError;

/// For so long what was sent may stay without the other machine's receipt; then the line is lost. As long as the silence that keepalives
/// allow ([`super::KEEPALIVE`]), but it also ends a line that something of ours is stuck on.
const UNRECEIVED: Duration = Duration::from_secs(60);

/// A TCP connection to the first of the host's addresses that answers. The time is shared out among them, so that one
/// that swallows everything leaves some for the next.
pub(super) async fn dial(host: &Host) -> Result<TcpStream, RemoteError> {
    let seconds = host.connect_timeout.as_secs();
    let found = timeout(host.connect_timeout, tokio::net::lookup_host((host.address.as_str(), host.port)));
    let addresses: Vec<SocketAddr> = match found.await {
        Err(_) => return Err(unreachable(host, format!("its name was not found out within {seconds} s"))),
        Ok(Err(error)) => return Err(unreachable(host, format!("its name cannot be found out: {error}"))),
        Ok(Ok(addresses)) => addresses.collect(),
    };
    let share = host.connect_timeout.div_f64(f64::from(u32::try_from(addresses.len().max(1)).unwrap_or(1)));
    let mut whys = Vec::new();
    for address in addresses {
        match timeout(share, TcpStream::connect(address)).await {
            Ok(Ok(socket)) => {
                // Both are for speed of hearing alone: a kernel that cannot is no reason to stay away.
                if let Err(error) = set_up(&socket) {
                    tracing::debug!(%error, "socket options");
                }
                return Ok(socket);
            }
            Ok(Err(error)) => whys.push(format!("{address}: {error}")),
            Err(_) => whys.push(format!("{address}: no answer within {} s", share.as_secs_f64())),
        }
    }
    if whys.is_empty() {
        whys.push("its name has no address".to_owned());
    }
    Err(unreachable(host, whys.join("; ")))
}

fn set_up(socket: &TcpStream) -> std::io::Result<()> {
    // Without it every small request waits for the answer to the one before: 40 ms a login.
    socket.set_nodelay(true)?;
    let milliseconds = u32::try_from(UNRECEIVED.as_millis()).unwrap_or(u32::MAX);
    Ok(rustix::net::sockopt::set_tcp_user_timeout(socket, milliseconds)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_socket_sends_at_once_and_does_not_wait_for_receipts_for_ever() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let socket = dial(&Host { port, ..Host::new("oak", "127.0.0.1") }).await.unwrap();
        assert!(socket.nodelay().unwrap());
        assert_eq!(rustix::net::sockopt::tcp_user_timeout(&socket).unwrap(), 60_000);
    }
}
