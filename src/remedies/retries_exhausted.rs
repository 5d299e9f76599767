//! A Helm release used up its retries (guide, "Loki upgrade retries exhausted"; facts sections 5.3 and 9).
//!
//! The guide says to reconcile again; in Flux of that time a plain reconcile does not reset the counters, suspending and resuming does.
//! So: first as the guide says, then what works.

use super::{Remedy, reconcile, suspend_and_resume};

pub(super) const REMEDY: Remedy = Remedy {
    id: "retries-exhausted",
    title: "a Helm release used up its retries",
    looks_like: |stuck| stuck.kind == "HelmRelease" && stuck.message.contains("retries exhausted"),
    cure: |stuck, time| {
        if time == 1 {
            vec![reconcile("helmreleases.helm.toolkit.fluxcd.io", &stuck.namespace, &stuck.name)]
        } else {
            suspend_and_resume(&stuck.namespace, &stuck.name)
        }
    },
    most: 3,
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::remedies::tests::stuck;

    #[test]
    fn it_reconciles_first_and_then_suspends_and_resumes() {
        let loki = stuck("HelmRelease", "oas", "loki", "upgrade retries exhausted");
        assert!((REMEDY.looks_like)(&loki));
        assert_eq!((REMEDY.cure)(&loki, 1).len(), 1);
        let second = (REMEDY.cure)(&loki, 2);
        assert_eq!(
            second[0].line(),
            r#"k3s kubectl patch helmreleases.helm.toolkit.fluxcd.io loki -n oas --type merge -p '{"spec":{"suspend":true}}'"#
        );
    }
}
