//! The same end-to-end tests against a real Kubernetes API server, on a host with a real sshd.
//!
//! They are not run where `tests/real/make` has not made the set. What is real here and what is not: `docs/contributing.md`.
#![expect(clippy::unwrap_used, reason = "what cannot be set up fails its test")]

mod acting;
mod lab_support;
#[path = "real/objects.rs"]
mod objects;
#[path = "real/server.rs"]
mod server;
#[path = "real/site.rs"]
mod site;
mod sshd;
#[path = "real/standins.rs"]
mod standins;
mod upstream_repo;

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use acting::{Dying, LONG, act, dying, failure, go};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use fleet::event::What;
use fleet::lab::HostSpec;
use fleet::plan::{Action, MoveClaim, Object, RemoveNamespaces};
use fleet::ssh::{Session, connect};
use fleet::version::Version;
use lab_support::tree;
use serde_json::{Value, json};
use site::Site;

const FLUX: &str = "/namespaces/flux-system";
const OLD: [&str; 2] = ["oas", "oas-apps"];

/// The folder of the programs; `None`, and said so, where there is none.
fn set() -> Option<PathBuf> {
    let set = server::set();
    if set.is_none() {
        // Not `println!`: what a test prints that passes is kept from the screen.
        let _ = writeln!(
            std::io::stderr(),
            "not run: no real Kubernetes API server is here; tests/real/make makes one"
        );
    }
    set
}

fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

fn claim(namespace: &str, name: &str) -> String {
    format!("/api/v1/namespaces/{namespace}/persistentvolumeclaims/{name}")
}

fn is_moved(site: &Site, what: &MoveClaim) {
    let MoveClaim { from, to, claim: name, volume } = what;
    assert!(site.server.find(&claim(from, name)).is_none(), "{from}/{name}");
    let new = site.server.find(&claim(to, name)).unwrap();
    assert_eq!((text(&new, "/status/phase"), text(&new, "/spec/volumeName")), ("Bound", volume.as_str()));
    let volume = site.server.find(&format!("/api/v1/persistentvolumes/{volume}")).unwrap();
    assert_eq!(text(&volume, "/status/phase"), "Bound");
    assert_eq!(volume["spec"]["claimRef"]["uid"], new["metadata"]["uid"]);
    assert_eq!(volume["spec"]["persistentVolumeReclaimPolicy"], "Retain");
    assert_eq!(volume["metadata"]["annotations"]["stackspin-fleet/policy-before-move"], "Delete");
}

/// Flux's objects of a kind.
fn of_flux(site: &Site, plural: &str, group: &str, version: &str) -> Vec<Object> {
    let found = site.server.list(&format!("/apis/{group}.toolkit.fluxcd.io/{version}/{plural}"));
    let object = |object: &Value| Object {
        kind: format!("{plural}.{group}.toolkit.fluxcd.io"),
        namespace: text(object, "/metadata/namespace").to_owned(),
        name: text(object, "/metadata/name").to_owned(),
    };
    found.iter().map(object).collect()
}

/// Claims in the namespace `from`, each bound to a volume of its own with something in it, that are to go to `to`.
fn make_claims(site: &Site, count: usize) -> Vec<MoveClaim> {
    for name in ["from", "to"] {
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
        site.server.must("POST", "/api/v1/namespaces", &namespace);
    }
    let of = |number: usize| {
        let (claim, volume) = (format!("data-{number}"), format!("pv-{number}"));
        let folder = site.host().storage().join(&volume);
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("data"), &claim).unwrap();
        let room = json!({"storage": "1Gi"});
        let made = json!({"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": volume},
            "spec": {"capacity": room, "accessModes": ["ReadWriteOnce"], "persistentVolumeReclaimPolicy": "Delete",
                "storageClassName": "local-path", "hostPath": {"path": folder}, "claimRef": {"namespace": "from", "name": claim}}});
        site.server.must("POST", "/api/v1/persistentvolumes", &made);
        let made = json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": claim},
            "spec": {"accessModes": ["ReadWriteOnce"], "storageClassName": "local-path", "volumeName": volume,
                "resources": {"requests": room}}});
        site.server.must("POST", "/api/v1/namespaces/from/persistentvolumeclaims", &made);
        MoveClaim { from: "from".to_owned(), to: "to".to_owned(), claim, volume }
    };
    let moves: Vec<MoveClaim> = (1..=count).map(of).collect();
    site.server.wait("the claims are bound", || {
        let claims = site.server.list("/api/v1/namespaces/from/persistentvolumeclaims");
        claims.len() == count && claims.iter().all(|claim| text(claim, "/status/phase") == "Bound")
    });
    moves
}

/// Claims are moved, by somebody who dies after each change in turn, and their namespace goes.
async fn moved_by_who_dies(site: &Site, session: &Session) {
    let moves = make_claims(site, 5);
    let before = volumes(site);
    let remove = Action::RemoveNamespaces(RemoveNamespaces {
        namespaces: vec!["from".to_owned()],
        moved: moves.clone(),
    });
    let (ended, _) = act(session, &remove, LONG).await;
    assert_eq!(failure(ended).cause, "claim-not-moved");

    // What a pod uses is left alone.
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "user"},
        "spec": {"containers": [{"name": "user", "image": "registry.example.org/user:1"}],
            "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "data-1"}}]}});
    site.server.must("POST", "/api/v1/namespaces/from/pods", &pod);
    let (ended, _) = go(session, &moves[0], Duration::from_millis(500)).await;
    assert_eq!(failure(ended).cause, "claim-in-use");
    assert!(site.server.find(&claim("from", "data-1")).unwrap()["metadata"]["deletionTimestamp"].is_null());
    site.server.call("DELETE", "/api/v1/namespaces/from/pods/user", None);

    // Another place to die for each claim, and none for the last.
    let changes = |line: &str| !line.starts_with("timeout ");
    for (place, what) in (1..).zip(&moves) {
        let line = Dying::after(session, place, changes);
        let lived = tokio::select! {
            (ended, _) = go(&line, what, LONG) => { ended.unwrap(); true }
            () = line.dead.notified() => false,
        };
        assert_eq!(lived, place == moves.len(), "a move has four commands that change something");
        let (ended, events) = go(session, what, LONG).await;
        ended.unwrap();
        let ran = events.iter().filter(|event| matches!(event.what, What::Ran { .. })).count();
        assert!(ran <= moves.len() - place, "what was done is not done again: {events:#?}");
        is_moved(site, what);
    }
    assert!(dying(session, &remove).await > 1);
    assert!(site.server.find("/api/v1/namespaces/from").is_none());
    for what in &moves {
        is_moved(site, what);
    }
    assert!(volumes(site) == before, "a volume has changed");
}

/// What the nightly jobs and windows are about: suspended jobs and sources, the controller's replicas.
fn night(site: &Site) -> BTreeMap<String, Value> {
    let jobs = site.server.list("/apis/batch/v1beta1/cronjobs");
    let sources = site.server.list("/apis/source.toolkit.fluxcd.io/v1beta1/gitrepositories");
    let suspended = |object: &Value| {
        let is = object["spec"]["suspend"].as_bool().unwrap_or_default();
        (text(object, "/metadata/name").to_owned(), json!(is))
    };
    let mut night: BTreeMap<String, Value> = jobs.iter().chain(&sources).map(suspended).collect();
    night.insert("replicas".to_owned(), controller(site)["spec"]["replicas"].clone());
    night
}

fn controller(site: &Site) -> Value {
    let at = "/apis/apps/v1/namespaces/system-upgrade/deployments/system-upgrade-controller";
    site.server.find(at).unwrap()
}

/// The data of all secrets that are the product's own, by the beginning of their names.
fn secrets(site: &Site, prefix: &str) -> BTreeMap<String, Value> {
    let all = site.server.list("/api/v1/secrets");
    let ours = all.into_iter().filter(|secret| text(secret, "/metadata/name").starts_with(prefix));
    ours.map(|mut secret| (text(&secret, "/metadata/name").to_owned(), secret["data"].take())).collect()
}

/// The volumes' folders with what is in them, without what a restore has put beside them.
fn volumes(site: &Site) -> BTreeMap<PathBuf, BTreeMap<PathBuf, String>> {
    let folders = fs::read_dir(site.host().storage()).unwrap().map(|entry| entry.unwrap().path());
    let own = folders.filter(|path| !path.to_string_lossy().contains(".fleet-"));
    own.map(|path| (path.clone(), tree(&path, &[]))).collect()
}

/// The variables in the cluster.
fn variables(site: &Site) -> BTreeMap<String, String> {
    let secret = site.server.find(&format!("/api/v1{FLUX}/secrets/oas-cluster-variables")).unwrap();
    let plain = |value: &Value| String::from_utf8(STANDARD.decode(value.as_str().unwrap()).unwrap()).unwrap();
    secret["data"].as_object().unwrap().iter().map(|(key, value)| (key.clone(), plain(value))).collect()
}

fn differ(site: &Site) {
    let before = variables(site);
    let mut wanted = before.clone();
    wanted.insert("outgoing_mail_smtp_password".into(), "hunter2-new".into());
    wanted.insert("org_name".into(), "Acme".into());
    let lines: Vec<String> = wanted.iter().map(|(key, value)| format!("{key}={value}\n")).collect();
    fs::write(site.path("lab/clusters/one/.flux.env"), lines.concat()).unwrap();
    let shown = site.fleet(&["vars", "diff", "--all"]).ends(2);
    assert!(shown.out.contains("org_name (set), is not in the cluster"), "{}", shown.out);
    let ran = site.fleet(&["vars", "apply", "--all", "--yes"]).ends(0);
    assert_eq!(variables(site), wanted);
    assert!(!ran.out.contains("hunter2"), "{}", ran.out);
    let core =
        site.server.find(&format!("/apis/kustomize.toolkit.fluxcd.io/v1beta1{FLUX}/kustomizations/core"));
    let core = core.unwrap();
    let asked = &core["metadata"]["annotations"]["reconcile.fluxcd.io/requestedAt"];
    assert!(asked.is_string() && *asked == core["status"]["lastHandledReconcileAt"], "{core:#}");
}

fn windows(site: &Site) {
    let shut = night(site);
    site.fleet(&["window", "open", "--all", "--for", "1h"]).ends(0);
    assert_eq!(night(site)["openappstack"], false);
    site.fleet(&["window", "close", "--all"]).ends(0);
    site.fleet(&["k3s-window", "open", "--all", "--for", "1h"]).ends(0);
    assert_eq!(night(site)["replicas"], 1);
    site.server.wait("the controller runs", || controller(site)["status"]["readyReplicas"] == 1);
    site.fleet(&["k3s-window", "close", "--all"]).ends(0);
    assert_eq!(night(site), shut);
}

#[test]
fn variables_windows_and_the_rung_to_0_7_with_its_truce_and_its_backup_put_back() {
    let Some(set) = set() else { return };
    let mut spec = HostSpec::new("one").apps(["wordpress"]);
    spec.source_suspended = true;
    let mut next = spec.clone().version(Version::V0_7).apps(["wordpress"]);
    next.source_suspended = false;
    let site = Site::start(&set, spec, vec![next]);
    differ(&site);
    windows(&site);

    let (night_before, secrets_before) = (night(&site), secrets(&site, "oas-"));
    let files = volumes(&site);
    site.upgrade(&["--to", "0.7"]).ends(0);
    let source = format!("/apis/source.toolkit.fluxcd.io/v1beta1{FLUX}/gitrepositories/openappstack");
    let branch = || site.server.find(&source).unwrap()["spec"]["ref"]["branch"].clone();
    assert_eq!(branch(), "v0.7");
    assert_eq!(night(&site), night_before, "as it was found");
    let held = site.journal().into_iter().find_map(|event| match event.what {
        What::Held { changes } => Some(changes),
        _ => None,
    });
    assert!(held.unwrap().contains(&"cron job flux-system/flux-suspend-source suspended".to_owned()));
    let after = secrets(&site, "oas-");
    for (name, data) in &secrets_before {
        for (key, value) in data.as_object().unwrap() {
            assert_eq!(after[name][key], *value, "{name}: {key}");
        }
    }
    assert!(volumes(&site) == files, "a volume has changed");
    site.fleet(&["backup", "verify", "one"]).ends(0);

    // The real datastore, put back, is the cluster of before.
    site.fleet(&["restore", "last", "--to", "one", "--yes"]).ends(0);
    assert_eq!(branch(), "v0.6");
    assert!(secrets(&site, "oas-") == secrets_before && volumes(&site) == files);
    assert_eq!(night(&site), night_before);
}

/// Claims by name, each with its namespace and volume.
fn claims(site: &Site) -> BTreeMap<String, (String, String)> {
    let claims = site.server.list("/api/v1/persistentvolumeclaims");
    let of = |claim: &Value| {
        let text = |pointer| text(claim, pointer).to_owned();
        (text("/metadata/name"), (text("/metadata/namespace"), text("/spec/volumeName")))
    };
    claims.iter().map(of).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_rung_to_0_8_and_claims_that_move_whoever_dies_with_every_byte_of_volumes_secrets_and_overrides()
{
    let Some(set) = set() else { return };
    let spec = HostSpec::new("one").version(Version::V0_7).apps(["wordpress"]);
    let site = Site::start(&set, spec.clone(), vec![spec.version(Version::V0_8).apps(["wordpress"])]);
    let values = json!({"apiVersion": "v1", "kind": "ConfigMap", "data": {"values.yaml": "replicas: 2\n"},
        "metadata": {"name": "oas-loki-override", "namespace": "oas"}});
    site.server.must("POST", "/api/v1/namespaces/oas/configmaps", &values);
    let (claims_before, secrets_before, files) = (claims(&site), secrets(&site, "oas-"), volumes(&site));
    assert_eq!(claims_before.len(), 5);
    // Nobody answers for what the chart of nginx has the API ask, so it lets no Ingress be made.
    let ingresses = "/apis/networking.k8s.io/v1/namespaces/oas/ingresses";
    let mut ingress = site.server.list(ingresses).remove(0);
    ingress["metadata"] = json!({"name": "another"});
    let (status, refused) = site.server.call("POST", ingresses, Some(&ingress));
    assert_eq!(status, 500, "{refused}");
    assert!(text(&refused, "/message").contains("failed calling webhook"), "{refused}");

    site.upgrade(&["--to", "0.8"]).ends(0);

    let namespaces = site.server.list("/api/v1/namespaces");
    assert!(namespaces.iter().all(|namespace| !OLD.contains(&text(namespace, "/metadata/name"))));
    let claims = claims(&site);
    for (name, (namespace, volume)) in &claims_before {
        let new = (namespace.replacen("oas", "stackspin", 1), volume.clone());
        assert_eq!(claims.get(name), Some(&new), "{name}");
    }
    let after = secrets(&site, "stackspin-");
    for (name, data) in &secrets_before {
        assert_eq!(after.get(&name.replacen("oas-", "stackspin-", 1)), Some(data), "{name}");
    }
    assert!(volumes(&site) == files, "a volume has changed");
    let copied = site.server.find("/api/v1/namespaces/stackspin/configmaps/stackspin-loki-override").unwrap();
    assert_eq!(copied["data"], values["data"]);
    // What Helm would have refused is the new release's.
    let role =
        site.server.find("/apis/rbac.authorization.k8s.io/v1/clusterroles/nginx-ingress-nginx").unwrap();
    assert_eq!(role["metadata"]["annotations"]["meta.helm.sh/release-namespace"], "stackspin");
    let sources = site.server.list("/apis/source.toolkit.fluxcd.io/v1beta1/gitrepositories");
    let names: Vec<&str> = sources.iter().map(|source| text(source, "/metadata/name")).collect();
    assert_eq!(names, ["stackspin"]);
    assert!(sources[0]["status"]["artifact"]["revision"].as_str().unwrap().starts_with("v0.8/"));

    // Flux lets go of everything, and takes nothing along.
    let session = connect(&site.ssh()).await.unwrap();
    let mut objects = of_flux(&site, "kustomizations", "kustomize", "v1beta1");
    objects.extend(of_flux(&site, "helmreleases", "helm", "v2beta1"));
    objects.retain(|object| object.name == "wordpress" || object.name == "loki");
    assert_eq!(objects.len(), 4, "{objects:#?}");
    let workloads = || site.server.list("/apis/apps/v1/deployments").len();
    let there = workloads();
    assert!(dying(&session, &Action::Disown(objects)).await > 1);
    let left = of_flux(&site, "helmreleases", "helm", "v2beta1");
    assert!(left.iter().all(|object| object.name != "wordpress" && object.name != "loki"), "{left:#?}");
    assert_eq!(workloads(), there);
    moved_by_who_dies(&site, &session).await;
}
