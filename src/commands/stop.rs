//! Being told to stop, by the operator or by the system (promise M20).
//!
//! One listener for the whole of a command: a listener that is made anew for each signal misses those between two.

use std::io;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::process::Signal;
use tokio::signal::unix::{Signal as Signals, SignalKind, signal};
use tokio::sync::Notify;

/// The signals by which a process is told to stop.
pub(super) struct Told {
    interrupt: Signals,
    terminate: Signals,
    hang_up: Signals,
}

impl Told {
    /// Listens from now on; none of them ends the process by itself any more.
    pub(super) fn listen() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    /// The next one.
    pub(super) async fn next(&mut self) -> Signal {
        tokio::select! {
            _ = self.interrupt.recv() => Signal::INT,
            _ = self.terminate.recv() => Signal::TERM,
            _ = self.hang_up.recv() => Signal::HUP,
        }
    }
}

/// Waits for the work. The first signal sets `stop` and tells whoever shows the work; a second Ctrl-C or SIGTERM lets go of it: then there
/// is nothing. A terminal that is closed never lets go of the work: it says so more than once, and nobody has asked for it.
pub(super) async fn until_let_go<T>(
    work: impl Future<Output = T>,
    told: &mut Told,
    stop: &AtomicBool,
    stopping: &Notify,
) -> Option<T> {
    let mut work = pin!(work);
    loop {
        tokio::select! {
            done = &mut work => return Some(done),
            signal = told.next() => {
                if !stop.swap(true, Ordering::Relaxed) {
                    stopping.notify_one();
                } else if signal != Signal::HUP {
                    return None;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use rustix::process::{getpid, kill_process};

    use super::*;

    /// The one test of this process that sends it signals: every listener of a process hears them all.
    #[tokio::test]
    async fn a_second_signal_is_heard_however_soon_it_comes_and_a_closed_terminal_never_lets_go() {
        let mut told = Told::listen().unwrap();
        let send = |signal| kill_process(getpid(), signal).unwrap();
        for signal in [Signal::INT, Signal::TERM] {
            // As often as it takes to be sure of it: which of two things is looked at first is left to chance.
            for _ in 0..20 {
                let (stop, stopping) = (AtomicBool::new(false), Notify::new());
                send(signal);
                let work = async {
                    stopping.notified().await;
                    send(signal);
                    std::future::pending::<()>().await;
                };
                assert_eq!(until_let_go(work, &mut told, &stop, &stopping).await, None);
                assert!(stop.load(Ordering::Relaxed));
            }
        }
        let (stop, stopping) = (AtomicBool::new(false), Notify::new());
        send(Signal::HUP);
        let work = async {
            stopping.notified().await;
            send(Signal::HUP);
            tokio::task::yield_now().await;
            "done"
        };
        assert_eq!(until_let_go(work, &mut told, &stop, &stopping).await, Some("done"));
    }
}
