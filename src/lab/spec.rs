//! What a simulated host is to be like.

use std::collections::BTreeSet;
use std::time::Duration;

use super::faults::Fault;
use crate::version::Version;

/// A simulated host before it is made.
#[derive(Debug, Clone)]
pub struct HostSpec {
    /// Its name in the inventory.
    pub name: String,
    /// The Stackspin version that it has.
    pub version: Version,
    /// The applications installed; [`HostSpec::known_apps`] are the ones that a version has.
    pub apps: Vec<String>,
    /// The vintage of Flux.
    pub flux: Vintage,
    /// How Flux writes revisions.
    pub revisions: RevisionFormat,
    /// Whether the source is suspended, as it is outside the nightly window (facts section 3.6).
    pub source_suspended: bool,
    /// Faults from the start.
    pub faults: Vec<Fault>,
    /// Its group in the inventory; empty for none.
    pub group: String,
    /// Its tags in the inventory.
    pub tags: BTreeSet<String>,
    /// Its main domain; `<name>.example.org` where none is named.
    pub domain: Option<String>,
    /// How fast its controllers are.
    pub pace: Pace,
    /// Whether the user who logs in is not root and becomes it through sudo alone.
    pub sudo: bool,
}

impl HostSpec {
    /// A healthy 0.6 host with every application of that version and Flux of its time.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            version: Version::V0_6,
            apps: Self::known_apps(Version::V0_6).iter().map(|app| (*app).to_owned()).collect(),
            flux: Vintage::Beta1,
            revisions: RevisionFormat::Slash,
            source_suspended: false,
            faults: Vec::new(),
            group: String::new(),
            tags: BTreeSet::new(),
            domain: None,
            pace: Pace::default(),
            sudo: false,
        }
    }

    /// The same host with another version, that version's applications and Flux of its time.
    #[must_use]
    pub fn version(mut self, version: Version) -> Self {
        self.version = version;
        self.apps = Self::known_apps(version).iter().map(|app| (*app).to_owned()).collect();
        (self.flux, self.revisions) = match version {
            Version::Older => (Vintage::Never, RevisionFormat::Slash),
            Version::V0_3 | Version::V0_4 | Version::V0_5 => (Vintage::None, RevisionFormat::Slash),
            Version::V0_6 | Version::V0_7 => (Vintage::Beta1, RevisionFormat::Slash),
            Version::V0_8 | Version::V1_0 => (Vintage::Beta2, RevisionFormat::Slash),
            Version::V2 => (Vintage::V1, RevisionFormat::Digest),
        };
        self
    }

    /// The same host with these applications only.
    #[must_use]
    pub fn apps(mut self, apps: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.apps = apps.into_iter().map(Into::into).collect();
        self
    }

    /// The same host with one fault more.
    #[must_use]
    pub fn fault(mut self, fault: Fault) -> Self {
        self.faults.push(fault);
        self
    }

    /// The domain.
    #[must_use]
    pub fn domain(&self) -> String {
        self.domain.clone().unwrap_or_else(|| format!("{}.example.org", self.name))
    }

    /// The optional applications of a version (facts sections 1 and 3.4).
    #[must_use]
    pub fn known_apps(version: Version) -> &'static [&'static str] {
        if version < Version::V0_8 {
            &["nextcloud", "rocketchat", "wekan", "wordpress"]
        } else {
            &["hedgedoc", "nextcloud", "wekan", "wordpress", "zulip"]
        }
    }

    /// Whether a fault is there from the start.
    #[must_use]
    pub fn has(&self, fault: &Fault) -> bool {
        self.faults.contains(fault)
    }
}

/// Vintages of Flux by the API versions that they serve (facts section 5.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Vintage {
    /// No Flux at all: before 0.3.
    Never,
    /// No Flux 2 at all: 0.3 to 0.5.
    None,
    /// Flux 0.5 – 0.17: source and kustomize v1beta1, helm v2beta1.
    Beta1,
    /// Flux 0.28 – 0.41: source and kustomize v1beta2, helm v2beta1.
    Beta2,
    /// Flux 2.3 – 2.6: source and kustomize v1, helm v2.
    V1,
}

impl Vintage {
    /// Flux's version label.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Never | Self::None => "",
            Self::Beta1 => "v0.16.2",
            Self::Beta2 => "v0.31.5",
            Self::V1 => "v2.3.0",
        }
    }
}

/// How Flux writes a revision (facts section 4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RevisionFormat {
    /// `v0.7/<sha>`.
    Slash,
    /// `v0.7@sha1:<sha>`.
    Digest,
}

/// How long the simulated work takes. Real clusters need minutes where these need tenths of a second.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// Fetching a source.
    pub fetch: Duration,
    /// Applying a kustomization.
    pub apply: Duration,
    /// Installing, upgrading or removing a Helm release.
    pub helm: Duration,
    /// Until a failure is tried again, and until a dependency is looked at again.
    pub retry: Duration,
    /// From `systemctl start k3s` until the API answers; the node is ready as long after that again.
    pub boot: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            fetch: Duration::from_millis(80),
            apply: Duration::from_millis(100),
            helm: Duration::from_millis(150),
            retry: Duration::from_millis(400),
            boot: Duration::from_millis(250),
        }
    }
}
