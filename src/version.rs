//! Stackspin versions, and how Git branches and Flux revisions name them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A Stackspin (before 0.8: OpenAppStack) release line, as the upgrade guide counts them. Ordered by age.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Version {
    /// Whatever came before 0.3, by Helm 2 and without Flux (guide, "Upgrading to 0.3.0"). No release of its own.
    Older,
    /// 0.3, the first with Flux.
    V0_3,
    /// 0.4.
    V0_4,
    /// 0.5, the last with Flux 1.
    V0_5,
    /// 0.6, the first with Flux 2 and `.flux.env`.
    V0_6,
    /// 0.7, without the `oas-secrets` chart.
    V0_7,
    /// 0.8, renamed to Stackspin.
    V0_8,
    /// 1.0.
    V1_0,
    /// 2, whose minor releases come by themselves.
    V2,
}

impl Version {
    /// Every release line, oldest first.
    pub const ALL: [Self; 8] =
        [Self::V0_3, Self::V0_4, Self::V0_5, Self::V0_6, Self::V0_7, Self::V0_8, Self::V1_0, Self::V2];

    /// The version as people write it: `0.7`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Older => "before 0.3",
            Self::V0_3 => "0.3",
            Self::V0_4 => "0.4",
            Self::V0_5 => "0.5",
            Self::V0_6 => "0.6",
            Self::V0_7 => "0.7",
            Self::V0_8 => "0.8",
            Self::V1_0 => "1.0",
            Self::V2 => "2",
        }
    }

    /// The release branch that Flux follows: `v0.7` (guide, "Upgrading to 0.7.0"; facts section 1).
    #[must_use]
    pub fn branch(self) -> String {
        format!("v{}", self.as_str())
    }

    /// The version a release branch stands for; `None` for `main`, a feature branch or anything unknown.
    #[must_use]
    pub fn from_branch(branch: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|version| version.branch() == branch)
    }

    /// The Flux GitRepository of this version: `openappstack` until 0.7, `stackspin` from 0.8; none before
    /// Flux 2 (facts section 1).
    #[must_use]
    pub fn source(self) -> Option<&'static str> {
        match self {
            Self::Older | Self::V0_3 | Self::V0_4 | Self::V0_5 => None,
            Self::V0_6 | Self::V0_7 => Some("openappstack"),
            Self::V0_8 | Self::V1_0 | Self::V2 => Some("stackspin"),
        }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A text that names no known version.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown Stackspin version {0:?}; known: 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 1.0, 2")]
pub struct UnknownVersion(pub String);

impl FromStr for Version {
    type Err = UnknownVersion;

    /// Reads `0.7`, `v0.7` and `0.7.0` alike; `2`, `2.0` and `v2` too; and `before 0.3`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == Self::Older.as_str() {
            return Ok(Self::Older);
        }
        let bare = text.strip_prefix('v').unwrap_or(text);
        Self::ALL
            .into_iter()
            .find(|version| {
                let known = version.as_str();
                bare == known || bare.strip_suffix(".0") == Some(known)
            })
            .ok_or_else(|| UnknownVersion(text.to_owned()))
    }
}

impl Serialize for Version {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Version {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// What Flux fetched: a branch (or tag) and a commit.
///
/// Written `<branch>/<sha>` before Flux 0.40 and `<branch>@sha1:<sha>` since (facts section 4).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revision {
    /// The branch, e.g. `v0.7`. Empty where Flux names a commit alone.
    pub branch: String,
    /// The commit's full hash.
    pub commit: String,
}

impl Revision {
    /// Reads either format; `None` where the text is neither.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (branch, commit) = match text.rsplit_once('@') {
            Some((branch, digest)) => (branch, digest.split_once(':')?.1),
            None => match text.split_once(':') {
                Some((_, commit)) => ("", commit),
                // A branch may hold slashes itself (`feature/x`), a commit never does.
                None => text.rsplit_once('/')?,
            },
        };
        let hex = commit.len() >= 7 && commit.bytes().all(|byte| byte.is_ascii_hexdigit());
        hex.then(|| Self { branch: branch.to_owned(), commit: commit.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn branches_and_versions_name_each_other() {
        for version in Version::ALL {
            assert_eq!(Version::from_branch(&version.branch()), Some(version));
            assert_eq!(version.as_str().parse(), Ok(version));
        }
        assert_eq!(Version::from_branch("main"), None);
        assert_eq!("0.7.0".parse(), Ok(Version::V0_7));
        assert_eq!("v2".parse(), Ok(Version::V2));
        assert_eq!("2.0".parse(), Ok(Version::V2));
        assert!("0.70".parse::<Version>().is_err());
    }

    #[test]
    fn what_came_before_0_3_is_no_release() {
        assert!(Version::Older < Version::V0_3 && !Version::ALL.contains(&Version::Older));
        assert_eq!(Version::Older.to_string().parse(), Ok(Version::Older));
        assert!("vbefore 0.3".parse::<Version>().is_err() && "0.2".parse::<Version>().is_err());
    }

    #[test]
    fn both_revision_formats_are_read() {
        let sha = "6d5f1e9c8b7a60514233241506978897a6b5c4d3";
        let expected = Revision { branch: "v0.7".into(), commit: sha.into() };
        assert_eq!(Revision::parse(&format!("v0.7/{sha}")), Some(expected.clone()));
        assert_eq!(Revision::parse(&format!("v0.7@sha1:{sha}")), Some(expected));
        let feature = Revision::parse(&format!("feature/new-app/{sha}")).unwrap();
        assert_eq!(feature.branch, "feature/new-app");
        assert_eq!(Revision::parse(&format!("sha1:{sha}")).unwrap().branch, "");
        assert_eq!(Revision::parse("v0.7"), None);
        assert_eq!(Revision::parse("v0.7/not-a-commit"), None);
    }
}
