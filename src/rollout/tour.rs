//! What every run has that goes to many clusters, whatever it does there.

use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::mpsc::UnboundedSender;

use super::{Budget, Caps, Pause, each_within};
use crate::event::{Event, Left, Outcome};
use crate::inventory::Cluster;
use crate::ssh::Network;
use crate::state::RunFolder;

/// A tour of many clusters: the run that it is, its connections, and by what it is held.
#[derive(Debug, Clone)]
pub struct Tour {
    /// The run's folder.
    pub run: RunFolder,
    /// The connections.
    pub network: Arc<Network>,
    /// Hears every event once it is on disk, if anybody wants to.
    pub listener: Option<UnboundedSender<Event>>,
    /// How much may go wrong before nothing new is begun.
    pub budget: Arc<Budget>,
    /// Set when the operator asks to stop: nothing new is begun, what is under way goes to its next safe point.
    pub stop: Arc<AtomicBool>,
    /// Set while the operator wants nothing new to be begun.
    pub pause: Arc<Pause>,
}

impl Tour {
    /// Does `work` for each cluster, within the caps, the budget and the pause. `Err` is this machine's own trouble with one: who cannot keep
    /// its books goes on nowhere, or track would be lost there too (promise M10).
    pub(super) async fn each<T, F, W>(
        &self,
        clusters: Vec<Cluster>,
        caps: &Caps,
        work: W,
    ) -> BTreeMap<String, Result<T, String>>
    where
        T: Send + 'static,
        F: Future<Output = io::Result<T>> + Send + 'static,
        W: Fn(Cluster) -> F,
    {
        let results = each_within(clusters, caps, &self.budget, &self.pause, |cluster| {
            let (this, work) = (self.clone(), work(cluster));
            async move {
                let result = work.await;
                if result.is_err() {
                    this.stop_all();
                }
                result
            }
        })
        .await;
        let told = |result: Result<io::Result<T>, String>| result?.map_err(|error| error.to_string());
        results.into_iter().map(|(name, result)| (name, told(result))).collect()
    }

    /// Lets nothing new begin; true where this is what did it. Whoever waits for the end of a pause is told.
    pub(super) fn stop_all(&self) -> bool {
        let first = !self.stop.swap(true, Ordering::Relaxed);
        self.pause.set(false);
        first
    }

    /// Why nothing new may be begun any more.
    pub(super) fn held_back(&self) -> Option<Outcome> {
        if self.stop.load(Ordering::Relaxed) {
            return Some(Outcome::Interrupted { state: Left::Clean });
        }
        self.budget.exceeded().map(|failure| Outcome::Halted { failure })
    }
}
