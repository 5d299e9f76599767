//! What is next in every state that a move can be found in, those too that no move of ours leads to.

use serde_json::{Value, json};

use super::standing::{NEW_CLAIM, POLICY_BEFORE};
use crate::facts::kubernetes::List;
use crate::plan::MoveClaim;
use crate::run::onward::Next;

fn data() -> MoveClaim {
    let [from, to, claim, volume] = ["oas-apps", "stackspin-apps", "data", "pvc-1"].map(str::to_owned);
    MoveClaim { from, to, claim, volume }
}

fn next(answer: &Value) -> Next {
    super::standing::next(&data(), &List::read(&answer.to_string()).unwrap()).unwrap()
}

fn namespace(name: &str) -> Value {
    json!({"kind": "Namespace", "metadata": {"name": name}})
}

fn claim(namespace: &str, volume: &str, phase: &str) -> Value {
    json!({"kind": "PersistentVolumeClaim",
        "metadata": {"name": "data", "namespace": namespace, "uid": format!("of-{namespace}"),
            "labels": {"stackspin.net/backupSet": "data", "kustomize.toolkit.fluxcd.io/name": "data"},
            "annotations": {"pv.kubernetes.io/bind-completed": "yes", "volume.kubernetes.io/selected-node": "oak",
                "volume.beta.kubernetes.io/storage-provisioner": "cluster.local/local-path-provisioner",
                "volume.beta.kubernetes.io/storage-class": "local-path",
                "about": "mine"}},
        "spec": {"accessModes": ["ReadWriteOnce"], "storageClassName": "local-path", "volumeName": volume,
            "resources": {"requests": {"storage": "1Gi"}}},
        "status": {"phase": phase}})
}

/// The claim that is to be made of [`claim`].
fn record() -> Value {
    json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim",
        "metadata": {"name": "data", "namespace": "stackspin-apps",
            "labels": {"stackspin.net/backupSet": "data"}, "annotations": {"about": "mine", "volume.beta.kubernetes.io/storage-class": "local-path"}},
        "spec": {"accessModes": ["ReadWriteOnce"], "storageClassName": "local-path", "volumeName": "pvc-1",
            "resources": {"requests": {"storage": "1Gi"}}}})
}

/// A volume that is retained and has its record, reserved for the claim of a namespace.
fn volume(phase: &str, of: &str, uid: Option<&str>) -> Value {
    json!({"kind": "PersistentVolume",
        "metadata": {"name": "pvc-1", "resourceVersion": "7",
            "annotations": {POLICY_BEFORE: "Delete", NEW_CLAIM: record().to_string()}},
        "spec": {"persistentVolumeReclaimPolicy": "Retain", "claimRef": {"namespace": of, "name": "data", "uid": uid}},
        "status": {"phase": phase}})
}

fn pod(claim: &str) -> Value {
    json!({"kind": "Pod", "metadata": {"name": "data-0", "namespace": "oas-apps"}, "status": {"phase": "Succeeded"},
        "spec": {"volumes": [{"persistentVolumeClaim": {"claimName": claim}}]}})
}

fn with(mut object: Value, pointer: &str, value: Value) -> Value {
    let (place, field) = pointer.rsplit_once('/').unwrap();
    object.pointer_mut(place).unwrap()[field] = value;
    object
}

/// What is next, in one word or the command's line.
fn says(items: &[Value]) -> String {
    let mut items = items.to_vec();
    items.push(namespace("stackspin-apps"));
    match next(&json!({"items": items})) {
        Next::Done(_) => "done".to_owned(),
        Next::Do(act) => format!("{}: {}", act.cause, act.command),
        Next::Wait(cause, _) => format!("wait: {cause}"),
        Next::Stop(cause, _) => format!("stop: {cause}"),
    }
}

const OLD: &str = "oas-apps";
const NEW: &str = "stackspin-apps";

#[test]
fn a_move_is_gone_on_with_from_wherever_it_is() {
    let old = || claim(OLD, "pvc-1", "Bound");
    let leaving = || with(old(), "/metadata/deletionTimestamp", json!("2026-11-23T02:00:00Z"));
    let bound = || volume("Bound", OLD, Some("of-oas-apps"));
    let made = |phase| claim(NEW, "pvc-1", phase);
    let table = [
        (vec![bound(), old()], "claim-not-deleted: [ \"$(k3s kubectl get persistentvolumes pvc-1 "),
        (vec![bound(), old(), pod("data")], "wait: claim-in-use"),
        (vec![bound(), old(), pod("other")], "claim-not-deleted: "),
        (vec![bound(), leaving()], "wait: claim-not-moved"),
        (vec![bound(), leaving(), pod("data")], "wait: claim-in-use"),
        (vec![bound()], "wait: claim-not-moved"),
        (vec![volume("Released", OLD, Some("of-oas-apps"))], "volume-not-reserved: "),
        (vec![with(volume("Available", OLD, None), "/spec/claimRef", Value::Null)], "volume-not-reserved: "),
        (vec![volume("Released", NEW, None)], "wait: claim-not-moved"),
        (vec![volume("Available", NEW, None)], "claim-not-made: k3s kubectl create --validate=false -f -"),
        (vec![volume("Available", NEW, None), made("Pending")], "wait: claim-not-moved"),
        (vec![volume("Bound", NEW, Some("of-stackspin-apps")), made("Pending")], "wait: claim-not-moved"),
        (vec![volume("Bound", NEW, Some("of-stackspin-apps")), made("Bound")], "done"),
        (vec![volume("Bound", NEW, Some("of-another")), made("Bound")], "wait: claim-not-moved"),
        (
            vec![with(volume("Released", OLD, None), "/metadata/annotations", json!({})), made("Pending")],
            "volume-not-reserved: ",
        ),
        // The new claim was deleted again, and the volume keeps its data.
        (vec![volume("Released", NEW, Some("of-stackspin-apps"))], "volume-not-reserved: "),
    ];
    for (items, wanted) in table {
        let said = says(&items);
        assert!(said.starts_with(wanted), "{said}\nnot {wanted}\nfor {items:#?}");
    }
}

#[test]
fn nothing_is_deleted_before_the_policy_and_the_record_are_read_back() {
    let bound = || volume("Bound", OLD, Some("of-oas-apps"));
    let other = record().to_string().replace("stackspin-apps", "elsewhere");
    let unready = [
        with(bound(), "/spec/persistentVolumeReclaimPolicy", json!("Delete")),
        with(bound(), "/spec/persistentVolumeReclaimPolicy", json!("")),
        with(bound(), "/metadata/annotations", Value::Null),
        with(bound(), "/metadata/annotations", json!({NEW_CLAIM: other})),
        with(bound(), "/metadata/annotations", json!({NEW_CLAIM: "{"})),
    ];
    for volume in unready {
        let said = says(&[volume.clone(), claim(OLD, "pvc-1", "Bound")]);
        assert!(
            said.starts_with("not-retained: k3s kubectl patch persistentvolumes pvc-1 "),
            "{said}\n{volume:#?}"
        );
        assert!(said.contains(r#""persistentVolumeReclaimPolicy":"Retain""#), "{said}");
    }
    // Nor does a volume lose its policy later on.
    let free = with(volume("Available", NEW, None), "/spec/persistentVolumeReclaimPolicy", json!("Delete"));
    let said = says(&[free]);
    assert!(
        said.starts_with("not-retained: ")
            && said.contains(r#""stackspin-fleet/policy-before-move":"Delete""#),
        "{said}"
    );
}

#[test]
fn what_somebody_else_has_changed_stops_the_move_before_anything_is_lost() {
    let bound = || volume("Bound", OLD, Some("of-oas-apps"));
    let old = || claim(OLD, "pvc-1", "Bound");
    let leaving = |object| with(object, "/metadata/deletionTimestamp", json!("2026-11-23T02:00:00Z"));
    let bare = |object| with(object, "/metadata/annotations", json!({}));
    let table = [
        (vec![old()], "volume-gone"),
        (vec![leaving(bound()), old()], "volume-gone"),
        (vec![volume("Failed", OLD, None)], "volume-gone"),
        (vec![volume("Bound", "elsewhere", Some("x"))], "volume-taken"),
        (vec![bound(), claim(OLD, "pvc-2", "Bound")], "claim-changed"),
        (vec![volume("Released", OLD, None), claim(OLD, "", "Pending")], "claim-changed"),
        (vec![bound(), old(), claim(NEW, "pvc-2", "Bound")], "claim-taken"),
        (vec![bound(), old(), claim(NEW, "", "Pending")], "claim-taken"),
        (vec![volume("Available", NEW, None), claim(NEW, "pvc-2", "Bound")], "claim-taken"),
        (vec![bare(volume("Released", OLD, Some("of-oas-apps")))], "no-record"),
        (vec![bare(volume("Available", NEW, None))], "no-record"),
    ];
    for (items, wanted) in table {
        assert_eq!(says(&items), format!("stop: {wanted}"), "{items:#?}");
    }
    let list = json!({"items": [bound(), old()]});
    assert!(matches!(next(&list), Next::Stop("no-namespace", _)));
}

#[test]
fn the_new_claim_asks_for_what_the_old_one_did_and_nothing_of_its_life_goes_along() {
    let volume = with(volume("Bound", OLD, Some("of-oas-apps")), "/metadata/annotations", json!({}));
    let list = json!({"items": [volume, claim(OLD, "pvc-1", "Bound")]});
    let Next::Do(act) = next(&list) else { panic!("nothing to do") };
    let patch = json!({
        "metadata": {"annotations": {POLICY_BEFORE: "Retain", NEW_CLAIM: record().to_string()}},
        "spec": {"persistentVolumeReclaimPolicy": "Retain"},
    });
    assert!(act.command.line().ends_with(&format!("-p '{patch}'")), "{}", act.command);
}
