//! Nightly jobs of Stackspin and of the host, which the truce holds for the run: what of them it cannot.

use super::{Check, Findings, Verdict, When, counted, judged};
use crate::event::Level;
use crate::facts::Facts;
use crate::facts::clock::offset_seconds;
use crate::facts::nightly::{Does, Nightly};
use crate::facts::schedule::Schedule;

pub(super) const CHECK: Check = Check {
    id: "nightly-window",
    title: "Nightly jobs",
    when: When::Before,
    judge,
    remedy: "Give the job a schedule of five plain fields and the host's time zone or UTC, or look after the upgrade whether what it shuts \
             is shut.",
};

fn judge(_: Option<&Facts>, now: &Facts) -> Verdict {
    judged(|| {
        let jobs = now.nightly.get()?;
        let clock = now.clock.get()?;
        offset_seconds(&clock.offset).ok_or_else(|| {
            Verdict::block(format!("cannot be judged: the host's offset from UTC is {:?}", clock.offset))
        })?;
        let mut findings = Findings::default();
        if let Err(why) = now.timers.get() {
            findings.add(
                Level::Warn,
                format!("the host's package timers are not known, so they are not held: {why}"),
            );
        }
        let active: Vec<&Nightly> = jobs.iter().filter(|job| !job.suspended).collect();
        // Only the hours at which something is shut are counted (docs/truce.md).
        for job in active.iter().filter(|job| shuts(job)) {
            let name = format!("{}/{}", job.namespace, job.name);
            let missed = "if its hour goes by meanwhile, what it shuts stays open until the next";
            if Schedule::parse(&job.schedule).is_none() {
                let said = format!("the schedule of {name} cannot be read ({:?}): {missed}", job.schedule);
                findings.add(Level::Warn, said);
            } else if !["", "UTC", "Etc/UTC", clock.zone.as_str()].contains(&job.zone.as_str()) {
                findings.add(
                    Level::Warn,
                    format!("{name} runs by {}, not by the host's time: {missed}", job.zone),
                );
            }
        }
        Ok(findings.verdict(match (jobs.len(), active.len()) {
            (0, _) => "there are no nightly jobs".to_owned(),
            (number, 0) => format!("{}, all suspended", counted(number, "nightly job")),
            (_, number) => format!("{}, held for the run", counted(number, "nightly job")),
        }))
    })
}

const fn shuts(job: &Nightly) -> bool {
    matches!(job.does, Does::SuspendSource | Does::ShutUpgradeController)
}
