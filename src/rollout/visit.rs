//! A short piece of work on many clusters, each behind its host's lock and with a journal of its own: no upgrade, and done in minutes.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use super::{Caps, Tour, locked};
use crate::event::{Outcome, What};
use crate::facts::identity;
use crate::inventory::Cluster;
use crate::journal::Journal;
use crate::planner;
use crate::run::{self, Fenced, cleanup, nextcloud, vars};
use crate::ssh::Session;
use crate::state::{ClusterFolder, Run, step_log};
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
    /// The run.
    pub tour: Tour,
    /// What its `run.json` says.
    pub record: Run,
}

impl Visit {
    /// Makes it. Each cluster has an outcome in its journal; `Err` is this machine's own trouble with it.
    pub async fn run(self, clusters: Vec<Cluster>, caps: Caps) -> BTreeMap<String, Result<(), String>> {
        let this = Arc::new(self);
        this.tour
            .each(clusters, &caps, |cluster| {
                let this = Arc::clone(&this);
                async move {
                    let outcome = this.journalled(&cluster).await?;
                    this.tour.budget.take(&outcome);
                    Ok(())
                }
            })
            .await
    }

    async fn journalled(&self, cluster: &Cluster) -> io::Result<Outcome> {
        let Tour { run, network, listener, .. } = &self.tour;
        let folder = run.cluster(&cluster.name)?;
        let mut journal = Journal::create(&folder.journal(), &cluster.name, listener.clone())?;
        if let Some(outcome) = self.tour.held_back() {
            return finished(&mut journal, outcome);
        }
        journal.record(What::Begun { address: cluster.login() })?;
        let session = match network.connect(&cluster.host).await {
            Ok(session) => session,
            Err(error) => return finished(&mut journal, run::unasked(&error)),
        };
        let outcome = self.connected(&session, cluster, &folder, &mut journal).await;
        session.close().await;
        outcome
    }

    async fn connected(
        &self,
        session: &Session,
        cluster: &Cluster,
        folder: &ClusterFolder,
        journal: &mut Journal,
    ) -> io::Result<Outcome> {
        journal.record(What::Connected { host_key: session.host_key().to_owned() })?;
        // All that is pinned must agree (promise M3): there is nothing to do here while the cluster cannot tell who it is.
        let other = match identity::meet(session, cluster).await {
            Ok(facts) => planner::mistaken(&facts, cluster).map(|failure| Outcome::Refused { failure }),
            Err(error) => Some(run::unasked(&error)),
        };
        if let Some(outcome) = other {
            return finished(journal, outcome);
        }
        let lock = locked::lock(cluster, &self.record);
        let fenced = match locked::take(session, &lock, journal).await? {
            Ok(fenced) => fenced,
            Err(outcome) => return finished(journal, outcome),
        };
        let outcome = fenced.alive(Box::pin(self.carry(&fenced, cluster, folder, journal))).await;
        let outcome = locked::release(&fenced, outcome, journal).await?;
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

fn finished(journal: &mut Journal, outcome: Outcome) -> io::Result<Outcome> {
    journal.record(What::Finished { outcome: outcome.clone() })?;
    Ok(outcome)
}
