//! What tells this cluster from every other. Without it, two hosts with swapped addresses look alike.

use super::{Check, Verdict, When, judged};
use crate::facts::Facts;

pub(super) const CHECK: Check = Check {
    id: "identity",
    title: "Identity of host and cluster",
    when: When::Before,
    judge,
    remedy: "Where a pin differs, find out whose address it is; `fleet trust` replaces pins that are out of date. A host without a machine id \
             gets one by `systemd-machine-id-setup`. A cluster without the namespace kube-system is broken: look at `k3s kubectl get \
             namespaces`.",
};

fn judge(_: Option<&Facts>, now: &Facts) -> Verdict {
    judged(|| {
        let pins = now.pins.get()?;
        let identity = now.identity.get()?;
        let unlike: Vec<String> = pins.unlike(now).iter().map(ToString::to_string).collect();
        let uid = &identity.cluster_uid;
        Ok(if !unlike.is_empty() {
            Verdict::block(format!("the inventory pins {}", unlike.join("; it pins ")))
        } else if uid.is_empty() {
            Verdict::block("the cluster has no UID: its namespace kube-system was not found")
        } else if identity.machine_id.is_empty() {
            Verdict::warn(format!("cluster {uid}, but the host has no machine id"))
        } else {
            let pinned = match pins.open() {
                open if open.is_empty() => "all pinned".to_owned(),
                open => format!("not pinned: {}", open.join(", ")),
            };
            Verdict::pass(format!("cluster {uid} on machine {}; {pinned}", identity.machine_id))
        })
    })
}
