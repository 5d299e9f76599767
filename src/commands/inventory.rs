//! `fleet inventory`.

use super::{Exit, Trouble};
use crate::cli::{Cli, InventorySub};

/// Does it.
pub(super) fn run(cli: &Cli, args: &InventorySub) -> Result<Exit, Trouble> {
    let _ = (cli, args);
    Err(Trouble::internal("not there yet"))
}
