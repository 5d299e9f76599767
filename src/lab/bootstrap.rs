//! A new cluster: what k3s brings, what the installer made, and what Flux then makes of it.

use serde_json::{Value, json};

use super::encoding::base64;
use super::faults::Fault;
use super::flux::{Controllers, World};
use super::manifests::{FLUX, Product};
use super::release;
use super::spec::{HostSpec, Vintage};
use super::store::Store;
use super::workloads::workloads;
use crate::version::Version;

/// The names of the nodes' and system's own workloads.
const SYSTEM: [(&str, &str); 2] = [("kube-system", "coredns"), ("kube-system", "metrics-server")];
const FLUX_CONTROLLERS: [&str; 4] =
    ["helm-controller", "kustomize-controller", "notification-controller", "source-controller"];

/// Builds the cluster and brings it to rest.
pub(super) fn build(store: &mut Store, controllers: &mut Controllers, world: &World<'_>, k3s: &str) {
    let spec = world.spec;
    let product = Product { version: spec.version };
    for name in ["default", "kube-node-lease", "kube-public", "kube-system"] {
        namespace(store, name, &json!({}));
    }
    store.apply(&node(spec, k3s, true));
    for (namespace, name) in SYSTEM {
        store.apply(&deployment(namespace, name, &json!({})));
    }
    store.apply(&json!({"kind": "Secret", "type": "k3s.cattle.io/cluster-config",
        "metadata": {"name": "k3s-serving", "namespace": "kube-system"},
        "data": {"tls.crt": base64(super::content::CERTIFICATE), "tls.key": base64(release::letters("serving"))}}));
    for (namespace, account) in [("kube-system", "coredns"), ("default", "default")] {
        store
            .apply(&json!({"kind": "ServiceAccount", "metadata": {"name": account, "namespace": namespace}}));
        store.apply(&json!({"kind": "Secret", "type": "kubernetes.io/service-account-token",
            "metadata": {"name": format!("{account}-token-x7k2p"), "namespace": namespace,
                "annotations": {"kubernetes.io/service-account.name": account}},
            "data": {"namespace": base64(namespace), "token": base64(release::letters(account))}}));
    }
    match spec.flux {
        Vintage::Never => {
            helm_2(store);
            with_claims(store, spec, product);
        }
        Vintage::None => flux_1(store, spec, product),
        _ => flux_2(store, world, product),
    }
    controllers.settle(store, world);
    if spec.flux > Vintage::None {
        // Overrides need the namespaces that Flux makes.
        store.apply(&json!({"kind": "ConfigMap",
            "metadata": {"name": format!("{}-nextcloud-override", product.prefix()), "namespace": product.apps()},
            "data": {"values.yaml": "nextcloud:\n  defaultPhoneRegion: NL\n"}}));
        controllers.settle(store, world);
    }
    traps(store, spec, product);
}

/// What is there before Flux has done anything.
fn flux_2(store: &mut Store, world: &World<'_>, product: Product) {
    let spec = world.spec;
    let labels = json!({"app.kubernetes.io/part-of": "flux", "app.kubernetes.io/version": spec.flux.label()});
    namespace(store, FLUX, &labels);
    for name in FLUX_CONTROLLERS {
        store.apply(&deployment(FLUX, name, &labels));
    }
    for (group, plural, kind) in [
        ("source.toolkit.fluxcd.io", "gitrepositories", "GitRepository"),
        ("source.toolkit.fluxcd.io", "helmrepositories", "HelmRepository"),
        ("source.toolkit.fluxcd.io", "helmcharts", "HelmChart"),
        ("kustomize.toolkit.fluxcd.io", "kustomizations", "Kustomization"),
        ("helm.toolkit.fluxcd.io", "helmreleases", "HelmRelease"),
    ] {
        store.apply(&crd(group, plural, kind, &labels));
    }
    store.apply(&crd("cert-manager.io", "certificates", "Certificate", &json!({})));
    store.apply(&crd("upgrade.cattle.io", "plans", "Plan", &json!({})));
    store.apply(&json!({"kind": "HelmRepository", "metadata": {"name": "openappstack", "namespace": FLUX},
        "spec": {"interval": "5m", "url": "https://charts.example.org/stable"}}));
    let branch = if spec.has(&Fault::DevelopmentBranch) { "main".to_owned() } else { spec.version.branch() };
    store.apply(&source(product.source(), &branch));
    // Until 0.6 the chart oas-secrets makes the variables, but for those of the cluster, which it then adopts.
    let secrets = product.secrets(&spec.apps);
    for (namespace, name, keys) in &secrets {
        let cluster = *name == product.variables("cluster");
        if namespace == FLUX && (cluster || product.version != Version::V0_6) {
            store.apply(&release::secret(world, namespace, name, keys));
        }
    }
    if product.version != Version::V0_6 {
        namespace(store, product.prefix(), &json!({}));
        for (namespace, name, keys) in secrets.iter().filter(|(namespace, _, _)| namespace != FLUX) {
            store.apply(&release::secret(world, namespace, name, keys));
        }
    }
    store.apply(&product.kustomization("core", &[], &[]));
    for app in &spec.apps {
        store.apply(&product.kustomization(&format!("add-{app}"), &["core"], &[]));
    }
}

/// 0.3 to 0.5: the helm-operator of Flux 1, no source at all, and the applications with their claims.
fn flux_1(store: &mut Store, spec: &HostSpec, product: Product) {
    store.apply(&crd("helm.fluxcd.io", "helmreleases", "HelmRelease", &json!({})));
    with_claims(store, spec, product);
    store.apply(&deployment(product.prefix(), "flux", &json!({})));
    store.apply(&deployment(product.prefix(), "helm-operator", &json!({})));
}

/// Before 0.3: Helm's server, and its records of the releases that the guide names.
fn helm_2(store: &mut Store) {
    store.apply(&deployment("kube-system", "tiller-deploy", &json!({"app": "helm", "name": "tiller"})));
    for part in ["cert-manager", "files", "local-storage", "prometheus", "proxy"] {
        let name = format!("oas-test-{part}");
        for (version, status) in [("1", "SUPERSEDED"), ("2", "DEPLOYED")] {
            store.apply(&json!({"kind": "ConfigMap",
                "metadata": {"name": format!("{name}.v{version}"), "namespace": "kube-system",
                    "labels": {"OWNER": "TILLER", "NAME": name, "STATUS": status, "VERSION": version}},
                "data": {"release": base64(release::letters(&name))}}));
        }
    }
}

/// The namespaces of OpenAppStack, and what runs in them with a claim.
fn with_claims(store: &mut Store, spec: &HostSpec, product: Product) {
    for name in [product.prefix().to_owned(), product.apps()] {
        namespace(store, &name, &json!({}));
    }
    let main =
        ["single-sign-on", "kube-prometheus-stack", "loki"].map(|name| (product.prefix().to_owned(), name));
    let apps = spec.apps.iter().map(|app| (product.apps(), app.as_str()));
    for (namespace, release) in main.into_iter().chain(apps) {
        for workload in workloads(release) {
            let Some(claim) = workload.claim else { continue };
            store.apply(&Product::claim(&namespace, claim));
            let mut object = deployment(&namespace, workload.name, &json!({}));
            object["spec"]["template"]["spec"]["volumes"] =
                json!([{"name": "data", "persistentVolumeClaim": {"claimName": claim}}]);
            store.apply(&object);
        }
    }
}

/// Faults that are a matter of what is there.
fn traps(store: &mut Store, spec: &HostSpec, product: Product) {
    if spec.source_suspended {
        let key = super::store::Key::new(super::kinds::SOURCE, FLUX, product.source());
        store.edit(&key, |source| source["spec"]["suspend"] = json!(true));
    }
    if spec.has(&Fault::MixedVersion) {
        let other = if product.version < Version::V0_8 { Version::V0_8 } else { Version::V0_7 };
        let other = Product { version: other };
        namespace(store, other.prefix(), &json!({}));
        namespace(store, &other.apps(), &json!({}));
        let mut source = source(other.source(), &other.version.branch());
        source["spec"]["suspend"] = json!(true);
        store.apply(&source);
    }
    if spec.has(&Fault::PendingRelease) {
        store.apply(&json!({"kind": "Secret", "type": "helm.sh/release.v1",
            "metadata": {"name": "sh.helm.release.v1.promtail.v2", "namespace": product.prefix(),
                "labels": {"owner": "helm", "name": "promtail", "status": "pending-upgrade", "version": "2"}},
            "data": {"release": base64("{}")}}));
    }
}

fn namespace(store: &mut Store, name: &str, labels: &Value) {
    store.apply(&json!({"kind": "Namespace", "metadata": {"name": name, "labels": labels},
        "spec": {"finalizers": ["kubernetes"]}, "status": {"phase": "Active"}}));
}

/// The host's own node.
#[must_use]
pub(super) fn node(spec: &HostSpec, k3s: &str, ready: bool) -> Value {
    let condition =
        |kind: &str, status: bool| json!({"type": kind, "status": if status { "True" } else { "False" }});
    json!({"kind": "Node", "metadata": {"name": spec.name, "labels": {"kubernetes.io/hostname": spec.name,
            "node-role.kubernetes.io/master": "true"}},
        "spec": {"podCIDR": "10.42.0.0/24"},
        "status": {"conditions": [condition("MemoryPressure", false), condition("DiskPressure", false),
                condition("PIDPressure", false), condition("Ready", ready)],
            "addresses": [{"type": "InternalIP", "address": "203.0.113.10"}, {"type": "Hostname", "address": spec.name}],
            "nodeInfo": {"kubeletVersion": k3s, "osImage": "Debian GNU/Linux 10 (buster)", "architecture": "amd64",
                "containerRuntimeVersion": "containerd://1.4.11-k3s1"}}})
}

fn deployment(namespace: &str, name: &str, labels: &Value) -> Value {
    let app = json!({"app": name});
    json!({"kind": "Deployment", "metadata": {"name": name, "namespace": namespace, "labels": labels},
        "spec": {"replicas": 1, "selector": {"matchLabels": app}, "template": {"metadata": {"labels": app},
            "spec": {"containers": [{"name": name, "image": format!("registry.example.org/{name}:1")}]}}}})
}

fn crd(group: &str, plural: &str, kind: &str, labels: &Value) -> Value {
    json!({"kind": "CustomResourceDefinition", "metadata": {"name": format!("{plural}.{group}"), "labels": labels},
        "spec": {"group": group, "names": {"kind": kind, "plural": plural}, "scope": "Namespaced", "versions": []},
        "status": {"conditions": [{"type": "Established", "status": "True"}]}})
}

fn source(name: &str, branch: &str) -> Value {
    json!({"kind": "GitRepository", "metadata": {"name": name, "namespace": FLUX},
        "spec": {"interval": "1h", "timeout": "60s", "ref": {"branch": branch},
            "url": "https://git.example.org/openappstack/openappstack"}})
}
