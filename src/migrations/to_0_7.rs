//! 0.6 → 0.7: the `oas-secrets` chart goes, the secrets it made must stay (guide, "Upgrading to 0.7.0"; facts section 6.1).
//!
//! Flux prunes the chart once it follows branch v0.7, and Helm takes the secrets with it. So: save them, switch the branch, wait until the
//! chart is gone (a secret put back earlier would be taken again), put them back, and let Flux finish.

use std::time::Duration;

use super::{Migration, and_of_the_network};
use crate::facts::Facts;
use crate::facts::secrets::Secret;
use crate::plan::{Action, Class, Object, Objects, Probe, Redo, Step};
use crate::remote::Command;
use crate::version::Version;

pub(super) const MIGRATION: Migration =
    Migration { id: "to-0.7", from: Version::V0_6, to: Version::V0_7, steps, notes };

/// The secrets that the guide saves, with the application whose absence explains a missing one (facts section 3.4).
const SECRETS: [(&str, &str, Option<&str>); 10] = [
    ("flux-system", "oas-cluster-variables", None),
    ("flux-system", "oas-kube-prometheus-stack-variables", Some("kube-prometheus-stack")),
    ("flux-system", "oas-nextcloud-variables", Some("nextcloud")),
    ("flux-system", OAUTH, None),
    ("flux-system", "oas-rocketchat-variables", Some("rocketchat")),
    ("flux-system", "oas-single-sign-on-variables", Some("single-sign-on")),
    ("flux-system", "oas-wekan-variables", Some("wekan")),
    ("flux-system", "oas-wordpress-variables", Some("wordpress")),
    ("oas", "oas-alertmanager-basic-auth", Some("kube-prometheus-stack")),
    ("oas", "oas-prometheus-basic-auth", Some("kube-prometheus-stack")),
];

const OAUTH: &str = "oas-oauth-variables";

/// The applications that 0.7's single sign-on wants a client secret for, installed or not (guide, "SSO helm upgrade failed").
const OAUTH_APPS: [&str; 6] = ["grafana", "nextcloud", "rocketchat", "userpanel", "wekan", "wordpress"];

const SOURCE: &str = "openappstack";
const SET: &str = "oas-secrets";
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);

fn steps(facts: &Facts) -> Result<Vec<Step>, String> {
    let secrets = facts.secrets.get().map_err(|why| format!("its secrets are not known: {why}"))?;
    let flux = facts.flux.get().map_err(|why| format!("its Flux objects are not known: {why}"))?;
    let source = flux
        .sources
        .iter()
        .find(|source| source.namespace == "flux-system" && source.name == SOURCE)
        .ok_or_else(|| format!("it has no GitRepository flux-system/{SOURCE}"))?;
    let saved = present(facts, secrets)?;
    let oauth = secrets
        .iter()
        .find(|secret| secret.namespace == "flux-system" && secret.name == OAUTH)
        .ok_or_else(|| format!("it has no secret flux-system/{OAUTH}"))?;

    let mut steps = vec![save(&saved)];
    steps.extend(OAUTH_APPS.into_iter().filter_map(|app| complete(oauth, app)));
    steps.push(switch());
    if source.suspended {
        steps.push(resume());
    }
    steps.extend([fetch(), chart_gone(), restore(&saved), reconcile(), converge()]);
    Ok(steps)
}

/// The guide's secrets that are there. One that is missing although its application is installed cannot be put back later, and 0.7 would
/// make the application anew with other passwords: that is refused.
fn present(facts: &Facts, secrets: &[Secret]) -> Result<Vec<Object>, String> {
    let apps = facts.flux.get().map(|flux| flux.releases.as_slice()).unwrap_or_default();
    let mut found = Vec::new();
    for (namespace, name, app) in SECRETS {
        let there = secrets.iter().any(|secret| secret.namespace == namespace && secret.name == name);
        let wanted = app.is_none_or(|app| apps.iter().any(|release| release.name == app));
        match (there, wanted) {
            (true, _) => found.push(Object::secret(namespace, name)),
            (false, true) => {
                return Err(format!(
                    "secret {namespace}/{name} is missing although its application is installed"
                ));
            }
            (false, false) => {}
        }
    }
    Ok(found)
}

fn save(saved: &[Object]) -> Step {
    Step::new(
        "to-0.7/save-secrets",
        format!("Save {} secrets that Flux will remove", saved.len()),
        Class::ReadOnly,
        Action::Objects(Objects::Save { set: SET.into(), objects: saved.to_vec() }),
    )
}

/// 0.7 wants a client secret of every application, of those too that are not installed. The password is put into the saved copy, so a
/// repeated run finds the same one. (The guide's `echo … | base64` would add a line feed to it; facts section 8, trap 5.)
fn complete(oauth: &Secret, app: &str) -> Option<Step> {
    let key = format!("{app}_oauth_client_secret");
    let filled = oauth.keys.contains(&key) && !oauth.empty.contains(&key);
    (!filled).then(|| {
        Step::new(
            format!("to-0.7/add-oauth-{app}"),
            format!("Give the saved {OAUTH} a new password for {app}, which it lacks"),
            Class::ReadOnly,
            Action::Objects(Objects::AddPassword {
                set: SET.into(),
                object: Object::secret("flux-system", OAUTH),
                key,
            }),
        )
    })
}

/// Before the source is resumed: then Flux fetches the new branch and never once more the old one.
fn switch() -> Step {
    let branch = Version::V0_7.branch();
    Step::new(
        "to-0.7/switch-branch",
        format!("Let Flux follow branch {branch}"),
        Class::Irreversible,
        Action::Run(
            Command::new(
                "k3s kubectl patch gitrepositories.source.toolkit.fluxcd.io openappstack -n flux-system --type merge -p",
            )
            .fixed(r#"'{"spec":{"ref":{"branch":"v0.7"}}}'"#),
        ),
    )
    .redo(Redo::Unless(Probe::SourceWants { source: SOURCE.into(), branch }))
}

/// A suspended source ignores its new branch (facts section 8, trap 8). The truce suspends it again at the end, as it was found.
fn resume() -> Step {
    Step::new(
        "to-0.7/resume-source",
        format!("Resume source {SOURCE}, which the nightly window had suspended"),
        Class::Undoable,
        Action::Run(
            Command::new(
                "k3s kubectl patch gitrepositories.source.toolkit.fluxcd.io openappstack -n flux-system --type merge -p",
            )
            .fixed(r#"'{"spec":{"suspend":false}}'"#),
        ),
    )
    .redo(Redo::Unless(Probe::SourceSuspended { source: SOURCE.into(), suspended: false }))
}

fn fetch() -> Step {
    let branch = Version::V0_7.branch();
    Step::new(
        "to-0.7/fetch",
        format!("Wait until Flux has fetched {branch}"),
        Class::ReadOnly,
        Action::WaitUntil { probe: Probe::SourceAt { source: SOURCE.into(), branch }, remedies: Vec::new() },
    )
    .takes(MINUTE, 15 * MINUTE)
}

fn chart_gone() -> Step {
    Step::new(
        "to-0.7/oas-secrets-gone",
        "Wait until Flux has removed the Helm release oas-secrets, and its secrets with it",
        Class::ReadOnly,
        Action::WaitUntil { probe: Probe::ReleaseGone { name: "oas-secrets".into() }, remedies: Vec::new() },
    )
    .takes(5 * MINUTE, HOUR)
}

fn restore(saved: &[Object]) -> Step {
    Step::new(
        "to-0.7/restore-secrets",
        format!("Put the {} saved secrets back and compare them byte for byte", saved.len()),
        Class::Repeatable,
        Action::Objects(Objects::Restore { set: SET.into(), objects: saved.to_vec() }),
    )
}

/// Flux would try again by itself, after its own long intervals.
fn reconcile() -> Step {
    Step::new(
        "to-0.7/reconcile",
        "Ask Flux to reconcile every kustomization now",
        Class::Repeatable,
        Action::Run(
            Command::new("k3s kubectl annotate --overwrite kustomizations.kustomize.toolkit.fluxcd.io --all -n flux-system")
                .fixed(r#"reconcile.fluxcd.io/requestedAt="$(date -u +%Y-%m-%dT%H:%M:%S.%NZ)""#),
        ),
    )
}

/// The guide: "this can take quite a while (over an hour some times)"; facts section 8, trap 14 asks for two hours at least.
fn converge() -> Step {
    let remedies = ["empty-oauth", "missing-secret", "retries-exhausted"];
    Step::new(
        "to-0.7/converge",
        "Wait until every kustomization is ready at v0.7 and every Helm release is ready",
        Class::Repeatable,
        Action::WaitUntil {
            probe: Probe::Converged { source: SOURCE.into() },
            remedies: and_of_the_network(&remedies),
        },
    )
    .takes(30 * MINUTE, 3 * HOUR)
    .down(10 * MINUTE)
}

fn notes(facts: &Facts) -> Vec<String> {
    let Ok(flux) = facts.flux.get() else { return Vec::new() };
    let foreign: Vec<&str> = flux
        .kustomizations
        .iter()
        .filter(|kustomization| kustomization.source != SOURCE)
        .map(|kustomization| kustomization.name.as_str())
        .collect();
    if foreign.is_empty() {
        return Vec::new();
    }
    vec![format!(
        "Kustomizations of other sources are left alone and not waited for: {}. Look at them afterwards.",
        foreign.join(", ")
    )]
}
