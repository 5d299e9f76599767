//! Simulated hosts and rehearsals on them.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::SelectArgs;
use crate::version::Version;

/// `fleet lab …`
#[derive(Debug, Subcommand)]
pub enum LabSub {
    /// Start simulated hosts, write an inventory for them, and serve until interrupted.
    Up(LabUpArgs),
    /// What a simulated host's stand-in programs call.
    #[command(hide = true)]
    StandIn {
        /// The simulated host's folder.
        #[arg(long)]
        host: PathBuf,
        /// The program that was called, and its arguments.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
        words: Vec<String>,
    },
}

/// `fleet lab up`
#[derive(Debug, Args)]
pub struct LabUpArgs {
    /// The folder for the hosts and their inventory; made if it is not there.
    #[arg(long, default_value = "lab", value_name = "FOLDER")]
    pub folder: PathBuf,
    /// How many hosts.
    #[arg(long, default_value_t = 3, value_name = "N")]
    pub hosts: usize,
    /// The Stackspin version that they have.
    #[arg(long = "stackspin", default_value = "0.6", value_name = "VERSION")]
    pub stackspin: Version,
    /// Applications that they have; all of the version's where none are named.
    #[arg(long, value_delimiter = ',', value_name = "APPS")]
    pub apps: Vec<String>,
    /// A fault to inject on a host, as host=fault; may be given often. `fleet lab up --fault help` lists them.
    #[arg(long, value_name = "HOST=FAULT")]
    pub fault: Vec<String>,
}

/// `fleet rehearse`
#[derive(Debug, Args)]
pub struct RehearseArgs {
    /// Which clusters of the inventory get twins.
    #[command(flatten)]
    pub select: SelectArgs,
    /// The version the twins have.
    #[arg(long = "from", default_value = "0.6", value_name = "VERSION")]
    pub from: Version,
    /// The version to go to.
    #[arg(long, value_name = "VERSION", default_value = "0.7")]
    pub to: Version,
    /// The folder for twins, runs and backups; a temporary one where none is named.
    #[arg(long, value_name = "FOLDER")]
    pub folder: Option<PathBuf>,
    /// A fault to inject on a twin, as cluster=fault; may be given often. `fleet lab up --fault help` lists them.
    #[arg(long, value_name = "CLUSTER=FAULT")]
    pub fault: Vec<String>,
    /// Acknowledge a warning by the check's id; may be given often.
    #[arg(long, value_name = "ID")]
    pub ack: Vec<String>,
}
