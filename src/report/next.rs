//! What to type next: pure, from a cluster's report and what the run was asked.

use serde::Serialize;

use super::cluster::{ClusterReport, Ending, State};
use crate::event::Failure;
use crate::planner::ACCEPT_DATA_LOSS;
use crate::remote::{printable, quote};
use crate::run::ASK;
use crate::state::Run;

/// A command to type, and what it is for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Next {
    /// The command, ready to paste.
    pub command: String,
    /// What it is for.
    pub why: String,
}

/// What can be advised; in the order in which it is typed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Advice {
    /// Another has the host's lock.
    Lock,
    Facts,
    Check,
    Verify,
    /// A person tells what became of a step.
    Settle,
    /// A person tells that what a step asks for is done.
    Confirm,
    Resume,
    Upgrade,
    /// A new plan file, after one that was carried out or was stale.
    Plan,
    /// The backup put back: what is left where a rung cannot be brought to its end.
    Restore,
}

const ORDER: [Advice; 10] = [
    Advice::Lock,
    Advice::Facts,
    Advice::Check,
    Advice::Verify,
    Advice::Settle,
    Advice::Confirm,
    Advice::Resume,
    Advice::Upgrade,
    Advice::Plan,
    Advice::Restore,
];

/// What to type next for a cluster. Empty where there is nothing to do.
///
/// A cluster that is dirty, or whose state nobody knows, is never advised to be upgraded anew: the run that left it so goes on.
#[must_use]
pub fn next(report: &ClusterReport, run: &Run) -> Vec<Next> {
    next_all(&[report], run)
}

/// What to type next for several clusters: one command for all of them where there is such a one.
#[must_use]
pub fn next_all(reports: &[&ClusterReport], run: &Run) -> Vec<Next> {
    let fleet = with_places(&run.typed);
    let mut all = Vec::new();
    for advice in ORDER {
        let of = || reports.iter().filter(|report| advised(report, run).contains(&advice));
        let on = of().map(|report| quote(&report.cluster)).collect::<Vec<_>>().join(",");
        if on.is_empty() {
            continue;
        }
        let (command, why) = match advice {
            Advice::Lock => {
                (format!("{fleet} lock show --on {on}"), "to see who has the lock (changes nothing)")
            }
            Advice::Facts => {
                (format!("{fleet} facts --on {on}"), "to see what is there now (changes nothing)")
            }
            Advice::Check => (
                format!("{fleet} check --on {on}"),
                "to see what is in the way and what to do about it (changes nothing)",
            ),
            Advice::Resume => {
                // A command that was typed for `fleet exec` is for its operator to repeat.
                let Some(_) = run.target else { continue };
                (
                    format!("{fleet} resume {} --on {on}", quote(&run.id)),
                    "when this run is over and nothing is in the way any more, to go on where it is",
                )
            }
            Advice::Settle => {
                all.extend(of().filter_map(|report| settle(&fleet, report, run)));
                continue;
            }
            Advice::Confirm => {
                all.extend(of().filter_map(|report| confirm(&fleet, report, run)));
                continue;
            }
            Advice::Upgrade => {
                let Some(target) = run.target.filter(|_| !run.is_restore()) else { continue };
                let command = match &run.plan {
                    Some(plan) => format!("{fleet} apply {} --on {on}", quote(&printable(&plan.file))),
                    None => format!("{fleet} upgrade --on {on} --to {target}"),
                };
                (command, "when this run is over and nothing is in the way any more")
            }
            Advice::Plan => {
                let Some(target) = run.target else { continue };
                let acks = run.acknowledged.iter().flat_map(|id| match id.as_str() {
                    ACCEPT_DATA_LOSS => vec![format!("--{id}")],
                    id => vec!["--ack".to_owned(), quote(id)],
                });
                let words: Vec<String> = ["plan".to_owned(), format!("--on {on}"), format!("--to {target}")]
                    .into_iter()
                    .chain(acks)
                    .collect();
                (
                    format!("{fleet} {} --out plan-{}.json", words.join(" "), run.id),
                    "to plan anew from what is there now, for `fleet apply`",
                )
            }
            Advice::Restore => {
                all.extend(
                    of().filter_map(|report| Some(report.way_back.as_ref()?.next(&fleet, &report.cluster))),
                );
                continue;
            }
            Advice::Verify => {
                all.extend(of().filter_map(|report| verify(&fleet, report)));
                continue;
            }
        };
        all.push(Next { command, why: why.to_owned() });
    }
    all
}

/// Refusals that the same command would only meet again: a person has to look and decide first.
const LOOK_FIRST: [&str; 8] = [
    "plan-out-of-order",
    "stored-plan",
    "development-branch",
    "downgrade",
    "identity-differs",
    "mixed-state",
    "no-rung",
    "version-unknown",
];

fn advised(report: &ClusterReport, run: &Run) -> &'static [Advice] {
    let look_first = |failure: &Failure| LOOK_FIRST.contains(&failure.cause.as_str());
    if report.outcome == Ending::Refused && report.failure.as_ref().is_some_and(look_first) {
        return &[Advice::Facts];
    }
    match report.failure.as_ref().map(|failure| failure.cause.as_str()) {
        Some("locked" | "lock-lost") => return &[Advice::Lock, Advice::Resume],
        Some("stale-plan") => return &[Advice::Plan],
        Some("changed-since") => return &[Advice::Check, Advice::Upgrade],
        Some(ASK) => return &[Advice::Facts, Advice::Verify, Advice::Settle, Advice::Restore],
        Some("not-in-inventory") => return &[],
        // No run goes on from a journal of which it does not know the end.
        Some("damaged-journal" | "unreadable-journal") => return &[Advice::Facts, Advice::Verify],
        _ => {}
    }
    let short =
        run.plan.is_some() && report.version_after.as_ref().map(|v| v.parse().ok()) != Some(run.target);
    match (report.outcome, report.state) {
        (Ending::Done, _) if short => &[Advice::Verify, Advice::Plan],
        (Ending::Done, _) => &[Advice::Verify],
        (Ending::NothingToDo, _) => &[],
        (Ending::Asked, _) => &[Advice::Verify, Advice::Confirm],
        (Ending::Refused | Ending::Unreachable, _) | (Ending::Failed, State::Clean) => {
            &[Advice::Check, Advice::Resume, Advice::Restore]
        }
        (_, State::Clean) => &[Advice::Resume],
        // All steps are done and a post-check failed: the checks are what to look at.
        (Ending::Failed, _) if report.failed_step.is_none() => {
            &[Advice::Check, Advice::Verify, Advice::Resume, Advice::Restore]
        }
        _ => &[Advice::Facts, Advice::Verify, Advice::Resume, Advice::Restore],
    }
}

fn settle(fleet: &str, report: &ClusterReport, run: &Run) -> Option<Next> {
    let (cluster, step) = (&report.cluster, report.failed_step.as_ref()?);
    let settled = quote(&format!("{cluster}:{step}=done"));
    Some(Next {
        command: format!("{fleet} resume {} --on {} --settle {settled}", quote(&run.id), quote(cluster)),
        why: "when you have seen that the step was done; if it was not, with =again in place of =done"
            .to_owned(),
    })
}

fn confirm(fleet: &str, report: &ClusterReport, run: &Run) -> Option<Next> {
    let (cluster, step) = (&report.cluster, report.failed_step.as_ref()?);
    Some(Next {
        command: format!("{fleet} confirm {} {} {}", quote(&run.id), quote(cluster), quote(step)),
        why: "when you have done what it asks for".to_owned(),
    })
}

fn verify(fleet: &str, report: &ClusterReport) -> Option<Next> {
    let backup = report.backup()?;
    // What was put back may be a backup of another cluster: its folder tells.
    let of = std::path::Path::new(&backup.folder).parent().and_then(std::path::Path::file_name);
    let of = of.map_or_else(|| report.cluster.clone(), |of| of.to_string_lossy().into_owned());
    Some(Next {
        command: format!("{fleet} backup verify {} {}", quote(&of), quote(&backup.backup)),
        why: "to prove the backup anew".to_owned(),
    })
}

/// `fleet`, with the places of inventory, runs and backups that a command line told: without them the next
/// command would look elsewhere.
#[must_use]
pub fn with_places(typed: &[String]) -> String {
    const PLACES: [(&str, &str); 3] = [("--inventory", "-i"), ("--runs", ""), ("--backups", "")];
    let mut fleet = "fleet".to_owned();
    let mut words = typed.iter().map(String::as_str).take_while(|word| *word != "--");
    while let Some(word) = words.next() {
        for (long, short) in PLACES {
            let value = if word == long || (word == short && !short.is_empty()) {
                words.next()
            } else {
                let joined =
                    word.strip_prefix(short).filter(|_| !short.is_empty() && !word.starts_with("--"));
                let joined = joined.map(|rest| rest.strip_prefix('=').unwrap_or(rest));
                joined.or_else(|| word.strip_prefix(long)?.strip_prefix('='))
            };
            if let Some(value) = value {
                fleet = format!("{fleet} {long} {}", quote(&printable(value)));
                break;
            }
        }
    }
    fleet
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Outcome;
    use crate::state::{PlanUsed, SCHEMA};
    use crate::version::Version;

    fn run(plan: Option<&str>, target: Version) -> Run {
        Run {
            schema: SCHEMA,
            id: "20261122T101500Z-abcd".into(),
            started: jiff::Timestamp::UNIX_EPOCH,
            by: "operator@desk".into(),
            fleet: "0.1.0".into(),
            typed: ["fleet", "-i", "my fleet", "apply", "a.json"].map(str::to_owned).to_vec(),
            target: Some(target),
            clusters: vec!["acme".into()],
            acknowledged: vec!["pods".into()],
            plan: plan.map(|file| PlanUsed { file: file.into(), checksum: "sha256:00".into() }),
        }
    }

    fn commands(outcome: &Outcome, version_after: Option<&str>, run: &Run) -> Vec<String> {
        let mut report = ClusterReport::not_begun("acme");
        report.outcome = Ending::of(outcome);
        report.failure = outcome.failure().cloned();
        report.version_after = version_after.map(str::to_owned);
        next(&report, run).into_iter().map(|next| next.command).collect()
    }

    #[test]
    fn a_stale_plan_is_made_anew_and_what_else_was_in_the_way_is_gone_on_with() {
        let run = run(Some("my plan.json"), Version::V0_7);
        let refused = |cause| Outcome::Refused { failure: Failure::new(cause, "why") };
        let anew = "fleet --inventory 'my fleet' plan --on acme --to 0.7 --ack pods --out plan-20261122T101500Z-abcd.json";
        assert_eq!(commands(&refused("stale-plan"), None, &run), [anew]);
        assert_eq!(commands(&refused("not-in-inventory"), None, &run), Vec::<String>::new());
        let again = commands(&refused("check-pods"), None, &run);
        assert_eq!(again[1], "fleet --inventory 'my fleet' resume 20261122T101500Z-abcd --on acme");
    }

    #[test]
    fn the_places_are_told_however_they_were_typed() {
        let fleet =
            |words: &[&str]| with_places(&words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>());
        for typed in
            [&["-i", "a b"][..], &["-ia b"], &["-i=a b"], &["--inventory", "a b"], &["--inventory=a b"]]
        {
            assert_eq!(
                fleet(&[&["fleet"], typed, &["upgrade", "--runs=r"]].concat()),
                "fleet --inventory 'a b' --runs r"
            );
        }
        assert_eq!(fleet(&["fleet", "exec", "--all", "--", "-ifile", "--runs=r"]), "fleet");
    }

    #[test]
    fn a_plan_that_ends_below_the_target_is_followed_by_one_for_the_rest() {
        let anew = |plan, target| {
            let commands = commands(&Outcome::Done, Some("0.7"), &run(plan, target));
            commands.iter().any(|command| command.contains(&format!(" plan --on acme --to {target}")))
        };
        assert!(anew(Some("a.json"), Version::V0_8));
        assert!(!anew(Some("a.json"), Version::V0_7));
        assert!(!anew(None, Version::V0_8));
    }
}
