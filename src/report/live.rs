//! Progress while a run goes on: lines that move on a terminal, plain lines elsewhere. Both go to standard error, so that standard
//! output stays what was asked for.

use std::io::{IsTerminal, Write as _};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::sync::mpsc::UnboundedReceiver;

use super::board::{Board, Grid};
pub use super::lines::line;
use super::lines::tell;
use crate::event::Event;

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
                grid.say(&STOPPING.join("\n"));
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
        show(events, 1, &Notify::new()).await;
    }
}
