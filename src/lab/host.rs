//! One simulated host: its folder, its k3s, its cluster, and what tests may ask of it.

use std::collections::BTreeSet;
use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::{Notify, watch};

use super::faults::Fault;
use super::flux::{Controllers, World};
use super::kinds::{Kind, NAMESPACE};
use super::port::Port;
use super::spec::HostSpec;
use super::store::{Key, Store};
use super::{bootstrap, flux};
use crate::version::Version;

/// The shortest time between two passes of the controllers: what comes in bunches is dealt with together.
pub(super) const BREATH: Duration = Duration::from_millis(15);

/// The timers of Debian's that start package upgrades.
pub(super) const TIMERS: [&str; 2] = ["apt-daily.timer", "apt-daily-upgrade.timer"];

/// k3s' service, as systemd calls its states.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Power {
    /// `inactive`.
    Stopped,
    /// `activating`.
    Starting,
    /// `active`.
    Running,
    /// `failed`.
    Failed,
}

impl Power {
    /// systemd's word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Stopped => "inactive",
            Self::Starting => "activating",
            Self::Running => "active",
            Self::Failed => "failed",
        }
    }
}

/// What the host's servers follow.
#[derive(Debug, Clone)]
pub struct State {
    /// k3s' service.
    pub power: Power,
    /// Whether containers run: they outlive `systemctl stop k3s` (facts section 3.1).
    pub containers: bool,
    /// How often k3s was started since the lab began.
    pub starts: u64,
    /// The faults of the moment.
    pub faults: Vec<Fault>,
}

/// A simulated host.
#[derive(Debug)]
pub struct Host {
    pub(super) spec: HostSpec,
    folder: PathBuf,
    store: Mutex<Store>,
    /// The controllers' memory from the making of the cluster, until their own work begins.
    pub(super) made: Mutex<Option<Controllers>>,
    pub(super) state: watch::Sender<State>,
    pub(super) poked: Notify,
    /// Active timers of its service manager.
    timers: Mutex<BTreeSet<String>>,
    commands: Mutex<Vec<String>>,
    connections: AtomicUsize,
    /// How often it was started anew.
    pub(super) reboots: AtomicUsize,
    /// The SSH port.
    pub ssh: Port,
    /// The API's port.
    pub api: Port,
}

impl Host {
    /// Makes the host's folder and its cluster. Nothing is served yet.
    pub fn make(folder: &Path, spec: HostSpec) -> io::Result<Self> {
        let mut spec = spec;
        if spec.has(&Fault::MissingWekan) {
            spec.apps.retain(|app| app != "wekan");
        }
        let folder = folder.canonicalize()?;
        let store = Store::new(&spec.name, spec.flux);
        let state = State { power: Power::Running, containers: true, starts: 0, faults: spec.faults.clone() };
        let host = Self {
            store: Mutex::new(store),
            made: Mutex::new(None),
            state: watch::Sender::new(state),
            poked: Notify::new(),
            timers: Mutex::new(TIMERS.map(str::to_owned).into()),
            commands: Mutex::default(),
            connections: AtomicUsize::new(0),
            reboots: AtomicUsize::new(0),
            ssh: Port::take()?,
            api: Port::take()?,
            spec,
            folder,
        };
        let mut controllers = Controllers::default();
        {
            let storage = host.storage();
            let world = World { spec: &host.spec, faults: &[], storage: &storage };
            bootstrap::build(&mut host.store(), &mut controllers, &world, host.k3s_version());
        }
        *lock(&host.made) = Some(controllers);
        host.flush()?;
        Ok(host)
    }

    /// What it was made like.
    #[must_use]
    pub const fn spec(&self) -> &HostSpec {
        &self.spec
    }

    /// Its folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// k3s' data folder.
    #[must_use]
    pub fn k3s_data(&self) -> PathBuf {
        self.folder.join("rancher")
    }

    /// The folder with the volumes' folders.
    #[must_use]
    pub fn storage(&self) -> PathBuf {
        self.folder.join("local-storage")
    }

    /// k3s' version.
    #[must_use]
    pub fn k3s_version(&self) -> &'static str {
        match self.spec.version {
            Version::Older | Version::V0_3 | Version::V0_4 | Version::V0_5 => "v1.18.9+k3s1",
            Version::V0_6 | Version::V0_7 | Version::V0_8 => "v1.21.5+k3s2",
            Version::V1_0 => "v1.23.9+k3s1",
            Version::V2 => "v1.27.4+k3s1",
        }
    }

    /// The objects.
    pub fn store(&self) -> MutexGuard<'_, Store> {
        lock(&self.store)
    }

    /// Wakes the controllers: somebody changed something.
    pub fn poke(&self) {
        self.poked.notify_one();
    }

    /// Follows what the host's servers follow.
    #[must_use]
    pub fn follow(&self) -> watch::Receiver<State> {
        self.state.subscribe()
    }

    /// The state of the moment.
    #[must_use]
    pub fn state(&self) -> State {
        self.state.borrow().clone()
    }

    /// Whether a fault is there.
    #[must_use]
    pub fn has(&self, fault: &Fault) -> bool {
        self.state.borrow().faults.contains(fault)
    }

    /// Injects a fault while the host runs.
    pub fn inject(&self, fault: Fault) {
        self.state.send_modify(|state| state.faults.push(fault));
        self.faulty_programs();
        self.poke();
    }

    /// Takes a fault away.
    pub fn heal(&self, fault: &Fault) {
        self.state.send_modify(|state| state.faults.retain(|there| there != fault));
        self.faulty_programs();
        self.poke();
    }

    /// Programs on the host that a fault replaces.
    pub(super) fn faulty_programs(&self) {
        let programs: [(&str, &[(Fault, &str)]); 3] = [
            ("tar", &[(Fault::TarFails, BROKEN)]),
            ("df", &[(Fault::DiskFull, FULL)]),
            ("date", &[(Fault::ClockAhead, AHEAD), (Fault::ClockBehind, BEHIND)]),
        ];
        for (name, faults) in programs {
            let path = self.folder.join("bin").join(name);
            let done = match faults.iter().find(|(fault, _)| self.has(fault)) {
                Some((_, script)) => super::program(&path, script),
                None => match fs::remove_file(&path) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
                    _ => Ok(()),
                },
            };
            if let Err(error) = done {
                tracing::warn!("the lab cannot change {}: {error}", path.display());
            }
        }
    }

    /// Every command line that SSH clients have sent, oldest first.
    #[must_use]
    pub fn commands(&self) -> Vec<String> {
        lock(&self.commands).clone()
    }

    /// Records a command line.
    pub(super) fn record(&self, line: &str) {
        let file = OpenOptions::new().create(true).append(true).open(self.folder.join("commands.log"));
        if let Err(error) = file.and_then(|mut file| writeln!(file, "{line}")) {
            tracing::warn!("the lab cannot record a command: {error}");
        }
        lock(&self.commands).push(line.to_owned());
    }

    /// The active timers of its service manager.
    #[must_use]
    pub fn timers(&self) -> BTreeSet<String> {
        lock(&self.timers).clone()
    }

    /// Starts or stops a timer, as systemctl does; `false` where there is none of that name.
    pub fn set_timer(&self, name: &str, active: bool) -> bool {
        if !TIMERS.contains(&name) {
            return false;
        }
        let mut timers = lock(&self.timers);
        if active {
            timers.insert(name.to_owned());
        } else {
            timers.remove(name);
        }
        true
    }

    /// How many SSH connections were accepted.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    pub(super) fn connected(&self) {
        self.connections.fetch_add(1, Ordering::Relaxed);
    }

    /// The objects of a kind (`secrets`), as the API shows them, whether or not k3s runs.
    #[must_use]
    pub fn objects(&self, plural: &str) -> Vec<Value> {
        let store = self.store();
        let kind = Kind::all().find(|kind| kind.about().plural == plural);
        kind.map(|kind| store.list(kind, None).map(|(_, object)| (**object).clone()).collect())
            .unwrap_or_default()
    }

    /// One object by kind, namespace and name.
    #[must_use]
    pub fn object(&self, plural: &str, namespace: &str, name: &str) -> Option<Value> {
        let store = self.store();
        let kind = Kind::all().find(|kind| kind.about().plural == plural)?;
        store.peek(kind, namespace, name).cloned()
    }

    /// Changes an object as an administrator with `kubectl edit` would.
    pub fn edit(&self, plural: &str, namespace: &str, name: &str, change: impl FnOnce(&mut Value)) {
        if let Some(kind) = Kind::all().find(|kind| kind.about().plural == plural) {
            self.store().edit(&Key::new(kind, namespace, name), change);
        }
        self.poke();
    }

    /// The folder of the volume that a claim is bound to.
    #[must_use]
    pub fn volume(&self, namespace: &str, claim: &str) -> Option<PathBuf> {
        let store = self.store();
        flux::bound(&store)
            .into_iter()
            .find(|(key, _)| key.namespace == namespace && key.name == claim)
            .map(|(_, folder)| PathBuf::from(folder))
    }

    /// The UID of kube-system: the cluster's.
    #[must_use]
    pub fn cluster_uid(&self) -> String {
        let store = self.store();
        let namespace = store.peek(NAMESPACE, "", "kube-system");
        namespace.and_then(|object| object["metadata"]["uid"].as_str()).unwrap_or("").to_owned()
    }

    /// What an HTTPS request from the host to this host name would give: a status, or curl's exit code and complaint.
    pub fn web(&self, host: &str) -> Result<u16, (u8, String)> {
        if host == self.spec.domain() || host.ends_with(&format!(".{}", self.spec.domain())) {
            return self.page(host);
        }
        if self.has(&Fault::NoInternet) {
            return Err((28, format!("Failed to connect to {host} port 443: Connection timed out")));
        }
        Ok(if host.contains("registry") || host.contains("docker") { 401 } else { 200 })
    }

    fn page(&self, host: &str) -> Result<u16, (u8, String)> {
        if !self.state().containers {
            return Err((7, format!("Failed to connect to {host} port 443: Connection refused")));
        }
        let store = self.store();
        let ingress = store
            .list(super::kinds::INGRESS, None)
            .find(|(_, ingress)| ingress["spec"]["rules"][0]["host"] == json!(host));
        let Some((key, ingress)) = ingress else { return Ok(404) };
        let release = ingress["metadata"]["labels"]["app.kubernetes.io/instance"].as_str().unwrap_or("");
        Ok(if flux::pods_ready(&store, &key.namespace, release) { 200 } else { 503 })
    }

    /// What containers write while they run, under the fault that makes them.
    pub(super) fn write_volumes(&self) {
        if !self.has(&Fault::ContainersKeepWriting) || !self.state().containers {
            return;
        }
        let folders = flux::bound(&self.store());
        for (_, folder) in folders {
            let path = Path::new(&folder).join("container.log");
            let line = OpenOptions::new()
                .create(true)
                .append(true)
                .open(path)
                .and_then(|mut file| writeln!(file, "{}", super::encoding::now()));
            if let Err(error) = line {
                tracing::debug!("a container cannot write: {error}");
            }
        }
    }
}

/// A `tar` that tells its version and does nothing else.
const BROKEN: &str = r#"#!/bin/sh
PATH=${PATH#*:}
[ "$1" = --version ] && exec tar --version
echo 'tar: .: Cannot open: Input/output error' >&2
exit 2
"#;

/// A `df` that finds nothing free: the real one's answer with zeros in the columns that tell what is.
const FULL: &str = r#"#!/bin/sh
PATH=${PATH#*:}
df "$@" | awk 'NR == 1 { for (i = 1; i <= NF; i++) if ($i ~ /^(Avail|Available|IFree|IAvail)$/) c[i] = 1; print; next }
{ for (i in c) $i = 0; print }'
"#;

/// A clock that somebody has set wrong, by a day.
const AHEAD: &str = "#!/bin/sh\nPATH=${PATH#*:}\nexec date -d 'now +86400 seconds' \"$@\"\n";
const BEHIND: &str = "#!/bin/sh\nPATH=${PATH#*:}\nexec date -d 'now -86400 seconds' \"$@\"\n";

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic in a test's thread must not take the lab's other hosts along.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
