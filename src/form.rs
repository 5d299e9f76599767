//! How times, sizes and numbers are written, everywhere, and which known word a mistyped one was meant to be.

use std::fmt::Write as _;
use std::time::Duration;

use jiff::Timestamp;

/// A stretch of time for people: `340 ms`, `5 s`, `1 m 05 s`, `2 h 00 m 09 s`.
#[must_use]
pub fn span(ms: u64) -> String {
    if ms < 1000 {
        return format!("{ms} ms");
    }
    let seconds = ms.div_euclid(1000);
    let (hours, minutes) = (seconds.div_euclid(3600), seconds.div_euclid(60) % 60);
    match (hours, minutes) {
        (0, 0) => format!("{seconds} s"),
        (0, _) => format!("{minutes} m {:02} s", seconds % 60),
        _ => format!("{hours} h {minutes:02} m {:02} s", seconds % 60),
    }
}

/// A stretch of whole seconds, written like [`span`].
#[must_use]
pub fn seconds(seconds: u64) -> String {
    if seconds == 0 { "0 s".to_owned() } else { span(seconds.saturating_mul(1000)) }
}

/// An expected time for people, no more exact than it is known: `40 s`, `12 min`, `1 h 05 min`.
#[must_use]
pub fn about(duration: Duration) -> String {
    let seconds = duration.as_secs();
    if seconds < 90 {
        return format!("{seconds} s");
    }
    let minutes = (seconds + 30).div_euclid(60);
    if minutes < 60 {
        format!("{minutes} min")
    } else {
        format!("{} h {:02} min", minutes.div_euclid(60), minutes % 60)
    }
}

/// Bytes for people, in binary units with one digit after the point: `1.4 GiB`.
#[must_use]
pub fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    // Tenths of the unit in whole numbers, wide enough that nothing can overflow.
    let mut tenths = u128::from(bytes) * 10;
    let mut unit = "B";
    for next in UNITS {
        if tenths < 10_240 {
            break;
        }
        tenths = tenths.div_euclid(1024);
        unit = next;
    }
    format!("{}.{} {unit}", tenths.div_euclid(10), tenths % 10)
}

/// Bytes as people write them, the other way round: a whole number, and `K`, `M` or `G` for binary thousands (1024, 1024², 1024³) where
/// it is followed by one.
pub fn parse_bytes(text: &str) -> Result<u64, String> {
    let (number, unit) = match text.char_indices().last() {
        Some((at, 'k' | 'K')) => (&text[..at], 1 << 10),
        Some((at, 'm' | 'M')) => (&text[..at], 1 << 20),
        Some((at, 'g' | 'G')) => (&text[..at], 1 << 30),
        _ => (text, 1),
    };
    let bytes = number.parse::<u64>().ok().and_then(|number| number.checked_mul(unit));
    match bytes {
        Some(bytes) if bytes > 0 => Ok(bytes),
        _ => Err("a whole number above 0 is wanted, with K, M or G behind it or nothing: 20M".to_owned()),
    }
}

/// A stretch of time as people write it: a whole number and `m`, `h` or `d`. At least a minute, at most a year.
pub fn parse_time(text: &str) -> Result<Duration, String> {
    const YEAR: u64 = 366 * 86_400;
    let unit = match text.chars().last() {
        Some('m') => 60,
        Some('h') => 3600,
        Some('d') => 86_400,
        _ => 0,
    };
    let number = text.get(..text.len().saturating_sub(1)).and_then(|number| number.parse::<u64>().ok());
    match number.and_then(|number| number.checked_mul(unit)) {
        Some(seconds) if (60..=YEAR).contains(&seconds) => Ok(Duration::from_secs(seconds)),
        _ => Err("a whole number with m, h or d behind it is wanted, at most a year: 90m, 2h, 7d".to_owned()),
    }
}

/// Bytes in hex.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// A moment: `2026-11-22 10:15:00Z`. Always UTC: a fleet has many time zones.
#[must_use]
pub fn moment(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M:%SZ").to_string()
}

/// The time of day of a moment, UTC: `10:15:00`.
#[must_use]
pub fn clock(at: Timestamp) -> String {
    at.strftime("%H:%M:%S").to_string()
}

/// An id for a run or a backup: the moment in UTC and four random letters, so that a listing is in order of time.
#[must_use]
pub fn id(now: Timestamp) -> String {
    let letters: String = (0..4).map(|_| char::from(rand::random_range(b'a'..=b'z'))).collect();
    format!("{}-{letters}", now.strftime("%Y%m%dT%H%M%SZ"))
}

/// Milliseconds from one moment to another; 0 where a clock went back.
#[must_use]
pub fn between(from: Timestamp, to: Timestamp) -> u64 {
    u64::try_from(to.as_millisecond().saturating_sub(from.as_millisecond())).unwrap_or(0)
}

/// `1 cluster`, `2 clusters`.
#[must_use]
pub fn count(number: usize, one: &str) -> String {
    if number == 1 { format!("1 {one}") } else { format!("{number} {one}s") }
}

/// The word that was probably meant: the nearest of the known ones, if one is near.
#[must_use]
pub fn meant<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let lower = word.to_lowercase();
    known
        .into_iter()
        .map(|candidate| (strsim::jaro_winkler(&lower, &candidate.to_lowercase()), candidate))
        .filter(|(likeness, _)| *likeness >= 0.8)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_read_as_they_are_written() {
        for (text, bytes) in [("1", 1), ("64k", 65536), ("20M", 20 << 20), ("2G", 2 << 30)] {
            assert_eq!(parse_bytes(text), Ok(bytes), "{text}");
        }
        for text in ["", "0", "0M", "M", "-1", "1.5M", "20 M", "20MB", "20Mé", "99999999999G"] {
            assert!(parse_bytes(text).is_err(), "{text}");
        }
    }

    #[test]
    fn times_are_read_as_they_are_written() {
        for (text, seconds) in [("1m", 60), ("90m", 5400), ("2h", 7200), ("7d", 604_800)] {
            assert_eq!(parse_time(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for text in
            ["", "h", "0h", "-1h", "1.5h", "2 h", "2", "2s", "é", "2é", "999999d", "99999999999999999999d"]
        {
            assert!(parse_time(text).is_err(), "{text}");
        }
    }

    #[test]
    fn ids_are_in_order_of_time() {
        let at = |text: &str| id(text.parse().unwrap());
        let first = at("2026-11-22T10:15:00Z");
        assert!(first.starts_with("20261122T101500Z-"), "{first}");
        assert_eq!(first.len(), 21);
        assert!(at("2026-11-22T10:15:01Z") > first);
    }

    #[test]
    fn expected_times_are_no_more_exact_than_they_are_known() {
        let about = |seconds| about(std::time::Duration::from_secs(seconds));
        assert_eq!([about(40), about(719), about(3900)], ["40 s", "12 min", "1 h 05 min"]);
    }

    #[test]
    fn times_are_written_as_people_say_them() {
        let cases = [
            (0, "0 ms"),
            (999, "999 ms"),
            (5_400, "5 s"),
            (65_000, "1 m 05 s"),
            (7_209_000, "2 h 00 m 09 s"),
        ];
        for (ms, said) in cases {
            assert_eq!(span(ms), said);
        }
        assert_eq!(seconds(0), "0 s");
        assert_eq!(seconds(600), "10 m 00 s");
        assert_eq!(seconds(u64::MAX), span(u64::MAX));
    }

    #[test]
    fn sizes_are_written_in_the_largest_unit_that_keeps_a_whole_digit() {
        let cases = [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1_503_238_553, "1.3 GiB"),
            (u64::MAX, "16383.9 PiB"),
        ];
        for (number, said) in cases {
            assert_eq!(bytes(number), said);
        }
    }

    #[test]
    fn a_clock_that_went_back_gives_no_time_and_no_fault() {
        let (early, late): (Timestamp, Timestamp) =
            ("2026-11-22T10:00:00Z".parse().unwrap(), "2026-11-22T10:00:01.5Z".parse().unwrap());
        assert_eq!(between(early, late), 1500);
        assert_eq!(between(late, early), 0);
        assert_eq!(moment(late), "2026-11-22 10:00:01Z");
        assert_eq!(clock(late), "10:00:01");
    }

    #[test]
    fn a_near_word_is_suggested_and_a_far_one_is_not() {
        assert_eq!(meant("adress", ["address", "agent"]), Some("address"));
        assert_eq!(meant("frobnicate", ["address", "agent"]), None);
    }
}
