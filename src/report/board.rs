//! The lines that move on a terminal: one for each cluster that is being worked on, and the total below.

use std::collections::BTreeMap;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};
use jiff::Timestamp;

use super::lines::line;
use super::underway::Underway;
use crate::event::{Event, Outcome, What};
use crate::form::{between, count, seconds};
use crate::remote::printable;

/// How many clusters have a line of their own on a terminal; the total line counts the others.
const LINES: usize = 50;

/// What the moving lines say: a fold of the events, without a terminal.
#[derive(Debug)]
pub(super) struct Board {
    clusters: usize,
    done: usize,
    not_done: usize,
    running: BTreeMap<String, Underway>,
    /// Whether nothing new is begun for now.
    pub(super) paused: bool,
}

impl Board {
    pub(super) const fn new(clusters: usize) -> Self {
        Self { clusters, done: 0, not_done: 0, running: BTreeMap::new(), paused: false }
    }

    pub(super) fn see(&mut self, event: &Event) {
        let name = printable(&event.cluster);
        if let What::Finished { outcome } = &event.what {
            self.running.remove(&name);
            match outcome {
                Outcome::Done | Outcome::NothingToDo => self.done += 1,
                _ => self.not_done += 1,
            }
            return;
        }
        self.running.entry(name).or_default().see(event);
    }

    /// What stands behind a cluster's name and time.
    fn doing(&self, cluster: &str) -> String {
        self.running.get(cluster).map_or_else(String::new, Underway::said)
    }

    /// The last line.
    pub(super) fn total(&self) -> String {
        let waiting = self.clusters.saturating_sub(self.done + self.not_done + self.running.len());
        let hidden = self.running.len().saturating_sub(LINES);
        let more = if hidden > 0 { format!(" ({hidden} not shown)") } else { String::new() };
        let paused = if self.paused { " (paused)" } else { "" };
        format!(
            "{} of {}: {} done, {} not done, {} running{more}, {waiting} waiting{paused}",
            self.done + self.not_done,
            count(self.clusters, "cluster"),
            self.done,
            self.not_done,
            self.running.len()
        )
    }
}

/// The moving lines on the terminal.
pub(super) struct Grid {
    lines: MultiProgress,
    bars: BTreeMap<String, ProgressBar>,
    total: ProgressBar,
    width: usize,
    style: ProgressStyle,
    /// No older than this is anything that is shown, whatever the clock says.
    age: Duration,
}

impl Grid {
    pub(super) fn new(age: Duration) -> Self {
        let lines = MultiProgress::with_draw_target(ProgressDrawTarget::stderr());
        let style = ProgressStyle::with_template("{prefix} {took:>11}  {wide_msg}")
            .unwrap_or_else(|_| ProgressStyle::default_spinner())
            .with_key("took", |state: &ProgressState, out: &mut dyn std::fmt::Write| {
                // Whole seconds: a line that says `340 ms` would say it for a whole second.
                let _ = write!(out, "{}", seconds(state.elapsed().as_secs()));
            });
        let total = lines.add(ProgressBar::new_spinner().with_style(style.clone()).with_prefix("total"));
        Self { lines, bars: BTreeMap::new(), total, width: "total".len(), style, age }
    }

    pub(super) fn see(&mut self, event: &Event, board: &Board) {
        let name = printable(&event.cluster);
        if let What::Finished { .. } = event.what {
            if let Some(bar) = self.bars.remove(&name) {
                bar.finish_and_clear();
                self.lines.remove(&bar);
            }
            if let Some(line) = line(event) {
                let _ = self.lines.println(line);
            }
        } else {
            if !self.bars.contains_key(&name) && self.bars.len() < LINES {
                self.add(&name);
            }
            if let Some(bar) = self.bars.get(&name) {
                if let What::StepStarted { .. } = event.what {
                    bar.set_elapsed(self.age.min(Duration::from_millis(between(event.at, Timestamp::now()))));
                }
                bar.set_message(board.doing(&name));
            }
        }
        self.total(board);
    }

    fn add(&mut self, name: &str) {
        let bar = ProgressBar::new_spinner().with_style(self.style.clone());
        let bar = self.lines.insert_before(&self.total, bar);
        self.bars.insert(name.to_owned(), bar);
        self.width = self.width.max(name.chars().count());
        for (name, bar) in &self.bars {
            bar.set_prefix(format!("{name:>width$}", width = self.width));
        }
        self.total.set_prefix(format!("{:>width$}", "total", width = self.width));
    }

    pub(super) fn total(&self, board: &Board) {
        self.total.set_message(board.total());
    }

    pub(super) fn tick(&self) {
        self.bars.values().for_each(ProgressBar::tick);
        self.total.tick();
    }

    /// Text above the moving lines.
    pub(super) fn say(&self, text: &str) {
        // A terminal that is gone does not stop the work.
        let _ = self.lines.println(text);
    }

    pub(super) fn clear(&self) {
        let _ = self.lines.clear();
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::event::{Failure, Left, StepEnd};
    use crate::plan::Class;

    pub(in crate::report) fn event(cluster: &str, what: What) -> Event {
        Event { seq: 1, at: "2026-11-22T12:03:07Z".parse().unwrap(), cluster: cluster.into(), what }
    }

    pub(in crate::report) fn started(cluster: &str, step: &str) -> Event {
        let (step, title) = (step.to_owned(), format!("Do {step}"));
        event(cluster, What::StepStarted { step, title, class: Class::Undoable, expected_seconds: 120 })
    }

    pub(in crate::report) fn planned(cluster: &str, migration: &str, steps: &[&str]) -> Event {
        event(
            cluster,
            What::Planned {
                migration: migration.into(),
                from: crate::version::Version::V0_6,
                to: crate::version::Version::V0_7,
                steps: steps.iter().map(|step| (*step).to_owned()).collect(),
                expected_seconds: 1,
                downtime_seconds: 1,
            },
        )
    }

    #[test]
    fn nothing_of_a_host_acts_upon_the_terminal() {
        let evil = || "a\u{1b}]0;pwn\u{7}\r\nb\u{202e}".to_owned();
        // Built by hand, not by `Failure::new`, which would clean it.
        let failure = || Failure { cause: evil(), message: evil(), read: evil() };
        let events = [
            What::Begun { address: evil() },
            What::StepStarted { step: evil(), title: evil(), class: Class::ReadOnly, expected_seconds: 1 },
            What::StepEnded { step: evil(), end: StepEnd::Failed(failure()), took_ms: 1 },
            What::Remedied { step: evil(), remedy: evil(), object: evil(), time: 1 },
            What::Proven { backup: evil(), folder: evil(), files: 1, bytes: 1 },
            What::Finished { outcome: Outcome::InDoubt { step: evil(), failure: failure() } },
        ];
        let mut board = Board::new(1);
        for what in events {
            let event = event(&evil(), what);
            board.see(&event);
            let shown = [line(&event).unwrap(), board.doing(&printable(&evil())), board.total()];
            for text in shown {
                assert!(!text.chars().any(|c| c.is_control() || c == '\u{202e}'), "{text:?}");
            }
        }
    }

    #[test]
    fn the_board_counts_steps_and_clusters() {
        let mut board = Board::new(4);
        board.see(&event("acme", What::Begun { address: "x".into() }));
        assert_eq!(board.doing("acme"), "logging in");
        board.see(&planned("acme", "to-0.7", &["backup/copy", "to-0.7/wait"]));
        board.see(&started("acme", "backup/copy"));
        assert_eq!(board.doing("acme"), "1/2 Do backup/copy");
        board.see(&started("acme", "to-0.7/wait"));
        board.see(&planned("acme", "to-0.8", &["to-0.8/a", "to-0.8/b"]));
        board.see(&started("acme", "to-0.8/a"));
        assert_eq!(board.doing("acme"), "3/4 Do to-0.8/a");
        board.see(&started("birch", "backup/copy"));
        board.see(&event("cedar", What::Finished { outcome: Outcome::NothingToDo }));
        board.see(&event("acme", What::Finished { outcome: Outcome::Interrupted { state: Left::Clean } }));
        assert_eq!(board.total(), "2 of 4 clusters: 1 done, 1 not done, 1 running, 1 waiting");
        assert_eq!(board.doing("acme"), "");
    }

    #[test]
    fn clusters_without_a_line_are_counted() {
        let mut board = Board::new(100);
        for index in 0..60 {
            board.see(&started(&format!("c{index:02}"), "backup/copy"));
        }
        assert_eq!(
            board.total(),
            "0 of 100 clusters: 0 done, 0 not done, 60 running (10 not shown), 40 waiting"
        );
    }

    #[test]
    fn the_moving_lines_never_are_more_than_fit() {
        let (mut board, mut grid) = (Board::new(60), Grid::new(Duration::ZERO));
        grid.lines.set_draw_target(ProgressDrawTarget::hidden());
        for index in 0..60 {
            let event = started(&format!("c{index:02}"), "backup/copy");
            board.see(&event);
            grid.see(&event, &board);
        }
        assert_eq!(grid.bars.len(), LINES);
        assert_eq!(grid.bars["c00"].prefix(), "  c00");
        let end = event("c00", What::Finished { outcome: Outcome::Done });
        board.see(&end);
        grid.see(&end, &board);
        assert_eq!(grid.bars.len(), LINES - 1);
        // A line that came free is taken by the next cluster that has something to tell.
        let event = started("c59", "to-0.7/wait");
        board.see(&event);
        grid.see(&event, &board);
        assert_eq!(grid.bars["c59"].message(), "2/2 Do to-0.7/wait");
    }
}
