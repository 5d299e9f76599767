//! Reports for programs. The schema is told in `docs/reports.md`; a test holds the two together.

use std::collections::BTreeMap;
use std::path::PathBuf;

use jiff::Timestamp;
use serde::Serialize;

use super::cluster::{BackupReport, ClusterReport, Ending, State};
use super::fleet::{FleetReport, Group};
use super::next::{Next, next, next_all};
use crate::state::Run;

/// The version of both schemas. Keys may be added within a version; none changes its meaning or goes.
pub const SCHEMA: u32 = 1;

/// A cluster's `report.json`.
#[derive(Debug, Serialize)]
pub struct ClusterFile<'a> {
    schema: u32,
    run: &'a str,
    by: &'a str,
    target: Option<String>,
    #[serde(flatten)]
    report: &'a ClusterReport,
    next: Vec<Next>,
}

/// The fleet's `report.json`.
#[derive(Debug, Serialize)]
pub struct FleetFile<'a> {
    schema: u32,
    run: &'a Run,
    finished: bool,
    ended: Option<Timestamp>,
    took_ms: Option<u64>,
    counts: BTreeMap<Ending, usize>,
    clusters: Vec<Summary<'a>>,
    groups: Vec<GroupWithNext<'a>>,
}

/// A cluster in the fleet's report; all the rest is in its own.
#[derive(Debug, Serialize)]
struct Summary<'a> {
    cluster: &'a str,
    outcome: Ending,
    state: State,
    left_at: Option<&'a str>,
    version_before: Option<&'a str>,
    version_after: Option<&'a str>,
    took_ms: u64,
    downtime_ms: Option<u64>,
    backup: Option<&'a BackupReport>,
    log: Option<PathBuf>,
    next: Vec<Next>,
}

#[derive(Debug, Serialize)]
struct GroupWithNext<'a> {
    #[serde(flatten)]
    group: &'a Group,
    next: Vec<Next>,
}

/// A cluster's report for programs.
#[must_use]
pub fn cluster<'a>(report: &'a ClusterReport, run: &'a Run) -> ClusterFile<'a> {
    ClusterFile {
        schema: SCHEMA,
        run: &run.id,
        by: &run.by,
        target: run.target.map(|target| target.to_string()),
        report,
        next: next(report, run),
    }
}

/// The fleet's report for programs.
#[must_use]
pub fn fleet(fleet: &FleetReport) -> FleetFile<'_> {
    FleetFile {
        schema: SCHEMA,
        run: &fleet.run,
        finished: fleet.is_finished(),
        ended: fleet.ended(),
        took_ms: fleet.took_ms(),
        counts: fleet.counts(),
        clusters: fleet.clusters.iter().map(|report| summary(report, &fleet.run)).collect(),
        groups: fleet
            .groups
            .iter()
            .map(|group| GroupWithNext { group, next: next_all(&fleet.of(group), &fleet.run) })
            .collect(),
    }
}

fn summary<'a>(report: &'a ClusterReport, run: &Run) -> Summary<'a> {
    Summary {
        cluster: &report.cluster,
        outcome: report.outcome,
        state: report.state,
        left_at: report.left_at.as_deref(),
        version_before: report.version_before.as_deref(),
        version_after: report.version_after.as_deref(),
        took_ms: report.took_ms,
        downtime_ms: report.downtime_ms,
        backup: report.backup(),
        log: report.log(),
        next: next(report, run),
    }
}
