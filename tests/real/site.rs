//! A host with a real Kubernetes API server: the folder, volumes and programs of a simulated one, behind a real sshd, with the real server in
//! place of the simulated one.
//!
//! What is in the cluster at first is what the lab has in a cluster of that version; from then on nobody asks the lab about it any more.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use fleet::event::Event;
use fleet::inventory::{self, Cluster};
use fleet::journal;
use fleet::lab::{Host, HostSpec, Lab, OF_THIS_MACHINE};
use serde_json::Value;

use super::objects::{branch, carried, create, define};
use super::server::Server;
use super::standins::StandIns;
use crate::lab_support::{Ran, acknowledging, fleet, replace_program, run};
use crate::sshd::{Options, Sshd};
use crate::upstream_repo;

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
        programs(host, &set.join("kubectl"), door);
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
        upstream(&lab, set, folder.path());
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
            stackspin: Some(self.path("stackspin")),
            python: Some(self.path("bin/python")),
            ..cluster.clone()
        });
        fs::write(self.path("inventory.toml"), inventory::write(&clusters.collect::<Vec<_>>()).unwrap())
            .unwrap();
    }

    /// The binary with this site's own places.
    pub(crate) fn fleet(&self, words: &[&str]) -> Ran {
        let mut path = self.path("bin").into_os_string();
        path.push(":");
        path.push(std::env::var_os("PATH").unwrap());
        let mut command = fleet(words);
        command
            .env("PATH", path)
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

/// Upstream's repository and the programs that its scripts need, with a real kubectl among them.
fn upstream(lab: &Lab, set: &Path, folder: &Path) {
    let (checkout, bin) = (folder.join("stackspin"), folder.join("bin"));
    fs::create_dir(&checkout).unwrap();
    symlink(lab.folder().join("clusters"), checkout.join("clusters")).unwrap();
    upstream_repo::make(&checkout, &bin);
    fs::remove_file(bin.join("kubectl")).unwrap();
    symlink(set.join("kubectl"), bin.join("kubectl")).unwrap();
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
