//! What Helm has made for releases in the namespaces that 0.8 does not have, outside of them (facts section 3.3).
//!
//! Helm writes on an object which release it belongs to, and refuses to install another one that would make it: "invalid ownership metadata".
//! So what is left of a release whose namespace is gone is in the way of the same chart in another namespace; and a webhook whose service is
//! gone refuses whatever it watches. Never asked for is what holds data or what others live by: volumes, claims, storage classes,
//! namespaces, Secrets, resource definitions.

use super::kubernetes::{Groups, List};
use super::renamed;
use crate::plan::Object;
use crate::remote::Command;

/// The annotation by which Helm knows whose an object is.
const OWNER: &str = "meta.helm.sh/release-namespace";

const RBAC: &str = "rbac.authorization.k8s.io";
const ADMISSION: &str = "admissionregistration.k8s.io";
const API_SERVICES: &str = "apiregistration.k8s.io";

/// The API group (with a version, where only that one has the kind), the full name, the kind. The core group is always served.
const KINDS: [(&str, &str, &str); 14] = [
    ("", "services", "Service"),
    ("", "configmaps", "ConfigMap"),
    ("", "serviceaccounts", "ServiceAccount"),
    (RBAC, "clusterroles.rbac.authorization.k8s.io", "ClusterRole"),
    (RBAC, "clusterrolebindings.rbac.authorization.k8s.io", "ClusterRoleBinding"),
    (RBAC, "roles.rbac.authorization.k8s.io", "Role"),
    (RBAC, "rolebindings.rbac.authorization.k8s.io", "RoleBinding"),
    (
        ADMISSION,
        "validatingwebhookconfigurations.admissionregistration.k8s.io",
        "ValidatingWebhookConfiguration",
    ),
    (ADMISSION, "mutatingwebhookconfigurations.admissionregistration.k8s.io", "MutatingWebhookConfiguration"),
    (API_SERVICES, "apiservices.apiregistration.k8s.io", "APIService"),
    // Kubernetes 1.25 has neither this kind nor this version any more.
    ("policy/v1beta1", "podsecuritypolicies.policy", "PodSecurityPolicy"),
    ("scheduling.k8s.io", "priorityclasses.scheduling.k8s.io", "PriorityClass"),
    ("networking.k8s.io", "ingressclasses.networking.k8s.io", "IngressClass"),
    ("monitoring.coreos.com", "servicemonitors.monitoring.coreos.com", "ServiceMonitor"),
];

/// Asks for what bears Helm's label, of the kinds that are served.
#[must_use]
pub fn ask(groups: &Groups) -> Command {
    let served = KINDS.iter().filter(|(group, _, _)| group.is_empty() || groups.has(group));
    let kinds: Vec<&str> = served.map(|(_, kind, _)| *kind).collect();
    // Values of ConfigMaps may hold passwords.
    Command::new("k3s kubectl get")
        .arg(kinds.join(","))
        .fixed("-A -l app.kubernetes.io/managed-by=Helm -o json")
        .limit(64 << 20)
        .sensitive()
}

/// Picks what belongs to releases in the namespaces that go and is not in them, in order of kind, namespace and name.
#[must_use]
pub fn read(objects: &List) -> Vec<Object> {
    let of = |(_, full, kind): &(&str, &str, &'static str)| -> Vec<Object> {
        let left = objects.of(kind).filter(|item| {
            let owner = item.metadata.annotations.get(OWNER);
            owner.is_some_and(|owner| renamed::goes(owner)) && !renamed::goes(&item.metadata.namespace)
        });
        let object = |item: &super::kubernetes::Item| Object {
            kind: (*full).to_owned(),
            namespace: item.metadata.namespace.clone(),
            name: item.metadata.name.clone(),
        };
        left.map(object).collect()
    };
    let mut left: Vec<Object> = KINDS.iter().flat_map(of).collect();
    left.sort();
    left
}

/// Whether it stands between the API and whatever is written or asked: it must go before what answers for it is stopped.
#[must_use]
pub fn is_in_the_way(object: &Object) -> bool {
    object.kind.ends_with(ADMISSION) || object.kind.ends_with(API_SERVICES)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_kinds_that_are_served_are_asked_for() {
        let groups = Groups::read(
            r#"{"groups":[{"name":"policy","versions":[{"groupVersion":"policy/v1"}]},{"name":"scheduling.k8s.io"}]}"#,
        );
        let line = ask(&groups.unwrap()).line().to_owned();
        assert!(line.contains("serviceaccounts,priorityclasses.scheduling.k8s.io "), "{line}");
        assert!(!line.contains("podsecuritypolicies"), "{line}");
    }

    #[test]
    fn what_belongs_to_a_release_of_an_old_namespace_and_is_outside_of_both_is_left() {
        let object = |kind: &str, namespace: &str, name: &str, owner: &str| {
            serde_json::json!({"kind": kind, "metadata": {"name": name, "namespace": namespace,
                "annotations": {OWNER: owner}}})
        };
        let answer = serde_json::json!({"items": [
            object("Service", "kube-system", "coredns", "oas"),
            object("Service", "oas", "nginx", "oas"),
            object("ConfigMap", "oas-apps", "crossed", "oas"),
            object("ClusterRole", "", "wekan", "oas-apps"),
            object("ClusterRole", "", "cert-manager", "cert-manager"),
            object("ValidatingWebhookConfiguration", "", "admission", "oas"),
            {"kind": "ClusterRole", "metadata": {"name": "bare"}},
        ]});
        let left = read(&List::read(&answer.to_string()).unwrap());
        let said: Vec<String> = left.iter().map(|object| format!("{} {object}", object.kind)).collect();
        assert_eq!(
            said,
            [
                "clusterroles.rbac.authorization.k8s.io clusterroles.rbac.authorization.k8s.io/wekan",
                "services kube-system/coredns",
                "validatingwebhookconfigurations.admissionregistration.k8s.io \
                 validatingwebhookconfigurations.admissionregistration.k8s.io/admission",
            ]
        );
        assert_eq!(left.iter().filter(|object| is_in_the_way(object)).count(), 1);
    }
}
