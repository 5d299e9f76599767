//! What only asks clusters and changes nothing.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::{FormatArgs, SelectArgs, at_least_one};
use crate::form::parse_time;
use crate::version::Version;

/// `fleet facts`, and the others that only look at clusters and show what they found.
#[derive(Debug, Args)]
pub struct LookArgs {
    /// Which clusters.
    #[command(flatten)]
    pub select: SelectArgs,
    /// The format.
    #[command(flatten)]
    pub format: FormatArgs,
    /// How many hosts at once.
    #[arg(long, default_value_t = 20, value_name = "N", value_parser = at_least_one())]
    pub parallel: usize,
}

/// `fleet check`
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// Which clusters.
    #[command(flatten)]
    pub select: SelectArgs,
    /// The format.
    #[command(flatten)]
    pub format: FormatArgs,
    /// Acknowledge a warning by the check's id; may be given often.
    #[arg(long, value_name = "ID")]
    pub ack: Vec<String>,
    /// How many hosts at once.
    #[arg(long, default_value_t = 20, value_name = "N", value_parser = at_least_one())]
    pub parallel: usize,
}

/// `fleet plan`
#[derive(Debug, Args)]
pub struct PlanArgs {
    /// Which clusters.
    #[command(flatten)]
    pub select: SelectArgs,
    /// The format.
    #[command(flatten)]
    pub format: FormatArgs,
    /// The version to go to.
    #[arg(long, value_name = "VERSION", default_value = "0.7")]
    pub to: Version,
    /// Acknowledge a warning by the check's id; may be given often.
    #[arg(long, value_name = "ID")]
    pub ack: Vec<String>,
    /// Agree that all data of a cluster of before 0.3 is deleted on the way to 0.3, once its backup is proven.
    #[arg(long)]
    pub accept_data_loss: bool,
    /// Also write the plans to this file, for `fleet apply`. One that is there is not written over.
    #[arg(long, short, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// How long the written plans are good: 90m, 2h, 7d.
    #[arg(long, value_name = "TIME", default_value = "24h", value_parser = parse_time)]
    pub expires: Duration,
    /// How many hosts at once.
    #[arg(long, default_value_t = 20, value_name = "N", value_parser = at_least_one())]
    pub parallel: usize,
}
