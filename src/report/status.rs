//! How a run stands while it goes on, or where it was left: pure, from what every cluster's journal tells so far.

use std::fmt::Write as _;

use jiff::Timestamp;
use serde::Serialize;

use super::cluster::Ending;
use super::next::{Next, with_places};
use super::screen::Look;
use super::underway::Underway;
use super::way_back::WayBack;
use crate::form::{between, count, moment, seconds};
use crate::remote::printable;
use crate::state::{Control, Holder, Run, Want};

/// The version of the form of [`Status`] as JSON.
pub const SCHEMA: u32 = 1;

/// How a run as a whole stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum RunState {
    /// A process works on it.
    Running,
    /// A process works on it, and begins nothing new for now.
    Paused,
    /// A process works on it, and ends at the next safe point.
    Stopping,
    /// Every cluster has an end.
    Finished,
    /// No process works on it, and not every cluster has an end.
    Unfinished,
}

impl RunState {
    /// How it stands: whether a process holds it, what was asked of that process, and whether every cluster has an end.
    #[must_use]
    pub fn of(held: bool, asked: Option<&Control>, finished: bool) -> Self {
        match (held, asked.map(|control| control.want)) {
            (true, Some(Want::Abort)) => Self::Stopping,
            (true, Some(Want::Pause)) => Self::Paused,
            (true, _) => Self::Running,
            (false, _) if finished => Self::Finished,
            (false, _) => Self::Unfinished,
        }
    }

    /// The words for screens.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Stopping => "stopping",
            Self::Finished => "finished",
            Self::Unfinished => "not running, unfinished",
        }
    }
}

/// A run, as it stands.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Status {
    /// [`SCHEMA`].
    pub schema: u32,
    /// The run's id.
    pub run: String,
    /// What it is for.
    pub aim: String,
    /// Who began it.
    pub by: String,
    /// When.
    pub started: Timestamp,
    /// How it stands.
    pub state: RunState,
    /// The process that works on it.
    pub process: Option<Holder>,
    /// Seconds that this process has worked on it.
    pub running_seconds: Option<u64>,
    /// What was asked of it from another terminal.
    pub asked: Option<Control>,
    /// How many clusters are in each state.
    pub totals: Totals,
    /// The clusters, in order of name.
    pub clusters: Vec<ClusterStatus>,
    /// What to type next.
    pub next: Vec<Next>,
}

/// How many clusters stand how.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Totals {
    /// All.
    pub clusters: usize,
    /// Done, or nothing was to do.
    pub done: usize,
    /// Ended otherwise.
    pub not_done: usize,
    /// Begun, without an end.
    pub under_way: usize,
    /// Not begun.
    pub waiting: usize,
}

/// A cluster, as it stands.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ClusterStatus {
    /// The cluster.
    pub cluster: String,
    /// `waiting`, `under way`, or how it ended, in one or two words.
    pub state: String,
    /// The step under way, or the last; 0 before the first.
    pub step: usize,
    /// Of how many.
    pub steps: usize,
    /// What is done, or was done last.
    pub doing: String,
    /// What it waits for, or what was noted last in this step; why it is not done.
    pub noted: Option<String>,
    /// Since when it is done.
    pub since: Option<Timestamp>,
    /// For how many seconds; never more than the process has worked, and never less than none: clocks are set.
    pub seconds: Option<u64>,
    /// Where nothing works on it: the backup that takes it back to what it was before the rung that has not come to its end.
    pub way_back: Option<WayBack>,
    #[serde(skip)]
    ending: Option<Ending>,
}

impl Status {
    /// Puts together what is known. A cluster's `Err` says why its journal cannot be read.
    #[must_use]
    pub fn new(
        run: &Run,
        process: Option<Holder>,
        asked: Option<Control>,
        stories: &[(String, Result<Underway, String>)],
        now: Timestamp,
    ) -> Self {
        let age = process.as_ref().and_then(Holder::age);
        let clusters: Vec<ClusterStatus> =
            stories.iter().map(|(name, underway)| cluster(name, underway.as_ref(), now, age)).collect();
        let finished = clusters.iter().all(|cluster| cluster.ending.is_some());
        let state = RunState::of(process.is_some(), asked.as_ref(), finished);
        let next = next(run, state, &clusters);
        Self {
            schema: SCHEMA,
            run: run.id.clone(),
            aim: run.aim(),
            by: printable(&run.by),
            started: run.started,
            state,
            process,
            running_seconds: age,
            asked,
            totals: totals(&clusters),
            clusters,
            next,
        }
    }

    /// For people: the clusters under way and those that ended otherwise than well, the others counted.
    #[must_use]
    pub fn text(&self, look: Look) -> String {
        let mut text = format!(
            "Run {}: {}, by {}, started {}\n{}\n\n",
            self.run,
            self.aim,
            self.by,
            moment(self.started),
            self.said()
        );
        let shown: Vec<&ClusterStatus> =
            self.clusters.iter().filter(|cluster| cluster.wants_a_line()).collect();
        if !shown.is_empty() {
            let rows = shown.iter().map(|cluster| cluster.row());
            let table = look.table(["cluster", "state", "step", "for", "doing"], rows, &[0]);
            let _ = writeln!(text, "{table}\n");
        }
        let Totals { clusters, done, not_done, under_way, waiting } = self.totals;
        let _ = writeln!(
            text,
            "{}: {done} done, {not_done} not done, {under_way} under way, {waiting} waiting",
            count(clusters, "cluster")
        );
        for next in &self.next {
            let _ = writeln!(text, "  {}\n      {}", next.why, next.command);
        }
        look.finish(&text)
    }

    fn said(&self) -> String {
        let by = self.asked.as_ref().map_or_else(String::new, |asked| {
            format!(", asked by {} at {}", printable(&asked.by), moment(asked.at))
        });
        let process = self.process.as_ref().map_or_else(String::new, |process| {
            format!(" (process {} on {})", process.pid, printable(&process.machine))
        });
        let state = self.state.as_str();
        match self.state {
            RunState::Running => {
                let time =
                    self.running_seconds.map_or_else(String::new, |age| format!(" for {}", seconds(age)));
                format!("{state}{time}{process}")
            }
            RunState::Paused => {
                format!("{state}{by}{process}: no further cluster is begun, those under way go on")
            }
            RunState::Stopping => format!("{state}{by}{process}: it ends at the next safe point"),
            RunState::Finished => state.to_owned(),
            RunState::Unfinished => {
                format!("{state}: its process is gone, and not every cluster has an end")
            }
        }
    }
}

impl ClusterStatus {
    fn wants_a_line(&self) -> bool {
        self.state != "waiting" && !self.ending.is_some_and(Ending::is_good)
    }

    fn row(&self) -> [String; 5] {
        let none = || "-".to_owned();
        let place = if self.step > 0 { format!("{}/{}", self.step, self.steps) } else { none() };
        let doing = match &self.noted {
            Some(noted) => format!("{}: {noted}", self.doing),
            None => self.doing.clone(),
        };
        let time = self.seconds.map_or_else(none, seconds);
        [self.cluster.clone(), self.state.clone(), place, time, doing]
    }
}

fn cluster(
    name: &str,
    underway: Result<&Underway, &String>,
    now: Timestamp,
    age: Option<u64>,
) -> ClusterStatus {
    let underway = match underway {
        Ok(underway) => underway,
        Err(why) => &Underway::unreadable(why),
    };
    let ending = underway.outcome.as_ref().map(Ending::of);
    let begun = underway.since.is_some();
    let state = match (&underway.outcome, begun, &underway.noted) {
        (Some(outcome), ..) => outcome.as_str(),
        (None, true, _) => "under way",
        (None, false, None) => "waiting",
        (None, false, Some(_)) => "unreadable",
    };
    let failure = underway.outcome.as_ref().and_then(|outcome| outcome.failure());
    // Only of what goes on still: a dead process does nothing, for however long.
    let going_on = begun && ending.is_none();
    let elapsed = |since| (between(since, now).div_euclid(1000)).min(age.unwrap_or(0));
    ClusterStatus {
        cluster: printable(name),
        state: state.to_owned(),
        step: underway.step,
        steps: underway.steps,
        doing: underway.doing.clone(),
        noted: failure.map(|failure| printable(&failure.message)).or_else(|| underway.noted.clone()),
        since: underway.since,
        seconds: underway.since.filter(|_| going_on && age.is_some()).map(elapsed),
        way_back: underway.way_back().filter(|_| age.is_none() || ending.is_some()).cloned(),
        ending,
    }
}

fn totals(clusters: &[ClusterStatus]) -> Totals {
    let mut totals = Totals { clusters: clusters.len(), ..Totals::default() };
    for cluster in clusters {
        match cluster.ending {
            Some(ending) if ending.is_good() => totals.done += 1,
            Some(_) => totals.not_done += 1,
            None if cluster.state == "waiting" => totals.waiting += 1,
            None => totals.under_way += 1,
        }
    }
    totals
}

fn next(run: &Run, state: RunState, clusters: &[ClusterStatus]) -> Vec<Next> {
    let words: &[(&str, &str)] = match state {
        RunState::Running => &[
            ("watch", "to see it go on"),
            ("pause", "to begin no further cluster for now"),
            ("abort", "to end it at the next safe point"),
        ],
        RunState::Paused => &[
            ("resume", "to let it go on"),
            ("abort", "to end it at the next safe point"),
            ("watch", "to see it"),
        ],
        RunState::Stopping => &[("watch", "to see it end")],
        RunState::Finished if clusters.iter().any(|cluster| cluster.way_back.is_some()) => {
            &[("report", "to see how it ended"), ("resume", "to go on with what has not come to its end")]
        }
        RunState::Finished => &[("report", "to see how it ended")],
        RunState::Unfinished if run.target.is_none() => &[("report", "to see how far it came")],
        RunState::Unfinished => &[("resume", "to go on with it"), ("report", "to see how far it came")],
    };
    let fleet = with_places(&run.typed);
    let next = |(word, why): &(&str, &str)| Next {
        command: format!("{fleet} {word} {}", run.id),
        why: (*why).to_owned(),
    };
    let back = clusters.iter().filter_map(|one| Some(one.way_back.as_ref()?.next(&fleet, &one.cluster)));
    words.iter().map(next).chain(back).collect()
}

#[cfg(test)]
mod tests;
