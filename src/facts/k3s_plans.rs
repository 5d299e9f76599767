//! Plans of the system-upgrade-controller: which k3s the cluster is to have (facts section 3.7).

use serde::{Deserialize, Serialize};

use super::kubernetes::List;
use super::nodes::Node;
use crate::remote::{Command, printable};

/// What a Plan is called in an answer.
const KIND: &str = "Plan";

/// One Plan.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct K3sPlan {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// `spec.version`: `v1.21.5+k3s2`; empty where it follows a channel.
    pub version: String,
    /// `spec.channel`: `https://update.k3s.io/v1-release/channels/v1.21`; empty where it names a version.
    pub channel: String,
    /// `status.latestVersion`: what the channel gave when it was last asked, with `-` for `+`.
    pub latest: String,
    /// The Flux kustomization that it comes from, by its label; empty where it is nobody's but the operator's own.
    pub owner: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Spec {
    version: String,
    channel: String,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Status {
    latest_version: String,
}

/// Asks for them. Where the kind is not served the question fails.
#[must_use]
pub fn ask() -> Command {
    Command::new("k3s kubectl get plans.upgrade.cattle.io -A -o json")
}

/// Reads them.
pub fn read(plans: &List) -> Result<Vec<K3sPlan>, String> {
    plans
        .of(KIND)
        .map(|item| {
            let (spec, status): (Spec, Status) = (item.spec()?, item.status()?);
            let owner = item.metadata.labels.get("kustomize.toolkit.fluxcd.io/name");
            Ok(K3sPlan {
                namespace: item.metadata.namespace.clone(),
                name: item.metadata.name.clone(),
                version: spec.version,
                channel: spec.channel,
                latest: status.latest_version,
                owner: owner.cloned().unwrap_or_default(),
            })
        })
        .collect()
}

impl K3sPlan {
    /// `system-upgrade/k3s-server (v1.21.5+k3s2)`.
    #[must_use]
    pub fn title(&self) -> String {
        let wants = if self.version.is_empty() { &self.channel } else { &self.version };
        printable(&format!("{}/{} ({wants})", self.namespace, self.name))
    }

    /// The numbers of the k3s that it gives: of a channel of one minor version its first two. None where that cannot be told.
    fn gives(&self) -> Option<Vec<u64>> {
        let exact = [&self.version, &self.latest].into_iter().find_map(|version| numbers(version));
        exact.or_else(|| {
            let minor = self.channel.rsplit('/').next()?.strip_prefix('v')?;
            minor.split('.').map(|part| part.parse().ok()).collect()
        })
    }
}

/// The numbers of `v1.21.5+k3s2` (a node's) or `v1.21.5-k3s2` (a Plan's status); none of what is no release of k3s.
fn numbers(version: &str) -> Option<Vec<u64>> {
    let (kubernetes, k3s) = version.strip_prefix('v')?.split_once(['+', '-'])?;
    let numbers: Option<Vec<u64>> =
        kubernetes.split('.').chain([k3s.strip_prefix("k3s")?]).map(|part| part.parse().ok()).collect();
    numbers.filter(|numbers| numbers.len() == 4)
}

/// Why the controller must not be let loose on these nodes: what it would undo, or what cannot be told (promise B12). Custom versions of k3s
/// are not supported by Stackspin, and may be downgraded (facts section 3.7). None where it would do what Stackspin means.
#[must_use]
pub fn undone(plans: &[K3sPlan], nodes: &[Node]) -> Option<String> {
    if plans.is_empty() {
        return Some("there is no Plan: the controller would upgrade nothing".to_owned());
    }
    if let Some(own) = plans.iter().find(|plan| plan.owner.is_empty()) {
        return Some(format!(
            "the Plan {} comes from no Flux kustomization: it is not Stackspin's",
            own.title()
        ));
    }
    plans.iter().find_map(|plan| nodes.iter().find_map(|node| against(plan, node)))
}

fn against(plan: &K3sPlan, node: &Node) -> Option<String> {
    let (title, name, version) = (plan.title(), printable(&node.name), printable(&node.version));
    let Some(runs) = numbers(&node.version) else {
        return Some(format!(
            "node {name} runs {version:?}, which is no release of k3s: the Plan {title} may take it back"
        ));
    };
    match plan.gives() {
        None => Some(format!(
            "what k3s the Plan {title} gives cannot be told: node {name} runs {version}, and could be downgraded"
        )),
        Some(gives) if runs.get(..gives.len()).is_some_and(|runs| runs > gives.as_slice()) => Some(format!(
            "node {name} runs {version}, newer than the Plan {title} gives: it would be downgraded"
        )),
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(version: &str, channel: &str, latest: &str) -> K3sPlan {
        let owned = |text: &str| text.to_owned();
        K3sPlan {
            namespace: owned("system-upgrade"),
            name: owned("k3s-server"),
            version: owned(version),
            channel: owned(channel),
            latest: owned(latest),
            owner: owned("system-upgrade-controller"),
        }
    }

    fn node(version: &str) -> Node {
        Node { name: "n".into(), ready: true, version: version.into(), pressure: Vec::new() }
    }

    #[test]
    fn a_k3s_that_a_plan_would_take_back_is_known() {
        let of = "https://update.k3s.io/v1-release/channels/";
        let table = [
            (plan("v1.21.5+k3s2", "", ""), "v1.21.5+k3s2", None),
            (plan("v1.21.5+k3s2", "", ""), "v1.20.9+k3s1", None),
            (plan("v1.21.5+k3s2", "", ""), "v1.21.5+k3s10", Some("downgraded")),
            (plan("", &format!("{of}v1.21"), ""), "v1.21.14+k3s1", None),
            (plan("", &format!("{of}v1.21"), ""), "v1.22.0+k3s1", Some("downgraded")),
            (plan("", &format!("{of}v1.21"), "v1.21.3-k3s1"), "v1.21.4+k3s1", Some("downgraded")),
            (plan("", &format!("{of}stable"), "v1.27.3-k3s1"), "v1.27.3+k3s1", None),
            (plan("", &format!("{of}stable"), ""), "v1.27.3+k3s1", Some("cannot be told")),
            (plan("v1.21.5+k3s2", "", ""), "v1.21.5-mine", Some("no release of k3s")),
            (
                K3sPlan { owner: String::new(), ..plan("v1.30.1+k3s1", "", "") },
                "v1.21.5+k3s2",
                Some("not Stackspin's"),
            ),
        ];
        for (plan, runs, expected) in table {
            let found = undone(std::slice::from_ref(&plan), &[node(runs)]);
            match expected {
                None => assert_eq!(found, None, "{plan:?} {runs}"),
                Some(words) => assert!(
                    found.as_ref().is_some_and(|found| found.contains(words)),
                    "{found:?} {plan:?} {runs}"
                ),
            }
        }
        assert!(undone(&[], &[node("v1.21.5+k3s2")]).unwrap().contains("no Plan"));
    }
}
