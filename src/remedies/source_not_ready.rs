//! A kustomization has no artifact to apply (facts section 9): its source has not been fetched, or has another name.
//!
//! A source that failed to fetch waits its whole interval before it tries again. One that is not there stays so.

use super::{Remedy, reconcile, reconcile_all};

pub(super) const REMEDY: Remedy = Remedy {
    id: "source-not-ready",
    title: "a kustomization's source was not fetched",
    looks_like: |stuck| {
        let named = stuck.message.split_once("Source '").map_or("", |(_, rest)| rest);
        stuck.kind == "Kustomization"
            && (stuck.message.contains("artifact not found") || named.contains("not found"))
    },
    cure: |stuck, _| {
        vec![
            reconcile_all("gitrepositories.source.toolkit.fluxcd.io"),
            reconcile("kustomizations.kustomize.toolkit.fluxcd.io", &stuck.namespace, &stuck.name),
        ]
    },
    most: 3,
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::remedies::tests::stuck;

    #[test]
    fn it_knows_the_controllers_messages_and_no_other() {
        let yes =
            |message: &str| (REMEDY.looks_like)(&stuck("Kustomization", "flux-system", "core", message));
        assert!(yes("Source is not ready, artifact not found"));
        assert!(yes("Source 'GitRepository/stackspin' not found"));
        assert!(!yes("Secret \"oas-nextcloud-variables\" not found"));
        assert!(!yes("dependency 'flux-system/core' is not ready"));
        // Letters that grow when they are made small: what a cluster says is cut nowhere.
        let growing = "\u{130}".repeat(8) + " source \u{e9}";
        assert!(!yes(&growing));
    }
}
