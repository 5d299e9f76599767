//! `fleet upgrade`.

use super::{Exit, Trouble};
use crate::cli::{Cli, UpgradeArgs};

/// Does it.
pub(super) async fn run(cli: &Cli, args: &UpgradeArgs) -> Result<Exit, Trouble> {
    let _ = (cli, args);
    Err(Trouble::internal("not there yet"))
}
