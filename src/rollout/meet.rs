//! Who a host is, asked before anything is done on it (promise M3).

use crate::event::Failure;
use crate::facts::{Facts, identity};
use crate::inventory::Cluster;
use crate::planner;
use crate::remote::RemoteError;
use crate::ssh::Session;

/// What a host shows of the pins by which it is known.
#[derive(Debug)]
pub(crate) struct Met {
    /// Why it is another than the inventory means, where something else was found.
    pub(crate) another: Option<Failure>,
    /// What of the pins could not be compared, for the journal: a cluster that is to be mended may be what cannot tell.
    pub(crate) untold: Option<String>,
}

/// Asks a host who it is, in one round trip; in none where nothing is pinned.
pub(crate) async fn meet(session: &Session, cluster: &Cluster) -> Result<Met, RemoteError> {
    let found = match (&cluster.machine_id, &cluster.cluster_uid, &cluster.domain) {
        (None, None, None) => Facts::default(),
        (Some(_), ..) => identity::meet_host(session).await?,
        (None, ..) => identity::meet(session, cluster).await?,
    };
    let asked = asked_of(cluster);
    Ok(Met { another: planner::another(&found, &asked), untold: planner::untold(&found, &asked) })
}

/// The cluster with those of its pins by which a host is known before anything is done on it. Where its machine id is pinned, that alone:
/// the command is the host's, and its k3s may be what is to be mended.
fn asked_of(cluster: &Cluster) -> Cluster {
    match cluster.machine_id {
        Some(_) => Cluster { cluster_uid: None, domain: None, ..cluster.clone() },
        None => cluster.clone(),
    }
}
