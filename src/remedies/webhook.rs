//! A kustomization failed because a validating webhook did not answer yet (guide, "From 0.8 to 1.0"; facts section 9).
//!
//! What serves the webhook is being upgraded itself. The guide: "simply retry it". The guide names `kube-system-config`; the wording is
//! the API server's own, and any kustomization may meet it.

use super::{Remedy, reconcile};

pub(super) const REMEDY: Remedy = Remedy {
    id: "webhook",
    title: "a webhook did not answer when a kustomization was applied",
    looks_like: |stuck| {
        stuck.kind == "Kustomization" && stuck.message.to_lowercase().contains("failed calling webhook")
    },
    cure: |stuck, _| {
        vec![reconcile("kustomizations.kustomize.toolkit.fluxcd.io", &stuck.namespace, &stuck.name)]
    },
    most: 5,
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::remedies::tests::stuck;

    #[test]
    fn it_knows_the_api_servers_message_and_no_other() {
        let yes = |message| {
            (REMEDY.looks_like)(&stuck("Kustomization", "flux-system", "kube-system-config", message))
        };
        assert!(yes(
            "ClusterIssuer/letsencrypt-production dry-run failed, reason: InternalError, error: Internal error occurred: failed calling \
             webhook \"webhook.cert-manager.io\": Post \"https://cert-manager-webhook.cert-manager.svc:443/mutate\": dial tcp \
             10.43.1.2:443: connect: connection refused"
        ));
        assert!(!yes("dependency 'flux-system/core' is not ready"));
    }
}
