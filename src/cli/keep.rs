//! What is kept here and on hosts, and one cluster's API.

use std::ffi::OsString;

use clap::{Args, Subcommand};

use super::{FormatArgs, LookArgs};

/// `fleet backup …`
#[derive(Debug, Subcommand)]
pub enum BackupSub {
    /// List the backups and whether each is proven.
    List {
        /// Of this cluster only.
        cluster: Option<String>,
        /// The format.
        #[command(flatten)]
        format: FormatArgs,
    },
    /// Read a whole backup back and prove it again.
    Verify {
        /// The cluster.
        cluster: String,
        /// The backup's id; the newest where none is named.
        id: Option<String>,
    },
}

/// `fleet doctor`
#[derive(Debug, Args)]
pub struct DoctorArgs {
    /// Remove what is over or in doubt: never a job that runs, never a timer whose change is not undone.
    #[arg(long)]
    pub clean: bool,
    /// Where.
    #[command(flatten)]
    pub look: LookArgs,
}

/// `fleet tunnel`
#[derive(Debug, Args)]
pub struct TunnelArgs {
    /// The cluster.
    pub cluster: String,
    /// The program and its arguments, after `--`. Without one, the kubeconfig's path is printed and served until Ctrl-C.
    #[arg(last = true, value_name = "PROGRAM")]
    pub program: Vec<OsString>,
}
