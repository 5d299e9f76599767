//! `fleet trust`: learn by what hosts are known, have a person confirm it, write it down.
//!
//! Nothing is changed on a host. A jump host comes before those behind it: they cannot be asked until it is trusted.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::io::IsTerminal as _;
use std::sync::Arc;

use futures::StreamExt as _;

use super::{Exit, Trouble, output};
use crate::cli::{Cli, Format, TrustArgs};
use crate::facts::Facts;
use crate::facts::identity;
use crate::inventory::{self, Cluster, Host, Inventory, Selection};
use crate::remote::RemoteError;
use crate::report::screen::Look;
use crate::ssh::{Limits, Network, ShownKey};
use ask::Waiting;
use record::{Ledger, Line};
use standing::{Standing, Word};

mod ask;
mod record;
mod show;
mod standing;

/// A host that is to be trusted.
#[derive(Debug, Clone)]
struct Candidate {
    host: Host,
    /// The cluster whose SSH end it is; a jump host has none.
    cluster: Option<Cluster>,
    /// What `--on` calls it: for a jump host, a cluster behind it.
    on: String,
}

/// A candidate, and the keys that it has shown.
#[derive(Debug)]
struct Met {
    candidate: Candidate,
    keys: Result<Vec<ShownKey>, RemoteError>,
}

/// Looks at the selected clusters' hosts, and records what is confirmed.
pub(super) async fn run(cli: &Cli, args: &TrustArgs) -> Result<Exit, Trouble> {
    let writing = !args.confirm.is_empty() || args.replace || args.only_keys || args.known_hosts.is_some();
    if args.format.format == Format::Json && writing {
        return Err(Trouble::usage(
            "--format json shows the keys and writes nothing: leave out --confirm, --replace, --known-hosts and --only-keys",
        ));
    }
    let inventory = inventory::load(&cli.inventory).map_err(Trouble::usage)?;
    let clusters = Selection::from(&args.select).of(&inventory).map_err(Trouble::usage)?;
    let network = Network::new(Limits::default());
    let levels = levels(clusters);
    if args.format.format == Format::Json {
        let met = scan(&network, levels.into_iter().flatten().collect(), args.parallel).await;
        output::print_json(&show::document(&met))?;
        return Ok(show::exit(&met));
    }
    trust(&inventory, levels, &network, args).await
}

/// The hosts by the number of jump hosts on the way to each, those that are reached directly first.
fn levels(clusters: Vec<Cluster>) -> Vec<Vec<Candidate>> {
    let mut jumps: BTreeMap<String, Candidate> = BTreeMap::new();
    for cluster in &clusters {
        for host in cluster.host.way() {
            let jump = || Candidate { host: host.clone(), cluster: None, on: cluster.name.clone() };
            jumps.entry(host.name.clone()).or_insert_with(jump);
        }
    }
    let ends = clusters.into_iter().map(|cluster| Candidate {
        host: cluster.host.clone(),
        on: cluster.name.clone(),
        cluster: Some(cluster),
    });
    let mut levels: BTreeMap<usize, Vec<Candidate>> = BTreeMap::new();
    for candidate in jumps.into_values().chain(ends) {
        let depth = candidate.host.way().count();
        levels.entry(depth).or_default().push(candidate);
    }
    levels.into_values().collect()
}

/// Asks the hosts for their keys, in the order given.
async fn scan(network: &Arc<Network>, candidates: Vec<Candidate>, parallel: usize) -> Vec<Met> {
    let look = |candidate: Candidate| async move {
        let keys = network.scan(&candidate.host).await;
        Met { candidate, keys }
    };
    futures::stream::iter(candidates).map(look).buffered(parallel.max(1)).collect().await
}

/// Level by level: look, show, have confirmed, log in, write, tell.
async fn trust(
    inventory: &Inventory,
    levels: Vec<Vec<Candidate>>,
    network: &Arc<Network>,
    args: &TrustArgs,
) -> Result<Exit, Trouble> {
    let look = Look::of_stdout();
    let mut ledger = Ledger::new(inventory, args);
    let mut lines: Vec<Line> = Vec::new();
    let mut trusted: BTreeMap<String, Arc<Host>> = BTreeMap::new();
    let mut shown: BTreeSet<String> = BTreeSet::new();
    for level in levels {
        let before = lines.len();
        let mut reachable = Vec::new();
        for candidate in level {
            match through(&candidate.host, &trusted) {
                Ok(host) => reachable.push(Candidate { host, ..candidate }),
                Err(why) => lines.push(Line::refused(&candidate.host.name, why)),
            }
        }
        let met = scan(network, reachable, args.parallel).await;
        if !met.is_empty() {
            output::print(&format!("{}\n", show::table(&met, look)))?;
        }
        shown.extend(met.iter().flat_map(|met| met.keys.iter().flatten()).map(|key| key.fingerprint.clone()));
        let word = word(&met, args).await?;
        let (confirmed, refused) = ledger.confirm(met, &word);
        let jumps = confirmed.iter().filter(|confirmed| confirmed.candidate.cluster.is_none());
        trusted.extend(jumps.map(|jump| (jump.candidate.host.name.clone(), Arc::new(jump.host()))));
        let found = meet(network, confirmed, args).await;
        lines.extend(found.into_iter().map(|found| ledger.settle(found)));
        // What is not well stands last, where it is seen.
        lines.extend(refused);
        output::print(&show::told(&lines[before..], look))?;
    }
    let unseen: Vec<&str> =
        args.confirm.iter().filter(|confirmed| !shown.contains(*confirmed)).map(String::as_str).collect();
    let mut exit = lines.iter().map(|line| line.exit).max().unwrap_or(Exit::Done);
    if !unseen.is_empty() {
        exit = exit.max(Exit::Refused);
    }
    output::print(&show::sum(&lines, &unseen, look))?;
    Ok(exit)
}

/// The host as it is reached through jump hosts that are trusted by now; why it cannot be, where one is not.
fn through(host: &Host, trusted: &BTreeMap<String, Arc<Host>>) -> Result<Host, String> {
    let Some(jump) = &host.jump else { return Ok(host.clone()) };
    match trusted.get(&jump.name) {
        Some(jump) => Ok(Host { jump: Some(Arc::clone(jump)), ..host.clone() }),
        None => {
            Err(format!("its jump host {} is not trusted, and nothing is asked through that one", jump.name))
        }
    }
}

/// What the operator confirms: on the command line, or else at the terminal.
async fn word(met: &[Met], args: &TrustArgs) -> Result<Word, Trouble> {
    let word = Word { all_new: false, fingerprints: args.confirm.clone() };
    let terminal = io::stdin().is_terminal() && io::stdout().is_terminal();
    if !args.confirm.is_empty() || !terminal {
        return Ok(word);
    }
    let mut waiting = Vec::new();
    for met in met {
        let Ok(keys) = &met.keys else { continue };
        let standing = Standing::of(keys);
        if standing == Standing::New || (standing == Standing::Changed && args.replace) {
            waiting.push(Waiting { name: met.candidate.host.name.clone(), keys: keys.clone() });
        }
    }
    // Typing blocks for as long as a person looks things up; nothing is connected meanwhile.
    tokio::task::spawn_blocking(move || ask::ask(waiting, &mut io::stdin().lock(), &mut io::stdout()))
        .await
        .map_err(Trouble::internal)?
        .map_err(|error| Trouble::internal(format!("the terminal fails: {error}")))
}

/// A candidate whose key may be believed.
#[derive(Debug)]
struct Confirmed {
    candidate: Candidate,
    /// The key, where it is not recorded yet.
    key: Option<ShownKey>,
    /// Whether the operator named a fingerprint of this very host.
    named: bool,
}

impl Confirmed {
    /// The host, believed.
    fn host(&self) -> Host {
        let mut host = self.candidate.host.clone();
        host.host_key = self.key.as_ref().map(|key| key.openssh.clone()).or(host.host_key);
        host
    }
}

/// The same, with what the cluster says of itself; `None` where it was not to be asked.
#[derive(Debug)]
struct Found {
    confirmed: Confirmed,
    facts: Option<Result<Facts, RemoteError>>,
}

/// Logs in where that is wanted, and asks each cluster who it is.
async fn meet(network: &Arc<Network>, confirmed: Vec<Confirmed>, args: &TrustArgs) -> Vec<Found> {
    let one = |confirmed: Confirmed| async move {
        let facts = match &confirmed.candidate.cluster {
            Some(cluster) if !args.only_keys => Some(ask_cluster(network, &confirmed.host(), cluster).await),
            _ => None,
        };
        Found { confirmed, facts }
    };
    futures::stream::iter(confirmed).map(one).buffered(args.parallel.max(1)).collect().await
}

async fn ask_cluster(network: &Arc<Network>, host: &Host, cluster: &Cluster) -> Result<Facts, RemoteError> {
    let session = network.connect(host).await?;
    let facts = identity::meet(&session, cluster).await;
    session.close().await;
    facts
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `near` is reached directly, `far` through it, both clusters through `far` or not at all.
    fn hosts() -> Vec<Cluster> {
        let near = Arc::new(Host::new("near", "203.0.113.1"));
        let far = Arc::new(Host { jump: Some(near), ..Host::new("far", "203.0.113.2") });
        let mut clusters = vec![Cluster::new("acme", "10.0.0.1"), Cluster::new("oak", "203.0.113.3")];
        clusters.push(Cluster::new("pine", "10.0.0.2"));
        for index in [0, 2] {
            clusters[index].host.jump = Some(Arc::clone(&far));
        }
        clusters
    }

    #[test]
    fn jump_hosts_come_once_and_before_those_behind_them() {
        let names: Vec<Vec<String>> = levels(hosts())
            .into_iter()
            .map(|level| level.into_iter().map(|candidate| candidate.host.name).collect())
            .collect();
        assert_eq!(names, [vec!["near", "oak"], vec!["far"], vec!["acme", "pine"]]);
    }

    #[test]
    fn a_host_is_reached_through_the_confirmed_key_of_its_jump_host_or_not_at_all() {
        let acme = hosts().remove(0).host;
        let mut trusted = BTreeMap::new();
        let why = through(&acme, &trusted).unwrap_err();
        assert!(why.contains("jump host far is not trusted"), "{why}");
        let far = Host { host_key: Some("ssh-ed25519 AAAA".into()), ..Host::new("far", "203.0.113.2") };
        trusted.insert("far".to_owned(), Arc::new(far));
        let jump = through(&acme, &trusted).unwrap().jump.unwrap();
        assert_eq!(jump.host_key.as_deref(), Some("ssh-ed25519 AAAA"));
    }
}
