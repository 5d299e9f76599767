//! How a cell's fault is brought about, and what must be true of a run that has failed in good order.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Child;
use std::time::{Duration, Instant};

use fleet::lab::{Fault, Host, Power};
use fleet::plan::{Action, Probe};

use crate::cell::{HOST, Place, Wrong, last_lines, pass, start, wait};
use crate::ends;
use crate::lab_support::{Bench, files, left_on_spool, until};

/// How long an API and an sshd that go away stay away, in the whole table and in the sample.
const API_AWAY: (u64, u64) = (30, 3);
const SSHD_AWAY: (u64, u64) = (20, 2);
/// How long a step is waited for that is to fail.
const FAILS: Duration = Duration::from_secs(60);

/// What is wrong from the start: where the source is not fetched before it is suspended again, it must be resumed anew.
pub(crate) fn before(bench: &Bench, host: &Host, place: &Place, wrong: Wrong) {
    if wrong == Wrong::GivenUp {
        bench.reconnects(HOST, 1);
        // The script of 2 does not end before it is fetched.
        let waits = matches!(&place.action, Some(Action::WaitUntil { probe: Probe::SourceAt { .. }, .. }));
        if waits && place.rung.id != "to-2" {
            host.inject(Fault::SourceWontFetch);
        }
    }
}

/// A process of `fleet` that waits behind a line.
pub(crate) struct Held<'a> {
    pub(crate) bench: &'a Bench,
    pub(crate) host: &'a Host,
    pub(crate) process: &'a mut Child,
    pub(crate) gate: &'a Path,
    /// Whether a clock jumps ahead; else back.
    pub(crate) ahead: bool,
}

impl Held<'_> {
    /// Does to the host, or on it, what only somebody else can, and lets the process go on. What must not be so.
    pub(crate) fn strike(&mut self, place: &Place, wrong: Wrong) -> Option<String> {
        let next = String::new;
        let whole = usize::from(std::env::var_os("FLEET_CRASH").is_none());
        let away = |(whole_table, sample): (u64, u64)| {
            Duration::from_secs([whole_table, sample].into_iter().nth(whole).unwrap_or(sample))
        };
        match wrong {
            Wrong::CutBefore => self.host.inject(Fault::ConnectionDropsAt(next())),
            Wrong::CutAfter => self.host.inject(Fault::ConnectionDropsAfter(next())),
            Wrong::RebootBefore => self.host.inject(Fault::RebootsAt(next())),
            Wrong::RebootAfter => self.host.inject(Fault::RebootsAfter(next())),
            Wrong::FullThere => self.host.inject(Fault::NoRoom),
            Wrong::ClockThere => {
                self.host.inject(if self.ahead { Fault::ClockAhead } else { Fault::ClockBehind });
            }
            Wrong::SshdAway => self.away(&Fault::Unreachable, away(SSHD_AWAY)),
            Wrong::ApiAway => self.away(&Fault::ApiAway, away(API_AWAY)),
            Wrong::StepFails => match place.action {
                Some(Action::Prove(_)) => damage(self.bench),
                Some(Action::Backup(_)) => self.until_its_end(&Fault::TarFails),
                _ => self.until_its_end(&Fault::CommandFails(next())),
            },
            Wrong::GivenUp => self.until_its_end(&Fault::Unreachable),
            Wrong::Second => {
                let found = self.second(place);
                self.go();
                return found;
            }
            _ => {}
        }
        self.go();
        None
    }

    fn go(&self) {
        fs::write(self.gate.join("go"), "").unwrap();
        fs::write(self.gate.join("on"), "").unwrap();
    }

    fn is_over(&mut self) -> bool {
        self.process.try_wait().unwrap().is_some()
    }

    /// The fault lasts so long, or until the process has ended.
    fn away(&mut self, fault: &Fault, time: Duration) {
        self.host.inject(fault.clone());
        self.go();
        let ends = Instant::now() + time;
        while Instant::now() < ends && !self.is_over() {
            pass(Duration::from_millis(20));
        }
        self.host.heal(fault);
    }

    /// The fault lasts until the end of the step is about to be written; where there is none, until the process has ended. All that comes
    /// after it, giving back before all, finds the host well.
    fn until_its_end(&mut self, fault: &Fault) {
        self.host.inject(fault.clone());
        fs::write(self.gate.join("go"), "").unwrap();
        let ends = Instant::now() + FAILS;
        while Instant::now() < ends && !self.gate.join("there").exists() && !self.is_over() {
            pass(Duration::from_millis(5));
        }
        self.host.heal(fault);
    }

    /// Somebody else upgrades the same host meanwhile: it must be told who holds the lock, with exit code 5.
    fn second(&self, place: &Place) -> Option<String> {
        let Self { bench, host, .. } = self;
        let mut command = bench.command(&place.rung.upgrade());
        command.env("FLEET_RUNS", bench.path("other-runs")).env("FLEET_BACKUPS", bench.path("other-backups"));
        let before = ends::changing(host);
        let ended = wait(start(bench, command, "second"));
        let text = fs::read_to_string(bench.path("second.out")).unwrap();
        let changed = ends::changing(host).len() - before.len();
        (ended != "5" || !text.contains("lock") || changed > 0).then(|| {
            format!("the second operator ended with {ended} and {changed} changes: {}", last_lines(&text))
        })
    }
}

/// Changes a byte of the largest file of the backup.
fn damage(bench: &Bench) {
    let (path, mut bytes) =
        files(&bench.path("backups")).into_iter().max_by_key(|(_, bytes)| bytes.len()).unwrap();
    bytes[1000] ^= 0xff;
    fs::write(path, bytes).unwrap();
}

/// What is not as it must be after a run that could end in good order: all that was temporary is given back, and there is a report.
pub(crate) fn out_of_order(
    bench: &Bench,
    host: &Host,
    place: &Place,
    wrong: Wrong,
    found: &BTreeMap<String, String>,
) -> Vec<String> {
    let orderly = matches!(wrong, Wrong::StepFails | Wrong::GivenUp);
    // Where giving back itself fails, or there was no host to the end, the host's own timer is what is left.
    if !orderly || place.action.is_none() || matches!(place.action, Some(Action::GiveBack(_))) {
        return Vec::new();
    }
    let now = ends::held(host);
    let others = found.iter().filter(|(what, state)| now.get(*what).is_some_and(|now| now != *state));
    let mut wrong: Vec<String> = others
        .map(|(what, state)| format!("after the failure {what} is {} and not {state}", now[what]))
        .collect();
    wrong.extend(
        left_on_spool(host).iter().map(|left| format!("after the failure there is {}", left.display())),
    );
    if host.state().power != Power::Running {
        wrong.push(format!("after the failure k3s is {}", host.state().power.as_str()));
    }
    if !bench.run().join(HOST).join("report.json").is_file() {
        wrong.push("the failed run has no report".to_owned());
    }
    wrong
}

/// Every fault that lasts is over.
pub(crate) fn heal(host: &Host) {
    for fault in host.state().faults {
        if fault != Fault::Unreachable {
            host.heal(&fault);
        }
    }
    // A host that is being started anew comes back by itself.
    until("the host is back", || !host.has(&Fault::Unreachable));
}
