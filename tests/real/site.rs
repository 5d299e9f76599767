//! A host with a real Kubernetes API server: the folder, volumes and programs of a simulated one, behind a real sshd, with the real server in
//! place of the simulated one.
//!
//! What is in the cluster at first is what the lab has in a cluster of that version; from then on nobody asks the lab about it any more.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use fleet::event::Event;
use fleet::inventory::{self, Cluster};
use fleet::journal;
use fleet::lab::{Host, HostSpec, Lab, OF_THIS_MACHINE};
use serde_json::{Value, json};

use super::server::Server;
use super::standins::StandIns;
use crate::lab_support::{Ran, acknowledging, fleet, replace_program, run};
use crate::sshd::{Options, Sshd};

/// What is carried over of a simulated cluster, in this order. Pods and what the server makes by itself are not.
const CARRIED: [&str; 19] = [
    "namespaces",
    "storageclasses",
    "nodes",
    "secrets",
    "configmaps",
    "services",
    "persistentvolumes",
    "persistentvolumeclaims",
    "deployments",
    "statefulsets",
    "daemonsets",
    "cronjobs",
    "ingresses",
    "certificates",
    "plans",
    "helmrepositories",
    "gitrepositories",
    "kustomizations",
    "helmreleases",
];

/// Custom resources: group, versions (the first is the one stored), kind. Nothing of their fields is known here but that they are there.
const CUSTOM: [(&str, &[&str], &str); 8] = [
    ("source.toolkit.fluxcd.io", &["v1beta1", "v1beta2"], "GitRepository"),
    ("source.toolkit.fluxcd.io", &["v1beta1", "v1beta2"], "HelmRepository"),
    ("source.toolkit.fluxcd.io", &["v1beta1", "v1beta2"], "HelmChart"),
    ("kustomize.toolkit.fluxcd.io", &["v1beta1", "v1beta2"], "Kustomization"),
    ("helm.toolkit.fluxcd.io", &["v2beta1"], "HelmRelease"),
    ("cert-manager.io", &["v1"], "Certificate"),
    ("upgrade.cattle.io", &["v1"], "Plan"),
    ("monitoring.coreos.com", &["v1"], "ServiceMonitor"),
];

/// One host.
pub(crate) struct Site {
    // Ends first: it calls the server.
    stand_ins: StandIns,
    systemctl: Option<JoinHandle<()>>,
    ends: Arc<AtomicBool>,
    door: u16,
    pub(crate) server: Arc<Server>,
    pub(crate) sshd: Sshd,
    lab: Lab,
    folder: tempfile::TempDir,
}

impl Site {
    /// A host of this kind, its cluster at rest. `later` are the same one at the versions that it may be upgraded to: what the branch of
    /// that version holds.
    pub(crate) fn start(set: &Path, spec: HostSpec, later: Vec<HostSpec>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let binary = Path::new(env!("CARGO_BIN_EXE_fleet"));
        let lab = Lab::start(&folder.path().join("lab"), vec![spec], binary).unwrap();
        let host = lab.hosts().next().unwrap();
        let server = Arc::new(Server::start(
            set,
            &folder.path().join("server"),
            &host.k3s_data().join("server"),
            &host.folder().join("etc-rancher/k3s.yaml"),
        ));
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let door = listener.local_addr().unwrap().port();
        programs(host, &server_kubectl(set), door);
        let ends = Arc::new(AtomicBool::new(false));
        let systemctl = {
            let (server, ends) = (Arc::clone(&server), Arc::clone(&ends));
            Some(std::thread::spawn(move || serve(&listener, &server, &ends)))
        };
        define(&server);
        let objects = carried(host);
        for object in &objects {
            create(&server, object);
        }
        let branches = later.into_iter().map(|spec| branch(&folder.path().join("later"), spec)).collect();
        let stand_ins = StandIns::start(Arc::clone(&server), host.spec().name.clone(), branches);
        let sshd = Sshd::start_with(&Options {
            path_prefix: Some(host.folder().join("bin")),
            home: Some(host.folder().join("home")),
            ..Options::default()
        });
        let site = Self { stand_ins, systemctl, ends, door, server, sshd, lab, folder };
        site.write_inventory();
        site.server.wait("every pod runs and every claim is bound", || site.rests());
        site
    }

    pub(crate) fn host(&self) -> &Host {
        self.lab.hosts().next().unwrap()
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The host as the inventory has it.
    pub(crate) fn ssh(&self) -> inventory::Host {
        inventory::Host { name: self.host().spec().name.clone(), ..self.sshd.host() }
    }

    fn write_inventory(&self) {
        let known = inventory::load(&self.lab.inventory()).unwrap();
        let uid = self.server.find("/api/v1/namespaces/kube-system").unwrap()["metadata"]["uid"].clone();
        let uid = uid.as_str().map(str::to_owned);
        let clusters = known.clusters.values().map(|cluster| Cluster {
            host: self.ssh(),
            cluster_uid: uid.clone(),
            ..cluster.clone()
        });
        fs::write(self.path("inventory.toml"), inventory::write(&clusters.collect::<Vec<_>>()).unwrap())
            .unwrap();
    }

    /// The binary with this site's own places.
    pub(crate) fn fleet(&self, words: &[&str]) -> Ran {
        let mut command = fleet(words);
        command
            .current_dir(self.folder.path())
            .env("FLEET_INVENTORY", self.path("inventory.toml"))
            .env("FLEET_RUNS", self.path("runs"))
            .env("FLEET_BACKUPS", self.path("backups"));
        run(&mut command)
    }

    /// The words of an upgrade in which what the test machine is like does not matter.
    pub(crate) fn upgrade(&self, more: &[&str]) -> Ran {
        assert!(!OF_THIS_MACHINE.is_empty());
        self.fleet(&acknowledging(&["upgrade", "--all"], more))
    }

    /// What the newest run has written down.
    pub(crate) fn journal(&self) -> Vec<Event> {
        let last = fs::read_to_string(self.path("runs/.last")).unwrap();
        let folder = self.path("runs").join(last.trim()).join(&self.host().spec().name);
        journal::read(&folder.join("journal.ndjson")).unwrap()
    }

    /// Runs a line on the host as its administrator would.
    #[track_caller]
    pub(crate) fn shell(&self, line: &str) -> String {
        let path = std::env::var("PATH").unwrap();
        let output = Command::new("sh")
            .args(["-c", line])
            .env("PATH", format!("{}:{path}", self.host().folder().join("bin").display()))
            .stdin(Stdio::null())
            .output()
            .unwrap();
        assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    fn rests(&self) -> bool {
        let wanted: u64 = ["deployments", "statefulsets"]
            .into_iter()
            .flat_map(|kind| self.server.list(&format!("/apis/apps/v1/{kind}")))
            .map(|workload| workload["spec"]["replicas"].as_u64().unwrap_or(1))
            .sum();
        let pods = self.server.list("/api/v1/pods");
        let ready = |pod: &&Value| pod["status"]["phase"] == "Running";
        pods.iter().filter(ready).count() as u64 >= wanted
            && self
                .server
                .list("/api/v1/persistentvolumeclaims")
                .iter()
                .all(|claim| claim["status"]["phase"] == "Bound")
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        self.stand_ins.end();
        self.ends.store(true, Ordering::Relaxed);
        // The thread waits for a caller.
        let _ = std::net::TcpStream::connect(("127.0.0.1", self.door));
        if let Some(thread) = self.systemctl.take() {
            let _ = thread.join();
        }
    }
}

fn server_kubectl(set: &Path) -> PathBuf {
    set.join("kubectl")
}

/// The host's `k3s kubectl` is the real one; its `systemctl` is the lab's, but for k3s.
fn programs(host: &Host, kubectl: &Path, door: u16) {
    let k3s = format!(
        r#"here=$(dirname "$real")/..
[ "$1" = kubectl ] || exec "$real" "$@"
shift
exec '{}' --kubeconfig="$here/etc-rancher/k3s.yaml" --cache-dir="$here/cache" "$@""#,
        kubectl.display()
    );
    replace_program(host, "k3s", &k3s);
    let systemctl = format!(
        r#"case " $* " in *" k3s "* | *" k3s.service "*) ;; *) exec "$real" "$@" ;; esac
exec bash -c 'exec 3<>/dev/tcp/127.0.0.1/{door} || exit 1; echo "$*" >&3; read -r code word <&3; [ -z "$word" ] || echo "$word"; exit "$code"' systemctl "$@""#
    );
    replace_program(host, "systemctl", &systemctl);
    // No container runs here that it could end.
    replace_program(host, "k3s-killall.sh", "exec systemctl stop k3s");
}

/// What the host's service manager does about k3s, a caller at a time.
fn serve(listener: &TcpListener, server: &Server, ends: &AtomicBool) {
    for line in listener.incoming() {
        if ends.load(Ordering::Relaxed) {
            return;
        }
        let mut line = line.unwrap();
        let mut words = String::new();
        if BufReader::new(&line).read_line(&mut words).is_err() {
            continue;
        }
        let words: Vec<&str> = words.split_whitespace().filter(|word| !word.starts_with('-')).collect();
        let said = match words.first().copied() {
            Some("start") => {
                server.up();
                "0"
            }
            Some("stop") => {
                server.down();
                "0"
            }
            Some("restart") => {
                server.down();
                server.up();
                "0"
            }
            Some("is-active") if server.is_up() => "0 active",
            Some("is-active") => "3 inactive",
            _ => "1",
        };
        // A caller that has gone away is no trouble of ours.
        let _ = writeln!(line, "{said}");
    }
}

/// The kinds that are not Kubernetes' own.
fn define(server: &Server) {
    let path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
    for (group, versions, kind) in CUSTOM {
        let singular = kind.to_lowercase();
        let plural = plural(kind);
        let any = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
        let versions: Vec<Value> = versions
            .iter()
            .enumerate()
            .map(|(number, name)| {
                json!({"name": name, "served": true, "storage": number == 0, "subresources": {"status": {}},
                    "schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec": any, "status": any}}}})
            })
            .collect();
        let name = format!("{plural}.{group}");
        let labels = if group.contains("fluxcd") {
            json!({"app.kubernetes.io/part-of": "flux", "app.kubernetes.io/version": "v0.16.2"})
        } else {
            json!({})
        };
        let definition = json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": {"name": name, "labels": labels},
            "spec": {"group": group, "scope": "Namespaced", "versions": versions,
                "names": {"kind": kind, "plural": plural, "singular": singular, "listKind": format!("{kind}List")}}});
        server.must("POST", path, &definition);
    }
    for (group, versions, kind) in CUSTOM {
        let list = format!("/apis/{group}/{}/{}", versions[0], plural(kind));
        server.wait(&list, || server.find(&list).is_some());
    }
}

/// The plural of a kind.
pub(crate) fn plural(kind: &str) -> String {
    let kind = kind.to_lowercase();
    match kind.strip_suffix('y') {
        Some(stem) => format!("{stem}ies"),
        None if kind.ends_with('s') => format!("{kind}es"),
        None => format!("{kind}s"),
    }
}

/// Where an object of this kind and namespace lives: the list, without a name.
pub(crate) fn place(object: &Value) -> String {
    let version = object["apiVersion"].as_str().unwrap();
    let root = if version.contains('/') { "/apis" } else { "/api" };
    let plural = plural(object["kind"].as_str().unwrap());
    match object["metadata"]["namespace"].as_str() {
        Some(namespace) => format!("{root}/{version}/namespaces/{namespace}/{plural}"),
        None => format!("{root}/{version}/{plural}"),
    }
}

/// Where an object lives.
pub(crate) fn address(object: &Value) -> String {
    format!("{}/{}", place(object), object["metadata"]["name"].as_str().unwrap())
}

/// What is to be carried over of a simulated cluster, as somebody would write it who makes it anew.
pub(crate) fn carried(host: &Host) -> Vec<Value> {
    let all = CARRIED.into_iter().flat_map(|plural| host.objects(plural));
    all.filter(|object| object["type"] != "kubernetes.io/service-account-token").map(anew).collect()
}

/// What the server gives an object by itself is taken away.
fn anew(mut object: Value) -> Value {
    let metadata = object["metadata"].as_object_mut().unwrap();
    for field in [
        "uid",
        "resourceVersion",
        "creationTimestamp",
        "generation",
        "managedFields",
        "selfLink",
        "ownerReferences",
    ] {
        metadata.remove(field);
    }
    if let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut) {
        annotations.retain(|name, _| {
            !name.starts_with("pv.kubernetes.io/bind") && !name.starts_with("pv.kubernetes.io/bound")
        });
    }
    if let Some(claim) = object["spec"].get_mut("claimRef").and_then(Value::as_object_mut) {
        claim.retain(|name, _| matches!(name.as_str(), "namespace" | "name"));
    }
    // Kubernetes 1.20 has no other.
    if object["kind"] == "CronJob" {
        object["apiVersion"] = json!("batch/v1beta1");
    }
    object
}

/// Makes an object with the state that it had, where it is one whose state nobody here finds out anew.
pub(crate) fn create(server: &Server, object: &Value) {
    let (status, said) = server.call("POST", &place(object), Some(object));
    // Some are made by the server itself.
    assert!(
        status == 201 || (status == 409 && said["reason"] == "AlreadyExists"),
        "{status} {said}\n{object:#}"
    );
    let stateful = object["apiVersion"]
        .as_str()
        .is_some_and(|version| version.contains(".io/v") || version.contains(".com/v"));
    let stateful = (stateful || object["kind"] == "Node")
        && object["kind"] != "Ingress"
        && object["kind"] != "StorageClass";
    if stateful && object["status"].is_object() {
        let state = json!({"status": object["status"]});
        server.must("PATCH", &format!("{}/status", address(object)), &state);
        if object["status"]["observedGeneration"].is_number() {
            let seen = json!({"status": {"observedGeneration": said["metadata"]["generation"]}});
            server.must("PATCH", &format!("{}/status", address(object)), &seen);
        }
    }
}

/// What a release's branch holds, by the branch's name: what the lab has at rest in a cluster of that version.
fn branch(folder: &Path, spec: HostSpec) -> (String, BTreeMap<String, Value>) {
    let folder = folder.join(spec.version.branch());
    for part in ["local-storage", "rancher/server/db"] {
        fs::create_dir_all(folder.join(part)).unwrap();
    }
    let branch = spec.version.branch();
    let host = Host::make(&folder, spec).unwrap();
    (branch, carried(&host).into_iter().map(|object| (address(&object), object)).collect())
}
