//! Certificates and when they end.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// One certificate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Certificate {
    /// `k3s client-admin.crt`, or `oas-apps/nextcloud-tls` of cert-manager.
    pub what: String,
    /// Its end.
    pub not_after: Timestamp,
}
