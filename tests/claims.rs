//! Claims are moved to another namespace on simulated hosts: every byte stays, whatever comes in between.
#![expect(clippy::unwrap_used, reason = "what cannot be set up fails its test")]

mod acting;
mod lab_support;

use std::time::Duration;

use acting::{Dying, LONG, act, dying, failure, go};
use fleet::event::What;
use fleet::inventory;
use fleet::lab::{Host, HostSpec};
use fleet::plan::{Action, MoveClaim, Object, Objects, RemoveNamespaces, Renamed};
use fleet::remote::{self, Remote as _};
use fleet::ssh::{Limits, Network, Session};
use fleet::version::Version;
use lab_support::{Bench, real_kubectl, replace_program, tree, until};
use serde_json::{Value, json};

const OLD: &str = "oas-apps";
const NEW: &str = "stackspin-apps";

async fn session(bench: &Bench, name: &str) -> Session {
    let inventory = inventory::load(&bench.lab.inventory()).unwrap();
    Network::new(Limits::default()).connect(&inventory.clusters[name].host).await.unwrap()
}

/// Makes objects as an administrator would.
async fn create(session: &Session, items: &[Value]) {
    let list = json!({"apiVersion": "v1", "kind": "List", "items": items}).to_string();
    let command = remote::Command::new("k3s kubectl create --validate=false -f -").stdin(list.into_bytes());
    let output = session.run(&command, &mut std::io::sink()).await.unwrap();
    assert!(output.success(), "{}", output.complaint());
}

async fn shell(session: &Session, line: &'static str) {
    let output = session.run(&remote::Command::new(line), &mut std::io::sink()).await.unwrap();
    assert!(output.success(), "{line}: {}", output.complaint());
}

fn namespace(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
}

fn new_claim(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim",
        "metadata": {"name": name, "namespace": OLD, "labels": {"stackspin.net/backupSet": name}},
        "spec": {"accessModes": ["ReadWriteOnce"], "storageClassName": "local-path",
            "resources": {"requests": {"storage": "1Gi"}}}})
}

/// The move of a claim of the host's.
fn of(host: &Host, name: &str) -> MoveClaim {
    let found = host.object("persistentvolumeclaims", OLD, name).unwrap();
    MoveClaim {
        from: OLD.to_owned(),
        to: NEW.to_owned(),
        claim: name.to_owned(),
        volume: found["spec"]["volumeName"].as_str().unwrap().to_owned(),
    }
}

/// Asserts that the claim is where it was to go, with its own volume and nothing left behind.
fn is_moved(host: &Host, what: &MoveClaim) {
    let MoveClaim { from, to, claim, volume } = what;
    let new = host.object("persistentvolumeclaims", to, claim).unwrap();
    assert_eq!(new["status"]["phase"], "Bound");
    assert_eq!(new["spec"]["volumeName"], json!(volume));
    assert!(host.object("persistentvolumeclaims", from, claim).is_none());
    let volume = host.object("persistentvolumes", "", volume).unwrap();
    assert_eq!(volume["status"]["phase"], "Bound");
    assert_eq!(volume["spec"]["claimRef"]["uid"], new["metadata"]["uid"]);
    assert_eq!(volume["spec"]["persistentVolumeReclaimPolicy"], "Retain");
    assert_eq!(volume["metadata"]["annotations"]["stackspin-fleet/policy-before-move"], "Delete");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_claim_in_use_is_waited_for_and_then_moved_with_every_byte_of_its_volume() {
    let bench = Bench::new(vec![HostSpec::new("one").apps(["wordpress"])]);
    let (host, session) = (bench.host("one"), session(&bench, "one").await);
    let what = of(host, "wordpress-files");
    let folder = host.volume(OLD, "wordpress-files").unwrap();
    let before = tree(&folder, &[]);

    let (ended, _) = go(&session, &what, LONG).await;
    assert_eq!(failure(ended).cause, "no-namespace", "nothing is deleted that has nowhere to go");
    create(&session, &[namespace(NEW)]).await;
    let (ended, events) = go(&session, &what, Duration::from_millis(300)).await;
    let used = failure(ended);
    assert_eq!(used.cause, "claim-in-use");
    assert!(used.message.contains("wordpress-0"), "{}", used.message);
    assert!(
        !events
            .iter()
            .any(|event| matches!(&event.what, What::Ran { line, .. } if line.contains(" delete ")))
    );
    let claim = host.object("persistentvolumeclaims", OLD, "wordpress-files").unwrap();
    assert!(claim["metadata"]["deletionTimestamp"].is_null());

    // Its user goes while it is waited for.
    let stop = "k3s kubectl scale statefulset wordpress -n oas-apps --replicas=0";
    let ((ended, events), ()) = tokio::join!(go(&session, &what, LONG), shell(&session, stop));
    ended.unwrap();
    is_moved(host, &what);
    let noted = events.iter().any(|event| {
        matches!(&event.what, What::Noted { text, .. } if text.ends_with("whose policy is Retain (before: Delete)"))
    });
    assert!(noted, "{events:#?}");
    let new = host.object("persistentvolumeclaims", NEW, "wordpress-files").unwrap();
    assert!(
        new["metadata"]["labels"]["kustomize.toolkit.fluxcd.io/name"].is_null(),
        "it is not Flux' any more"
    );

    // Done is done, and the old namespace takes nothing along that was moved.
    let (ended, events) = go(&session, &what, LONG).await;
    ended.unwrap();
    assert!(!events.iter().any(|event| matches!(event.what, What::Ran { .. })), "{events:#?}");
    let other = host.volume(OLD, "wordpress-database").unwrap();
    shell(&session, "k3s kubectl delete namespaces oas-apps --wait=false").await;
    until("the old namespace is gone", || host.object("namespaces", "", OLD).is_none() && !other.exists());
    assert!(tree(&folder, &[]) == before, "the moved volume has changed");
}

/// Dying before a command leaves what dying after the one before it does, so each command is one place to die.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_move_that_died_after_any_of_its_commands_ends_like_one_that_did_not() {
    let bench = Bench::new(vec![HostSpec::new("one").apps(["wordpress"])]);
    let (host, session) = (bench.host("one"), session(&bench, "one").await);
    let names: Vec<String> = (1..=20).map(|number| format!("data-{number:02}")).collect();
    let claims = names.iter().map(|name| new_claim(name));
    create(&session, &claims.chain([namespace(NEW)]).collect::<Vec<_>>()).await;
    let bound = |name: &String| {
        host.object("persistentvolumeclaims", OLD, name)
            .is_some_and(|claim| claim["status"]["phase"] == "Bound")
    };
    until("the claims are bound", || names.iter().all(bound));
    let before = tree(&host.storage(), &[]);

    let mut died = 0;
    let mut makings = Vec::new();
    for name in &names {
        let what = of(host, name);
        let line = Dying::after_any(&session, died + 1);
        let lived = tokio::select! {
            (ended, _) = go(&line, &what, LONG) => { ended.unwrap(); true }
            () = line.dead.notified() => false,
        };
        let (ended, _) = go(&session, &what, LONG).await;
        ended.unwrap();
        is_moved(host, &what);
        let mut made = host.object("persistentvolumeclaims", NEW, name).unwrap();
        made["metadata"]["name"].take();
        makings.push(json!([
            made["spec"]["resources"],
            made["spec"]["accessModes"],
            made["metadata"]["annotations"]
        ]));
        if lived {
            break;
        }
        died += 1;
    }
    // Retain, delete, reserve, make, and a look before each and after the last.
    assert!((9..20).contains(&died), "it died {died} times");
    assert!(makings.iter().all(|made| *made == makings[0]), "{makings:#?}");
    assert!(tree(&host.storage(), &[]) == before, "a volume has changed");
    let deletions = host.commands().iter().filter(|line| line.contains("kubectl delete")).count();
    assert_eq!(deletions, died + 1, "nothing that is done already is done again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_claim_whose_volume_cannot_be_read_back_as_retained_is_never_deleted() {
    let bench =
        Bench::new(["ignored", "turned-back"].map(|name| HostSpec::new(name).apps(["wekan"])).to_vec());
    // The first takes the new policy and forgets it, the second loses it after it was read back.
    replace_program(
        bench.host("ignored"),
        "k3s",
        r#"case "$*" in *'"Retain"'*) echo patched; exit 0 ;; esac; exec "$real" "$@""#,
    );
    replace_program(
        bench.host("turned-back"),
        "k3s",
        r#"case "$*" in *jsonpath*) echo Delete; exit 0 ;; esac; exec "$real" "$@""#,
    );
    for (name, cause) in [("ignored", "not-retained"), ("turned-back", "claim-not-deleted")] {
        let (host, session) = (bench.host(name), session(&bench, name).await);
        create(&session, &[namespace(NEW), new_claim("data")]).await;
        until("the claim is bound", || host.volume(OLD, "data").is_some());
        let what = of(host, "data");
        let before = tree(&host.storage(), &[]);
        let (ended, _) = go(&session, &what, LONG).await;
        let failure = failure(ended);
        assert_eq!(failure.cause, cause, "{}", failure.message);
        let claim = host.object("persistentvolumeclaims", OLD, "data").unwrap();
        assert!(claim["metadata"]["deletionTimestamp"].is_null(), "{name}");
        assert!(tree(&host.storage(), &[]) == before, "{name}");
    }
}

/// An object with some data, under an operator's own marks.
fn holding(kind: &str, namespace: &str, name: &str, data: &Value) -> Value {
    json!({"apiVersion": "v1", "kind": kind, "data": data,
        "metadata": {"name": name, "namespace": namespace, "labels": {"of": "the operator"}}})
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn overrides_and_secrets_are_copied_under_their_new_names_and_nothing_is_written_over() {
    let bench = Bench::new(vec![HostSpec::new("one").version(Version::V0_7).apps(["wekan"])]);
    let (host, session) = (bench.host("one"), session(&bench, "one").await);
    let values = json!({"values.yaml": "replicas: 2\n"});
    let secret = json!({"values.yaml": "aHVudGVyMg=="});
    let made = [
        namespace(NEW),
        holding("ConfigMap", OLD, "oas-wekan-override", &values),
        holding("ConfigMap", "oas", "oas-nginx-override", &values),
        holding("Secret", OLD, "oas-wekan-override", &secret),
    ];
    create(&session, &made).await;
    let renamed = |kind: fn(&str, &str) -> Object, from: &str, name: &str, to: &str| Renamed {
        from: kind(from, &format!("oas-{name}")),
        to: kind(to, &format!("stackspin-{name}")),
    };
    let map = |namespace: &str, name: &str| Object::config_map(namespace, name);
    let hidden = |namespace: &str, name: &str| Object::secret(namespace, name);
    let copies = vec![
        renamed(map, OLD, "wekan-override", NEW),
        renamed(map, "oas", "nginx-override", NEW),
        renamed(hidden, OLD, "wekan-override", NEW),
        renamed(hidden, "flux-system", "wekan-variables", "flux-system"),
    ];
    let action = Action::Objects(Objects::Copy { copies: copies.clone() });
    assert!(dying(&session, &action).await > 0);
    for Renamed { from, to } in &copies {
        let [old, new] =
            [from, to].map(|object| host.object(&object.kind, &object.namespace, &object.name).unwrap());
        assert_eq!((&new["data"], &new["type"]), (&old["data"], &old["type"]), "{to}");
        assert!(new["metadata"]["labels"].is_null(), "{to}");
    }

    host.edit("secrets", NEW, "stackspin-wekan-override", |object| {
        object["data"]["more"] = json!("bW9yZQ==");
    });
    let (ended, _) = act(&session, &action, LONG).await;
    let failure = failure(ended);
    assert_eq!(failure.cause, "copy-differs", "{}", failure.message);
    assert!(failure.message.contains("stackspin-apps/stackspin-wekan-override"), "{}", failure.message);
    let copies = vec![renamed(map, OLD, "zulip-override", NEW)];
    let (ended, _) = act(&session, &Action::Objects(Objects::Copy { copies }), LONG).await;
    assert_eq!(self::failure(ended).cause, "copy-without-source");
}

/// What is Flux' own, by kind, in some namespaces.
fn of_flux(host: &Host, plural: &str, group: &str) -> Vec<Object> {
    let name = |object: &Value, field: &str| object["metadata"][field].as_str().unwrap().to_owned();
    let found = host.objects(plural);
    let object = |object: &Value| Object {
        kind: format!("{plural}.{group}.toolkit.fluxcd.io"),
        namespace: name(object, "namespace"),
        name: name(object, "name"),
    };
    found.iter().map(object).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn old_namespaces_go_without_a_byte_of_any_volume_and_not_before_every_claim_is_moved() {
    let bench = Bench::new(vec![HostSpec::new("one").version(Version::V0_7).apps(["wordpress"])]);
    let (host, session) = (bench.host("one"), session(&bench, "one").await);
    real_kubectl(host);
    create(&session, &[namespace("stackspin"), namespace(NEW)]).await;
    let before = tree(&host.storage(), &[]);
    let moves: Vec<MoveClaim> = host
        .objects("persistentvolumeclaims")
        .iter()
        .map(|claim| {
            let text = |pointer: &str| claim.pointer(pointer).unwrap().as_str().unwrap().to_owned();
            let (from, claim) = (text("/metadata/namespace"), text("/metadata/name"));
            MoveClaim { to: from.replace("oas", "stackspin"), volume: text("/spec/volumeName"), from, claim }
        })
        .collect();
    assert_eq!(moves.len(), 5, "{moves:#?}");
    let count = |plural: &str| host.objects(plural).len();
    let releases = count("helmreleases");

    // Flux lets go of everything, and takes nothing along.
    let disown = Action::Disown(of_flux(host, "kustomizations", "kustomize"));
    assert!(dying(&session, &disown).await > 2);
    assert_eq!((count("kustomizations"), count("helmreleases")), (0, releases));
    let Action::Disown(gone) = &disown else { unreachable!() };
    let deletions: Vec<String> =
        host.commands().into_iter().filter(|line| line.contains("kubectl delete kustom")).collect();
    assert_eq!(
        deletions.iter().map(|line| line.matches("kubectl delete").count()).sum::<usize>(),
        gone.len()
    );

    let old = || vec!["oas".to_owned(), OLD.to_owned()];
    let remove = |moved: &[MoveClaim]| {
        Action::RemoveNamespaces(RemoveNamespaces { namespaces: old(), moved: moved.to_vec() })
    };
    for (moved, cause) in [(&moves[..], "claim-not-moved"), (&[][..], "claims-left")] {
        let (ended, events) = act(&session, &remove(moved), LONG).await;
        assert_eq!(failure(ended).cause, cause);
        assert!(!events.iter().any(|event| matches!(event.what, What::Ran { .. })), "{events:#?}");
    }
    shell(&session, "for n in oas oas-apps; do for k in deployments statefulsets; do k3s kubectl scale $k --all --replicas=0 -n $n; done; done").await;
    for what in &moves {
        let (ended, _) = go(&session, what, LONG).await;
        ended.unwrap();
    }
    // One that was given a policy under which its data would go is no longer safe.
    let first = &moves[0];
    let policy = |policy: &str| {
        let policy = json!(policy);
        host.edit("persistentvolumes", "", &first.volume, |volume| {
            volume["spec"]["persistentVolumeReclaimPolicy"] = policy;
        });
    };
    policy("Delete");
    let (ended, _) = act(&session, &remove(&moves), LONG).await;
    assert_eq!(failure(ended).cause, "claim-not-moved");
    policy("Retain");

    assert!(dying(&session, &remove(&moves)).await > 1);
    assert!(old().iter().all(|name| host.object("namespaces", "", name).is_none()));
    for what in &moves {
        is_moved(host, what);
    }
    assert!(tree(&host.storage(), &[]) == before, "a volume has changed");
}
