//! 0.7 → 0.8: OpenAppStack becomes Stackspin, with other namespaces and another source (guide, "Upgrading to 0.8"; facts sections 6.2 and 7).
//!
//! Upstream's rename script is not used: it assumes that every application is installed, and comes from a branch that moves (facts section
//! 8, trap 11). Its effects are made here, in an order in which nothing is deleted before what takes its place is there: see
//! `docs/decisions.md`, "The order of the rung to 0.8".

use std::time::Duration;

use super::{HOUR, MINUTE, Migration, converge, fetch, others, script, scripted};
use crate::facts::Facts;
use crate::facts::flux::Flux;
use crate::facts::{helm_left, renamed};
use crate::plan::{Action, Class, MoveClaim, Object, Objects, Probe, Redo, RemoveNamespaces, Renamed, Step};
use crate::remote::Command;
use crate::version::Version;

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

/// The longest name of a claim that a step can be called by: a step's log is a file.
const LONGEST: usize = 200;

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

/// The applications to install again. 0.8 has Zulip in the place of Rocket.Chat (facts section 1).
fn apps(facts: &Facts) -> Vec<String> {
    let heir = |app: String| if app == "rocketchat" { "zulip".to_owned() } else { app };
    facts.apps().into_iter().map(heir).collect()
}

/// What is carried over: overrides, and Secrets. Err where a new name is taken by something else, which would stop the rung in its middle.
fn copies(facts: &Facts) -> Result<(Vec<Renamed>, Vec<Renamed>), String> {
    let overrides = facts.overrides.get().map_err(|why| format!("its overrides are not known: {why}"))?;
    let secrets = facts.secrets.get().map_err(|why| format!("its secrets are not known: {why}"))?;
    let copy = |from: Object| Renamed { to: renamed::object(&from), from };
    let of_old = |object: &&Object| renamed::object(object) != **object;
    let overrides: Vec<Renamed> = overrides.iter().filter(of_old).cloned().map(copy).collect();
    let secrets: Vec<Renamed> = secrets
        .iter()
        .filter(|secret| renamed::is_carried(secret) && !secret.name.ends_with("-override"))
        .map(|secret| copy(Object::secret(&secret.namespace, &secret.name)))
        .collect();
    if secrets.is_empty() {
        return Err("it has none of OpenAppStack's secrets, by which its databases are opened".to_owned());
    }
    match overrides.iter().chain(&secrets).find(|copy| is_taken(facts, copy)) {
        None => Ok((overrides, secrets)),
        Some(Renamed { from, to }) => Err(format!(
            "{} {to} is there already, and perhaps not what {from} is: delete the one that is not right (if it is {from}, copy the other \
             over it first)",
            to.kind
        )),
    }
}

/// Whether something else has the copy's name. Of Secrets it is known whether they are equal.
fn is_taken(facts: &Facts, copy: &Renamed) -> bool {
    let Renamed { from, to } = copy;
    if to.kind != "secrets" {
        return facts.overrides.get().is_ok_and(|overrides| overrides.contains(to));
    }
    let Ok(secrets) = facts.secrets.get() else { return false };
    let of = |object: &Object| {
        let found =
            secrets.iter().find(|secret| secret.namespace == object.namespace && secret.name == object.name);
        found.map(|secret| (&secret.kind, &secret.hash))
    };
    of(to).is_some_and(|there| of(from) != Some(there))
}

/// Every claim with a volume: what is in it stays wherever its application goes.
fn moves(facts: &Facts) -> Result<Vec<MoveClaim>, String> {
    let claims = facts.claims.get().map_err(|why| format!("its claims are not known: {why}"))?;
    let ours = claims.iter().filter(|claim| renamed::goes(&claim.namespace));
    ours.filter(|claim| claim.phase == "Bound")
        .map(|claim| {
            let plain =
                |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-.".contains(&byte);
            if claim.name.is_empty() || claim.name.len() > LONGEST || !claim.name.bytes().all(plain) {
                return Err(format!("a claim in {} has a name that cannot be worked with", claim.namespace));
            }
            Ok(MoveClaim {
                from: claim.namespace.clone(),
                to: renamed::namespace(&claim.namespace).to_owned(),
                claim: claim.name.clone(),
                volume: claim.volume.clone(),
            })
        })
        .collect()
}

/// What Flux lets go of: every kustomization of the old source, every Helm release in the old namespaces. Err where somebody else's
/// kustomization would make such a release anew.
fn disowned(flux: &Flux) -> Result<Vec<Object>, String> {
    let releases = || flux.releases.iter().filter(|release| renamed::goes(&release.namespace));
    let awake = flux.kustomizations.iter().filter(|one| one.source != OLD && !one.suspended);
    for one in awake {
        if let Some(release) = releases().find(|release| release.owner == one.name) {
            return Err(format!(
                "kustomization {}/{} of source {} keeps Helm release {}/{}, whose namespace goes: suspend it, and let it make the release \
                 in {} afterwards",
                one.namespace,
                one.name,
                one.source,
                release.namespace,
                release.name,
                renamed::namespace(&release.namespace)
            ));
        }
    }
    let object = |kind: &str, namespace: &str, name: &str| Object {
        kind: kind.to_owned(),
        namespace: namespace.to_owned(),
        name: name.to_owned(),
    };
    let kind = "kustomizations.kustomize.toolkit.fluxcd.io";
    let ours = flux.kustomizations.iter().filter(|kustomization| kustomization.source == OLD);
    let kustomizations = ours.map(|one| object(kind, &one.namespace, &one.name));
    let kind = "helmreleases.helm.toolkit.fluxcd.io";
    let releases = releases().map(|release| object(kind, &release.namespace, &release.name));
    Ok(kustomizations.chain(releases).collect())
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

fn notes(facts: &Facts) -> Vec<String> {
    let mut notes = others(facts, OLD);
    if facts.apps().iter().any(|app| app == "rocketchat") {
        notes.push(
            "Zulip is installed in the place of Rocket.Chat, and without its messages: they are in the moved claims and in the backup. \
             Zulip's own \"Import from Rocket.Chat\" takes them over."
                .to_owned(),
        );
    }
    let named = |found: Vec<String>| (!found.is_empty()).then(|| found.join(", "));
    let unbound = facts.claims.get().ok().and_then(|claims| {
        let unbound = claims.iter().filter(|claim| renamed::goes(&claim.namespace) && claim.phase != "Bound");
        named(unbound.map(|claim| format!("{}/{}", claim.namespace, claim.name)).collect())
    });
    notes.extend(
        unbound.map(|names| format!("Claims without a volume hold nothing and are not moved: {names}.")),
    );
    let stay = facts.secrets.get().ok().and_then(|secrets| {
        let stay = secrets.iter().filter(|secret| {
            renamed::goes(&secret.namespace) && !secret.managed && !renamed::is_carried(secret)
        });
        named(stay.map(|secret| format!("{}/{}", secret.namespace, secret.name)).collect())
    });
    notes.extend(stay.map(|names| {
        format!("Secrets that are not Stackspin's go with their namespace; the backup has them: {names}.")
    }));
    if facts.overrides.get().is_ok_and(|overrides| overrides.iter().any(|one| one.name.starts_with("oas-"))) {
        notes.push("Overrides are copied as they are: look for names with oas in them.".to_owned());
    }
    notes.extend([
        "The history of monitoring is not to be seen afterwards; its volumes are moved and kept.".to_owned(),
        "Users of single sign-on get new names (stackspin-ID in place of oas-NAME): their files in Nextcloud are to be transferred to these."
            .to_owned(),
        "An application that 0.8 counts as optional and 0.7 did not (perhaps monitoring) is installed afterwards with install/install-app.sh."
            .to_owned(),
        "The old secrets in flux-system stay, and volumes keep policy Retain, until all is well and somebody cleans up.".to_owned(),
    ]);
    notes
}
