//! Carrying out `Action::Disown`: objects of Flux are taken away, and what they have made stays (facts section 5.3: the controllers neither
//! prune nor uninstall for one that is suspended).

use std::time::Duration;

use serde::Deserialize;

use super::onward::{self, Next};
use super::{Scribe, Trouble};
use crate::facts::kubernetes::{Item, List};
use crate::plan::Object;
use crate::remote::{Command, Remote};

/// What each plural is called in an answer.
const KINDS: [(&str, &str); 2] = [
    ("kustomizations.kustomize.toolkit.fluxcd.io", "Kustomization"),
    ("helmreleases.helm.toolkit.fluxcd.io", "HelmRelease"),
];

/// Suspends all of them, reads that back, and only then deletes any: one that still works would make another anew, or prune.
pub async fn carry<R: Remote>(
    remote: &R,
    what: &[Object],
    deadline: Duration,
    scribe: &mut Scribe<'_>,
) -> Result<(), Trouble> {
    let ask = onward::objects(&KINDS.map(|(plural, _)| plural).join(","));
    onward::go(remote, &ask, |list| next(what, list), deadline, scribe).await
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Spec {
    suspend: bool,
}

fn find<'a>(list: &'a List, object: &Object) -> Result<Option<&'a Item>, String> {
    let (_, kind) = KINDS
        .into_iter()
        .find(|(plural, _)| *plural == object.kind)
        .ok_or_else(|| format!("{} is no kind of Flux's that can be suspended", object.kind))?;
    Ok(list
        .of(kind)
        .find(|item| item.metadata.namespace == object.namespace && item.metadata.name == object.name))
}

fn next(what: &[Object], list: &List) -> Result<Next, String> {
    let (mut awake, mut asleep, mut leaving) = (Vec::new(), Vec::new(), Vec::new());
    for object in what {
        let Some(item) = find(list, object)? else { continue };
        let suspended = item.spec::<Spec>()?.suspend;
        match (suspended, item.metadata.deletion_timestamp.is_some()) {
            (false, _) => awake.push(object),
            (true, true) => leaving.push(object.to_string()),
            (true, false) => asleep.push(object),
        }
    }
    Ok(if !awake.is_empty() {
        Next::Do(onward::each("not-suspended", "suspended", &awake, |object| {
            Command::new("k3s kubectl patch")
                .arg(&object.kind)
                .arg(&object.name)
                .fixed("-n")
                .arg(&object.namespace)
                .fixed(r#"--type merge -p '{"spec":{"suspend":true}}'"#)
        }))
    } else if !asleep.is_empty() {
        Next::Do(onward::each("not-deleted", "deleted, suspended as they are", &asleep, |object| {
            Command::new("k3s kubectl delete")
                .arg(&object.kind)
                .arg(&object.name)
                .fixed("-n")
                .arg(&object.namespace)
                .fixed("--wait=false --ignore-not-found")
        }))
    } else if !leaving.is_empty() {
        Next::Wait("not-deleted", format!("still there: {}", leaving.join(", ")))
    } else {
        Next::Done(format!("{} objects of Flux are gone, and what they have made is not", what.len()))
    })
}
