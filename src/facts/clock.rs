//! Clock and time zone of the host.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::remote::Command;

/// A round trip with no more than so much of way has had its way in equal halves, as far as anyone knows. One that took longer has waited
/// somewhere, for a lost line perhaps, and nobody knows in which half.
const LONGEST_WAY: i64 = 10_000;

/// The host's time against ours.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Clock {
    /// Seconds that the host's clock is ahead of ours (negative: behind), the time of the question's way taken off.
    pub ahead_seconds: i64,
    /// `Europe/Berlin`, or `CET` where the host has no zone name.
    pub zone: String,
    /// `+0100`.
    pub offset: String,
}

/// Asks for time, offset and zone.
#[must_use]
pub fn ask() -> Command {
    Command::new(
        r#"date +%s.%N; date +%z; z=$(readlink /etc/localtime); z=${z##*zoneinfo/}; \
[ -n "$z" ] || z=$(cat /etc/timezone 2>/dev/null); echo "${z:-$(date +%Z)}""#,
    )
}

/// Asks for the time alone, at the end of the same round trip.
#[must_use]
pub fn ask_again() -> Command {
    Command::new("date +%s.%N")
}

/// Reads both answers. `sent` and `received` are our clock's times around the round trip: the way there and the way back
/// take the same time, as far as anyone knows, and cancel out. Of a round trip with a long way the least is told that is certain: a line
/// that was lost and made again is no clock that is wrong.
pub fn read(first: &str, last: &str, sent: Timestamp, received: Timestamp) -> Result<Clock, String> {
    let mut lines = first.lines().map(str::trim);
    let began = lines.next().and_then(milliseconds).ok_or("date did not tell the time")?;
    let offset = lines.next().filter(|offset| offset.starts_with(['+', '-'])).ok_or("date told no offset")?;
    let zone = lines.next().unwrap_or_default();
    let ended = last.lines().next().and_then(milliseconds).ok_or("date did not tell the time")?;
    let there = began.saturating_sub(sent.as_millisecond());
    let back = ended.saturating_sub(received.as_millisecond());
    let ahead = if there.saturating_sub(back) > LONGEST_WAY {
        0.clamp(back, there)
    } else {
        i64::midpoint(there, back)
    };
    let half = if ahead < 0 { -500 } else { 500 };
    Ok(Clock {
        ahead_seconds: ahead.saturating_add(half).checked_div(1000).unwrap_or(0),
        zone: zone.to_owned(),
        offset: offset.to_owned(),
    })
}

/// Seconds with or without a fraction; a `date` that knows no nanoseconds prints `%N` as it stands.
fn milliseconds(text: &str) -> Option<i64> {
    let (seconds, fraction) = text.trim().split_once('.').unwrap_or((text.trim(), ""));
    let thousandths = fraction.get(..3).and_then(|digits| digits.parse::<u16>().ok()).unwrap_or(0);
    seconds.parse::<i64>().ok()?.checked_mul(1000)?.checked_add(i64::from(thousandths))
}

/// Seconds east of UTC of `+0100` or `+01:00`.
#[must_use]
pub fn offset_seconds(offset: &str) -> Option<i64> {
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
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    #[test]
    fn the_way_and_the_work_are_taken_off() {
        // Two seconds there, five of work, two back, and the host a minute ahead.
        let clock = read("1062.0\n+0100\nEurope/Berlin\n", "1067.0\n", at(1000), at(1009)).unwrap();
        assert_eq!(clock.ahead_seconds, 60);
        assert_eq!((clock.zone.as_str(), clock.offset.as_str()), ("Europe/Berlin", "+0100"));
    }

    #[test]
    fn a_line_that_was_lost_for_a_while_is_no_clock_that_is_wrong() {
        let ahead = |first: &str, last: &str, received| {
            read(&format!("{first}\n+0000\nUTC\n"), last, at(1000), at(received)).unwrap().ahead_seconds
        };
        assert_eq!(ahead("1020.0", "1022.0", 1022), 0, "lost on the way there");
        assert_eq!(ahead("1000.0", "1002.0", 1022), 0, "lost on the way back");
        assert_eq!(ahead("1090.0", "1092.0", 1022), 70, "a clock that is wrong all the same");
        assert_eq!(ahead("930.0", "932.0", 1022), -70, "and one that is behind");
    }

    #[test]
    fn a_clock_behind_is_negative_and_rounded_to_the_nearest() {
        let clock = read("995.400000000\n+0000\nUTC\n", "995.400000000\n", at(1000), at(1000)).unwrap();
        assert_eq!(clock.ahead_seconds, -5);
        let clock = read("1000.%N\n+0000\nUTC\n", "1000.%N\n", at(1000), at(1000)).unwrap();
        assert_eq!(clock.ahead_seconds, 0);
    }

    #[test]
    fn no_time_is_no_clock() {
        assert!(read("", "", at(0), at(0)).is_err());
        assert!(read("12\nUTC\n", "12", at(0), at(0)).is_err());
        assert!(read("12\n+0000\nUTC\n", "", at(0), at(0)).is_err());
    }

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
