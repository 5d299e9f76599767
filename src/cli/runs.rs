//! Runs: those that were and those under way.

use clap::Args;

use super::FormatArgs;

/// `fleet report`
#[derive(Debug, Args)]
pub struct ReportArgs {
    /// The run's id, or `last`.
    pub run: String,
    /// The format of what is printed; the report files are always made.
    #[command(flatten)]
    pub format: FormatArgs,
}
