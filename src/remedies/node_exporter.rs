//! The DaemonSet of the node exporter cannot be patched (guide, "From 1.0 to 2"; facts sections 6.4 and 9).
//!
//! Its selector changed with version 4 of its chart, and a selector is immutable. The DaemonSet keeps nothing, so it is deleted, as its
//! chart's own upgrade notes say, and the release tried again with fresh counters.

use super::{Remedy, suspend_and_resume};
use crate::remote::Command;

pub(super) const REMEDY: Remedy = Remedy {
    id: "node-exporter",
    title: "the selector of the node exporter's DaemonSet cannot be changed",
    looks_like: |stuck| {
        stuck.kind == "HelmRelease"
            && stuck.message.contains(
                r#"cannot patch "kube-prometheus-stack-prometheus-node-exporter" with kind DaemonSet"#,
            )
    },
    cure: |stuck, _| {
        let delete = Command::new(
            "k3s kubectl delete daemonsets.apps kube-prometheus-stack-prometheus-node-exporter --ignore-not-found --wait=false -n",
        );
        let mut commands = vec![delete.arg(&stuck.namespace)];
        commands.extend(suspend_and_resume(&stuck.namespace, &stuck.name));
        commands
    },
    most: 3,
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::remedies::tests::stuck;

    const MESSAGE: &str = "Helm upgrade failed: cannot patch \"kube-prometheus-stack-prometheus-node-exporter\" with kind DaemonSet: \
                           DaemonSet.apps \"kube-prometheus-stack-prometheus-node-exporter\" is invalid: spec.selector: Invalid value: \
                           v1.LabelSelector{}: field is immutable";

    #[test]
    fn it_knows_the_guides_message_also_behind_spent_retries_and_no_other() {
        let yes = |message: &str| {
            (REMEDY.looks_like)(&stuck("HelmRelease", "stackspin", "kube-prometheus-stack", message))
        };
        assert!(yes(MESSAGE));
        assert!(yes(&format!("upgrade retries exhausted; its last try: {MESSAGE}")));
        assert!(!yes(
            "Helm upgrade failed: cannot patch \"promtail\" with kind DaemonSet: field is immutable"
        ));
        assert!(!yes("upgrade retries exhausted"));
    }

    #[test]
    fn only_that_daemon_set_goes_before_the_release_is_tried_again() {
        let lines: Vec<String> =
            (REMEDY.cure)(&stuck("HelmRelease", "stackspin", "kube-prometheus-stack", MESSAGE), 1)
                .iter()
                .map(|command| command.line().to_owned())
                .collect();
        assert_eq!(
            lines[0],
            "k3s kubectl delete daemonsets.apps kube-prometheus-stack-prometheus-node-exporter --ignore-not-found --wait=false \
             -n stackspin"
        );
        assert!(lines[1].contains("suspend\":true") && lines[2].contains("suspend\":false"), "{lines:?}");
    }
}
