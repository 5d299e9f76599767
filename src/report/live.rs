//! Progress while a run goes on: lines that move on a terminal, plain lines elsewhere. Both go to standard error, so that standard
//! output stays what was asked for.

use std::collections::BTreeMap;
use std::io::{IsTerminal, Write};
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};
use tokio::sync::Notify;
use tokio::sync::mpsc::UnboundedReceiver;

use crate::event::{Event, Failure, Left, Outcome, StepEnd, What};
use crate::form::{bytes, clock, count, seconds, span};
use crate::remote::printable;

/// How many clusters have a line of their own on a terminal; the total line counts the others.
const LINES: usize = 50;

/// What the operator reads after the first Ctrl-C. Two lines, so that neither wraps on 80 columns: moving lines would overwrite it.
const STOPPING: [&str; 2] = [
    "stopping: nothing new is started, clusters under way go on to a safe point;",
    "press Ctrl-C again to let go of them at once",
];

/// Shows events as they come, until every sender is gone. `clusters` is how many the run has; `stopping` is notified when the operator
/// asks to stop.
pub async fn show(mut events: UnboundedReceiver<Event>, clusters: usize, stopping: &Notify) {
    if !std::io::stderr().is_terminal() {
        loop {
            tokio::select! {
                event = events.recv() => {
                    let Some(event) = event else { return };
                    tell(&mut std::io::stderr().lock(), &event);
                }
                () = stopping.notified() => {
                    let _ = writeln!(std::io::stderr().lock(), "{}", STOPPING.join("\n"));
                }
            }
        }
    }
    let mut board = Board::new(clusters);
    let mut grid = Grid::new();
    let mut second = tokio::time::interval(Duration::from_secs(1));
    grid.total(&board);
    loop {
        tokio::select! {
            event = events.recv() => {
                let Some(event) = event else { break };
                board.see(&event);
                grid.see(&event, &board);
            }
            () = stopping.notified() => {
                let _ = grid.lines.println(STOPPING.join("\n"));
            }
            _ = second.tick() => grid.tick(),
        }
    }
    grid.clear();
}

/// Writes an event's plain line, if it has one. A reader that is gone does not stop the work.
fn tell(out: &mut impl Write, event: &Event) {
    if let Some(line) = line(event) {
        let _ = writeln!(out, "{line}");
    }
}

/// An event as a plain line: `12:03:07 acme  backup/copy started`. None for events that only the report tells.
#[must_use]
pub fn line(event: &Event) -> Option<String> {
    let said = match &event.what {
        What::Begun { address } => format!("begun: {address}"),
        What::StepStarted { step, expected_seconds, .. } => {
            format!("{step} started, about {}", seconds(*expected_seconds))
        }
        What::StepEnded { step, end, took_ms } => match end {
            StepEnd::Done => format!("{step} done after {}", span(*took_ms)),
            StepEnd::Failed(failure) => format!("{step} FAILED after {}: {}", span(*took_ms), why(failure)),
            StepEnd::InDoubt(failure) => {
                format!("{step} IN DOUBT after {}: {}", span(*took_ms), why(failure))
            }
        },
        What::Remedied { step, remedy, object, time } => {
            format!("{step} uses remedy {remedy} on {object}, time {time}")
        }
        What::Proven { backup, files, bytes: size, .. } => {
            format!("backup {backup} is proven: {files} files, {}", bytes(*size))
        }
        What::Finished { outcome } => finished(outcome),
        What::Connected { .. }
        | What::Gathered { .. }
        | What::Judged { .. }
        | What::Planned { .. }
        | What::Ran { .. }
        | What::Noted { .. }
        | What::Unknown => return None,
    };
    // Cleaned once more at the edge: whatever wrote the event, nothing of a host acts upon this terminal.
    Some(format!("{} {}  {}", clock(event.at), printable(&event.cluster), printable(&said)))
}

fn why(failure: &Failure) -> String {
    format!("{} ({})", failure.message, failure.cause)
}

fn finished(outcome: &Outcome) -> String {
    let mut said = format!("ENDED: {}", outcome.as_str());
    match outcome {
        Outcome::Failed { state: Left::Dirty { at }, .. }
        | Outcome::Interrupted { state: Left::Dirty { at } } => {
            said = format!("{said}, left at {at}");
        }
        Outcome::InDoubt { step, .. } => said = format!("{said} at {step}"),
        _ => {}
    }
    match outcome.failure() {
        Some(failure) => format!("{said}: {}", why(failure)),
        None => said,
    }
}

/// What the moving lines say: a fold of the events, without a terminal.
#[derive(Debug)]
struct Board {
    clusters: usize,
    done: usize,
    not_done: usize,
    running: BTreeMap<String, Running>,
}

/// A cluster that is being worked on.
#[derive(Debug, Default)]
struct Running {
    step: usize,
    steps: usize,
    doing: String,
}

impl Board {
    const fn new(clusters: usize) -> Self {
        Self { clusters, done: 0, not_done: 0, running: BTreeMap::new() }
    }

    fn see(&mut self, event: &Event) {
        let name = printable(&event.cluster);
        if let What::Finished { outcome } = &event.what {
            self.running.remove(&name);
            match outcome {
                Outcome::Done | Outcome::NothingToDo => self.done += 1,
                _ => self.not_done += 1,
            }
            return;
        }
        let running = self.running.entry(name).or_default();
        match &event.what {
            What::Begun { .. } => "logging in".clone_into(&mut running.doing),
            What::Connected { .. } => "asking for facts".clone_into(&mut running.doing),
            What::Gathered { .. } => "judging checks".clone_into(&mut running.doing),
            // A further rung counts on: its steps come after those of the rung before.
            What::Planned { steps, .. } => running.steps = running.step + steps.len(),
            What::StepStarted { title, .. } => {
                running.step += 1;
                running.doing = printable(title);
            }
            _ => {}
        }
    }

    /// What stands behind a cluster's name and time.
    fn doing(&self, cluster: &str) -> String {
        match self.running.get(cluster) {
            Some(Running { step, steps, doing }) if *step > 0 => {
                format!("{step}/{} {doing}", (*steps).max(*step))
            }
            Some(running) => running.doing.clone(),
            None => String::new(),
        }
    }

    /// The last line.
    fn total(&self) -> String {
        let waiting = self.clusters.saturating_sub(self.done + self.not_done + self.running.len());
        let hidden = self.running.len().saturating_sub(LINES);
        let more = if hidden > 0 { format!(" ({hidden} not shown)") } else { String::new() };
        format!(
            "{} of {}: {} done, {} not done, {} running{more}, {waiting} waiting",
            self.done + self.not_done,
            count(self.clusters, "cluster"),
            self.done,
            self.not_done,
            self.running.len()
        )
    }
}

/// The moving lines on the terminal.
struct Grid {
    lines: MultiProgress,
    bars: BTreeMap<String, ProgressBar>,
    total: ProgressBar,
    width: usize,
    style: ProgressStyle,
}

impl Grid {
    fn new() -> Self {
        let lines = MultiProgress::with_draw_target(ProgressDrawTarget::stderr());
        let style = ProgressStyle::with_template("{prefix} {took:>11}  {wide_msg}")
            .unwrap_or_else(|_| ProgressStyle::default_spinner())
            .with_key("took", |state: &ProgressState, out: &mut dyn std::fmt::Write| {
                // Whole seconds: a line that says `340 ms` would say it for a whole second.
                let _ = write!(out, "{}", seconds(state.elapsed().as_secs()));
            });
        let total = lines.add(ProgressBar::new_spinner().with_style(style.clone()).with_prefix("total"));
        Self { lines, bars: BTreeMap::new(), total, width: "total".len(), style }
    }

    fn see(&mut self, event: &Event, board: &Board) {
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
                    bar.reset_elapsed();
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

    fn total(&self, board: &Board) {
        self.total.set_message(board.total());
    }

    fn tick(&self) {
        self.bars.values().for_each(ProgressBar::tick);
        self.total.tick();
    }

    fn clear(&self) {
        let _ = self.lines.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Class;

    fn event(cluster: &str, what: What) -> Event {
        Event { seq: 1, at: "2026-11-22T12:03:07Z".parse().unwrap(), cluster: cluster.into(), what }
    }

    fn started(cluster: &str, step: &str) -> Event {
        let (step, title) = (step.to_owned(), format!("Do {step}"));
        event(cluster, What::StepStarted { step, title, class: Class::Undoable, expected_seconds: 120 })
    }

    fn story() -> Vec<Event> {
        let step = || "to-0.7/wait".to_owned();
        let failure = || Failure::new("deadline", "no end within 600 s");
        let ended = |end| event("acme", What::StepEnded { step: step(), end, took_ms: 125_000 });
        let finished = |outcome| event("acme", What::Finished { outcome });
        vec![
            event("acme", What::Begun { address: "root@203.0.113.7:22".into() }),
            event("acme", What::Connected { host_key: "SHA256:x".into() }),
            started("acme", "backup/copy"),
            event("acme", What::Ran { step: step(), line: "true".into(), exit: "0".into(), took_ms: 1 }),
            event("acme", What::Noted { step: step(), text: "a note".into() }),
            event(
                "acme",
                What::Proven { backup: "b1".into(), folder: "f".into(), files: 12, bytes: 1_503_238_553 },
            ),
            event(
                "acme",
                What::Remedied { step: step(), remedy: "loki".into(), object: "a/b".into(), time: 2 },
            ),
            ended(StepEnd::Done),
            ended(StepEnd::Failed(failure())),
            ended(StepEnd::InDoubt(failure())),
            finished(Outcome::Done),
            finished(Outcome::NothingToDo),
            finished(Outcome::Refused { failure: failure() }),
            finished(Outcome::Unreachable { failure: failure() }),
            finished(Outcome::Failed { step: None, state: Left::Clean, failure: failure() }),
            finished(Outcome::Failed {
                step: Some(step()),
                state: Left::Dirty { at: step() },
                failure: failure(),
            }),
            finished(Outcome::InDoubt { step: step(), failure: failure() }),
            finished(Outcome::Interrupted { state: Left::Dirty { at: step() } }),
        ]
    }

    #[test]
    fn plain_lines_tell_starts_ends_and_outcomes() {
        let mut out = Vec::new();
        for event in story() {
            tell(&mut out, &event);
        }
        insta::assert_snapshot!(String::from_utf8(out).unwrap());
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
        let planned = |steps: &[&str]| {
            event(
                "acme",
                What::Planned {
                    migration: "to-0.7".into(),
                    from: crate::version::Version::V0_6,
                    to: crate::version::Version::V0_7,
                    steps: steps.iter().map(|step| (*step).to_owned()).collect(),
                    expected_seconds: 1,
                    downtime_seconds: 1,
                },
            )
        };
        board.see(&event("acme", What::Begun { address: "x".into() }));
        assert_eq!(board.doing("acme"), "logging in");
        board.see(&planned(&["backup/copy", "to-0.7/wait"]));
        board.see(&started("acme", "backup/copy"));
        assert_eq!(board.doing("acme"), "1/2 Do backup/copy");
        board.see(&started("acme", "to-0.7/wait"));
        board.see(&planned(&["to-0.8/a", "to-0.8/b"]));
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
        let (mut board, mut grid) = (Board::new(60), Grid::new());
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

    #[tokio::test]
    async fn showing_ends_when_every_sender_is_gone() {
        let (sender, events) = tokio::sync::mpsc::unbounded_channel();
        sender.send(event("acme", What::Finished { outcome: Outcome::Done })).unwrap();
        drop(sender);
        show(events, 1, &Notify::new()).await;
    }
}
