//! A kustomization failed because a Secret it takes variables from was not there (facts section 9), and waits long before it tries again.
//!
//! Used only after the Secrets were put back and compared, so trying again is all it needs.

use super::{Remedy, reconcile};

pub(super) const REMEDY: Remedy = Remedy {
    id: "missing-secret",
    title: "a kustomization remembers that a secret was missing",
    looks_like: |stuck| {
        let message = stuck.message.to_lowercase();
        stuck.kind == "Kustomization" && message.contains("secret") && message.contains("not found")
    },
    cure: |stuck, _| {
        vec![reconcile("kustomizations.kustomize.toolkit.fluxcd.io", &stuck.namespace, &stuck.name)]
    },
    most: 3,
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::remedies::tests::stuck;

    #[test]
    fn it_knows_the_controllers_messages_and_no_other() {
        let yes = |message| (REMEDY.looks_like)(&stuck("Kustomization", "flux-system", "nextcloud", message));
        assert!(yes("var substitution failed for 'nextcloud': Secret \"oas-nextcloud-variables\" not found"));
        assert!(yes(
            "substitute from 'Secret/oas-nextcloud-variables' error: Secret \"oas-nextcloud-variables\" not found"
        ));
        assert!(!yes("dependency 'flux-system/core' is not ready"));
    }
}
