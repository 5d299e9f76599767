//! Facts in, plan out: `tests/plans/<case>/facts.json` and the plan, refusal or nothing beside it in `plan.txt`.
//!
//! `FLEET_BLESS=1 cargo test --test plans` writes the expected files anew; read the difference before committing it.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test ends where what it stands on is wrong"
)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use fleet::facts::nightly::Does;
use fleet::facts::{Facts, Known};
use fleet::fingerprint;
use fleet::inventory::Cluster;
use fleet::plan::{Action, Class, Objects, Plan};
use fleet::planner::{self, Planned};
use fleet::report::plan_text;
use fleet::version::Version;
use proptest::prelude::*;

fn cases() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/plans");
    let mut cases: Vec<PathBuf> =
        fs::read_dir(root).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_dir()).collect();
    cases.sort();
    assert!(cases.len() >= 7, "the cases that the plan must show are missing");
    cases
}

fn facts(case: &Path) -> Facts {
    serde_json::from_str(&fs::read_to_string(case.join("facts.json")).unwrap())
        .unwrap_or_else(|error| panic!("{}: {error}", case.display()))
}

fn cluster() -> Cluster {
    Cluster { directory: Some("stackspin/clusters/acme".into()), ..Cluster::new("acme", "203.0.113.7") }
}

/// The version that a case is planned for.
fn target(case: &Path) -> Version {
    let name = case.file_name().unwrap().to_str().unwrap();
    if name.starts_with("to-0.8") { Version::V0_8 } else { Version::V0_7 }
}

fn said(planned: &Planned) -> String {
    match planned {
        Planned::Plan(plan) => plan_text(plan),
        Planned::NothingToDo(version) => format!("nothing to do: {version}\n"),
        Planned::Refusal(failure) => {
            format!("refused ({}): {}\nsee {}\n", failure.cause, failure.message, failure.read)
        }
    }
}

#[test]
fn every_case_has_the_plan_that_is_written_beside_it() {
    let mut differing = Vec::new();
    for case in cases() {
        let text = said(&planner::plan(&facts(&case), &cluster(), target(&case)));
        let expected = case.join("plan.txt");
        if std::env::var_os("FLEET_BLESS").is_some() {
            fs::write(&expected, &text).unwrap();
        }
        let wanted = fs::read_to_string(&expected).unwrap_or_default();
        if wanted != text {
            differing.push(format!("{}:\n--- expected\n{wanted}\n--- planned\n{text}", case.display()));
        }
    }
    assert!(differing.is_empty(), "{}", differing.join("\n"));
}

#[test]
fn the_same_facts_give_the_same_plan_and_a_stored_plan_is_the_plan() {
    for case in cases() {
        let facts = facts(&case);
        let planned = planner::plan(&facts, &cluster(), target(&case));
        assert_eq!(planned, planner::plan(&facts, &cluster(), target(&case)));
        if let Planned::Plan(plan) = planned {
            let json = serde_json::to_string(&plan).unwrap();
            assert_eq!(serde_json::from_str::<Plan>(&json).unwrap(), *plan);
        }
    }
}

/// What must be true of every plan, whatever the facts (promise M8, and the order that the 0.7 rung lives by).
fn must_hold(plan: &Plan) {
    assert_eq!(plan.changes_before_proof(), None);
    let at = |test: &dyn Fn(&Action) -> bool| plan.steps.iter().position(|step| test(&step.action));
    let proof = at(&|action| matches!(action, Action::Prove(_))).expect("a plan has a proof");
    let copy = at(&|action| matches!(action, Action::Backup(_))).expect("a plan has a copy");
    assert!(copy < proof);
    let first_change = plan
        .steps
        .iter()
        .position(|step| step.class.changes() && !matches!(step.action, Action::Backup(_) | Action::Hold(_)))
        .expect("a rung changes something");
    assert!(proof < first_change);
    assert!(matches!(plan.steps.first().map(|step| &step.action), Some(Action::Hold(_))));
    assert!(matches!(plan.steps.last().map(|step| &step.action), Some(Action::GiveBack(_))));
    let ids: BTreeSet<&str> = plan.steps.iter().map(|step| step.id.as_str()).collect();
    assert_eq!(ids.len(), plan.steps.len(), "a step id stands twice");

    match plan.to {
        Version::V0_3 => claims_go_last_and_only_those_that_are_saved(plan),
        Version::V0_6 => the_old_cluster_is_left_as_it_is(plan),
        Version::V0_7 => secrets_come_back(plan),
        _ => nothing_goes_before_its_heir(plan),
    }
}

/// The way to 0.3: everything is stopped, a person purges, and then the claims go, of which every volume is in the proven backup.
fn claims_go_last_and_only_those_that_are_saved(plan: &Plan) {
    let position = |id: &str| plan.steps.iter().position(|step| step.id == id).expect(id);
    let order = ["backup/prove", "to-0.3/stop", "to-0.3/settings", "to-0.3/purge", "to-0.3/remove-claims"];
    let order: Vec<usize> =
        order.into_iter().chain(["to-0.3/install", "to-0.3/restore"]).map(position).collect();
    assert!(order.is_sorted() && plan.rest.is_empty(), "{order:?}");
    let (proof, removal) = (&plan.steps[order[0]], &plan.steps[order[4]]);
    let (Action::Prove(proof), Action::RemoveClaims(removed)) = (&proof.action, &removal.action) else {
        panic!("proof and removal are other verbs")
    };
    assert_eq!(removal.class, Class::Irreversible);
    for claim in &removed.claims {
        assert!(["oas", "oas-apps"].contains(&claim.namespace.as_str()), "{claim}");
        assert!(claim.volume.is_empty() || proof.volumes.contains(&claim.volume), "{claim} is not saved");
    }
    let planned = Planned::Plan(Box::new(plan.clone()));
    assert_eq!(planner::agreed(planned.clone(), &["accept-data-loss".to_owned()]), planned);
    let Planned::Refusal(failure) = planner::agreed(planned, &["version".to_owned()]) else {
        panic!("it is not refused without the operator's word")
    };
    let said = &failure.message;
    assert!(
        failure.cause == "data-loss" && said.ends_with("add --accept-data-loss") && !said.contains("  "),
        "{said}"
    );
}

fn the_old_cluster_is_left_as_it_is(plan: &Plan) {
    let others = plan.steps.iter().filter(|step| step.class.changes() && step.needs_proof()).count();
    assert_eq!(others, 0, "what is rebuilt is left as it is");
    assert!(plan.rest.is_empty(), "its way ends there");
    let asks = plan.steps.iter().filter(|step| matches!(step.action, Action::Ask(_))).count();
    assert_eq!(asks, 3);
}

fn secrets_come_back(plan: &Plan) {
    let position = |id: &str| plan.steps.iter().position(|step| step.id == id);
    // Secrets: saved before the branch is switched, put back only after the chart is gone, and the same ones.
    let save = position("to-0.7/save-secrets").unwrap();
    let restore = position("to-0.7/restore-secrets").unwrap();
    assert!(save < position("to-0.7/switch-branch").unwrap());
    assert!(position("to-0.7/oas-secrets-gone").unwrap() < restore);
    let (
        Action::Objects(Objects::Save { objects: saved, .. }),
        Action::Objects(Objects::Restore { objects: back, .. }),
    ) = (&plan.steps[save].action, &plan.steps[restore].action)
    else {
        panic!("save and restore are no longer objects")
    };
    assert_eq!(saved, back);
    assert!(!saved.is_empty());
}

/// The order of the way to 0.8: what goes is copied and moved before, every bound claim of the namespaces that go is moved, and what is deleted by
/// name is never anything that holds data.
fn nothing_goes_before_its_heir(plan: &Plan) {
    let position = |id: &str| plan.steps.iter().position(|step| step.id == id).expect(id);
    let order = [
        "fetch",
        "copy-secrets",
        "disown",
        "stop",
        "remove-namespaces",
        "remove-source",
        "install-stackspin",
    ];
    let order: Vec<usize> = order.iter().map(|id| position(&format!("to-0.8/{id}"))).collect();
    assert!(order.is_sorted(), "{order:?}");
    let Action::RemoveNamespaces(removed) = &plan.steps[position("to-0.8/remove-namespaces")].action else {
        panic!("the namespaces are removed by another verb")
    };
    let steps = plan.steps.iter().enumerate();
    let moved: Vec<_> = steps
        .filter_map(|(at, step)| match &step.action {
            Action::MoveClaim(moved) => Some((at, moved)),
            _ => None,
        })
        .collect();
    let (stopped, gone) = (position("to-0.8/stop"), position("to-0.8/remove-namespaces"));
    assert!(moved.iter().all(|(at, _)| stopped < *at && *at < gone));
    assert!(moved.iter().map(|(_, moved)| *moved).eq(&removed.moved));
    for step in &plan.steps {
        if let Action::Run(command) = &step.action {
            let line = command.line();
            let data =
                ["delete --ignore-not-found secret", "persistentvolume", "namespaces oas", "customresource"];
            assert!(!data.iter().any(|word| line.contains(word)), "{line}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Facts of every case, with secrets, releases and volumes taken away, keys emptied and the source's state turned.
    #[test]
    fn no_plan_changes_a_cluster_before_its_backup_is_proven(
        case in any::<prop::sample::Index>(),
        secrets in prop::collection::vec(any::<bool>(), 40),
        releases in prop::collection::vec(prop::bool::weighted(0.9), 40),
        volumes in prop::collection::vec(any::<bool>(), 40),
        oauth in prop::collection::vec(any::<bool>(), 6),
        suspended in any::<bool>(),
    ) {
        let cases = cases();
        let case = &cases[case.index(cases.len())];
        let mut facts = facts(case);
        let keep = |flags: &[bool], index: usize| flags.get(index).copied().unwrap_or(true);
        if let Known::Is(list) = &mut facts.secrets {
            let mut index = 0;
            list.retain(|secret| {
                index += 1;
                secret.name == "oas-oauth-variables" || secret.name == "oas-cluster-variables" || keep(&secrets, index)
            });
            for secret in list.iter_mut().filter(|secret| secret.name == "oas-oauth-variables") {
                let mut index = 0;
                secret.keys.retain(|_| { index += 1; keep(&oauth, index) });
            }
        }
        if let Known::Is(flux) = &mut facts.flux {
            let mut index = 0;
            flux.releases.retain(|release| { index += 1; release.name == "oas-secrets" || keep(&releases, index) });
            for source in &mut flux.sources {
                source.suspended = suspended;
            }
        }
        if let Known::Is(list) = &mut facts.volumes {
            let mut index = 0;
            list.retain(|_| { index += 1; keep(&volumes, index) });
        }
        if let Planned::Plan(plan) = planner::plan(&facts, &cluster(), target(case)) {
            must_hold(&plan);
        }
    }
}

/// Facts of a case with something about them changed; which thing, and by how much, the numbers say.
fn changed(facts: &Facts, what: usize, which: usize, flag: bool) -> Facts {
    let mut facts = facts.clone();
    let at = |len: usize| which.checked_rem(len);
    if let Known::Is(flux) = &mut facts.flux {
        match (what, at(flux.sources.len()), at(flux.releases.len()), at(flux.kustomizations.len())) {
            (0, Some(at), ..) => flux.sources[at].suspended = flag,
            (1, Some(at), ..) => flux.sources[at].revision.push('0'),
            (2, _, Some(at), _) => drop(flux.releases.remove(at)),
            (3, _, Some(at), _) => flux.releases[at].name.push('x'),
            (4, _, _, Some(at)) => flux.kustomizations[at].source.push('x'),
            (5, _, _, Some(at)) => flux.kustomizations[at].name.push('x'),
            _ => {}
        }
    }
    if let Known::Is(secrets) = &mut facts.secrets {
        match (what, at(secrets.len())) {
            (6, Some(at)) => drop(secrets.remove(at)),
            (7, Some(at)) => secrets[at].keys.truncate(usize::from(flag)),
            (8, Some(at)) => {
                let keys = secrets[at].keys.clone();
                secrets[at].empty = keys;
            }
            (9, Some(at)) => secrets[at].name.push('x'),
            _ => {}
        }
    }
    if let Known::Is(volumes) = &mut facts.volumes {
        match (what, at(volumes.len())) {
            (10, Some(at)) => drop(volumes.remove(at)),
            (11, Some(at)) => volumes[at].folder.push('x'),
            (12, Some(at)) => if flag { "other" } else { "" }.clone_into(&mut volumes[at].claim),
            (13, Some(at)) => volumes[at].name.push('x'),
            (14, Some(at)) => volumes[at].used += 1_000_000_000,
            _ => {}
        }
    }
    if let (38, Known::Is(releases)) = (what, &mut facts.helm_2) {
        releases.push("oas-test-extra".to_owned());
    }
    nights_changed(&mut facts, what, which, flag);
    carried_changed(&mut facts, what, which);
    match (what, flag) {
        (15, _) => facts.volumes = Known::not("no answer"),
        (16, _) => facts.flux = Known::not("no answer"),
        (17, _) => facts.secrets = Known::not("no answer"),
        (18, _) => facts.clock = Known::not("no answer"),
        (19, _) => facts.timers = Known::not("no answer"),
        (20, _) => facts.upgrades = Known::not("no answer"),
        (21, _) => facts.nightly = Known::not("no answer"),
        _ => {}
    }
    facts
}

/// The same for what goes along to 0.8, or must go.
fn carried_changed(facts: &mut Facts, what: usize, which: usize) {
    match (what, &mut facts.overrides, &mut facts.helm_left, &mut facts.claims, &mut facts.scripts) {
        (32, Known::Is(overrides), ..) => drop(overrides.pop()),
        (33, _, Known::Is(left), ..) => {
            let at = which.checked_rem(left.len()).unwrap_or(0);
            left.iter_mut().skip(at).take(1).for_each(|object| object.name.push('x'));
        }
        (34, _, _, Known::Is(claims), _) => drop(claims.pop()),
        (35, _, _, Known::Is(claims), _) => {
            let at = which.checked_rem(claims.len()).unwrap_or(0);
            claims.iter_mut().skip(at).take(1).for_each(|claim| claim.name.push('x'));
        }
        (36, .., Known::Is(scripts)) => scripts.commit = Some("1".repeat(40)),
        (37, _, left, ..) => *left = Known::not("no answer"),
        _ => {}
    }
}

/// The same for what cluster and host do by themselves.
fn nights_changed(facts: &mut Facts, what: usize, which: usize, flag: bool) {
    if let Known::Is(jobs) = &mut facts.nightly
        && let Some(at) = which.checked_rem(jobs.len())
    {
        match what {
            22 => jobs[at].suspended = flag,
            23 => "5 5 * * *".clone_into(&mut jobs[at].schedule),
            24 => jobs[at].does = if flag { Does::ShutUpgradeController } else { Does::ResumeSource },
            25 => jobs[at].name.push('x'),
            26 => "UTC".clone_into(&mut jobs[at].zone),
            _ => {}
        }
    }
    match (what, &mut facts.clock, &mut facts.timers, &mut facts.upgrades) {
        (27, Known::Is(clock), ..) => "+0300".clone_into(&mut clock.offset),
        (28, Known::Is(clock), ..) => "Asia/Tokyo".clone_into(&mut clock.zone),
        (29, _, Known::Is(timers), _) => timers.active = vec!["apt-daily.timer".to_owned()],
        (30, .., Known::Is(upgrades)) => upgrades.controller_replicas = flag.then_some(3),
        (31, .., Known::Is(upgrades)) => "other".clone_into(&mut upgrades.controller_namespace),
        _ => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    /// Promise M5: nothing that decides over the steps is missing in what a stored plan is compared by. Sizes and times may differ.
    #[test]
    fn where_the_steps_would_be_others_the_fingerprint_is_another(
        case in any::<prop::sample::Index>(),
        what in 0_usize..39,
        which in any::<usize>(),
        flag in any::<bool>(),
        path in prop::bool::weighted(0.1),
    ) {
        let cases = cases();
        let case = &cases[case.index(cases.len())];
        let facts = facts(case);
        let Planned::Plan(then) = planner::plan(&facts, &cluster(), target(case)) else { return Ok(()) };
        let mut home = cluster();
        if path {
            home.paths.k3s_data.push_str("/other");
        }
        let facts = changed(&facts, what, which, flag);
        let now = planner::plan(&facts, &home, target(case));
        let print = fingerprint::of(&facts, &home);
        let differs = match &now {
            Planned::Plan(now) => fingerprint::work(now) != fingerprint::work(&then) || now.notes != then.notes,
            _ => true,
        };
        prop_assert!(!differs || fingerprint::changes(&then.fingerprint, &print) != Vec::<String>::new());
        // And a stored plan is carried out as it stands, or not at all.
        match planner::hold_to(&then, now, &facts, &home) {
            Planned::Plan(held) => prop_assert_eq!(&held, &then),
            Planned::Refusal(failure) => prop_assert_eq!(failure.cause, "stale-plan"),
            Planned::NothingToDo(_) => prop_assert!(false, "it is not at the target"),
        }
        let same = fingerprint::of(&facts, &home) == then.fingerprint;
        prop_assert!(what != 14 || path || same, "sizes count for nothing");
    }
}

#[test]
fn every_planned_case_keeps_the_order_too() {
    let mut planned = 0;
    for case in cases() {
        if let Planned::Plan(plan) = planner::plan(&facts(&case), &cluster(), target(&case)) {
            must_hold(&plan);
            planned += 1;
        }
    }
    assert!(planned >= 3, "only {planned} cases give a plan");
}
