//! Maintenance windows.

use std::time::Duration;

use clap::{Args, Subcommand};

use super::{BudgetArgs, FormatArgs, LookArgs, SelectArgs, at_least_one};
use crate::form::{parse_time, seconds};
use crate::window::LONGEST;

/// `fleet window …` and `fleet k3s-window …`
#[derive(Debug, Subcommand)]
pub enum WindowSub {
    /// Show how the window is: open or shut, until when, and what the night does with it. Changes nothing.
    Show(LookArgs),
    /// Open it for a time. A timer on the host shuts it again, whoever dies.
    Open(WindowOpenArgs),
    /// Shut it now.
    Close(WindowCloseArgs),
}

/// `fleet window open`
#[derive(Debug, Args)]
pub struct WindowOpenArgs {
    /// For how long: 30m, 2h; at most 24h. As long as the nightly window if left out, or 2h where there is none.
    #[arg(long = "for", value_name = "TIME", value_parser = a_day_at_most)]
    pub time: Option<Duration>,
    /// Where and how.
    #[command(flatten)]
    pub visit: VisitArgs,
}

/// `fleet window close`
#[derive(Debug, Args)]
pub struct WindowCloseArgs {
    /// Where and how.
    #[command(flatten)]
    pub visit: VisitArgs,
}

/// A short piece of work on many clusters.
#[derive(Debug, Args)]
pub struct VisitArgs {
    /// Which clusters.
    #[command(flatten)]
    pub select: SelectArgs,
    /// The format.
    #[command(flatten)]
    pub format: FormatArgs,
    /// How many hosts at once.
    #[arg(long, default_value_t = 20, value_name = "N", value_parser = at_least_one())]
    pub parallel: usize,
    /// How much may go wrong.
    #[command(flatten)]
    pub budget: BudgetArgs,
}

fn a_day_at_most(text: &str) -> Result<Duration, String> {
    match parse_time(text)? {
        time if time <= LONGEST => Ok(time),
        _ => Err(format!("a window is open for {} at most", seconds(LONGEST.as_secs()))),
    }
}
