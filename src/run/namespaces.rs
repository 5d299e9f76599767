//! Carrying out `Action::RemoveNamespaces`: old namespaces go, with whatever is left in them, once no data can go with them (facts section 7,
//! step 7).

use std::time::Duration;

use super::onward::{self, Act, Next};
use super::{Scribe, Trouble};
use crate::facts::kubernetes::List;
use crate::facts::{claims, volumes};
use crate::plan::{MoveClaim, RemoveNamespaces};
use crate::remote::{Command, Remote};

/// Deletes them and waits until they are gone. Nothing is deleted while a claim is left in one of them, or one that was moved is not bound to
/// its volume in its new place.
pub async fn carry<R: Remote>(
    remote: &R,
    what: &RemoveNamespaces,
    deadline: Duration,
    scribe: &mut Scribe<'_>,
) -> Result<(), Trouble> {
    let ask = onward::objects("namespaces,persistentvolumes,persistentvolumeclaims");
    onward::go(remote, &ask, |list| next(what, list), deadline, scribe).await
}

fn next(what: &RemoveNamespaces, list: &List) -> Result<Next, String> {
    let ours = |name: &String| what.namespaces.contains(name);
    let there: Vec<_> = list.of("Namespace").filter(|item| ours(&item.metadata.name)).collect();
    if there.is_empty() {
        return Ok(Next::Done(format!("{} are gone", what.namespaces.join(", "))));
    }
    let names = |leaving: bool| -> Vec<&str> {
        let those = there.iter().filter(|item| item.metadata.deletion_timestamp.is_some() == leaving);
        those.map(|item| item.metadata.name.as_str()).collect()
    };
    let staying = names(false);
    if staying.is_empty() {
        return Ok(Next::Wait("namespace-not-gone", format!("being deleted: {}", names(true).join(", "))));
    }
    let claims = claims::read(list)?;
    let volumes = volumes::read(list)?;
    if let Some(not) = what.moved.iter().find(|moved| !is_moved(moved, &claims, &volumes)) {
        let MoveClaim { to, claim, volume, .. } = not;
        let why =
            format!("claim {to}/{claim} is not bound to {volume} with policy Retain, so nothing is deleted");
        return Ok(Next::Stop("claim-not-moved", why));
    }
    let left: Vec<String> = claims
        .iter()
        // One that never got a volume holds nothing.
        .filter(|claim| ours(&claim.namespace) && !(claim.volume.is_empty() && claim.phase == "Pending"))
        .map(|claim| format!("claim {}/{}", claim.namespace, claim.name))
        .chain(
            volumes
                .iter()
                .filter(|volume| ours(&volume.claim_namespace) && volume.policy != "Retain")
                .map(|volume| format!("volume {} with policy {}", volume.name, volume.policy)),
        )
        .collect();
    if !left.is_empty() {
        let why =
            format!("data would be deleted with the namespaces {}: {}", staying.join(", "), left.join(", "));
        return Ok(Next::Stop("claims-left", why));
    }
    Ok(Next::Do(Act {
        cause: "namespace-not-gone",
        says: format!("namespaces without claims are deleted: {}", staying.join(", ")),
        command: Command::new("k3s kubectl delete namespaces")
            .args(&staying)
            .fixed("--wait=false --ignore-not-found"),
    }))
}

fn is_moved(moved: &MoveClaim, claims: &[claims::Claim], volumes: &[volumes::Volume]) -> bool {
    let MoveClaim { to, claim, volume, .. } = moved;
    let bound = claims.iter().any(|found| {
        found.namespace == *to && found.name == *claim && found.volume == *volume && found.phase == "Bound"
    });
    bound
        && volumes.iter().any(|found| {
            found.name == *volume
                && found.policy == "Retain"
                && found.phase == "Bound"
                && found.claim_namespace == *to
                && found.claim == *claim
        })
}
