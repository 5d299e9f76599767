//! `fleet resume --from-hosts`: the run's folder is made anew from what the hosts keep, where the machine that had it is lost.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use super::{Trouble, output};
use crate::cli::{Cli, ResumeArgs};
use crate::event::Failure;
use crate::inventory::{Inventory, Selection};
use crate::remote::printable;
use crate::rollout::Caps;
use crate::rollout::handover::{Rebuilt, bring, known, rebuild};
use crate::spool::is_name;
use crate::ssh::{Limits, Network};
use crate::state::RunFolder;

/// Makes it, tells what came of it, and gives it, with the word whether each host that was asked and has a part in the run could tell it.
pub(super) async fn take_over(
    cli: &Cli,
    args: &ResumeArgs,
    inventory: &Inventory,
) -> Result<(RunFolder, bool), Trouble> {
    let selection = Selection { on: args.on.clone(), all: args.all, max_hosts: None };
    let clusters = selection.of(inventory).map_err(Trouble::usage)?;
    let (caps, network) =
        (Caps::of(inventory, args.work.parallel), Network::new(Limits::from(&args.work.network)));
    let id = if args.run == "last" {
        newest(&known(clusters.clone(), caps.clone(), &network).await)?
    } else if is_name(&args.run) {
        args.run.clone()
    } else {
        return Err(Trouble::usage(format!("{} is no run's id", printable(&args.run))));
    };
    let brought = bring(clusters, &id, caps, &Arc::clone(&network)).await;
    let rebuilt = rebuild(brought, &cli.runs, &cli.backups, super::typed())?
        .map_err(|failure| Trouble::usage(format!("run {id}: {}. See {}", failure.message, failure.read)))?;
    output::print(&told(&id, &rebuilt)?)?;
    let all = rebuilt.left_out.values().all(Option::is_none);
    Ok((rebuilt.folder, all))
}

/// The newest run that any of the hosts knows.
fn newest(known: &BTreeMap<String, Result<Vec<String>, Failure>>) -> Result<String, Trouble> {
    let newest = known.values().filter_map(|runs| runs.as_ref().ok()?.first()).max();
    newest.cloned().ok_or_else(|| {
        let mut said = "none of the hosts that were asked keeps a run".to_owned();
        for (name, runs) in known {
            if let Err(failure) = runs {
                // Writing to a string cannot fail.
                let _ = write!(said, "\n{name}: {}", failure.message);
            }
        }
        Trouble::usage(said)
    })
}

/// What was taken over, for people.
fn told(id: &str, rebuilt: &Rebuilt) -> Result<String, Trouble> {
    let run = rebuilt.folder.run()?;
    let place = rebuilt.folder.path().display();
    let (count, by) = (run.clusters.len(), printable(&run.by));
    let mut said = format!("run {id}, begun by {by}, from {count} of its hosts, is now in {place}\n");
    for name in &rebuilt.never_begun {
        let _ = writeln!(said, "  {name}: its host does not know the run, so it never came to it");
    }
    for (name, why) in &rebuilt.left_out {
        let name = printable(name);
        let why = why.as_ref().map_or_else(|| "not asked".to_owned(), |failure| failure.message.clone());
        let _ = writeln!(
            said,
            "  {name}: left out ({why}); later: fleet --runs ANOTHER-FOLDER resume {id} --from-hosts --on {name}"
        );
    }
    Ok(said)
}
