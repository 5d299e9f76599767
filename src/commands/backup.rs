//! `fleet backup`.

use super::{Exit, Trouble};
use crate::cli::{BackupSub, Cli};

/// Does it.
pub(super) fn run(cli: &Cli, args: &BackupSub) -> Result<Exit, Trouble> {
    let _ = (cli, args);
    Err(Trouble::internal("not there yet"))
}
