//! `fleet plan`: what an upgrade would do, exactly. Reads only.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::Serialize;

use super::{Exit, Trouble, output, select};
use crate::checks;
use crate::cli::{Cli, Format, PlanArgs};
use crate::event::{Failure, Judgement, Level};
use crate::form::about;
use crate::inventory::Cluster;
use crate::plan::{Plan, SCHEMA};
use crate::planner::{self, Planned};
use crate::remote::printable;
use crate::report::plan_text;
use crate::rollout::Caps;
use crate::ssh::{Limits, Network};
use crate::version::Version;
use crate::{files, rollout, run};

/// The file that `--out` writes.
#[derive(Debug, Serialize)]
struct PlanFile<'a> {
    schema: u32,
    made_at: Timestamp,
    fleet: &'static str,
    target: Version,
    clusters: &'a Plans,
}

/// What is said of each cluster.
pub(super) type Plans = BTreeMap<String, Said>;

/// What is said of one cluster.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Said {
    /// This is what to do. `held` says why the pre-flight would not let it begin.
    Plan { plan: Box<Plan>, verdicts: Vec<Judgement>, held: Option<Failure> },
    /// It is at the target.
    NothingToDo(Version),
    /// It cannot be taken there.
    Refused(Failure),
    /// It could not be asked.
    Unreachable(Failure),
}

/// Plans for the selected clusters.
pub(super) async fn run(cli: &Cli, args: &PlanArgs) -> Result<Exit, Trouble> {
    select::acknowledged(&args.ack)?;
    let (clusters, caps) = select::clusters_and_caps(cli, &args.select, args.parallel)?;
    let plans = consider(clusters, args.to, &args.ack, caps, cli.backups.clone()).await;
    if let Some(path) = &args.out {
        store(&plans, args.to, path)?;
    }
    match args.format.format {
        Format::Table => output::print(&text(&plans))?,
        Format::Json => output::print_json(&file(&plans, args.to))?,
    }
    Ok(exit(&plans))
}

/// Asks every cluster and plans for it.
pub(super) async fn consider(
    clusters: Vec<Cluster>,
    target: Version,
    acknowledged: &[String],
    caps: impl Into<Caps>,
    backups: PathBuf,
) -> Plans {
    let by_name: BTreeMap<String, Cluster> = clusters.iter().map(|c| (c.name.clone(), c.clone())).collect();
    let survey = rollout::survey(clusters, caps, backups, &Network::new(Limits::default())).await;
    let mut plans = Plans::new();
    for (name, facts) in survey {
        let one = match (facts, by_name.get(&name)) {
            (Ok(facts), Some(cluster)) => match planner::plan(&facts, cluster, target) {
                Planned::Plan(plan) => {
                    let verdicts = checks::judge_all(None, &facts, acknowledged);
                    let held = run::held_back(&verdicts);
                    Said::Plan { plan, verdicts, held }
                }
                Planned::NothingToDo(version) => Said::NothingToDo(version),
                Planned::Refusal(failure) => Said::Refused(failure),
            },
            (Err(failure), _) => Said::Unreachable(failure),
            (Ok(_), None) => continue,
        };
        plans.insert(name, one);
    }
    plans
}

/// Writes the plans to a file, whole or not at all.
pub(super) fn store(plans: &Plans, target: Version, path: &Path) -> Result<(), Trouble> {
    files::write_json(path, &file(plans, target))
        .map_err(|error| Trouble::internal(format!("cannot write {}: {error}", path.display())))
}

fn file(clusters: &Plans, target: Version) -> PlanFile<'_> {
    PlanFile { schema: SCHEMA, made_at: Timestamp::now(), fleet: env!("CARGO_PKG_VERSION"), target, clusters }
}

/// The plans for people, each in full.
pub(super) fn text(said: &Plans) -> String {
    let mut text = String::new();
    for (name, one) in said {
        // Writing to a String cannot fail.
        let _ = match one {
            Said::Plan { plan, verdicts, held } => {
                let count = |level| verdicts.iter().filter(|verdict| verdict.level == level).count();
                let checks = format!(
                    "  checks: {} pass, {} warn, {} block",
                    count(Level::Pass),
                    count(Level::Warn),
                    count(Level::Block)
                );
                let held = match held {
                    None => "would begin".to_owned(),
                    Some(failure) => format!("would be refused: {} (see {})", failure.message, failure.read),
                };
                writeln!(text, "{}\n{checks}; {held}\n", plan_text(plan))
            }
            Said::NothingToDo(version) => writeln!(text, "{name}: runs {version}; nothing to do\n"),
            Said::Refused(failure) => {
                writeln!(text, "{name}: refused: {}\n  see {}\n", printable(&failure.message), failure.read)
            }
            Said::Unreachable(failure) => {
                writeln!(
                    text,
                    "{name}: could not be asked: {}\n  see {}\n",
                    printable(&failure.message),
                    failure.read
                )
            }
        };
    }
    let count = |test: fn(&Said) -> bool| said.values().filter(|one| test(one)).count();
    let _ = writeln!(
        text,
        "{} to upgrade, {} with nothing to do, {} refused, {} not reached. Nothing was changed.",
        count(|one| matches!(one, Said::Plan { .. })),
        count(|one| matches!(one, Said::NothingToDo(_))),
        count(|one| matches!(one, Said::Refused(_))),
        count(|one| matches!(one, Said::Unreachable(_))),
    );
    text
}

/// The plans in one line a cluster.
pub(super) fn summary(said: &Plans) -> String {
    let width = said.keys().map(String::len).max().unwrap_or(0);
    let mut text = String::new();
    for (name, one) in said {
        let line = match one {
            Said::Plan { plan, held, .. } => format!(
                "{} -> {}, {} steps, about {}, of which about {} downtime{}",
                plan.from,
                plan.to,
                plan.steps.len(),
                about(plan.expected()),
                about(plan.downtime()),
                held.as_ref()
                    .map_or_else(String::new, |failure| format!("; would be refused: {}", failure.message))
            ),
            Said::NothingToDo(version) => format!("runs {version}; nothing to do"),
            Said::Refused(failure) => format!("refused: {}", failure.message),
            Said::Unreachable(failure) => format!("could not be asked: {}", failure.message),
        };
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{name:>width$}: {line}");
    }
    text
}

/// Trouble first: a cluster that cannot be asked or upgraded must not hide behind another's plan.
fn exit(said: &Plans) -> Exit {
    let any = |test: fn(&Said) -> bool| said.values().any(test);
    if any(|one| matches!(one, Said::Unreachable(_))) {
        Exit::Failed
    } else if any(|one| matches!(one, Said::Refused(_))) {
        Exit::Refused
    } else if any(|one| matches!(one, Said::Plan { .. })) {
        Exit::Changes
    } else {
        Exit::Done
    }
}
