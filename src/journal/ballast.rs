//! Room on the disk that is kept for the end: where the disk is full, what is under way can still be written down.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rand::Rng as _;

use crate::files::write_whole;

/// Bytes of it. A cluster's last lines have some thousands.
const BYTES: usize = 1 << 20;

/// The ballast of a run: a file in its folder, given up at the first line that finds no room. That it is gone tells every journal of the run.
#[derive(Debug, Clone)]
pub struct Ballast(PathBuf);

impl Ballast {
    /// That of the run with this folder.
    #[must_use]
    pub fn of(run: &Path) -> Self {
        Self(run.join("ballast"))
    }

    /// Lays it, so that the disk really has the room: no zeros, which some disks do not store. That of an earlier process is good.
    pub fn lay(&self) -> io::Result<()> {
        if fs::metadata(&self.0).is_ok_and(|about| about.len() == BYTES as u64) {
            return Ok(());
        }
        let mut bytes = vec![0; BYTES];
        rand::rng().fill_bytes(&mut bytes);
        write_whole(&self.0, &bytes)
    }

    /// Whether it is there.
    #[must_use]
    pub fn is_there(&self) -> bool {
        self.0.exists()
    }

    /// Gives it up. One that is gone was given up by another.
    pub fn give_up(&self) {
        if let Err(error) = fs::remove_file(&self.0)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(%error, "the ballast cannot be given up");
        }
    }
}
