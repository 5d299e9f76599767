//! The facts of many clusters: connect, ask, leave. Changes nothing anywhere.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use super::{Caps, each};
use crate::event::Failure;
use crate::facts::{self, Facts, Known};
use crate::inventory::Cluster;
use crate::ssh::Network;

/// The facts of each cluster, or why it could not be asked.
pub async fn survey(
    clusters: Vec<Cluster>,
    caps: impl Into<Caps>,
    backups: PathBuf,
    network: &Arc<Network>,
) -> BTreeMap<String, Result<Facts, Failure>> {
    let backups = Arc::new(backups);
    let results = each(clusters, caps, |cluster| {
        let (backups, network) = (Arc::clone(&backups), Arc::clone(network));
        async move {
            let session = network.connect(&cluster.host).await?;
            let facts = facts::gather(&session, &cluster, &backups).await;
            let host_key = Known::Is(session.host_key().to_owned());
            session.close().await;
            facts.map(|facts| Facts { host_key, ..facts })
        }
    })
    .await;
    results
        .into_iter()
        .map(|(name, result)| {
            let facts =
                match result {
                    Ok(Ok(facts)) => Ok(facts),
                    Ok(Err(error)) => Err(Failure::new(error.kind(), error.to_string())
                        .read("docs/ssh.md#errors-and-what-to-do")),
                    Err(panic) => Err(Failure::new("fleet-fault", panic)),
                };
            (name, facts)
        })
        .collect()
}
