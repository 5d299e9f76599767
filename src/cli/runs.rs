//! Runs: those that were and those under way.

use clap::Args;

use super::FormatArgs;

/// `fleet watch`, `fleet pause`, `fleet abort`
#[derive(Debug, Args)]
pub struct RunArgs {
    /// The run's id, or `last`.
    pub run: String,
}

/// `fleet status`
#[derive(Debug, Args)]
pub struct StatusArgs {
    /// The run's id, or `last`.
    pub run: String,
    /// The format.
    #[command(flatten)]
    pub format: FormatArgs,
}

/// `fleet report`
#[derive(Debug, Args)]
pub struct ReportArgs {
    /// The run's id, or `last`.
    pub run: String,
    /// The format of what is printed; the report files are always made.
    #[command(flatten)]
    pub format: FormatArgs,
}
