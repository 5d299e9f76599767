//! Cluster variables that upstream's installer would refuse (facts section 2.2).

use serde::{Deserialize, Serialize};

/// The Secret made from `.flux.env`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Variables {
    /// Its name: `oas-cluster-variables` or `stackspin-cluster-variables`; empty where neither is there.
    pub secret: String,
    /// Its `domain`, which is no secret.
    pub domain: String,
    /// Keys whose value holds a character that upstream refuses, with that character. Never the value.
    pub forbidden: Vec<Forbidden>,
}

/// A variable that would be refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Forbidden {
    /// The variable.
    pub key: String,
    /// `"` or `$`.
    pub character: char,
}
