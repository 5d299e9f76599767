//! What is left to do after an upgrade.

use clap::{Args, ValueEnum};

use super::VisitArgs;

/// The upgrades that leave something to clean up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Release {
    /// The renaming to Stackspin.
    #[value(name = "0.8")]
    V0_8,
}

/// `fleet cleanup`
#[derive(Debug, Args)]
pub struct CleanupArgs {
    /// After the upgrade to which version.
    #[arg(value_name = "VERSION")]
    pub release: Release,
    /// Do not ask: what is shown is what is wanted.
    #[arg(long)]
    pub yes: bool,
    /// Acknowledge a warning by the check's id; may be given often.
    #[arg(long, value_name = "ID")]
    pub ack: Vec<String>,
    /// Delete this old object too, though its copy is missing or differs: flux-system/oas-NAME-variables; may be given often.
    #[arg(long, value_name = "NAMESPACE/NAME")]
    pub also: Vec<String>,
    /// Where and how.
    #[command(flatten)]
    pub visit: VisitArgs,
}
