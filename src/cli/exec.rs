//! A command on many hosts.

use std::path::PathBuf;

use clap::Args;
use clap::builder::RangedU64ValueParser;

use super::{BudgetArgs, FormatArgs, SelectArgs, at_least_one};

/// `fleet exec`
#[derive(Debug, Args)]
pub struct ExecArgs {
    /// Which clusters.
    #[command(flatten)]
    pub select: SelectArgs,
    /// The format.
    #[command(flatten)]
    pub format: FormatArgs,
    /// Run this file of this machine with sh on each host; it is not written there. Words after `--` are its arguments.
    #[arg(long, value_name = "FILE")]
    pub script: Option<PathBuf>,
    /// How many hosts at once.
    #[arg(long, default_value_t = 50, value_name = "N", value_parser = at_least_one())]
    pub parallel: usize,
    /// After so many seconds a host's command is given up, and in doubt.
    #[arg(long, default_value_t = 60, value_name = "SECONDS", value_parser = RangedU64ValueParser::<u64>::new().range(1..=86400))]
    pub deadline: u64,
    /// Bytes that are kept of each output stream of a host; the rest is counted.
    #[arg(long, default_value_t = 1 << 20, value_name = "BYTES", value_parser = RangedU64ValueParser::<usize>::new().range(0..=1 << 30))]
    pub limit: usize,
    /// Show every host on its own, nothing folded.
    #[arg(long)]
    pub each: bool,
    /// Keep what hosts print out of the run's folder: it is secret.
    #[arg(long)]
    pub sensitive: bool,
    /// How much may go wrong.
    #[command(flatten)]
    pub budget: BudgetArgs,
    /// The command, after `--`: words are joined by blanks, as ssh does, and read by the host's sh.
    #[arg(last = true, value_name = "WORDS", required_unless_present = "script")]
    pub words: Vec<String>,
}
