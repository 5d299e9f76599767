//! Helm believes that somebody is at work on a release (facts sections 5.3 and 9).
//!
//! A Helm that died in the middle leaves a record that says `pending-…`, and no later one begins. Who wrote it may still be at work, so
//! at first the release is only asked for again; after that the pending record goes. The records before it stay, so nothing that is
//! installed is forgotten, and the proven backup holds the one that goes.

use super::{Remedy, reconcile, suspend_and_resume};
use crate::remote::Command;

pub(super) const REMEDY: Remedy = Remedy {
    id: "pending-release",
    title: "a Helm that died has left its release pending",
    looks_like: |stuck| {
        stuck.kind == "HelmRelease"
            && stuck.message.contains("another operation (install/upgrade/rollback) is in progress")
    },
    cure: |stuck, time| {
        if time == 1 {
            return vec![reconcile("helmreleases.helm.toolkit.fluxcd.io", &stuck.namespace, &stuck.name)];
        }
        let mut commands = vec![forget(&stuck.namespace, &stuck.name)];
        commands.extend(suspend_and_resume(&stuck.namespace, &stuck.name));
        commands
    },
    most: 3,
};

/// Deletes the pending records. Helm's name of the release and the namespace of its records need not be those of the HelmRelease
/// (facts section 5.1), so the cluster is asked; where it does not answer, nothing is deleted.
fn forget(namespace: &str, name: &str) -> Command {
    Command::new("namespace=").joined(namespace).fixed("&& name=").joined(name).fixed(
        r#"&& ask() { k3s kubectl get helmreleases.helm.toolkit.fluxcd.io "$name" -n "$namespace" -o jsonpath="$1"; } \
&& release=$(ask '{.spec.releaseName}') && target=$(ask '{.spec.targetNamespace}') && storage=$(ask '{.spec.storageNamespace}') \
&& k3s kubectl delete secrets -n "${storage:-$namespace}" --ignore-not-found \
-l "owner=helm,name=${release:-${target:+$target-}$name},status in (pending-install,pending-upgrade,pending-rollback)""#,
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::remedies::tests::stuck;

    #[test]
    fn it_asks_again_first_and_deletes_pending_records_only_then() {
        let message = "Helm upgrade failed: another operation (install/upgrade/rollback) is in progress";
        let nextcloud = stuck("HelmRelease", "stackspin-apps", "nextcloud", message);
        assert!((REMEDY.looks_like)(&nextcloud));
        assert!(!(REMEDY.looks_like)(&stuck(
            "HelmRelease",
            "stackspin",
            "loki",
            "upgrade retries exhausted"
        )));
        let lines = |time| -> String {
            (REMEDY.cure)(&nextcloud, time).iter().map(|command| command.line().to_owned() + "\n").collect()
        };
        assert!(!lines(1).contains("delete"));
        assert!(lines(2).contains("status in (pending-install,pending-upgrade,pending-rollback)"));
    }
}
