//! A run that is gone on with from what its hosts keep of it (promise B9): asked of the hosts here, judged and written below.
//!
//! What comes from a host is hostile: it is taken over only where it is what `fleet` would have put there, for this cluster, and nothing in
//! it names a place on this machine.

mod brought;
mod write;

use std::collections::BTreeMap;
use std::io::sink;
use std::sync::Arc;

pub use brought::Brought;
pub use write::{Rebuilt, rebuild};

use super::{Caps, each};
use crate::event::Failure;
use crate::inventory::Cluster;
use crate::remote::{Remote, RemoteError};
use crate::spool::Runs;
use crate::ssh::Network;

/// Where it is told what to do.
const READ: &str = "docs/handover.md#when-it-does-not-go";

/// The runs that each host keeps, the newest first.
pub async fn known(
    clusters: Vec<Cluster>,
    caps: impl Into<Caps>,
    network: &Arc<Network>,
) -> BTreeMap<String, Result<Vec<String>, Failure>> {
    let results = each(clusters, caps, |cluster| {
        let network = Arc::clone(network);
        async move {
            let session = network.connect(&cluster.host).await.map_err(|error| lost(&error))?;
            let runs = runs_of(&session, &cluster).await;
            session.close().await;
            runs
        }
    })
    .await;
    results.into_iter().map(|(name, result)| (name, result.unwrap_or_else(fault))).collect()
}

/// What each host keeps of a run; `None` where it does not know it.
pub async fn bring(
    clusters: Vec<Cluster>,
    run: &str,
    caps: impl Into<Caps>,
    network: &Arc<Network>,
) -> BTreeMap<String, Result<Option<Brought>, Failure>> {
    let results = each(clusters, caps, |cluster| {
        let (network, run) = (Arc::clone(network), run.to_owned());
        async move {
            let session = network.connect(&cluster.host).await.map_err(|error| lost(&error))?;
            let brought = brought_by(&session, &cluster, &run).await;
            session.close().await;
            brought
        }
    })
    .await;
    results.into_iter().map(|(name, result)| (name, result.unwrap_or_else(fault))).collect()
}

async fn runs_of<R: Remote>(remote: &R, cluster: &Cluster) -> Result<Vec<String>, Failure> {
    let listing = Runs::on(&cluster.paths.spool).list();
    let answer = remote.ask(listing.command(), &mut sink()).await.map_err(|error| lost(&error))?;
    listing.read(&answer).ok_or_else(|| failed(format!("its list of runs is cut off ({})", answer.exit)))
}

async fn brought_by<R: Remote>(remote: &R, cluster: &Cluster, run: &str) -> Result<Option<Brought>, Failure> {
    let fetch = Runs::on(&cluster.paths.spool).fetch(run);
    let answer = remote.ask(fetch.command(), &mut sink()).await.map_err(|error| lost(&error))?;
    match fetch.read(&answer) {
        Ok(Some(files)) => Brought::read(cluster, run, files).await.map(Some),
        Ok(None) => Ok(None),
        Err(error) => Err(failed(error)),
    }
}

fn fault<T>(panic: String) -> Result<T, Failure> {
    Err(Failure::new("fleet-fault", panic))
}

fn lost(error: &RemoteError) -> Failure {
    Failure::new(error.kind(), error.to_string()).read("docs/ssh.md#errors-and-what-to-do")
}

fn failed(why: impl std::fmt::Display) -> Failure {
    Failure::new("hand-over", why.to_string()).read(READ)
}
