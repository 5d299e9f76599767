//! What must be true of a journal, besides how the host ends.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;

use fleet::event::{Event, Outcome, StepEnd, What};
use fleet::journal;
use fleet::lab::Host;
use fleet::plan::{Action, Plan};
use fleet::run::Position;

use crate::cell::{HOST, Rung};
use crate::lab_support::Bench;

fn folder(bench: &Bench) -> PathBuf {
    bench.run().join(HOST)
}

fn events(bench: &Bench) -> Result<Vec<Event>, String> {
    journal::read(&folder(bench).join("journal.ndjson")).map_err(|error| error.to_string())
}

/// Commands that the host was sent although no line of the journal says that their step is begun.
pub(crate) fn ahead_of_the_journal(bench: &Bench, host: &Host, rung: Rung) -> Vec<String> {
    let events = match events(bench) {
        Ok(events) => events,
        Err(error) => return vec![error],
    };
    let begun: BTreeSet<&str> = events
        .iter()
        .filter_map(|event| match &event.what {
            What::StepStarted { step, .. } => Some(step.as_str()),
            _ => None,
        })
        .collect();
    // A run that was broken off before it had a plan has sent none of its commands.
    let Ok(plan) = fs::read(folder(bench).join(rung.id).join("plan.json")) else { return Vec::new() };
    let plan: Plan = serde_json::from_slice(&plan).unwrap();
    let sent = host.commands();
    plan.steps
        .iter()
        .filter(|step| !begun.contains(step.id.as_str()))
        .filter(|step| match &step.action {
            Action::Run(command) => sent.iter().any(|line| line.contains(command.line())),
            _ => false,
        })
        .map(|step| format!("{} was done before its line was written", step.id))
        .collect()
}

/// Laws of a whole journal that were broken: what is done is not done again, nothing is changed before this process has proven the backup, and at
/// the end all is done.
pub(crate) fn broken(bench: &Bench, rung: Rung) -> Vec<String> {
    let events = match events(bench) {
        Ok(events) => events,
        Err(error) => return vec![error],
    };
    let (mut begun, mut done) = (BTreeSet::new(), BTreeSet::new());
    let resumes = format!("{}/resume-source", rung.id);
    let mut proven = false;
    let mut broken = Vec::new();
    for event in &events {
        match &event.what {
            What::Resumed { .. } => proven = false,
            What::Proven { .. } => proven = true,
            // A rung that nothing was changed in may be begun anew.
            What::Planned { .. } => done.clear(),
            // A source that was suspended again must be resumed again.
            What::GivenBack { .. } => {
                done.remove(resumes.as_str());
            }
            What::Ran { step, .. } if !begun.contains(step.as_str()) => {
                broken.push(format!("{step} has run a command before its line was written"));
            }
            What::StepEnded { step, end: StepEnd::Done, .. } => {
                done.insert(step.as_str());
            }
            What::StepStarted { step, class, .. } => {
                begun.insert(step.as_str());
                if !step.starts_with("to-") {
                    continue;
                }
                if done.contains(step.as_str()) {
                    broken.push(format!("{step} was done already, and is done again"));
                }
                if class.changes() && !proven {
                    broken.push(format!("{step} changes the cluster before the backup was proven anew"));
                }
            }
            _ => {}
        }
    }
    broken.extend((0..=events.len()).filter_map(|end| misread(&events[..end])));
    match events.last().map(|event| &event.what) {
        Some(What::Finished { outcome: Outcome::Done }) => {}
        last => broken.push(format!("the journal ends with {last:?}")),
    }
    broken
}

/// What [`Position`] misreads of a journal that ends there: it must tell what was done, what was under way, and from where on the cluster is not as
/// it was. It reads the lines one after the other; here each is looked for from the end.
fn misread(events: &[Event]) -> Option<String> {
    let position = Position::of(events);
    let planned = events.iter().rposition(|event| matches!(event.what, What::Planned { .. }));
    let finished = matches!(events.last()?.what, What::Finished { outcome: Outcome::Done });
    let rung = &events[planned.filter(|_| !finished)?..];
    let last_of =
        |wanted: &dyn Fn(&What) -> Option<String>| rung.iter().rev().find_map(|event| wanted(&event.what));
    let dirty = last_of(&|what| match what {
        What::StepStarted { step, class, .. } if class.changes() && step.starts_with("to-") => {
            Some(step.clone())
        }
        _ => None,
    });
    // The last line that tells of each step: true where it is done, false where it is begun or has failed.
    let mut stands: BTreeMap<&str, bool> = BTreeMap::new();
    for event in rung.iter().rev() {
        let (step, done) = match &event.what {
            What::StepStarted { step, .. } => (step, false),
            What::StepEnded { step, end, .. } => (step, matches!(end, StepEnd::Done)),
            _ => continue,
        };
        stands.entry(step).or_insert(done);
    }
    let Some(read) = &position.rung else { return Some(format!("line {}: no rung is read", events.len())) };
    let same = read.dirty == dirty
        && read.steps.len() == stands.len()
        && stands.iter().all(|(step, done)| read.is_done(step) == *done);
    (!same)
        .then(|| format!("line {}: {stands:?}, last changed by {dirty:?}, is read as {read:?}", events.len()))
}
