//! Before 0.3 → 0.3: Flux takes Helm's place, and everything is installed anew (guide, "Upgrading to 0.3.0"; facts section 1.1).
//!
//! The guide has a person purge every release of Helm 2 and delete every claim: "WARNING: You will lose your data!" Here that begins once the
//! backup is proven and everything in the namespaces is stopped, so that nothing is written any more that the backup has not. What Helm has to do is
//! asked of a person, who has the right Helm and its server's certificate; that it was done is looked at before a claim goes.

use super::{MINUTE, Migration};
use crate::facts::{Facts, helm_2, renamed};
use crate::plan::{Action, Ask, Claimed, Class, Redo, RemoveClaims, Step};
use crate::remote::quote;
use crate::version::Version;

pub(super) const MIGRATION: Migration =
    Migration { id: "to-0.3", from: Version::Older, to: Version::V0_3, steps, notes };

/// The namespaces of the guide.
fn namespaces() -> Vec<String> {
    renamed::NAMESPACES.map(|(old, _)| old.to_owned()).to_vec()
}

fn steps(facts: &Facts) -> Result<Vec<Step>, String> {
    let found = facts.helm_2.get().map_err(|why| format!("its releases of Helm 2 are not known: {why}"))?;
    let releases =
        helm_2::openappstack(found).ok_or("it has not all the releases of Helm 2 that the guide names")?;
    let claims = claims(facts)?;
    Ok(vec![
        stop(),
        settings(),
        purge(&releases),
        remove(releases, claims),
        install(&facts.cluster),
        restore(&facts.cluster),
    ])
}

/// The claims of the namespaces, each with its volume, of which the backup must hold the folder.
fn claims(facts: &Facts) -> Result<Vec<Claimed>, String> {
    let claims = facts.claims.get().map_err(|why| format!("its claims are not known: {why}"))?;
    let volumes = facts.volumes.get().map_err(|why| format!("its volumes are not known: {why}"))?;
    let saved = |name: &str| volumes.iter().any(|volume| volume.name == name && !volume.folder.is_empty());
    let ours = claims.iter().filter(|claim| renamed::goes(&claim.namespace));
    ours.map(|claim| {
        if !claim.volume.is_empty() && !saved(&claim.volume) {
            return Err(format!(
                "claim {}/{} is bound to {}, which is in no folder of the host, so no backup would hold it",
                claim.namespace, claim.name, claim.volume
            ));
        }
        let (namespace, volume) = (claim.namespace.clone(), claim.volume.clone());
        Ok(Claimed { namespace, claim: claim.name.clone(), volume })
    })
    .collect()
}

fn stop() -> Step {
    let title = "Stop everything in oas and oas-apps, so that nothing is written that the backup has not";
    Step::new("to-0.3/stop", title, Class::Undoable, Action::Stop(namespaces()))
        .redo(Redo::Repeatable)
        .takes(2 * MINUTE, 30 * MINUTE)
        .down(2 * MINUTE)
}

fn ask(name: &str, title: String, lines: Vec<String>) -> Step {
    Ask::step(format!("to-0.3/{name}"), title, lines)
}

fn settings() -> Step {
    let directory = Ask::DIRECTORY;
    let lines = vec![
        "On the machine from which it was installed:".to_owned(),
        format!("mkdir -p {directory}/group_vars/all"),
        format!("mv {directory}/settings.yml {directory}/group_vars/all/"),
    ];
    ask("settings", "Move settings.yml to where 0.3 looks for it".to_owned(), lines)
}

fn purge(releases: &[String]) -> Step {
    let lines = vec![
        "This deletes what Helm has installed, with data. What was there is in the backup alone from then on.".to_owned(),
        "With Helm 2 and the cluster's kubeconfig, all in one line:".to_owned(),
        format!("helm delete --purge {}", releases.join(" ")),
        "The next step deletes the claims that are left, and does nothing while Helm has a record of one of these.".to_owned(),
    ];
    ask("purge", format!("Purge {} releases of Helm 2", releases.len()), lines)
}

fn remove(releases: Vec<String>, claims: Vec<Claimed>) -> Step {
    let title = match claims.len() {
        1 => "Look that Helm has purged them, and delete the 1 claim that is left".to_owned(),
        count => format!("Look that Helm has purged them, and delete the {count} claims that are left"),
    };
    let action = Action::RemoveClaims(RemoveClaims { releases, claims });
    Step::new("to-0.3/remove-claims", title, Class::Irreversible, action)
        .redo(Redo::Repeatable)
        .takes(MINUTE, 10 * MINUTE)
        .down(MINUTE)
}

fn install(old: &str) -> Step {
    let lines = vec![
        "Install 0.3 or later anew by its own documentation, on this host or another, with every application that has data to keep; let it \
         come up."
            .to_owned(),
        format!("Give it a name of its own in the inventory in the place of {old}, and pin its host: fleet trust."),
    ];
    ask("install", "Install Stackspin 0.3 or later anew".to_owned(), lines)
}

fn restore(old: &str) -> Step {
    let restore = format!("fleet restore {} --to NEW", quote(&format!("{old}/last")));
    let lines = vec![
        format!(
            "Claims have other names now. Write down where each goes: {restore} --print-map > map.toml; complete the file."
        ),
        format!("Put the data there: {restore} --map map.toml."),
        "Make the new cluster's secrets and the passwords in that data agree: docs/restore.md#passwords."
            .to_owned(),
        "fleet check --on NEW must be content, and users must find their files.".to_owned(),
    ];
    ask("restore", format!("Put the data of {old} into it"), lines)
}

fn notes(_: &Facts) -> Vec<String> {
    vec![
        "everything is purged and installed anew: all data of this cluster is in its backup alone until a person has put it back".to_owned(),
        "once it is stopped there is one way back, the whole backup: fleet restore. Not every host has Helm 2 any more: look before you begin"
            .to_owned(),
        "the way ends here for this cluster. Later versions are the new cluster's own rungs: fleet plan --on NEW".to_owned(),
    ]
}
