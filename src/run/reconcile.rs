//! Having every kustomization reconciled, in the order in which they depend on each other (facts sections 2.4 and 5.2; trap 12): each with a
//! deadline of its own, those that do not wait for each other at once.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use super::{Scribe, Trouble};
use crate::event::Failure;
use crate::facts::flux::{self, Flux, Kustomization};
use crate::facts::kubernetes::List;
use crate::remote::{Command, Output, Remote, printable};

/// Where to read on.
const READ: &str = "docs/windows.md#when-variables-are-not-applied";
/// Between two looks, at first and at last.
const FIRST_PAUSE: Duration = Duration::from_millis(300);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
const KIND: &str = "kustomizations.kustomize.toolkit.fluxcd.io";

/// How far one kustomization is.
#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    /// Others come first.
    Waits,
    /// It was asked for then.
    Asked(Instant),
    /// It is reconciled and ready.
    Done,
    /// It is suspended, and left alone.
    Suspended,
    /// It is not; why.
    Failed(String),
}

/// By namespace and name.
type States = BTreeMap<(String, String), State>;

/// Has all of them reconciled. An error names those that are not.
pub(super) async fn all<R: Remote>(
    remote: &R,
    each: Duration,
    scribe: &mut Scribe<'_>,
) -> Result<(), Trouble> {
    let stamp = Timestamp::now().to_string();
    let question = Command::new("timeout 50 k3s kubectl get").arg(KIND).fixed("-A -o json").limit(64 << 20);
    let (mut states, mut pause, mut heard) = (States::new(), FIRST_PAUSE, Instant::now());
    loop {
        let answer = scribe.look(remote, &question).await?.filter(Output::success);
        let seen = answer.and_then(|output| read(&output.text()).ok());
        if let Some((flux, handled)) = seen {
            heard = Instant::now();
            settle(&mut states, &flux, &handled, &stamp, each);
            let next = due(&mut states, &flux);
            ask(remote, &next, &stamp, &mut states, scribe).await?;
            let over = |state: &State| !matches!(state, State::Waits | State::Asked(_));
            if states.values().all(over) {
                return told(&states, scribe);
            }
            if !next.is_empty() {
                pause = FIRST_PAUSE;
            }
        } else if heard.elapsed() > each {
            let said = "the API does not answer: whether the kustomizations are reconciled is not known";
            return Err(Trouble::Failed(Failure::new("not-reconciled", said).read(READ)));
        }
        tokio::time::sleep(pause).await;
        pause = pause.mul_f32(1.5).min(LONGEST_PAUSE);
    }
}

type Handled = BTreeMap<(String, String), String>;

fn read(answer: &str) -> Result<(Flux, Handled), String> {
    let list = List::read(answer)?;
    Ok((flux::of_list(&list)?, flux::handled(&list)?))
}

/// Takes in what was seen. What appears meanwhile was made with the new variables already.
fn settle(states: &mut States, flux: &Flux, handled: &Handled, stamp: &str, each: Duration) {
    if states.is_empty() {
        let of = |k: &Kustomization| if k.suspended { State::Suspended } else { State::Waits };
        states.extend(flux.kustomizations.iter().map(|k| (key(k), of(k))));
    }
    for (key, state) in states.iter_mut() {
        let found = flux.kustomizations.iter().find(|k| (&k.namespace, &k.name) == (&key.0, &key.1));
        let State::Asked(since) = state else { continue };
        let is_handled = handled.get(key).is_some_and(|handled| handled == stamp);
        *state = match found {
            None => State::Failed("is gone".to_owned()),
            Some(k) if k.suspended => State::Suspended,
            Some(k) if is_handled && k.ready.is_true() => State::Done,
            Some(k) if since.elapsed() > each => {
                let why = if is_handled {
                    printable(&k.ready.message)
                } else {
                    "its controller did not see to it".to_owned()
                };
                State::Failed(format!("not ready within {} s: {why}", each.as_secs()))
            }
            Some(_) => continue,
        };
    }
}

fn key(kustomization: &Kustomization) -> (String, String) {
    (kustomization.namespace.clone(), kustomization.name.clone())
}

/// Those whose turn it is: all that they depend on are over. One that depends on a failed one fails as well, and so do those that wait for
/// each other in a circle.
fn due(states: &mut States, flux: &Flux) -> Vec<(String, String)> {
    loop {
        let mut failed = Vec::new();
        let mut due = Vec::new();
        for kustomization in &flux.kustomizations {
            let key = key(kustomization);
            if states.get(&key) != Some(&State::Waits) {
                continue;
            }
            let of = |name: &String| {
                let (namespace, name) = name.split_once('/').unwrap_or((&key.0, name));
                // One that is not there is the controller's to complain about.
                states.get(&(namespace.to_owned(), name.to_owned())).cloned().unwrap_or(State::Done)
            };
            let before: Vec<(&String, State)> =
                kustomization.depends_on.iter().map(|name| (name, of(name))).collect();
            if let Some((name, _)) = before.iter().find(|(_, state)| matches!(state, State::Failed(_))) {
                failed.push((key, format!("depends on {}, which is not ready", printable(name))));
            } else if before.iter().all(|(_, state)| matches!(state, State::Done | State::Suspended)) {
                due.push(key);
            }
        }
        let stands =
            due.is_empty() && failed.is_empty() && !states.values().any(|s| matches!(s, State::Asked(_)));
        if stands {
            let waits = states.iter().filter(|(_, state)| **state == State::Waits);
            failed =
                waits.map(|(key, _)| (key.clone(), "depends on itself, or is gone".to_owned())).collect();
        }
        if failed.is_empty() {
            return due;
        }
        states.extend(failed.into_iter().map(|(key, why)| (key, State::Failed(why))));
    }
}

/// Asks for these, one command a namespace. One that could not be asked for waits for the next look.
async fn ask<R: Remote>(
    remote: &R,
    next: &[(String, String)],
    stamp: &str,
    states: &mut States,
    scribe: &mut Scribe<'_>,
) -> Result<(), Trouble> {
    let mut namespaces: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (namespace, name) in next {
        namespaces.entry(namespace).or_default().push(name);
    }
    for (namespace, names) in namespaces {
        let annotate = Command::new("k3s kubectl annotate --overwrite")
            .arg(KIND)
            .args(&names)
            .fixed("-n")
            .arg(namespace)
            .arg(format!("reconcile.fluxcd.io/requestedAt={stamp}"));
        if scribe.repeat(remote, &annotate).await?.success() {
            let now = Instant::now();
            let asked =
                names.iter().map(|name| ((namespace.to_owned(), (*name).to_owned()), State::Asked(now)));
            states.extend(asked);
        }
    }
    Ok(())
}

fn told(states: &States, scribe: &mut Scribe<'_>) -> Result<(), Trouble> {
    let names = |wanted: fn(&State) -> bool| -> Vec<String> {
        let of = states.iter().filter(|(_, state)| wanted(state));
        of.map(|((namespace, name), _)| printable(&format!("{namespace}/{name}"))).collect()
    };
    let done = names(|state| *state == State::Done);
    scribe.note(format!("{} reconciled and ready", crate::form::count(done.len(), "kustomization")))?;
    let suspended = names(|state| *state == State::Suspended);
    if !suspended.is_empty() {
        scribe.note(format!("suspended, and left alone: {}", suspended.join(", ")))?;
    }
    let failed: Vec<String> = states
        .iter()
        .filter_map(|((namespace, name), state)| match state {
            State::Failed(why) => Some(printable(&format!("{namespace}/{name} {why}"))),
            _ => None,
        })
        .collect();
    if failed.is_empty() {
        return Ok(());
    }
    let said = format!(
        "the variables are in the cluster, but not every kustomization is ready with them: {}",
        failed.join("; ")
    );
    Err(Trouble::Failed(Failure::new("not-reconciled", said).read(READ)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::flux::Ready;

    fn kustomization(name: &str, depends_on: &[&str]) -> Kustomization {
        Kustomization {
            namespace: "flux-system".into(),
            name: name.into(),
            depends_on: depends_on.iter().map(|name| (*name).to_owned()).collect(),
            ready: Ready { status: "True".into(), current: true, ..Ready::default() },
            ..Kustomization::default()
        }
    }

    fn of(name: &str) -> (String, String) {
        ("flux-system".into(), name.into())
    }

    fn names(due: &[(String, String)]) -> Vec<&str> {
        due.iter().map(|(_, name)| name.as_str()).collect()
    }

    const EACH: Duration = Duration::from_secs(60);

    #[tokio::test(start_paused = true)]
    async fn each_is_asked_for_once_those_before_it_are_ready_and_a_suspended_one_is_none_that_is_waited_for()
    {
        let suspended = Kustomization { suspended: true, ..kustomization("held", &[]) };
        let flux = Flux {
            kustomizations: vec![
                kustomization("app", &["core", "held", "flux-system/gone"]),
                kustomization("core", &[]),
                kustomization("late", &["app"]),
                suspended,
            ],
            ..Flux::default()
        };
        let (mut states, mut handled) = (States::new(), Handled::new());
        for expected in ["core", "app", "late"] {
            settle(&mut states, &flux, &handled, "t", EACH);
            assert_eq!(names(&due(&mut states, &flux)), [expected]);
            states.insert(of(expected), State::Asked(Instant::now()));
            // Ready of before is not enough.
            handled.insert(of(expected), "yesterday".into());
            settle(&mut states, &flux, &handled, "t", EACH);
            assert!(due(&mut states, &flux).is_empty(), "{expected}");
            handled.insert(of(expected), "t".into());
        }
        settle(&mut states, &flux, &handled, "t", EACH);
        assert_eq!(states[&of("late")], State::Done);
        assert_eq!(states[&of("held")], State::Suspended);
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_is_overdue_fails_alone_with_those_behind_it_and_a_circle_does_not_wait_for_ever() {
        let flux = Flux {
            kustomizations: vec![
                kustomization("core", &[]),
                kustomization("app", &["core"]),
                kustomization("other", &[]),
                kustomization("one", &["two"]),
                kustomization("two", &["one"]),
            ],
            ..Flux::default()
        };
        let (mut states, handled) = (States::new(), Handled::from([(of("other"), "t".to_owned())]));
        settle(&mut states, &flux, &handled, "t", EACH);
        assert_eq!(names(&due(&mut states, &flux)), ["core", "other"]);
        for name in ["core", "other"] {
            states.insert(of(name), State::Asked(Instant::now()));
        }
        tokio::time::advance(EACH + Duration::from_secs(1)).await;
        settle(&mut states, &flux, &handled, "t", EACH);
        assert!(due(&mut states, &flux).is_empty());
        assert_eq!(states[&of("other")], State::Done);
        for name in ["core", "app", "one", "two"] {
            assert!(matches!(states[&of(name)], State::Failed(_)), "{name}: {states:?}");
        }
    }
}
