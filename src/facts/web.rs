//! The applications' web pages, as the host itself sees them.

use serde::{Deserialize, Serialize};

/// One host name of an Ingress, asked over HTTPS at the cluster's own address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Page {
    /// The host name.
    pub host: String,
    /// The HTTP status; 0 where none came.
    pub status: u16,
    /// Whether the certificate was valid for the name.
    pub certificate: bool,
    /// curl's complaint; empty where there was an answer over a valid certificate.
    pub trouble: String,
}
