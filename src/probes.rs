//! How a [`Probe`] is asked of a cluster, and what its answer means.
//!
//! An answer is judged here, in Rust, from JSON; see facts section 5.2 for why Ready alone is not enough.

use crate::facts::flux::{self, Flux, Ready, Source};
use crate::facts::kubernetes::List;
use crate::facts::nodes::{self, Node};
use crate::facts::pods::{self, Pod, Pods};
use crate::plan::Probe;
use crate::remote::{Command, printable};
use crate::version::Revision;

mod converged;

use converged::{converged, released, settled};

/// What a probe's answer means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// It is so; one sentence of what was seen.
    Reached(String),
    /// Not yet; these are in the way.
    NotYet(Vec<Stuck>),
    /// It will not be so by waiting.
    Never(String),
}

/// One object that a probe waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stuck {
    /// `Kustomization`, `HelmRelease`, `GitRepository`, `Node`, `Pod`, `API`, `Script`.
    pub kind: &'static str,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// What it says of itself, safe to print.
    pub message: String,
    /// Whether waiting alone will not help.
    pub terminal: bool,
}

impl std::fmt::Display for Stuck {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { kind, namespace, name, message, .. } = self;
        let sep = if namespace.is_empty() { "" } else { "/" };
        write!(f, "{kind} {namespace}{sep}{name}: {message}")
    }
}

/// The question. It ends on the host before its own deadline here: one that hangs on an API that is away must not pile up there, each
/// holding one of sshd's sessions.
#[must_use]
pub fn ask(probe: &Probe) -> Command {
    let command = match probe {
        Probe::ClusterReady => Command::new("timeout 50 k3s kubectl get nodes,pods -A -o json"),
        Probe::SourceWants { .. } | Probe::SourceAt { .. } | Probe::SourceSuspended { .. } => Command::new(
            "timeout 50 k3s kubectl get gitrepositories.source.toolkit.fluxcd.io -n flux-system -o json",
        ),
        Probe::ReleaseGone { .. } | Probe::ReleaseReady { .. } => {
            Command::new("timeout 50 k3s kubectl get helmreleases.helm.toolkit.fluxcd.io -A -o json")
        }
        Probe::Converged { .. } | Probe::Settled { .. } => Command::new(
            "timeout 50 k3s kubectl get gitrepositories.source.toolkit.fluxcd.io,\
             kustomizations.kustomize.toolkit.fluxcd.io,helmreleases.helm.toolkit.fluxcd.io -A -o json",
        ),
    };
    command.limit(64 << 20)
}

/// The meaning of the answer: the JSON that [`ask`]'s command printed. An answer that cannot be read is not yet the one
/// waited for: the API is away for seconds at a time while k3s restarts.
#[must_use]
pub fn judge(probe: &Probe, answer: &str) -> Progress {
    let list = match List::read(answer) {
        Ok(list) => list,
        Err(why) => return waiting_for_api(&format!("its answer cannot be read: {why}")),
    };
    read(probe, &list).unwrap_or_else(|why| waiting_for_api(&format!("its answer cannot be read: {why}")))
}

fn read(probe: &Probe, list: &List) -> Result<Progress, String> {
    let flux = || flux::of_list(list);
    Ok(match probe {
        Probe::ClusterReady => cluster_ready(&nodes::read(list)?, &pods::read(list)?),
        Probe::SourceWants { source, branch } => of_source(&flux()?, source, |found| wants(found, branch)),
        Probe::SourceAt { source, branch } => of_source(&flux()?, source, |found| at(found, branch)),
        Probe::SourceSuspended { source, suspended } => of_source(&flux()?, source, |found| {
            if found.suspended == *suspended {
                Progress::Reached(probe.to_string())
            } else {
                not_yet("GitRepository", &found.namespace, &found.name, "not yet so")
            }
        }),
        Probe::ReleaseGone { name } => gone(&flux()?, name),
        Probe::Converged { source } => {
            let flux = flux()?;
            of_source(&flux, source, |found| converged(&flux, found))
        }
        Probe::Settled { source, apps } => {
            let flux = flux()?;
            of_source(&flux, source, |found| settled(&flux, found, apps))
        }
        Probe::ReleaseReady { name } => released(&flux()?, name),
    })
}

/// What it means that the API did not answer.
#[must_use]
pub fn waiting_for_api(why: &str) -> Progress {
    not_yet("API", "", "kubernetes", why)
}

fn not_yet(kind: &'static str, namespace: &str, name: &str, message: &str) -> Progress {
    Progress::NotYet(vec![stuck(kind, namespace, name, message, false)])
}

fn stuck(kind: &'static str, namespace: &str, name: &str, message: &str, terminal: bool) -> Stuck {
    Stuck { kind, namespace: namespace.into(), name: name.into(), message: printable(message), terminal }
}

fn cluster_ready(nodes: &[Node], pods: &Pods) -> Progress {
    if nodes.is_empty() {
        return not_yet("Node", "", "", "no node has registered");
    }
    let mut waiting: Vec<Stuck> = nodes
        .iter()
        .filter(|node| !node.ready)
        .map(|node| stuck("Node", "", &node.name, "not ready", false))
        .collect();
    let system = |pod: &&Pod| matches!(pod.namespace.as_str(), "kube-system" | "flux-system");
    waiting.extend(pods.failing.iter().filter(system).map(|pod| {
        let why = if pod.reason.is_empty() { &pod.phase } else { &pod.reason };
        stuck("Pod", &pod.namespace, &pod.name, why, false)
    }));
    if waiting.is_empty() {
        Progress::Reached(format!("{} node ready, the system's pods too", nodes.len()))
    } else {
        Progress::NotYet(waiting)
    }
}

fn of_source(flux: &Flux, name: &str, judge: impl FnOnce(&Source) -> Progress) -> Progress {
    match flux.sources.iter().find(|source| source.namespace == "flux-system" && source.name == name) {
        Some(source) => judge(source),
        None => Progress::Never(format!("there is no GitRepository flux-system/{name}")),
    }
}

fn wants(source: &Source, branch: &str) -> Progress {
    if source.branch == branch {
        Progress::Reached(format!("source {} wants branch {branch}", source.name))
    } else {
        not_yet("GitRepository", &source.namespace, &source.name, &format!("wants {}", source.branch))
    }
}

fn at(source: &Source, branch: &str) -> Progress {
    if source.branch != branch {
        return Progress::Never(format!(
            "source {} now wants {} instead of {branch}: somebody else changed it",
            source.name,
            printable(&source.branch)
        ));
    }
    let fetched = Revision::parse(&source.revision).is_some_and(|revision| revision.branch == branch);
    if fetched && source.ready.is_true() {
        return Progress::Reached(format!("fetched {}", printable(&source.revision)));
    }
    let message = if source.suspended {
        "suspended: its new branch is ignored until it is resumed".to_owned()
    } else {
        describe(&source.ready, &source.revision)
    };
    // Git's own words for a branch that is not there; Flux would try for ever.
    let terminal = !source.suspended && message.contains("couldn't find remote ref");
    Progress::NotYet(vec![stuck("GitRepository", &source.namespace, &source.name, &message, terminal)])
}

fn gone(flux: &Flux, name: &str) -> Progress {
    let left: Vec<Stuck> = flux
        .releases
        .iter()
        .filter(|release| release.name == name)
        .map(|release| {
            let message = if release.suspended {
                "suspended, so Flux removes it without uninstalling; resume it first"
            } else {
                "still there"
            };
            stuck("HelmRelease", &release.namespace, name, message, false)
        })
        .collect();
    if left.is_empty() {
        Progress::Reached(format!("no HelmRelease {name} is left"))
    } else {
        Progress::NotYet(left)
    }
}

fn describe(ready: &Ready, revision: &str) -> String {
    match (ready.current, ready.status.as_str()) {
        (false, _) => "its controller has not seen the latest change yet".to_owned(),
        (true, "") => "waiting to be reconciled".to_owned(),
        (true, "True") => format!("ready, but at {revision}"),
        (true, _) => ready.message.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(branch: &str, revision: &str) -> Source {
        Source {
            namespace: "flux-system".into(),
            name: "openappstack".into(),
            branch: branch.into(),
            revision: revision.into(),
            ready: ready("True"),
            ..Source::default()
        }
    }

    fn ready(status: &str) -> Ready {
        Ready { status: status.into(), reason: String::new(), message: String::new(), current: true }
    }

    const NEW: &str = "v0.7/1234567890abcdef1234567890abcdef12345678";
    const OLD: &str = "v0.6/abcdef1234567890abcdef1234567890abcdef12";

    #[test]
    fn a_source_at_the_new_branch_needs_its_artifact_and_not_only_the_wish() {
        assert!(matches!(at(&source("v0.7", OLD), "v0.7"), Progress::NotYet(_)));
        assert!(matches!(at(&source("v0.7", NEW), "v0.7"), Progress::Reached(_)));
        assert!(matches!(at(&source("v0.8", NEW), "v0.7"), Progress::Never(_)));
        let sha1 = "v0.7@sha1:1234567890abcdef1234567890abcdef12345678";
        assert!(matches!(at(&source("v0.7", sha1), "v0.7"), Progress::Reached(_)));
    }

    #[test]
    fn an_answer_that_is_no_json_is_waited_for() {
        assert!(matches!(judge(&Probe::ClusterReady, "Unable to connect"), Progress::NotYet(_)));
    }

    #[test]
    fn a_cluster_is_ready_when_its_node_and_system_pods_are() {
        let list = |node: &str, pod: &str| {
            serde_json::json!({"kind": "List", "items": [
                {"kind": "Node", "metadata": {"name": "n"}, "status": {"conditions": [{"type": "Ready", "status": node}]}},
                {"kind": "Pod", "metadata": {"name": "p", "namespace": "flux-system"},
                 "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": pod}],
                            "containerStatuses": [{"ready": pod == "True", "restartCount": 0}]}},
                {"kind": "Pod", "metadata": {"name": "q", "namespace": "oas-apps"}, "status": {"phase": "Pending"}},
            ]})
            .to_string()
        };
        let ready = |node, pod| judge(&Probe::ClusterReady, &list(node, pod));
        assert!(matches!(ready("True", "True"), Progress::Reached(_)));
        assert!(matches!(ready("True", "False"), Progress::NotYet(_)));
        assert!(matches!(ready("Unknown", "True"), Progress::NotYet(_)));
    }
}
