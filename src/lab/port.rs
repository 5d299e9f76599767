//! A loopback port that stays the host's own while nothing listens on it.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket};

/// A port. It is held by a socket that is bound but does not listen, so that connections are refused and no other program
/// is given the number while k3s is stopped.
#[derive(Debug)]
pub struct Port {
    address: SocketAddr,
    _held: TcpSocket,
}

impl Port {
    /// Takes a free one.
    pub fn take() -> io::Result<Self> {
        let held = TcpSocket::new_v4()?;
        held.set_reuseaddr(true)?;
        held.bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
        Ok(Self { address: held.local_addr()?, _held: held })
    }

    /// Its number.
    #[must_use]
    pub const fn number(&self) -> u16 {
        self.address.port()
    }

    /// Listens, where `now` says that there is somebody to listen.
    pub fn listen_if(&self, now: bool) -> io::Result<Option<TcpListener>> {
        now.then(|| self.listen()).transpose()
    }

    /// Listens anew. A process that is just being started holds a copy of the listener of before until it runs its program: then a moment
    /// later, within ten seconds.
    pub async fn listen_again(&self) -> io::Result<TcpListener> {
        for _ in 0..500 {
            match self.listen() {
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                listening => return listening,
            }
        }
        self.listen()
    }

    /// Listens until the listener is dropped.
    pub fn listen(&self) -> io::Result<TcpListener> {
        let socket = TcpSocket::new_v4()?;
        socket.set_reuseaddr(true)?;
        socket.bind(self.address)?;
        socket.listen(128)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_port_whose_listener_of_before_lives_a_moment_longer_is_listened_on_when_it_is_gone() {
        let port = Port::take().unwrap();
        let before = port.listen().unwrap();
        assert_eq!(port.listen().unwrap_err().kind(), io::ErrorKind::AddrInUse);
        let again = port.listen_again();
        tokio::pin!(again);
        tokio::select! {
            biased;
            ended = &mut again => panic!("{ended:?} beside the one of before"),
            () = tokio::task::yield_now() => drop(before),
        }
        assert_eq!(again.await.unwrap().local_addr().unwrap().port(), port.number());
    }
}
