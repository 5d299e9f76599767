//! What of a cluster of 0.7 goes along to 0.8, what Flux lets go of for it, and what a person must know.

use super::super::others;
use super::OLD;
use crate::facts::flux::Flux;
use crate::facts::{Facts, renamed};
use crate::plan::{MoveClaim, Object, Renamed};

/// The longest name of a claim that a step can be called by: a step's log is a file.
const LONGEST: usize = 200;

/// The applications to install again. 0.8 has Zulip in the place of Rocket.Chat (facts section 1).
pub(super) fn apps(facts: &Facts) -> Vec<String> {
    let heir = |app: String| if app == "rocketchat" { "zulip".to_owned() } else { app };
    facts.apps().into_iter().map(heir).collect()
}

/// What is carried over: overrides, and Secrets. Err where a new name is taken by something else, which would stop the rung in its middle.
pub(super) fn copies(facts: &Facts) -> Result<(Vec<Renamed>, Vec<Renamed>), String> {
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
pub(super) fn moves(facts: &Facts) -> Result<Vec<MoveClaim>, String> {
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
pub(super) fn disowned(flux: &Flux) -> Result<Vec<Object>, String> {
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

/// What the plan cannot do, or does otherwise than somebody may think.
pub(super) fn notes(facts: &Facts) -> Vec<String> {
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
        "Users of single sign-on get new names (stackspin-ID in place of oas-NAME): fleet nextcloud transfer-files gives them \
             their files in Nextcloud."
            .to_owned(),
        "An application that 0.8 counts as optional and 0.7 did not (perhaps monitoring) is installed afterwards with install/install-app.sh."
            .to_owned(),
        "The old secrets in flux-system stay, and volumes keep policy Retain, until all is well and somebody cleans up: fleet cleanup 0.8.".to_owned(),
    ]);
    notes
}
