//! `fleet plan`.

use super::{Exit, Trouble};
use crate::cli::{Cli, PlanArgs};

/// Does it.
pub(super) async fn run(cli: &Cli, args: &PlanArgs) -> Result<Exit, Trouble> {
    let _ = (cli, args);
    Err(Trouble::internal("not there yet"))
}
