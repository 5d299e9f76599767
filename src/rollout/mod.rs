//! Many clusters at once. The only place where tasks are started.

mod survey;
mod upgrade;

pub use survey::survey;
pub use upgrade::Rollout;

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::inventory::Cluster;

/// Does `work` for each cluster, at most `parallel` at once; every cluster has a result, in order of name. A panic of one is
/// that one's `Err` with its message and leaves the others alone.
pub async fn each<T, F, W>(
    clusters: Vec<Cluster>,
    parallel: usize,
    work: W,
) -> BTreeMap<String, Result<T, String>>
where
    T: Send + 'static,
    F: Future<Output = T> + Send + 'static,
    W: Fn(Cluster) -> F,
{
    let cap = Arc::new(Semaphore::new(parallel.max(1)));
    let mut tasks = JoinSet::new();
    let mut names = BTreeMap::new();
    for cluster in clusters {
        let name = cluster.name.clone();
        let cap = Arc::clone(&cap);
        let future = work(cluster);
        let task = tasks.spawn(async move {
            let _turn = cap.acquire_owned().await;
            future.await
        });
        names.insert(task.id(), name);
    }
    let mut results = BTreeMap::new();
    while let Some(ended) = tasks.join_next_with_id().await {
        let (id, result) = match ended {
            Ok((id, value)) => (id, Ok(value)),
            Err(error) => (error.id(), Err(format!("a fault of fleet itself: {error}"))),
        };
        if let Some(name) = names.remove(&id) {
            results.insert(name, result);
        }
    }
    results
}
