//! Clock and time zone of the host.

use serde::{Deserialize, Serialize};

/// The host's time against ours.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Clock {
    /// Seconds that the host's clock is ahead of ours (negative: behind), the time of the question's way taken off.
    pub ahead_seconds: i64,
    /// `Europe/Berlin`, or `CET` where the host has no zone name.
    pub zone: String,
    /// `+0100`.
    pub offset: String,
}
