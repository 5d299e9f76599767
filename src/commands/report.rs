//! `fleet report`.

use super::{Exit, Trouble};
use crate::cli::{Cli, ReportArgs};

/// Does it.
pub(super) fn run(cli: &Cli, args: &ReportArgs) -> Result<Exit, Trouble> {
    let _ = (cli, args);
    Err(Trouble::internal("not there yet"))
}
