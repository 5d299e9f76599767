//! `fleet check`: the pre-flight alone.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::{Exit, Trouble, output, select};
use crate::checks;
use crate::cli::{CheckArgs, Cli, Format};
use crate::event::{Failure, Judgement, Level};
use crate::report::screen::Look;
use crate::rollout;
use crate::ssh::{Limits, Network};

/// What is said of each cluster.
type Verdicts = BTreeMap<String, Result<Vec<Judgement>, Failure>>;

/// Judges the checks of the selected clusters.
pub(super) async fn run(cli: &Cli, args: &CheckArgs) -> Result<Exit, Trouble> {
    select::acknowledged(&args.ack)?;
    let (clusters, caps) = select::clusters_and_caps(cli, &args.select, args.parallel)?;
    let facts = rollout::survey(clusters, caps, cli.backups.clone(), &Network::new(Limits::default())).await;
    let verdicts: Verdicts = facts
        .into_iter()
        .map(|(name, facts)| (name, facts.map(|facts| checks::judge_all(None, &facts, &args.ack))))
        .collect();
    match args.format.format {
        Format::Table => output::print(&text(&verdicts, Look::of_stdout()))?,
        Format::Json => output::print_json(&json(&verdicts))?,
    }
    Ok(worst(&verdicts))
}

fn json(verdicts: &Verdicts) -> serde_json::Value {
    verdicts
        .iter()
        .map(|(name, result)| {
            let value = match result {
                Ok(verdicts) => serde_json::json!({ "verdicts": verdicts }),
                Err(failure) => serde_json::json!({ "error": failure }),
            };
            (name.clone(), value)
        })
        .collect::<serde_json::Map<_, _>>()
        .into()
}

/// What did not pass, cluster by cluster; then one line of counts each.
fn text(verdicts: &Verdicts, look: Look) -> String {
    let mut rows = Vec::new();
    let mut counts = String::new();
    for (name, result) in verdicts {
        // Writing to a String cannot fail.
        let _ = match result {
            Err(failure) => {
                rows.push([
                    name.clone(),
                    "-".into(),
                    "not asked".into(),
                    failure.message.clone(),
                    failure.read.clone(),
                ]);
                writeln!(counts, "{name}: could not be asked")
            }
            Ok(verdicts) => {
                rows.extend(verdicts.iter().filter(|verdict| verdict.level != Level::Pass).map(|verdict| {
                    let level = if verdict.acknowledged { "warn (ack)" } else { verdict.level.as_str() };
                    let remedy = checks::find(&verdict.check).map_or("", |check| check.remedy);
                    [name.clone(), verdict.check.clone(), level.into(), verdict.said.clone(), remedy.into()]
                }));
                let count = |level| verdicts.iter().filter(|verdict| verdict.level == level).count();
                let (pass, warn, block) = (count(Level::Pass), count(Level::Warn), count(Level::Block));
                writeln!(counts, "{name}: {pass} pass, {warn} warn, {block} block")
            }
        };
    }
    if rows.is_empty() {
        return look.finish(&counts);
    }
    let head = ["cluster", "check", "verdict", "what was seen", "what to do"];
    look.finish(&format!("{}\n{counts}", look.table(head, rows.into_iter(), &[0, 1])))
}

/// The exit code by the worst verdict.
fn worst(verdicts: &Verdicts) -> Exit {
    let mut exit = Exit::Done;
    for result in verdicts.values() {
        let one = match result {
            Err(_) => Exit::Failed,
            Ok(verdicts) => verdicts
                .iter()
                .map(|verdict| match verdict.level {
                    Level::Block => Exit::Refused,
                    Level::Warn if !verdict.acknowledged => Exit::Warnings,
                    Level::Warn | Level::Pass => Exit::Done,
                })
                .max()
                .unwrap_or(Exit::Done),
        };
        exit = exit.max(one);
    }
    exit
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(level: Level, acknowledged: bool) -> Judgement {
        Judgement { check: "clock".into(), level, said: "seen".into(), acknowledged }
    }

    #[test]
    fn the_worst_verdict_is_the_exit_code() {
        let of = |list: Vec<Judgement>| worst(&BTreeMap::from([("acme".to_owned(), Ok(list))]));
        assert_eq!(of(vec![verdict(Level::Pass, false)]), Exit::Done);
        assert_eq!(of(vec![verdict(Level::Warn, true)]), Exit::Done);
        assert_eq!(of(vec![verdict(Level::Warn, false), verdict(Level::Pass, false)]), Exit::Warnings);
        assert_eq!(of(vec![verdict(Level::Block, false), verdict(Level::Warn, false)]), Exit::Refused);
        let unreachable = BTreeMap::from([("acme".to_owned(), Err(Failure::new("unreachable", "no route")))]);
        assert_eq!(worst(&unreachable), Exit::Failed);
    }
}
