//! Cluster variables that upstream's installer would refuse (facts section 2.2).

use serde::{Deserialize, Serialize};

use super::secrets::stored;
use crate::remote::Command;

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

/// Names of the Secret, newest first: after the renaming to Stackspin both are there until the clean-up.
const NAMES: [&str; 2] = ["stackspin-cluster-variables", "oas-cluster-variables"];

/// Asks for the Secrets beside them alone: what [`read`] needs where the other Secrets are not asked for.
#[must_use]
pub fn ask() -> Command {
    Command::new("k3s kubectl get secrets -n flux-system --field-selector type!=helm.sh/release.v1 -o json")
        .limit(16 << 20)
        .sensitive()
}

/// Reads them from the answer that holds the Secrets.
pub fn read(secrets: &str) -> Result<Variables, String> {
    let all = stored(secrets)?;
    let of = |name: &str| {
        all.iter().find(|secret| secret.metadata.namespace == "flux-system" && secret.metadata.name == name)
    };
    let Some(secret) = NAMES.into_iter().find_map(of) else {
        return Ok(Variables::default());
    };
    let mut variables = Variables { secret: secret.metadata.name.clone(), ..Variables::default() };
    for pair in secret.values() {
        let (key, value) = pair?;
        if key == "domain" {
            String::from_utf8_lossy(&value).trim().clone_into(&mut variables.domain);
        }
        for character in ['"', '$'] {
            if value.contains(&(character as u8)) {
                variables.forbidden.push(Forbidden { key: key.to_owned(), character });
            }
        }
    }
    Ok(variables)
}
