//! `fleet lab`.

use super::{Exit, Trouble};
use crate::cli::{Cli, LabSub};

/// Does it.
pub(super) async fn run(cli: &Cli, args: &LabSub) -> Result<Exit, Trouble> {
    let _ = (cli, args);
    Err(Trouble::internal("not there yet"))
}
