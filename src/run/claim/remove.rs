//! Carrying out `Action::RemoveClaims`: the claims that Helm 2's releases have left behind go (guide, "Upgrading to 0.3.0").

use std::time::Duration;

use serde::Deserialize;

use super::super::onward::{self, Next};
use super::super::{Scribe, Trouble};
use crate::event::Failure;
use crate::facts::helm_2;
use crate::facts::kubernetes::{Item, List};
use crate::plan::{Claimed, Object, RemoveClaims};
use crate::remote::{Command, Remote};

/// The kind as it is deleted.
const CLAIMS: &str = "persistentvolumeclaims";

/// Deletes them and waits until they are gone. Nothing is deleted while Helm has a record of one of the releases, or a pod mounts one of the
/// claims; a claim that is another by now stops it.
pub async fn carry<R: Remote>(
    remote: &R,
    what: &RemoveClaims,
    deadline: Duration,
    scribe: &mut Scribe<'_>,
) -> Result<(), Trouble> {
    purged(remote, &what.releases, scribe).await?;
    let ask = onward::objects("pods,persistentvolumeclaims");
    onward::go(remote, &ask, |list| next(what, list), deadline, scribe).await
}

/// Whether Helm has purged the releases. An answer that is none tells nothing, and so deletes nothing.
async fn purged<R: Remote>(remote: &R, releases: &[String], scribe: &mut Scribe<'_>) -> Result<(), Trouble> {
    let ask = Command::new("timeout 50 k3s kubectl get configmaps -n kube-system -o name -l")
        .arg(format!("OWNER=TILLER,NAME in ({})", releases.join(",")));
    let why = match scribe.look(remote, &ask).await? {
        Some(output) if output.success() && output.dropped == 0 => match left(&output.text()) {
            records if records.is_empty() => {
                return scribe.note("Helm has no record of its releases any more");
            }
            records => {
                let said = format!(
                    "Helm still has its records {} in {}, so no claim is deleted: type helm delete --purge {}, then go on",
                    records.join(", "),
                    helm_2::NAMESPACE,
                    releases.join(" ")
                );
                return Err(failed("releases-left", said));
            }
        },
        Some(output) => output.complaint(),
        None => "no answer in time".to_owned(),
    };
    Err(failed("releases-unknown", format!("Helm's records could not be asked for: {why}")))
}

/// Names of records, as `-o name` prints them.
fn left(answer: &str) -> Vec<String> {
    answer.lines().map(|line| line.rsplit('/').next().unwrap_or(line).to_owned()).collect()
}

fn failed(cause: &str, message: String) -> Trouble {
    Trouble::Failed(Failure::new(cause, message).read("docs/rebuild.md#before-03"))
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Spec {
    volume_name: String,
}

fn next(what: &RemoveClaims, list: &List) -> Result<Next, String> {
    let mut there = Vec::new();
    for claim in &what.claims {
        let same =
            |item: &&Item| item.metadata.namespace == claim.namespace && item.metadata.name == claim.claim;
        let Some(found) = list.of("PersistentVolumeClaim").find(same) else { continue };
        let volume = found.spec::<Spec>()?.volume_name;
        if volume != claim.volume {
            let why = format!(
                "claim {claim} is bound to {volume:?} and was to {:?} when the plan was made: it is another one, so nothing is deleted",
                claim.volume
            );
            return Ok(Next::Stop("claim-changed", why));
        }
        there.push((claim, found.metadata.deletion_timestamp.is_some()));
    }
    if there.is_empty() {
        return Ok(Next::Done(format!("none of {} claims is left", what.claims.len())));
    }
    let mut users = Vec::new();
    for (claim, _) in &there {
        let pods = super::standing::users(&claim.namespace, &claim.claim, list)?;
        users.extend(pods.into_iter().map(|pod| format!("{claim} by pod {pod}")));
    }
    if !users.is_empty() {
        return Ok(Next::Wait(
            "claim-in-use",
            format!("mounted, so nothing is deleted: {}", users.join(", ")),
        ));
    }
    let object = |claim: &Claimed| Object {
        kind: CLAIMS.to_owned(),
        namespace: claim.namespace.clone(),
        name: claim.claim.clone(),
    };
    let staying: Vec<Object> =
        there.iter().filter(|(_, leaving)| !leaving).map(|(claim, _)| object(claim)).collect();
    if staying.is_empty() {
        let names: Vec<String> = there.iter().map(|(claim, _)| claim.to_string()).collect();
        return Ok(Next::Wait("claim-not-deleted", format!("being deleted: {}", names.join(", "))));
    }
    Ok(Next::Do(onward::each(
        "claim-not-deleted",
        "claims deleted",
        &staying.iter().collect::<Vec<_>>(),
        |object| {
            Command::new("k3s kubectl delete persistentvolumeclaims")
                .arg(&object.name)
                .fixed("-n")
                .arg(&object.namespace)
                .fixed("--wait=false --ignore-not-found")
        },
    )))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn what() -> RemoveClaims {
        let claimed = |namespace: &str, claim: &str, volume: &str| Claimed {
            namespace: namespace.into(),
            claim: claim.into(),
            volume: volume.into(),
        };
        RemoveClaims {
            releases: vec!["oas-test-files".into()],
            claims: vec![claimed("oas", "prometheus", "pvc-1"), claimed("oas-apps", "files", "pvc-2")],
        }
    }

    fn claim(namespace: &str, name: &str, volume: &str) -> Value {
        json!({"kind": "PersistentVolumeClaim", "metadata": {"namespace": namespace, "name": name},
            "spec": {"volumeName": volume}})
    }

    fn after(items: &[Value]) -> Next {
        next(&what(), &List::read(&json!({"items": items}).to_string()).unwrap()).unwrap()
    }

    #[test]
    fn the_claims_of_the_plan_are_deleted_by_name_and_no_other() {
        let mine = claim("oas-apps", "mine", "pvc-9");
        let Next::Do(act) =
            after(&[claim("oas", "prometheus", "pvc-1"), claim("oas-apps", "files", "pvc-2"), mine.clone()])
        else {
            panic!("nothing is done")
        };
        let line = act.command.line();
        assert_eq!(line.matches("k3s kubectl delete persistentvolumeclaims").count(), 2, "{line}");
        assert!(line.contains("files -n oas-apps") && !line.contains("mine"), "{line}");
        assert!(matches!(after(&[mine]), Next::Done(_)));
    }

    #[test]
    fn nothing_is_deleted_while_a_pod_mounts_one_or_one_is_another_by_now() {
        let (one, two) = (claim("oas", "prometheus", "pvc-1"), claim("oas-apps", "files", "pvc-2"));
        let pod = json!({"kind": "Pod", "metadata": {"namespace": "oas-apps", "name": "nc-0"},
            "spec": {"volumes": [{"persistentVolumeClaim": {"claimName": "files"}}]}});
        let Next::Wait("claim-in-use", why) = after(&[one.clone(), two, pod]) else {
            panic!("not waited for")
        };
        assert!(why.contains("oas-apps/files by pod nc-0"), "{why}");
        assert!(matches!(after(&[one, claim("oas-apps", "files", "pvc-3")]), Next::Stop("claim-changed", _)));
        let mut leaving = claim("oas", "prometheus", "pvc-1");
        leaving["metadata"]["deletionTimestamp"] = "2026-11-22T10:15:00Z".into();
        assert!(matches!(after(&[leaving]), Next::Wait("claim-not-deleted", _)));
    }

    #[test]
    fn records_are_named_as_kubectl_prints_them() {
        assert_eq!(
            left("configmap/oas-test-files.v1\nconfigmap/oas-test-files.v2\n"),
            ["oas-test-files.v1", "oas-test-files.v2"]
        );
        assert!(left("").is_empty());
    }
}
