//! What tells this cluster from every other. Without it, two hosts with swapped addresses look alike.

use super::{Check, Verdict, When, judged};
use crate::facts::Facts;

pub(super) const CHECK: Check = Check {
    id: "identity",
    title: "Identity of host and cluster",
    when: When::Before,
    judge,
    remedy: "A host without a machine id gets one by `systemd-machine-id-setup`. A cluster without the namespace kube-system is \
             broken: look at `k3s kubectl get namespaces`.",
};

fn judge(_: Option<&Facts>, now: &Facts) -> Verdict {
    judged(|| {
        let identity = now.identity.get()?;
        let uid = &identity.cluster_uid;
        Ok(if uid.is_empty() {
            Verdict::block("the cluster has no UID: its namespace kube-system was not found")
        } else if identity.machine_id.is_empty() {
            Verdict::warn(format!("cluster {uid}, but the host has no machine id"))
        } else {
            Verdict::pass(format!("cluster {uid} on machine {}", identity.machine_id))
        })
    })
}
