//! Programs that the steps need on the host.

use serde::{Deserialize, Serialize};

/// What is there and what is not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tools {
    /// Needed programs that the host's PATH does not have.
    pub missing: Vec<String>,
    /// First line of `tar --version`.
    pub tar: String,
}
