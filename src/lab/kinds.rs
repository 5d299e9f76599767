//! The kinds of object that a simulated cluster knows, and under which API versions it serves them.

use super::spec::Vintage;

/// A kind of object. An index into [`KINDS`], so that keys are small and sort by kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Kind(u8);

/// What the API says of a kind.
#[derive(Debug)]
pub struct About {
    /// The API group; empty for the core group.
    pub group: &'static str,
    /// Versions served, preferred first. Flux kinds are told by [`Kind::versions`] instead.
    versions: &'static [&'static str],
    /// `secrets`.
    pub plural: &'static str,
    /// `secret`.
    pub singular: &'static str,
    /// `Secret`.
    pub kind: &'static str,
    /// Short names, as kubectl takes them.
    pub short: &'static [&'static str],
    /// Whether objects live in a namespace.
    pub namespaced: bool,
    /// Whether a change of anything but metadata and status raises `metadata.generation`.
    pub generation: bool,
    /// Whether it has the `/scale` subresource.
    pub scale: bool,
    /// Where k3s' datastore keeps them, below `/registry/`.
    pub registry: &'static str,
}

const fn about(
    group: &'static str,
    versions: &'static [&'static str],
    plural: &'static str,
    singular: &'static str,
    kind: &'static str,
    short: &'static [&'static str],
) -> About {
    About {
        group,
        versions,
        plural,
        singular,
        kind,
        short,
        namespaced: true,
        generation: false,
        scale: false,
        registry: plural,
    }
}

impl About {
    const fn cluster(mut self) -> Self {
        self.namespaced = false;
        self
    }
    const fn counted(mut self) -> Self {
        self.generation = true;
        self
    }
    const fn scaled(mut self) -> Self {
        self.generation = true;
        self.scale = true;
        self
    }
    const fn kept(mut self, registry: &'static str) -> Self {
        self.registry = registry;
        self
    }
}

/// Every kind.
pub(super) static KINDS: &[About] = &[
    about("", &["v1"], "namespaces", "namespace", "Namespace", &["ns"]).cluster(),
    about("", &["v1"], "nodes", "node", "Node", &["no"]).cluster().kept("minions"),
    about("", &["v1"], "secrets", "secret", "Secret", &[]),
    about("", &["v1"], "configmaps", "configmap", "ConfigMap", &["cm"]),
    about("", &["v1"], "pods", "pod", "Pod", &["po"]),
    about("", &["v1"], "services", "service", "Service", &["svc"]).kept("services/specs"),
    about("", &["v1"], "serviceaccounts", "serviceaccount", "ServiceAccount", &["sa"]),
    about("", &["v1"], "persistentvolumes", "persistentvolume", "PersistentVolume", &["pv"]).cluster(),
    about("", &["v1"], "persistentvolumeclaims", "persistentvolumeclaim", "PersistentVolumeClaim", &["pvc"]),
    about("", &["v1"], "events", "event", "Event", &["ev"]),
    about("apps", &["v1"], "deployments", "deployment", "Deployment", &["deploy"]).scaled(),
    about("apps", &["v1"], "replicasets", "replicaset", "ReplicaSet", &["rs"]).scaled(),
    about("apps", &["v1"], "statefulsets", "statefulset", "StatefulSet", &["sts"]).scaled(),
    about("apps", &["v1"], "daemonsets", "daemonset", "DaemonSet", &["ds"]).counted(),
    about("batch", &["v1"], "jobs", "job", "Job", &[]).counted(),
    about("batch", &["v1", "v1beta1"], "cronjobs", "cronjob", "CronJob", &["cj"]).counted(),
    about("networking.k8s.io", &["v1", "v1beta1"], "ingresses", "ingress", "Ingress", &["ing"])
        .counted()
        .kept("ingress"),
    about("storage.k8s.io", &["v1"], "storageclasses", "storageclass", "StorageClass", &["sc"]).cluster(),
    about(
        "apiextensions.k8s.io",
        &["v1"],
        "customresourcedefinitions",
        "customresourcedefinition",
        "CustomResourceDefinition",
        &["crd"],
    )
    .cluster()
    .counted()
    .kept("apiextensions.k8s.io/customresourcedefinitions"),
    about("source.toolkit.fluxcd.io", &[], "gitrepositories", "gitrepository", "GitRepository", &["gitrepo"])
        .counted()
        .kept("source.toolkit.fluxcd.io/gitrepositories"),
    about(
        "source.toolkit.fluxcd.io",
        &[],
        "helmrepositories",
        "helmrepository",
        "HelmRepository",
        &["helmrepo"],
    )
    .counted()
    .kept("source.toolkit.fluxcd.io/helmrepositories"),
    about("source.toolkit.fluxcd.io", &[], "helmcharts", "helmchart", "HelmChart", &["hc"])
        .counted()
        .kept("source.toolkit.fluxcd.io/helmcharts"),
    about("kustomize.toolkit.fluxcd.io", &[], "kustomizations", "kustomization", "Kustomization", &["ks"])
        .counted()
        .kept("kustomize.toolkit.fluxcd.io/kustomizations"),
    about("helm.toolkit.fluxcd.io", &[], "helmreleases", "helmrelease", "HelmRelease", &["hr"])
        .counted()
        .kept("helm.toolkit.fluxcd.io/helmreleases"),
    about("cert-manager.io", &["v1"], "certificates", "certificate", "Certificate", &["cert", "certs"])
        .counted()
        .kept("cert-manager.io/certificates"),
    about("upgrade.cattle.io", &["v1"], "plans", "plan", "Plan", &[])
        .counted()
        .kept("upgrade.cattle.io/plans"),
    about("rbac.authorization.k8s.io", &["v1"], "clusterroles", "clusterrole", "ClusterRole", &[]).cluster(),
    about(
        "rbac.authorization.k8s.io",
        &["v1"],
        "clusterrolebindings",
        "clusterrolebinding",
        "ClusterRoleBinding",
        &[],
    )
    .cluster(),
    about("rbac.authorization.k8s.io", &["v1"], "roles", "role", "Role", &[]),
    about("rbac.authorization.k8s.io", &["v1"], "rolebindings", "rolebinding", "RoleBinding", &[]),
    about(
        "admissionregistration.k8s.io",
        &["v1"],
        "validatingwebhookconfigurations",
        "validatingwebhookconfiguration",
        "ValidatingWebhookConfiguration",
        &[],
    )
    .cluster()
    .counted(),
    about(
        "admissionregistration.k8s.io",
        &["v1"],
        "mutatingwebhookconfigurations",
        "mutatingwebhookconfiguration",
        "MutatingWebhookConfiguration",
        &[],
    )
    .cluster()
    .counted(),
    about("networking.k8s.io", &["v1"], "ingressclasses", "ingressclass", "IngressClass", &[])
        .cluster()
        .counted(),
    // That of Flux 1. Behind the one of Flux 2, which is meant wherever a kind is called by its name alone.
    about("helm.fluxcd.io", &[], "helmreleases", "helmrelease", "HelmRelease", &["hr"])
        .counted()
        .kept("helm.fluxcd.io/helmreleases"),
];

/// Namespaces.
pub(super) const NAMESPACE: Kind = Kind::named("namespaces");
/// Nodes.
pub(super) const NODE: Kind = Kind::named("nodes");
/// Secrets.
pub(super) const SECRET: Kind = Kind::named("secrets");
/// ConfigMaps.
pub(super) const CONFIG_MAP: Kind = Kind::named("configmaps");
/// Pods.
pub(super) const POD: Kind = Kind::named("pods");
/// PersistentVolumes.
pub(super) const PV: Kind = Kind::named("persistentvolumes");
/// PersistentVolumeClaims.
pub(super) const PVC: Kind = Kind::named("persistentvolumeclaims");
/// DaemonSets.
pub(super) const DAEMON_SET: Kind = Kind::named("daemonsets");
/// Deployments.
pub(super) const DEPLOYMENT: Kind = Kind::named("deployments");
/// StatefulSets.
pub(super) const STATEFUL_SET: Kind = Kind::named("statefulsets");
/// ReplicaSets.
pub(super) const REPLICA_SET: Kind = Kind::named("replicasets");
/// Cron jobs.
pub(super) const CRON_JOB: Kind = Kind::named("cronjobs");
/// Ingresses.
pub(super) const INGRESS: Kind = Kind::named("ingresses");
/// Services.
pub(super) const SERVICE: Kind = Kind::named("services");
/// Webhooks that refuse what is written.
pub(super) const WEBHOOKS: Kind = Kind::named("validatingwebhookconfigurations");
/// Flux sources.
pub(super) const SOURCE: Kind = Kind::named("gitrepositories");
/// Flux Kustomizations.
pub(super) const KUSTOMIZATION: Kind = Kind::named("kustomizations");
/// Helm releases of Flux.
pub(super) const RELEASE: Kind = Kind::named("helmreleases");

impl Kind {
    /// The kind of this plural. Only for constants: a name that is not in the table does not build.
    const fn named(plural: &str) -> Self {
        let mut at = 0;
        while !same(KINDS[at as usize].plural.as_bytes(), plural.as_bytes()) {
            at += 1;
        }
        Self(at)
    }

    /// Every kind.
    pub fn all() -> impl Iterator<Item = Self> {
        (0u8..).take(KINDS.len()).map(Self)
    }

    /// The next one in the table's order: the end of this kind's keys.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }

    /// What the API says of it.
    #[must_use]
    pub fn about(self) -> &'static About {
        &KINDS[usize::from(self.0)]
    }

    /// Versions served by a cluster of this vintage, preferred first (facts section 5.1).
    #[must_use]
    pub fn versions(self, vintage: Vintage) -> &'static [&'static str] {
        let about = self.about();
        match (about.group, vintage) {
            ("source.toolkit.fluxcd.io" | "kustomize.toolkit.fluxcd.io", Vintage::Beta2) => {
                &["v1beta2", "v1beta1"]
            }
            ("source.toolkit.fluxcd.io" | "kustomize.toolkit.fluxcd.io", Vintage::V1) => &["v1", "v1beta2"],
            ("source.toolkit.fluxcd.io" | "kustomize.toolkit.fluxcd.io", Vintage::Beta1) => &["v1beta1"],
            ("helm.toolkit.fluxcd.io", Vintage::Beta1 | Vintage::Beta2) => &["v2beta1"],
            ("helm.toolkit.fluxcd.io", Vintage::V1) => &["v2", "v2beta2"],
            ("helm.fluxcd.io", Vintage::None) => &["v1"],
            (group, Vintage::Never | Vintage::None) if group.ends_with(".toolkit.fluxcd.io") => &[],
            _ => about.versions,
        }
    }

    /// `apiVersion` of a cluster of this vintage: the preferred one.
    #[must_use]
    pub fn api_version(self, vintage: Vintage) -> String {
        let version = self.versions(vintage).first().copied().unwrap_or("v1");
        match self.about().group {
            "" => version.to_owned(),
            group => format!("{group}/{version}"),
        }
    }

    /// The kind served at this place, if there is one.
    #[must_use]
    pub fn served(vintage: Vintage, group: &str, version: &str, plural: &str) -> Option<Self> {
        Self::all().find(|kind| {
            let about = kind.about();
            about.group == group && about.plural == plural && kind.versions(vintage).contains(&version)
        })
    }

    /// The kind that manifests call by this name (`Secret`).
    #[must_use]
    pub fn called(kind: &str) -> Option<Self> {
        Self::all().find(|known| known.about().kind == kind)
    }

    /// How messages of the API name it: `secrets`, `kustomizations.kustomize.toolkit.fluxcd.io`.
    #[must_use]
    pub fn qualified(self) -> String {
        let About { group, plural, .. } = self.about();
        if group.is_empty() { (*plural).to_owned() } else { format!("{plural}.{group}") }
    }
}

const fn same(left: &[u8], right: &[u8]) -> bool {
    if left.len() != right.len() {
        return false;
    }
    let mut at = 0;
    while at < left.len() {
        if left[at] != right[at] {
            return false;
        }
        at += 1;
    }
    true
}
