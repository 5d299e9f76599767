//! `fleet rehearse`.

use super::{Exit, Trouble};
use crate::cli::{Cli, RehearseArgs};

/// Does it.
pub(super) async fn run(cli: &Cli, args: &RehearseArgs) -> Result<Exit, Trouble> {
    let _ = (cli, args);
    Err(Trouble::internal("not there yet"))
}
