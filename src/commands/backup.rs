//! `fleet backup`: what there is, and whether it is still whole.

use std::io;
use std::path::Path;

use jiff::Timestamp;
use serde::Serialize;

use super::{Exit, Trouble, output};
use crate::backup::{self, Folder};
use crate::cli::{BackupSub, Cli, Format};
use crate::form;
use crate::plan::Prove;
use crate::report::screen::Look;

/// Does it.
pub(super) fn run(cli: &Cli, args: &BackupSub) -> Result<Exit, Trouble> {
    match args {
        BackupSub::List { cluster, format } => list(&cli.backups, cluster.as_deref(), format.format),
        BackupSub::Verify { cluster, id } => verify(&cli.backups, cluster, id.as_deref()),
    }
}

/// A backup in a listing.
#[derive(Debug, Serialize)]
struct Row {
    cluster: String,
    id: String,
    /// When k3s was stopped for it; none for a copy that did not come to its end.
    taken: Option<Timestamp>,
    bytes: u64,
    volumes: usize,
    /// When it was last proven; none where it never was, or was changed since.
    proven: Option<Timestamp>,
    /// One word or two for people.
    state: &'static str,
}

fn list(root: &Path, cluster: Option<&str>, format: Format) -> Result<Exit, Trouble> {
    let clusters = match cluster {
        Some(name) => vec![known(root, name)?],
        None => backup::of_root(root)?,
    };
    let mut rows = Vec::new();
    for cluster in clusters {
        for folder in backup::of_cluster(root, &cluster)? {
            rows.push(row(&folder)?);
        }
    }
    match format {
        Format::Json => output::print_json(&rows)?,
        Format::Table if rows.is_empty() => {
            output::print(&format!("no backups in {}\n", root.display()))?;
        }
        Format::Table => output::print(&table(&rows))?,
    }
    Ok(Exit::Done)
}

fn row(folder: &Folder) -> Result<Row, Trouble> {
    let mut row = Row {
        cluster: folder.cluster().to_owned(),
        id: folder.id().to_owned(),
        taken: None,
        bytes: 0,
        volumes: 0,
        proven: None,
        state: "unfinished",
    };
    let manifest = match folder.manifest() {
        Ok(manifest) => manifest,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(row),
        Err(error) if error.kind() == io::ErrorKind::InvalidData => {
            row.state = "unreadable";
            return Ok(row);
        }
        Err(error) => return Err(error.into()),
    };
    (row.taken, row.bytes, row.volumes) =
        (Some(manifest.taken), manifest.bytes(), manifest.volumes().count());
    let hash = folder.manifest_hash()?;
    row.state = match folder.proof() {
        Ok(proof) if proof.manifest == hash => {
            row.proven = Some(proof.proven);
            "proven"
        }
        Ok(_) => "changed since its proof",
        Err(_) => "not yet",
    };
    Ok(row)
}

fn table(rows: &[Row]) -> String {
    let rows = rows.iter().map(|row| {
        [
            row.cluster.clone(),
            row.id.clone(),
            row.taken.map_or_else(|| "-".to_owned(), form::moment),
            form::bytes(row.bytes),
            row.volumes.to_string(),
            row.proven.map_or_else(|| row.state.to_owned(), form::moment),
        ]
    });
    let look = Look::of_stdout();
    let head = ["cluster", "backup", "taken", "size", "volumes", "proven"];
    look.finish(&look.table(head, rows, &[0, 1]).to_string())
}

fn verify(root: &Path, cluster: &str, id: Option<&str>) -> Result<Exit, Trouble> {
    let cluster = known(root, cluster)?;
    let folders = backup::of_cluster(root, &cluster)?;
    let found = match id {
        Some(id) => folders.iter().find(|folder| folder.id() == id),
        None => folders.last(),
    };
    let Some(folder) = found else {
        let ids: Vec<&str> = folders.iter().map(Folder::id).collect();
        let wanted = id.map_or_else(String::new, |id| format!(" {id:?}"));
        let said = format!("no backup{wanted} of {cluster}; known: {}", listed(&ids));
        return Err(Trouble::usage(said));
    };
    // The volumes of the plan are not known any more; those that the saved objects name must be there, whatever the manifest says.
    match backup::prove(folder, &Prove { volumes: Vec::new() }) {
        Ok(proven) => {
            output::print(&format!(
                "backup {} of {cluster} is proven: {} files equal to the host's hashes, {}\n",
                proven.id,
                proven.files,
                form::bytes(proven.bytes)
            ))?;
            Ok(Exit::Done)
        }
        Err(failure) => {
            output::print(&format!("{}\n  see {}\n", failure.message, failure.read))?;
            Ok(Exit::Failed)
        }
    }
}

/// The cluster, if it has a folder: what was typed never becomes part of a path by itself.
fn known(root: &Path, cluster: &str) -> Result<String, Trouble> {
    let clusters = backup::of_root(root)?;
    if clusters.iter().any(|name| name == cluster) {
        return Ok(cluster.to_owned());
    }
    let names: Vec<&str> = clusters.iter().map(String::as_str).collect();
    let said = format!("no backups of {cluster:?} in {}; known: {}", root.display(), listed(&names));
    Err(Trouble::usage(said))
}

fn listed(names: &[&str]) -> String {
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}
