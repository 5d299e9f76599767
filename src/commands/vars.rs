//! `fleet vars`: the variables in a cluster's `.flux.env` against those in the cluster.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Read as _;

use secrecy::zeroize::Zeroizing;
use serde::Serialize;

use super::visit::{confirmed, visit};
use super::{Exit, Trouble, output, select};
use crate::cli::{Cli, Format, LookArgs, VarsApplyArgs, VarsSub};
use crate::event::Failure;
use crate::facts::identity;
use crate::flux_env::{self, Change, Values, changes, is_something};
use crate::form::count;
use crate::inventory::Cluster;
use crate::planner;
use crate::remote::{RemoteError, printable};
use crate::report::screen::Look;
use crate::rollout::{self, Errand};
use crate::run::vars::{self, Live, Wanted};
use crate::ssh::{Limits, Network};

mod convert;

/// Shows, applies or converts.
pub(super) async fn run(cli: &Cli, sub: &VarsSub) -> Result<Exit, Trouble> {
    match sub {
        VarsSub::Diff(args) => diff(cli, args).await,
        VarsSub::Apply(args) => apply(cli, args).await,
        VarsSub::Convert(args) => convert::run(args),
    }
}

/// What differs in one cluster.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Shown {
    Differs(Differs),
    Error(Failure),
}

#[derive(Debug, Serialize)]
struct Differs {
    secret: String,
    #[serde(skip)]
    hash: String,
    /// Keys that are not the same, and how. Never a value.
    variables: BTreeMap<String, Change>,
}

async fn diff(cli: &Cli, args: &LookArgs) -> Result<Exit, Trouble> {
    let clusters = select::clusters(cli, &args.select)?;
    let here = read_all(&clusters)?;
    let shown = look(clusters, args.parallel, &here).await;
    match args.format.format {
        Format::Json => output::print_json(&shown)?,
        Format::Table => output::print(&render(&shown))?,
    }
    let failed = shown.values().any(|shown| matches!(shown, Shown::Error(_)));
    let exit = if wanting(&shown).next().is_some() { Exit::Changes } else { Exit::Done };
    Ok(if failed { Exit::Failed } else { exit })
}

async fn apply(cli: &Cli, args: &VarsApplyArgs) -> Result<Exit, Trouble> {
    let (clusters, caps) = select::clusters_and_caps(cli, &args.visit.select, args.visit.parallel)?;
    let here = read_all(&clusters)?;
    let shown = look(clusters.clone(), args.visit.parallel, &here).await;
    if args.visit.format.format == Format::Table {
        output::print(&render(&shown))?;
    }
    let wanted: Vec<String> = wanting(&shown).map(|(name, _)| name.clone()).collect();
    let failed = shown.values().any(|shown| matches!(shown, Shown::Error(_)));
    if wanted.is_empty() {
        return Ok(if failed { Exit::Failed } else { Exit::Done });
    }
    if !args.yes {
        confirmed(&format!("Apply this to {} ({})?", count(wanted.len(), "cluster"), wanted.join(", ")))?;
    }
    let each = args.each;
    let mut todo: BTreeMap<String, Wanted> = BTreeMap::new();
    for (name, differs) in wanting(&shown) {
        let here = here.get(name).cloned().unwrap_or_default();
        todo.insert(name.clone(), Wanted { here, shown: differs.hash.clone(), each });
    }
    let clusters = clusters.into_iter().filter(|cluster| todo.contains_key(&cluster.name)).collect();
    let exit = visit(cli, &args.visit, (clusters, caps), Errand::Vars(todo)).await?;
    Ok(if failed && exit == Exit::Done { Exit::Failed } else { exit })
}

/// The clusters in which something is to be done.
fn wanting(shown: &BTreeMap<String, Shown>) -> impl Iterator<Item = (&String, &Differs)> {
    shown.iter().filter_map(|(name, shown)| match shown {
        Shown::Differs(differs) if is_something(&differs.variables) => Some((name, differs)),
        _ => None,
    })
}

/// The variables of all of them, before any is contacted.
fn read_all(clusters: &[Cluster]) -> Result<BTreeMap<String, Values>, Trouble> {
    let mut all = BTreeMap::new();
    let mut wrong = Vec::new();
    for cluster in clusters {
        match read_one(cluster) {
            Ok(values) => {
                all.insert(cluster.name.clone(), values);
            }
            Err(why) => wrong.push(printable(&why)),
        }
    }
    if wrong.is_empty() { Ok(all) } else { Err(Trouble::usage(wrong.join("\n"))) }
}

fn read_one(cluster: &Cluster) -> Result<Values, String> {
    let name = &cluster.name;
    let folder = cluster.directory.as_ref().ok_or_else(|| {
        format!(
            "{name} has no `directory` in the inventory: the folder clusters/{name} of the Stackspin checkout"
        )
    })?;
    let file = folder.join(flux_env::FILE);
    let wrong = |why: &dyn std::fmt::Display| format!("{}: {why}", file.display());
    let mut text = Zeroizing::new(Vec::new());
    let opened = std::fs::File::open(&file).map_err(|error| wrong(&error))?;
    opened.take(flux_env::LONGEST + 1).read_to_end(&mut text).map_err(|error| wrong(&error))?;
    if u64::try_from(text.len()).is_ok_and(|length| length <= flux_env::LONGEST) {
        flux_env::parse(&file, &text)
    } else {
        Err(wrong(&"it is larger than 1 MiB, which no Secret can hold"))
    }
}

async fn look(
    clusters: Vec<Cluster>,
    parallel: usize,
    here: &BTreeMap<String, Values>,
) -> BTreeMap<String, Shown> {
    let network = Network::new(Limits::default());
    let results = rollout::each(clusters, parallel, |cluster: Cluster| {
        let network = network.clone();
        async move {
            let session = network.connect(&cluster.host).await?;
            let seen = identity::meet(&session, &cluster).await;
            // Not even the difference to another cluster's variables is shown.
            let live = match seen.map(|facts| planner::mistaken(&facts, &cluster)) {
                Ok(None) => vars::look(&session)
                    .await
                    .map(|live| live.map_err(|why| Failure::new("no-variables", why))),
                Ok(Some(failure)) => Ok(Err(failure)),
                Err(error) => Err(error),
            };
            session.close().await;
            live
        }
    })
    .await;
    let none = Values::new();
    let shown = |name: &str, result| match result {
        Ok(Ok(Ok(live))) => differs(here.get(name).unwrap_or(&none), live),
        Ok(Ok(Err(failure))) => Shown::Error(failure),
        Ok(Err(error)) => unreachable(&error),
        Err(panic) => Shown::Error(Failure::new("fleet-fault", panic)),
    };
    results
        .into_iter()
        .map(|(name, result)| {
            let shown = shown(&name, result);
            (name, shown)
        })
        .collect()
}

fn differs(here: &Values, live: Live) -> Shown {
    Shown::Differs(Differs { variables: changes(here, &live.values), secret: live.name, hash: live.hash })
}

fn unreachable(error: &RemoteError) -> Shown {
    let failure = Failure::new(error.kind(), error.to_string());
    Shown::Error(failure.read("docs/ssh.md#errors-and-what-to-do"))
}

fn render(shown: &BTreeMap<String, Shown>) -> String {
    let mut text = String::new();
    for (name, shown) in shown {
        // Writing to a string cannot fail.
        let _ = match shown {
            Shown::Error(failure) => writeln!(text, "{name}: {}\n  see {}", failure.message, failure.read),
            Shown::Differs(Differs { secret, variables, .. }) => {
                let lines: Vec<String> = variables
                    .iter()
                    .map(|(key, change)| format!("  {} {change}\n", printable(key)))
                    .collect();
                let word = if is_something(variables) { "differs from" } else { "is as" };
                write!(text, "{name}: .flux.env {word} flux-system/{secret}\n{}", lines.concat())
            }
        };
    }
    Look::of_stdout().finish(&text)
}
