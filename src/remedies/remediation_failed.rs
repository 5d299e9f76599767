//! Flux gave a Helm release up after its own attempt to mend it failed (facts section 9).
//!
//! Helm-controller up to 0.36 refuses to try again then; suspending and resuming changes the generation, and it begins anew.

use super::{Remedy, suspend_and_resume};

pub(super) const REMEDY: Remedy = Remedy {
    id: "remediation-failed",
    title: "Flux failed to roll a Helm release back and gave it up",
    looks_like: |stuck| {
        stuck.kind == "HelmRelease" && stuck.message.contains("previous release attempt remediation failed")
    },
    cure: |stuck, _| suspend_and_resume(&stuck.namespace, &stuck.name),
    most: 3,
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::remedies::tests::stuck;

    #[test]
    fn it_knows_the_controllers_message_and_no_other() {
        let yes =
            |message| (REMEDY.looks_like)(&stuck("HelmRelease", "stackspin-apps", "wordpress", message));
        assert!(yes("previous release attempt remediation failed"));
        assert!(!yes("upgrade retries exhausted"));
    }
}
