//! Why something did not come to its end.

use serde::{Deserialize, Serialize};

/// Why something did not come to its end. Data, so that reports can group by `cause`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// A stable kebab-case id of the cause: `deadline`, `archive-differs`, `connection-lost`.
    pub cause: String,
    /// What happened, one sentence, safe to print.
    pub message: String,
    /// Where to read on: a page and heading of the docs, e.g. `docs/operating.md#in-doubt`.
    pub read: String,
}

impl Failure {
    /// A failure of this cause; reading on in `docs/operating.md`.
    #[must_use]
    pub fn new(cause: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            cause: cause.into(),
            message: crate::remote::printable(&message.into()),
            read: "docs/operating.md#when-a-cluster-fails".to_owned(),
        }
    }

    /// Sets where to read on.
    #[must_use]
    pub fn read(mut self, page: impl Into<String>) -> Self {
        self.read = page.into();
        self
    }
}
