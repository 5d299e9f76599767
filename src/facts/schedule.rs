//! The schedule of a cron job: when it fires.

use jiff::civil::{DateTime, Weekday};
use jiff::tz::Offset;
use jiff::{Timestamp, ToSpan as _};

/// How far ahead is looked for the next time.
const DAYS: i64 = 3;

/// A cron schedule of five fields. Names (`MON`) and macros (`@daily`) are not read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schedule {
    minutes: Vec<i8>,
    hours: Vec<i8>,
    days: Vec<i8>,
    months: Vec<i8>,
    /// 0 is Sunday.
    weekdays: Vec<i8>,
    /// Whether a day that is either of them is enough: cron's rule where both are limited.
    either: bool,
}

impl Schedule {
    /// Reads it; `None` for what is none, or not understood.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let fields: Vec<&str> = text.split_whitespace().collect();
        let [minutes, hours, days, months, weekdays] = fields.as_slice() else { return None };
        let mut sundays = values(weekdays, 0, 7)?;
        if sundays.contains(&7) {
            sundays.push(0);
        }
        Some(Self {
            minutes: values(minutes, 0, 59)?,
            hours: values(hours, 0, 23)?,
            days: values(days, 1, 31)?,
            months: values(months, 1, 12)?,
            weekdays: sundays,
            either: !days.starts_with('*') && !weekdays.starts_with('*'),
        })
    }

    /// The first time after this second of Unix time that it fires, within three days, by a clock so many seconds east of UTC.
    #[must_use]
    pub fn next(&self, after: i64, offset_seconds: i64) -> Option<i64> {
        let offset = Offset::from_seconds(i32::try_from(offset_seconds).ok()?).ok()?;
        let from = offset.to_datetime(Timestamp::from_second(after).ok()?);
        let mut at = from.with().second(0).subsec_nanosecond(0).build().ok()?;
        for _ in 0..DAYS * 24 * 60 {
            at = at.checked_add(1.minute()).ok()?;
            if self.fires_at(at) {
                return Some(offset.to_timestamp(at).ok()?.as_second());
            }
        }
        None
    }

    fn fires_at(&self, at: DateTime) -> bool {
        let day = self.days.contains(&at.day());
        let weekday = self.weekdays.contains(&at.weekday().since(Weekday::Sunday));
        let today = if self.either { day || weekday } else { day && weekday };
        today
            && self.minutes.contains(&at.minute())
            && self.hours.contains(&at.hour())
            && self.months.contains(&at.month())
    }
}

/// The values of one cron field: `*`, `5`, `1-4`, `*/10`, `8-18/2`, and lists of them.
fn values(field: &str, first: i8, last: i8) -> Option<Vec<i8>> {
    let mut values = Vec::new();
    for part in field.split(',') {
        let (range, step) = part.split_once('/').map_or((part, None), |(range, step)| (range, Some(step)));
        let (from, to) = match range.split_once('-') {
            _ if range == "*" => (first, last),
            Some((from, to)) => (number(from)?, number(to)?),
            None if step.is_some() => (number(range)?, last),
            None => (number(range)?, number(range)?),
        };
        let step = step.map_or(Some(1), |step| number(step).filter(|step| *step > 0))?;
        if from > to || from < first || to > last {
            return None;
        }
        values.extend((from..=to).filter(|value| (value - from) % step == 0));
    }
    Some(values)
}

fn number(digits: &str) -> Option<i8> {
    let plain = !digits.is_empty() && digits.len() <= 2 && digits.bytes().all(|byte| byte.is_ascii_digit());
    if plain { digits.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cron_fields_are_read() {
        assert_eq!(values("5", 0, 59), Some(vec![5]));
        assert_eq!(values("1-3,7", 0, 23), Some(vec![1, 2, 3, 7]));
        assert_eq!(values("*/20", 0, 59), Some(vec![0, 20, 40]));
        assert_eq!(values("8-12/2", 0, 23), Some(vec![8, 10, 12]));
        assert_eq!(values("*", 1, 3), Some(vec![1, 2, 3]));
        for wrong in ["", "60", "5-1", "*/0", "a", "-1", "1,,2", "+1"] {
            assert_eq!(values(wrong, 0, 59), None, "{wrong:?}");
        }
        assert_eq!(values("0", 1, 31), None, "there is no day 0");
    }

    #[test]
    fn a_schedule_has_five_fields() {
        for wrong in ["@daily", "0 2 * *", "CRON_TZ=UTC 0 2 * * *", "0 2 * * MON", ""] {
            assert_eq!(Schedule::parse(wrong), None, "{wrong:?}");
        }
    }

    /// The next time after a UTC time, in UTC, of a schedule that runs by a clock so many hours east.
    fn next(schedule: &str, after: &str, east: i64) -> Option<String> {
        let after: Timestamp = after.parse().unwrap();
        let next = Schedule::parse(schedule).unwrap().next(after.as_second(), east * 3600)?;
        Some(Timestamp::from_second(next).unwrap().to_string())
    }

    #[test]
    fn the_next_time_is_after_now_by_the_hosts_clock() {
        let table = [
            ("0 4 * * *", "2024-03-01T01:30:00Z", 0, Some("2024-03-01T04:00:00Z")),
            ("0 4 * * *", "2024-03-01T04:00:00Z", 0, Some("2024-03-02T04:00:00Z")),
            ("0 4 * * *", "2024-03-01T03:59:59Z", 0, Some("2024-03-01T04:00:00Z")),
            ("0 4 * * *", "2024-03-01T01:30:00Z", 1, Some("2024-03-01T03:00:00Z")),
            ("0 4 * * *", "2024-03-01T09:30:00Z", -5, Some("2024-03-02T09:00:00Z")),
            // A Friday; Sunday is 0 and 7.
            ("0 4 * * 0", "2024-03-01T09:30:00Z", 0, Some("2024-03-03T04:00:00Z")),
            ("0 4 * * 7", "2024-03-01T09:30:00Z", 0, Some("2024-03-03T04:00:00Z")),
            ("0 4 * * 4", "2024-03-01T09:30:00Z", 0, None),
            // Both limited: either will do.
            ("0 4 2 * 0", "2024-03-01T09:30:00Z", 0, Some("2024-03-02T04:00:00Z")),
            ("0 4 2 4 *", "2024-03-01T09:30:00Z", 0, None),
        ];
        for (schedule, after, east, expected) in table {
            assert_eq!(next(schedule, after, east).as_deref(), expected, "{schedule} after {after}");
        }
    }
}
