//! The single-sign-on release was made with empty OAuth secrets (guide, "SSO helm upgrade failed"; facts section 9).
//!
//! Flux replaced variables of a Secret that was not there by empty text. Once the Secret is back, the kustomization `core` writes
//! the values in, and the release must be tried again with fresh counters.

use super::{Remedy, reconcile, suspend_and_resume};

pub(super) const REMEDY: Remedy = Remedy {
    id: "empty-oauth",
    title: "single sign-on was installed with empty OAuth secrets",
    looks_like: |stuck| {
        stuck.kind == "HelmRelease"
            && stuck.message.contains("secret-oauth2-clients.yaml")
            && stuck.message.contains("b64enc")
    },
    cure: |stuck, _| {
        let mut commands =
            vec![reconcile("kustomizations.kustomize.toolkit.fluxcd.io", "flux-system", "core")];
        commands.extend(suspend_and_resume(&stuck.namespace, &stuck.name));
        commands
    },
    most: 3,
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::remedies::tests::stuck;

    #[test]
    fn it_knows_the_guides_message_and_no_other() {
        let message = "Helm upgrade failed: template: single-sign-on/templates/secret-oauth2-clients.yaml:9:55: executing \
                       \"single-sign-on/templates/secret-oauth2-clients.yaml\" at <b64enc>: invalid value; expected string";
        assert!((REMEDY.looks_like)(&stuck("HelmRelease", "oas", "single-sign-on", message)));
        assert!(!(REMEDY.looks_like)(&stuck("HelmRelease", "oas", "single-sign-on", "timed out")));
    }
}
