//! Room on the host: for the new images, for k3s at work, and for a restore beside the live data.

use super::{Check, Findings, Verdict, When, judged, percent};
use crate::event::Level;
use crate::facts::Facts;
use crate::facts::disks::Filesystem;
use crate::form::bytes;

const GIB: u64 = 1 << 30;
/// The images of the next release, which k3s holds beside the old ones until it cleans up.
const IMAGES: u64 = 5 * GIB;
/// What applications write while an upgrade runs.
const VOLUMES: u64 = GIB;
/// What logs and our own folder may need.
const OTHER: u64 = GIB >> 1;
/// Below this the kubelet evicts pods (k3s' `--eviction-hard`).
const EVICTION_PERCENT: u128 = 5;
/// Below this the kubelet deletes images (its image collector starts at 85 % used).
const COLLECTION_PERCENT: u128 = 15;

pub(super) const CHECK: Check = Check {
    id: "disk-space",
    title: "Disk space on the host",
    when: When::Before,
    judge,
    remedy: "Make room on the filesystem that is named: `k3s crictl rmi --prune` removes unused images, `journalctl \
             --vacuum-size=200M` old logs; or give it a larger disk.",
};

fn judge(_: Option<&Facts>, now: &Facts) -> Verdict {
    judged(|| {
        let disks = now.disks.get()?;
        let folders: Vec<(&str, u64)> =
            now.volumes.get()?.iter().map(|volume| (volume.folder.as_str(), volume.used)).collect();
        for needed in ["k3s-data", "root"] {
            if !disks.iter().any(|disk| holds(disk, needed)) {
                return Err(Verdict::block(format!("no filesystem is known to hold {needed}")));
            }
        }
        if !folders.is_empty() && !disks.iter().any(|disk| holds(disk, "volumes")) {
            return Err(Verdict::block("no filesystem is known to hold the volumes"));
        }
        let mut findings = Findings::default();
        for disk in disks {
            let used: u64 = folders
                .iter()
                .filter(|(folder, _)| home(disks, folder).is_some_and(|home| home.mount == disk.mount))
                .map(|(_, used)| used)
                .sum();
            let (level, found) = judge_one(disk, used);
            findings.add(level, found);
        }
        let seen: Vec<String> =
            disks.iter().map(|disk| format!("{} free on {}", bytes(disk.free), disk.mount)).collect();
        Ok(findings.verdict(seen.join(", ")))
    })
}

fn judge_one(disk: &Filesystem, used: u64) -> (Level, String) {
    let need = [("k3s-data", IMAGES), ("volumes", VOLUMES), ("root", OTHER), ("spool", OTHER)]
        .into_iter()
        .filter(|(what, _)| holds(disk, what))
        .map(|(_, bytes)| bytes)
        .sum();
    let free = percent(disk.free, disk.size);
    let seen = format!("{} has {} free ({free} %)", disk.mount, bytes(disk.free));
    if disk.free < need {
        (Level::Block, format!("{seen}, the upgrade needs {}", bytes(need)))
    } else if free < EVICTION_PERCENT {
        (Level::Block, format!("{seen}; below {EVICTION_PERCENT} % Kubernetes evicts pods"))
    } else if free < COLLECTION_PERCENT {
        (Level::Warn, format!("{seen}; below {COLLECTION_PERCENT} % Kubernetes deletes images"))
    } else if disk.free < used.saturating_add(need) {
        let used = bytes(used);
        (Level::Warn, format!("{seen}, too little for a restore beside the live volumes ({used})"))
    } else {
        (Level::Pass, seen)
    }
}

fn holds(disk: &Filesystem, what: &str) -> bool {
    disk.holds.iter().any(|held| held == what)
}

/// The filesystem that a folder is on: the one with the longest mount point above it.
fn home<'a>(disks: &'a [Filesystem], folder: &str) -> Option<&'a Filesystem> {
    disks
        .iter()
        .filter(|disk| std::path::Path::new(folder).starts_with(&disk.mount))
        .max_by_key(|disk| disk.mount.len())
}
