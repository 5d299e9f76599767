//! `fleet check`.

use super::{Exit, Trouble};
use crate::cli::{CheckArgs, Cli};

/// Does it.
pub(super) async fn run(cli: &Cli, args: &CheckArgs) -> Result<Exit, Trouble> {
    let _ = (cli, args);
    Err(Trouble::internal("not there yet"))
}
