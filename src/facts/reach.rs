//! What the host can reach on the network: where Flux and k3s get their things from.

use serde::{Deserialize, Serialize};

/// One destination.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reach {
    /// What for: `git`, `registry`.
    pub what: String,
    /// The URL that was tried.
    pub url: String,
    /// Empty when an HTTP answer came, whatever it said; otherwise curl's complaint.
    pub trouble: String,
}
