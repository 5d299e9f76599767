//! Secrets by reference: the inventory says where one is, never what it is.

use std::path::PathBuf;

use secrecy::SecretString;

/// Where a secret comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretRef {
    /// The first line of a file that only its owner may read.
    File(PathBuf),
    /// An environment variable.
    Env(String),
    /// The first line that a local command prints.
    Command(String),
    /// The operator's keyboard.
    Prompt,
}

/// Why a secret could not be had.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct SecretError(pub String);

impl SecretRef {
    /// Fetches the secret. `what` tells a person what is asked for. Blocking.
    pub fn fetch(&self, what: &str) -> Result<SecretString, SecretError> {
        Err(SecretError(format!("{what}: not fetched")))
    }
}
