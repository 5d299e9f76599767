//! Putting a backup back.

use std::path::PathBuf;

use clap::Args;

use super::NetworkArgs;

/// `fleet restore`
#[derive(Debug, Args)]
pub struct RestoreArgs {
    /// The backup's id, as `fleet backup list` shows it, or `last` for the newest proven one; of another cluster, CLUSTER/ID or
    /// CLUSTER/last.
    #[arg(value_name = "BACKUP")]
    pub backup: String,
    /// The cluster. Where it is another than that of the backup, it gets the volumes' data alone, claim by claim.
    #[arg(long, value_name = "CLUSTER")]
    pub to: String,
    /// Where each claim goes on another cluster, for those that are not called alike: a TOML file of "namespace/claim" =
    /// "namespace/claim" or "skip".
    #[arg(long, value_name = "FILE")]
    pub map: Option<PathBuf>,
    /// Print that file as far as it is known, for you to complete, and do nothing else.
    #[arg(long, conflicts_with_all = ["map", "yes", "any_k3s"])]
    pub print_map: bool,
    /// Do not ask whether what is live may be put aside.
    #[arg(long)]
    pub yes: bool,
    /// Take whichever k3s the host has, though another wrote the datastore.
    #[arg(long)]
    pub any_k3s: bool,
    /// The network.
    #[command(flatten)]
    pub network: NetworkArgs,
}
