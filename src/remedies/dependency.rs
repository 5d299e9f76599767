//! A kustomization waits for another one (facts sections 5.3 and 9).
//!
//! It is not ill itself: kustomize-controller looks every thirty seconds whether what it depends on is ready at the same revision. What is
//! to be looked at is the first of the chain that fails by itself, so whoever waits is named behind it.

use super::Remedy;

pub(super) const REMEDY: Remedy = Remedy {
    id: "dependency",
    title: "a kustomization waits for another one",
    looks_like: |stuck| {
        let ends = ["is not ready", "is not updated yet", "revision is not up to date"];
        stuck.kind == "Kustomization"
            && stuck.message.contains("dependency '")
            && ends.iter().any(|end| stuck.message.contains(end))
    },
    cure: |_, _| Vec::new(),
    most: 0,
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::remedies::tests::stuck;

    #[test]
    fn it_knows_the_controllers_messages_and_no_other() {
        let yes = |message| (REMEDY.looks_like)(&stuck("Kustomization", "flux-system", "nextcloud", message));
        assert!(yes("dependency 'flux-system/single-sign-on' is not ready"));
        assert!(yes("dependency 'flux-system/core' is not updated yet"));
        assert!(yes("dependency 'flux-system/core' revision is not up to date"));
        assert!(!yes("HelmChart 'flux-system/oas-loki' is not ready"));
        assert!(!yes("Applied revision: v0.7/1234"));
    }
}
