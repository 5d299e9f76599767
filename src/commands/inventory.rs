//! `fleet inventory`.

use std::io;
use std::path::Path;

use serde::Serialize;

use super::output::{print, print_json};
use super::{Exit, Trouble};
use crate::cli::{Cli, Format, ImportArgs, InventorySub};
use crate::files;
use crate::inventory::{self, Cluster, ClusterRow, Host, Inventory, Selection, import};
use crate::remote::printable;
use crate::report::screen::Look;

/// Does it.
pub(super) fn run(cli: &Cli, args: &InventorySub) -> Result<Exit, Trouble> {
    if let InventorySub::Import(args) = args {
        return bring(args);
    }
    let inventory = inventory::load(&cli.inventory).map_err(Trouble::usage)?;
    match args {
        InventorySub::Import(_) => {}
        InventorySub::Check => {
            print(&format!("{}, no faults\n{}", counted(&inventory), notes(&inventory)))?;
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

/// `7 clusters in 2 groups`
fn counted(inventory: &Inventory) -> String {
    let counted = |n: usize, one: &str| format!("{n} {one}{}", if n == 1 { "" } else { "s" });
    let (clusters, groups) = (inventory.clusters.len(), inventory.groups.len());
    format!("{} in {}", counted(clusters, "cluster"), counted(groups, "group"))
}

/// Imports, and tells what could not be carried over.
fn bring(args: &ImportArgs) -> Result<Exit, Trouble> {
    let source = import::ALL.iter().find(|source| source.id == args.source);
    let source = source.ok_or_else(|| Trouble::usage(format!("nothing is known of `{}`", args.source)))?;
    let exists = |out: &Path| {
        Trouble::usage(format!(
            "{} is there already and was not changed; --replace writes over it",
            out.display()
        ))
    };
    // Asked before the source is read, which may take minutes; and again when it is written.
    if let Some(out) = args.out.as_deref().filter(|out| !args.replace && out.symlink_metadata().is_ok()) {
        return Err(exists(out));
    }
    let asked = import::Asked {
        path: args.path.clone(),
        args: args.args.clone(),
        group: args.group.clone(),
        aliases: args.aliases,
    };
    let imported = import::import(source, &asked).map_err(Trouble::usage)?;
    let Some(out) = &args.out else {
        print(&imported.text)?;
        return Ok(Exit::Done);
    };
    if args.replace {
        files::write_whole(out, imported.text.as_bytes())?;
    } else {
        files::write_new(out, imported.text.as_bytes()).map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => exists(out),
            _ => Trouble::internal(format!("{} cannot be written: {error}", out.display())),
        })?;
    }
    let mut text =
        format!("{}, written to {}\n", counted(&imported.inventory), printable(&out.display().to_string()));
    if !imported.notes.is_empty() {
        text.push_str("Not carried over:\n");
        text.extend(imported.notes.iter().map(|note| format!("  {note}\n")));
    }
    print(&text)?;
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
    inventory.notes.iter().fold(String::new(), |text, note| text + "note: " + note + "\n")
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
