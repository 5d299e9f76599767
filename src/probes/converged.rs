//! Whether all that Flux makes of a source is as the source now wants it (facts section 5.2).

use super::{Progress, Stuck, describe, stuck};
use crate::facts::flux::{Flux, Kustomization, Release, Source};
use crate::remote::printable;

/// Suspended kustomizations and releases are left out: a check told of them before, and waiting does not move them. So are those of other
/// sources: what an operator has added himself is not this upgrade's to cure or to wait for.
pub(super) fn converged(flux: &Flux, source: &Source) -> Progress {
    let mut waiting = Vec::new();
    let mut good = 0_usize;
    let ours = flux.kustomizations.iter().filter(|k| k.source == source.name && !k.suspended);
    for kustomization in ours {
        match behind(kustomization, source) {
            Some(trouble) => waiting.push(trouble),
            None => good += 1,
        }
    }
    let foreign = |release: &&Release| {
        flux.kustomizations.iter().any(|owner| owner.name == release.owner && owner.source != source.name)
    };
    for release in flux.releases.iter().filter(|release| !release.suspended && !foreign(release)) {
        match unready(release) {
            Some(trouble) => waiting.push(trouble),
            None => good += 1,
        }
    }
    if waiting.is_empty() {
        Progress::Reached(format!("{good} objects ready at {}", printable(&source.revision)))
    } else {
        Progress::NotYet(waiting)
    }
}

fn behind(kustomization: &Kustomization, source: &Source) -> Option<Stuck> {
    let Kustomization { namespace, name, ready, applied, .. } = kustomization;
    if ready.is_true() && *applied == source.revision {
        return None;
    }
    let message = if ready.is_true() { format!("still at {applied}") } else { describe(ready, applied) };
    Some(stuck("Kustomization", namespace, name, &message, false))
}

fn unready(release: &Release) -> Option<Stuck> {
    let Release { namespace, name, ready, .. } = release;
    if ready.is_true() {
        return None;
    }
    let terminal = ready.current && ready.message.contains("retries exhausted");
    let said = describe(ready, &release.applied);
    // The cause, by which a remedy knows the fault: "retries exhausted" alone hides it.
    let said = if ready.current && !release.failed.is_empty() {
        format!("{said}; its last try: {}", release.failed)
    } else {
        said
    };
    Some(stuck("HelmRelease", namespace, name, &said, terminal))
}

/// As [`converged`], but what belongs to these applications may have failed instead: something else is to be done about it then.
///
/// An application's release counts as failed only once its controller has seen the latest change, and as ready only when the kustomization that applies
/// it is at the new revision: after a switch of branches the old version stays ready for a while.
pub(super) fn settled(flux: &Flux, source: &Source, apps: &[String]) -> Progress {
    let failed = |app: &String| {
        flux.releases
            .iter()
            .any(|release| release.name == *app && release.ready.current && release.ready.status == "False")
    };
    let failed: Vec<&String> = apps.iter().filter(|app| failed(app)).collect();
    let excused = |stuck: &Stuck| {
        let name = stuck.name.strip_prefix("add-").unwrap_or(&stuck.name);
        failed.iter().any(|app| *app == name)
    };
    match converged(flux, source) {
        Progress::NotYet(mut waiting) => {
            waiting.retain(|stuck| !excused(stuck));
            if waiting.is_empty() {
                let names: Vec<&str> = failed.iter().map(|app| app.as_str()).collect();
                Progress::Reached(format!("all is ready but {}", names.join(" and ")))
            } else {
                Progress::NotYet(waiting)
            }
        }
        progress => progress,
    }
}

/// Every release of this name.
pub(super) fn released(flux: &Flux, name: &str) -> Progress {
    let mut releases = flux.releases.iter().filter(|release| release.name == name).peekable();
    if releases.peek().is_none() {
        return Progress::NotYet(vec![stuck("HelmRelease", "", name, "there is none", false)]);
    }
    let waiting: Vec<Stuck> = releases.filter_map(unready).collect();
    if waiting.is_empty() {
        Progress::Reached(format!("Helm release {name} is ready"))
    } else {
        Progress::NotYet(waiting)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::flux::Ready;

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

    fn kustomization(name: &str, applied: &str, condition: Ready) -> Kustomization {
        Kustomization {
            namespace: "flux-system".into(),
            name: name.into(),
            source: "openappstack".into(),
            applied: applied.into(),
            ready: condition,
            ..Kustomization::default()
        }
    }

    const NEW: &str = "v0.7/1234567890abcdef1234567890abcdef12345678";
    const OLD: &str = "v0.6/abcdef1234567890abcdef1234567890abcdef12";

    #[test]
    fn ready_on_the_old_revision_is_not_converged() {
        let source = source("v0.7", NEW);
        let flux =
            Flux { kustomizations: vec![kustomization("core", OLD, ready("True"))], ..Flux::default() };
        let Progress::NotYet(waiting) = converged(&flux, &source) else {
            panic!("converged on the old revision")
        };
        assert_eq!(waiting[0].message, format!("still at {OLD}"));
    }

    /// The nightly window may close in the middle: what was fetched is applied all the same (facts section 5.3).
    #[test]
    fn a_source_that_was_suspended_after_it_had_fetched_does_not_hold_the_rest_up() {
        let source = Source { suspended: true, ..source("v0.7", NEW) };
        let flux =
            Flux { kustomizations: vec![kustomization("core", NEW, ready("True"))], ..Flux::default() };
        assert!(matches!(converged(&flux, &source), Progress::Reached(_)));
    }

    #[test]
    fn ready_of_an_older_generation_is_not_converged() {
        let stale = Ready { current: false, ..ready("True") };
        let flux = Flux { kustomizations: vec![kustomization("core", NEW, stale)], ..Flux::default() };
        assert!(matches!(converged(&flux, &source("v0.7", NEW)), Progress::NotYet(_)));
    }

    #[test]
    fn foreign_and_suspended_objects_are_not_waited_for() {
        let foreign =
            Kustomization { source: "stackspout".into(), ..kustomization("extra", OLD, ready("False")) };
        let release = Release {
            namespace: "stackspout".into(),
            name: "extra".into(),
            owner: "extra".into(),
            ready: Ready { message: "install retries exhausted".into(), ..ready("False") },
            ..Release::default()
        };
        let held = Kustomization { suspended: true, ..kustomization("held", OLD, ready("True")) };
        let flux = Flux {
            kustomizations: vec![foreign, held, kustomization("core", NEW, ready("True"))],
            releases: vec![release],
            ..Flux::default()
        };
        assert_eq!(
            converged(&flux, &source("v0.7", NEW)),
            Progress::Reached(format!("1 objects ready at {NEW}"))
        );
    }

    #[test]
    fn a_release_out_of_retries_is_terminal_once_its_controller_has_seen_the_latest_change() {
        let mut release = Release {
            namespace: "oas".into(),
            name: "loki".into(),
            ready: Ready { message: "upgrade retries exhausted".into(), ..ready("False") },
            ..Release::default()
        };
        assert!(unready(&release).unwrap().terminal);
        release.ready.current = false;
        assert!(!unready(&release).unwrap().terminal);
    }

    #[test]
    fn a_release_out_of_retries_tells_what_its_last_try_failed_of() {
        let mut release = Release {
            ready: Ready { message: "upgrade retries exhausted".into(), ..ready("False") },
            failed: "Helm upgrade failed: timed out".into(),
            ..Release::default()
        };
        assert_eq!(
            unready(&release).unwrap().message,
            "upgrade retries exhausted; its last try: Helm upgrade failed: timed out"
        );
        release.ready.current = false;
        assert!(
            !unready(&release).unwrap().message.contains("timed out"),
            "it is from before the latest change"
        );
    }

    #[test]
    fn an_application_that_has_failed_holds_nobody_up_and_one_that_is_still_old_does() {
        let release = |name: &str, condition: Ready| Release {
            namespace: "stackspin-apps".into(),
            name: name.into(),
            owner: name.into(),
            ready: condition,
            ..Release::default()
        };
        let apps = ["nextcloud".to_owned(), "zulip".to_owned()];
        let source = source("v0.7", NEW);
        let look = |at: &str, nextcloud: Ready, loki: Ready| {
            let flux = Flux {
                kustomizations: vec![
                    kustomization("core", NEW, ready("True")),
                    kustomization("nextcloud", at, nextcloud.clone()),
                ],
                releases: vec![release("nextcloud", nextcloud), release("loki", loki)],
                ..Flux::default()
            };
            settled(&flux, &source, &apps)
        };
        assert_eq!(
            look(NEW, ready("False"), ready("True")),
            Progress::Reached("all is ready but nextcloud".to_owned())
        );
        assert!(matches!(look(NEW, ready("True"), ready("True")), Progress::Reached(_)));
        assert!(
            matches!(look(OLD, ready("True"), ready("True")), Progress::NotYet(_)),
            "still the old version"
        );
        assert!(matches!(look(NEW, ready("Unknown"), ready("True")), Progress::NotYet(_)), "at work");
        assert!(
            matches!(look(NEW, ready("False"), ready("False")), Progress::NotYet(_)),
            "loki is no such application"
        );
    }

    #[test]
    fn a_release_that_is_not_there_is_not_ready() {
        assert!(matches!(released(&Flux::default(), "nextcloud"), Progress::NotYet(_)));
    }
}
