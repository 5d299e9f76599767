//! Pods: what fails before the upgrade, and what fails only since.

use std::collections::BTreeSet;

use super::{Check, Findings, Verdict, When, counted, judged};
use crate::event::Level;
use crate::facts::Facts;
use crate::facts::pods::Pod;

/// Without these namespaces nothing else works.
const CORE: [&str; 2] = ["kube-system", "flux-system"];

pub(super) const CHECK: Check = Check {
    id: "pods",
    title: "Pods",
    when: When::Always,
    judge,
    remedy: "Look at `k3s kubectl describe pod -n NAMESPACE NAME` and `k3s kubectl logs`; delete pods that a finished job left \
             behind as Failed.",
};

fn judge(before: Option<&Facts>, now: &Facts) -> Verdict {
    judged(|| {
        let pods = now.pods.get()?;
        let failed_before: Option<BTreeSet<(&str, &str)>> = match before {
            Some(before) => Some(before.pods.get()?.failing.iter().map(lasting_name).collect()),
            None => None,
        };
        let mut findings = Findings::default();
        if pods.total == 0 {
            findings.add(Level::Block, "no pod runs at all".to_owned());
        }
        for pod in &pods.failing {
            let blocks = match &failed_before {
                Some(failed_before) => !failed_before.contains(&lasting_name(pod)),
                None => CORE.contains(&pod.namespace.as_str()),
            };
            let since = match (&failed_before, blocks) {
                (None, _) => "",
                (Some(_), true) => ", since the upgrade",
                (Some(_), false) => ", as before the upgrade",
            };
            let state = if pod.reason.is_empty() { &pod.phase } else { &pod.reason };
            let restarts = counted(pod.restarts, "restart");
            let found = format!("{}/{}: {state}, {restarts}{since}", pod.namespace, pod.name);
            findings.add(if blocks { Level::Block } else { Level::Warn }, found);
        }
        Ok(findings.verdict(format!("{} pods, none failing", pods.total)))
    })
}

/// A pod's own name changes with every restart of its controller; the controller's does not.
fn lasting_name(pod: &Pod) -> (&str, &str) {
    (&pod.namespace, if pod.owner.is_empty() { &pod.name } else { &pod.owner })
}
