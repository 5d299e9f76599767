//! A real OpenSSH server on loopback, for tests: `mod sshd;`, then `Sshd::start()`.
//!
//! It has its own host keys and authorized_keys in a folder of its own, runs as whoever runs the tests, and ends with
//! the value. Where it is not installed the test fails and says what to install.
#![allow(dead_code, reason = "each test file uses the part that it needs")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a server that cannot be set up fails its test")]

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use fleet::inventory::Host;

/// How the server differs from the plain one.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    /// A folder that sessions find first on their `PATH`.
    pub(crate) path_prefix: Option<PathBuf>,
    /// A folder that is the sessions' `HOME`, instead of that of whoever runs the tests: Debian's bash reads `~/.bashrc` for every
    /// command of sshd, and what stands there may put folders in front of the `PATH` or take its time.
    pub(crate) home: Option<PathBuf>,
    /// Types of host key that it has, as `ssh-keygen -t` takes them.
    pub(crate) host_keys: Vec<&'static str>,
    /// Further lines of sshd_config.
    pub(crate) config: String,
}

impl Default for Options {
    fn default() -> Self {
        Self { path_prefix: None, home: None, host_keys: vec!["ed25519"], config: String::new() }
    }
}

/// A running server.
#[derive(Debug)]
pub(crate) struct Sshd {
    dir: tempfile::TempDir,
    child: Child,
    port: u16,
    log: Arc<Log>,
}

/// What the server says, as it says it.
#[derive(Debug, Default)]
struct Log {
    text: Mutex<String>,
    grown: Condvar,
}

impl Log {
    fn push(&self, line: &str) {
        let mut text = self.text.lock().unwrap();
        text.push_str(line);
        text.push('\n');
        drop(text);
        self.grown.notify_all();
    }
}

impl Sshd {
    /// Starts a plain one.
    pub(crate) fn start() -> Self {
        Self::start_with(&Options::default())
    }

    /// Starts one with these options; it listens when this returns.
    pub(crate) fn start_with(options: &Options) -> Self {
        let program = find("sshd");
        let dir = tempfile::tempdir().unwrap();
        for kind in &options.host_keys {
            keygen(kind, &dir.path().join(format!("host_{kind}")), "");
        }
        keygen("ed25519", &dir.path().join("id"), "");
        fs::copy(dir.path().join("id.pub"), dir.path().join("authorized_keys")).unwrap();
        if user() == "root" {
            // sshd wants it when it is started by root; a package's service makes it, and there may be none.
            fs::create_dir_all("/run/sshd").unwrap();
            fs::set_permissions("/run/sshd", fs::Permissions::from_mode(0o755)).unwrap();
        }
        // Somebody else may take the port between choosing and using it.
        for _ in 0..5 {
            let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            fs::write(dir.path().join("sshd_config"), config_text(options, dir.path(), port)).unwrap();
            let mut child = launch(&program, dir.path());
            let log = Arc::new(Log::default());
            if listens(&mut child, &log) {
                return Self { dir, child, port, log };
            }
            child.kill().ok();
            child.wait().unwrap();
            let said = log.text.lock().unwrap().clone();
            assert!(said.contains("Cannot bind"), "sshd does not start:\n{said}");
        }
        panic!("no free port in five attempts");
    }

    /// The port on 127.0.0.1.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Ends it and every session at once, without a word to the clients' commands, which run on: what a host's sshd that is out of memory
    /// does. Only processes that it has started itself end, by their numbers.
    pub(crate) fn kill(&mut self) {
        let sessions = servers_below(&self.child.id().to_string());
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        // One that has ended with its parent needs no end.
        Command::new("kill").arg("-9").args(&sessions).stderr(Stdio::null()).status().unwrap();
    }

    /// Starts it again after [`Self::kill`], on the same port, with what is in its folder now.
    pub(crate) fn start_again(&mut self) {
        self.child = launch(&find("sshd"), self.dir.path());
        assert!(listens(&mut self.child, &self.log), "sshd does not start again:\n{}", self.log());
    }

    /// The server's own folder: host keys, `id`, `authorized_keys`.
    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// What it has logged so far.
    pub(crate) fn log(&self) -> String {
        self.log.text.lock().unwrap().clone()
    }

    /// Waits until it has logged this: it does so a moment after what a client sees.
    pub(crate) fn wait_for_log(&self, what: &str) {
        let text = self.log.text.lock().unwrap();
        let within = Duration::from_secs(60);
        let (text, late) =
            self.log.grown.wait_timeout_while(text, within, |text| !text.contains(what)).unwrap();
        assert!(!late.timed_out(), "sshd never logged {what:?}:\n{text}");
    }

    /// A host key as known_hosts writes it after the name: `ssh-ed25519 AAAA…`.
    pub(crate) fn host_key(&self, kind: &str) -> String {
        public(&self.dir().join(format!("host_{kind}.pub")))
    }

    /// The name that known_hosts gives it.
    pub(crate) fn known_as(&self) -> String {
        format!("[127.0.0.1]:{}", self.port)
    }

    /// Lets this key log in too.
    pub(crate) fn authorize(&self, public_key_file: &Path) {
        let file = self.dir().join("authorized_keys");
        let text = fs::read_to_string(&file).unwrap() + &fs::read_to_string(public_key_file).unwrap();
        fs::write(file, text).unwrap();
    }

    /// This host as an inventory has it: key file `id`, the first host key pinned.
    pub(crate) fn host(&self) -> Host {
        let pinned = fs::read_dir(self.dir())
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.to_string_lossy().contains("/host_"))
            .find(|path| path.extension().is_some_and(|extension| extension == "pub"))
            .map(|path| public(&path));
        Host {
            port: self.port,
            user: user(),
            identity: vec![self.dir().join("id")],
            agent: false,
            host_key: pinned,
            defined_at: "tests/sshd/mod.rs".to_owned(),
            ..Host::new("sshd", "127.0.0.1")
        }
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn launch(program: &Path, dir: &Path) -> Child {
    Command::new(program)
        .args(["-D", "-e", "-f"])
        .arg(dir.join("sshd_config"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// The processes of sshd that descend from this one: a session has one or, where it is not root's, two.
fn servers_below(pid: &str) -> Vec<String> {
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    let of_sshd = |pid: &&str| {
        fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.starts_with("sshd"))
    };
    let servers = children.split_whitespace().filter(of_sshd);
    servers.flat_map(|pid| [vec![pid.to_owned()], servers_below(pid)].concat()).collect()
}

/// Makes a key pair.
pub(crate) fn keygen(kind: &str, file: &Path, passphrase: &str) {
    let mut command = Command::new(find("ssh-keygen"));
    if kind == "rsa" {
        command.args(["-b", "2048"]);
    }
    let status =
        command.args(["-q", "-t", kind, "-C", "key for tests", "-N", passphrase, "-f"]).arg(file).status();
    assert!(status.unwrap().success(), "ssh-keygen -t {kind}");
}

/// `type base64` of a public key file.
pub(crate) fn public(file: &Path) -> String {
    let text = fs::read_to_string(file).unwrap();
    text.split_whitespace().take(2).collect::<Vec<_>>().join(" ")
}

/// Finds a program of OpenSSH, or fails with what to install.
pub(crate) fn find(name: &str) -> PathBuf {
    let path = std::env::var("PATH").unwrap_or_default();
    let folders = path.split(':').chain(["/usr/sbin", "/usr/local/sbin", "/sbin"]);
    let package = if name == "sshd" { "openssh-server" } else { "openssh-client" };
    folders.map(|folder| Path::new(folder).join(name)).find(|program| program.is_file()).unwrap_or_else(
        || panic!("{name} is not here: install Debian's {package} (apt-get install {package})"),
    )
}

/// Who runs the tests.
pub(crate) fn user() -> String {
    let output = Command::new("id").arg("-un").output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

fn config_text(options: &Options, dir: &Path, port: u16) -> String {
    let dir = dir.display();
    let mut lines: BTreeMap<&str, String> = BTreeMap::from([
        ("ListenAddress", "127.0.0.1".to_owned()),
        ("Port", port.to_string()),
        ("PidFile", "none".to_owned()),
        ("AuthorizedKeysFile", format!("{dir}/authorized_keys")),
        ("StrictModes", "no".to_owned()),
        ("UsePAM", "no".to_owned()),
        ("PasswordAuthentication", "no".to_owned()),
        ("KbdInteractiveAuthentication", "no".to_owned()),
        ("PermitRootLogin", "yes".to_owned()),
        ("MaxStartups", "100".to_owned()),
        ("LogLevel", "VERBOSE".to_owned()),
    ]);
    // One line for both: of several, sshd reads the first alone.
    let mut variables = Vec::new();
    if let Some(prefix) = &options.path_prefix {
        let path = std::env::var("PATH").unwrap_or_else(|_| "/usr/bin:/bin".to_owned());
        variables.push(format!("PATH={}:{path}", prefix.display()));
    }
    if let Some(home) = &options.home {
        variables.push(format!("HOME={}", home.display()));
    }
    if !variables.is_empty() {
        lines.insert("SetEnv", variables.join(" "));
    }
    let keys = options.host_keys.iter().map(|kind| format!("HostKey {dir}/host_{kind}\n"));
    // The first word on a matter is sshd's last, so a test's own lines stand first.
    let fixed = lines.iter().map(|(name, value)| format!("{name} {value}\n"));
    std::iter::once(format!("{}\n", options.config)).chain(keys).chain(fixed).collect()
}

/// Whether it says that it listens. What it says later is collected by a thread that ends with it.
fn listens(child: &mut Child, log: &Arc<Log>) -> bool {
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
    for line in lines.by_ref() {
        log.push(&line);
        if line.contains("Server listening") {
            let log = Arc::clone(log);
            std::thread::spawn(move || {
                for line in lines {
                    log.push(&line);
                }
            });
            return true;
        }
    }
    false
}
