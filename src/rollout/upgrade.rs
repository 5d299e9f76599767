//! An upgrade of many clusters: each on its own, with its own journal, at most so many at once.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::mpsc::UnboundedSender;

use super::{Budget, Caps, Pause, each_within};
use crate::event::{Event, Left, Outcome, What};
use crate::inventory::Cluster;
use crate::journal::Journal;
use crate::run::{self, Wish};
use crate::ssh::Network;
use crate::state::{ClusterFolder, RunFolder};
use crate::version::Version;

/// What is wanted of all clusters.
#[derive(Debug, Clone)]
pub struct Rollout {
    /// The version to reach.
    pub target: Version,
    /// Ids of the acknowledged warnings.
    pub acknowledged: Vec<String>,
    /// How many at once.
    pub caps: Caps,
    /// How much may go wrong before nothing new is begun.
    pub budget: Arc<Budget>,
    /// The run's folder.
    pub run: RunFolder,
    /// The root of all backups.
    pub backups: PathBuf,
    /// The connections.
    pub network: Arc<Network>,
    /// Hears every event once it is on disk.
    pub listener: UnboundedSender<Event>,
    /// Set when the operator asks to stop: nothing new is started, what is under way goes to its next safe point.
    pub stop: Arc<AtomicBool>,
    /// Set while the operator wants nothing new to be begun.
    pub pause: Arc<Pause>,
}

impl Rollout {
    /// Upgrades the clusters. Each has an outcome in its journal; `Err` is this machine's own trouble with it.
    pub async fn upgrade(self, clusters: Vec<Cluster>) -> BTreeMap<String, Result<Outcome, String>> {
        let this = Arc::new(self);
        let results = each_within(clusters, &this.caps, &this.budget, &this.pause, |cluster| {
            let this = Arc::clone(&this);
            async move { this.one(&cluster).await }
        })
        .await;
        results
            .into_iter()
            .map(|(name, result)| (name, result.and_then(|inner| inner.map_err(|error| error.to_string()))))
            .collect()
    }

    async fn one(&self, cluster: &Cluster) -> std::io::Result<Outcome> {
        let result = self.journalled(cluster).await;
        if result.is_err() {
            // This machine cannot keep its books: going on elsewhere would lose track there too (promise M10).
            self.stop.store(true, Ordering::Relaxed);
            // Whoever waits is to be told.
            self.pause.set(false);
        }
        result
    }

    async fn journalled(&self, cluster: &Cluster) -> std::io::Result<Outcome> {
        let folder = self.run.cluster(&cluster.name)?;
        let mut journal = Journal::create(&folder.journal(), &cluster.name, Some(self.listener.clone()))?;
        let outcome = if self.stop.load(Ordering::Relaxed) {
            Outcome::Interrupted { state: Left::Clean }
        } else if let Some(failure) = self.budget.exceeded() {
            Outcome::Halted { failure }
        } else {
            self.connected(cluster, &folder, &mut journal).await?
        };
        journal.record(What::Finished { outcome: outcome.clone() })?;
        self.budget.take(&outcome);
        Ok(outcome)
    }

    async fn connected(
        &self,
        cluster: &Cluster,
        folder: &ClusterFolder,
        journal: &mut Journal,
    ) -> std::io::Result<Outcome> {
        journal.record(What::Begun { address: cluster.login() })?;
        let session = match self.network.connect(&cluster.host).await {
            Ok(session) => session,
            Err(error) => return Ok(run::unasked(&error)),
        };
        journal.record(What::Connected { host_key: session.host_key().to_owned() })?;
        let wish = Wish {
            cluster,
            target: self.target,
            acknowledged: &self.acknowledged,
            folder,
            backups: &self.backups,
            stop: &self.stop,
        };
        let outcome = run::climb(&session, wish, journal).await;
        session.close().await;
        outcome
    }
}
