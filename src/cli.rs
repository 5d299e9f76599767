//! What can be typed. Types only, no logic.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::{PossibleValue, PossibleValuesParser, RangedU64ValueParser};
use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::form::{parse_bytes, parse_time};
use crate::inventory::{Selection, import};
use crate::rollout::Budget;
use crate::ssh::{Limits, MOST_AHEAD};
use crate::version::Version;

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
    Facts(FactsArgs),
    /// Judge the pre-flight checks. Changes nothing.
    Check(CheckArgs),
    /// Show exactly what an upgrade would do. Changes nothing.
    Plan(PlanArgs),
    /// Back up, prove, migrate and post-check.
    Upgrade(UpgradeArgs),
    /// Carry out exactly what `fleet plan --out` wrote, on the clusters that are still as they were then.
    Apply(ApplyArgs),
    /// Run a command on many hosts; equal answers are shown once.
    Exec(ExecArgs),
    /// Look at backups.
    #[command(subcommand)]
    Backup(BackupSub),
    /// Show what fleet has left on hosts: jobs that run or are over, timers. Changes nothing without --clean.
    Doctor(DoctorArgs),
    /// Make the reports of a run anew, from its journals alone.
    Report(ReportArgs),
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

/// `fleet inventory …`
#[derive(Debug, Subcommand)]
pub enum InventorySub {
    /// Read the inventory and say what is wrong with it.
    Check,
    /// Make an inventory out of what others wrote: a Stackspin checkout, Ansible, ssh_config, a table, a program's JSON.
    Import(ImportArgs),
    /// Show the clusters with defaults and groups applied.
    Show {
        /// Which clusters; all where none are named.
        #[command(flatten)]
        select: SelectArgs,
        /// The format.
        #[command(flatten)]
        format: FormatArgs,
    },
}

/// `fleet inventory import`
#[derive(Debug, Args)]
pub struct ImportArgs {
    /// What is read: stackspin, ansible-ini, ansible-yaml, ssh-config, csv or program.
    #[arg(value_parser = PossibleValuesParser::new(import::ALL.iter().map(|source| PossibleValue::new(source.id).help(source.about))))]
    pub source: String,
    /// The file, folder or program.
    pub path: PathBuf,
    /// Write the inventory to this file; it is printed where none is named.
    #[arg(long, short, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// Write over a file that is there.
    #[arg(long, requires = "out")]
    pub replace: bool,
    /// Put all clusters into this group; the source's groups become tags.
    #[arg(long, value_name = "NAME")]
    pub group: Option<String>,
    /// Take names without an address for aliases of ssh_config, not for addresses.
    #[arg(long)]
    pub aliases: bool,
    /// What the program is given in place of --list.
    #[arg(last = true, value_name = "ARGS")]
    pub args: Vec<String>,
}

/// `fleet trust`
#[derive(Debug, Args)]
pub struct TrustArgs {
    /// Which clusters; the jump hosts on the way to them come along.
    #[command(flatten)]
    pub select: SelectArgs,
    /// The format; `json` shows the keys alone, asks nothing and writes nothing.
    #[command(flatten)]
    pub format: FormatArgs,
    /// A fingerprint that you have read on a host's own console or in its provider's pages; may be given often. A host that shows it is
    /// trusted, and no other. Without it you are asked, at a terminal.
    #[arg(long, value_name = "SHA256:…", value_parser = fingerprint)]
    pub confirm: Vec<String>,
    /// Replace what is recorded and differs, of hosts whose fingerprint is confirmed by itself.
    #[arg(long, conflicts_with = "known_hosts")]
    pub replace: bool,
    /// Write host keys to this known_hosts file in place of the inventory.
    #[arg(long, value_name = "FILE")]
    pub known_hosts: Option<PathBuf>,
    /// Record host keys alone, without logging in.
    #[arg(long)]
    pub only_keys: bool,
    /// How many hosts at once.
    #[arg(long, default_value_t = 20, value_name = "N", value_parser = at_least_one())]
    pub parallel: usize,
}

/// A fingerprint as OpenSSH prints it: SHA-256 in base64 without the sign at its end.
fn fingerprint(text: &str) -> Result<String, String> {
    let data = text.strip_prefix("SHA256:").map(|data| data.trim_end_matches('='));
    match data {
        Some(data)
            if data.len() == 43 && data.chars().all(|c| c.is_ascii_alphanumeric() || "+/".contains(c)) =>
        {
            Ok(format!("SHA256:{data}"))
        }
        _ => Err("a fingerprint is SHA256: and 43 characters, as `ssh-keygen -l` prints it".to_owned()),
    }
}

/// `fleet facts`
#[derive(Debug, Args)]
pub struct FactsArgs {
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

/// `fleet check`
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// Which clusters.
    #[command(flatten)]
    pub select: SelectArgs,
    /// The format.
    #[command(flatten)]
    pub format: FormatArgs,
    /// Acknowledge a warning by the check's id; may be given often.
    #[arg(long, value_name = "ID")]
    pub ack: Vec<String>,
    /// How many hosts at once.
    #[arg(long, default_value_t = 20, value_name = "N", value_parser = at_least_one())]
    pub parallel: usize,
}

/// `fleet plan`
#[derive(Debug, Args)]
pub struct PlanArgs {
    /// Which clusters.
    #[command(flatten)]
    pub select: SelectArgs,
    /// The format.
    #[command(flatten)]
    pub format: FormatArgs,
    /// The version to go to.
    #[arg(long, value_name = "VERSION", default_value = "0.7")]
    pub to: Version,
    /// Acknowledge a warning by the check's id; may be given often.
    #[arg(long, value_name = "ID")]
    pub ack: Vec<String>,
    /// Also write the plans to this file, for `fleet apply`. One that is there is not written over.
    #[arg(long, short, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// How long the written plans are good: 90m, 2h, 7d.
    #[arg(long, value_name = "TIME", default_value = "24h", value_parser = parse_time)]
    pub expires: Duration,
    /// How many hosts at once.
    #[arg(long, default_value_t = 20, value_name = "N", value_parser = at_least_one())]
    pub parallel: usize,
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
    /// Which clusters.
    #[command(flatten)]
    pub select: SelectArgs,
    /// Remove what is over or in doubt: never a job that runs, never a timer whose change is not undone.
    #[arg(long)]
    pub clean: bool,
    /// How many hosts at once.
    #[arg(long, default_value_t = 20, value_name = "N", value_parser = at_least_one())]
    pub parallel: usize,
    /// The format.
    #[command(flatten)]
    pub format: FormatArgs,
}

/// `fleet report`
#[derive(Debug, Args)]
pub struct ReportArgs {
    /// The run's id, or `last`.
    pub run: String,
    /// The format of what is printed; the report files are always made.
    #[command(flatten)]
    pub format: FormatArgs,
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
