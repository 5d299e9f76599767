//! Inodes on the host: a disk with free bytes and no free inode is full.

use super::{Check, Findings, Verdict, When, judged, percent};
use crate::event::Level;
use crate::facts::Facts;

/// Files that the next release's images unpack to, about.
const IMAGES: u64 = 50_000;
const BLOCK_PERCENT: u128 = 2;
const WARN_PERCENT: u128 = 10;

pub(super) const CHECK: Check = Check {
    id: "inodes",
    title: "Inodes on the host",
    when: When::Before,
    judge,
    remedy: "Find the folder with the many small files (`du --inodes -x / | sort -n | tail`) and clear it, or move the data \
             to a filesystem with more inodes.",
};

fn judge(_: Option<&Facts>, now: &Facts) -> Verdict {
    judged(|| {
        let disks = now.disks.get()?;
        if disks.is_empty() {
            return Err(Verdict::block("no filesystem is known"));
        }
        let mut findings = Findings::default();
        // btrfs and others make inodes as they go and report none: there is nothing to run out of.
        for disk in disks.iter().filter(|disk| disk.inodes > 0) {
            let free = percent(disk.inodes_free, disk.inodes);
            let seen = format!("{} has {} inodes free ({free} %)", disk.mount, disk.inodes_free);
            let images = disk.holds.iter().any(|held| held == "k3s-data");
            let level = if images && disk.inodes_free < IMAGES || free < BLOCK_PERCENT {
                Level::Block
            } else if free < WARN_PERCENT {
                Level::Warn
            } else {
                Level::Pass
            };
            findings.add(level, seen);
        }
        Ok(findings.verdict("every filesystem has inodes to spare"))
    })
}
