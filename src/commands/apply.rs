//! `fleet apply`: exactly what `fleet plan --out` wrote, on the clusters that are still as they were then.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use jiff::Timestamp;

use super::upgrade::{Stored, Wanted, upgrade};
use super::{Exit, Trouble, output, select};
use crate::cli::{ApplyArgs, Cli};
use crate::event::Failure;
use crate::inventory::{self, Inventory, Selection};
use crate::plan_file::{self, PlanFile, Said, Unfit};
use crate::remote::{printable, quote};
use crate::rollout::{Budget, Caps};
use crate::ssh::Limits;
use crate::state::PlanUsed;
use crate::{fingerprint, form};

/// How many clusters that are left out are named.
const NAMED: usize = 8;

/// Carries a plan file out.
pub(super) async fn run(cli: &Cli, args: &ApplyArgs) -> Result<Exit, Trouble> {
    select::acknowledged(&args.ack)?;
    let (file, checksum) = plan_file::load(&args.plan).map_err(|unfit| refuse(&unfit, None))?;
    file.is_good_at(Timestamp::now()).map_err(|unfit| refuse(&unfit, Some(&file)))?;
    let inventory = inventory::load(&cli.inventory).map_err(Trouble::usage)?;
    let chosen = choose(&file, &inventory, &args.on)?;
    output::print(&left_out(&chosen.left_out))?;
    if chosen.plans.is_empty() && chosen.refused.is_empty() {
        output::print("There is nothing to carry out.\n")?;
        return Ok(Exit::Done);
    }
    let clusters = chosen.plans.keys().filter_map(|name| inventory.clusters.get(name).cloned()).collect();
    let used = PlanUsed { file: args.plan.display().to_string(), checksum };
    let (_, exit) = upgrade(Wanted {
        clusters,
        target: file.target,
        acknowledged: file.acknowledged.iter().chain(&args.ack).cloned().collect(),
        caps: Caps::of(&inventory, args.work.parallel),
        budget: Budget::from(&args.work.budget),
        limits: Limits::from(&args.work.network),
        runs: cli.runs.clone(),
        backups: cli.backups.clone(),
        typed: super::typed(),
        stored: Some(Stored { file, used, plans: chosen.plans, refused: chosen.refused }),
    })
    .await?;
    Ok(exit)
}

/// What becomes of the clusters of a plan file before any of them is contacted.
#[derive(Debug, Default)]
struct Chosen {
    plans: BTreeMap<String, crate::plan::Plan>,
    refused: BTreeMap<String, Failure>,
    /// With the reason.
    left_out: BTreeMap<String, &'static str>,
}

fn choose(file: &PlanFile, inventory: &Inventory, on: &[String]) -> Result<Chosen, Trouble> {
    // Without a term that takes clusters, all of the plan are meant.
    let all = on.iter().all(|term| term.trim().starts_with('!'));
    let selection = Selection { on: on.to_vec(), all, max_hosts: None };
    let selected = selection.of(inventory).map_err(Trouble::usage)?;
    let selected: BTreeSet<&str> = selected.iter().map(|cluster| cluster.name.as_str()).collect();
    let mut chosen = Chosen::default();
    for (name, said) in &file.clusters {
        let known = inventory.clusters.get(name);
        if !selected.contains(name.as_str()) && (known.is_some() || !all) {
            continue;
        }
        let plan = match said {
            Said::Plan { plan, .. } => plan,
            Said::NothingToDo(_) => {
                chosen.left_out.insert(name.clone(), "nothing to do");
                continue;
            }
            Said::Unwell { .. } => {
                chosen.left_out.insert(name.clone(), "not well");
                continue;
            }
            Said::Refused(_) => {
                chosen.left_out.insert(name.clone(), "refused");
                continue;
            }
            Said::Unreachable(_) => {
                chosen.left_out.insert(name.clone(), "not reached");
                continue;
            }
        };
        let failure = match known {
            None => Some(unknown(name)),
            Some(cluster) => fingerprint::readdressed(plan, cluster),
        };
        match failure {
            Some(failure) => chosen.refused.insert(name.clone(), failure).map(drop),
            None => chosen.plans.insert(name.clone(), (**plan).clone()).map(drop),
        };
    }
    if !all {
        let strange = selected.into_iter().filter(|name| !file.clusters.contains_key(*name));
        chosen.left_out.extend(strange.map(|name| (name.to_owned(), "not in the plan file")));
        if chosen.plans.is_empty() && chosen.refused.is_empty() {
            return Err(Trouble::usage(format!(
                "nothing of the plan is meant by --on '{}'; {}",
                printable(&on.join(",")),
                left_out(&chosen.left_out)
            )));
        }
    }
    Ok(chosen)
}

fn unknown(name: &str) -> Failure {
    let message = format!("the inventory has no cluster {} any more", printable(name));
    Failure::new("not-in-inventory", message).read("docs/plans.md#stale-plans")
}

/// The clusters that nothing is carried out on.
fn left_out(clusters: &BTreeMap<String, &'static str>) -> String {
    if clusters.is_empty() {
        return String::new();
    }
    let named: Vec<String> =
        clusters.iter().take(NAMED).map(|(name, why)| format!("{name} ({why})")).collect();
    let more = clusters.len().saturating_sub(NAMED);
    let more = if more == 0 { String::new() } else { format!(" and {more} more") };
    printable(&format!("without a plan, and left alone: {}{more}", named.join(", "))) + "\n"
}

/// Why nothing is carried out, and what to type next.
fn refuse(unfit: &Unfit, file: Option<&PlanFile>) -> Trouble {
    let next = match file {
        Some(file) => format!("make a new plan:\n  {}", plan_again(file)),
        None => "make a new plan with `fleet plan … --out FILE`".to_owned(),
    };
    let why = printable(&unfit.to_string());
    match unfit {
        Unfit::Unread(..) => Trouble::usage(why),
        Unfit::NotYetMade(..) => Trouble::refused(format!(
            "{why}. Nothing was contacted. Look at `date -u` on both machines; if this one is right, {next}"
        )),
        _ => Trouble::refused(format!("{why}. Nothing was contacted; {next}")),
    }
}

/// The command that made the plan, with another file.
fn plan_again(file: &PlanFile) -> String {
    let mut again = vec!["fleet".to_owned()];
    let mut words = file.typed.iter().skip(1);
    while let Some(word) = words.next() {
        match word.as_str() {
            "--out" | "-o" => drop(words.next()),
            word if word.starts_with("--out=") || (word.starts_with("-o") && !word.starts_with("--")) => {}
            word => again.push(quote(&printable(word))),
        }
    }
    let new = format!("plan-{}.json", form::id(Timestamp::now()));
    again.extend(["--out".to_owned(), quote(&Path::new(&new).display().to_string())]);
    again.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::version::Version;

    #[test]
    fn a_new_plan_is_made_by_the_same_command_into_another_file() {
        let typed =
            ["/usr/bin/fleet", "-i", "my fleet", "plan", "--all", "-o", "a.json", "--out=b", "--to", "0.7"];
        let file = PlanFile {
            schema: plan_file::SCHEMA,
            made_at: Timestamp::UNIX_EPOCH,
            expires_at: Timestamp::UNIX_EPOCH,
            by: String::new(),
            fleet: String::new(),
            typed: typed.map(str::to_owned).to_vec(),
            target: Version::V0_7,
            acknowledged: Vec::new(),
            clusters: BTreeMap::new(),
        };
        let again = plan_again(&file);
        assert!(again.starts_with("fleet -i 'my fleet' plan --all --to 0.7 --out plan-"), "{again}");
    }
}
