//! From `--inventory` and `--on` to clusters.

use super::Trouble;
use crate::checks;
use crate::cli::{Cli, SelectArgs};
use crate::form::meant;
use crate::inventory::{self, Cluster, Selection};
use crate::planner::ACCEPT_DATA_LOSS;
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

/// What the operator has agreed to: acknowledged warnings, and that data is lost.
pub(super) fn agreed(ack: &[String], accept_data_loss: bool) -> Vec<String> {
    let word = accept_data_loss.then(|| ACCEPT_DATA_LOSS.to_owned());
    ack.iter().cloned().chain(word).collect()
}

/// Refuses an `--ack` that names no check: a misspelt one would leave the warning open only after everything was asked.
pub(super) fn acknowledged(ids: &[String]) -> Result<(), Trouble> {
    for id in ids {
        if checks::find(id).is_none() {
            let hint = meant(id, checks::ALL.iter().map(|check| check.id))
                .map_or_else(|| ".".to_owned(), |near| format!("; did you mean {near}?"));
            return Err(Trouble::usage(format!(
                "--ack {id}: there is no such check{hint} See docs/checks.md"
            )));
        }
    }
    Ok(())
}
