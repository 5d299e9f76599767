//! The host's time zone: the nightly windows run by it.

use super::{Check, Verdict, When, judged};
use crate::facts::Facts;

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

/// Seconds east of UTC of `+0100` or `+01:00`.
pub(super) fn offset_seconds(offset: &str) -> Option<i64> {
    let (sign, digits) = match offset.split_at_checked(1)? {
        ("+", digits) => (1, digits),
        ("-", digits) => (-1, digits),
        _ => return None,
    };
    let digits = digits.replace(':', "");
    if digits.len() != 4 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let (hours, minutes) = digits.split_at(2);
    let (hours, minutes): (i64, i64) = (hours.parse().ok()?, minutes.parse().ok()?);
    (hours <= 14 && minutes < 60).then_some(sign * (hours * 3600 + minutes * 60))
}

#[cfg(test)]
mod tests {
    use super::offset_seconds;

    #[test]
    fn offsets_are_read_in_both_spellings_and_nothing_else_is() {
        assert_eq!(offset_seconds("+0100"), Some(3600));
        assert_eq!(offset_seconds("-03:30"), Some(-12_600));
        assert_eq!(offset_seconds("+0000"), Some(0));
        for wrong in ["", "0100", "+1", "+01000", "+aabb", "+9900", "+0160", "é0100"] {
            assert_eq!(offset_seconds(wrong), None, "{wrong}");
        }
    }
}
