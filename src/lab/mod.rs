//! Simulated Stackspin hosts on loopback, for rehearsals, demonstrations and tests.
//!
//! Each host is a real SSH server with its own key, a real shell, and a simulated cluster behind `k3s kubectl`. What is
//! real and what is not is told in `docs/lab.md`.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use russh::keys::ssh_key::LineEnding;
use russh::keys::{Algorithm, PrivateKey};

mod api;
mod bootstrap;
mod changes;
mod content;
mod datastore;
mod discovery;
mod encoding;
mod faults;
mod flux;
mod host;
mod http;
mod k3s;
mod kinds;
mod manifests;
mod object;
mod patch;
mod port;
mod refusal;
mod release;
mod selector;
mod server;
mod shell;
mod spec;
pub mod standin;
mod store;
mod volumes;
mod webhooks;
mod workloads;
mod write;

pub use faults::{Fault, HELP, UnknownFault};
pub use host::{Host, Power};
pub use spec::{HostSpec, Pace, RevisionFormat, Vintage};
pub use standin::Nextcloud;

/// The file by which a folder is known to be a lab's.
const MARK: &str = ".fleet-lab";
/// How often containers write and the datastore is brought up to date.
const TICK: Duration = Duration::from_millis(250);

/// Why a lab cannot be started.
#[derive(Debug, thiserror::Error)]
pub enum LabError {
    /// The folder holds something else.
    #[error("{0} is not empty and is no lab's folder; name an empty or a new one")]
    NotOurs(PathBuf),
    /// Two hosts of one name.
    #[error("two simulated hosts are called {0:?}")]
    Twice(String),
    /// A name that is no folder's.
    #[error("{0:?} cannot be a simulated host's name: letters, digits, -, _ and . only, and no . in front")]
    Name(String),
    /// An application that the version does not have.
    #[error("Stackspin {version} has no application {app:?}; it has {known}")]
    App {
        /// The version.
        version: crate::version::Version,
        /// What was asked for.
        app: String,
        /// What there is.
        known: String,
    },
    /// A key could not be made.
    #[error("cannot make a key: {0}")]
    Key(#[from] russh::keys::ssh_key::Error),
    /// This machine's own trouble.
    #[error("{what}: {why}")]
    Io {
        /// What was tried.
        what: String,
        /// The system's words.
        why: io::Error,
    },
}

/// Adds what was tried to an error of the system.
fn trying<T>(what: impl FnOnce() -> String) -> impl FnOnce(io::Error) -> Result<T, LabError> {
    move |why| Err(LabError::Io { what: what(), why })
}

/// Checks whose warnings tell of the machine that the lab runs on, or of the hour: simulated hosts run on it and have no nights. Whoever
/// rehearses acknowledges them.
pub const OF_THIS_MACHINE: [&str; 7] =
    ["os", "time-zone", "disk-space", "inodes", "memory", "package-manager", "backup-space"];

/// Running hosts. They end with it.
#[derive(Debug)]
pub struct Lab {
    folder: PathBuf,
    inventory: PathBuf,
    hosts: Arc<BTreeMap<String, Arc<Host>>>,
    runtime: Option<tokio::runtime::Runtime>,
}

impl Lab {
    /// Makes the hosts in `folder` and serves them until [`Lab::stop`]. `fleet` is this program's binary, which the
    /// stand-ins call. Blocking; the lab has threads of its own, so that tests may block and stop their clocks.
    pub fn start(folder: &Path, specs: Vec<HostSpec>, fleet: &Path) -> Result<Self, LabError> {
        check(&specs)?;
        let folder = prepare(folder)?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("lab")
            .enable_all()
            .build()
            .or_else(trying(|| "cannot start the lab's threads".to_owned()))?;
        let entered = runtime.enter();
        let control = std::net::TcpListener::bind(("127.0.0.1", 0))
            .and_then(|listener| {
                listener.set_nonblocking(true)?;
                tokio::net::TcpListener::from_std(listener)
            })
            .or_else(trying(|| "cannot listen on loopback".to_owned()))?;
        let address =
            control.local_addr().or_else(trying(|| "cannot listen on loopback".to_owned()))?.to_string();
        let client = PrivateKey::random(&mut rand::rng(), Algorithm::Ed25519)?;
        let identity = folder.join("id_ed25519");
        client.write_openssh_file(&identity, LineEnding::LF)?;
        let mut hosts = BTreeMap::new();
        let mut clusters = vec![write::groups(specs.iter())];
        for spec in specs {
            let key = PrivateKey::random(&mut rand::rng(), Algorithm::Ed25519)?;
            let path = folder.join("hosts").join(&spec.name);
            let host = write::host(&path, spec, fleet, &address)
                .or_else(trying(|| format!("cannot make the simulated host {}", path.display())))?;
            let directory = folder.join("clusters").join(&host.spec().name);
            write::directory(&directory, &host)
                .or_else(trying(|| format!("cannot write {}", directory.display())))?;
            clusters.push(write::cluster(&host, &identity, &key.public_key().to_openssh()?, &directory));
            let host = Arc::new(host);
            let keys = server::Keys { host: key, client: client.public_key().clone() };
            let listening = || -> io::Result<_> {
                let ssh = host.ssh.listen_if(!host.has(&Fault::Unreachable))?;
                Ok((ssh, host.api.listen_if(!host.has(&Fault::ApiAway))?))
            };
            let (ssh, api) = listening().or_else(trying(|| "cannot listen on loopback".to_owned()))?;
            tokio::spawn(server::serve(host.clone(), keys, ssh));
            tokio::spawn(http::api(host.clone(), api));
            tokio::spawn(host.clone().control());
            hosts.insert(host.spec().name.clone(), host);
        }
        let inventory = folder.join("inventory");
        fs::create_dir_all(&inventory)
            .and_then(|()| fs::write(inventory.join("lab.toml"), clusters.concat()))
            .or_else(trying(|| format!("cannot write {}", inventory.display())))?;
        let hosts = Arc::new(hosts);
        tokio::spawn(http::control(hosts.clone(), control));
        tokio::spawn(tick(hosts.clone()));
        drop(entered);
        Ok(Self { folder, inventory, hosts, runtime: Some(runtime) })
    }

    /// The lab's folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The inventory folder that names every host of the lab.
    #[must_use]
    pub fn inventory(&self) -> PathBuf {
        self.inventory.clone()
    }

    /// A host by name.
    #[must_use]
    pub fn host(&self, name: &str) -> Option<&Host> {
        self.hosts.get(name).map(AsRef::as_ref)
    }

    /// Every host, by name.
    pub fn hosts(&self) -> impl Iterator<Item = &Host> {
        self.hosts.values().map(AsRef::as_ref)
    }

    /// Ends all hosts, everything that they serve, and watchdogs that a cut copy has left. Other processes of theirs run on.
    pub fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            for host in self.hosts.values() {
                if let Err(error) = host.flush() {
                    tracing::warn!("the lab cannot write a datastore: {error}");
                }
            }
            runtime.shutdown_background();
            for host in self.hosts.values() {
                end_watchdogs(&host.folder().join("spool"));
            }
        }
    }
}

/// Ends what a copy that was cut short has left running on a simulated host. Without the host's stand-ins it would come upon this
/// machine's own `systemctl`.
fn end_watchdogs(spool: &Path) {
    let Ok(left) = fs::read_dir(spool) else { return };
    for folder in left.flatten().map(|entry| entry.path()) {
        let pid = fs::read_to_string(folder.join("pid"))
            .ok()
            .and_then(|pid| pid.split_whitespace().next()?.parse().ok());
        if let Some(pid) = pid.and_then(rustix::process::Pid::from_raw) {
            // One that has ended already is as good as one that ends now.
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        }
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        self.end();
    }
}

/// What happens by itself on every host.
async fn tick(hosts: Arc<BTreeMap<String, Arc<Host>>>) {
    let mut beat: u64 = 0;
    loop {
        tokio::time::sleep(TICK).await;
        beat += 1;
        for (number, host) in (0u64..).zip(hosts.values()) {
            host.write_volumes();
            // Each host's datastore every five seconds, not all at once.
            if (beat + number).is_multiple_of(20)
                && host.state().power == Power::Running
                && let Err(error) = host.flush()
            {
                tracing::warn!("the lab cannot write a datastore: {error}");
            }
        }
    }
}

fn check(specs: &[HostSpec]) -> Result<(), LabError> {
    let mut seen = std::collections::BTreeSet::new();
    for spec in specs {
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        if !spec.name.starts_with(|c: char| c.is_ascii_alphanumeric()) || !spec.name.chars().all(plain) {
            return Err(LabError::Name(spec.name.clone()));
        }
        if !seen.insert(&spec.name) {
            return Err(LabError::Twice(spec.name.clone()));
        }
        let known = HostSpec::known_apps(spec.version);
        if let Some(app) = spec.apps.iter().find(|app| !known.contains(&app.as_str())) {
            return Err(LabError::App { version: spec.version, app: app.clone(), known: known.join(", ") });
        }
    }
    Ok(())
}

/// An empty folder, or a lab's, from which the hosts of last time are removed.
fn prepare(folder: &Path) -> Result<PathBuf, LabError> {
    let doing = || format!("cannot prepare {}", folder.display());
    fs::create_dir_all(folder).or_else(trying(doing))?;
    let mark = folder.join(MARK);
    let mut inside = fs::read_dir(folder).or_else(trying(doing))?;
    if inside.next().is_some() {
        if !mark.exists() {
            return Err(LabError::NotOurs(folder.to_owned()));
        }
        for name in ["clusters", "hosts", "inventory"] {
            match fs::remove_dir_all(folder.join(name)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return trying(doing)(error),
                _ => {}
            }
        }
        match fs::remove_file(folder.join("id_ed25519")) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return trying(doing)(error),
            _ => {}
        }
    }
    fs::set_permissions(folder, Permissions::from_mode(0o700)).or_else(trying(doing))?;
    fs::write(&mark, "The folder of a lab: simulated hosts, made anew at every start.\n")
        .or_else(trying(doing))?;
    folder.canonicalize().or_else(trying(doing))
}

/// Writes a program of a host.
fn program(path: &Path, script: impl AsRef<OsStr>) -> io::Result<()> {
    use std::os::unix::ffi::OsStrExt as _;
    fs::write(path, script.as_ref().as_bytes())?;
    fs::set_permissions(path, Permissions::from_mode(0o755))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_watchdog_that_was_left_ends_with_its_host() {
        let spool = tempfile::tempdir().unwrap();
        let folder = spool.path().join("watchdog-20261122T101500Z-abcd");
        fs::create_dir(&folder).unwrap();
        let mut watchdog = std::process::Command::new("sleep").arg("600").spawn().unwrap();
        fs::write(folder.join("pid"), format!("{}\n", watchdog.id())).unwrap();
        end_watchdogs(spool.path());
        let status = watchdog.wait().unwrap();
        assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(15));
    }
}
