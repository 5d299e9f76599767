//! `fleet runs`.

use super::{Exit, Trouble};
use crate::cli::{Cli, FormatArgs};

/// Does it.
pub(super) fn run(cli: &Cli, args: &FormatArgs) -> Result<Exit, Trouble> {
    let _ = (cli, args);
    Err(Trouble::internal("not there yet"))
}
