//! The simulated hosts behave as the facts say that real ones do.
#![expect(clippy::unwrap_used, reason = "what cannot be set up fails its test")]
#![expect(clippy::print_stdout, reason = "a test that needs a kubectl says so where there is none")]

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use fleet::lab::{Fault, HELP, Host, HostSpec, Lab, LabError, Vintage};
use fleet::probes::Stuck;
use fleet::remedies;
use fleet::remote::{Command as Asked, Exit, Remote, RemoteError};
use fleet::version::Version;
use serde_json::{Value, json};

const FLUX: &str = "flux-system";
const JOBS: &str = "cronjobs.batch";
const SOURCES: &str = "gitrepositories.source.toolkit.fluxcd.io";
const KUSTOMIZATIONS: &str = "kustomizations.kustomize.toolkit.fluxcd.io";
const RELEASES: &str = "helmreleases.helm.toolkit.fluxcd.io";

struct Running {
    lab: Lab,
    _folder: tempfile::TempDir,
}

impl Running {
    fn new(spec: HostSpec) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let lab = Lab::start(&folder.path().join("lab"), vec![spec], Path::new(env!("CARGO_BIN_EXE_fleet")))
            .unwrap();
        Self { lab, _folder: folder }
    }

    fn host(&self) -> &Host {
        self.lab.hosts().next().unwrap()
    }

    fn program(&self, name: &str, words: &[&str]) -> Output {
        Command::new(self.host().folder().join("bin").join(name)).args(words).output().unwrap()
    }

    /// `k3s kubectl …` on the host; standard output of a call that went well.
    fn kubectl(&self, words: &[&str]) -> String {
        let output = self.program("k3s", &[&["kubectl"], words].concat());
        assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    fn complaint(&self, words: &[&str]) -> String {
        let output = self.program("k3s", &[&["kubectl"], words].concat());
        assert_eq!(output.status.code(), Some(1), "{words:?}");
        String::from_utf8(output.stderr).unwrap()
    }

    fn json(&self, words: &[&str]) -> Value {
        serde_json::from_str(&self.kubectl(&[words, &["-o", "json"]].concat())).unwrap()
    }

    fn follow_branch(&self, branch: &str) {
        let patch = json!({"spec": {"ref": {"branch": branch}}}).to_string();
        self.kubectl(&["patch", SOURCES, "openappstack", "-n", FLUX, "--type", "merge", "-p", &patch]);
    }

    /// The same where the source is called stackspin.
    fn switch(&self, branch: &str) {
        let patch = json!({"spec": {"ref": {"branch": branch}}}).to_string();
        self.kubectl(&["patch", SOURCES, "stackspin", "-n", FLUX, "--type", "merge", "-p", &patch]);
    }

    fn suspend(&self, kind: &str, namespace: &str, name: &str, suspend: bool) {
        let patch = json!({"spec": {"suspend": suspend}}).to_string();
        self.kubectl(&["patch", kind, name, "-n", namespace, "--type", "merge", "-p", &patch]);
    }

    fn reconcile(&self, kind: &str, namespace: &str, name: &str) -> Value {
        let mark = format!("reconcile.fluxcd.io/requestedAt={:?}", Instant::now());
        self.kubectl(&["annotate", "--overwrite", kind, name, "-n", namespace, &mark]);
        json!(mark.split_once('=').unwrap().1)
    }

    fn ready(&self, kind: &str, namespace: &str, name: &str) -> (String, String) {
        let object = self.host().object(kind.split('.').next().unwrap(), namespace, name).unwrap();
        let conditions = object["status"]["conditions"].as_array().unwrap().clone();
        let ready = conditions.iter().find(|condition| condition["type"] == "Ready").unwrap();
        (ready["status"].as_str().unwrap().to_owned(), ready["message"].as_str().unwrap().to_owned())
    }

    /// The variables secrets, as an administrator would save them.
    fn saved_secrets(&self) -> Vec<Value> {
        let mut found = Vec::new();
        for secret in self.host().objects("secrets") {
            let (name, namespace) = (&secret["metadata"]["name"], &secret["metadata"]["namespace"]);
            let text = name.as_str().unwrap();
            if text.starts_with("oas-") && (text.ends_with("-variables") || text.ends_with("-basic-auth")) {
                found.push(json!({"apiVersion": "v1", "kind": "Secret", "type": "Opaque",
                    "metadata": {"name": name, "namespace": namespace}, "data": secret["data"]}));
            }
        }
        found
    }

    fn put_back(&self, secrets: &[Value]) {
        let list = json!({"apiVersion": "v1", "kind": "List", "items": secrets});
        let output = self.with_input(&["create", "--validate=false", "-f", "-"], &list.to_string());
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    fn with_input(&self, words: &[&str], input: &str) -> Output {
        with_input(Command::new(self.host().folder().join("bin/k3s")).arg("kubectl").args(words), input)
    }

    fn all_ready(&self) -> bool {
        ["kustomizations", "helmreleases"].iter().flat_map(|kind| self.host().objects(kind)).all(|object| {
            let current = object["metadata"]["generation"] == object["status"]["observedGeneration"];
            let conditions = object["status"]["conditions"].as_array().unwrap();
            current
                && conditions
                    .iter()
                    .any(|condition| condition["type"] == "Ready" && condition["status"] == "True")
        })
    }
}

fn with_input(command: &mut Command, input: &str) -> Output {
    use std::io::Write as _;
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

/// Waits for something that the lab does in its own threads and its own time.
fn until(what: &str, mut there: impl FnMut() -> bool) {
    let began = Instant::now();
    while !there() {
        assert!(began.elapsed() < Duration::from_secs(30), "never: {what}");
        std::thread::yield_now();
    }
}

fn names(objects: &Value) -> BTreeSet<String> {
    objects["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| item["metadata"]["name"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn a_new_host_is_converged_and_has_what_its_version_has() {
    let lab = Running::new(HostSpec::new("one").apps(["nextcloud", "wordpress"]));
    assert!(lab.all_ready());
    assert_eq!(lab.saved_secrets().len(), 8, "ten, but for wekan's and rocketchat's");
    let oauth = lab.host().object("secrets", FLUX, "oas-oauth-variables").unwrap();
    assert!(oauth["data"]["nextcloud_oauth_client_secret"].is_string());
    assert!(oauth["data"]["wekan_oauth_client_secret"].is_null(), "wekan is not installed");
    assert_eq!(oauth["metadata"]["annotations"]["meta.helm.sh/release-name"], "oas-secrets");
    let claims = lab.json(&["get", "persistentvolumeclaims", "-A"]);
    assert!(names(&claims).contains("nextcloud-files"));
    assert!(claims["items"].as_array().unwrap().iter().all(|claim| claim["status"]["phase"] == "Bound"));
}

#[test]
fn every_version_and_vintage_can_be_made() {
    for version in Version::ALL {
        let lab = Running::new(HostSpec::new("one").version(version));
        let sources = lab.host().objects("gitrepositories");
        match version.source() {
            None => assert!(sources.is_empty(), "{version}"),
            Some(name) => {
                assert_eq!(sources[0]["metadata"]["name"], name, "{version}");
                assert!(lab.all_ready(), "{version}");
            }
        }
    }
}

#[test]
fn flux_removes_oas_secrets_and_with_it_the_secrets_which_put_back_heal_everything() {
    let lab = Running::new(HostSpec::new("one"));
    let saved = lab.saved_secrets();
    assert_eq!(saved.len(), 10);
    lab.follow_branch("v0.7");
    until("the release is gone", || lab.host().object("helmreleases", "oas", "oas-secrets").is_none());
    assert!(lab.saved_secrets().is_empty(), "the release took its secrets along");
    until("an app fails", || lab.ready(KUSTOMIZATIONS, FLUX, "nextcloud").0 == "False");
    until("it says why", || {
        lab.ready(KUSTOMIZATIONS, FLUX, "nextcloud").1
            == "var substitution failed for 'nextcloud': substitute from 'Secret/oas-cluster-variables' error: secrets \"oas-cluster-variables\" not found"
            || lab.ready(KUSTOMIZATIONS, FLUX, "nextcloud").1.contains("is not updated yet")
    });
    lab.put_back(&saved);
    until("all is well", || lab.all_ready());
    let revision = lab.host().object("gitrepositories", FLUX, "openappstack").unwrap()["status"]["artifact"]
        ["revision"]
        .clone();
    assert!(revision.as_str().unwrap().starts_with("v0.7/"), "{revision}");
    for kustomization in lab.host().objects("kustomizations") {
        assert_eq!(kustomization["status"]["lastAppliedRevision"], revision);
    }
    assert_eq!(lab.saved_secrets(), saved, "byte for byte");
}

#[test]
fn a_suspended_release_is_not_uninstalled_when_it_is_pruned() {
    let lab = Running::new(HostSpec::new("one"));
    lab.suspend(RELEASES, "oas", "oas-secrets", true);
    lab.follow_branch("v0.7");
    until("the release is gone", || lab.host().object("helmreleases", "oas", "oas-secrets").is_none());
    assert_eq!(lab.saved_secrets().len(), 10);
}

#[test]
fn a_suspended_source_ignores_its_branch_until_it_is_resumed() {
    let lab = Running::new(HostSpec { source_suspended: true, ..HostSpec::new("one") });
    let before = lab.host().object("gitrepositories", FLUX, "openappstack").unwrap();
    lab.follow_branch("v0.7");
    // A change that Flux does see, made later, shows that it had the time to see the branch.
    let mark = lab.reconcile(KUSTOMIZATIONS, FLUX, "nginx");
    until("flux has looked", || {
        lab.host().object("kustomizations", FLUX, "nginx").unwrap()["status"]["lastHandledReconcileAt"]
            == mark
    });
    let now = lab.host().object("gitrepositories", FLUX, "openappstack").unwrap();
    assert_eq!(now["status"], before["status"]);
    assert_ne!(now["metadata"]["generation"], now["status"]["observedGeneration"]);
    lab.suspend(SOURCES, FLUX, "openappstack", false);
    until("it is fetched", || {
        let source = lab.host().object("gitrepositories", FLUX, "openappstack").unwrap();
        source["status"]["artifact"]["revision"].as_str().unwrap().starts_with("v0.7/")
    });
}

#[test]
fn a_kustomization_that_has_failed_is_tried_again_after_a_restart_of_k3s() {
    let lab = Running::new(HostSpec::new("one").apps(["wekan"]));
    let saved = lab.saved_secrets();
    let variables: Vec<Value> =
        saved.into_iter().filter(|secret| secret["metadata"]["name"] == "oas-wekan-variables").collect();
    lab.kubectl(&["delete", "secrets", "oas-wekan-variables", "-n", FLUX]);
    lab.reconcile(KUSTOMIZATIONS, FLUX, "wekan");
    until("it has failed", || lab.ready(KUSTOMIZATIONS, FLUX, "wekan").0 == "False");
    for what in ["stop", "start"] {
        assert!(lab.program("systemctl", &[what, "k3s"]).status.success());
    }
    lab.put_back(&variables);
    until("it is ready", || lab.ready(KUSTOMIZATIONS, FLUX, "wekan").0 == "True");
}

#[test]
fn a_kustomization_waits_for_what_it_depends_on() {
    let lab = Running::new(HostSpec::new("one"));
    // Suspended, but seen by its controller: it stays ready, at the old revision.
    lab.host().edit("kustomizations", FLUX, "nginx", |nginx| {
        nginx["spec"]["suspend"] = json!(true);
        nginx["status"]["observedGeneration"] = json!(nginx["metadata"]["generation"].as_u64().unwrap() + 1);
    });
    lab.suspend(RELEASES, "oas", "oas-secrets", true);
    lab.follow_branch("v0.7");
    until("single-sign-on waits", || {
        let (status, text) = lab.ready(KUSTOMIZATIONS, FLUX, "single-sign-on");
        status == "False" && text == "dependency 'flux-system/nginx' is not updated yet"
    });
    lab.suspend(KUSTOMIZATIONS, FLUX, "nginx", false);
    until("it goes on", || lab.all_ready());
}

#[test]
fn a_release_out_of_retries_stays_failed_until_it_is_suspended_and_resumed() {
    let lab = Running::new(HostSpec::new("one").fault(Fault::LokiRetries));
    lab.suspend(RELEASES, "oas", "oas-secrets", true);
    lab.follow_branch("v0.7");
    let exhausted =
        || lab.ready(RELEASES, "oas", "loki") == ("False".to_owned(), "upgrade retries exhausted".to_owned());
    until("loki gives up", exhausted);
    let mark = lab.reconcile(RELEASES, "oas", "loki");
    let handled = || {
        lab.host().object("helmreleases", "oas", "loki").unwrap()["status"]["lastHandledReconcileAt"] == mark
    };
    until("it was asked again", || handled() && exhausted());
    lab.suspend(RELEASES, "oas", "loki", true);
    lab.suspend(RELEASES, "oas", "loki", false);
    until("loki is well", || lab.ready(RELEASES, "oas", "loki").0 == "True");
    assert_eq!(
        lab.host().object("helmreleases", "oas", "loki").unwrap()["status"]["lastAppliedRevision"],
        "2.5.2"
    );
}

/// Facts section 5.3: the record that a dead Helm has left goes, and what is installed is not forgotten.
#[test]
fn the_remedy_for_a_pending_release_deletes_its_pending_record_alone() {
    let lab = Running::new(HostSpec::new("one").fault(Fault::PendingRelease));
    // Name and status of Helm's records of promtail.
    let records = || -> Vec<(String, String)> {
        let secrets = lab.host().objects("secrets").into_iter();
        let text = |value: &Value| value.as_str().unwrap_or("").to_owned();
        let promtail = secrets.filter(|secret| secret["metadata"]["labels"]["name"] == "promtail");
        promtail
            .map(|secret| (text(&secret["metadata"]["name"]), text(&secret["metadata"]["labels"]["status"])))
            .collect()
    };
    let pending = |records: &[(String, String)]| {
        records.iter().filter(|(_, status)| status.starts_with("pending-")).count()
    };
    assert_eq!((records().len(), pending(&records())), (2, 1));
    let stuck = Stuck {
        kind: "HelmRelease",
        namespace: "oas".to_owned(),
        name: "promtail".to_owned(),
        message: String::new(),
        terminal: true,
    };
    let remedy = remedies::find("pending-release").unwrap();
    for command in (remedy.cure)(&stuck, 2) {
        let path =
            format!("{}:{}", lab.host().folder().join("bin").display(), std::env::var("PATH").unwrap());
        let output = Command::new("sh").args(["-c", command.line()]).env("PATH", path).output().unwrap();
        assert!(output.status.success(), "{}: {}", command.line(), String::from_utf8_lossy(&output.stderr));
    }
    until("promtail is well", || lab.all_ready());
    let left = records();
    assert_eq!(pending(&left), 0, "{left:?}");
    assert!(left.iter().any(|(name, _)| name == "sh.helm.release.v1.promtail.v1"), "{left:?}");
}

/// Guide, "From 0.8 to 1.0".
#[test]
fn the_way_to_1_0_meets_a_webhook_that_is_away_and_an_onlyoffice_that_is_too_old() {
    let spec = HostSpec::new("one").version(Version::V0_8).apps(["nextcloud"]);
    let lab = Running::new(spec.fault(Fault::WebhookAway).fault(Fault::OldOnlyoffice));
    assert!(lab.all_ready());
    lab.switch("v1.0");
    let config = || lab.ready(KUSTOMIZATIONS, FLUX, "kube-system-config");
    until("the webhook is away", || config().1.contains("failed calling webhook"));
    lab.reconcile(KUSTOMIZATIONS, FLUX, "kube-system-config");
    until("it was asked for again", || config().0 == "True");
    let (apps, app) = ("stackspin-apps", "nextcloud");
    until("nextcloud gives up", || lab.ready(RELEASES, apps, app).1 == "upgrade retries exhausted");
    let release = lab.host().object("helmreleases", apps, app).unwrap();
    let said = release["status"]["conditions"].to_string();
    assert!(said.contains("post-upgrade hooks failed"), "{said}");
    let occ = "php occ app:update --all; php occ app:enable onlyoffice";
    lab.kubectl(&["exec", "-c", app, "deployment/nc-nextcloud", "-n", apps, "--", "sh", "-c", occ]);
    lab.suspend(RELEASES, apps, app, true);
    lab.suspend(RELEASES, apps, app, false);
    until("all is well", || lab.all_ready());
}

/// Guide, "From 1.0 to 2"; facts section 6.4.
#[test]
fn at_2_a_selector_that_has_changed_fails_its_release_until_what_bears_the_old_one_is_deleted() {
    let lab = Running::new(HostSpec::new("one").version(Version::V1_0));
    lab.switch("v2");
    let cases = [
        ("stackspin", "kube-prometheus-stack", "daemonset", "kube-prometheus-stack-prometheus-node-exporter"),
        ("stackspin-apps", "nextcloud", "statefulset", "nc-mariadb"),
        ("stackspin-apps", "zulip", "statefulset", "zulip-postgresql"),
    ];
    for (namespace, release, kind, name) in cases {
        until("it gives up", || lab.ready(RELEASES, namespace, release).1 == "upgrade retries exhausted");
        let said = lab.host().object("helmreleases", namespace, release).unwrap()["status"]["conditions"]
            .to_string();
        assert!(said.to_lowercase().contains(&format!("with kind {kind}")), "{said}");
        lab.kubectl(&["delete", kind, name, "-n", namespace, "--ignore-not-found"]);
        lab.suspend(RELEASES, namespace, release, true);
        lab.suspend(RELEASES, namespace, release, false);
    }
    until("all is well", || lab.all_ready());
}

#[test]
fn single_sign_on_fails_on_empty_oauth_secrets_until_core_is_reconciled() {
    let lab = Running::new(HostSpec::new("one").fault(Fault::SsoEmptyOauth));
    let saved = lab.saved_secrets();
    lab.follow_branch("v0.7");
    until("the secrets are gone", || lab.saved_secrets().is_empty());
    lab.put_back(&saved);
    until("the template fails", || {
        lab.ready(RELEASES, "oas", "single-sign-on").1.contains("at <b64enc>: invalid value; expected string")
    });
    lab.reconcile(KUSTOMIZATIONS, FLUX, "single-sign-on");
    until("everything else is well", || {
        lab.host()
            .objects("kustomizations")
            .iter()
            .all(|object| object["status"]["conditions"][0]["status"] == "True")
    });
    assert!(!lab.all_ready());
    lab.reconcile(KUSTOMIZATIONS, FLUX, "core");
    until("all is well", || lab.all_ready());
}

#[test]
fn without_wekan_single_sign_on_needs_its_oauth_secret_all_the_same() {
    let lab = Running::new(HostSpec::new("one").fault(Fault::MissingWekan));
    let mut saved = lab.saved_secrets();
    assert_eq!(saved.len(), 9);
    lab.follow_branch("v0.7");
    until("the secrets are gone", || lab.saved_secrets().is_empty());
    lab.put_back(&saved);
    until("the template fails", || lab.ready(RELEASES, "oas", "single-sign-on").1.contains("b64enc"));
    let oauth = saved.iter_mut().find(|secret| secret["metadata"]["name"] == "oas-oauth-variables").unwrap();
    oauth["data"]["wekan_oauth_client_secret"] = json!("c2VjcmV0");
    let output = lab.with_input(&["replace", "--validate=false", "-f", "-"], &oauth.to_string());
    assert!(output.status.success());
    lab.reconcile(KUSTOMIZATIONS, FLUX, "core");
    until("all is well", || lab.all_ready());
}

#[test]
fn pruning_deletes_nothing_while_a_kustomization_is_suspended() {
    let lab = Running::new(HostSpec::new("one"));
    lab.suspend(KUSTOMIZATIONS, FLUX, "wekan", true);
    lab.kubectl(&["delete", KUSTOMIZATIONS, "wekan", "-n", FLUX]);
    assert!(lab.host().object("helmreleases", "oas-apps", "wekan").is_some());
    let folder = lab.host().volume("oas-apps", "wordpress-files").unwrap();
    lab.kubectl(&["delete", KUSTOMIZATIONS, "wordpress", "-n", FLUX]);
    until("wordpress is gone", || lab.host().object("helmreleases", "oas-apps", "wordpress").is_none());
    until("its data is gone", || !folder.exists());
}

#[test]
fn a_volume_with_policy_delete_loses_its_folder_and_one_with_retain_keeps_it() {
    let lab = Running::new(HostSpec::new("one").apps(["nextcloud"]));
    let volume = |claim: &str| {
        lab.host().object("persistentvolumeclaims", "oas-apps", claim).unwrap()["spec"]["volumeName"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    let (kept, lost) = (volume("nextcloud-files"), volume("nextcloud-mariadb"));
    let kept_folder = lab.host().volume("oas-apps", "nextcloud-files").unwrap();
    let lost_folder = lab.host().volume("oas-apps", "nextcloud-mariadb").unwrap();
    let retain = json!({"spec": {"persistentVolumeReclaimPolicy": "Retain"}}).to_string();
    lab.kubectl(&["patch", "persistentvolumes", &kept, "--type", "merge", "-p", &retain]);
    lab.kubectl(&["delete", "persistentvolumeclaims", "nextcloud-files", "-n", "oas-apps", "--wait=false"]);
    let claim = lab.host().object("persistentvolumeclaims", "oas-apps", "nextcloud-files").unwrap();
    assert!(claim["metadata"]["deletionTimestamp"].is_string(), "a pod still uses it");
    lab.kubectl(&["delete", "namespaces", "oas-apps", "--wait=false"]);
    until("the folder is gone", || !lost_folder.exists());
    assert!(lab.host().object("persistentvolumes", "", &lost).is_none());
    until("the volume is released", || {
        lab.host().object("persistentvolumes", "", &kept).unwrap()["status"]["phase"] == "Released"
    });
    assert!(kept_folder.join("config.ini").exists());
}

#[test]
fn a_retained_volume_can_be_claimed_from_another_namespace() {
    let lab = Running::new(HostSpec::new("one").apps(["nextcloud"]));
    lab.suspend(KUSTOMIZATIONS, FLUX, "nextcloud", true);
    let claim = lab.host().object("persistentvolumeclaims", "oas-apps", "nextcloud-files").unwrap();
    let volume = claim["spec"]["volumeName"].as_str().unwrap();
    let patch = |patch: Value| {
        lab.kubectl(&["patch", "persistentvolumes", volume, "--type", "merge", "-p", &patch.to_string()]);
    };
    patch(json!({"spec": {"persistentVolumeReclaimPolicy": "Retain"}}));
    lab.kubectl(&["scale", "deployment", "nc-nextcloud", "-n", "oas-apps", "--replicas=0"]);
    lab.kubectl(&["delete", "persistentvolumeclaims", "nextcloud-files", "-n", "oas-apps"]);
    let reference = json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "namespace": "default", "name": "nextcloud-files"});
    patch(json!({"spec": {"claimRef": null}}));
    patch(json!({"spec": {"claimRef": reference}}));
    until("it is free", || {
        lab.host().object("persistentvolumes", "", volume).unwrap()["status"]["phase"] == "Available"
    });
    let new = json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim",
        "metadata": {"name": "nextcloud-files", "namespace": "default"},
        "spec": {"accessModes": ["ReadWriteOnce"], "storageClassName": "local-path", "volumeName": volume,
            "resources": {"requests": {"storage": "1Gi"}}}});
    lab.put_back(&[new]);
    until("it is bound", || {
        lab.host().object("persistentvolumeclaims", "default", "nextcloud-files").unwrap()["status"]["phase"]
            == "Bound"
    });
}

#[test]
fn a_volume_that_is_kept_for_a_claim_goes_to_it_also_where_it_asks_for_none() {
    let lab = Running::new(HostSpec::new("one").apps(["nextcloud"]));
    let claim = |name: &str| {
        json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name, "namespace": "default"},
            "spec": {"accessModes": ["ReadWriteOnce"], "storageClassName": "local-path",
                "resources": {"requests": {"storage": "1Gi"}}}})
    };
    let kept = json!({"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": "kept"},
        "spec": {"capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"], "storageClassName": "local-path",
            "persistentVolumeReclaimPolicy": "Retain", "hostPath": {"path": "/nonexistent"},
            "claimRef": {"kind": "PersistentVolumeClaim", "namespace": "default", "name": "mine"}}});
    lab.put_back(&[kept]);
    lab.put_back(&[claim("other"), claim("mine")]);
    let volume = |name: &str| {
        let claim = lab.host().object("persistentvolumeclaims", "default", name).unwrap();
        (claim["status"]["phase"] == "Bound")
            .then(|| claim["spec"]["volumeName"].as_str().unwrap().to_owned())
    };
    until("both are bound", || volume("other").is_some() && volume("mine").is_some());
    assert_eq!(volume("mine").unwrap(), "kept");
    assert_ne!(volume("other").unwrap(), "kept");
}

#[test]
fn while_k3s_is_stopped_its_datastore_holds_the_objects_and_a_restored_one_restores_them() {
    let lab = Running::new(HostSpec::new("one"));
    let path = lab.host().k3s_data().join("server/db/state.db");
    let stopped = |what: &str| assert!(lab.program("systemctl", &[what, "k3s"]).status.success());
    stopped("stop");
    assert_eq!(lab.program("systemctl", &["is-active", "k3s"]).stdout, b"inactive\n");
    assert_eq!(lab.program("systemctl", &["is-active", "k3s"]).status.code(), Some(3));
    let port = lab.host().api.number();
    assert_eq!(
        lab.complaint(&["get", "secrets", "-A", "-o", "json"]),
        format!(
            "The connection to the server 127.0.0.1:{port} was refused - did you specify the right host or port?\n"
        )
    );
    let database = rusqlite::Connection::open(&path).unwrap();
    let count = |like: &str| -> u32 {
        database
            .query_row("SELECT COUNT(*) FROM kine WHERE deleted = 0 AND name LIKE ?1", [like], |row| {
                row.get(0)
            })
            .unwrap()
    };
    assert_eq!(count("/registry/secrets/%") as usize, lab.host().objects("secrets").len());
    assert_eq!(count("/registry/minions/one"), 1);
    assert_eq!(count("/registry/kustomize.toolkit.fluxcd.io/kustomizations/flux-system/core"), 1);
    drop(database);
    let saved = fs::read(&path).unwrap();
    stopped("start");
    lab.kubectl(&["delete", "secrets", "oas-wekan-variables", "-n", FLUX]);
    stopped("stop");
    fs::write(&path, saved).unwrap();
    stopped("start");
    assert!(names(&lab.json(&["get", "secrets", "-n", FLUX])).contains("oas-wekan-variables"));
    until("the node is ready", || {
        let node = lab.json(&["get", "nodes", "one"]);
        node["status"]["conditions"]
            .as_array()
            .unwrap()
            .iter()
            .any(|one| one["type"] == "Ready" && one["status"] == "True")
    });
}

#[test]
fn containers_write_until_they_are_killed() {
    let lab = Running::new(HostSpec::new("one").apps(["nextcloud"]).fault(Fault::ContainersKeepWriting));
    let log = lab.host().volume("oas-apps", "nextcloud-files").unwrap().join("container.log");
    let size = || fs::metadata(&log).map_or(0, |metadata| metadata.len());
    assert!(lab.program("systemctl", &["stop", "k3s"]).status.success());
    let before = size();
    until("they write although k3s is stopped", || size() > before);
    assert!(lab.program("k3s-killall.sh", &[]).status.success());
    let page = lab.program("curl", &["-sS", "https://nextcloud.one.example.org/"]);
    assert_eq!(page.status.code(), Some(7), "nothing serves");
    // A write that was under way when they were killed may still land; after it nothing more comes.
    let settled = size();
    until("the clock has moved on", || {
        let age = fs::metadata(&log).unwrap().modified().unwrap().elapsed().unwrap_or_default();
        age > Duration::from_millis(600)
    });
    assert!(size() <= settled + 64, "at most one line more");
}

#[test]
fn volumes_hold_what_copies_get_wrong() {
    let lab = Running::new(HostSpec::new("one").apps(["nextcloud"]));
    let folder = lab.host().volume("oas-apps", "nextcloud-files").unwrap();
    let sparse = fs::metadata(folder.join("sparse.img")).unwrap();
    assert!(sparse.blocks() * 512 < sparse.len(), "it has a hole");
    let twin = fs::metadata(folder.join("data/0.dat")).unwrap();
    assert_eq!(twin.ino(), fs::metadata(folder.join("data/0 again.dat")).unwrap().ino());
    assert!(fs::symlink_metadata(folder.join("dangling")).unwrap().is_symlink());
    assert!(folder.join("Fotos & Videos (alt)/two\nlines.txt").exists());
    if fs::metadata("/proc/self").unwrap().uid() == 0 {
        assert_eq!(fs::metadata(folder.join("sparse.img")).unwrap().uid(), 33);
    }
}

/// A login over the inventory that the lab wrote.
async fn login(lab: &Lab) -> Result<fleet::ssh::Session, RemoteError> {
    let inventory = fleet::inventory::load(&lab.inventory()).unwrap();
    fleet::ssh::connect(&inventory.clusters.values().next().unwrap().host).await
}

#[tokio::test]
async fn the_written_inventory_leads_to_a_real_shell() {
    let lab = Running::new(HostSpec { group: "green-houses".to_owned(), ..HostSpec::new("one") });
    let session = login(&lab.lab).await.unwrap();
    let mut log = Vec::new();
    let line =
        Asked::new("cat; echo oops >&2; sudo -n -- k3s --version | head -n 1; exit 3").stdin(b"in ".to_vec());
    let output = session.run(&line, &mut log).await.unwrap();
    assert_eq!(output.exit, Exit::Code(3));
    assert_eq!(output.stderr, b"oops\n");
    assert!(output.text().starts_with("in k3s version v1.21.5+k3s2 ("), "{}", output.text());
    let output =
        session.run(&Asked::new("head -c 30000000 /dev/zero").limit(10), &mut std::io::sink()).await.unwrap();
    assert!(output.success());
    assert_eq!(lab.host().connections(), 1);
    assert_eq!(lab.host().commands().len(), 2);
    let logged = fs::read_to_string(lab.host().folder().join("commands.log")).unwrap();
    assert!(logged.contains("head -c 30000000"));
}

#[tokio::test]
async fn a_detached_child_outlives_its_connection() {
    let lab = Running::new(HostSpec::new("one"));
    let session = login(&lab.lab).await.unwrap();
    let line = Asked::new(
        "mkfifo gate; setsid sh -c 'read word <gate; echo $word >done' </dev/null >/dev/null 2>&1 &",
    );
    assert!(session.run(&line, &mut std::io::sink()).await.unwrap().success());
    session.close().await;
    let home = lab.host().folder().join("home");
    fs::write(home.join("gate"), "alive\n").unwrap();
    until("it went on", || fs::read_to_string(home.join("done")).is_ok_and(|text| text == "alive\n"));
}

#[tokio::test]
async fn a_fault_cuts_the_connection_before_or_after_a_command_once() {
    let lab = Running::new(HostSpec::new("one").fault(Fault::ConnectionDropsAt("first".to_owned())));
    lab.host().inject(Fault::ConnectionDropsAfter("second".to_owned()));
    let home = lab.host().folder().join("home");
    let session = login(&lab.lab).await.unwrap();
    let error = session.run(&Asked::new("touch first"), &mut std::io::sink()).await.unwrap_err();
    assert!(error.in_doubt(), "{error}");
    assert!(!home.join("first").exists());
    let session = login(&lab.lab).await.unwrap();
    let error = session.run(&Asked::new("touch second"), &mut std::io::sink()).await.unwrap_err();
    assert!(error.in_doubt(), "{error}");
    assert!(home.join("second").exists());
    let session = login(&lab.lab).await.unwrap();
    assert!(session.run(&Asked::new("touch first second"), &mut std::io::sink()).await.unwrap().success());
}

#[tokio::test]
async fn hosts_can_be_unreachable_refuse_keys_and_come_back() {
    let lab = Running::new(HostSpec::new("one").fault(Fault::Unreachable));
    assert!(matches!(login(&lab.lab).await, Err(RemoteError::Unreachable { .. })));
    lab.host().inject(Fault::AuthRefused);
    lab.host().heal(&Fault::Unreachable);
    let mut answer = login(&lab.lab).await;
    while matches!(answer, Err(RemoteError::Unreachable { .. })) {
        answer = login(&lab.lab).await;
    }
    assert!(matches!(answer, Err(RemoteError::Auth(_))), "{:?}", answer.err());
    lab.host().heal(&Fault::AuthRefused);
    assert!(login(&lab.lab).await.is_ok());
}

#[tokio::test]
async fn commands_fail_hang_and_come_with_noise_where_a_fault_says_so() {
    let lab = Running::new(HostSpec::new("one").fault(Fault::CommandFails("one".to_owned())));
    for fault in
        [Fault::CommandHangs("two".to_owned()), Fault::HostileOutput, Fault::TarFails, Fault::DiskFull]
    {
        lab.host().inject(fault);
    }
    let session = login(&lab.lab).await.unwrap();
    let mut log = std::io::sink();
    assert_eq!(session.run(&Asked::new("echo one"), &mut log).await.unwrap().exit, Exit::Code(1));
    let line = Asked::new("echo two").deadline(Duration::from_millis(300));
    assert!(matches!(session.run(&line, &mut log).await, Err(RemoteError::Deadline(_))));
    let output = session.run(&Asked::new("echo three"), &mut log).await.unwrap();
    assert_eq!(output.stdout, b"three\n");
    assert!(output.stderr.contains(&0x1b), "control characters come along");
    assert_eq!(session.run(&Asked::new("tar -cf - ."), &mut log).await.unwrap().exit, Exit::Code(2));
    let full = session.run(&Asked::new("df --output=avail,iavail / | tail -n 1"), &mut log).await.unwrap();
    assert_eq!(full.text().split_whitespace().collect::<Vec<_>>(), ["0", "0"]);
    lab.host().heal(&Fault::TarFails);
    assert!(session.run(&Asked::new("tar -cf - . | wc -c"), &mut log).await.unwrap().success());
}

#[test]
fn faults_of_k3s_and_flux_show_where_an_operator_looks() {
    let lab = Running::new(HostSpec::new("one").fault(Fault::FailingPod).fault(Fault::PendingRelease));
    for fault in [Fault::SourceWontFetch, Fault::NoInternet] {
        lab.host().inject(fault);
    }
    until("a pod crashes", || {
        lab.host().objects("pods").iter().any(|pod| {
            pod["status"]["containerStatuses"][0]["state"]["waiting"]["reason"] == "CrashLoopBackOff"
        })
    });
    assert_eq!(
        lab.program(
            "curl",
            &["-sS", "-o", "/dev/null", "-w", "%{http_code}", "https://wordpress.one.example.org"]
        )
        .stdout,
        b"503"
    );
    assert_eq!(
        lab.program(
            "curl",
            &["-sS", "-o", "/dev/null", "-w", "%{http_code}", "https://nextcloud.one.example.org"]
        )
        .stdout,
        b"200"
    );
    assert_eq!(lab.program("curl", &["-sS", "-I", "https://git.example.org/"]).status.code(), Some(28));
    let pending =
        lab.json(&["get", "secrets", "-A", "-l", "owner=helm,status in (pending-install,pending-upgrade)"]);
    assert_eq!(pending["items"].as_array().unwrap().len(), 1);
    lab.follow_branch("v0.7");
    until("the source fails", || lab.ready(SOURCES, FLUX, "openappstack").1.starts_with("unable to clone"));
    lab.host().inject(Fault::K3sWontStart);
    lab.program("systemctl", &["stop", "k3s"]);
    assert_eq!(lab.program("systemctl", &["start", "k3s"]).status.code(), Some(1));
    assert_eq!(lab.program("systemctl", &["is-active", "k3s"]).stdout, b"failed\n");
    lab.host().heal(&Fault::K3sWontStart);
    assert!(lab.program("systemctl", &["start", "k3s"]).status.success());
    lab.host().inject(Fault::ApiAway);
    until("the API is away", || !lab.program("k3s", &["kubectl", "get", "nodes"]).status.success());
}

#[test]
fn versions_can_be_mixed_and_branches_be_no_release() {
    let lab = Running::new(HostSpec::new("one").fault(Fault::MixedVersion));
    assert_eq!(
        names(&lab.json(&["get", SOURCES, "-A"])),
        ["openappstack", "stackspin"].map(str::to_owned).into()
    );
    let lab = Running::new(HostSpec::new("one").fault(Fault::DevelopmentBranch));
    assert_eq!(lab.json(&["get", SOURCES, "openappstack", "-n", FLUX])["spec"]["ref"]["branch"], "main");
}

#[test]
fn an_app_that_never_gets_ready_and_a_release_that_stays_hold_an_upgrade_up() {
    let lab = Running::new(
        HostSpec::new("one").fault(Fault::AppNeverReady("wekan".to_owned())).fault(Fault::OasSecretsStays),
    );
    lab.follow_branch("v0.7");
    until("it is told why the release stays", || {
        lab.ready(RELEASES, "oas", "oas-secrets").1.starts_with("Helm uninstall failed")
    });
    assert_eq!(lab.saved_secrets().len(), 10);
    until("wekan gives up", || lab.ready(RELEASES, "oas-apps", "wekan").1 == "upgrade retries exhausted");
}

#[test]
fn refusals_read_like_those_of_a_real_api() {
    let lab = Running::new(HostSpec::new("one"));
    let secret = |version: &str| {
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "x", "namespace": "default", "resourceVersion": version}}).to_string()
    };
    let create = ["create", "--validate=false", "-f", "-"];
    assert_eq!(lab.with_input(&create, &secret("")).stdout, b"secret/x created\n");
    let said = |output: Output| String::from_utf8(output.stderr).unwrap();
    assert_eq!(
        said(lab.with_input(&create, &secret(""))),
        "Error from server (AlreadyExists): error when creating \"STDIN\": secrets \"x\" already exists\n"
    );
    assert!(
        said(lab.with_input(&create, &secret("7")))
            .contains("resourceVersion should not be set on objects to be created")
    );
    let conflict = said(lab.with_input(&["replace", "--validate=false", "-f", "-"], &secret("1")));
    assert!(
        conflict.contains("(Conflict)") && conflict.contains("the object has been modified"),
        "{conflict}"
    );
    assert_eq!(
        lab.complaint(&["get", "secret", "nope"]),
        "Error from server (NotFound): secrets \"nope\" not found\n"
    );
    assert_eq!(
        lab.complaint(&["get", "nonsense"]),
        "error: the server doesn't have a resource type \"nonsense\"\n"
    );
    assert_eq!(lab.kubectl(&["get", "secret", "nope", "--ignore-not-found", "-o", "json"]), "");
    assert!(
        lab.complaint(&["get", "secrets", "--frobnicate"]).starts_with("error: unknown flag: --frobnicate")
    );
}

#[test]
fn two_labs_cannot_share_what_is_not_theirs() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("precious"), "data").unwrap();
    let fleet = Path::new(env!("CARGO_BIN_EXE_fleet"));
    let refused = Lab::start(folder.path(), vec![HostSpec::new("one")], fleet);
    assert!(matches!(refused, Err(LabError::NotOurs(_))));
    assert!(folder.path().join("precious").exists());
    let own = folder.path().join("lab");
    Lab::start(&own, vec![HostSpec::new("one")], fleet).unwrap().stop();
    let again = Lab::start(&own, vec![HostSpec::new("two")], fleet).unwrap();
    assert!(again.host("two").is_some());
    assert!(!own.join("hosts/one").exists());
    for (spec, what) in [(HostSpec::new("../up"), "name"), (HostSpec::new("x").apps(["emacs"]), "app")] {
        assert!(Lab::start(&folder.path().join("other"), vec![spec], fleet).is_err(), "{what}");
    }
    assert!(matches!(
        Lab::start(&folder.path().join("other"), vec![HostSpec::new("x"), HostSpec::new("x")], fleet),
        Err(LabError::Twice(_))
    ));
}

#[test]
fn the_command_lists_faults_and_refuses_unknown_ones() {
    let fleet = || Command::new(env!("CARGO_BIN_EXE_fleet"));
    let help = fleet().args(["lab", "up", "--fault", "help"]).output().unwrap();
    let text = String::from_utf8(help.stdout).unwrap();
    for (name, _) in HELP {
        assert!(text.contains(name), "{name}");
    }
    for (fault, said) in
        [("lab-01=bogus", "unknown fault"), ("lab-99=unreachable", "no host"), ("unreachable", "HOST=FAULT")]
    {
        let folder = tempfile::tempdir().unwrap();
        let output = fleet()
            .args(["lab", "up", "--folder"])
            .arg(folder.path().join("lab"))
            .args(["--fault", fault])
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(64));
        assert!(String::from_utf8_lossy(&output.stderr).contains(said), "{fault}");
    }
}

/// A kubectl of this machine; `None`, and a line that says so, where there is none.
fn real_kubectl() -> Option<&'static str> {
    let there = Command::new("kubectl")
        .args(["version", "--client"])
        .output()
        .is_ok_and(|output| output.status.success());
    if !there {
        println!("not run: no kubectl on this machine");
    }
    there.then_some("kubectl")
}

/// A real kubectl on the lab's host.
struct Real<'a> {
    kubectl: &'a str,
    lab: &'a Running,
}

impl Real<'_> {
    fn run(&self, words: &[&str], input: &str) -> Output {
        let folder = self.lab.host().folder();
        let mut command = Command::new(self.kubectl);
        command
            .args(words)
            .env("KUBECONFIG", folder.join("etc-rancher/k3s.yaml"))
            .env("HOME", folder.join("home"));
        with_input(&mut command, input)
    }
}

#[test]
fn a_real_kubectl_and_the_stand_in_agree_on_every_form_that_fleet_uses() {
    let Some(kubectl) = real_kubectl() else { return };
    for flux in [Vintage::Beta1, Vintage::V1] {
        let lab = Running::new(HostSpec { flux, ..HostSpec::new("one") });
        let real = Real { kubectl, lab: &lab };
        both_read_alike(&lab, &real);
        both_write_alike(&lab, &real);
        both_move_the_cluster(&lab, &real);
    }
}

fn both_read_alike(lab: &Running, real: &Real<'_>) {
    // Quiet first: controllers must not write between the two questions.
    until("all is quiet", || lab.all_ready());
    let all = format!("{SOURCES},{KUSTOMIZATIONS},{RELEASES}");
    let reads: &[&[&str]] = &[
        &["get", &all, "-A", "-o", "json"],
        &[
            "get",
            "nodes,namespaces,persistentvolumes,persistentvolumeclaims,pods,cronjobs,jobs,deployments,ingresses",
            "-A",
            "-o",
            "json",
        ],
        &["get", "secrets", "-A", "--field-selector", "type!=helm.sh/release.v1", "-o", "json"],
        &["get", "secrets", "-A", "-l", "owner=helm,status in (deployed,failed)", "-o", "json"],
        &["get", "configmaps", "-n", "oas-apps", "-o", "json"],
        &["get", "certificates.cert-manager.io", "-A", "-o", "json"],
        &["get", "namespaces", "kube-system", "-o", "json"],
        &["get", KUSTOMIZATIONS, "core", "-n", FLUX, "-o", "json"],
        &["get", "secrets", "nope", "-n", FLUX, "-o", "json"],
        &["get", "secrets", "nope", "-n", FLUX, "--ignore-not-found", "-o", "json"],
        &["get", "stringsecrets.secretgenerator.mittwald.de", "-A", "-o", "json"],
        &["get", "secrets", "-n", "nowhere", "-o", "json"],
        &[
            "get",
            JOBS,
            "flux-suspend-source",
            "-n",
            FLUX,
            "-o",
            "jsonpath={.apiVersion}|{.spec.suspend}|{.status.active}",
        ],
        &[
            "get",
            JOBS,
            "nope",
            "-n",
            FLUX,
            "--ignore-not-found",
            "-o",
            "jsonpath={.apiVersion}|{.spec.suspend}",
        ],
        &["get", "deployments.apps", "coredns", "-n", "kube-system", "-o", "jsonpath={.spec.replicas}"],
        &["get", "--raw", "/readyz"],
        &["get", "--raw", "/apis"],
        &["get", "--raw", "/nonsense"],
    ];
    for words in reads {
        let (theirs, ours) = (real.run(words, ""), lab.with_input(words, ""));
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        assert_eq!(
            theirs.status.code(),
            ours.status.code(),
            "{words:?}: {} {}",
            text(&theirs.stderr),
            text(&ours.stderr)
        );
        let value = |bytes: &[u8]| {
            serde_json::from_slice::<Value>(bytes).unwrap_or_else(|_| json!(text(bytes).trim()))
        };
        assert_eq!(value(&theirs.stdout), value(&ours.stdout), "{words:?}");
        let last = |bytes: &[u8]| text(bytes).lines().last().unwrap_or("").to_owned();
        if !words.iter().any(|word| word.contains("mittwald") || *word == "/nonsense") {
            assert_eq!(last(&theirs.stderr), last(&ours.stderr), "{words:?}");
        }
    }
}

fn both_write_alike(lab: &Running, real: &Real<'_>) {
    let made = |name: &str, value: &str| {
        json!({"apiVersion": "v1", "kind": "Secret", "type": "Opaque", "metadata": {"name": name, "namespace": "default"},
                "data": {"key": value}}).to_string()
    };
    // Each writer works on objects of its own; what both print must differ in their names only.
    let writes: &[(&[&str], Option<&str>)] = &[
        (&["create", "--validate=false", "-f", "-"], Some("YQ==")),
        (&["create", "--validate=false", "-f", "-"], Some("YQ==")),
        (&["replace", "--validate=false", "-f", "-"], Some("Yg==")),
        (
            &[
                "patch",
                "secrets",
                "NAME",
                "-n",
                "default",
                "--type",
                "merge",
                "-p",
                r#"{"data":{"more":"Yw=="}}"#,
            ],
            None,
        ),
        (
            &[
                "patch",
                "secrets",
                "NAME",
                "-n",
                "default",
                "--type",
                "merge",
                "-p",
                r#"{"data":{"more":"Yw=="}}"#,
            ],
            None,
        ),
        (&["annotate", "--overwrite", "secrets", "NAME", "-n", "default", "a/b=c"], None),
        (&["label", "--overwrite", "secrets", "NAME", "-n", "default", "a=b"], None),
        (&["delete", "secrets", "NAME", "-n", "default", "--wait=false"], None),
        (&["delete", "secrets", "NAME", "-n", "default"], None),
        (&["delete", "secrets", "NAME", "-n", "default", "--ignore-not-found"], None),
        (&["replace", "--validate=false", "-f", "-"], Some("Yg==")),
    ];
    for (words, data) in writes {
        let outcome = |name: &str, run: &dyn Fn(&[&str], &str) -> Output| {
            let words: Vec<&str> =
                words.iter().map(|word| if *word == "NAME" { name } else { word }).collect();
            let output = run(&words, &data.map(|data| made(name, data)).unwrap_or_default());
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).replace(name, "NAME");
            (output.status.code(), text(&output.stdout), text(&output.stderr))
        };
        let theirs = outcome("their-secret", &|words, input| real.run(words, input));
        let ours = outcome("our-secret", &|words, input| lab.with_input(words, input));
        let bare = |outcome: (Option<i32>, String, String)| {
            (outcome.0, outcome.1.replace(" from default namespace", ""), outcome.2)
        };
        assert_eq!(bare(theirs), bare(ours), "{words:?}");
    }
}

fn both_move_the_cluster(lab: &Running, real: &Real<'_>) {
    let mark = |value: &str| format!("reconcile.fluxcd.io/requestedAt={value}");
    for (value, run) in [("theirs", true), ("ours", false)] {
        let mark = mark(value);
        let words = ["annotate", "--overwrite", KUSTOMIZATIONS, "--all", "-n", FLUX, &mark];
        let output = if run { real.run(&words, "") } else { lab.with_input(&words, "") };
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        until("every kustomization was reconciled", || {
            lab.host()
                .objects("kustomizations")
                .iter()
                .all(|one| one["status"]["lastHandledReconcileAt"] == value)
        });
    }
    for (replicas, run) in [("--replicas=1", true), ("--replicas=0", false)] {
        let words = ["scale", "deployment", "system-upgrade-controller", "-n", "system-upgrade", replicas];
        let output = if run { real.run(&words, "") } else { lab.with_input(&words, "") };
        assert_eq!(
            String::from_utf8_lossy(&output.stdout),
            "deployment.apps/system-upgrade-controller scaled\n"
        );
    }
    let waited = real.run(&["delete", KUSTOMIZATIONS, "promtail", "-n", FLUX], "");
    assert!(waited.status.success(), "{}", String::from_utf8_lossy(&waited.stderr));
    assert!(lab.host().object("kustomizations", FLUX, "promtail").is_none(), "kubectl waited for its end");
}

#[test]
fn equal_hosts_are_made_alike_but_have_keys_and_identities_of_their_own() {
    let folder = tempfile::tempdir().unwrap();
    let fleet = Path::new(env!("CARGO_BIN_EXE_fleet"));
    let lab =
        Lab::start(&folder.path().join("lab"), vec![HostSpec::new("a"), HostSpec::new("b")], fleet).unwrap();
    let uids: BTreeSet<String> = lab.hosts().map(Host::cluster_uid).collect();
    assert_eq!(uids.len(), 2);
    let inventory = fleet::inventory::load(&lab.inventory()).unwrap();
    let keys: BTreeSet<_> =
        inventory.clusters.values().map(|cluster| cluster.host.host_key.clone()).collect();
    assert_eq!(keys.len(), 2);
    let count = |host: &str| lab.host(host).unwrap().objects("secrets").len();
    assert_eq!(count("a"), count("b"));
}
