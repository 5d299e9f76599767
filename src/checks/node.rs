//! The one node of the cluster.

use super::{Check, Verdict, When, judged, listed};
use crate::facts::Facts;

pub(super) const CHECK: Check = Check {
    id: "node",
    title: "The cluster's one node",
    when: When::Always,
    judge,
    remedy: "Look at `k3s kubectl describe node`: its conditions say what is wrong. A cluster of several nodes is not one that \
             `fleet` knows how to back up.",
};

fn judge(_: Option<&Facts>, now: &Facts) -> Verdict {
    judged(|| {
        let nodes = now.nodes.get()?;
        let [node] = nodes.as_slice() else {
            let names: Vec<&str> = nodes.iter().map(|node| node.name.as_str()).collect();
            let seen = if names.is_empty() { "none".to_owned() } else { listed(names, ", ") };
            return Ok(Verdict::block(format!("Stackspin has one node, this cluster has: {seen}")));
        };
        let name = &node.name;
        let pressure = listed(&node.pressure, ", ");
        Ok(if !node.ready {
            Verdict::block(format!("{name} is not Ready"))
        } else if node.pressure.iter().any(|kind| kind == "DiskPressure") {
            Verdict::block(format!("{name} is under {pressure}: pods are being evicted"))
        } else if node.pressure.is_empty() {
            Verdict::pass(format!("{name} is Ready, {}", node.version))
        } else {
            Verdict::warn(format!("{name} is Ready, but under {pressure}"))
        })
    })
}
