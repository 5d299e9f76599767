//! What a clean-up would do to a cluster, or why it must not: pure.

use serde::Serialize;

use crate::checks;
use crate::event::{Failure, Judgement};
use crate::facts::old_names::{Old, OldNames, Standing};
use crate::facts::renamed::NAMESPACES;
use crate::facts::volumes::Volume;
use crate::facts::{Facts, Installed, Known, Unknown};
use crate::plan::Object;
use crate::remote::{printable, quote};
use crate::version::Version;

/// Where to read on.
pub(super) const READ: &str = "docs/cleanup.md#when-a-clean-up-is-refused";

/// What must be well: all that says whether the applications work. What only an upgrade needs (room, tools, the hour) is not asked.
const CHECKS: [&str; 14] = [
    "identity",
    "k3s",
    "node",
    "version",
    "flux-source",
    "converged",
    "releases",
    "pods",
    "volumes",
    "claims",
    "secrets",
    "cluster-variables",
    "web",
    "upgrade-running",
];

/// What would be done.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Listing {
    /// Volumes that get their policy back.
    pub volumes: Vec<GiveBack>,
    /// Secrets and overrides that are deleted.
    pub objects: Vec<Object>,
    /// What is left as it is, and why: one sentence each.
    pub kept: Vec<String>,
}

impl Listing {
    /// Whether there is anything to do.
    #[must_use]
    pub const fn is_nothing(&self) -> bool {
        self.volumes.is_empty() && self.objects.is_empty()
    }

    /// Whether the same would be done.
    #[must_use]
    pub fn does_the_same(&self, other: &Self) -> bool {
        self.volumes == other.volumes && self.objects == other.objects
    }
}

/// A volume that gets back the policy that it had before its claim was moved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct GiveBack {
    /// Its name.
    pub volume: String,
    /// The namespace of the claim that it is bound to.
    pub namespace: String,
    /// The claim.
    pub claim: String,
    /// The policy.
    pub policy: String,
}

/// What is to be done. `also` names old objects, as `namespace/name`, that are to go though their copy is missing or differs.
pub(super) fn list(
    facts: &Facts,
    old: &Known<OldNames>,
    acknowledged: &[String],
    also: &[String],
) -> Result<Listing, Failure> {
    let refused = |cause: &str, said: String| Failure::new(cause, said).read(READ);
    match facts.installed() {
        Installed::Version(version) if version < Version::V0_8 => {
            let said = format!(
                "{version} is installed, and this cleans up after 0.8: fleet upgrade --to 0.8 --on {}",
                facts.cluster
            );
            return Err(refused("not-upgraded", said));
        }
        // What is no plain version is told by the check of it.
        _ => {}
    }
    if let Some(failure) = crate::run::held_back(&judge(facts, acknowledged)) {
        let message = format!("{}. Look: fleet check --on {}", failure.message, facts.cluster);
        return Err(Failure { message: printable(&message), ..failure });
    }
    let unknown = |why: &Unknown| refused("not-known", format!("cannot be judged: {why}"));
    let (volumes, old) = (facts.volumes.get().map_err(unknown)?, old.get().map_err(unknown)?);
    let mut listing = Listing::default();
    for volume in volumes {
        give_back(facts, volume, &mut listing).map_err(|why| unknown(&why))?;
    }
    for one in &old.objects {
        sort(one, also, &mut listing);
    }
    let unknown = |name: &&String| !old.objects.iter().any(|one| one.object.to_string() == **name);
    listing.kept.extend(also.iter().filter(unknown).map(|name| format!("{name}, of --also, is not there")));
    let jobs = old.jobs.iter().filter_map(|job| job.split_once('/'));
    listing.kept.extend(jobs.map(|(namespace, name)| {
        let (place, job) = (quote(namespace), quote(name));
        format!("CronJob {namespace}/{name} acts on a source that is no more; it may go: `k3s kubectl delete cronjobs -n {place} {job}`")
    }));
    listing.kept.iter_mut().for_each(|kept| *kept = printable(kept));
    Ok(listing)
}

/// An old object goes where its copy has all of its data, or where it is named.
fn sort(Old { object, anew, standing }: &Old, also: &[String], listing: &mut Listing) {
    let name = object.to_string();
    let nonetheless = format!("to delete it nonetheless: --also {}", quote(&name));
    match standing {
        _ if also.contains(&name) => listing.objects.push(object.clone()),
        Standing::Carried => listing.objects.push(object.clone()),
        Standing::Differs(keys) => {
            let keys = keys.join(", ");
            listing.kept.push(format!("{name} stays: {anew} has not the same in {keys}; {nonetheless}"));
        }
        Standing::Missing => listing.kept.push(format!("{name} stays: there is no {anew}; {nonetheless}")),
    }
}

fn judge(facts: &Facts, acknowledged: &[String]) -> Vec<Judgement> {
    let all = checks::judge_all(None, facts, acknowledged);
    all.into_iter().filter(|verdict| CHECKS.contains(&verdict.check.as_str())).collect()
}

/// Only a volume that is bound to its claim in one of the new namespaces gets its policy back.
fn give_back(facts: &Facts, volume: &Volume, listing: &mut Listing) -> Result<(), Unknown> {
    let Volume { name, policy, policy_before, claim_namespace: namespace, claim, .. } = volume;
    let new = NAMESPACES.iter().any(|(_, new)| new == namespace);
    if policy_before.is_empty() {
        if new && policy == "Retain" {
            listing.kept.push(format!(
                "volume {name} of {namespace}/{claim} keeps its policy Retain: fleet has no record of another"
            ));
        }
        return Ok(());
    }
    let claims = facts.claims.get().map_err(Clone::clone)?;
    let bound = volume.phase == "Bound"
        && claims.iter().any(|one| {
            one.phase == "Bound" && one.volume == *name && one.namespace == *namespace && one.name == *claim
        });
    if !bound || !new {
        listing.kept.push(format!(
            "volume {name} keeps its policy {policy}: it is not bound to a claim in a new namespace"
        ));
    } else if !matches!(policy_before.as_str(), "Delete" | "Retain") {
        listing.kept.push(format!(
            "volume {name} keeps its policy {policy}: the record of another says {policy_before:?}"
        ));
    } else {
        let [volume, namespace, claim, policy] = [name, namespace, claim, policy_before].map(Clone::clone);
        listing.volumes.push(GiveBack { volume, namespace, claim, policy });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::claims::Claim;

    fn volume(name: &str, phase: &str, namespace: &str, before: &str) -> Volume {
        Volume {
            name: name.into(),
            phase: phase.into(),
            policy: "Retain".into(),
            claim_namespace: namespace.into(),
            claim: "data".into(),
            policy_before: before.into(),
            ..Volume::default()
        }
    }

    #[test]
    fn only_a_volume_that_is_bound_to_its_claim_in_a_new_namespace_gets_its_policy_back() {
        let claim = |namespace: &str, volume: &str| Claim {
            namespace: namespace.into(),
            name: "data".into(),
            phase: "Bound".into(),
            volume: volume.into(),
            ..Claim::default()
        };
        let new = "stackspin-apps";
        let table = [
            (volume("pvc-1", "Bound", new, "Delete"), Some("Delete"), 0),
            (volume("pvc-1", "Bound", new, "Retain"), Some("Retain"), 0),
            (volume("pvc-1", "Bound", new, ""), None, 1),
            (volume("pvc-1", "Bound", new, "Recycle"), None, 1),
            (volume("pvc-1", "Released", new, "Delete"), None, 1),
            (volume("pvc-2", "Bound", new, "Delete"), None, 1),
            (volume("pvc-1", "Bound", "oas-apps", "Delete"), None, 1),
            (volume("pvc-1", "Bound", "team", ""), None, 0),
        ];
        let facts = Facts {
            claims: Known::Is(vec![claim(new, "pvc-1"), claim("oas-apps", "pvc-1"), claim("team", "pvc-1")]),
            ..Facts::default()
        };
        for (volume, policy, kept) in table {
            let mut listing = Listing::default();
            give_back(&facts, &volume, &mut listing).unwrap();
            let given: Vec<&str> = listing.volumes.iter().map(|one| one.policy.as_str()).collect();
            assert_eq!(given, policy.into_iter().collect::<Vec<_>>(), "{volume:?}");
            assert_eq!(listing.kept.len(), kept, "{volume:?}");
        }
        assert!(
            give_back(&Facts::default(), &volume("pvc-1", "Bound", new, "Delete"), &mut Listing::default())
                .is_err()
        );
    }

    #[test]
    fn every_check_that_is_asked_for_is_one() {
        assert!(
            CHECKS.iter().all(|id| checks::find(id).is_some_and(|check| check.when != checks::When::After))
        );
    }
}
