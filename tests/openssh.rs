//! The whole upgrade over a real OpenSSH server, with the lab behind it.
//!
//! The lab's own SSH server is fleet's library on its other side: what both misunderstand alike, no test between them finds. Here Debian's
//! sshd carries the sessions, to a login shell of its own, and only what the shell starts (`k3s`, `systemctl`, …) is the lab's.
#![expect(clippy::unwrap_used, reason = "what cannot be set up fails its test")]

mod sshd;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use fleet::inventory::{self, Cluster};
use fleet::lab::{Host, HostSpec, Lab, OF_THIS_MACHINE, Power};
use serde_json::Value;
use sshd::{Options, Sshd};

const FLEET: &str = env!("CARGO_BIN_EXE_fleet");

/// What this waits for is a matter of seconds; a machine that is busy with other tests may need many more.
const PATIENCE: Duration = Duration::from_secs(120);

/// The lease of `src/run/copy.rs`, in seconds.
const LEASE: u64 = 300;

/// A simulated cluster whose SSH server is a real one.
struct Site {
    folder: tempfile::TempDir,
    lab: Lab,
    servers: BTreeMap<String, Sshd>,
}

impl Site {
    fn start(specs: Vec<HostSpec>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let lab = Lab::start(&folder.path().join("lab"), specs, Path::new(FLEET)).unwrap();
        let servers = lab.hosts().map(|host| (host.spec().name.clone(), serve(host))).collect();
        let site = Self { folder, lab, servers };
        site.write_inventory();
        site
    }

    /// The lab's own inventory, with the addresses and keys of the real servers.
    fn write_inventory(&self) {
        let known = inventory::load(&self.lab.inventory()).unwrap();
        let clusters: Vec<Cluster> = known
            .clusters
            .values()
            .map(|cluster| {
                let host = fleet::inventory::Host {
                    name: cluster.name.clone(),
                    // A server that dies stays away: whoever is to notice that must not wait for it.
                    reconnect: Duration::ZERO,
                    ..self.servers[&cluster.name].host()
                };
                Cluster { host, ..cluster.clone() }
            })
            .collect();
        fs::write(self.inventory(), inventory::write(&clusters).unwrap()).unwrap();
    }

    fn inventory(&self) -> PathBuf {
        self.folder.path().join("inventory.toml")
    }

    fn runs(&self) -> PathBuf {
        self.folder.path().join("runs")
    }

    fn host(&self, name: &str) -> &Host {
        self.lab.host(name).unwrap()
    }

    fn fleet(&self, words: &[&str]) -> Command {
        let mut command = Command::new(FLEET);
        command.arg("--inventory").arg(self.inventory()).arg("--runs").arg(self.runs());
        command.arg("--backups").arg(self.folder.path().join("backups")).args(words).stdin(Stdio::null());
        command
    }

    /// `plan` or `upgrade` of all clusters.
    fn all(&self, word: &str) -> Command {
        let mut command = self.fleet(&[word, "--all"]);
        command.args(OF_THIS_MACHINE.iter().flat_map(|id| ["--ack", id]));
        command
    }
}

/// A real sshd whose sessions live on the lab's host.
///
/// Debian's bash reads `~/.bashrc` for a command of sshd, and whoever runs the tests has one of his own, which may put folders in front of
/// the `PATH` or take seconds. `HOME` is the simulated host's, so the shell reads that host's file: one that does nothing here.
fn serve(host: &Host) -> Sshd {
    let home = host.folder().join("home");
    Sshd::start_with(&Options {
        path_prefix: Some(host.folder().join("bin")),
        home: Some(home),
        ..Options::default()
    })
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn expect(code: i32, mut command: Command) -> String {
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(code), "{}", text(&output));
    text(&output)
}

/// The data of the secrets that 0.6's chart made and 0.7 must find unchanged.
fn secrets(host: &Host) -> BTreeMap<String, Value> {
    host.objects("secrets")
        .into_iter()
        .map(|secret| (secret["metadata"]["name"].as_str().unwrap().to_owned(), secret["data"].clone()))
        .filter(|(name, _)| {
            name.starts_with("oas-") && (name.ends_with("-variables") || name.ends_with("-auth"))
        })
        .collect()
}

/// The keys that are gone or have another value. (A password that an application's absence had left out is added: no loss.)
fn lost(before: &BTreeMap<String, Value>, after: &BTreeMap<String, Value>) -> Vec<String> {
    let keys = before.iter().flat_map(|(name, data)| {
        data.as_object().unwrap().iter().map(move |(key, value)| (name, key, value))
    });
    keys.filter(|(name, key, value)| after.get(*name).map(|data| &data[*key]) != Some(value))
        .map(|(name, key, _)| format!("{name}: {key}"))
        .collect()
}

fn branch(host: &Host) -> Value {
    host.object("gitrepositories", "flux-system", "openappstack").unwrap()["spec"]["ref"]["branch"].clone()
}

/// Waits until it is so.
fn wait_until(what: &str, mut so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !so() {
        assert!(began.elapsed() < PATIENCE, "not so within {} s: {what}", PATIENCE.as_secs());
        std::thread::park_timeout(Duration::from_millis(50));
    }
}

/// Every file of this name below the folder.
fn find(folder: &Path, name: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(find(&path, name));
        } else if path.file_name().is_some_and(|file| file == name) {
            found.push(path);
        }
    }
    found
}

#[test]
fn two_clusters_are_upgraded_over_real_ssh_servers_with_one_connection_each() {
    let mut night = HostSpec::new("night").apps(["wordpress"]);
    night.source_suspended = true;
    let site = Site::start(vec![HostSpec::new("acme"), night]);
    let before: Vec<_> = site.lab.hosts().map(secrets).collect();
    assert!(before.iter().all(|secrets| secrets.len() >= 5), "{before:?}");

    expect(2, site.all("plan"));
    let planned = |log: &str| log.matches("Accepted publickey").count();
    for sshd in site.servers.values() {
        sshd.wait_for_log("Disconnected from");
        assert_eq!(planned(&sshd.log()), 1, "{}", sshd.log());
    }

    expect(0, site.all("upgrade"));
    for (host, before) in site.lab.hosts().zip(&before) {
        let name = &host.spec().name;
        assert_eq!(branch(host), "v0.7", "{name}");
        assert_eq!(lost(before, &secrets(host)), Vec::<String>::new(), "{name}");
        let source = host.object("gitrepositories", "flux-system", "openappstack").unwrap();
        assert_eq!(source["spec"]["suspend"].as_bool().unwrap_or_default(), name == "night");
        assert_eq!(host.state().power, Power::Running);
        assert!(
            host.objects("helmreleases").iter().all(|release| release["metadata"]["name"] != "oas-secrets")
        );
        assert!(find(&host.folder().join("spool"), "lease").is_empty(), "{name} keeps a watchdog");
        expect(0, site.fleet(&["backup", "verify", name]));
        // None of it went past the real server.
        assert_eq!(host.connections(), 0, "{name}");

        let sshd = &site.servers[name];
        let log = sshd.log();
        let port = log.lines().rfind(|line| line.contains("Accepted publickey")).unwrap();
        let port = port.split(" port ").nth(1).unwrap().split(' ').next().unwrap().to_owned();
        sshd.wait_for_log(&format!("Disconnected from user {} 127.0.0.1 port {port}", sshd::user()));
        assert_eq!(planned(&sshd.log()), 2, "one for the plan and one for the upgrade:\n{}", sshd.log());
    }

    let again = expect(0, site.all("upgrade"));
    assert!(again.contains("nothing to do"), "{again}");

    // A cluster at the target that has lost a secret, as one does whose run died before it was put back, is not fine.
    let k3s = site.host("acme").folder().join("bin/k3s");
    let mut delete = Command::new(k3s);
    delete.args(["kubectl", "delete", "secret", "oas-oauth-variables", "-n", "flux-system"]);
    expect(0, delete);
    let again = expect(3, site.all("upgrade"));
    assert!(again.contains("flux-system/oas-oauth-variables is missing"), "{again}");
}

/// A `tar` that begins an archive of a volume and never comes to its end; it ends when nobody reads any more.
const ENDLESS_TAR: &str = r#"#!/bin/sh
case "$*" in
    *local-storage*) : >"$HOME/volume-begun"; exec cat /dev/zero ;;
    *) PATH=${PATH#*:}; exec tar "$@" ;;
esac
"#;

#[test]
fn when_the_server_dies_in_the_middle_of_the_copy_the_watchdog_starts_k3s_again() {
    let mut site = Site::start(vec![HostSpec::new("acme").apps(["wordpress"])]);
    let before = secrets(site.host("acme"));
    let folder = site.host("acme").folder().to_owned();
    let tar = folder.join("bin/tar");
    fs::write(&tar, ENDLESS_TAR).unwrap();
    fs::set_permissions(&tar, fs::Permissions::from_mode(0o755)).unwrap();

    let upgrade = site.all("upgrade").stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut upgrade = Ends(Some(upgrade));
    let begun = folder.join("home/volume-begun");
    wait_until("the archive of the first volume begins", || {
        upgrade.runs() && begun.exists() && site.host("acme").state().power == Power::Stopped
    });
    site.servers.get_mut("acme").unwrap().kill();
    let output = upgrade.output();
    assert_eq!(output.status.code(), Some(6), "{}", text(&output));
    let said = text(&output);
    assert!(said.contains("in doubt") && said.contains("watchdog starts k3s by"), "{said}");

    // Nobody is left who could start k3s, but for the watchdog: armed, with a lease of minutes.
    assert_eq!(site.host("acme").state().power, Power::Stopped);
    let mut leases = find(&folder.join("spool"), "lease");
    leases.retain(|lease| lease.display().to_string().contains("/timer-k3s-"));
    let [lease] = leases.try_into().unwrap();
    let watchdog = lease.parent().unwrap().to_owned();
    let pid = fs::read_to_string(watchdog.join("pid")).unwrap();
    let alive = || {
        let line = fs::read(format!("/proc/{}/cmdline", pid.trim())).unwrap_or_default();
        String::from_utf8_lossy(&line).contains(&*watchdog.to_string_lossy())
    };
    assert!(alive(), "{} is no watchdog", pid.trim());
    assert!(!watchdog.join("fired").exists());
    let number = |text: String| text.split(['.', ' ', '\n']).next().unwrap().parse::<u64>().unwrap();
    let until = number(fs::read_to_string(&lease).unwrap());
    let uptime = number(fs::read_to_string("/proc/uptime").unwrap());
    assert!(
        until <= uptime + LEASE && until + PATIENCE.as_secs() > uptime + LEASE,
        "the lease ends at {until}, now is {uptime}"
    );

    // The lease is over; on a real host some minutes pass until then.
    fs::write(watchdog.join("lease.new"), "0\n").unwrap();
    fs::rename(watchdog.join("lease.new"), &lease).unwrap();
    wait_until("the watchdog starts k3s", || site.host("acme").state().power == Power::Running);
    wait_until("the watchdog ends", || !alive());
    wait_until("the node is ready", || {
        let node = site.host("acme").object("nodes", "", "acme").unwrap();
        let conditions = node["status"]["conditions"].as_array().unwrap();
        conditions.iter().any(|condition| condition["type"] == "Ready" && condition["status"] == "True")
    });
    assert!(watchdog.join("fired").exists());

    // The host comes back, and the run is gone on with: a new one would wait for its lock.
    assert_eq!(branch(site.host("acme")), "v0.6");
    fs::remove_file(&tar).unwrap();
    let server = serve(site.host("acme"));
    site.servers.insert("acme".to_owned(), server);
    site.write_inventory();
    expect(0, site.fleet(&["resume", "last"]));
    assert_eq!(branch(site.host("acme")), "v0.7");
    assert_eq!(lost(&before, &secrets(site.host("acme"))), Vec::<String>::new());
}

/// A process that does not outlive its test.
struct Ends(Option<Child>);

impl Ends {
    /// Whether it runs still; where it does not, the test is over with what it said.
    fn runs(&mut self) -> bool {
        let ended = self.0.as_mut().unwrap().try_wait().unwrap().is_some();
        assert!(!ended, "it ended too early:\n{}", text(&self.output()));
        true
    }

    fn output(&mut self) -> Output {
        self.0.take().unwrap().wait_with_output().unwrap()
    }
}

impl Drop for Ends {
    fn drop(&mut self) {
        if let Some(mut child) = self.0.take() {
            child.kill().ok();
            child.wait().ok();
        }
    }
}
