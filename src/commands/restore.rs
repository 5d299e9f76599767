//! `fleet restore`: puts a backup back on the cluster of which it was made, or its volumes' data onto another.

use std::io::{self, BufRead, IsTerminal as _, Write};
use std::path::Path;

use super::upgrade::{Wanted, begin_run, work};
use super::{Exit, Trouble, output};
use crate::backup::restore::{MIGRATION, Saved, pairs, plan};
use crate::backup::{Folder, of_cluster, of_root};
use crate::cli::{Cli, RestoreArgs};
use crate::event::Failure;
use crate::facts::Facts;
use crate::files::write_json;
use crate::form::meant;
use crate::inventory::{self, Cluster, Inventory};
use crate::plan::Plan;
use crate::planner;
use crate::remote::{printable, quote};
use crate::report::{plan_text, with_places};
use crate::rollout::{self, Budget, Caps};
use crate::ssh::{Limits, Network};

/// Does it, once the operator has said yes.
pub(super) async fn run(cli: &Cli, args: &RestoreArgs) -> Result<Exit, Trouble> {
    let inventory = inventory::load(&cli.inventory).map_err(Trouble::usage)?;
    let Some(cluster) = inventory.clusters.get(&args.to) else { return Err(unknown(&args.to, &inventory)) };
    let folder = find(&cli.backups, &cluster.name, &args.backup)?;
    let saved = Saved::read(&folder).map_err(|failure| refused(&folder, cluster, &failure))?;
    let plan = if folder.cluster() == cluster.name {
        if let Some(flag) = map_flag(args) {
            return Err(Trouble::usage(format!(
                "{flag} is for a backup of another cluster; this one goes back whole onto {}, whose own it is",
                cluster.name
            )));
        }
        plan(&saved, cluster, args.any_k3s).map_err(|failure| refused(&folder, cluster, &failure))?
    } else {
        match onto(cli, args, &saved, &folder, cluster).await? {
            Some(plan) => plan,
            None => return Ok(Exit::Done),
        }
    };
    output::print(&plan_text(&plan))?;
    if !args.yes && !agreed(&cluster.name, folder.cluster())? {
        return Err(Trouble::refused("nothing was done"));
    }
    let names = vec![cluster.name.clone()];
    let (run, lock) = begin_run(&cli.runs, super::typed(), Some(plan.to), names, Vec::new(), None)?;
    write_json(&run.cluster(&cluster.name)?.rung(MIGRATION)?.join("plan.json"), &plan)?;
    let wanted = Wanted {
        clusters: vec![cluster.clone()],
        target: plan.to,
        acknowledged: Vec::new(),
        caps: Caps::of(&inventory, 1),
        budget: Budget::default(),
        limits: Limits::from(&args.network),
        runs: cli.runs.clone(),
        backups: cli.backups.clone(),
        typed: super::typed(),
        stored: None,
    };
    work(wanted, &run, &lock, None).await
}

fn unknown(name: &str, inventory: &Inventory) -> Trouble {
    let hint = meant(name, inventory.clusters.keys().map(String::as_str))
        .map_or_else(|| ".".to_owned(), |near| format!("; did you mean {near}?"));
    Trouble::usage(format!(
        "--to {name}: the inventory has no such cluster{hint} One cluster is named, no group"
    ))
}

fn refused(folder: &Folder, cluster: &Cluster, failure: &Failure) -> Trouble {
    let said = format!("{}: {}. See {}", folder.id(), failure.message, failure.read);
    Trouble::cluster(Exit::Refused, &cluster.name, said)
}

const fn map_flag(args: &RestoreArgs) -> Option<&'static str> {
    match (args.print_map, &args.map) {
        (true, _) => Some("--print-map"),
        (false, Some(_)) => Some("--map"),
        (false, None) => None,
    }
}

/// The plan for a backup of another cluster, made of what this one is now; none where only the map was wanted, which is printed.
async fn onto(
    cli: &Cli,
    args: &RestoreArgs,
    saved: &Saved,
    folder: &Folder,
    cluster: &Cluster,
) -> Result<Option<Plan>, Trouble> {
    let map = match &args.map {
        None => pairs::Map::new(),
        Some(path) => {
            let said =
                |why: &dyn std::fmt::Display| Trouble::usage(format!("--map {}: {why}", path.display()));
            let text = std::fs::read_to_string(path).map_err(|error| said(&error))?;
            pairs::read_map(&text).map_err(|why| said(&printable(&why)))?
        }
    };
    let facts = ask_cluster(cli, args, cluster).await?;
    let live = pairs::live(&facts).map_err(|failure| refused(folder, cluster, &failure))?;
    let rows = pairs::rows(saved, &live);
    if args.print_map {
        output::print(&pairs::text(&rows, &live, folder.cluster(), &cluster.name))?;
        return Ok(None);
    }
    let settled = pairs::settle(saved, &rows, &live, &map);
    let settled = settled.map_err(|failure| {
        let (fleet, name) = (with_places(&super::typed()), quote(&cluster.name));
        let backup = quote(&format!("{}/{}", folder.cluster(), folder.id()));
        let next = format!(
            "{}. Write down where each goes: {fleet} restore {backup} --to {name} --print-map > map.toml; then the same with --map map.toml",
            failure.message
        );
        refused(folder, cluster, &Failure { message: next, ..failure })
    })?;
    planner::onto(saved, &facts, cluster, settled)
        .map(Some)
        .map_err(|failure| refused(folder, cluster, &failure))
}

async fn ask_cluster(cli: &Cli, args: &RestoreArgs, cluster: &Cluster) -> Result<Facts, Trouble> {
    let network = Network::new(Limits::from(&args.network));
    let mut survey = rollout::survey(vec![cluster.clone()], 1, cli.backups.clone(), &network).await;
    match survey.remove(&cluster.name) {
        Some(Ok(facts)) => Ok(facts),
        Some(Err(failure)) => {
            let said = format!("{}. See {}", failure.message, failure.read);
            Err(Trouble::cluster(Exit::Failed, &cluster.name, said))
        }
        None => Err(Trouble::internal(format!("nobody has asked {}", cluster.name))),
    }
}

/// The backup that was named: `CLUSTER/ID`, or the id of one of the cluster that it goes to. That of another is never meant unless it is said.
fn find(root: &Path, cluster: &str, named: &str) -> Result<Folder, Trouble> {
    let (of, id) = named.split_once('/').unwrap_or((cluster, named));
    let mut all = of_cluster(root, of)?;
    let found = match id {
        "last" => all.into_iter().rfind(is_proven),
        id => all.iter().position(|folder| folder.id() == id).map(|at| all.swap_remove(at)),
    };
    if let Some(found) = found {
        return Ok(found);
    }
    let others = of_root(root)?.into_iter().filter(|other| other != of);
    let theirs: Vec<String> = others
        .filter(|other| of_cluster(root, other).is_ok_and(|all| all.iter().any(|one| one.id() == id)))
        .map(|other| format!("{other}/{id}"))
        .collect();
    let hint = if theirs.is_empty() { String::new() } else { format!("; there is {}", theirs.join(", ")) };
    Err(Trouble::usage(format!(
        "{} has no backup {id} of {of}{hint}. Which there are: fleet backup list {}",
        root.display(),
        quote(of)
    )))
}

fn is_proven(folder: &Folder) -> bool {
    matches!((folder.proof(), folder.manifest_hash()), (Ok(proof), Ok(hash)) if proof.manifest == hash)
}

/// Whether the operator agrees that what was written since, or what is on the other cluster, is taken away. One who cannot be asked has not.
fn agreed(cluster: &str, of: &str) -> Result<bool, Trouble> {
    if !io::stdin().is_terminal() {
        let lost = if cluster == of {
            "what was written on the cluster since the backup would be lost".to_owned()
        } else {
            format!("what is in those volumes of {cluster} would be put aside")
        };
        return Err(Trouble::usage(format!("{lost}, and there is no terminal to ask on: say --yes")));
    }
    ask(cluster, &mut io::stdin().lock(), &mut io::stderr()).map_err(Trouble::from)
}

fn ask(cluster: &str, input: &mut impl BufRead, output: &mut impl Write) -> io::Result<bool> {
    write!(output, "Type the cluster's name to put the backup back: ")?;
    output.flush()?;
    let mut line = String::new();
    input.read_line(&mut line)?;
    Ok(line.trim() == cluster)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_clusters_own_name_is_a_yes() {
        let answer = |text: &str| ask("acme", &mut text.as_bytes(), &mut Vec::new()).unwrap();
        assert!(answer("acme\n"));
        assert!(!answer("yes\n") && !answer("\n") && !answer(""));
    }
}
