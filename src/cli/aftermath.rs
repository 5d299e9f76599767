//! What is left to do after an upgrade.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};

use super::{FormatArgs, VisitArgs};
use crate::form::parse_time;

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

/// `fleet nextcloud …`
#[derive(Debug, Subcommand)]
pub enum NextcloudSub {
    /// List the users. Changes nothing.
    Users {
        /// The cluster.
        cluster: String,
        /// The format.
        #[command(flatten)]
        format: FormatArgs,
    },
    /// Give the files of users from before 0.8 to who they are now, by a map.
    TransferFiles(TransferArgs),
}

/// `fleet nextcloud transfer-files`
#[derive(Debug, Args)]
pub struct TransferArgs {
    /// The cluster.
    pub cluster: String,
    /// Who is who: `old,new` a line, or `"old" = "new"` in a file whose name ends in .toml.
    #[arg(long, value_name = "FILE")]
    pub map: PathBuf,
    /// Do not ask: what is shown is what is wanted.
    #[arg(long)]
    pub yes: bool,
    /// Those too whose files were transferred before, or whose transfer was begun.
    #[arg(long)]
    pub again: bool,
    /// How long one user's files may take.
    #[arg(long, value_name = "TIME", default_value = "2h", value_parser = parse_time)]
    pub each: Duration,
    /// The format.
    #[command(flatten)]
    pub format: FormatArgs,
}
