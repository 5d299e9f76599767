//! What can be typed. Types only, no logic; one file a theme.

use std::path::PathBuf;

use clap::builder::RangedU64ValueParser;
use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::inventory::Selection;

mod aftermath;
mod ask;
mod confirm;
mod exec;
mod inventory;
mod keep;
mod lab;
mod lock;
mod restore;
mod runs;
mod upgrade;
mod vars;
mod window;

pub use aftermath::{CleanupArgs, NextcloudSub, Release, TransferArgs};
pub use ask::{CheckArgs, LookArgs, PlanArgs};
pub use confirm::ConfirmArgs;
pub use exec::ExecArgs;
pub use inventory::{ImportArgs, InventorySub, TrustArgs};
pub use keep::{BackupSub, DoctorArgs, TunnelArgs};
pub use lab::{LabSub, LabUpArgs, RehearseArgs};
pub use lock::{LockBreakArgs, LockSub};
pub use restore::RestoreArgs;
pub use runs::{ReportArgs, RunArgs, StatusArgs};
pub use upgrade::{ApplyArgs, BudgetArgs, GOOD_FOR, NetworkArgs, ResumeArgs, UpgradeArgs, WorkArgs};
pub use vars::{VarsApplyArgs, VarsConvertArgs, VarsSub};
pub use window::{VisitArgs, WindowCloseArgs, WindowOpenArgs, WindowSub};

/// Upgrade many Stackspin clusters at once over SSH.
#[derive(Debug, Parser)]
#[command(name = "fleet", version, propagate_version = true, max_term_width = 110)]
pub struct Cli {
    /// The inventory: a TOML file, or a folder of them.
    #[arg(
        long,
        short,
        global = true,
        env = "FLEET_INVENTORY",
        default_value = "inventory",
        value_name = "PATH"
    )]
    pub inventory: PathBuf,
    /// Where runs are kept.
    #[arg(long, global = true, env = "FLEET_RUNS", default_value = "runs", value_name = "FOLDER")]
    pub runs: PathBuf,
    /// Where backups are kept.
    #[arg(long, global = true, env = "FLEET_BACKUPS", default_value = "backups", value_name = "FOLDER")]
    pub backups: PathBuf,
    /// What to do.
    #[command(subcommand)]
    pub command: Sub,
}

/// The subcommands; one file each in `commands/`.
#[derive(Debug, Subcommand)]
pub enum Sub {
    /// Look at the inventory.
    #[command(subcommand)]
    Inventory(InventorySub),
    /// Learn by what hosts are known, have it confirmed, and pin it in the inventory. Changes nothing on a host.
    Trust(TrustArgs),
    /// Ask clusters everything that fleet knows to ask, and show it. Changes nothing.
    Facts(LookArgs),
    /// Judge the pre-flight checks. Changes nothing.
    Check(CheckArgs),
    /// Show exactly what an upgrade would do. Changes nothing.
    Plan(PlanArgs),
    /// Back up, prove, migrate and post-check.
    Upgrade(UpgradeArgs),
    /// Go on with a run that was cut off, stopped, or did not come to its end everywhere.
    Resume(ResumeArgs),
    /// Tell that you have done what a step of a run asks for. Contacts no host.
    Confirm(ConfirmArgs),
    /// Carry out exactly what `fleet plan --out` wrote, on the clusters that are still as they were then.
    Apply(ApplyArgs),
    /// Run a command on many hosts; equal answers are shown once.
    Exec(ExecArgs),
    /// Put a backup back on the cluster of which it was made, as it was then; or its volumes' data onto another cluster.
    Restore(RestoreArgs),
    /// Look at backups.
    #[command(subcommand)]
    Backup(BackupSub),
    /// Show what fleet has left on hosts: jobs that run or are over, timers. Changes nothing without --clean.
    Doctor(DoctorArgs),
    /// Show who has the locks of hosts, or break one whose holder is dead.
    #[command(subcommand)]
    Lock(LockSub),
    /// The time in which Flux follows Stackspin's source: show it, open it, shut it.
    #[command(subcommand)]
    Window(WindowSub),
    /// The time in which k3s may be upgraded: show it, open it, shut it.
    #[command(subcommand)]
    K3sWindow(WindowSub),
    /// The variables in `.flux.env` here against those in the cluster: show what differs, apply it.
    #[command(subcommand)]
    Vars(VarsSub),
    /// Clean up after an upgrade, once all works again: volumes get their policy back, secrets under their old names go.
    Cleanup(CleanupArgs),
    /// Nextcloud's users, and their files given to who they are since 0.8.
    #[command(subcommand)]
    Nextcloud(NextcloudSub),
    /// Make the reports of a run anew, from its journals alone.
    Report(ReportArgs),
    /// Show how a run stands: while it goes on, from any terminal, and afterwards.
    Status(StatusArgs),
    /// Watch a run as its own terminal shows it, until it ends. Ctrl-C ends the watching alone.
    Watch(RunArgs),
    /// Ask a running run to begin no further cluster for now; `fleet resume` lets it go on.
    Pause(RunArgs),
    /// Ask a running run to end at the next safe point, as its first Ctrl-C does.
    Abort(RunArgs),
    /// List the runs.
    Runs(FormatArgs),
    /// Run a program of this machine, kubectl for example, with a cluster's API before it.
    Tunnel(TunnelArgs),
    /// Simulated Stackspin hosts on this machine, for rehearsals and tests.
    #[command(subcommand)]
    Lab(LabSub),
    /// Rehearse a whole upgrade on simulated twins of the inventory's clusters.
    Rehearse(RehearseArgs),
}

/// How output is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    Table,
    /// For programs.
    Json,
}

/// `--format`.
#[derive(Debug, Clone, Args)]
pub struct FormatArgs {
    /// For people or for programs.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    pub format: Format,
}

/// Which clusters.
#[derive(Debug, Clone, Args)]
pub struct SelectArgs {
    /// Clusters by name, group or @tag, joined by commas; `!` in front leaves out: web,@canary,!acme.
    #[arg(long, value_name = "TERMS", value_delimiter = ',', allow_hyphen_values = true)]
    pub on: Vec<String>,
    /// Every cluster of the inventory; beside it, --on may only leave out.
    #[arg(long)]
    pub all: bool,
    /// Refuse to go on if more clusters than this are selected.
    #[arg(long, value_name = "N")]
    pub max_hosts: Option<usize>,
}

impl From<&SelectArgs> for Selection {
    fn from(args: &SelectArgs) -> Self {
        Self { on: args.on.clone(), all: args.all, max_hosts: args.max_hosts }
    }
}

/// A number of hosts at once.
fn at_least_one() -> RangedU64ValueParser<usize> {
    RangedU64ValueParser::new().range(1..=1000)
}
