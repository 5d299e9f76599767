//! Which Stackspin version is installed, by the evidence order of facts section 4; and which applications.

use serde::{Deserialize, Serialize};

use super::Facts;
use crate::version::Version;

/// What the evidence says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Installed {
    /// This version runs, and nothing speaks against it.
    Version(Version),
    /// The evidence disagrees: each reason is one sentence.
    Mixed(Vec<String>),
    /// The source follows a branch that is no release.
    Development(String),
    /// The evidence is missing.
    Unknown(String),
}

impl Facts {
    /// The version that is installed.
    #[must_use]
    pub fn installed(&self) -> Installed {
        let _ = Version::V0_6;
        Installed::Unknown("not asked".to_owned())
    }

    /// The applications that are installed, by the names that Stackspin gives them, sorted.
    #[must_use]
    pub fn apps(&self) -> Vec<String> {
        Vec::new()
    }
}
