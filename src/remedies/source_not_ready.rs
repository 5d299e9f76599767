//! A kustomization has no artifact to apply (facts section 9): its source has not been fetched, or has another name.
//!
//! A source that failed to fetch waits its whole interval before it tries again. One that is not there stays so.

use super::{Remedy, reconcile, reconcile_all};

pub(super) const REMEDY: Remedy = Remedy {
    id: "source-not-ready",
    title: "a kustomization's source was not fetched",
    looks_like: |stuck| {
        let Some(said) = stuck.message.to_lowercase().find("source ").map(|at| &stuck.message[at..]) else {
            return false;
        };
        stuck.kind == "Kustomization"
            && (said.contains("artifact not found")
                || said.starts_with("Source '") && said.contains("not found"))
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
        let yes = |message| (REMEDY.looks_like)(&stuck("Kustomization", "flux-system", "core", message));
        assert!(yes("Source is not ready, artifact not found"));
        assert!(yes("Source 'GitRepository/stackspin' not found"));
        assert!(!yes("Secret \"oas-nextcloud-variables\" not found"));
        assert!(!yes("dependency 'flux-system/core' is not ready"));
    }
}
