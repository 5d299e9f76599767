//! The host's time zone: the nightly windows run by it.

use super::{Check, Verdict, When, judged};
use crate::facts::Facts;
use crate::facts::clock::offset_seconds;

pub(super) const CHECK: Check = Check {
    id: "time-zone",
    title: "Time zone of the host",
    when: When::Before,
    judge,
    remedy: "Name the zone on the host: `timedatectl set-timezone Europe/Amsterdam` (or `UTC`).",
};

fn judge(_: Option<&Facts>, now: &Facts) -> Verdict {
    judged(|| {
        let clock = now.clock.get()?;
        let (zone, offset) = (&clock.zone, &clock.offset);
        Ok(if offset_seconds(offset).is_none() {
            Verdict::block(format!("the host's offset from UTC cannot be read: {offset:?}"))
        } else if zone.contains('/') || zone == "UTC" {
            Verdict::pass(format!("{zone}, now {offset}"))
        } else {
            Verdict::warn(format!(
                "the host names no zone ({zone:?}, now {offset}), so its changes between summer and winter time are not known"
            ))
        })
    })
}
