//! The inventory and whom it trusts.

use std::path::PathBuf;

use clap::builder::{PossibleValue, PossibleValuesParser};
use clap::{Args, Subcommand};

use super::{FormatArgs, SelectArgs, at_least_one};
use crate::inventory::import;

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
