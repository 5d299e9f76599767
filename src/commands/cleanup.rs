//! `fleet cleanup 0.8`: what would be done is shown, confirmed, and done (guide row G7).

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::Serialize;

use super::visit::{confirmed, visit};
use super::{Exit, Trouble, output, select};
use crate::cli::{CleanupArgs, Cli, Format, Release};
use crate::event::Failure;
use crate::form::count;
use crate::inventory::Cluster;
use crate::remote::printable;
use crate::report::screen::Look;
use crate::rollout::{self, Caps, Errand};
use crate::run::cleanup::{GiveBack, Listing, Wish, look};
use crate::ssh::{Limits, Network};

/// What is said of one cluster.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Shown {
    Listing(Listing),
    Refused(Failure),
    Error(Failure),
}

/// Shows, asks, and cleans up.
pub(super) async fn run(cli: &Cli, args: &CleanupArgs) -> Result<Exit, Trouble> {
    select::acknowledged(&args.ack)?;
    let Release::V0_8 = args.release;
    let (clusters, caps) = select::clusters_and_caps(cli, &args.visit.select, args.visit.parallel)?;
    let (acknowledged, also) = (args.ack.clone(), args.also.clone());
    let wish = Wish { backups: cli.backups.clone(), acknowledged, also };
    let shown = survey(clusters.clone(), &caps, &wish).await;
    let listings: BTreeMap<String, Listing> = shown
        .iter()
        .filter_map(|(name, shown)| match shown {
            Shown::Listing(listing) if !listing.is_nothing() => Some((name.clone(), listing.clone())),
            _ => None,
        })
        .collect();
    match args.visit.format.format {
        Format::Table => output::print(&render(&shown))?,
        // What is done then has a report of its own.
        Format::Json if listings.is_empty() => output::print_json(&shown)?,
        Format::Json => {}
    }
    let before = worst(&shown);
    if listings.is_empty() {
        return Ok(before);
    }
    if !args.yes {
        let names: Vec<&str> = listings.keys().map(String::as_str).collect();
        confirmed(&format!("Do this to {} ({})?", count(names.len(), "cluster"), names.join(", ")))?;
    }
    let clusters = clusters.into_iter().filter(|cluster| listings.contains_key(&cluster.name)).collect();
    let exit = visit(cli, &args.visit, (clusters, caps), Errand::Cleanup(wish, listings)).await?;
    Ok(if exit == Exit::Done { before } else { exit })
}

async fn survey(clusters: Vec<Cluster>, caps: &Caps, wish: &Wish) -> BTreeMap<String, Shown> {
    let network = Network::new(Limits::default());
    let results = rollout::each(clusters, caps.clone(), |cluster: Cluster| {
        let (network, wish) = (network.clone(), wish.clone());
        async move {
            let session = network.connect(&cluster.host).await?;
            let looked = look(&session, &cluster, &wish).await;
            session.close().await;
            looked
        }
    })
    .await;
    let shown = |result| match result {
        Ok(Ok(Ok(listing))) => Shown::Listing(listing),
        Ok(Ok(Err(failure))) => Shown::Refused(failure),
        Ok(Err(error)) => {
            let error: crate::remote::RemoteError = error;
            let failure = Failure::new(error.kind(), error.to_string());
            Shown::Error(failure.read("docs/ssh.md#errors-and-what-to-do"))
        }
        Err(panic) => Shown::Error(Failure::new("fleet-fault", panic)),
    };
    results.into_iter().map(|(name, result)| (name, shown(result))).collect()
}

fn worst(shown: &BTreeMap<String, Shown>) -> Exit {
    let exit = |shown: &Shown| match shown {
        Shown::Listing(_) => Exit::Done,
        Shown::Refused(_) => Exit::Refused,
        Shown::Error(_) => Exit::Failed,
    };
    shown.values().map(exit).max().unwrap_or(Exit::Done)
}

fn render(shown: &BTreeMap<String, Shown>) -> String {
    let mut text = String::new();
    for (name, shown) in shown {
        // Writing to a string cannot fail.
        let _ = match shown {
            Shown::Refused(failure) => {
                writeln!(text, "{name}: refused. {}\n  see {}", failure.message, failure.read)
            }
            Shown::Error(failure) => writeln!(text, "{name}: {}\n  see {}", failure.message, failure.read),
            Shown::Listing(listing) => writeln!(text, "{name}: {}", told(listing)),
        };
    }
    Look::of_stdout().finish(&text)
}

fn told(listing: &Listing) -> String {
    let mut lines =
        vec![if listing.is_nothing() { "nothing to clean up".to_owned() } else { "to clean up".to_owned() }];
    let volume = |one: &GiveBack| {
        let GiveBack { volume, namespace, claim, policy } = one;
        let then = if policy == "Delete" { ": deleted claims then take their data along" } else { "" };
        format!("volume {volume} of {namespace}/{claim} gets policy {policy} back{then}")
    };
    lines.extend(listing.volumes.iter().map(volume));
    lines.extend(
        listing
            .objects
            .iter()
            .map(|object| format!("{object} is deleted ({}); a copy is kept here", object.kind)),
    );
    lines.extend(listing.kept.iter().cloned());
    lines.iter().map(|line| printable(line)).collect::<Vec<_>>().join("\n  ")
}
