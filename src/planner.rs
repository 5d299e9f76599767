//! From facts to a plan. Pure and deterministic: the same facts always give the same plan.

use crate::backup;
use crate::event::Failure;
use crate::facts::identity::{Pins, Unlike};
use crate::facts::{Facts, Installed};
use crate::fingerprint;
use crate::inventory::Cluster;
use crate::migrations::{self, Migration};
use crate::plan::{Action, Ask, Claimed, Plan, SCHEMA, Step};
use crate::remote::quote;
use crate::version::Version;

mod onto;
mod truce;

pub use onto::onto;

/// What the planner says.
#[derive(Debug, Clone, PartialEq)]
pub enum Planned {
    /// This is what to do.
    Plan(Box<Plan>),
    /// The cluster is at the target already.
    NothingToDo(Version),
    /// The cluster cannot be taken to the target; why, and what to do instead.
    Refusal(Failure),
}

/// Plans the next rung for one cluster.
#[must_use]
pub fn plan(facts: &Facts, cluster: &Cluster, target: Version) -> Planned {
    if let Some(failure) = mistaken(facts, cluster) {
        return Planned::Refusal(failure);
    }
    let from = match facts.installed() {
        Installed::Version(version) => version,
        other => return Planned::Refusal(unclear(&other, cluster)),
    };
    if from == target {
        return Planned::NothingToDo(from);
    }
    if from > target {
        return refusal(
            "downgrade",
            format!("it runs {from}, later than {target}; going back is a restore, not an upgrade"),
        );
    }
    let rungs = match (migrations::rebuilt(from), migrations::route(from, target)) {
        // Beyond it goes another cluster.
        (Some(rung), _) => vec![rung],
        (None, Ok(rungs)) => rungs,
        (None, Err(gap)) => return Planned::Refusal(no_rung(gap, target)),
    };
    let Some((rung, rest)) = rungs.split_first() else { return Planned::NothingToDo(from) };
    let migrate = match climb(rung, facts, cluster) {
        Ok(steps) => steps,
        Err(why) => {
            return refusal("facts-missing", format!("the step to {} cannot be planned: {why}", rung.to));
        }
    };
    let held = truce::of(facts);
    let mut steps = vec![truce::hold(&held)];
    steps.extend(backup::steps(facts, cluster));
    steps.extend(migrate);
    steps.push(truce::give_back(held));
    Planned::Plan(Box::new(Plan {
        schema: SCHEMA,
        cluster: cluster.name.clone(),
        migration: rung.id.to_owned(),
        from,
        to: rung.to,
        apps: facts.apps(),
        steps,
        notes: (rung.notes)(facts),
        rest: rest.iter().map(|rung| rung.to).collect(),
        fingerprint: fingerprint::of(facts, cluster),
    }))
}

/// The steps of a rung of its own, as a plan made on this machine has them. `Err` says what is missing to make them exactly.
pub fn climb(rung: &Migration, facts: &Facts, cluster: &Cluster) -> Result<Vec<Step>, String> {
    Ok(addressed((rung.steps)(facts)?, cluster))
}

/// The word for data that is lost, as it stands in a run's record beside the acknowledged warnings: the flag without its dashes.
pub const ACCEPT_DATA_LOSS: &str = "accept-data-loss";

/// What was planned, or why it is refused: a rung that deletes data needs the operator's own word for it (guide row G12).
#[must_use]
pub fn agreed(planned: Planned, acknowledged: &[String]) -> Planned {
    match &planned {
        Planned::Plan(plan)
            if migrations::loses_data(&plan.migration)
                && !acknowledged.iter().any(|word| word == ACCEPT_DATA_LOSS) =>
        {
            let claims: Vec<String> = plan.steps.iter().flat_map(removed).map(ToString::to_string).collect();
            Planned::Refusal(
                Failure::new(
                    "data-loss",
                    format!(
                        "to get to {} everything on it is purged and installed anew, and what users have is in the backup alone until a person has put it \
                         back: {} claims ({}). If that is meant, add --{ACCEPT_DATA_LOSS}",
                        plan.to,
                        claims.len(),
                        claims.join(", ")
                    ),
                )
                .read("docs/rebuild.md#before-03"),
            )
        }
        _ => planned,
    }
}

/// The claims that a step deletes.
fn removed(step: &Step) -> &[Claimed] {
    match &step.action {
        Action::RemoveClaims(what) => &what.claims,
        _ => &[],
    }
}

/// Puts the cluster's directory into what a person is asked to type, where the inventory names one.
fn addressed(mut steps: Vec<Step>, cluster: &Cluster) -> Vec<Step> {
    let Some(directory) = &cluster.directory else { return steps };
    let directory = quote(&directory.to_string_lossy());
    for step in &mut steps {
        if let Action::Ask(ask) = &mut step.action {
            for line in &mut ask.lines {
                *line = line.replace(Ask::DIRECTORY, &directory);
            }
        }
    }
    steps
}

/// What is to be done where a plan was made before: that very plan, while the cluster is as it was then. `now` is what [`plan`] says of the
/// cluster for the version that the stored plan ends at.
#[must_use]
pub fn hold_to(stored: &Plan, now: Planned, facts: &Facts, cluster: &Cluster) -> Planned {
    if matches!(now, Planned::NothingToDo(_)) || mistaken(facts, cluster).is_some() {
        return now;
    }
    let would_be = if let Planned::Plan(plan) = &now { Some(&**plan) } else { None };
    match (fingerprint::outdated(stored, facts, cluster, would_be), now) {
        (Some(failure), _) | (None, Planned::Refusal(failure)) => Planned::Refusal(failure),
        (None, _) => Planned::Plan(Box::new(stored.clone())),
    }
}

/// Whether this is another cluster than the inventory means: what it pins must be what was found (promise M3). The host key was compared
/// before anything was asked.
#[must_use]
pub fn mistaken(facts: &Facts, cluster: &Cluster) -> Option<Failure> {
    not_meant(&Pins::from(cluster).unlike(facts), cluster)
}

/// Whether something else was found than the inventory pins. What cannot be told of a cluster that is not well makes it no other.
#[must_use]
pub fn another(facts: &Facts, cluster: &Cluster) -> Option<Failure> {
    let mut unlike = Pins::from(cluster).unlike(facts);
    unlike.retain(Unlike::is_found);
    not_meant(&unlike, cluster)
}

/// What of the inventory's pins could not be compared with what was found, for people; none where all of them could.
#[must_use]
pub fn untold(facts: &Facts, cluster: &Cluster) -> Option<String> {
    let mut unlike = Pins::from(cluster).unlike(facts);
    unlike.retain(|unlike| !unlike.is_found());
    let pins: Vec<String> = unlike.iter().map(|unlike| format!("pins {unlike}")).collect();
    (!pins.is_empty()).then(|| {
        format!(
            "not all by which the inventory ({}) knows it could be compared: it {}. Its host key is the right one",
            cluster.host.defined_at,
            pins.join("; it ")
        )
    })
}

fn not_meant(unlike: &[Unlike], cluster: &Cluster) -> Option<Failure> {
    if unlike.is_empty() {
        return None;
    }
    let pins: Vec<String> = unlike.iter().map(|unlike| format!("pins {unlike}")).collect();
    let message = format!(
        "this is not the cluster that the inventory ({}) means: of {} it {}. Either the address is another cluster's, or the inventory \
         is wrong; nothing is done until they agree",
        cluster.host.defined_at,
        cluster.login(),
        pins.join("; it ")
    );
    Some(Failure::new("identity-differs", message).read("docs/inventory.md#identity"))
}

fn refusal(cause: &str, message: String) -> Planned {
    Planned::Refusal(Failure::new(cause, message).read("docs/migrations.md#refusals"))
}

fn unclear(installed: &Installed, cluster: &Cluster) -> Failure {
    let (cause, message) = match installed {
        Installed::Mixed(reasons) => (
            "mixed-state",
            format!("it is between two versions, so no plan can be exact: {}", reasons.join("; ")),
        ),
        Installed::Development(branch) => (
            "development-branch",
            format!(
                "it follows branch {branch}, which is no release; set the source to a release branch first, \
                 or leave the cluster to its developers"
            ),
        ),
        Installed::Unknown(why) => ("version-unknown", format!("its version cannot be told: {why}")),
        Installed::Version(version) => ("version-unknown", version.to_string()),
    };
    let next = format!("; see `fleet facts --on {}`", cluster.name);
    Failure::new(cause, message + &next).read("docs/migrations.md#refusals")
}

fn no_rung(gap: Version, target: Version) -> Failure {
    let said = format!(
        "this fleet has no migration from {gap}, so it cannot go to {target}; from where it is now, {gap} is the highest it reaches"
    );
    Failure::new("no-rung", said).read("docs/migrations.md#refusals")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::Known;
    use crate::facts::identity::Identity;
    use crate::facts::variables::Variables;

    fn found(uid: &str, domain: &str) -> Facts {
        let identity =
            Identity { cluster_uid: uid.into(), machine_id: String::new(), namespaces: Vec::new() };
        let variables = Variables { domain: domain.into(), ..Variables::default() };
        Facts { identity: Known::Is(identity), variables: Known::Is(variables), ..Facts::default() }
    }

    fn pinned(uid: &str, domain: &str) -> Cluster {
        let cluster = Cluster::new("acme", "203.0.113.7");
        Cluster { cluster_uid: Some(uid.into()), domain: Some(domain.into()), ..cluster }
    }

    fn cause(facts: &Facts, cluster: &Cluster) -> String {
        match plan(facts, cluster, Version::V0_7) {
            Planned::Refusal(failure) => failure.cause,
            other => panic!("not refused: {other:?}"),
        }
    }

    #[test]
    fn another_cluster_than_the_inventory_means_is_refused() {
        let facts = found("c3a1", "acme.example.org");
        assert_eq!(cause(&facts, &pinned("ffff", "acme.example.org")), "identity-differs");
        assert_eq!(cause(&facts, &pinned("c3a1", "bikes.example.org")), "identity-differs");
        assert_eq!(cause(&Facts::default(), &pinned("c3a1", "acme.example.org")), "identity-differs");
    }

    #[test]
    fn what_cannot_be_told_makes_a_cluster_no_other_and_is_told() {
        let facts = found("c3a1", "");
        let (right, wrong) = (pinned("c3a1", "acme.example.org"), pinned("ffff", "acme.example.org"));
        assert_eq!(another(&facts, &right), None);
        let said = untold(&facts, &right).unwrap();
        assert!(
            said.contains("it pins domain acme.example.org, but there is none") && !said.contains("c3a1"),
            "{said}"
        );
        assert_eq!(another(&facts, &wrong).unwrap().cause, "identity-differs");
        assert!(
            untold(&Facts::default(), &right)
                .unwrap()
                .contains("pins cluster_uid c3a1, but it cannot be told")
        );
        assert_eq!(untold(&found("c3a1", "acme.example.org"), &right), None);
    }

    #[test]
    fn another_machine_alone_is_refused_and_so_is_one_that_does_not_say() {
        let cluster =
            |id: &str| Cluster { machine_id: Some(id.into()), ..pinned("c3a1", "acme.example.org") };
        let mut facts = found("c3a1", "acme.example.org");
        assert_eq!(cause(&facts, &cluster("4c1f")), "identity-differs");
        if let Known::Is(identity) = &mut facts.identity {
            identity.machine_id = "4C1F".into();
        }
        assert_eq!(cause(&facts, &cluster("4c1f")), "version-unknown");
        assert_eq!(cause(&facts, &cluster("4c1e")), "identity-differs");
    }

    #[test]
    fn a_stored_plan_of_a_host_with_another_key_is_stale_and_one_at_its_target_has_nothing_to_do() {
        let cluster = Cluster::new("acme", "203.0.113.7");
        let showing = |key: &str| Facts { host_key: Known::Is(key.into()), ..Facts::default() };
        let stored = Plan {
            schema: SCHEMA,
            cluster: "acme".into(),
            migration: "to-0.7".into(),
            from: Version::V0_6,
            to: Version::V0_7,
            apps: Vec::new(),
            steps: Vec::new(),
            notes: Vec::new(),
            rest: Vec::new(),
            fingerprint: fingerprint::of(&showing("SHA256:then"), &cluster),
        };
        let now = Planned::Plan(Box::new(stored.clone()));
        let held = |key: &str, now: &Planned| hold_to(&stored, now.clone(), &showing(key), &cluster);
        assert_eq!(held("SHA256:then", &now), now);
        let Planned::Refusal(stale) = held("SHA256:now", &now) else { panic!() };
        assert_eq!(stale.cause, "stale-plan");
        assert!(stale.message.ends_with(": host key: SHA256:then -> SHA256:now"), "{}", stale.message);
        let there = Planned::NothingToDo(Version::V0_7);
        assert_eq!(held("SHA256:now", &there), there);

        // Nothing has changed, and still it would be planned otherwise: then nobody knows which of the two is right.
        let mut other = stored.clone();
        other.steps = crate::backup::steps(&Facts::default(), &cluster);
        let Planned::Refusal(stale) = held("SHA256:then", &Planned::Plan(Box::new(other))) else { panic!() };
        assert!(
            stale.cause == "stale-plan" && stale.message.contains("the steps would be others"),
            "{stale:?}"
        );
    }

    #[test]
    fn the_cluster_that_is_meant_and_one_without_pins_go_on_to_the_version() {
        let facts = found("c3a1", "acme.example.org");
        assert_eq!(cause(&facts, &pinned("C3A1", "acme.example.org")), "version-unknown");
        assert_eq!(cause(&facts, &Cluster::new("acme", "203.0.113.7")), "version-unknown");
    }
}
