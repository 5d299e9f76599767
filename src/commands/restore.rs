//! `fleet restore`: puts a backup back on the cluster of which it was made.

use std::io::{self, BufRead, IsTerminal as _, Write};
use std::path::Path;

use super::upgrade::{Wanted, begin_run, work};
use super::{Exit, Trouble, output};
use crate::backup::restore::{MIGRATION, Saved, plan};
use crate::backup::{Folder, of_cluster};
use crate::cli::{Cli, RestoreArgs};
use crate::files::write_json;
use crate::form::meant;
use crate::inventory::{self, Inventory};
use crate::report::plan_text;
use crate::rollout::{Budget, Caps};
use crate::ssh::Limits;

/// Does it, once the operator has said yes.
pub(super) async fn run(cli: &Cli, args: &RestoreArgs) -> Result<Exit, Trouble> {
    let inventory = inventory::load(&cli.inventory).map_err(Trouble::usage)?;
    let Some(cluster) = inventory.clusters.get(&args.to) else { return Err(unknown(&args.to, &inventory)) };
    let folder = find(&cli.backups, &cluster.name, &args.backup)?;
    let refused = |failure: crate::event::Failure| {
        let said = format!("{}: {}. See {}", folder.id(), failure.message, failure.read);
        Trouble::cluster(Exit::Refused, &cluster.name, said)
    };
    let saved = Saved::read(&folder).map_err(refused)?;
    let plan = plan(&saved, cluster, args.any_k3s).map_err(refused)?;
    output::print(&plan_text(&plan))?;
    if !args.yes && !agreed(&cluster.name)? {
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

/// The backup that was named.
fn find(root: &Path, cluster: &str, id: &str) -> Result<Folder, Trouble> {
    let all = of_cluster(root, cluster)?;
    let proven = |folder: &&Folder| matches!((folder.proof(), folder.manifest_hash()), (Ok(proof), Ok(hash)) if proof.manifest == hash);
    let found = match id {
        "last" => all.iter().rev().find(proven),
        id => all.iter().find(|folder| folder.id() == id),
    };
    found.cloned().ok_or_else(|| {
        Trouble::usage(format!(
            "{} has no backup {id} of {cluster}. Which there are: fleet backup list {cluster}",
            root.display()
        ))
    })
}

/// Whether the operator agrees to lose what was written since. One who cannot be asked has not.
fn agreed(cluster: &str) -> Result<bool, Trouble> {
    if !io::stdin().is_terminal() {
        return Err(Trouble::usage(
            "what was written on the cluster since the backup would be lost, and there is no terminal to ask on: say --yes",
        ));
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
