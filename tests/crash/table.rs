//! The table: which cells there are, how they are filled, and how it looks.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use fleet::event::{Event, What};
use fleet::plan::Plan;

use crate::cell::{self, Place, Rung, Told, Wrong};
use crate::ends::End;

/// The places of a run over this rung, in the order of its journal. What is around every rung is told of the first alone.
pub(crate) fn places(rung: Rung, plan: &Plan, events: &[Event]) -> Vec<Place> {
    let own = format!("{}/", rung.id);
    let mut places = all_places(rung, plan, events);
    places.retain(|place| rung.id == cell::RUNGS[0].id || place.name.starts_with(&own));
    places
}

fn all_places(rung: Rung, plan: &Plan, events: &[Event]) -> Vec<Place> {
    let action = |id: &str| plan.steps.iter().find(|step| step.id == id).map(|step| step.action.clone());
    let mut ran: BTreeMap<&str, usize> = BTreeMap::new();
    for event in events {
        if let What::Ran { step, .. } = &event.what {
            *ran.entry(step).or_default() += 1;
        }
    }
    let mut places = Vec::new();
    for event in events {
        match &event.what {
            What::Locked { .. } => places.push(Place::moment(rung, "locked")),
            What::Planned { .. } => places.push(Place::moment(rung, "planned")),
            What::StepStarted { step, .. } => {
                places.push(Place::step(
                    rung,
                    step,
                    ran.get(step.as_str()).copied().unwrap_or(0),
                    action(step),
                ));
            }
            What::Unlocked { .. } => places.push(Place::moment(rung, "unlocked")),
            What::Finished { .. } => places.push(Place::moment(rung, "finished")),
            _ => {}
        }
    }
    places
}

/// Numbers that look like chance and are the same for the same seed (SplitMix64).
pub(crate) struct Chance(u64);

impl Chance {
    pub(crate) fn of(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// So many of them, spread: always one whose row and column have been taken least often.
    pub(crate) fn sample<T, R: Ord, C: Ord>(
        mut self,
        mut all: Vec<T>,
        count: usize,
        of: impl Fn(&T) -> (R, C),
    ) -> Vec<T> {
        let (mut rows, mut columns) = (BTreeMap::new(), BTreeMap::new());
        let mut taken = Vec::new();
        while taken.len() < count && !all.is_empty() {
            let weighed = all.iter().enumerate().map(|(at, item)| {
                let (row, column) = of(item);
                let often = rows.get(&row).unwrap_or(&0) + columns.get(&column).unwrap_or(&0);
                (often, self.next(), at)
            });
            let Some((_, _, at)) = weighed.min() else { break };
            let item = all.swap_remove(at);
            let (row, column) = of(&item);
            *rows.entry(row).or_insert(0) += 1;
            *columns.entry(column).or_insert(0) += 1;
            taken.push(item);
        }
        taken
    }
}

/// The table.
pub(crate) struct Table(Vec<Told>);

impl Table {
    /// Runs the cells, so many at once.
    pub(crate) fn fill(
        cells: Vec<(Place, Wrong)>,
        at_once: usize,
        seed: u64,
        unbroken: &BTreeMap<&str, End>,
    ) -> Self {
        let mut chance = Chance::of(seed);
        let cells: Vec<_> = cells.into_iter().map(|(place, wrong)| (place, wrong, chance.next())).collect();
        let next = AtomicUsize::new(0);
        let told = Mutex::new(Vec::new());
        // Where one is enough (`mutate`), the first that is not well ends it.
        let enough = std::env::var_os("FLEET_CRASH_FIRST").is_some();
        std::thread::scope(|scope| {
            for _ in 0..at_once {
                scope.spawn(|| {
                    while let Some((place, wrong, chance)) = cells.get(next.fetch_add(1, Ordering::Relaxed)) {
                        let one = cell::run(place, *wrong, *chance, &unbroken[place.rung.id]);
                        let word = if one.is_well() { "ok" } else { "NOT OK" };
                        let found: Vec<&str> = one.differs.iter().take(3).map(String::as_str).collect();
                        let found = found.join("\n    ");
                        println!("{word}: {}: {}: {} {found}", one.place, wrong.name(), one.ended.join(", "));
                        if enough && !one.is_well() {
                            next.store(cells.len(), Ordering::Relaxed);
                        }
                        told.lock().unwrap().push(one);
                    }
                });
            }
        });
        let mut told = told.into_inner().unwrap();
        let order = |told: &Told| {
            cells.iter().position(|(place, wrong, _)| place.name == told.place && *wrong == told.wrong)
        };
        told.sort_by_key(order);
        Self(told)
    }

    pub(crate) fn count(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn is_well(&self) -> bool {
        self.0.iter().all(Told::is_well)
    }

    pub(crate) fn complaints(&self) -> String {
        let bad = self.0.iter().filter(|told| !told.is_well());
        let lines = bad.map(|told| {
            let ended = told.ended.join(", ");
            format!("{}: {} ({ended}):\n    {}\n", told.place, told.wrong.name(), told.differs.join("\n    "))
        });
        lines.collect()
    }
}

/// Steps down, faults across: how often the run was gone on with, `!` where it did not end as it must, `·` where nothing was tried.
impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, (_, name)) in (b'a'..).zip(Wrong::ALL) {
            writeln!(f, "{}  {name}", char::from(number))?;
        }
        let width = self.0.iter().map(|told| told.place.len()).max().unwrap_or(0);
        write!(f, "\n{:width$} ", "")?;
        for number in (b'a'..).take(Wrong::ALL.len()) {
            write!(f, " {}", char::from(number))?;
        }
        writeln!(f)?;
        let mut seen = BTreeSet::new();
        for row in &self.0 {
            if !seen.insert(&row.place) {
                continue;
            }
            write!(f, "{:width$} ", row.place)?;
            for (wrong, _) in Wrong::ALL {
                let told = self.0.iter().find(|told| told.place == row.place && told.wrong == wrong);
                match told {
                    None => write!(f, " ·")?,
                    Some(told) if told.is_well() => write!(f, " {}", told.ended.len() - 1)?,
                    Some(_) => write!(f, " !")?,
                }
            }
            writeln!(f)?;
        }
        Ok(())
    }
}
