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
        let timers = now.timers.get()?.active.len();
        offset_seconds(&clock.offset).ok_or_else(|| {
            Verdict::block(format!("cannot be judged: the host's offset from UTC is {:?}", clock.offset))
        })?;
        let mut findings = Findings::default();
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
        let also = if timers == 0 {
            String::new()
        } else {
            format!(" and {} of the host", counted(timers, "timer"))
        };
        Ok(findings.verdict(match (active.len(), timers) {
            (0, 0) => "nothing acts by itself at night".to_owned(),
            (jobs, _) => format!("{}{also}, held for the run", counted(jobs, "nightly job")),
        }))
    })
}

const fn shuts(job: &Nightly) -> bool {
    matches!(job.does, Does::SuspendSource | Does::ShutUpgradeController)
}
