//! 0.7 → 0.8: OpenAppStack becomes Stackspin, with other namespaces and another source (guide, "Upgrading to 0.8"; facts sections 6.2 and 7).
//!
//! Upstream's rename script is not used: it assumes that every application is installed, and comes from a branch that moves (facts section
//! 8, trap 11). Its effects are made here, in an order in which nothing is deleted before what takes its place is there: see
//! `docs/decisions.md`, "The order of the rung to 0.8".

use std::time::Duration;

use super::{HOUR, MINUTE, Migration, converge, fetch, script, scripted};
use crate::facts::{Facts, helm_left, renamed};
use crate::plan::{Action, Class, MoveClaim, Object, Objects, Probe, Redo, RemoveNamespaces, Renamed, Step};
use crate::remote::Command;
use crate::version::Version;

mod carried;

use carried::{apps, copies, disowned, moves, notes};

pub(super) const MIGRATION: Migration =
    Migration { id: "to-0.8", from: Version::V0_7, to: Version::V0_8, steps, notes };

const OLD: &str = "openappstack";
const SOURCES: &str = "gitrepositories.source.toolkit.fluxcd.io";

/// Faults that this rung is known to meet, and those of any upgrade. Cured from the milder to the stronger: the guide's two cures for
/// Nextcloud's job are both tried.
const REMEDIES: [&str; 6] = [
    "onlyoffice",
    "sociallogin",
    "missing-secret",
    "pending-release",
    "remediation-failed",
    "retries-exhausted",
];

fn steps(facts: &Facts) -> Result<Vec<Step>, String> {
    let (scripts, _) = scripted(facts, OLD)?;
    let flux = facts.flux.get().map_err(|why| format!("its Flux objects are not known: {why}"))?;
    let left = facts.helm_left.get().map_err(|why| format!("what Helm would leave is not known: {why}"))?;
    let (overrides, secrets) = copies(facts)?;
    let moves = moves(facts)?;
    let disowned = disowned(flux)?;
    let (in_the_way, left): (Vec<&Object>, Vec<&Object>) =
        left.iter().partition(|object| helm_left::is_in_the_way(object));

    let mut steps = vec![make_namespaces(), make_source(), fetch("to-0.8/fetch", Version::V0_8)];
    if !overrides.is_empty() {
        steps.push(copy("to-0.8/copy-overrides", "overrides", overrides));
    }
    steps.push(copy("to-0.8/copy-secrets", "secrets", secrets));
    steps.push(disown(disowned));
    if !in_the_way.is_empty() {
        let title = "Delete what Helm would leave between the API and what is written";
        steps.push(delete("to-0.8/remove-webhooks", title, &in_the_way));
    }
    steps.push(stop());
    for moved in &moves {
        let id = format!("to-0.8/move-{}-from-{}", moved.claim, moved.from);
        steps.push(moved.clone().step(id).down(Duration::from_secs(10)));
    }
    steps.push(remove_namespaces(moves));
    if !left.is_empty() {
        let title = "Delete what Helm has left outside of the old namespaces";
        steps.push(delete("to-0.8/remove-leftovers", title, &left));
    }
    steps.push(remove_source());
    // Both scripts may be run again: what is there stays (facts sections 2.1 and 3.4).
    let install = |id: String, title: String, argv: &[&str]| -> Result<Step, String> {
        Ok(Step::new(id, title, Class::Irreversible, script(scripts, argv, None, &[])?)
            .redo(Redo::Repeatable)
            .takes(3 * MINUTE, HOUR)
            .down(3 * MINUTE))
    };
    steps.push(install(
        "to-0.8/install-stackspin".into(),
        "Run upstream's installation of Stackspin itself".into(),
        &["install/install-stackspin.sh"],
    )?);
    for app in apps(facts) {
        let title = format!("Run upstream's installation of {app}");
        steps.push(install(format!("to-0.8/install-{app}"), title, &["install/install-app.sh", &app])?);
    }
    steps.push(converge("to-0.8/converge", Version::V0_8, &REMEDIES).down(30 * MINUTE));
    Ok(steps)
}

fn make_namespaces() -> Step {
    Step::new(
        "to-0.8/namespaces",
        "Make the namespaces stackspin and stackspin-apps",
        Class::Repeatable,
        Action::Run(
            Command::new(
                "for n in stackspin stackspin-apps; do k3s kubectl get namespaces \"$n\" >/dev/null 2>&1 ||",
            )
            .fixed(r#"printf '{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"%s"}}' "$n" |"#)
            .fixed("k3s kubectl create --validate=false -f - || exit 1; done"),
        ),
    )
}

/// In the API version of the old source, with its interval, address and login; upstream's repository has moved with its name, a fork stays
/// where it is. The address is read where it is used, as there may be a password in it. No kustomization uses the source yet, so it does
/// nothing but fetch.
fn make_source() -> Step {
    let form = r#"'{"apiVersion":"%s","kind":"GitRepository","metadata":{"name":"stackspin","namespace":"flux-system"},"spec":{"interval":"%s","ref":{"branch":"v0.8"},"timeout":"60s","url":"%s"%s}}'"#;
    Step::new(
        "to-0.8/source",
        "Make source stackspin, which follows branch v0.8, beside the old one",
        Class::Undoable,
        Action::Run(
            Command::new("was=$(k3s kubectl get gitrepositories.source.toolkit.fluxcd.io openappstack -n flux-system -o")
                .fixed("'jsonpath={.apiVersion} {.spec.interval} {.spec.url} {.spec.secretRef.name}') && set -- $was &&")
                .fixed("url=$(printf %s \"$3\" | sed s#openappstack/openappstack#stackspin/stackspin#) && login= &&")
                .fixed(r#"{ [ -z "$4" ] || login=",\"secretRef\":{\"name\":\"$4\"}"; } &&"#)
                .fixed("printf")
                .fixed(form)
                .fixed(r#""$1" "$2" "$url" "$login" | k3s kubectl create --validate=false -f -"#),
        ),
    )
    .redo(Redo::Unless(Probe::SourceWants { source: super::STACKSPIN.into(), branch: Version::V0_8.branch() }))
}

fn copy(id: &str, what: &str, copies: Vec<Renamed>) -> Step {
    let title = format!("Copy {} {what} to their new names and compare them byte for byte", copies.len());
    Step::new(id, title, Class::Repeatable, Action::Objects(Objects::Copy { copies }))
}

fn disown(objects: Vec<Object>) -> Step {
    let title = "Take Flux's hands off all that it has made for OpenAppStack: suspended, read back, deleted";
    Step::new("to-0.8/disown", title, Class::Irreversible, Action::Disown(objects))
        .redo(Redo::Repeatable)
        .takes(MINUTE, 15 * MINUTE)
}

fn stop() -> Step {
    let namespaces = renamed::NAMESPACES.map(|(old, _)| old.to_owned());
    Step::new(
        "to-0.8/stop",
        "Stop everything in the old namespaces",
        Class::Undoable,
        Action::Stop(namespaces.to_vec()),
    )
    .redo(Redo::Repeatable)
    .takes(2 * MINUTE, 30 * MINUTE)
    .down(2 * MINUTE)
}

fn remove_namespaces(moved: Vec<MoveClaim>) -> Step {
    let namespaces = renamed::NAMESPACES.map(|(old, _)| old.to_owned()).to_vec();
    let title = "Remove the old namespaces with what is left in them, once every claim is safe";
    let action = Action::RemoveNamespaces(RemoveNamespaces { namespaces, moved });
    Step::new("to-0.8/remove-namespaces", title, Class::Irreversible, action)
        .redo(Redo::Repeatable)
        .takes(2 * MINUTE, 30 * MINUTE)
        .down(2 * MINUTE)
}

/// By name, and nothing else: what is not there any more is no fault.
fn delete(id: &str, title: &str, objects: &[&Object]) -> Step {
    let one = |object: &&Object| {
        let delete =
            Command::new("k3s kubectl delete --ignore-not-found").arg(&object.kind).arg(&object.name);
        if object.namespace.is_empty() { delete } else { delete.fixed("-n").arg(&object.namespace) }
    };
    let all = objects.iter().map(one).reduce(|all, one| all.then("&&", &one));
    let command = all.unwrap_or_else(|| Command::new(":")).deadline(5 * MINUTE);
    Step::new(id, title, Class::Irreversible, Action::Run(command)).redo(Redo::Repeatable)
}

fn remove_source() -> Step {
    let action = Action::Run(
        Command::new("k3s kubectl delete --ignore-not-found")
            .arg(SOURCES)
            .arg(OLD)
            .fixed("-n flux-system")
            .deadline(5 * MINUTE),
    );
    Step::new("to-0.8/remove-source", "Remove the old source", Class::Irreversible, action)
        .redo(Redo::Repeatable)
}
