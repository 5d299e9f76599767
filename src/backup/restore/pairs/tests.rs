use super::*;
use crate::backup::manifest::{Manifest, Sealed, Volume};
use crate::facts::Known;
use crate::facts::claims::Claim;
use crate::facts::volumes;
use crate::plan::{Fingerprint, Plan, SCHEMA};
use crate::version::Version;

/// A backup with a volume for each claim, `pvc-0` and so on.
fn saved(claims: &[&str]) -> Saved {
    let sealed = || Sealed { file: "f".into(), bytes: 1, sha256: String::new() };
    let part = |(at, claim): (usize, &&str)| {
        let (namespace, claim) = claim.split_once('/').unwrap_or_default();
        let volume = Volume { volume: format!("pvc-{at}"), namespace: namespace.into(), claim: claim.into() };
        let folder = format!("/old/{}", volume.volume);
        Part { what: What::Volume(volume), folder, archive: sealed(), sums: sealed() }
    };
    Saved {
        manifest: Manifest {
            schema: 1,
            id: "b1".into(),
            cluster: "oak".into(),
            taken: jiff::Timestamp::UNIX_EPOCH,
            k3s: String::new(),
            fleet: String::new(),
            parts: claims.iter().enumerate().map(part).collect(),
            objects: BTreeMap::new(),
        },
        plan: Plan {
            schema: SCHEMA,
            cluster: "oak".into(),
            migration: "to-0.7".into(),
            from: Version::V0_6,
            to: Version::V0_7,
            apps: Vec::new(),
            steps: Vec::new(),
            notes: Vec::new(),
            rest: Vec::new(),
            fingerprint: Fingerprint::new(),
        },
        sizes: BTreeMap::new(),
    }
}

/// A cluster with these claims, each bound to `new-0` and so on.
fn cluster(claims: &[&str]) -> Facts {
    let names = || claims.iter().enumerate().map(|(at, claim)| (at, claim.split_once('/').unwrap()));
    let claim = |(at, (namespace, name)): (usize, (&str, &str))| Claim {
        namespace: namespace.into(),
        name: name.into(),
        phase: "Bound".into(),
        volume: format!("new-{at}"),
        ..Claim::default()
    };
    let volume = |(at, (namespace, name)): (usize, (&str, &str))| volumes::Volume {
        name: format!("new-{at}"),
        folder: format!("/new/{at}"),
        claim_namespace: namespace.into(),
        claim: name.into(),
        ..volumes::Volume::default()
    };
    Facts {
        cluster: "elm".into(),
        claims: Known::Is(names().map(claim).collect()),
        volumes: Known::Is(names().map(volume).collect()),
        ..Facts::default()
    }
}

fn settled(saved: &Saved, facts: &Facts, map: &[(&str, &str)]) -> Result<Vec<String>, String> {
    let live = live(facts).unwrap();
    let map = map.iter().map(|(from, to)| ((*from).to_owned(), (*to).to_owned())).collect();
    let pairs = settle(saved, &rows(saved, &live), &live, &map);
    let pairs = pairs.map_err(|failure| format!("{}: {}", failure.cause, failure.message))?;
    let skipped = pairs.skipped.into_iter().map(|key| format!("{key} -"));
    let put = |put: PutBack| format!("{} {} {}", put.stem, put.into.unwrap(), put.folder);
    Ok(pairs.folders.into_iter().map(put).chain(skipped).collect())
}

#[test]
fn claims_that_are_called_alike_find_each_other_with_the_renames_of_0_8() {
    let old = saved(&["oas/loki", "oas-apps/nextcloud-files", "kube-system/x", ""]);
    let new =
        cluster(&["kube-system/x", "stackspin-apps/nextcloud-files", "stackspin/loki", "stackspin/new"]);
    let expected = [
        "volumes/pvc-0 stackspin/loki /new/2",
        "volumes/pvc-1 stackspin-apps/nextcloud-files /new/1",
        "volumes/pvc-2 kube-system/x /new/0",
        "pvc-3 -",
    ];
    assert_eq!(settled(&old, &new, &[]).unwrap(), expected, "what nobody claimed is left out");
    let moved = settled(&old, &new, &[("oas/loki", "skip"), ("pvc-3", "stackspin/new")]).unwrap();
    assert_eq!(moved[2..], ["volumes/pvc-3 stackspin/new /new/3", "oas/loki -"]);
}

#[test]
fn what_has_no_place_two_places_or_a_bad_one_is_refused_by_name() {
    let old = saved(&["oas/loki", "oas/rocketchat", "oas/wekan"]);
    let new = cluster(&["stackspin/loki", "stackspin/zulip"]);
    let refused = |map: &[(&str, &str)]| settled(&old, &new, map).unwrap_err();
    let short = refused(&[("oas/wekan", "")]);
    assert!(short.starts_with("map-short") && short.ends_with("oas/rocketchat, oas/wekan"), "{short}");
    let twice = refused(&[("oas/rocketchat", "stackspin/loki"), ("oas/wekan", "skip")]);
    assert!(twice.starts_with("map-twice") && twice.contains("oas/loki and oas/rocketchat"), "{twice}");
    let strange = refused(&[("oas/rocketcat", "skip"), ("oas/wekan", "stackspin/wekan")]);
    assert!(strange.starts_with("map-unknown"), "{strange}");
    assert!(
        strange.contains("no oas/rocketcat") && strange.contains("no claim stackspin/wekan"),
        "{strange}"
    );
    let nothing = refused(&[("oas/loki", "skip"), ("oas/rocketchat", "skip"), ("oas/wekan", "skip")]);
    assert!(nothing.starts_with("map-short"), "{nothing}");
}

#[test]
fn data_goes_only_where_a_bound_volume_has_a_folder_of_its_own() {
    let old = saved(&["oas/loki"]);
    let refused = |change: fn(&mut Claim, &mut volumes::Volume)| {
        let mut new = cluster(&["oas/loki", "oas/other"]);
        if let (Known::Is(claims), Known::Is(volumes)) = (&mut new.claims, &mut new.volumes) {
            change(&mut claims[0], &mut volumes[0]);
        }
        settled(&old, &new, &[]).unwrap_err()
    };
    let said = refused(|claim, _| claim.phase = "Pending".into());
    assert!(said.starts_with("claim-not-bound") && said.contains("Pending"), "{said}");
    assert!(refused(|claim, _| claim.volume = "gone".into()).contains("no volume"));
    assert!(refused(|_, volume| volume.folder = String::new()).contains("no folder"));
    assert!(refused(|_, volume| volume.claim = "other".into()).contains("kept for oas/other"));

    let mut nested = cluster(&["oas/loki", "oas/wekan"]);
    if let Known::Is(volumes) = &mut nested.volumes {
        volumes[1].folder = "/new/0/inside".into();
    }
    let both = saved(&["oas/loki", "oas/wekan"]);
    assert!(settled(&both, &nested, &[]).unwrap_err().starts_with("folders-within-folders"));
}

#[test]
fn of_two_volumes_that_were_kept_for_one_claim_a_person_says_which() {
    let old = saved(&["oas/loki", "oas/loki"]);
    let new = cluster(&["oas/loki"]);
    let said = settled(&old, &new, &[]).unwrap_err();
    assert!(said.starts_with("map-short") && said.ends_with("pvc-0, pvc-1"), "{said}");
    let told = settled(&old, &new, &[("pvc-0", "skip"), ("pvc-1", "oas/loki")]).unwrap();
    assert_eq!(told, ["volumes/pvc-1 oas/loki /new/0", "pvc-0 -"]);
}

#[test]
fn a_claim_that_is_called_alike_in_both_namespaces_is_for_a_person_to_say() {
    let said = settled(&saved(&["oas/loki"]), &cluster(&["oas/loki", "stackspin/loki"]), &[]);
    assert!(said.unwrap_err().starts_with("map-short"));
}

#[test]
fn the_printed_map_is_a_map_once_its_gaps_are_filled() {
    let old = saved(&["oas/loki", "oas/rocketchat", ""]);
    let new = cluster(&["stackspin/loki", "stackspin/zulip"]);
    let live = live(&new).unwrap();
    let rows = rows(&old, &live);
    let printed = text(&rows, &live, "oak", "elm");
    assert!(printed.contains("Claims of elm that nothing goes into yet: stackspin/zulip"), "{printed}");
    let map = read_map(&printed).unwrap();
    assert_eq!(map["oas/loki"], "stackspin/loki");
    assert_eq!(map["pvc-2"], "skip");
    assert_eq!(settle(&old, &rows, &live, &map).unwrap_err().cause, "map-short", "a gap is no answer");
    let filled = read_map(&printed.replace("\"\"", "\"stackspin/zulip\"")).unwrap();
    assert_eq!(settle(&old, &rows, &live, &filled).unwrap().folders.len(), 2);
    for bad in ["\"oas/loki\" = 3", "loki", "a = 'b'\na = 'c'"] {
        assert!(read_map(bad).is_err(), "{bad}");
    }
}
