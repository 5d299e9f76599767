//! A short piece of work on many clusters, each behind its host's lock and with a journal of its own: no upgrade, and done in minutes.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::mpsc::UnboundedSender;

use super::{Budget, Caps, Pause, each_within, flat, locked};
use crate::event::{Event, Left, Outcome, What};
use crate::facts::identity;
use crate::inventory::Cluster;
use crate::journal::Journal;
use crate::planner;
use crate::run::{self, Fenced, cleanup, nextcloud, vars};
use crate::ssh::{Network, Session};
use crate::state::{ClusterFolder, Run, RunFolder, step_log};
use crate::window::Wanted;

/// What is done on each cluster.
#[derive(Debug, Clone)]
pub enum Errand {
    /// A maintenance window is opened or shut.
    Window(Wanted),
    /// Changed variables are put into the clusters, by cluster.
    Vars(BTreeMap<String, vars::Wanted>),
    /// What an upgrade has left is cleaned up, by cluster as it was shown.
    Cleanup(cleanup::Wish, BTreeMap<String, cleanup::Listing>),
    /// Users' files in Nextcloud are given to who they are now. Each cluster has users of its own, so it is one.
    Transfer(nextcloud::Wanted),
}

/// A visit to many clusters.
#[derive(Debug)]
pub struct Visit {
    /// What for.
    pub errand: Errand,
    /// The run's folder.
    pub run: RunFolder,
    /// What its `run.json` says.
    pub record: Run,
    /// The connections.
    pub network: Arc<Network>,
    /// Hears every event once it is on disk, if anybody wants to.
    pub listener: Option<UnboundedSender<Event>>,
    /// How much may go wrong before nothing new is begun.
    pub budget: Arc<Budget>,
    /// Set when the operator asks to stop: no further cluster is begun.
    pub stop: Arc<AtomicBool>,
    /// Set while the operator wants nothing new to be begun.
    pub pause: Arc<Pause>,
}

impl Visit {
    /// Makes it. Each cluster has an outcome in its journal; `Err` is this machine's own trouble with it.
    pub async fn run(self, clusters: Vec<Cluster>, caps: Caps) -> BTreeMap<String, Result<(), String>> {
        let this = Arc::new(self);
        flat(
            each_within(clusters, &caps, &this.budget, &this.pause, |cluster| {
                let this = Arc::clone(&this);
                async move { this.one(&cluster).await }
            })
            .await,
        )
    }

    async fn one(&self, cluster: &Cluster) -> io::Result<()> {
        match self.journalled(cluster).await {
            Ok(outcome) => {
                self.budget.take(&outcome);
                Ok(())
            }
            Err(error) => {
                // This machine cannot keep its books: going on elsewhere would lose track there too (promise M10). Whoever waits is told.
                self.stop.store(true, Ordering::Relaxed);
                self.pause.set(false);
                Err(error)
            }
        }
    }

    async fn journalled(&self, cluster: &Cluster) -> io::Result<Outcome> {
        let folder = self.run.cluster(&cluster.name)?;
        let mut journal = Journal::create(&folder.journal(), &cluster.name, self.listener.clone())?;
        let outcome = if self.stop.load(Ordering::Relaxed) {
            Outcome::Interrupted { state: Left::Clean }
        } else if let Some(failure) = self.budget.exceeded() {
            Outcome::Halted { failure }
        } else {
            journal.record(What::Begun { address: cluster.login() })?;
            match self.network.connect(&cluster.host).await {
                Ok(session) => {
                    let outcome = self.connected(&session, cluster, &folder, &mut journal).await;
                    session.close().await;
                    return outcome;
                }
                Err(error) => run::unasked(&error),
            }
        };
        journal.record(What::Finished { outcome: outcome.clone() })?;
        Ok(outcome)
    }

    async fn connected(
        &self,
        session: &Session,
        cluster: &Cluster,
        folder: &ClusterFolder,
        journal: &mut Journal,
    ) -> io::Result<Outcome> {
        journal.record(What::Connected { host_key: session.host_key().to_owned() })?;
        let finished = |journal: &mut Journal, outcome: Outcome| {
            journal.record(What::Finished { outcome: outcome.clone() })?;
            Ok(outcome)
        };
        // All that is pinned must agree (promise M3): there is nothing to do here while the cluster cannot tell who it is.
        let other = match identity::meet(session, cluster).await {
            Ok(facts) => planner::mistaken(&facts, cluster).map(|failure| Outcome::Refused { failure }),
            Err(error) => Some(run::unasked(&error)),
        };
        if let Some(outcome) = other {
            return finished(journal, outcome);
        }
        let lock = locked::lock(cluster, &self.record);
        let number = match locked::take(session, &lock).await {
            Ok(number) => number,
            Err(outcome) => return finished(journal, outcome),
        };
        journal.record(What::Locked { number })?;
        let fenced = Fenced::new(session, &lock, number, journal.pending());
        let outcome = fenced.alive(Box::pin(self.carry(&fenced, cluster, folder, journal))).await;
        // Whatever happened, trouble of this machine too: nobody is to wait for this run.
        let released = locked::release(&fenced, outcome.as_ref().ok()).await;
        let outcome = outcome?;
        journal.record(match released {
            Ok(()) => What::Unlocked { number },
            Err(text) => What::Noted { step: "lock".to_owned(), text },
        })?;
        let outcome = finished(journal, outcome)?;
        locked::last_words(&fenced).await;
        Ok(outcome)
    }

    async fn carry(
        &self,
        fenced: &Fenced<'_, Session>,
        cluster: &Cluster,
        folder: &ClusterFolder,
        journal: &mut Journal,
    ) -> io::Result<Outcome> {
        match &self.errand {
            Errand::Window(wanted) => {
                let log = folder.path().join(step_log(&wanted.step()));
                run::window::carry(fenced, &cluster.paths.spool, *wanted, &log, journal).await
            }
            Errand::Vars(all) => match all.get(&cluster.name) {
                Some(wanted) => {
                    let log = folder.path().join(step_log(vars::STEP));
                    vars::carry(fenced, cluster, wanted, (folder.path(), &log), journal).await
                }
                None => Ok(Outcome::NothingToDo),
            },
            Errand::Transfer(wanted) => nextcloud::carry(fenced, cluster, wanted, folder, journal).await,
            Errand::Cleanup(wish, all) => match all.get(&cluster.name) {
                Some(shown) => {
                    let log = folder.path().join(step_log(cleanup::STEP));
                    cleanup::carry(fenced, cluster, (wish, shown), (folder.path(), &log), journal).await
                }
                None => Ok(Outcome::NothingToDo),
            },
        }
    }
}
