//! Locks of hosts.

use clap::{Args, Subcommand};

use super::{FormatArgs, SelectArgs, at_least_one};

/// `fleet lock …`
#[derive(Debug, Subcommand)]
pub enum LockSub {
    /// Show who has the locks of hosts, what for and since when. Changes nothing.
    Show(LockShowArgs),
    /// Break the lock of one host whose holder is dead. One that shows life is left alone.
    Break(LockBreakArgs),
}

/// `fleet lock show`
#[derive(Debug, Args)]
pub struct LockShowArgs {
    /// Which clusters.
    #[command(flatten)]
    pub select: SelectArgs,
    /// How many hosts at once.
    #[arg(long, default_value_t = 20, value_name = "N", value_parser = at_least_one())]
    pub parallel: usize,
    /// The format.
    #[command(flatten)]
    pub format: FormatArgs,
}

/// `fleet lock break`
#[derive(Debug, Args)]
pub struct LockBreakArgs {
    /// The cluster's name.
    #[arg(value_name = "NAME")]
    pub cluster: String,
    /// Why its holder is taken to be dead. Written down here and on the host.
    #[arg(long, value_name = "TEXT")]
    pub why: String,
}
