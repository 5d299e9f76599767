//! Who is logged in and whether they may do what the steps need.

use serde::{Deserialize, Serialize};

/// The login.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Login {
    /// The user's name.
    pub user: String,
    /// The user's number; 0 is root.
    pub uid: u32,
    /// Whether commands run as root (root itself, or sudo without a password).
    pub root: bool,
}
