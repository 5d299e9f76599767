//! The soak: many hosts in one run, a fault at every tenth step, and `fleet` itself killed now and then; gone on with until all is done.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::Path;
use std::process::Child;
use std::time::{Duration, Instant};

use fleet::lab::{Fault, Host, HostSpec};

use crate::cell::{self, pass, start};
use crate::ends;
use crate::lab_support::{Bench, acknowledging};
use crate::table::Chance;

/// Of so many begun steps one is struck.
const STRUCK: u64 = 10;
/// Of so many struck steps one strikes `fleet` itself.
const KILLED: u64 = 25;
/// How long a fault lasts that lasts.
const LASTS: Duration = Duration::from_secs(2);
/// How often the run is gone on with.
const RESUMES: usize = 60;
/// How long one process may take for one host, at the pace of a lab on a busy machine.
const EACH: Duration = Duration::from_secs(30);

/// What came of it.
pub(crate) struct Soaked {
    hosts: usize,
    steps: u64,
    faults: BTreeMap<String, u64>,
    processes: Vec<String>,
    peak_kib: u64,
    took: Duration,
    /// What is not as it should be.
    pub(crate) differs: Vec<String>,
}

impl fmt::Display for Soaked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let struck: u64 = self.faults.values().sum();
        writeln!(
            f,
            "{} hosts, {} steps begun, {struck} faults, {} processes of fleet, {} s; fleet's memory at its peak: {} KiB",
            self.hosts,
            self.steps,
            self.processes.len(),
            self.took.as_secs(),
            self.peak_kib
        )?;
        let faults: Vec<String> =
            self.faults.iter().map(|(fault, count)| format!("{fault} {count}")).collect();
        writeln!(f, "faults: {}", faults.join(", "))?;
        writeln!(f, "the processes ended with: {}", self.processes.join(", "))
    }
}

/// How a host stood before.
struct Before {
    secrets: ends::Secrets,
    volumes: BTreeMap<String, String>,
}

/// Upgrades so many hosts.
pub(crate) fn soak(hosts: usize, seed: u64, unbroken: &ends::End) -> Soaked {
    let began = Instant::now();
    let specs =
        (0..hosts).map(|number| HostSpec { name: format!("oak-{number:03}"), ..cell::spec(cell::RUNGS[0]) });
    let bench = Bench::new(specs.collect());
    let before: Vec<(&Host, Before)> = bench
        .lab
        .hosts()
        .map(|host| (host, Before { secrets: ends::secrets(host), volumes: ends::volumes(host) }))
        .collect();
    let mut storm = Storm {
        chance: Chance::of(seed),
        read: BTreeMap::new(),
        lasting: Vec::new(),
        steps: 0,
        faults: BTreeMap::new(),
        peak_kib: 0,
    };
    let upgrade = acknowledging(&["upgrade"], &["--all", "--parallel", "40"]);
    let resume = ["resume", "last", "--parallel", "40"];
    let mut processes = Vec::new();
    while processes.last().is_none_or(|last| last != "0") && processes.len() <= RESUMES {
        let words = if processes.is_empty() { upgrade.as_slice() } else { &resume };
        let name = format!("process-{}", processes.len());
        let child = start(&bench, bench.command(words), &name);
        processes.push(storm.over(&bench, child, EACH.saturating_mul(u32::try_from(hosts).unwrap_or(1))));
    }
    let mut differs = Vec::new();
    if processes.last().is_none_or(|last| last != "0") {
        let said = fs::read_to_string(bench.path(&format!("process-{}.out", processes.len() - 1)));
        differs.push(format!("never done: {}", cell::last_lines(&said.unwrap_or_default())));
    }
    for (host, before) in before {
        let name = &host.spec().name;
        let mut found = unbroken.differs_by_name(&ends::End::of(host), name);
        found.extend(before.secrets.lost(&ends::secrets(host)));
        if before.volumes != ends::volumes(host) {
            found.push("its volumes have changed".to_owned());
        }
        differs.extend(found.into_iter().map(|what| format!("{name}: {what}")));
    }
    let Storm { steps, faults, peak_kib, .. } = storm;
    Soaked { hosts, steps, faults, processes, peak_kib, took: began.elapsed(), differs }
}

/// What strikes.
struct Storm {
    chance: Chance,
    /// How far each host's journal was read.
    read: BTreeMap<String, u64>,
    lasting: Vec<(Instant, String, Fault)>,
    steps: u64,
    faults: BTreeMap<String, u64>,
    peak_kib: u64,
}

impl Storm {
    /// Strikes until the process ends; how it ended.
    fn over(&mut self, bench: &Bench, mut child: Child, patience: Duration) -> String {
        let began = Instant::now();
        loop {
            self.peak_kib = self.peak_kib.max(peak(&child).unwrap_or(0));
            if let Some(status) = child.try_wait().unwrap() {
                self.heal(bench, true);
                return status.code().map_or_else(|| "killed".to_owned(), |code| code.to_string());
            }
            if began.elapsed() > patience {
                child.kill().unwrap();
                child.wait().unwrap();
                return "hung".to_owned();
            }
            for host in bench.lab.hosts() {
                for _ in 0..self.begun(bench, host) {
                    self.steps += 1;
                    if self.chance.next().is_multiple_of(STRUCK) {
                        self.strike(host, &mut child);
                    }
                }
            }
            self.heal(bench, false);
            pass(Duration::from_millis(20));
        }
    }

    /// How many steps were begun on this host since the last look.
    fn begun(&mut self, bench: &Bench, host: &Host) -> usize {
        let name = &host.spec().name;
        let from = self.read.entry(name.clone()).or_default();
        let mut text = Vec::new();
        let Ok(mut file) = fs::File::open(run(bench).join(name).join("journal.ndjson")) else { return 0 };
        file.seek(SeekFrom::Start(*from)).unwrap();
        file.read_to_end(&mut text).unwrap();
        *from += u64::try_from(text.len()).unwrap_or(0);
        String::from_utf8_lossy(&text).matches(r#""what":"step-started""#).count()
    }

    fn strike(&mut self, host: &Host, child: &mut Child) {
        let kind = self.chance.next();
        let next = String::new;
        let (fault, lasts) = match kind % 8 {
            _ if (kind >> 8).is_multiple_of(KILLED) => {
                *self.faults.entry("fleet killed".to_owned()).or_default() += 1;
                // One that has just ended is as good as one that is killed.
                let _ = child.kill();
                return;
            }
            0 => (Fault::ConnectionDropsAt(next()), false),
            1 => (Fault::ConnectionDropsAfter(next()), false),
            2 => (Fault::RebootsAt(next()), false),
            3 => (Fault::RebootsAfter(next()), false),
            4 | 5 => (Fault::Unreachable, true),
            6 => (Fault::ApiAway, true),
            _ => (Fault::NoRoom, true),
        };
        *self.faults.entry(fault.to_string().trim_end_matches(':').to_owned()).or_default() += 1;
        if lasts {
            self.lasting.push((Instant::now() + LASTS, host.spec().name.clone(), fault.clone()));
        }
        host.inject(fault);
    }

    /// Ends what has lasted long enough; all of it when the process has ended.
    fn heal(&mut self, bench: &Bench, all: bool) {
        let now = Instant::now();
        self.lasting.retain(|(ends, name, fault)| {
            let over = all || *ends <= now;
            if over {
                bench.host(name).heal(fault);
            }
            !over
        });
    }
}

fn run(bench: &Bench) -> std::path::PathBuf {
    let runs = fs::read_dir(bench.path("runs"));
    let mut runs: Vec<_> = runs.into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    runs.sort();
    runs.pop().unwrap_or_default()
}

/// The most memory that the process has had, in KiB.
fn peak(child: &Child) -> Option<u64> {
    let status = fs::read_to_string(Path::new("/proc").join(child.id().to_string()).join("status")).ok()?;
    status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")?.trim().parse().ok())
}
