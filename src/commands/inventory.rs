//! `fleet inventory`.

use serde::Serialize;

use super::output::{print, print_json};
use super::{Exit, Trouble};
use crate::cli::{Cli, Format, InventorySub};
use crate::inventory::{self, Cluster, ClusterRow, Host, Inventory, Selection};
use crate::remote::printable;
use crate::report::screen::Look;

/// Does it.
pub(super) fn run(cli: &Cli, args: &InventorySub) -> Result<Exit, Trouble> {
    let inventory = inventory::load(&cli.inventory).map_err(Trouble::usage)?;
    match args {
        InventorySub::Check => {
            let counted = |n: usize, one: &str| format!("{n} {one}{}", if n == 1 { "" } else { "s" });
            let clusters = counted(inventory.clusters.len(), "cluster");
            let groups = counted(inventory.groups.len(), "group");
            print(&format!("{clusters} in {groups}, no faults\n{}", notes(&inventory)))?;
        }
        InventorySub::Show { select, format } => {
            let mut selection = Selection::from(select);
            // Showing changes nothing, so it needs no selector.
            selection.all |= selection.on.iter().all(|term| term.trim_start().starts_with('!'));
            let clusters = selection.of(&inventory).map_err(Trouble::usage)?;
            match format.format {
                Format::Table => print(&(table(&clusters) + &notes(&inventory)))?,
                Format::Json => print_json(&Document::of(&clusters, &inventory.notes))?,
            }
        }
    }
    Ok(Exit::Done)
}

/// What `--format json` prints.
#[derive(Serialize)]
struct Document<'a> {
    schema: u32,
    clusters: Vec<Row<'a>>,
    notes: &'a [String],
}

#[derive(Serialize)]
struct Row<'a> {
    name: &'a str,
    #[serde(flatten)]
    settings: ClusterRow<'a>,
    defined_at: &'a str,
}

impl<'a> Document<'a> {
    fn of(clusters: &'a [Cluster], notes: &'a [String]) -> Self {
        let row = |cluster: &'a Cluster| Row {
            name: &cluster.name,
            settings: ClusterRow::from(cluster),
            defined_at: &cluster.host.defined_at,
        };
        Self { schema: 1, clusters: clusters.iter().map(row).collect(), notes }
    }
}

/// What ssh_config says and is not done, a line each.
fn notes(inventory: &Inventory) -> String {
    inventory.notes.iter().map(|note| format!("note: {note}\n")).collect()
}

fn table(clusters: &[Cluster]) -> String {
    let rows = clusters.iter().map(|cluster| {
        let tags: Vec<&str> = cluster.tags.iter().map(String::as_str).collect();
        [
            cluster.name.clone(),
            cluster.group.clone(),
            tags.join(" "),
            cluster.login(),
            keys(&cluster.host),
            if cluster.host.host_key.is_some() { "pinned" } else { "known_hosts" }.to_owned(),
            cluster.host.defined_at.clone(),
        ]
    });
    let head = ["cluster", "group", "tags", "login", "keys", "host key", "defined at"];
    let look = Look::of_stdout();
    // Seven columns of names and paths: a file or a pager takes them unbroken, a terminal as wide as it is.
    let look = if look.terminal { look } else { Look { width: 200, ..look } };
    look.finish(&look.table(head, rows, &[0, 3, 4, 6]).to_string())
}

/// How fleet logs in: the key files, the reference to their passphrase, the agent.
fn keys(host: &Host) -> String {
    let mut lines: Vec<String> = host.identity.iter().map(|path| path.display().to_string()).collect();
    if !lines.is_empty() {
        lines.extend(host.passphrase.as_ref().map(|secret| format!("passphrase: {secret}")));
    }
    lines.extend(host.certificates.iter().map(|path| path.display().to_string()));
    lines.extend(host.password.as_ref().map(|secret| format!("password: {secret}")));
    if host.agent {
        lines.push("agent".to_owned());
    }
    lines.iter().map(|line| printable(line)).collect::<Vec<_>>().join("\n")
}
