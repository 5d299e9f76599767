//! Flux: sources, kustomizations and Helm releases, of every API vintage (facts section 5.1).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::kubernetes::{Groups, Item, List};

/// What Flux has.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flux {
    /// Flux's own version, from the label `app.kubernetes.io/version` of its namespace; empty where there is none.
    pub version: String,
    /// Whether the CRD of the Flux 1 helm-operator is there (0.5 and older).
    pub flux_1: bool,
    /// GitRepositories of every namespace.
    pub sources: Vec<Source>,
    /// Kustomizations of every namespace.
    pub kustomizations: Vec<Kustomization>,
    /// HelmReleases of every namespace.
    pub releases: Vec<Release>,
}

impl Flux {
    /// Whether this is a cluster of 0.3 to 0.5: the helm-operator of Flux 1 and nothing of Flux 2. It has no source, no kustomizations, and none
    /// of the secrets that later versions make (facts section 1).
    #[must_use]
    pub const fn is_flux_1(&self) -> bool {
        self.flux_1 && self.sources.is_empty() && self.kustomizations.is_empty()
    }
}

/// The Ready condition of a Flux object, and whether it speaks of the present generation.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Ready {
    /// `True`, `False`, `Unknown`; empty where there is no such condition.
    pub status: String,
    /// A word.
    pub reason: String,
    /// A sentence of the controller; hostile text, print through `remote::printable`.
    pub message: String,
    /// Whether `status.observedGeneration` (or the condition's) equals `metadata.generation`.
    pub current: bool,
}

impl Ready {
    /// Ready, and of the present generation.
    #[must_use]
    pub fn is_true(&self) -> bool {
        self.current && self.status == "True"
    }
}

/// A GitRepository.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Source {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// `spec.url`.
    pub url: String,
    /// `spec.ref.branch`, or the tag, semver or commit it follows instead, prefixed (`tag:…`).
    pub branch: String,
    /// `spec.suspend`.
    pub suspended: bool,
    /// `status.artifact.revision`, as it stands; empty before the first fetch.
    pub revision: String,
    /// Its condition.
    pub ready: Ready,
}

/// A Kustomization.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Kustomization {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// `spec.sourceRef.name`.
    pub source: String,
    /// Names in `spec.dependsOn` (`namespace/name` where another namespace is meant).
    pub depends_on: Vec<String>,
    /// `spec.suspend`.
    pub suspended: bool,
    /// `spec.prune`.
    pub prune: bool,
    /// `status.lastAppliedRevision`.
    pub applied: String,
    /// Its condition.
    pub ready: Ready,
}

/// A HelmRelease.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Release {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// The chart it wants: `spec.chart.spec.chart`.
    pub chart: String,
    /// The chart version it wants; may be a range.
    pub wanted: String,
    /// The chart version that is installed: `status.history[0].chartVersion` or `status.lastAppliedRevision`.
    pub applied: String,
    /// The chart version last tried: `status.lastAttemptedRevision`.
    pub attempted: String,
    /// `spec.suspend`.
    pub suspended: bool,
    /// The Kustomization that owns it, by its label; empty where none does.
    pub owner: String,
    /// Its condition.
    pub ready: Ready,
    /// What its last try failed of, where another condition than Ready still says so: Ready itself says no more than "retries exhausted"
    /// in the end (facts section 5.3). Hostile text.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub failed: String,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Status {
    observed_generation: Option<i64>,
    conditions: Vec<Condition>,
    artifact: Artifact,
    last_applied_revision: String,
    last_attempted_revision: String,
    last_handled_reconcile_at: String,
    history: Vec<Installed>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Condition {
    #[serde(rename = "type")]
    kind: String,
    status: String,
    reason: String,
    message: String,
    observed_generation: Option<i64>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Artifact {
    revision: String,
}

/// An entry of a release's history (helm.toolkit.fluxcd.io v2beta2 and later), newest first.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Installed {
    chart_version: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct SourceSpec {
    url: String,
    #[serde(rename = "ref")]
    reference: Reference,
    suspend: bool,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Reference {
    branch: String,
    tag: String,
    semver: String,
    name: String,
    commit: String,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct KustomizationSpec {
    source_ref: Name,
    depends_on: Vec<Name>,
    suspend: bool,
    prune: bool,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Name {
    name: String,
    namespace: String,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct ReleaseSpec {
    chart: Template,
    chart_ref: Name,
    suspend: bool,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Template {
    spec: Chart,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Chart {
    chart: String,
    version: String,
}

/// Reads Flux's own objects, its namespace's label and the API groups. Where a kind is not served there are none of it.
pub fn read(flux: &List, objects: &List, groups: &Groups) -> Result<Flux, String> {
    let version = objects
        .of("Namespace")
        .find(|namespace| namespace.metadata.name == "flux-system")
        .and_then(|namespace| namespace.metadata.labels.get("app.kubernetes.io/version"));
    Ok(Flux {
        version: version.cloned().unwrap_or_default(),
        flux_1: groups.has("helm.fluxcd.io"),
        ..of_list(flux)?
    })
}

/// Reads Flux's own objects alone; what is not among them (Flux's version, Flux 1) stays empty.
pub fn of_list(flux: &List) -> Result<Flux, String> {
    Ok(Flux {
        sources: flux.of("GitRepository").map(source).collect::<Result<_, _>>()?,
        kustomizations: flux.of("Kustomization").map(kustomization).collect::<Result<_, _>>()?,
        releases: flux.of("HelmRelease").map(release).collect::<Result<_, _>>()?,
        ..Flux::default()
    })
}

/// The last request for a reconciliation that each Kustomization has handled (`status.lastHandledReconcileAt`), by namespace and name.
pub fn handled(flux: &List) -> Result<BTreeMap<(String, String), String>, String> {
    flux.of("Kustomization")
        .map(|item| {
            let key = (item.metadata.namespace.clone(), item.metadata.name.clone());
            Ok((key, item.status::<Status>()?.last_handled_reconcile_at))
        })
        .collect()
}

fn source(item: &Item) -> Result<Source, String> {
    let (spec, status): (SourceSpec, Status) = (item.spec()?, item.status()?);
    Ok(Source {
        namespace: item.metadata.namespace.clone(),
        name: item.metadata.name.clone(),
        url: spec.url,
        branch: spec.reference.followed(),
        suspended: spec.suspend,
        ready: ready(item, &status),
        revision: status.artifact.revision,
    })
}

impl Reference {
    /// What source-controller follows, by its own order of precedence; without any of them it takes `master`.
    fn followed(self) -> String {
        let others =
            [("commit", self.commit), ("name", self.name), ("semver", self.semver), ("tag", self.tag)];
        match others.into_iter().find(|(_, value)| !value.is_empty()) {
            Some((kind, value)) => format!("{kind}:{value}"),
            None if self.branch.is_empty() => "master".to_owned(),
            None => self.branch,
        }
    }
}

fn kustomization(item: &Item) -> Result<Kustomization, String> {
    let (spec, status): (KustomizationSpec, Status) = (item.spec()?, item.status()?);
    let own = &item.metadata.namespace;
    Ok(Kustomization {
        namespace: own.clone(),
        name: item.metadata.name.clone(),
        source: spec.source_ref.name,
        depends_on: spec
            .depends_on
            .into_iter()
            .map(
                |Name { name, namespace }| {
                    if namespace.is_empty() || namespace == *own {
                        name
                    } else {
                        format!("{namespace}/{name}")
                    }
                },
            )
            .collect(),
        suspended: spec.suspend,
        prune: spec.prune,
        ready: ready(item, &status),
        applied: status.last_applied_revision,
    })
}

fn release(item: &Item) -> Result<Release, String> {
    let (spec, status): (ReleaseSpec, Status) = (item.spec()?, item.status()?);
    let Chart { chart, version } = spec.chart.spec;
    let owner = item.metadata.labels.get("kustomize.toolkit.fluxcd.io/name");
    let ready = ready(item, &status);
    let failed = status
        .conditions
        .iter()
        .find(|condition| condition.kind == "Released" && condition.status == "False");
    let failed = failed.map(|condition| condition.message.clone()).filter(|said| *said != ready.message);
    let newest = status.history.into_iter().next().map(|entry| entry.chart_version);
    Ok(Release {
        namespace: item.metadata.namespace.clone(),
        name: item.metadata.name.clone(),
        chart: if chart.is_empty() { spec.chart_ref.name } else { chart },
        wanted: version,
        applied: newest.filter(|version| !version.is_empty()).unwrap_or(status.last_applied_revision),
        attempted: status.last_attempted_revision,
        suspended: spec.suspend,
        owner: owner.cloned().unwrap_or_default(),
        ready,
        failed: failed.unwrap_or_default(),
    })
}

fn ready(item: &Item, status: &Status) -> Ready {
    let Some(condition) = status.conditions.iter().find(|condition| condition.kind == "Ready") else {
        return Ready::default();
    };
    let observed = status.observed_generation.or(condition.observed_generation);
    Ready {
        status: condition.status.clone(),
        reason: condition.reason.clone(),
        message: condition.message.clone(),
        current: observed.is_some() && observed == item.metadata.generation,
    }
}
