//! `fleet nextcloud`: the users of a cluster's Nextcloud, and their files given to who they are since 0.8 (guide row G7).

use std::io::Read as _;
use std::path::Path;

use super::visit::{confirmed, visit};
use super::{Exit, Trouble, output};
use crate::cli::{BudgetArgs, Cli, Format, NextcloudSub, SelectArgs, TransferArgs, VisitArgs};
use crate::event::Failure;
use crate::form::{count, meant};
use crate::inventory::{self, Cluster, Inventory};
use crate::remote::{RemoteError, printable};
use crate::report::screen::Look;
use crate::rollout::{Caps, Errand};
use crate::run::nextcloud::{Pair, Standing, Wanted, look, read, users, wanting};
use crate::ssh::{Limits, Network};

/// Bytes that a map may have: one of ten thousand users has half a million.
const LONGEST: u64 = 16 << 20;

/// Lists or transfers.
pub(super) async fn run(cli: &Cli, sub: &NextcloudSub) -> Result<Exit, Trouble> {
    match sub {
        NextcloudSub::Users { cluster, format } => show(cli, cluster, format.format).await,
        NextcloudSub::TransferFiles(args) => transfer(cli, args).await,
    }
}

async fn show(cli: &Cli, name: &str, format: Format) -> Result<Exit, Trouble> {
    let inventory = inventory::load(&cli.inventory).map_err(Trouble::usage)?;
    let cluster = find(&inventory, name)?;
    let session =
        Network::new(Limits::default()).connect(&cluster.host).await.map_err(|error| failed(name, &error))?;
    let answer = users(&session).await;
    session.close().await;
    let users = answer.map_err(|error| failed(name, &error))?.map_err(|failure| told(name, &failure))?;
    match format {
        Format::Json => output::print_json(&users)?,
        Format::Table => {
            let look = Look::of_stdout();
            let rows = users.iter().map(|(id, shown)| [printable(id), printable(shown)]);
            let table = look.table(["user", "name"], rows, &[0]);
            output::print(&look.finish(&format!("{table}\n")))?;
        }
    }
    Ok(Exit::Done)
}

async fn transfer(cli: &Cli, args: &TransferArgs) -> Result<Exit, Trouble> {
    let inventory = inventory::load(&cli.inventory).map_err(Trouble::usage)?;
    let name = args.cluster.as_str();
    let cluster = find(&inventory, name)?;
    let map = map(&args.map)?;
    let session =
        Network::new(Limits::default()).connect(&cluster.host).await.map_err(|error| failed(name, &error))?;
    let answer = look(&session, &map).await;
    session.close().await;
    let found = answer.map_err(|error| failed(name, &error))?.map_err(|failure| told(name, &failure))?;
    let shown = wanting(&found, args.again);
    match args.format.format {
        Format::Table => output::print(&render(&found, args.again))?,
        // What is done then has a report of its own.
        Format::Json if shown.is_empty() => output::print_json(&found)?,
        Format::Json => {}
    }
    let absent = found.iter().any(|(_, standing)| matches!(standing, Standing::NoUser(_)));
    let before = if absent { Exit::Failed } else { Exit::Done };
    if shown.is_empty() {
        return Ok(before);
    }
    if !args.yes {
        confirmed(&format!("Transfer the files of {} on {name}?", count(shown.len(), "user")))?;
    }
    let visited = VisitArgs {
        select: SelectArgs { on: vec![name.to_owned()], all: false, max_hosts: None },
        format: args.format.clone(),
        parallel: 1,
        budget: BudgetArgs { max_failures: None, max_unreachable: None },
    };
    let wanted = Wanted { map, shown, again: args.again, each: args.each };
    let clusters = (vec![cluster.clone()], Caps::of(&inventory, 1));
    let exit = visit(cli, &visited, clusters, Errand::Transfer(wanted)).await?;
    Ok(if exit == Exit::Done { before } else { exit })
}

fn find<'a>(inventory: &'a Inventory, name: &str) -> Result<&'a Cluster, Trouble> {
    inventory.clusters.get(name).ok_or_else(|| {
        let hint = match meant(name, inventory.clusters.keys().map(String::as_str)) {
            Some(near) => format!("did you mean {near}?"),
            None => "`fleet inventory show` lists what there is.".to_owned(),
        };
        Trouble::usage(format!("there is no cluster {name:?}; {hint} One cluster is named, no group"))
    })
}

fn map(file: &Path) -> Result<Vec<Pair>, Trouble> {
    let wrong =
        |why: &dyn std::fmt::Display| Trouble::usage(printable(&format!("{}: {why}", file.display())));
    let mut text = String::new();
    let opened = std::fs::File::open(file).map_err(|error| wrong(&error))?;
    opened.take(LONGEST).read_to_string(&mut text).map_err(|error| wrong(&error))?;
    read(file, &text).map_err(|why| Trouble::usage(printable(&why)))
}

fn failed(name: &str, error: &RemoteError) -> Trouble {
    Trouble::cluster(Exit::Failed, name, error)
}

fn told(name: &str, failure: &Failure) -> Trouble {
    Trouble::cluster(Exit::Failed, name, format!("{}. See {}", failure.message, failure.read))
}

fn render(found: &[(Pair, Standing)], again: bool) -> String {
    let line = |(Pair { old, new }, standing): &(Pair, Standing)| {
        let says = match standing {
            Standing::NoUser(name) => format!("not transferred: there is no user {name}"),
            Standing::Ready => "to be transferred".to_owned(),
            Standing::Transferred(to) if again => format!("to be transferred again (before: to {to})"),
            Standing::Begun(to) if again => format!("to be transferred again (begun before: to {to})"),
            Standing::Transferred(to) => format!("was transferred to {to} before; once more: --again"),
            Standing::Begun(to) => {
                format!(
                    "a transfer to {to} was begun, and its end is not known: look into {to}'s files, then --again"
                )
            }
        };
        printable(&format!("{old} -> {new}: {says}")) + "\n"
    };
    let todo = wanting(found, again).len();
    let lines: Vec<String> = found.iter().map(line).collect();
    let sum = format!("{} of {} to be transferred\n", todo, count(found.len(), "user"));
    Look::of_stdout().finish(&(lines.concat() + &sum))
}
