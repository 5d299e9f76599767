//! `fleet plan`: what an upgrade would do, exactly. Reads only.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;

use super::{Exit, Trouble, output, select, upgrade};
use crate::checks;
use crate::cli::{Cli, Format, PlanArgs};
use crate::event::Level;
use crate::facts::Facts;
use crate::form::{about, moment};
use crate::inventory::Cluster;
use crate::plan_file::{PlanFile, Plans, SCHEMA, Said};
use crate::planner::{self, Planned};
use crate::remote::{printable, quote};
use crate::report::{plan_text, with_places};
use crate::rollout::Caps;
use crate::ssh::{Limits, Network};
use crate::version::Version;
use crate::{rollout, run};

/// Plans for the selected clusters.
pub(super) async fn run(cli: &Cli, args: &PlanArgs) -> Result<Exit, Trouble> {
    select::acknowledged(&args.ack)?;
    if let Some(path) = args.out.as_deref().filter(|path| path.exists()) {
        return Err(there_already(path));
    }
    let (clusters, caps) = select::clusters_and_caps(cli, &args.select, args.parallel)?;
    let made_at = Timestamp::now();
    let agreed = select::agreed(&args.ack, args.accept_data_loss);
    let plans = consider(clusters, args.to, &agreed, caps, cli.backups.clone()).await;
    let file = file(plans, made_at, args.expires, args.to, agreed)?;
    if let Some(path) = &args.out {
        store(&file, path)?;
    }
    match args.format.format {
        Format::Table => {
            output::print(&text(&file.clusters))?;
            if let Some(path) = &args.out {
                output::print(&next(&file, path))?;
            }
        }
        Format::Json => output::print_json(&file.sealed()?)?,
    }
    Ok(exit(&file.clusters))
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
            (Ok(facts), Some(cluster)) => say(&facts, cluster, target, acknowledged),
            (Err(failure), _) => Said::Unreachable(failure),
            (Ok(_), None) => continue,
        };
        plans.insert(name, one);
    }
    plans
}

/// What is to be said of one cluster.
fn say(facts: &Facts, cluster: &Cluster, target: Version, acknowledged: &[String]) -> Said {
    let verdicts = checks::judge_all(None, facts, acknowledged);
    match planner::agreed(planner::plan(facts, cluster, target), acknowledged) {
        Planned::Plan(plan) => {
            let held = run::held_back(&verdicts);
            Said::Plan { plan, verdicts, held }
        }
        Planned::NothingToDo(version) => match run::unwell(&verdicts) {
            Some(failure) => Said::Unwell { version, failure },
            None => Said::NothingToDo(version),
        },
        Planned::Refusal(failure) => Said::Refused(failure),
    }
}

/// The plans as a file that can be carried out later.
pub(super) fn file(
    clusters: Plans,
    made_at: Timestamp,
    good_for: Duration,
    target: Version,
    acknowledged: Vec<String>,
) -> Result<PlanFile, Trouble> {
    Ok(PlanFile {
        schema: SCHEMA,
        made_at,
        expires_at: made_at.checked_add(good_for).map_err(Trouble::internal)?,
        by: upgrade::operator(),
        fleet: env!("CARGO_PKG_VERSION").to_owned(),
        typed: super::typed(),
        target,
        acknowledged,
        clusters,
    })
}

/// Writes the plans to a file that is not there yet, whole or not at all.
pub(super) fn store(file: &PlanFile, path: &Path) -> Result<(), Trouble> {
    file.store(path).map_err(|error| match error.kind() {
        std::io::ErrorKind::AlreadyExists => there_already(path),
        _ => Trouble::internal(format!("cannot write {}: {error}", path.display())),
    })
}

fn there_already(path: &Path) -> Trouble {
    Trouble::usage(format!(
        "--out {}: there is such a file already, and a plan is never written over; name another one",
        path.display()
    ))
}

/// How long the written plans are good, and the command that carries them out.
fn next(file: &PlanFile, path: &Path) -> String {
    let plans = file.clusters.values().filter(|said| matches!(said, Said::Plan { .. })).count();
    if plans == 0 {
        return format!("Written to {}; there is nothing in it to carry out.\n", path.display());
    }
    let until = moment(file.expires_at);
    let apply = format!("{} apply {}", with_places(&file.typed), quote(&path.display().to_string()));
    format!("Written to {}, good until {until}. To carry out exactly this:\n  {apply}\n", path.display())
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
            Said::Unwell { version, failure } => writeln!(
                text,
                "{name}: runs {version}, so an upgrade has nothing to do, but it is not well: {}\n  see {}\n",
                printable(&failure.message),
                failure.read
            ),
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
        "{} to upgrade, {} with nothing to do, {} not well, {} refused, {} not reached. Nothing was changed.",
        count(|one| matches!(one, Said::Plan { .. })),
        count(|one| matches!(one, Said::NothingToDo(_))),
        count(|one| matches!(one, Said::Unwell { .. })),
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
            Said::Unwell { version, failure } => {
                format!("runs {version}, but is not well: {}", failure.message)
            }
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
    if any(|one| matches!(one, Said::Unreachable(_) | Said::Unwell { .. })) {
        Exit::Failed
    } else if any(|one| matches!(one, Said::Refused(_))) {
        Exit::Refused
    } else if any(|one| matches!(one, Said::Plan { .. })) {
        Exit::Changes
    } else {
        Exit::Done
    }
}
