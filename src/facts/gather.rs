//! Asking a cluster for everything: the door of this room to the world.
//!
//! Three round trips, since each costs the way to the host and back: what the host itself and the list of API groups tell; the objects
//! of those kinds that are there; and what needs names out of those (folders, pages, servers). Nothing is written on the host.

use std::io;
use std::path::Path;

use jiff::Timestamp;
use secrecy::zeroize::Zeroize;

use super::frames::{Answers, Frames};
use super::kubernetes::{Groups, List, ask_built_in, ask_flux, ask_groups};
use super::{Facts, Known, SCHEMA};
use super::{
    Installed, certificates, claims, clock, disks, flux, helm_2, helm_left, here, identity, k3s, login,
    memory,
};
use super::{
    nightly, nodes, os, overrides, packages, pods, reach, scripts, secrets, timers, tools, upgrades,
    variables, volumes, web,
};
use crate::inventory::{Cluster, Paths};
use crate::remote::{Remote, RemoteError};
use crate::version::Version;

/// Asks a cluster everything. A fact whose question fails, or whose answer cannot be read, says why; an error is a host that
/// could not be asked at all. `backups` is the backup root on this machine.
pub async fn gather<R: Remote>(remote: &R, cluster: &Cluster, backups: &Path) -> Result<Facts, RemoteError> {
    let mut facts = Facts {
        schema: SCHEMA,
        cluster: cluster.name.clone(),
        gathered_at: Timestamp::now(),
        here: here::look(backups).into(),
        pins: Known::Is(identity::Pins::from(cluster)),
        ..Facts::default()
    };
    let host = ask_host(remote, &cluster.paths, &mut facts).await?;
    let api = ask_api(remote, host.groups.as_ref()).await?;
    read_api(&api, &host, &mut facts);
    ask_names(remote, &cluster.paths, &host, &api, &mut facts).await?;
    facts.scripts = scripts::gather(cluster, &facts.installed()).await.into();
    Ok(facts)
}

/// What the first round trip told and only a later one completes.
struct Host {
    groups: Result<Groups, String>,
    machine_id: Result<String, String>,
    certificates: Result<String, String>,
}

async fn ask_host<R: Remote>(remote: &R, paths: &Paths, facts: &mut Facts) -> Result<Host, RemoteError> {
    let frames = Frames::new()
        .ask("clock", &clock::ask())
        .ask("os", &os::ask())
        .ask("memory", &memory::ask())
        .ask("login", &login::ask())
        .ask("tools", &tools::ask())
        .ask("packages", &packages::ask())
        .ask("timers", &timers::ask())
        .ask("k3s", &k3s::ask(paths))
        .ask("machine-id", &identity::ask())
        .ask("certificates", &certificates::ask(paths))
        .ask("groups", &ask_groups())
        .ask("clock-again", &clock::ask_again());
    let sent = Timestamp::now();
    let output = remote.ask(&frames.command(), &mut io::sink()).await?;
    let received = Timestamp::now();
    let answers = frames.answers(&output);
    facts.clock = answers
        .get("clock")
        .and_then(|first| clock::read(first, answers.get("clock-again")?, sent, received))
        .into();
    facts.os = answers.get("os").and_then(os::read).into();
    facts.memory = answers.get("memory").and_then(memory::read).into();
    facts.login = answers.get("login").and_then(login::read).into();
    facts.tools = answers.get("tools").and_then(tools::read).into();
    facts.packages = answers.get("packages").and_then(packages::read).into();
    facts.timers = answers.get("timers").and_then(timers::read).into();
    facts.k3s = answers.get("k3s").and_then(k3s::read).into();
    Ok(Host {
        groups: answers
            .get("groups")
            .and_then(Groups::read)
            .map_err(|why| format!("the Kubernetes API does not answer: {why}")),
        machine_id: answers.get("machine-id").map(str::to_owned),
        certificates: answers.get("certificates").map(str::to_owned),
    })
}

/// What the API told, each answer on its own: one that fails leaves the others.
struct Api {
    objects: Result<List, String>,
    flux: Result<List, String>,
    issued: Result<List, String>,
    maps: Result<List, String>,
    pending: Result<List, String>,
    secrets: Result<Vec<secrets::Secret>, String>,
    variables: Result<variables::Variables, String>,
}

async fn ask_api<R: Remote>(remote: &R, groups: Result<&Groups, &String>) -> Result<Api, RemoteError> {
    let groups = match groups {
        Ok(groups) => groups,
        Err(why) => return Ok(Api::away(why)),
    };
    let mut frames = Frames::new()
        .ask("objects", &ask_built_in())
        .ask("secrets", &secrets::ask())
        .ask("pending", &upgrades::ask())
        .ask("maps", &overrides::ask());
    let (flux, issued) = (ask_flux(groups), certificates::ask_cert_manager(groups));
    if let Some(ask) = &flux {
        frames = frames.ask("flux", ask);
    }
    if let Some(ask) = &issued {
        frames = frames.ask("issued", ask);
    }
    let mut output = remote.ask(&frames.command(), &mut io::sink()).await?;
    let answers = frames.answers(&output);
    let list = |name| answers.get(name).and_then(List::read);
    // A kind that is not served has no objects: that is known, not unknown.
    let served = |asked: bool, name| if asked { list(name) } else { Ok(List::default()) };
    let api = Api {
        objects: list("objects"),
        flux: served(flux.is_some(), "flux"),
        issued: served(issued.is_some(), "issued"),
        maps: list("maps"),
        pending: list("pending"),
        secrets: answers.get("secrets").and_then(secrets::read),
        variables: answers.get("secrets").and_then(variables::read),
    };
    output.stdout.zeroize();
    Ok(api)
}

impl Api {
    fn away(why: &str) -> Self {
        Self {
            objects: Err(why.to_owned()),
            flux: Err(why.to_owned()),
            issued: Err(why.to_owned()),
            maps: Err(why.to_owned()),
            pending: Err(why.to_owned()),
            secrets: Err(why.to_owned()),
            variables: Err(why.to_owned()),
        }
    }
}

/// The answer, or a copy of why there is none.
fn of<T>(answer: &Result<T, String>) -> Result<&T, String> {
    answer.as_ref().map_err(Clone::clone)
}

fn read_api(api: &Api, host: &Host, facts: &mut Facts) {
    let objects = || of(&api.objects);
    facts.nodes = objects().and_then(nodes::read).into();
    facts.identity = objects().and_then(|objects| identity::read(of(&host.machine_id)?, objects)).into();
    facts.flux = objects().and_then(|objects| flux::read(of(&api.flux)?, objects, of(&host.groups)?)).into();
    facts.claims = objects().and_then(claims::read).into();
    facts.secrets = api.secrets.clone().into();
    facts.variables = api.variables.clone().into();
    facts.overrides = of(&api.maps).and_then(|maps| Ok(overrides::read(maps, of(&api.secrets)?))).into();
    facts.helm_2 = of(&api.maps).map(helm_2::read).into();
    facts.nightly = objects().and_then(nightly::read).into();
    facts.pods = objects().and_then(pods::read).into();
    facts.upgrades = objects().and_then(|objects| upgrades::read(objects, of(&api.pending)?)).into();
    facts.certificates =
        of(&host.certificates).and_then(|own| certificates::read(own, of(&api.issued)?)).into();
}

async fn ask_names<R: Remote>(
    remote: &R,
    paths: &Paths,
    host: &Host,
    api: &Api,
    facts: &mut Facts,
) -> Result<(), RemoteError> {
    let volumes = of(&api.objects).and_then(volumes::read);
    let targets = match facts.flux.get() {
        Ok(flux) => Ok(reach::targets(&flux.sources)),
        Err(why) => Err(why.to_string()),
    };
    let pages = of(&api.objects).and_then(|objects| Ok((web::hosts(objects)?, web::address(objects)?)));

    let parents = volumes.as_deref().map(volumes::parents).unwrap_or_default();
    let mut frames = Frames::new().ask("disks", &disks::ask(paths, &parents));
    if let Ok(volumes) = &volumes {
        frames = frames.ask("volumes", &volumes::ask(volumes));
    }
    if let Ok(targets) = &targets {
        frames = frames.ask("reach", &reach::ask(targets));
    }
    if let Ok((hosts, address)) = &pages {
        frames = frames.ask("web", &web::ask(hosts, address));
    }
    // Only the rung that leaves 0.7 removes namespaces.
    let leaves = facts.installed() == Installed::Version(Version::V0_7);
    if let (true, Ok(groups)) = (leaves, &host.groups) {
        frames = frames.ask("helm-left", &helm_left::ask(groups));
    }
    let output = remote.ask(&frames.command(), &mut io::sink()).await?;
    let answers: Answers<'_> = frames.answers(&output);
    if leaves {
        let left = answers.get("helm-left").and_then(List::read);
        facts.helm_left = left.map(|left| helm_left::read(&left)).into();
    }

    facts.disks = answers.get("disks").and_then(disks::read).into();
    facts.volumes = volumes.and_then(|volumes| volumes::measure(volumes, answers.get("volumes")?)).into();
    facts.reach = targets.and_then(|targets| reach::read(&targets, answers.get("reach")?)).into();
    facts.web = pages.and_then(|(hosts, _)| web::read(&hosts, answers.get("web")?)).into();
    Ok(())
}

impl<T> From<Result<T, String>> for Known<T> {
    fn from(result: Result<T, String>) -> Self {
        match result {
            Ok(fact) => Self::Is(fact),
            Err(why) => Self::not(why),
        }
    }
}
