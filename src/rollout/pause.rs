//! Nothing new for a while: the operator asks for it, and lifts it.

use tokio::sync::watch;

/// Whether the beginning of clusters is paused. Those under way do not look at it.
#[derive(Debug, Default)]
pub struct Pause(watch::Sender<bool>);

impl Pause {
    /// Sets or lifts it.
    pub fn set(&self, paused: bool) {
        self.0.send_replace(paused);
    }

    /// Whether it is set.
    #[must_use]
    pub fn is_set(&self) -> bool {
        *self.0.borrow()
    }

    /// Hears of every change from now on.
    pub(super) fn changes(&self) -> watch::Receiver<bool> {
        self.0.subscribe()
    }
}
