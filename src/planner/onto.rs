//! The plan that puts the volumes' data of a backup onto another cluster (guide, "Upgrading from 0.3.0 to 0.4.0" and "to 0.6.0"). Pure.

use super::{mistaken, truce};
use crate::backup::restore::pairs::Pairs;
use crate::backup::restore::{MIGRATION, Saved, bytes, refused, steps};
use crate::event::Failure;
use crate::facts::{Facts, Installed};
use crate::fingerprint;
use crate::form;
use crate::inventory::Cluster;
use crate::plan::{Onto, Plan, Restore, RestorePart, SCHEMA};

/// Plans it for a cluster with these facts. The cluster keeps its own objects, secrets and k3s.
pub fn onto(saved: &Saved, facts: &Facts, cluster: &Cluster, pairs: Pairs) -> Result<Plan, Failure> {
    if let Some(failure) = mistaken(facts, cluster) {
        return Err(failure);
    }
    let version = match facts.installed() {
        Installed::Version(version) => version,
        other => {
            let said = format!("{} is {other:?}: it is to be whole before data is put into it", cluster.name);
            return Err(refused("other-cluster-unclear", &said));
        }
    };
    if saved.plan.from > version {
        let said = format!(
            "it is one of Stackspin {}, and {} has {version}: an older application does not read what a later one wrote",
            saved.plan.from, cluster.name
        );
        return Err(refused("older-than-backup", &said));
    }
    let identity = facts.identity.get().map_err(|why| refused("facts-missing", &why.to_string()))?;
    let notes = notes(saved, cluster, &pairs);
    let restore = Restore {
        part: RestorePart::Look,
        backup: saved.manifest.id.clone(),
        spool: cluster.paths.spool.clone(),
        machine_id: Some(identity.machine_id.clone()).filter(|id| !id.is_empty()),
        k3s: None,
        folders: pairs.folders,
        onto: Some(Onto {
            of: saved.manifest.cluster.clone(),
            server: format!("{}/server", cluster.paths.k3s_data),
        }),
    };
    let held = truce::of(facts);
    let mut all = vec![truce::hold(&held)];
    all.extend(steps(saved, &restore));
    all.push(truce::give_back(held));
    Ok(Plan {
        schema: SCHEMA,
        cluster: cluster.name.clone(),
        migration: MIGRATION.to_owned(),
        from: version,
        to: version,
        apps: facts.apps(),
        steps: all,
        notes,
        rest: Vec::new(),
        fingerprint: fingerprint::of(facts, cluster),
    })
}

/// What an operator must know before he says yes.
fn notes(saved: &Saved, cluster: &Cluster, pairs: &Pairs) -> Vec<String> {
    let (of, to) = (&saved.manifest.cluster, &cluster.name);
    let mut notes = vec![
        format!(
            "of {of}, as it was on {}, goes over what is in {} of its volumes. {to} keeps its own objects, secrets and k3s; what is in its \
             volumes now stays on its host, beside",
            form::moment(saved.manifest.taken),
            pairs.folders.len()
        ),
        format!(
            "the data comes with the passwords of {of}: a database knows those and not the ones in the secrets of {to}, so an application whose \
             secrets differ does not come up until a person has made them agree. How: docs/restore.md#passwords"
        ),
        format!(
            "the host of {to} needs up to {} beside what is live, and keeps the live folders until somebody removes them",
            form::bytes(bytes(&pairs.folders))
        ),
    ];
    if !pairs.skipped.is_empty() {
        notes.push(format!("left out, and only in the backup: {}", pairs.skipped.join(", ")));
    }
    notes
}
