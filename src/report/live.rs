//! Progress while a run goes on: lines that move on a terminal, plain lines elsewhere. Both go to standard error, so that standard
//! output stays what was asked for.

use std::io::{IsTerminal, Write as _};
use std::time::Duration;

use tokio::sync::mpsc::UnboundedReceiver;

use super::board::{Board, Grid};
pub use super::lines::line;
use super::lines::tell;
use crate::event::Event;
use crate::remote::printable;

/// What becomes of the run as a whole, for whoever looks at it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct News {
    /// Lines of at most 80 columns: a line that wraps would be overwritten by the moving ones.
    pub said: String,
    /// Whether nothing new is begun from now on until there is other news.
    pub paused: bool,
}

impl News {
    /// It stops at the next safe point.
    #[must_use]
    pub fn stopping(by: &str) -> Self {
        let said = format!(
            "stopping, asked by {}:\nnothing new is started, clusters under way go on to a safe point",
            printable(by)
        );
        Self { said, paused: false }
    }

    /// Nothing new is begun.
    #[must_use]
    pub fn paused(by: &str, run: &str) -> Self {
        let said = format!(
            "paused by {}: no further cluster is begun, those under way go on;\nfleet resume {} lets it go on",
            printable(by),
            printable(run)
        );
        Self { said, paused: true }
    }

    /// Clusters are begun again.
    #[must_use]
    pub fn goes_on(by: &str) -> Self {
        Self { said: format!("goes on, says {}", printable(by)), paused: false }
    }
}

/// Shows events as they come, until every sender of them is gone. `clusters` is how many the run has; `age` is how long it was under way
/// before: no step is older.
pub async fn show(
    mut events: UnboundedReceiver<Event>,
    clusters: usize,
    mut news: UnboundedReceiver<News>,
    age: Duration,
) {
    if !std::io::stderr().is_terminal() {
        loop {
            tokio::select! {
                event = events.recv() => {
                    let Some(event) = event else { return };
                    tell(&mut std::io::stderr().lock(), &event);
                }
                Some(news) = news.recv() => {
                    let _ = writeln!(std::io::stderr().lock(), "{}", news.said);
                }
            }
        }
    }
    let mut board = Board::new(clusters);
    let mut grid = Grid::new(age);
    let mut second = tokio::time::interval(Duration::from_secs(1));
    grid.total(&board);
    loop {
        tokio::select! {
            event = events.recv() => {
                let Some(event) = event else { break };
                board.see(&event);
                grid.see(&event, &board);
            }
            Some(news) = news.recv() => {
                grid.say(&news.said);
                board.paused = news.paused;
                grid.total(&board);
            }
            _ = second.tick() => grid.tick(),
        }
    }
    grid.clear();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Outcome, What};
    use crate::report::board::tests::event;

    #[tokio::test]
    async fn showing_ends_when_every_sender_is_gone() {
        let (sender, events) = tokio::sync::mpsc::unbounded_channel();
        sender.send(event("acme", What::Finished { outcome: Outcome::Done })).unwrap();
        drop(sender);
        let (_news, heard) = tokio::sync::mpsc::unbounded_channel();
        show(events, 1, heard, Duration::ZERO).await;
    }
}
