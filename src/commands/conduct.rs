//! Conducting a run: the signals, what other terminals ask of it, and the screen, whatever it does on its clusters.

use std::io::IsTerminal as _;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use tokio::sync::mpsc::unbounded_channel;

use super::Trouble;
use super::stop::{Reins, Told, until_let_go};
use crate::report::live;
use crate::rollout::{Budget, Pause, Tour};
use crate::ssh::{Limits, Network};
use crate::state::RunFolder;

/// Where the events of a run are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shown {
    /// Wherever standard error leads.
    Always,
    /// On a terminal alone. Elsewhere four lines a host would bury the answers; where lines move, nothing stays of them.
    OnTerminal,
}

/// Does the work on this many clusters; none where the operator has let go of it.
pub(super) async fn conduct<T, W: Future<Output = T>>(
    folder: &RunFolder,
    limits: Limits,
    budget: Budget,
    count: usize,
    shown: Shown,
    work: impl FnOnce(Tour) -> W,
) -> Result<Option<T>, Trouble> {
    let mut told = Told::listen()?;
    let (listener, events) = unbounded_channel();
    let (stop, pause) = (Arc::new(AtomicBool::new(false)), Arc::new(Pause::default()));
    let heard = shown == Shown::Always || std::io::stderr().is_terminal();
    let tour = Tour {
        run: folder.clone(),
        network: Network::new(limits),
        listener: heard.then(|| listener.clone()),
        budget: Arc::new(budget),
        stop: Arc::clone(&stop),
        pause: Arc::clone(&pause),
    };
    let (news, said) = unbounded_channel();
    let show = live::show(events, count, said, Duration::ZERO);
    let ran = async {
        let done = work(tour).await;
        // The screen ends with the last who may tell it something.
        drop(listener);
        done
    };
    let work = async { tokio::join!(ran, show).0 };
    Ok(until_let_go(work, Reins { told: &mut told, run: folder, stop: &stop, pause: &pause, news }).await)
}
