//! Many clusters at once. The only place where tasks are started.

mod budget;
mod exec;
pub mod handover;
mod locked;
mod meet;
mod pause;
mod survey;
mod tour;
mod turns;
mod upgrade;
mod visit;

pub use budget::Budget;
pub use exec::{Answer, Answers, Exec, STEP};
pub(crate) use meet::{Met, meet};
pub use pause::Pause;
pub use survey::survey;
pub use tour::Tour;
pub use turns::Caps;
pub use upgrade::{Resumed, Rollout, Settled};
pub use visit::{Errand, Visit};

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::future::Future;

use tokio::task::JoinSet;

use crate::inventory::Cluster;
use turns::Turns;

/// Does `work` for each cluster, no more at once than the caps allow, begun in order as far as they do; every cluster has a result.
/// A panic of one is that one's `Err` with its message and leaves the others alone.
pub async fn each<T, F, W>(
    clusters: Vec<Cluster>,
    caps: impl Into<Caps>,
    work: W,
) -> BTreeMap<String, Result<T, String>>
where
    T: Send + 'static,
    F: Future<Output = T> + Send + 'static,
    W: Fn(Cluster) -> F,
{
    each_within(clusters, &caps.into(), &Budget::default(), &Pause::default(), work).await
}

/// [`each`], within a budget. `work` counts its own outcome against it, and asks it before it does anything: once the budget is used
/// up, the clusters that still wait are begun only to be told. Nothing is begun while it is paused.
async fn each_within<T, F, W>(
    clusters: Vec<Cluster>,
    caps: &Caps,
    budget: &Budget,
    pause: &Pause,
    work: W,
) -> BTreeMap<String, Result<T, String>>
where
    T: Send + 'static,
    F: Future<Output = T> + Send + 'static,
    W: Fn(Cluster) -> F,
{
    let mut turns = Turns::new(clusters, caps);
    let mut tasks = JoinSet::new();
    let mut under_way = BTreeMap::new();
    let mut results = BTreeMap::new();
    let mut lifted = pause.changes();
    loop {
        while !pause.is_set()
            && budget.room_beside(tasks.len())
            && let Some((cluster, turn)) = turns.next()
        {
            let name = cluster.name.clone();
            let task = tasks.spawn(work(cluster));
            under_way.insert(task.id(), (name, turn));
        }
        if tasks.is_empty() && !turns.is_waiting() {
            return results;
        }
        let ended = tokio::select! {
            Some(ended) = tasks.join_next_with_id() => ended,
            // Never ends by itself: the pause outlives this.
            _ = lifted.changed() => continue,
        };
        let (id, result) = match ended {
            Ok((id, value)) => (id, Ok(value)),
            Err(error) => {
                budget.take_fault();
                (error.id(), Err(format!("a fault of fleet itself: {error}")))
            }
        };
        if let Some((name, turn)) = under_way.remove(&id) {
            turns.give_back(turn);
            results.insert(name, result);
        }
    }
}
