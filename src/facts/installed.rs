//! Which Stackspin version is installed, by the evidence order of facts section 4; and which applications.

use serde::{Deserialize, Serialize};

use super::Facts;
use super::flux::{Flux, Source};
use crate::version::{Revision, Version};

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

/// Applications of Stackspin by the names of their HelmReleases (facts section 3.5). What keeps the platform itself going
/// (single sign-on, monitoring, storage) is none.
const APPS: [&str; 6] = ["hedgedoc", "nextcloud", "rocketchat", "wekan", "wordpress", "zulip"];

impl Facts {
    /// The version that is installed.
    ///
    /// With the helm-operator of Flux 1 and nothing of Flux 2 it is 0.5, which stands for 0.3 to 0.5: the cluster does not tell them
    /// apart, and none of them can be upgraded in place.
    /// Without any Flux, and with the releases of Helm 2 that the guide names, it is what came before 0.3.
    ///
    /// A released volume or a suspended source speaks against no version; checks tell of those.
    #[must_use]
    pub fn installed(&self) -> Installed {
        let flux = match self.flux.get() {
            Ok(flux) => flux,
            Err(why) => return Installed::Unknown(format!("what Flux has is not known: {why}")),
        };
        let namespaces = match self.identity.get() {
            Ok(identity) => &identity.namespaces,
            Err(why) => return Installed::Unknown(format!("the namespaces are not known: {why}")),
        };
        let sources: Vec<&Source> = flux.sources.iter().filter(|source| is_stackspin(source)).collect();
        let source = match sources[..] {
            [] if flux.is_flux_1() => return Installed::Version(Version::V0_5),
            [] if self.is_helm_2() => {
                return Installed::Version(Version::Older);
            }
            [] => {
                return Installed::Unknown(
                    "flux-system has no GitRepository openappstack or stackspin".to_owned(),
                );
            }
            [source] => source,
            _ => {
                return Installed::Mixed(vec![
                    "both GitRepositories openappstack and stackspin are there".to_owned(),
                ]);
            }
        };
        let Some(version) = Version::from_branch(&source.branch) else {
            return Installed::Development(source.branch.clone());
        };
        if source.revision.is_empty() {
            return Installed::Unknown(format!("GitRepository {} has fetched nothing yet", source.name));
        }
        let mut against = against_source(version, source, flux);
        against.extend(against_namespaces(version, namespaces));
        against.extend(against_releases(version, flux));
        if against.is_empty() { Installed::Version(version) } else { Installed::Mixed(against) }
    }

    /// The applications that are installed, by the names that Stackspin gives them, sorted.
    #[must_use]
    pub fn apps(&self) -> Vec<String> {
        let Ok(flux) = self.flux.get() else { return Vec::new() };
        let ours = |namespace: &str| matches!(namespace, "oas" | "oas-apps" | "stackspin" | "stackspin-apps");
        let there =
            |app: &str| flux.releases.iter().any(|release| release.name == app && ours(&release.namespace));
        APPS.into_iter().filter(|app| there(app)).map(str::to_owned).collect()
    }
}

/// Whether it is the source of Stackspin itself.
#[must_use]
pub fn is_stackspin(source: &Source) -> bool {
    source.namespace == "flux-system" && matches!(source.name.as_str(), "openappstack" | "stackspin")
}

/// What the source and the kustomizations made from it say against the version.
fn against_source(version: Version, source: &Source, flux: &Flux) -> Vec<String> {
    let Source { name, branch, revision, .. } = source;
    let mut against = Vec::new();
    if version.source() != Some(name.as_str()) {
        against.push(format!("GitRepository {name} follows {branch}, which is not of that name"));
    }
    match Revision::parse(revision) {
        Some(fetched) if fetched.branch == *branch => {}
        Some(fetched) => against.push(format!(
            "GitRepository {name} wants {branch}, but has fetched {}",
            if fetched.branch.is_empty() { revision } else { &fetched.branch }
        )),
        None => against.push(format!("GitRepository {name} has fetched a strange revision, {revision}")),
    }
    if flux.flux_1 {
        against.push("the helm-operator of Flux 1 is there beside Flux 2".to_owned());
    }
    let behind: Vec<&str> = flux
        .kustomizations
        .iter()
        .filter(|kustomization| kustomization.source == *name)
        .filter(|kustomization| !is_applied(&kustomization.applied, revision, kustomization.suspended))
        .map(|kustomization| kustomization.name.as_str())
        .collect();
    if !behind.is_empty() {
        against.push(format!("not at the fetched revision {revision}: kustomizations {}", behind.join(", ")));
    }
    against
}

/// Whether what a kustomization applied is what was fetched. A suspended one stays at an old commit by somebody's will; of another
/// branch it must not be.
fn is_applied(applied: &str, fetched: &str, suspended: bool) -> bool {
    match (Revision::parse(applied), Revision::parse(fetched)) {
        (Some(applied), Some(fetched)) if suspended => applied.branch == fetched.branch,
        (Some(applied), Some(fetched)) => applied == fetched,
        _ => applied == fetched,
    }
}

fn against_namespaces(version: Version, namespaces: &[String]) -> Vec<String> {
    let has = |name: &str| namespaces.iter().any(|namespace| namespace == name);
    let old = has("oas") || has("oas-apps");
    let new = has("stackspin") || has("stackspin-apps");
    let mut against = Vec::new();
    if old && new {
        against.push("namespaces of OpenAppStack (oas, oas-apps) and of Stackspin are both there".to_owned());
    } else if new && version < Version::V0_8 {
        against.push(format!("the namespaces are Stackspin's, which {version} does not have"));
    } else if old && version >= Version::V0_8 {
        against.push(format!("the namespaces are OpenAppStack's, which {version} does not have"));
    }
    if has("secrets-controller") && version < Version::V2 {
        against.push(format!("namespace secrets-controller is there, which {version} does not have"));
    }
    against
}

fn against_releases(version: Version, flux: &Flux) -> Vec<String> {
    let wrong = |name: &str| match name {
        "oas-secrets" => version >= Version::V0_7,
        "rocketchat" => version >= Version::V0_8,
        "zulip" => version < Version::V0_8,
        _ => false,
    };
    flux.releases
        .iter()
        .filter(|release| wrong(&release.name))
        .map(|release| {
            format!(
                "HelmRelease {}/{} is there, which {version} does not have",
                release.namespace, release.name
            )
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::Known;
    use super::super::flux::{Kustomization, Release};
    use super::super::identity::Identity;
    use super::*;

    const SHA: &str = "6d5f1e9c8b7a60514233241506978897a6b5c4d3";
    const OLDER: &str = "0a1b2c3d4e5f60718293a4b5c6d7e8f901234567";

    fn source(name: &str, branch: &str, fetched: &str) -> Source {
        Source {
            namespace: "flux-system".into(),
            name: name.into(),
            branch: branch.into(),
            revision: if fetched.is_empty() { String::new() } else { format!("{fetched}/{SHA}") },
            ..Source::default()
        }
    }

    fn cluster(source: Source, namespaces: &[&str], releases: &[&str]) -> Facts {
        let kustomization = Kustomization {
            name: "core".into(),
            source: source.name.clone(),
            applied: source.revision.clone(),
            ..Kustomization::default()
        };
        let release = |name: &&str| Release {
            namespace: if source.name == "stackspin" { "stackspin-apps" } else { "oas-apps" }.into(),
            name: (*name).into(),
            ..Release::default()
        };
        let flux = Flux {
            releases: releases.iter().map(release).collect(),
            kustomizations: vec![kustomization],
            sources: vec![source],
            ..Flux::default()
        };
        Facts {
            flux: Known::Is(flux),
            identity: Known::Is(Identity {
                machine_id: String::new(),
                cluster_uid: "uid".into(),
                namespaces: namespaces.iter().map(|name| (*name).to_owned()).collect(),
            }),
            ..Facts::default()
        }
    }

    fn with(mut facts: Facts, change: impl FnOnce(&mut Flux)) -> Facts {
        if let Known::Is(flux) = &mut facts.flux {
            change(flux);
        }
        facts
    }

    fn old(version: &str) -> Facts {
        cluster(source("openappstack", version, version), &["oas", "oas-apps"], &["nextcloud", "loki"])
    }

    fn new(version: &str) -> Facts {
        cluster(source("stackspin", version, version), &["stackspin", "stackspin-apps"], &["zulip"])
    }

    #[track_caller]
    fn mixed(facts: &Facts, word: &str) {
        let Installed::Mixed(reasons) = facts.installed() else {
            panic!("not mixed: {:?}", facts.installed())
        };
        assert!(reasons.iter().any(|reason| reason.contains(word)), "{reasons:?} lacks {word}");
    }

    #[test]
    fn a_branch_that_is_fetched_and_applied_is_the_version() {
        assert_eq!(old("v0.6").installed(), Installed::Version(Version::V0_6));
        assert_eq!(old("v0.7").installed(), Installed::Version(Version::V0_7));
        for (branch, version) in [("v0.8", Version::V0_8), ("v1.0", Version::V1_0), ("v2", Version::V2)] {
            assert_eq!(new(branch).installed(), Installed::Version(version));
        }
    }

    #[test]
    fn oas_secrets_belongs_to_0_6() {
        let add = |flux: &mut Flux| {
            flux.releases.push(Release {
                namespace: "oas".into(),
                name: "oas-secrets".into(),
                ..Release::default()
            });
        };
        assert_eq!(with(old("v0.6"), add).installed(), Installed::Version(Version::V0_6));
        mixed(&with(old("v0.7"), add), "oas-secrets");
    }

    #[test]
    fn both_revision_formats_name_the_same_commit() {
        let facts = with(old("v0.7"), |flux| flux.sources[0].revision = format!("v0.7@sha1:{SHA}"));
        assert_eq!(facts.installed(), Installed::Version(Version::V0_7));
    }

    #[test]
    fn a_branch_that_is_wanted_but_not_fetched_is_mixed() {
        mixed(
            &cluster(source("openappstack", "v0.7", "v0.6"), &["oas"], &[]),
            "wants v0.7, but has fetched v0.6",
        );
    }

    #[test]
    fn a_kustomization_that_lags_behind_is_mixed() {
        let lag = |applied: String, suspended| {
            with(old("v0.7"), move |flux| {
                flux.kustomizations[0].applied = applied;
                flux.kustomizations[0].suspended = suspended;
            })
        };
        mixed(&lag(format!("v0.6/{SHA}"), false), "kustomizations core");
        mixed(&lag(format!("v0.7/{OLDER}"), false), "kustomizations core");
        mixed(&lag(String::new(), false), "kustomizations core");
        mixed(&lag(format!("v0.6/{OLDER}"), true), "kustomizations core");
        let held = lag(format!("v0.7/{OLDER}"), true);
        assert_eq!(held.installed(), Installed::Version(Version::V0_7));
    }

    #[test]
    fn kustomizations_of_other_sources_do_not_count() {
        let facts = with(old("v0.7"), |flux| {
            flux.kustomizations.push(Kustomization {
                name: "extra".into(),
                source: "custom-flux-example".into(),
                ..Kustomization::default()
            });
            flux.sources.push(Source {
                namespace: "flux-system".into(),
                name: "custom-flux-example".into(),
                branch: "main".into(),
                ..Source::default()
            });
        });
        assert_eq!(facts.installed(), Installed::Version(Version::V0_7));
    }

    #[test]
    fn both_sources_are_mixed() {
        mixed(
            &with(old("v0.7"), |flux| flux.sources.push(source("stackspin", "v0.8", "v0.8"))),
            "both GitRepositories",
        );
    }

    #[test]
    fn a_source_of_the_wrong_name_is_mixed() {
        mixed(&cluster(source("stackspin", "v0.7", "v0.7"), &[], &[]), "not of that name");
        mixed(&cluster(source("openappstack", "v0.5", "v0.5"), &[], &[]), "not of that name");
    }

    #[test]
    fn namespaces_of_another_version_are_mixed() {
        let at = |name, branch, namespaces: &[&str]| cluster(source(name, branch, branch), namespaces, &[]);
        mixed(&at("openappstack", "v0.7", &["oas", "stackspin"]), "both there");
        mixed(&at("openappstack", "v0.7", &["stackspin"]), "Stackspin's");
        mixed(&at("stackspin", "v0.8", &["oas-apps"]), "OpenAppStack's");
        mixed(&at("stackspin", "v1.0", &["stackspin", "secrets-controller"]), "secrets-controller");
        let two = at("stackspin", "v2", &["stackspin", "secrets-controller"]);
        assert_eq!(two.installed(), Installed::Version(Version::V2));
    }

    #[test]
    fn the_chat_of_another_version_is_mixed() {
        let at = |name, branch, releases: &[&str]| cluster(source(name, branch, branch), &[], releases);
        mixed(&at("openappstack", "v0.7", &["zulip"]), "zulip");
        mixed(&at("stackspin", "v0.8", &["rocketchat"]), "rocketchat");
        let seven = at("openappstack", "v0.7", &["rocketchat"]);
        assert_eq!(seven.installed(), Installed::Version(Version::V0_7));
    }

    #[test]
    fn a_branch_that_is_no_release_is_development() {
        for branch in ["main", "feature/new-app", "tag:v0.7.1", "v0.70"] {
            let facts = cluster(source("openappstack", branch, branch), &["oas"], &[]);
            assert_eq!(facts.installed(), Installed::Development(branch.into()));
        }
    }

    #[test]
    fn flux_1_alone_is_0_5_and_beside_flux_2_mixed() {
        let alone = with(old("v0.6"), |flux| *flux = Flux { flux_1: true, ..Flux::default() });
        assert_eq!(alone.installed(), Installed::Version(Version::V0_5));
        mixed(&with(old("v0.6"), |flux| flux.flux_1 = true), "Flux 1");
    }

    #[test]
    fn helm_2s_releases_without_any_flux_are_before_0_3_and_nothing_less_is() {
        let releases = |parts: &[&str]| parts.iter().map(|part| format!("oas-test-{part}")).collect();
        let parts = ["cert-manager", "files", "local-storage", "prometheus", "proxy"];
        let bare = with(old("v0.6"), |flux| *flux = Flux::default());
        let found = |parts| Facts { helm_2: Known::Is(releases(parts)), ..bare.clone() };
        assert_eq!(found(&parts).installed(), Installed::Version(Version::Older));
        assert!(matches!(found(&parts[1..]).installed(), Installed::Unknown(_)));
        let half = with(found(&parts), |flux| flux.kustomizations.push(Kustomization::default()));
        assert!(matches!(half.installed(), Installed::Unknown(_)));
    }

    #[test]
    fn missing_evidence_is_unknown() {
        let unknown = |facts: &Facts| matches!(facts.installed(), Installed::Unknown(_));
        assert!(unknown(&Facts::default()));
        assert!(unknown(&with(old("v0.6"), |flux| *flux = Flux::default())));
        assert!(unknown(&Facts { identity: Known::not("away"), ..old("v0.6") }));
        assert!(unknown(&cluster(source("openappstack", "v0.6", ""), &["oas"], &[])));
        // A namesake elsewhere is no evidence.
        assert!(unknown(&with(old("v0.6"), |flux| flux.sources[0].namespace = "other".into())));
    }

    #[test]
    fn a_suspended_source_speaks_against_nothing() {
        let facts = with(old("v0.6"), |flux| flux.sources[0].suspended = true);
        assert_eq!(facts.installed(), Installed::Version(Version::V0_6));
    }

    #[test]
    fn applications_are_sorted_and_without_the_platform() {
        let facts = cluster(
            source("openappstack", "v0.6", "v0.6"),
            &[],
            &["wordpress", "single-sign-on", "nextcloud", "loki"],
        );
        assert_eq!(facts.apps(), ["nextcloud", "wordpress"]);
        assert_eq!(Facts::default().apps(), Vec::<String>::new());
    }
}
