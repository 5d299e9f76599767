//! Carrying out `Action::MoveClaim`: a claim goes to another namespace, its volume and the data stay where they are (facts section 7).

use std::time::Duration;

use super::{Scribe, Trouble, onward};
use crate::plan::MoveClaim;
use crate::remote::Remote;

pub mod remove;
mod standing;
pub(super) use standing::NEW_CLAIM;
#[cfg(test)]
mod tests;

/// Moves the claim, from wherever an earlier go has left it.
pub async fn carry<R: Remote>(
    remote: &R,
    what: &MoveClaim,
    deadline: Duration,
    scribe: &mut Scribe<'_>,
) -> Result<(), Trouble> {
    let ask = onward::objects("namespaces,persistentvolumes,persistentvolumeclaims,pods");
    onward::go(remote, &ask, |list| standing::next(what, list), deadline, scribe).await
}
