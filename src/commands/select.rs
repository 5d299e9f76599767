//! From `--inventory` and `--on` to clusters.

use super::Trouble;
use crate::cli::{Cli, SelectArgs};
use crate::inventory::{self, Cluster, Selection};
use crate::rollout::Caps;

/// The selected clusters of the inventory.
pub(super) fn clusters(cli: &Cli, select: &SelectArgs) -> Result<Vec<Cluster>, Trouble> {
    let inventory = inventory::load(&cli.inventory).map_err(Trouble::usage)?;
    Selection::from(select).of(&inventory).map_err(Trouble::usage)
}

/// The selected clusters, and how many of them may be worked on at once: `parallel` in all, and what their groups allow.
pub(super) fn clusters_and_caps(
    cli: &Cli,
    select: &SelectArgs,
    parallel: usize,
) -> Result<(Vec<Cluster>, Caps), Trouble> {
    let inventory = inventory::load(&cli.inventory).map_err(Trouble::usage)?;
    let clusters = Selection::from(select).of(&inventory).map_err(Trouble::usage)?;
    Ok((clusters, Caps::of(&inventory, parallel)))
}

/// Refuses an `--ack` that names no check: a misspelt one would leave the warning open only after everything was asked.
pub(super) fn acknowledged(ids: &[String]) -> Result<(), Trouble> {
    for id in ids {
        if crate::checks::find(id).is_none() {
            let near = crate::checks::ALL
                .iter()
                .map(|check| check.id)
                .max_by(|a, b| strsim::jaro_winkler(a, id).total_cmp(&strsim::jaro_winkler(b, id)));
            let hint = near.map_or_else(String::new, |near| format!("; did you mean {near}?"));
            return Err(Trouble::usage(format!(
                "--ack {id}: there is no such check{hint} See docs/checks.md"
            )));
        }
    }
    Ok(())
}
