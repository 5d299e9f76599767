//! The cluster's variables.

use std::time::Duration;

use clap::{Args, Subcommand};

use super::{FormatArgs, SelectArgs, VisitArgs, at_least_one};
use crate::form::parse_time;

/// `fleet vars …`
#[derive(Debug, Subcommand)]
pub enum VarsSub {
    /// Show what differs between `.flux.env` here and the cluster's Secret; values are not shown. Changes nothing.
    Diff(VarsDiffArgs),
    /// Put what differs into the cluster, and have every kustomization reconciled.
    Apply(VarsApplyArgs),
}

/// `fleet vars diff`
#[derive(Debug, Args)]
pub struct VarsDiffArgs {
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
