//! The steps that save a cluster and prove the copy. Pure: what is copied is decided here, once, from the facts.

use std::time::Duration;

use crate::facts::Facts;
use crate::inventory::Cluster;
use crate::plan::{Action, Backup, Class, Probe, Prove, Redo, Step, VolumeCopy};

/// What a copy makes over an ordinary line, in bytes a second.
const EXPECTED_SPEED: u64 = 50_000_000;
/// Below this a copy is given up.
const SLOWEST: u64 = 10_000_000;
/// Stopping and starting k3s, listing objects.
const EXPECTED_REST: Duration = Duration::from_secs(2 * 60);
/// The same on a bad day.
const LONGEST_REST: Duration = Duration::from_secs(15 * 60);
/// What a proof reads of a disk, in bytes a second.
const PROOF_SPEED: u64 = 100_000_000;

/// The steps that save a cluster and prove the copy; they stand first in every plan.
///
/// Facts that are not known are taken as empty here: the checks block on them, and the proof finds a volume that the plan did not.
#[must_use]
pub fn steps(facts: &Facts, cluster: &Cluster) -> Vec<Step> {
    let volumes = volumes(facts);
    let datastore = facts.k3s.get().map_or(0, |k3s| k3s.size);
    let bytes = volumes.iter().fold(datastore, |sum, volume| sum.saturating_add(volume.used));
    let down = seconds(bytes, EXPECTED_SPEED).saturating_add(EXPECTED_REST);
    let proof = seconds(bytes, PROOF_SPEED).saturating_add(Duration::from_secs(10));
    let prove = Prove { volumes: volumes.iter().map(|volume| volume.volume.clone()).collect() };
    let title = match volumes.len() {
        1 => "Stop k3s, copy its datastore and 1 volume here, start k3s".to_owned(),
        count => format!("Stop k3s, copy its datastore and {count} volumes here, start k3s"),
    };
    let copy = Action::Backup(Backup {
        k3s_data: cluster.paths.k3s_data.clone(),
        k3s_config: cluster.paths.k3s_config.clone(),
        spool: cluster.paths.spool.clone(),
        volumes,
        cluster_dir: cluster.directory.clone(),
    });
    let ready = Action::WaitUntil { probe: Probe::ClusterReady, remedies: Vec::new() };
    vec![
        Step::new("backup/copy", title, Class::Undoable, copy)
            .redo(Redo::Repeatable)
            .takes(down, allowed(bytes))
            .down(down)
            .needs(bytes, 0),
        Step::new("backup/cluster-ready", "Wait until the cluster answers again", Class::ReadOnly, ready)
            .takes(Duration::from_secs(90), Duration::from_secs(20 * 60)),
        Step::new(
            "backup/prove",
            "Read the whole backup back and compare it with the host's hashes",
            Class::ReadOnly,
            Action::Prove(prove),
        )
        .takes(proof, proof.saturating_mul(10).max(LONGEST_REST)),
    ]
}

/// How long a copy of so many bytes may take.
#[must_use]
pub fn allowed(bytes: u64) -> Duration {
    seconds(bytes, SLOWEST).saturating_add(LONGEST_REST)
}

fn seconds(bytes: u64, speed: u64) -> Duration {
    Duration::from_secs(bytes.div_ceil(speed))
}

/// Every volume that lies in a folder of the host, by claim.
fn volumes(facts: &Facts) -> Vec<VolumeCopy> {
    let known = facts.volumes.get().map(Vec::as_slice).unwrap_or_default();
    let mut volumes: Vec<VolumeCopy> = known
        .iter()
        .filter(|volume| !volume.folder.is_empty())
        .map(|volume| VolumeCopy {
            volume: volume.name.clone(),
            namespace: volume.claim_namespace.clone(),
            claim: volume.claim.clone(),
            folder: volume.folder.clone(),
            used: volume.used,
        })
        .collect();
    volumes.sort_by(|a, b| (&a.namespace, &a.claim, &a.volume).cmp(&(&b.namespace, &b.claim, &b.volume)));
    volumes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::Known;
    use crate::facts::k3s::{Datastore, K3s};
    use crate::facts::volumes::Volume;

    fn cluster() -> Cluster {
        Cluster { directory: Some("clusters/acme".into()), ..Cluster::new("acme", "203.0.113.7") }
    }

    fn volume(name: &str, namespace: &str, claim: &str, folder: &str, used: u64) -> Volume {
        Volume {
            name: name.into(),
            claim_namespace: namespace.into(),
            claim: claim.into(),
            folder: folder.into(),
            used,
            ..Volume::default()
        }
    }

    #[test]
    fn what_is_copied_comes_from_the_facts_in_order_of_claims() {
        let facts = Facts {
            volumes: Known::Is(vec![
                volume("pvc-2", "oas-apps", "wordpress", "/data/2", 900_000_000),
                volume("pvc-3", "oas-apps", "nfs", "", 5),
                volume("pvc-1", "oas", "loki", "/data/1", 50_000_000),
            ]),
            k3s: Known::Is(K3s {
                version: "v1.21.5+k3s2".into(),
                service: "active".into(),
                datastore: Datastore::Sqlite,
                size: 50_000_000,
            }),
            ..Facts::default()
        };
        let steps = steps(&facts, &cluster());
        let ids: Vec<&str> = steps.iter().map(|step| step.id.as_str()).collect();
        assert_eq!(ids, ["backup/copy", "backup/cluster-ready", "backup/prove"]);
        let (Action::Backup(copy), Action::Prove(prove)) = (&steps[0].action, &steps[2].action) else {
            panic!("{steps:?}");
        };
        assert_eq!(prove.volumes, ["pvc-1", "pvc-2"]);
        assert_eq!(copy.volumes[1].folder, "/data/2");
        assert_eq!(copy.cluster_dir, Some("clusters/acme".into()));
        assert_eq!(steps[0].disk_here, 1_000_000_000);
        assert_eq!(steps[0].downtime, Duration::from_secs(20 + 120));
        assert_eq!(steps[0].deadline, Duration::from_secs(100 + 900));
        assert_eq!(steps[0].redo, Redo::Repeatable);
        assert!(steps[1..].iter().all(|step| !step.class.changes() && step.downtime.is_zero()));
    }
}
