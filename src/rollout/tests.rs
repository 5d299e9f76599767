//! Everyone is served, within every cap and within the budget.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::event::{Failure, Left, Outcome};
use crate::inventory::{Group, Host, Inventory};

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

#[tokio::test(start_paused = true)]
async fn a_cluster_whose_group_is_full_keeps_nobody_else_waiting() {
    let mut inventory = Inventory::default();
    inventory.groups.insert("slow".into(), Group { parallel: Some(1), ..Group::default() });
    let mut clusters = clusters(&["a", "b", "c", "d"]);
    for cluster in &mut clusters[..3] {
        cluster.group = "slow".into();
    }
    let began = tokio::time::Instant::now();
    let ended = each(clusters, Caps::of(&inventory, 2), |_| async move {
        tokio::time::sleep(Duration::from_secs(10)).await;
        began.elapsed().as_secs()
    })
    .await;
    let ended: Vec<u64> = ended.into_values().map(Result::unwrap).collect();
    assert_eq!(ended, [10, 20, 30, 10], "d runs beside a, and not behind b");
}

/// What a simulated cluster does.
#[derive(Debug, Clone, Copy)]
struct Fate {
    group: usize,
    jump: usize,
    seconds: u64,
    end: u8,
}

fn fates() -> impl Strategy<Value = Vec<Fate>> {
    let fate = (0..4usize, 0..4usize, 0..30u64, 0..8u8);
    prop::collection::vec(
        fate.prop_map(|(group, jump, seconds, end)| Fate { group, jump, seconds, end }),
        0..60,
    )
}

fn outcome(end: u8) -> Outcome {
    let failure = || Failure::new("simulated", "simulated");
    match end {
        0 => Outcome::Failed { step: None, state: Left::Clean, failure: failure() },
        1 => Outcome::InDoubt { step: "exec/command".into(), failure: failure() },
        2 => Outcome::Unreachable { failure: failure() },
        3 => Outcome::Refused { failure: failure() },
        _ => Outcome::Done,
    }
}

/// What is under way, and the most that ever was, by what has a cap.
#[derive(Debug, Default)]
struct Seen {
    now: BTreeMap<String, usize>,
    most: BTreeMap<String, usize>,
}

impl Seen {
    fn enter(&mut self, keys: &[String]) {
        for key in keys {
            let now = self.now.entry(key.clone()).or_default();
            *now += 1;
            let most = self.most.entry(key.clone()).or_default();
            *most = (*most).max(*now);
        }
    }

    fn leave(&mut self, keys: &[String]) {
        for key in keys {
            *self.now.get_mut(key).unwrap() -= 1;
        }
    }
}

/// Jump hosts of which the second stands behind the first; 0 is none.
fn jump(number: usize, channels: [usize; 3]) -> Option<Arc<Host>> {
    let host =
        |name: &str, channels, jump| Arc::new(Host { jump, channels, ..Host::new(name, "198.51.100.1") });
    let first = host("jump1", channels[0], None);
    match number {
        1 => Some(first),
        2 => Some(host("jump2", channels[1], Some(first))),
        3 => Some(host("jump3", channels[2], None)),
        _ => None,
    }
}

/// Everything whose cap a cluster counts against.
fn keys(cluster: &Cluster) -> Vec<String> {
    let mut keys = vec!["all".to_owned(), cluster.group.clone()];
    keys.extend(cluster.host.way().map(|jump| jump.name.clone()));
    keys
}

proptest! {
    #[test]
    fn nobody_starves_no_cap_is_exceeded_and_the_budget_holds(
        fates in fates(),
        all in 0..12usize,
        groups in prop::array::uniform3(prop::option::of(0..5usize)),
        channels in prop::array::uniform3(0..5usize),
        max_failures in prop::option::of(0..6usize),
        max_unreachable in prop::option::of(0..6usize),
    ) {
        let mut inventory = Inventory::default();
        for (index, parallel) in groups.iter().enumerate() {
            inventory.groups.insert(format!("group{index}"), Group { parallel: *parallel, ..Group::default() });
        }
        let by_name: BTreeMap<String, Fate> =
            fates.iter().enumerate().map(|(index, fate)| (format!("c{index:02}"), *fate)).collect();
        let clusters: Vec<Cluster> = by_name.iter().map(|(name, fate)| {
            let mut cluster = Cluster::new(name, "203.0.113.7");
            // The fourth group is one that says nothing about itself.
            cluster.group = if fate.group < 3 { format!("group{}", fate.group) } else { String::new() };
            cluster.host.jump = jump(fate.jump, channels);
            cluster
        }).collect();

        let budget = Arc::new(Budget::new(max_failures, max_unreachable));
        let seen = Arc::new(Mutex::new(Seen::default()));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        let (caps, pause) = (Caps::of(&inventory, all), Pause::default());
        let work = each_within(clusters, &caps, &budget, &pause, |cluster| {
            let (budget, seen, fate) = (Arc::clone(&budget), Arc::clone(&seen), by_name[&cluster.name]);
            async move {
                let keys = keys(&cluster);
                seen.lock().unwrap().enter(&keys);
                let outcome = if let Some(failure) = budget.exceeded() {
                    Outcome::Halted { failure }
                } else {
                    tokio::time::sleep(Duration::from_secs(fate.seconds)).await;
                    outcome(fate.end)
                };
                budget.take(&outcome);
                seen.lock().unwrap().leave(&keys);
                outcome
            }
        });
        // In paused time this never waits: it only ends if somebody starves.
        let results = runtime.block_on(async { tokio::time::timeout(Duration::from_secs(1 << 20), work).await })
            .expect("somebody was never served");

        prop_assert_eq!(results.keys().collect::<Vec<_>>(), by_name.keys().collect::<Vec<_>>());
        let most = |key: &str| seen.lock().unwrap().most.get(key).copied().unwrap_or(0);
        prop_assert!(most("all") <= all.max(1));
        for (index, parallel) in groups.iter().enumerate() {
            let most = most(&format!("group{index}"));
            prop_assert!(parallel.is_none_or(|cap| most <= cap.max(1)), "group {index}: {most}");
        }
        for (index, channels) in channels.iter().enumerate() {
            let most = most(&format!("jump{}", index + 1));
            prop_assert!(most <= (*channels).max(1), "jump host {index}: {most}");
        }

        let count = |wanted: fn(&Outcome) -> bool| results.values().filter(|result| wanted(result.as_ref().unwrap())).count();
        let failed = count(|outcome| matches!(outcome, Outcome::Failed { .. } | Outcome::InDoubt { .. }));
        let unreachable = count(|outcome| matches!(outcome, Outcome::Unreachable { .. }));
        let halted = count(|outcome| matches!(outcome, Outcome::Halted { .. }));
        prop_assert!(max_failures.is_none_or(|limit| failed <= limit + 1), "{failed} failed");
        // Those under way when the limit was passed may come on top.
        prop_assert!(max_unreachable.is_none_or(|limit| unreachable <= limit + all.max(1)), "{unreachable} unreachable");
        let over = max_failures.is_some_and(|limit| failed > limit)
            || max_unreachable.is_some_and(|limit| unreachable > limit);
        prop_assert!(halted == 0 || over, "halted without a reason");
        for (name, result) in &results {
            let result = result.as_ref().unwrap();
            let told = matches!(result, Outcome::Halted { .. });
            prop_assert!(told || *result == outcome(by_name[name].end), "{name} is neither done nor told");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn with_a_budget_of_no_failure_the_first_one_is_the_last_that_began() {
    let budget = Arc::new(Budget::new(Some(0), None));
    let results =
        each_within(clusters(&["a", "b", "c", "d"]), &Caps::from(4), &budget, &Pause::default(), |cluster| {
            let budget = Arc::clone(&budget);
            async move {
                if let Some(failure) = budget.exceeded() {
                    return failure.message;
                }
                tokio::time::sleep(Duration::from_secs(1)).await;
                budget.take(&outcome(if cluster.name == "a" { 0 } else { 9 }));
                "ran".to_owned()
            }
        })
        .await;
    assert_eq!(results["a"], Ok("ran".to_owned()));
    for name in ["b", "c", "d"] {
        let said = results[name].as_ref().unwrap();
        assert_eq!(said, "never begun: 1 cluster failed or ended in doubt, and --max-failures allows 0");
    }
}

#[tokio::test]
async fn a_fault_of_fleet_itself_counts_as_a_failure() {
    let budget = Budget::new(Some(0), None);
    let results = each_within(
        clusters(&["a", "b"]),
        &Caps::from(1),
        &budget,
        &Pause::default(),
        |cluster| async move {
            assert_ne!(cluster.name, "a", "a fault in a");
        },
    )
    .await;
    assert!(results["a"].is_err());
    assert!(budget.exceeded().is_some());
}

/// What the clusters of a run that is paused while `a` is under way have done by then, and what came of all.
async fn paused_while_a_runs(lift: impl AsyncFn(&Pause)) -> (Vec<String>, usize) {
    let (pause, began) = (Pause::default(), Mutex::new(Vec::new()));
    let (pause_ref, began_ref) = (&pause, &began);
    let gate = Arc::new(tokio::sync::Notify::new());
    let (budget, caps) = (Budget::default(), Caps::from(1));
    let work = each_within(clusters(&["a", "b", "c"]), &caps, &budget, pause_ref, |cluster| {
        began_ref.lock().unwrap().push(cluster.name.clone());
        let gate = Arc::clone(&gate);
        async move {
            if cluster.name == "a" {
                gate.notified().await;
            }
        }
    });
    let operator = async {
        tokio::task::yield_now().await;
        pause_ref.set(true);
        gate.notify_one();
        // In paused time this is over as soon as nobody has anything to do any more.
        tokio::time::sleep(Duration::from_secs(3600)).await;
        let so_far = began_ref.lock().unwrap().clone();
        lift(pause_ref).await;
        so_far
    };
    let (results, so_far) = tokio::join!(work, operator);
    (so_far, results.len())
}

#[tokio::test(start_paused = true)]
async fn while_it_is_paused_nothing_new_is_begun_and_who_is_under_way_goes_on() {
    let (so_far, all) = paused_while_a_runs(async |pause| pause.set(false)).await;
    assert_eq!(so_far, ["a"]);
    assert_eq!(all, 3, "everyone was served once it was lifted");
}
