//! Carrying out `Action::Stop`: all that runs in namespaces that are to go is stopped, so that their claims are nobody's any more (facts
//! section 7, step 2).
//!
//! First what starts other things by itself: cron jobs, jobs, and Deployments until their pods are gone. An operator among them, that of
//! Prometheus for one, would scale its StatefulSets up again; so these come after.

use std::time::Duration;

use serde::Deserialize;

use super::onward::{self, Next};
use super::{Scribe, Trouble};
use crate::facts::kubernetes::{Item, List};
use crate::plan::Object;
use crate::remote::{Command, Remote};

/// Stops it all and waits until no pod is left but those of DaemonSets, which go with their namespace.
pub async fn carry<R: Remote>(
    remote: &R,
    namespaces: &[String],
    deadline: Duration,
    scribe: &mut Scribe<'_>,
) -> Result<(), Trouble> {
    let ask =
        onward::objects("cronjobs.batch,jobs.batch,deployments.apps,replicasets.apps,statefulsets.apps,pods");
    onward::go(remote, &ask, |list| next(namespaces, list), deadline, scribe).await
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Spec {
    suspend: bool,
    replicas: Option<u32>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Status {
    phase: String,
}

fn next(namespaces: &[String], list: &List) -> Result<Next, String> {
    let ours =
        |kind| list.of(kind).filter(|item| namespaces.contains(&item.metadata.namespace)).collect::<Vec<_>>();
    let mut awake = Vec::new();
    for item in ours("CronJob") {
        if !item.spec::<Spec>()?.suspend {
            awake.push(object("cronjobs.batch", item));
        }
    }
    if !awake.is_empty() {
        return Ok(act("jobs-not-stopped", "suspended", &awake, |object| {
            on("k3s kubectl patch", object).fixed(r#"--type merge -p '{"spec":{"suspend":true}}'"#)
        }));
    }
    let jobs: Vec<Object> =
        ours("Job").into_iter().filter(|item| !leaves(item)).map(|item| object("jobs.batch", item)).collect();
    if !jobs.is_empty() {
        return Ok(act("jobs-not-stopped", "deleted", &jobs, delete));
    }
    let mut scaled = up("deployments.apps", &ours("Deployment"))?;
    let bare: Vec<&Item> = ours("ReplicaSet").into_iter().filter(|item| owner(item).is_none()).collect();
    scaled.extend(up("replicasets.apps", &bare)?);
    if !scaled.is_empty() {
        return Ok(act("not-scaled", "scaled to 0", &scaled, scale));
    }
    let pods = ours("Pod");
    let of_sets: Vec<&Item> =
        pods.iter().copied().filter(|pod| owner(pod).is_some_and(|owner| owner == "ReplicaSet")).collect();
    if !of_sets.is_empty() {
        return Ok(Next::Wait("pods-left", left(&of_sets)));
    }
    let scaled = up("statefulsets.apps", &ours("StatefulSet"))?;
    if !scaled.is_empty() {
        return Ok(act("not-scaled", "scaled to 0", &scaled, scale));
    }
    let mut ended = Vec::new();
    for pod in pods.iter().filter(|pod| owner(pod).is_none() && !leaves(pod)) {
        if matches!(pod.status::<Status>()?.phase.as_str(), "Succeeded" | "Failed") {
            ended.push(object("pods", pod));
        }
    }
    if !ended.is_empty() {
        return Ok(act("pods-left", "deleted, as they had ended", &ended, delete));
    }
    let rest: Vec<&Item> =
        pods.into_iter().filter(|pod| owner(pod).is_none_or(|owner| owner != "DaemonSet")).collect();
    Ok(if rest.is_empty() {
        Next::Done(format!("nothing runs in {} but DaemonSets", namespaces.join(" and ")))
    } else {
        Next::Wait("pods-left", left(&rest))
    })
}

fn object(kind: &str, item: &Item) -> Object {
    let (namespace, name) = (item.metadata.namespace.clone(), item.metadata.name.clone());
    Object { kind: kind.to_owned(), namespace, name }
}

fn leaves(item: &Item) -> bool {
    item.metadata.deletion_timestamp.is_some()
}

/// The kind of the controller that would make it anew.
fn owner(item: &Item) -> Option<&str> {
    item.metadata.owner_references.iter().find(|owner| owner.controller).map(|owner| owner.kind.as_str())
}

/// Those that want pods. One that does not say how many wants one.
fn up(kind: &str, items: &[&Item]) -> Result<Vec<Object>, String> {
    let mut up = Vec::new();
    for item in items {
        if item.spec::<Spec>()?.replicas != Some(0) {
            up.push(object(kind, item));
        }
    }
    Ok(up)
}

fn left(pods: &[&Item]) -> String {
    let names: Vec<String> = pods.iter().map(|pod| object("pods", pod).to_string()).collect();
    format!("pods that are still there: {}", names.join(", "))
}

fn act(cause: &'static str, done: &str, objects: &[Object], each: impl Fn(&Object) -> Command) -> Next {
    Next::Do(onward::each(cause, done, &objects.iter().collect::<Vec<_>>(), each))
}

fn on(verb: &'static str, object: &Object) -> Command {
    Command::new(verb).arg(&object.kind).arg(&object.name).fixed("-n").arg(&object.namespace)
}

fn scale(object: &Object) -> Command {
    on("k3s kubectl scale", object).fixed("--replicas=0")
}

fn delete(object: &Object) -> Command {
    on("k3s kubectl delete", object).fixed("--wait=false --ignore-not-found")
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn thing(kind: &str, name: &str, owner: &str, rest: &Value) -> Value {
        let owners = if owner.is_empty() { json!([]) } else { json!([{"kind": owner, "controller": true}]) };
        json!({"kind": kind, "spec": rest["spec"], "status": rest["status"],
            "metadata": {"name": name, "namespace": "oas", "ownerReferences": owners}})
    }

    /// The command that is next, or what is waited for or done.
    fn said(items: &[Value]) -> String {
        let list = List::read(&json!({"items": items}).to_string()).unwrap();
        match next(&["oas".to_owned()], &list).unwrap() {
            Next::Do(act) => act.command.line().to_owned(),
            Next::Wait(cause, why) | Next::Stop(cause, why) => format!("{cause}: {why}"),
            Next::Done(said) => said,
        }
    }

    #[test]
    fn what_starts_other_things_is_stopped_before_what_it_starts() {
        let set = thing("StatefulSet", "prometheus", "", &json!({"spec": {"replicas": 1}}));
        let pod = |name: &str, owner: &str, phase: &str| {
            thing("Pod", name, owner, &json!({"status": {"phase": phase}}))
        };
        let mut there = vec![
            thing("CronJob", "cron", "", &json!({"spec": {}})),
            thing("Job", "cron-1", "CronJob", &json!({})),
            thing("Deployment", "operator", "", &json!({"spec": {}})),
            pod("operator-1-x", "ReplicaSet", "Running"),
            set.clone(),
            pod("prometheus-0", "StatefulSet", "Running"),
            pod("test", "", "Succeeded"),
            pod("exporter", "DaemonSet", "Running"),
        ];
        let mut steps = Vec::new();
        while there.len() > 1 {
            steps.push(said(&there));
            there.remove(0);
        }
        steps.push(said(&there));
        let begin = [
            "k3s kubectl patch cronjobs.batch cron -n oas --type merge",
            "k3s kubectl delete jobs.batch cron-1 -n oas --wait=false",
            "k3s kubectl scale deployments.apps operator -n oas --replicas=0",
            "pods-left: pods that are still there: oas/operator-1-x",
            "k3s kubectl scale statefulsets.apps prometheus -n oas --replicas=0",
            "k3s kubectl delete pods test -n oas",
            "k3s kubectl delete pods test -n oas",
            "nothing runs in oas but DaemonSets",
        ];
        assert_eq!(steps.len(), begin.len(), "{steps:#?}");
        for (step, begin) in steps.iter().zip(begin) {
            assert!(step.starts_with(begin), "{step} is not {begin}");
        }
    }

    #[test]
    fn what_runs_without_a_controller_is_waited_for_and_never_ended() {
        let bare = thing("Pod", "rescue", "", &json!({"status": {"phase": "Running"}}));
        assert_eq!(said(&[bare]), "pods-left: pods that are still there: oas/rescue");
        let elsewhere = json!({"kind": "Deployment", "metadata": {"name": "x", "namespace": "kube-system"}});
        assert_eq!(said(&[elsewhere]), "nothing runs in oas but DaemonSets");
    }
}
