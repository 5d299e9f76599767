//! `fleet facts`.

use super::{Exit, Trouble};
use crate::cli::{Cli, FactsArgs};

/// Does it.
pub(super) async fn run(cli: &Cli, args: &FactsArgs) -> Result<Exit, Trouble> {
    let _ = (cli, args);
    Err(Trouble::internal("not there yet"))
}
