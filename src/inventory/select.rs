//! Choosing clusters: `--on web,@tag,!name`.

use super::{Cluster, Inventory};

/// What the operator asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selection {
    /// Terms of `--on`.
    pub on: Vec<String>,
    /// `--all`.
    pub all: bool,
    /// `--max-hosts`.
    pub max_hosts: Option<usize>,
}

/// Why nothing is selected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SelectionError(pub String);

impl Selection {
    /// The selected clusters, in order of name.
    pub fn of(&self, inventory: &Inventory) -> Result<Vec<Cluster>, SelectionError> {
        let _ = inventory;
        Err(SelectionError("not selected".to_owned()))
    }
}
