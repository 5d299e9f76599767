//! Pods.

use serde::{Deserialize, Serialize};

use super::kubernetes::{Item, List};

/// All pods in short, the failing ones by name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pods {
    /// How many there are.
    pub total: u64,
    /// Those that neither run ready nor ended well.
    pub failing: Vec<Pod>,
}

/// A failing pod.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Pod {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// `Pending`, `Running`, `Failed`…
    pub phase: String,
    /// `CrashLoopBackOff`, `ImagePullBackOff`…; empty where Kubernetes says none.
    pub reason: String,
    /// Restarts of its containers in all.
    pub restarts: u64,
    /// Kind and name of its controller without the random tail: `Deployment nc-nextcloud`; empty where none.
    pub owner: String,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Status {
    phase: String,
    reason: String,
    conditions: Vec<Condition>,
    init_container_statuses: Vec<Container>,
    container_statuses: Vec<Container>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Condition {
    status: String,
    reason: String,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Container {
    ready: bool,
    restart_count: u64,
    state: State,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct State {
    waiting: Option<Reason>,
    terminated: Option<Reason>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Reason {
    reason: String,
    exit_code: i64,
}

/// Reads the pods.
pub fn read(objects: &List) -> Result<Pods, String> {
    let mut pods = Pods::default();
    for item in objects.of("Pod") {
        pods.total += 1;
        let status: Status = item.status()?;
        if status.is_well() {
            continue;
        }
        let containers = || status.init_container_statuses.iter().chain(&status.container_statuses);
        pods.failing.push(Pod {
            namespace: item.metadata.namespace.clone(),
            name: item.metadata.name.clone(),
            reason: if item.metadata.deletion_timestamp.is_some() {
                "Terminating".to_owned()
            } else {
                status.reason()
            },
            restarts: containers().map(|container| container.restart_count).sum(),
            owner: owner(item),
            phase: status.phase,
        });
    }
    Ok(pods)
}

impl Status {
    /// Whether it runs with every container ready (or ended well), or has succeeded.
    fn is_well(&self) -> bool {
        let well = |container: &Container| {
            container.ready || container.state.terminated.as_ref().is_some_and(|end| end.exit_code == 0)
        };
        match self.phase.as_str() {
            "Succeeded" => true,
            "Running" => !self.container_statuses.is_empty() && self.container_statuses.iter().all(well),
            _ => false,
        }
    }

    /// The most telling reason that Kubernetes gives.
    fn reason(&self) -> String {
        let containers = || self.init_container_statuses.iter().chain(&self.container_statuses);
        let waiting = containers().filter_map(|container| container.state.waiting.as_ref());
        let terminated = containers()
            .filter_map(|container| container.state.terminated.as_ref())
            .filter(|end| end.exit_code != 0);
        let unmet = self.conditions.iter().filter(|condition| condition.status == "False");
        std::iter::once(&self.reason)
            .chain(waiting.map(|why| &why.reason).filter(|why| *why != "PodInitializing"))
            .chain(terminated.map(|why| &why.reason))
            .chain(unmet.map(|why| &why.reason))
            .find(|reason| !reason.is_empty())
            .cloned()
            .unwrap_or_default()
    }
}

/// What made the pod, without the random tail of what stands between.
fn owner(item: &Item) -> String {
    let Some(owner) = item.metadata.owner_references.iter().find(|owner| owner.controller) else {
        return String::new();
    };
    let (stem, tail) = owner.name.rsplit_once('-').unwrap_or((&owner.name, ""));
    match owner.kind.as_str() {
        "ReplicaSet" if item.metadata.labels.get("pod-template-hash").is_some_and(|hash| hash == tail) => {
            format!("Deployment {stem}")
        }
        // A CronJob names its jobs by the minute of their time.
        "Job" if tail.len() >= 8 && tail.bytes().all(|byte| byte.is_ascii_digit()) => {
            format!("CronJob {stem}")
        }
        kind => format!("{kind} {}", owner.name),
    }
}
