//! Putting a backup back.

use clap::Args;

use super::NetworkArgs;

/// `fleet restore`
#[derive(Debug, Args)]
pub struct RestoreArgs {
    /// The backup's id, as `fleet backup list` shows it, or `last` for the cluster's newest proven one.
    #[arg(value_name = "BACKUP")]
    pub backup: String,
    /// The cluster.
    #[arg(long, value_name = "CLUSTER")]
    pub to: String,
    /// Do not ask whether what was written since may be lost.
    #[arg(long)]
    pub yes: bool,
    /// Take whichever k3s the host has, though another wrote the datastore.
    #[arg(long)]
    pub any_k3s: bool,
    /// The network.
    #[command(flatten)]
    pub network: NetworkArgs,
}
