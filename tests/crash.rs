//! The crash table (promise B1): every step of a migration × everything that can go wrong there. Each cell is a lab host of its own and
//! the real program: it goes wrong at exactly that line of the journal, then `fleet resume` goes on until all is done, and the host must
//! stand as after a run that nothing came across.
//!
//! A sample runs with the other tests; `tests/crash/all` runs the whole table. See `docs/reliability.md`.
#![expect(clippy::unwrap_used, reason = "what cannot be set up fails its test")]
#![expect(clippy::print_stdout, reason = "the table is what the test is for")]

use std::collections::BTreeMap;
use std::fs;
use std::thread;

mod lab_support;
mod shim;
mod upstream_repo;

#[path = "crash/cell.rs"]
mod cell;
#[path = "crash/ends.rs"]
mod ends;
#[path = "crash/laws.rs"]
mod laws;
#[path = "crash/soak.rs"]
mod soak;
#[path = "crash/strike.rs"]
mod strike;
#[path = "crash/table.rs"]
mod table;

use cell::{HOST, Place, RUNGS, Rung, Wrong};
use table::{Chance, Table};

/// How many cells of each rung the sample has, with the one that is always in it: nothing else shows that what was given back is taken anew.
const SAMPLE: [usize; 4] = [24, 2, 2, 2];
const ALWAYS: (&str, Wrong) = ("to-0.7/fetch", Wrong::GivenUp);
/// How many run at once: they wait more than they work.
const AT_ONCE: usize = 4;

#[test]
fn a_run_that_is_broken_off_anywhere_ends_as_one_that_was_not() {
    let seed = seed();
    let wanted = std::env::var("FLEET_CRASH").unwrap_or_default();
    let (mut cells, mut chosen, mut ends) = (Vec::new(), Vec::new(), BTreeMap::new());
    for ((rung, (places, end)), sample) in RUNGS.into_iter().zip(all_unbroken()).zip(SAMPLE) {
        let here: Vec<(Place, Wrong)> = places
            .iter()
            .flat_map(|place| Wrong::ALL.into_iter().map(|(wrong, _)| (place.clone(), wrong)))
            .filter(|(place, wrong)| wrong.fits(place))
            .collect();
        chosen.extend(match wanted.as_str() {
            "all" => here.clone(),
            "" => some(&here, sample, seed),
            // A part of the table: `to-0.7/fetch`, or `killed`, or `to-0.7/fetch: sshd away`.
            part => here
                .iter()
                .filter(|(place, wrong)| format!("{}: {}", place.name, wrong.name()).contains(part))
                .cloned()
                .collect(),
        });
        cells.extend(here);
        ends.insert(rung.id, end);
    }
    let all = cells.len();
    let order = |(place, wrong): &(Place, Wrong)| {
        cells.iter().position(|(other, fault)| other.name == place.name && fault == wrong)
    };
    chosen.sort_by_key(order);
    let table = Table::fill(chosen, AT_ONCE, seed, &ends);
    println!("{} of {all} cells, seed {seed}\n\n{table}", table.count());
    assert!(table.count() > 0, "no cell is called {wanted:?}");
    assert!(table.is_well(), "{}", table.complaints());
}

fn some(cells: &[(Place, Wrong)], count: usize, seed: u64) -> Vec<(Place, Wrong)> {
    let (mut always, others): (Vec<_>, Vec<_>) =
        cells.iter().cloned().partition(|(place, wrong)| (place.name.as_str(), *wrong) == ALWAYS);
    let rest = count.saturating_sub(always.len());
    always.extend(Chance::of(seed).sample(others, rest, |(place, wrong)| (place.name.clone(), wrong.name())));
    always
}

fn seed() -> u64 {
    std::env::var("FLEET_CRASH_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1)
}

/// An unbroken run over each rung, all at once.
fn all_unbroken() -> [(Vec<Place>, ends::End); 4] {
    thread::scope(|scope| {
        RUNGS.map(|rung| scope.spawn(move || unbroken(rung))).map(|thread| thread.join().unwrap())
    })
}

/// A run that nothing comes across: its steps, and how it leaves the host.
fn unbroken(rung: Rung) -> (Vec<Place>, ends::End) {
    let bench = cell::bench(rung);
    let held = ends::held(bench.host(HOST));
    bench.fleet(&rung.upgrade()).ends(0);
    let now = ends::held(bench.host(HOST));
    for (what, state) in held {
        assert!(now.get(&what).is_none_or(|now| *now == state), "{what} was {state} and is {now:?}");
    }
    let plan = fs::read(bench.run().join(HOST).join(rung.id).join("plan.json")).unwrap();
    let places = table::places(rung, &serde_json::from_slice(&plan).unwrap(), &bench.journal(HOST));
    (places, ends::End::of(bench.host(HOST)))
}

#[test]
fn two_unbroken_runs_end_alike() {
    let ((_, one), (_, two)) = (unbroken(RUNGS[0]), unbroken(RUNGS[0]));
    assert_eq!(one.differs(&two), Vec::<String>::new());
}

/// A measurement: how long it takes hangs on what it strikes, as a Flux that has failed waits for its own interval.
#[test]
#[ignore = "takes a quarter of an hour; tests/bench/soak runs it"]
fn a_fleet_that_is_struck_at_every_tenth_step_ends_as_it_should() {
    let hosts = std::env::var("FLEET_SOAK").ok().and_then(|hosts| hosts.parse().ok()).unwrap_or(4);
    let (_, end) = unbroken(RUNGS[0]);
    let soaked = soak::soak(hosts, seed(), &end);
    println!("seed {}\n{soaked}", seed());
    assert_eq!(soaked.differs, Vec::<String>::new());
}
