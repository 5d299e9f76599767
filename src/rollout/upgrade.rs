//! An upgrade of many clusters: each on its own, with its own journal, at most so many at once.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use jiff::Timestamp;

use super::meet::{Met, meet};
use super::{Caps, Tour, locked};
use crate::event::{Outcome, What};
use crate::inventory::Cluster;
use crate::journal::{Ballast, Journal};
use crate::plan::Plan;
use crate::run::{self, Position, Wish};
use crate::ssh::Session;
use crate::state::{ClusterFolder, Run};
use crate::version::Version;

/// What is wanted of all clusters.
#[derive(Debug, Clone)]
pub struct Rollout {
    /// The version to reach.
    pub target: Version,
    /// Plans that were made before, by cluster: those clusters are taken to the end of their plan, as it stands.
    pub plans: BTreeMap<String, Plan>,
    /// Ids of the acknowledged warnings.
    pub acknowledged: Vec<String>,
    /// How many at once.
    pub caps: Caps,
    /// The run.
    pub tour: Tour,
    /// What its `run.json` says.
    pub record: Run,
    /// The root of all backups.
    pub backups: PathBuf,
    /// Who goes on with the run, where it is not a new one.
    pub resumed: Option<Resumed>,
}

/// A run that is gone on with.
#[derive(Debug, Clone)]
pub struct Resumed {
    /// User and machine.
    pub by: String,
    /// What the operator knows of steps in doubt.
    pub settled: Vec<Settled>,
}

/// A step in doubt that an operator settles.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settled {
    /// The cluster.
    pub cluster: String,
    /// The step.
    pub step: String,
    /// Whether it was done; otherwise it is to be done again.
    pub done: bool,
}

impl Rollout {
    /// Upgrades the clusters. Each has an outcome in its journal; `Err` is this machine's own trouble with it.
    pub async fn upgrade(self, clusters: Vec<Cluster>) -> BTreeMap<String, Result<Outcome, String>> {
        let this = Arc::new(self);
        let ballast = Ballast::of(this.tour.run.path());
        if let Err(error) = ballast.lay() {
            let said = format!("no room for the journals in {}: {error}", this.tour.run.path().display());
            return clusters.into_iter().map(|cluster| (cluster.name, Err(said.clone()))).collect();
        }
        let results = this
            .tour
            .each(clusters, &this.caps, |cluster| {
                let this = Arc::clone(&this);
                async move { this.one(&cluster).await }
            })
            .await;
        ballast.give_up();
        results
    }

    async fn one(&self, cluster: &Cluster) -> std::io::Result<Outcome> {
        let outcome = self.journalled(cluster).await?;
        // Where the disk was full, what is under way went on in the ballast's place; one cluster tells it.
        let full = !Ballast::of(self.tour.run.path()).is_there();
        if full && self.tour.stop_all() { Err(self.full()) } else { Ok(outcome) }
    }

    fn full(&self) -> std::io::Error {
        let (place, run) =
            (self.tour.run.path().display(), self.tour.run.path().file_name().unwrap_or_default());
        std::io::Error::new(
            std::io::ErrorKind::StorageFull,
            format!(
                "the disk of {place} is full. Nothing new was begun; what was under way was brought to a safe end, and all of it is in the \
                 journals. Make room (df -h {place}), then: fleet resume {}",
                run.display()
            ),
        )
    }

    async fn journalled(&self, cluster: &Cluster) -> std::io::Result<Outcome> {
        let folder = self.tour.run.cluster(&cluster.name)?;
        let (mut journal, from) = self.open(cluster, &folder)?;
        let outcome = if let Some(outcome) = self.tour.held_back() {
            from.truth(outcome)
        } else if let Some(outcome) = run::ask::standing(&cluster.name, &folder, &self.backups, &from)? {
            outcome
        } else {
            return self.begun(cluster, &folder, &from, &mut journal).await;
        };
        self.finished(&mut journal, outcome)
    }

    fn finished(&self, journal: &mut Journal, outcome: Outcome) -> std::io::Result<Outcome> {
        journal.record(What::Finished { outcome: outcome.clone() })?;
        self.tour.budget.take(&outcome);
        Ok(outcome)
    }

    /// The cluster's journal: a new one, or that of the process before, and where it ends.
    fn open(&self, cluster: &Cluster, folder: &ClusterFolder) -> std::io::Result<(Journal, Position)> {
        let (path, listener) = (folder.journal(), self.tour.listener.clone());
        let Some(resumed) = self.resumed.as_ref().filter(|_| path.exists()) else {
            return Ok((Journal::create(&path, &cluster.name, listener)?, Position::default()));
        };
        let (mut journal, events) =
            Journal::reopen(&path, &cluster.name, listener).map_err(std::io::Error::other)?;
        let mut position = Position::of(&events);
        let settled = resumed.settled.iter().filter(|settled| settled.cluster == cluster.name);
        let (by, fleet) = (resumed.by.clone(), env!("CARGO_PKG_VERSION").to_owned());
        let settled = settled.map(|Settled { step, done, .. }| What::Settled {
            step: step.clone(),
            done: *done,
            by: by.clone(),
        });
        for what in std::iter::once(What::Resumed { by: by.clone(), fleet }).chain(settled) {
            position.take(&what, Timestamp::now());
            journal.record(what)?;
        }
        Ok((journal, position))
    }

    async fn begun(
        &self,
        cluster: &Cluster,
        folder: &ClusterFolder,
        from: &Position,
        journal: &mut Journal,
    ) -> std::io::Result<Outcome> {
        journal.record(What::Begun { address: cluster.login() })?;
        let session = match self.tour.network.connect(&cluster.host).await {
            Ok(session) => session,
            Err(error) => return self.finished(journal, from.truth(run::unasked(&error))),
        };
        let outcome = self.connected(&session, cluster, folder, from, journal).await;
        session.close().await;
        outcome
    }

    async fn connected(
        &self,
        session: &Session,
        cluster: &Cluster,
        folder: &ClusterFolder,
        from: &Position,
        journal: &mut Journal,
    ) -> std::io::Result<Outcome> {
        journal.record(What::Connected { host_key: session.host_key().to_owned() })?;
        // Not even the lock of another host is taken. What cannot be told just now, of a k3s that a dead run has left stopped or of a secret
        // that a rung has taken away, is asked again with the facts.
        if let Ok(Met { another: Some(failure), .. }) = meet(session, cluster).await {
            return self.finished(journal, from.truth(Outcome::Refused { failure }));
        }
        // Read before the lock is taken: a file that cannot be read must leave no lock behind.
        let restore = folder.restore()?;
        let lock = locked::lock(cluster, &self.record);
        let fenced = match locked::take(session, &lock, journal).await? {
            Ok(fenced) => fenced,
            Err(outcome) => return self.finished(journal, from.truth(outcome)),
        };
        let plan = self.plans.get(&cluster.name);
        let wish = Wish {
            cluster,
            // A plan takes a cluster one rung up; what is beyond is planned from what is there then.
            target: plan.map_or(self.target, |plan| plan.to),
            host_key: session.host_key(),
            plan,
            acknowledged: &self.acknowledged,
            folder,
            backups: &self.backups,
            stop: &self.tour.stop,
        };
        let mut outcome = match restore {
            Some(plan) => {
                let wish = Wish { target: plan.to, ..wish };
                fenced.alive(Box::pin(run::put_back(&fenced, wish, &plan, from, journal))).await
            }
            None => fenced.alive(Box::pin(run::climb(&fenced, wish, from, journal))).await,
        };
        if matches!(outcome, Ok(Outcome::Done)) {
            outcome = run::done(&fenced, wish, journal).await.and(outcome);
        }
        let outcome = locked::release(&fenced, outcome, journal).await?;
        let outcome = self.finished(journal, outcome)?;
        locked::last_words(&fenced).await;
        Ok(outcome)
    }
}
