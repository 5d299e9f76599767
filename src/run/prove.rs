//! Carrying out `Action::Prove`: the backup is read back, and its proof written down.

use super::{Scribe, Trouble};
use crate::backup::{self, Folder, Proven};
use crate::event::{Failure, What};
use crate::plan::Prove;

/// The proof of the backup in this folder. It is read in a thread of its own: archives are large.
pub(super) async fn carry(folder: &Folder, what: &Prove, scribe: &mut Scribe<'_>) -> Result<Proven, Trouble> {
    let (read, what) = (folder.clone(), what.clone());
    let proven = tokio::task::spawn_blocking(move || backup::prove(&read, &what))
        .await
        .map_err(|error| Trouble::Failed(Failure::new("proof-died", error.to_string())))?
        .map_err(Trouble::Failed)?;
    scribe.record(What::Proven {
        backup: proven.id.clone(),
        folder: folder.path().display().to_string(),
        files: proven.files,
        bytes: proven.bytes,
    })?;
    Ok(proven)
}
