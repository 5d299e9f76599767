//! Reading an inventory: the door.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::alias::Aliases;
use super::fault::{Fault, InventoryError, Page, whole};
use super::page::Said;
use super::union::Union;
use super::{Inventory, page};

/// Reads an inventory file, or every `*.toml` of a folder in order of name as one inventory.
///
/// All faults of all files are told at once; a file that is no TOML is one fault.
pub fn load(path: &Path) -> Result<Inventory, InventoryError> {
    let home = home();
    let files = files(path).map_err(|fault| InventoryError::new(vec![*fault]))?;
    let pages = files.iter().enumerate().map(|(number, file)| page::open(number, file, home.as_deref()));
    let inventory = of_pages(path, pages.collect(), home.as_deref())?;
    Ok(Inventory { files, ..inventory })
}

/// Reads a text as if it were a file of this path.
pub(super) fn of_text(path: &Path, text: &str) -> Result<Inventory, InventoryError> {
    let home = home();
    of_pages(path, vec![page::of_bytes(0, path, text.as_bytes(), home.as_deref())], home.as_deref())
}

/// The operator's home, for `~/`.
pub(super) fn home() -> Option<PathBuf> {
    std::env::var_os("HOME").filter(|home| !home.is_empty()).map(PathBuf::from)
}

fn of_pages(
    path: &Path,
    opened: Vec<Result<Page, Box<Fault>>>,
    home: Option<&Path>,
) -> Result<Inventory, InventoryError> {
    let (mut faults, mut pages, mut whole_read) = (Vec::new(), Vec::new(), true);
    for (number, page) in opened.into_iter().enumerate() {
        match page {
            Err(fault) => faults.push(*fault),
            Ok(mut page) => {
                if let Some(said) = page::read(&mut page, &mut faults) {
                    pages.push((page, said));
                }
            }
        }
        whole_read &= pages.len() == number + 1;
    }
    let aliases = aliases(&pages, home);
    let mut union = Union { pages: &pages, whole_read, faults, aliases, notes: Vec::new() };
    let inventory = union.join(home);
    if inventory.clusters.is_empty() && union.faults.is_empty() {
        let help =
            "a cluster is [clusters.NAME] with an address; inventory-example/ is an inventory to begin with";
        union.faults.push(whole(0, path, "there is no cluster in this inventory", Some(help)));
    }
    if union.faults.is_empty() { Ok(inventory) } else { Err(InventoryError::new(union.faults)) }
}

/// What ssh_config says of the hosts that are named by an alias. Where none is, nothing is asked.
fn aliases(pages: &[(Page, Said)], home: Option<&Path>) -> Aliases {
    let said = || pages.iter().map(|(_, said)| said);
    let clusters = said().flat_map(|said| said.clusters.iter().map(|one| &one.place));
    let jumps = said().flat_map(|said| said.jumps.iter().map(|one| &one.place));
    let named: BTreeSet<&str> = clusters
        .chain(jumps)
        .filter_map(|place| place.ssh_alias.as_ref())
        .map(|alias| alias.get_ref().as_str())
        .collect();
    if named.is_empty() {
        return Aliases::default();
    }
    let config = said().find_map(|said| said.ssh_config.as_deref());
    let taken = said().flat_map(|said| said.jumps.iter().map(|jump| jump.name.get_ref().to_lowercase()));
    Aliases::ask(named, config, home, taken.collect())
}

/// The files of an inventory. Hidden files are none: editors leave theirs behind.
fn files(path: &Path) -> Result<Vec<PathBuf>, Box<Fault>> {
    let unreadable = |error: std::io::Error| {
        let help = "--inventory PATH names the inventory; inventory-example/ is one to begin with";
        let missing = error.kind() == std::io::ErrorKind::NotFound;
        let what = if missing {
            "there is no such file or folder".to_owned()
        } else {
            format!("cannot be read: {error}")
        };
        Box::new(whole(0, path, what, Some(help)))
    };
    if !path.metadata().map_err(unreadable)?.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut files = Vec::new();
    for entry in path.read_dir().map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        let name = entry.file_name();
        let hidden = name.as_encoded_bytes().starts_with(b".");
        let file = entry.path();
        if !hidden && file.extension().is_some_and(|end| end == "toml") && !file.is_dir() {
            files.push(file);
        }
    }
    files.sort();
    if files.is_empty() {
        let help = "inventory-example/ is one to begin with";
        return Err(Box::new(whole(0, path, "there is no *.toml in this folder", Some(help))));
    }
    Ok(files)
}
