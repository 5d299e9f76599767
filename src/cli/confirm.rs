//! A person's word that what a step asks for is done.

use clap::Args;

/// `fleet confirm`
#[derive(Debug, Args)]
pub struct ConfirmArgs {
    /// The run's id, or `last`.
    pub run: String,
    /// The cluster.
    pub cluster: String,
    /// The step that asks, as the report names it.
    pub step: String,
    /// What you want to be remembered of it: kept in the journal and in the report.
    #[arg(long, value_name = "TEXT")]
    pub note: Option<String>,
}
