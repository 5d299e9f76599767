//! Memory of the host: an upgrade starts new pods beside the old ones.

use super::{Check, Verdict, When, judged};
use crate::facts::Facts;
use crate::form::bytes;

/// With less, the kernel is likely to kill something during the upgrade.
const BLOCK: u64 = 256 << 20;
/// With less, new pods may not start beside the old ones.
const WARN: u64 = 1 << 30;

pub(super) const CHECK: Check = Check {
    id: "memory",
    title: "Memory of the host",
    when: When::Before,
    judge,
    remedy: "Look for what eats it (`ps --sort=-rss aux | head`), restart it or give the host more memory.",
};

fn judge(_: Option<&Facts>, now: &Facts) -> Verdict {
    judged(|| {
        let memory = now.memory.get()?;
        let seen = format!("{} of {} memory available", bytes(memory.available), bytes(memory.total));
        Ok(if memory.available < BLOCK {
            Verdict::block(seen)
        } else if memory.available < WARN {
            Verdict::warn(format!("{seen}; new pods may not start beside the old ones"))
        } else {
            Verdict::pass(seen)
        })
    })
}
