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

/// Does `work` for each cluster, at most `parallel` at once, begun in order; every cluster has a result. A panic of one is
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
        // Before the task is started, so that clusters begin in order of name. Nobody closes the semaphore.
        let turn = Arc::clone(&cap).acquire_owned().await.ok();
        let name = cluster.name.clone();
        let future = work(cluster);
        let task = tasks.spawn(async move {
            let _turn = turn;
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

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    fn clusters(names: &[&str]) -> Vec<Cluster> {
        names.iter().map(|name| Cluster::new(*name, "203.0.113.7")).collect()
    }

    #[tokio::test]
    async fn every_cluster_has_a_result_and_a_panic_is_its_own() {
        let results = each(clusters(&["ash", "birch", "cedar"]), 2, |cluster| async move {
            assert_ne!(cluster.name, "birch", "a fault in birch");
            cluster.name.len()
        })
        .await;
        assert_eq!(results["ash"], Ok(3));
        assert_eq!(results["cedar"], Ok(5));
        assert!(results["birch"].as_ref().unwrap_err().contains("a fault in birch"));
    }

    #[tokio::test]
    async fn no_more_than_the_cap_run_at_once_and_they_begin_in_order() {
        let names = ["a", "b", "c", "d", "e", "f", "g"];
        let begun = Arc::new(Mutex::new(Vec::new()));
        let (running, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        each(clusters(&names), 3, |cluster| {
            begun.lock().unwrap().push(cluster.name);
            let (running, most) = (Arc::clone(&running), Arc::clone(&most));
            async move {
                most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                for _ in 0..10 {
                    tokio::task::yield_now().await;
                }
                running.fetch_sub(1, Ordering::SeqCst);
            }
        })
        .await;
        assert_eq!(*begun.lock().unwrap(), names);
        assert_eq!(most.load(Ordering::SeqCst), 3);
    }
}
