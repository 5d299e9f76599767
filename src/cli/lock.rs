//! Locks of hosts.

use clap::{Args, Subcommand};

use super::LookArgs;

/// `fleet lock …`
#[derive(Debug, Subcommand)]
pub enum LockSub {
    /// Show who has the locks of hosts, what for and since when. Changes nothing.
    Show(LookArgs),
    /// Break the lock of one host whose holder is dead. One that shows life is left alone.
    Break(LockBreakArgs),
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
