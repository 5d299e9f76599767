//! The cluster's variables.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};

use super::{LookArgs, VisitArgs};
use crate::form::parse_time;

/// `fleet vars …`
#[derive(Debug, Subcommand)]
pub enum VarsSub {
    /// Show what differs between `.flux.env` here and the cluster's Secret; values are not shown. Changes nothing.
    Diff(LookArgs),
    /// Put what differs into the cluster, and have every kustomization reconciled.
    Apply(VarsApplyArgs),
    /// Make a `.flux.env` of a settings.yml of 0.3 to 0.5. Asks no cluster.
    Convert(VarsConvertArgs),
}

/// `fleet vars apply`
#[derive(Debug, Args)]
pub struct VarsApplyArgs {
    /// Do not ask: what is shown is what is wanted.
    #[arg(long)]
    pub yes: bool,
    /// How long each kustomization may take to be reconciled.
    #[arg(long, value_name = "TIME", default_value = "5m", value_parser = parse_time)]
    pub each: Duration,
    /// Where and how.
    #[command(flatten)]
    pub visit: VisitArgs,
}

/// `fleet vars convert`
#[derive(Debug, Args)]
pub struct VarsConvertArgs {
    /// The settings: `group_vars/all/settings.yml` in the cluster's directory.
    #[arg(value_name = "SETTINGS")]
    pub settings: PathBuf,
    /// Where the variables go. Only you can read it: it holds passwords.
    #[arg(long, short, value_name = "FILE")]
    pub out: PathBuf,
    /// `install/.flux.env.example` of the release that comes next: its variables are those that are wanted.
    #[arg(long, value_name = "FILE")]
    pub example: Option<PathBuf>,
    /// Write over a file that is there.
    #[arg(long)]
    pub replace: bool,
}
