//! An upgrade, what it may take and how much may go wrong.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::{SelectArgs, at_least_one};
use crate::form::parse_bytes;
use crate::rollout::{Budget, Settled};
use crate::ssh::{Limits, MOST_AHEAD};
use crate::version::Version;

/// What may be taken of the network.
#[derive(Debug, Clone, Args)]
pub struct NetworkArgs {
    /// How many clusters send their data for the backup at once; the others wait before k3s is stopped.
    #[arg(long, value_name = "N", value_parser = at_least_one())]
    pub streams: Option<usize>,
    /// Bytes per second that all such data together may take: 500K, 20M, 1G.
    #[arg(long, value_name = "BYTES", value_parser = parse_bytes)]
    pub bandwidth: Option<u64>,
    /// Bytes that a host may send ahead, 64K to 16M; 4M if left out. For long lines: 16M is 160 MB/s at 100 ms.
    #[arg(long, value_name = "BYTES", value_parser = window)]
    pub window: Option<u32>,
}

/// Bytes of a window.
fn window(text: &str) -> Result<u32, String> {
    let bytes = parse_bytes(text)?;
    let fits = u32::try_from(bytes).ok().filter(|bytes| (64 << 10..=MOST_AHEAD).contains(bytes));
    fits.ok_or_else(|| "a window has 64K to 16M".to_owned())
}

impl From<&NetworkArgs> for Limits {
    fn from(args: &NetworkArgs) -> Self {
        Self { streams: args.streams, bandwidth: args.bandwidth, window: args.window }
    }
}

/// How many clusters are worked on at once, what that may take, and how much may go wrong.
#[derive(Debug, Clone, Args)]
pub struct WorkArgs {
    /// How many hosts at once.
    #[arg(long, default_value_t = 10, value_name = "N", value_parser = at_least_one())]
    pub parallel: usize,
    /// The network.
    #[command(flatten)]
    pub network: NetworkArgs,
    /// How much may go wrong.
    #[command(flatten)]
    pub budget: BudgetArgs,
}

/// `fleet upgrade`
#[derive(Debug, Args)]
pub struct UpgradeArgs {
    /// Which clusters.
    #[command(flatten)]
    pub select: SelectArgs,
    /// The version to go to.
    #[arg(long, value_name = "VERSION", default_value = "0.7")]
    pub to: Version,
    /// Acknowledge a warning by the check's id; may be given often.
    #[arg(long, value_name = "ID")]
    pub ack: Vec<String>,
    /// Agree that all data of a cluster of before 0.3 is deleted on the way to 0.3, once its backup is proven.
    #[arg(long)]
    pub accept_data_loss: bool,
    /// How it is done.
    #[command(flatten)]
    pub work: WorkArgs,
}

/// `fleet resume`
#[derive(Debug, Args)]
pub struct ResumeArgs {
    /// The run's id, or `last`.
    pub run: String,
    /// Of its clusters only these, by name, group or @tag, joined by commas; `!` in front leaves out: web,@canary,!acme.
    #[arg(long, value_name = "TERMS", value_delimiter = ',', allow_hyphen_values = true)]
    pub on: Vec<String>,
    /// The machine that had the run is lost: make its folder anew from what the hosts keep of it, then go on. With `last`, the newest run
    /// that a host knows.
    #[arg(long)]
    pub from_hosts: bool,
    /// With --from-hosts: ask every cluster of the inventory.
    #[arg(long, requires = "from_hosts")]
    pub all: bool,
    /// Acknowledge one more warning by the check's id, beside those that the run has acknowledged; may be given often.
    #[arg(long, value_name = "ID")]
    pub ack: Vec<String>,
    /// What a person has found out about a step in doubt: it was done, or it is to be done again; may be given often.
    #[arg(long, value_name = "CLUSTER:STEP=done|again", value_parser = settled)]
    pub settle: Vec<Settled>,
    /// How it is done.
    #[command(flatten)]
    pub work: WorkArgs,
}

/// `acme:to-0.7/switch-branch=done`
fn settled(text: &str) -> Result<Settled, String> {
    let parts = text.split_once(':').and_then(|(cluster, rest)| Some((cluster, rest.rsplit_once('=')?)));
    match parts {
        Some((cluster, (step, word @ ("done" | "again")))) => {
            Ok(Settled { cluster: cluster.to_owned(), step: step.to_owned(), done: word == "done" })
        }
        _ => Err("say which step of which cluster, and what is true of it: acme:to-0.7/switch-branch=done, or =again".to_owned()),
    }
}

/// How long a plan file is good where nothing is said.
pub const GOOD_FOR: Duration = Duration::from_secs(24 * 3600);

/// `fleet apply`
#[derive(Debug, Args)]
pub struct ApplyArgs {
    /// The file that `fleet plan --out` wrote.
    #[arg(value_name = "PLAN")]
    pub plan: PathBuf,
    /// Only these of the plan's clusters, by name, group or @tag, joined by commas; `!` in front leaves out.
    #[arg(long, value_name = "TERMS", value_delimiter = ',', allow_hyphen_values = true)]
    pub on: Vec<String>,
    /// Acknowledge a warning by the check's id, besides those that were when the plan was made; may be given often.
    #[arg(long, value_name = "ID")]
    pub ack: Vec<String>,
    /// How it is done.
    #[command(flatten)]
    pub work: WorkArgs,
}

/// How much may go wrong before nothing new is begun.
#[derive(Debug, Clone, Args)]
pub struct BudgetArgs {
    /// Begin nothing new once more than N clusters have failed or are in doubt; those under way count as if they might. No limit if left out.
    #[arg(long, value_name = "N")]
    pub max_failures: Option<usize>,
    /// Begin nothing new once more than N clusters could not be reached. No limit if left out.
    #[arg(long, value_name = "N")]
    pub max_unreachable: Option<usize>,
}

impl From<&BudgetArgs> for Budget {
    fn from(args: &BudgetArgs) -> Self {
        Self::new(args.max_failures, args.max_unreachable)
    }
}
