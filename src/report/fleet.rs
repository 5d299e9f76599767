//! The report of a whole run: every cluster's report, counted, and what went wrong grouped by its cause.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;

use super::cluster::{ClusterReport, Ending};
use crate::form;
use crate::state::Run;

/// A run and what became of its clusters.
#[derive(Debug, Clone, PartialEq)]
pub struct FleetReport {
    /// What `run.json` says.
    pub run: Run,
    /// Every cluster's report, the good ones first, then in order of [`Ending`] and name.
    pub clusters: Vec<ClusterReport>,
    /// What is not well, in the same order; each cluster that is not well is in exactly one group.
    pub groups: Vec<Group>,
}

/// Clusters whose work ended alike: the same outcome, cause and step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Group {
    /// How it ended.
    pub outcome: Ending,
    /// The stable id of the cause.
    pub cause: String,
    /// The step; none where it was no step.
    pub step: Option<String>,
    /// Where to read on.
    pub read: String,
    /// The clusters, in order of name.
    pub clusters: Vec<String>,
    /// What was said, the most frequent first: equal sentences are folded, the odd one stays visible.
    pub messages: Vec<Said>,
}

/// A sentence and the clusters of which it was said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Said {
    /// The sentence.
    pub message: String,
    /// The clusters, in order of name.
    pub clusters: Vec<String>,
}

impl FleetReport {
    /// Puts the reports of a run's clusters together.
    #[must_use]
    pub fn new(run: Run, mut clusters: Vec<ClusterReport>) -> Self {
        clusters.sort_by(|a, b| (a.outcome, &a.cluster).cmp(&(b.outcome, &b.cluster)));
        let groups = group(&clusters);
        Self { run, clusters, groups }
    }

    /// How many clusters ended in each way; ways that none ended in are left out.
    #[must_use]
    pub fn counts(&self) -> BTreeMap<Ending, usize> {
        let mut counts = BTreeMap::new();
        for report in &self.clusters {
            *counts.entry(report.outcome).or_insert(0) += 1;
        }
        counts
    }

    /// The counts in words: `3 done, 1 failed`.
    #[must_use]
    pub fn counts_said(&self) -> String {
        let said: Vec<String> =
            self.counts().iter().map(|(ending, count)| format!("{count} {}", ending.as_str())).collect();
        if said.is_empty() { "no clusters".to_owned() } else { said.join(", ") }
    }

    /// Whether an end is written for every cluster. Where not, the run goes on still or was killed.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.clusters.iter().all(|report| report.ended.is_some())
    }

    /// When the last end was written.
    #[must_use]
    pub fn ended(&self) -> Option<Timestamp> {
        self.is_finished().then(|| self.clusters.iter().filter_map(|report| report.ended).max()).flatten()
    }

    /// Milliseconds of the whole run; none where it has no end. A clock that was set back makes it no shorter than the work on any cluster,
    /// and one that was set forward, or a night between two tries, no longer than the work on all of them.
    #[must_use]
    pub fn took_ms(&self) -> Option<u64> {
        let took = || self.clusters.iter().map(|report| report.took_ms);
        let all = took().fold(0, u64::saturating_add);
        let longest = took().max().unwrap_or(0);
        self.ended().map(|ended| form::between(self.run.started, ended).clamp(longest, all))
    }

    /// The reports of a group's clusters.
    #[must_use]
    pub fn of<'a>(&'a self, group: &Group) -> Vec<&'a ClusterReport> {
        self.clusters
            .iter()
            .filter(|report| {
                report.outcome == group.outcome && group.clusters.binary_search(&report.cluster).is_ok()
            })
            .collect()
    }
}

/// Groups what is not well. `clusters` is in order of outcome and name, and so are the groups and the names within them.
fn group(clusters: &[ClusterReport]) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    for report in clusters {
        let Some(failure) = &report.failure else { continue };
        let known = groups.iter_mut().find(|group| {
            group.outcome == report.outcome
                && group.cause == failure.cause
                && group.step == report.failed_step
        });
        match known {
            Some(group) => {
                group.clusters.push(report.cluster.clone());
                match group.messages.iter_mut().find(|said| said.message == failure.message) {
                    Some(said) => said.clusters.push(report.cluster.clone()),
                    None => group.messages.push(said(&failure.message, &report.cluster)),
                }
            }
            None => groups.push(Group {
                outcome: report.outcome,
                cause: failure.cause.clone(),
                step: report.failed_step.clone(),
                read: failure.read.clone(),
                clusters: vec![report.cluster.clone()],
                messages: vec![said(&failure.message, &report.cluster)],
            }),
        }
    }
    for group in &mut groups {
        // Stable: sentences said equally often stay in order of their first cluster.
        group.messages.sort_by_key(|said| std::cmp::Reverse(said.clusters.len()));
    }
    groups
}

fn said(message: &str, cluster: &str) -> Said {
    Said { message: message.to_owned(), clusters: vec![cluster.to_owned()] }
}

impl Group {
    /// What the group has in common: `failed: deadline at to-0.7/wait`, or `unreachable` where the cause says no more.
    #[must_use]
    pub fn title(&self) -> String {
        let outcome = self.outcome.as_str();
        let mut title = outcome.to_owned();
        if self.cause != outcome.replace(' ', "-") {
            title = format!("{title}: {}", self.cause);
        }
        match &self.step {
            Some(step) => format!("{title} at {step}"),
            None => title,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::SCHEMA;

    #[test]
    fn a_run_takes_no_less_than_its_longest_and_no_more_than_all_of_its_clusters_whatever_its_clock_says() {
        let run = Run {
            schema: SCHEMA,
            id: "20261122T101500Z-abcd".into(),
            started: Timestamp::from_second(1_000_000).unwrap(),
            by: String::new(),
            fleet: String::new(),
            typed: Vec::new(),
            target: None,
            clusters: Vec::new(),
            acknowledged: Vec::new(),
            plan: None,
        };
        let took = |after: i64| {
            let report = |name: &str, took_ms| ClusterReport {
                took_ms,
                ended: Some(Timestamp::from_second(1_000_000 + after).unwrap()),
                ..ClusterReport::not_begun(name)
            };
            FleetReport::new(run.clone(), vec![report("acme", 30_000), report("oak", 40_000)]).took_ms()
        };
        assert_eq!([took(45), took(-86_400), took(365 * 86_400)], [Some(45_000), Some(40_000), Some(70_000)]);
    }
}
