//! What the charts of the simulated releases make.

use serde_json::{Value, json};

use super::encoding::{base64, sha1};
use super::flux::World;
use super::kinds::SECRET;
use super::manifests::Product;
use super::store::{Key, Store};
use super::workloads::{NEW_SELECTORS, web, workloads};
use crate::version::Version;

/// The Helm release's name: `spec.releaseName`, else the object's.
#[must_use]
pub(super) fn name(key: &Key, object: &Value) -> String {
    object["spec"]["releaseName"].as_str().unwrap_or(&key.name).to_owned()
}

/// The objects of a release at a chart version.
#[must_use]
pub(super) fn objects(
    world: &World<'_>,
    store: &Store,
    key: &Key,
    object: &Value,
    values: &str,
    chart: &str,
) -> Vec<Value> {
    let release = name(key, object);
    let mut objects = if key.name == "oas-secrets" {
        secrets(world, store)
    } else {
        let template = sha1(&format!("{chart}\n{values}"));
        let newest = Product { version: Version::V2 }.chart(&key.name).1 == chart;
        [running(world, key, &release, &template, newest), around(&key.name, &key.namespace)].concat()
    };
    for object in &mut objects {
        let metadata = &mut object["metadata"];
        metadata["labels"]["app.kubernetes.io/managed-by"] = json!("Helm");
        metadata["labels"]["app.kubernetes.io/instance"] = json!(release);
        metadata["labels"]["helm.toolkit.fluxcd.io/name"] = json!(key.name);
        metadata["labels"]["helm.toolkit.fluxcd.io/namespace"] = json!(key.namespace);
        metadata["annotations"]["meta.helm.sh/release-name"] = json!(release);
        metadata["annotations"]["meta.helm.sh/release-namespace"] = json!(key.namespace);
    }
    objects
}

fn running(world: &World<'_>, key: &Key, release: &str, template: &str, newest: bool) -> Vec<Value> {
    let namespace = &key.namespace;
    let mut objects = Vec::new();
    for workload in workloads(&key.name) {
        let name = if workload.name.is_empty() { release } else { workload.name };
        let mut labels = json!({"app.kubernetes.io/instance": release, "app.kubernetes.io/name": name});
        if newest && NEW_SELECTORS.contains(&name) {
            labels["app.kubernetes.io/component"] = json!("metrics");
        }
        let mut pod = json!({"containers": [{"name": key.name, "image": format!("registry.example.org/{name}:{}", &template[..7])}]});
        if let Some(claim) = workload.claim {
            pod["volumes"] = json!([{"name": "data", "persistentVolumeClaim": {"claimName": claim}}]);
        }
        let mut object = json!({"apiVersion": "apps/v1", "kind": workload.kind,
            "metadata": {"name": name, "namespace": namespace, "labels": labels},
            "spec": {"selector": {"matchLabels": labels},
                "template": {"metadata": {"labels": labels, "annotations": {"checksum/config": template}}, "spec": pod}}});
        if workload.kind != "DaemonSet" {
            object["spec"]["replicas"] = json!(1);
        }
        objects.push(object);
    }
    if let Some(host) = web(&key.name, &world.spec.domain()) {
        let secret = format!("{}-tls", key.name);
        objects.push(json!({"apiVersion": "networking.k8s.io/v1", "kind": "Ingress",
            "metadata": {"name": key.name, "namespace": namespace},
            "spec": {"tls": [{"hosts": [host], "secretName": secret}],
                "rules": [{"host": host, "http": {"paths": [{"path": "/", "pathType": "Prefix",
                    "backend": {"service": {"name": key.name, "port": {"number": 80}}}}]}}]}}));
        objects.push(json!({"apiVersion": "cert-manager.io/v1", "kind": "Certificate",
            "metadata": {"name": secret, "namespace": namespace},
            "spec": {"secretName": secret, "dnsNames": [host],
                "issuerRef": {"kind": "ClusterIssuer", "name": "letsencrypt-production"}},
            "status": {"notAfter": in_two_months(), "conditions": [{"type": "Ready", "status": "True"}]}}));
        objects.push(json!({"apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls",
            "metadata": {"name": secret, "namespace": namespace,
                "annotations": {"cert-manager.io/certificate-name": secret}},
            "data": {"tls.crt": base64(super::content::CERTIFICATE), "tls.key": base64(sha1(&host))}}));
    }
    objects
}

/// What charts make besides what runs, some of it outside of the release's namespace. Names as Helm's charts of the time have them, as far as
/// they are known.
fn around(release: &str, namespace: &str) -> Vec<Value> {
    let (name, service, group, resource) = match release {
        "kube-prometheus-stack" => {
            let name = "kube-prometheus-stack-operator";
            (name, name, "monitoring.coreos.com", "prometheusrules")
        }
        "nginx" => {
            let service = "nginx-ingress-nginx-controller-admission";
            ("nginx-ingress-nginx", service, "networking.k8s.io", "ingresses")
        }
        _ => return Vec::new(),
    };
    let object = |group: &str, kind: &str, name: &str| json!({"apiVersion": format!("{group}/v1"), "kind": kind, "metadata": {"name": name}});
    let of_service = |namespace: &str, name: &str| {
        json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": namespace},
            "spec": {"ports": [{"port": 443}]}})
    };
    let rbac = "rbac.authorization.k8s.io";
    let mut binding = object(rbac, "ClusterRoleBinding", name);
    binding["roleRef"] = json!({"apiGroup": rbac, "kind": "ClusterRole", "name": name});
    let mut webhook = object(
        "admissionregistration.k8s.io",
        "ValidatingWebhookConfiguration",
        &format!("{name}-admission"),
    );
    webhook["webhooks"] = json!([{"name": format!("validate.{resource}.{group}"), "failurePolicy": "Fail",
        "sideEffects": "None", "admissionReviewVersions": ["v1"],
        "clientConfig": {"service": {"namespace": namespace, "name": service}},
        "rules": [{"apiGroups": [group], "apiVersions": ["v1"], "operations": ["CREATE", "UPDATE"],
            "resources": [resource]}]}]);
    let mut made = vec![object(rbac, "ClusterRole", name), binding, webhook, of_service(namespace, service)];
    if release == "nginx" {
        let mut class = object("networking.k8s.io", "IngressClass", "nginx");
        class["spec"] = json!({"controller": "k8s.io/ingress-nginx"});
        made.push(class);
    } else {
        made.push(of_service("kube-system", &format!("{release}-coredns")));
    }
    made
}

/// The end of a certificate that Let's Encrypt gave a month ago.
fn in_two_months() -> String {
    let end = jiff::Timestamp::now() + jiff::SignedDuration::from_hours(60 * 24);
    end.strftime("%Y-%m-%dT00:00:00Z").to_string()
}

/// What the chart `oas-secrets` makes. Values that are there are kept, as the chart's lookup does.
fn secrets(world: &World<'_>, store: &Store) -> Vec<Value> {
    let product = Product { version: Version::V0_6 };
    product
        .secrets(&world.spec.apps)
        .into_iter()
        .map(|(namespace, name, keys)| match store.peek(SECRET, &namespace, &name) {
            Some(found) => json!({"apiVersion": "v1", "kind": "Secret",
                "metadata": {"name": name, "namespace": namespace}, "data": found["data"]}),
            None => secret(world, &namespace, &name, &keys),
        })
        .collect()
}

/// A Secret of variables, with made-up letters that are the same each time.
#[must_use]
pub(super) fn secret(world: &World<'_>, namespace: &str, name: &str, keys: &[String]) -> Value {
    let mut data = json!({});
    for key in keys {
        let value = match key.as_str() {
            "domain" => world.spec.domain(),
            "ip_address" => "203.0.113.10".to_owned(),
            "admin_email" => format!("admin@{}", world.spec.domain()),
            "outgoing_mail_smtp_host" => "mail.example.org".to_owned(),
            "username" => "admin".to_owned(),
            _ => letters(&format!("{}/{namespace}/{name}/{key}", world.spec.name)),
        };
        data[key] = json!(base64(value));
    }
    json!({"apiVersion": "v1", "kind": "Secret", "type": "Opaque",
        "metadata": {"name": name, "namespace": namespace}, "data": data})
}

/// A password of letters made from a text.
#[must_use]
pub(super) fn letters(text: &str) -> String {
    sha1(text).bytes().take(32).map(|digit| char::from(b'a' + (digit % 26))).collect()
}
