//! Nightly jobs of Stackspin that would fire into an upgrade.

use super::time_zone::offset_seconds;
use super::{Check, Findings, Verdict, When, counted, judged};
use crate::event::Level;
use crate::facts::Facts;
use crate::facts::nightly::{Does, Nightly};

/// An upgrade may take more than two hours (guide, 0.6 to 0.7).
const HOURS: i64 = 3;

pub(super) const CHECK: Check = Check {
    id: "nightly-window",
    title: "Nightly jobs",
    when: When::Before,
    judge,
    remedy: "Start at another time, or suspend the named jobs (`spec.suspend`) until the upgrade is done. A suspended job is not \
             looked at, so one whose schedule cannot be read is suspended too.",
};

fn judge(_: Option<&Facts>, now: &Facts) -> Verdict {
    judged(|| {
        let jobs = now.nightly.get()?;
        let clock = now.clock.get()?;
        let offset = offset_seconds(&clock.offset).ok_or_else(|| {
            Verdict::block(format!("cannot be judged: the host's offset from UTC is {:?}", clock.offset))
        })?;
        let mut findings = Findings::default();
        for job in jobs.iter().filter(|job| !job.suspended) {
            let name = format!("{}/{}", job.namespace, job.name);
            let Some(schedule) = Schedule::parse(&job.schedule) else {
                findings
                    .add(Level::Block, format!("the schedule of {name} cannot be read: {:?}", job.schedule));
                continue;
            };
            let offset = match job.zone.as_str() {
                "" => offset,
                zone if zone == clock.zone => offset,
                "UTC" | "Etc/UTC" => 0,
                zone => {
                    let found =
                        format!("{name} runs at {:?} by {zone}, not by the host's time", job.schedule);
                    findings.add(Level::Warn, found);
                    continue;
                }
            };
            let minute = (now.gathered_at.as_second() + offset).div_euclid(60);
            if let Some(wait) = (0..=HOURS * 60).find(|wait| schedule.fires_at(minute + wait)) {
                let at = minute + wait;
                let (hour, minute) = (at.div_euclid(60).rem_euclid(24), at.rem_euclid(60));
                let does = deed(job);
                findings.add(Level::Warn, format!("{name} {does} at {hour:02}:{minute:02}, in {wait} min"));
            }
        }
        Ok(findings.verdict(match jobs.len() {
            0 => "there are no nightly jobs".to_owned(),
            number => format!("{}, none within {HOURS} hours", counted(number, "nightly job")),
        }))
    })
}

const fn deed(job: &Nightly) -> &'static str {
    match job.does {
        Does::SuspendSource => "suspends a Flux source",
        Does::ResumeSource => "resumes a Flux source",
        Does::ScaleUpgradeController => "scales the system-upgrade-controller",
    }
}

/// The minutes and hours of a cron schedule. Its days are left out: a job that fires on some days counts for each.
#[derive(Debug)]
struct Schedule {
    minutes: Vec<i64>,
    hours: Vec<i64>,
}

impl Schedule {
    fn parse(text: &str) -> Option<Self> {
        let fields: Vec<&str> = text.split_whitespace().collect();
        let [minutes, hours, _, _, _] = fields.as_slice() else { return None };
        Some(Self { minutes: values(minutes, 59)?, hours: values(hours, 23)? })
    }

    /// Whether it fires in this minute, counted from midnight of any day.
    fn fires_at(&self, minute: i64) -> bool {
        self.minutes.contains(&minute.rem_euclid(60))
            && self.hours.contains(&minute.div_euclid(60).rem_euclid(24))
    }
}

/// The values of one cron field: `*`, `5`, `1-4`, `*/10`, `8-18/2`, and lists of them.
fn values(field: &str, last: i64) -> Option<Vec<i64>> {
    let mut values = Vec::new();
    for part in field.split(',') {
        let (range, step) = part.split_once('/').map_or((part, None), |(range, step)| (range, Some(step)));
        let (from, to) = match range.split_once('-') {
            _ if range == "*" => (0, last),
            Some((from, to)) => (number(from)?, number(to)?),
            None if step.is_some() => (number(range)?, last),
            None => (number(range)?, number(range)?),
        };
        let step = step.map_or(Some(1), |step| number(step).filter(|step| *step > 0))?;
        if from > to || to > last {
            return None;
        }
        values.extend((from..=to).filter(|value| (value - from).rem_euclid(step) == 0));
    }
    Some(values)
}

fn number(digits: &str) -> Option<i64> {
    let plain = !digits.is_empty() && digits.len() <= 2 && digits.bytes().all(|byte| byte.is_ascii_digit());
    if plain { digits.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cron_fields_are_read() {
        assert_eq!(values("5", 59), Some(vec![5]));
        assert_eq!(values("1-3,7", 23), Some(vec![1, 2, 3, 7]));
        assert_eq!(values("*/20", 59), Some(vec![0, 20, 40]));
        assert_eq!(values("8-12/2", 23), Some(vec![8, 10, 12]));
        assert_eq!(values("*", 2), Some(vec![0, 1, 2]));
        for wrong in ["", "60", "5-1", "*/0", "a", "-1", "1,,2", "+1"] {
            assert_eq!(values(wrong, 59), None, "{wrong:?}");
        }
    }

    #[test]
    fn a_schedule_has_five_fields() {
        assert!(Schedule::parse("0 2 * * *").is_some_and(|two| two.fires_at(120) && !two.fires_at(121)));
        assert!(Schedule::parse("@daily").is_none());
        assert!(Schedule::parse("0 2 * *").is_none());
        assert!(Schedule::parse("CRON_TZ=UTC 0 2 * * *").is_none());
    }
}
