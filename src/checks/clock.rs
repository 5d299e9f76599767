//! The host's clock against ours: certificates, windows and the order of events hang on it.

use super::{Check, Verdict, When, judged};
use crate::facts::Facts;

/// More than this is not the jitter of a question's way.
const WARN_SECONDS: u64 = 5;
/// With more than this, tokens and certificates begin to be refused.
const BLOCK_SECONDS: u64 = 60;

pub(super) const CHECK: Check = Check {
    id: "clock",
    title: "Clock of the host",
    when: When::Before,
    judge,
    remedy: "Let the host keep time (`timedatectl set-ntp true`) and look at `timedatectl`; check this machine's clock too.",
};

fn judge(_: Option<&Facts>, now: &Facts) -> Verdict {
    judged(|| {
        let ahead = now.clock.get()?.ahead_seconds;
        let off = ahead.unsigned_abs();
        let seen = match ahead {
            0 => "the host's clock agrees with ours".to_owned(),
            1.. => format!("the host's clock is {off} s ahead of ours"),
            _ => format!("the host's clock is {off} s behind ours"),
        };
        Ok(if off > BLOCK_SECONDS {
            Verdict::block(seen)
        } else if off > WARN_SECONDS {
            Verdict::warn(seen)
        } else {
            Verdict::pass(seen)
        })
    })
}
