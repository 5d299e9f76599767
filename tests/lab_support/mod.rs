//! Simulated hosts with the real binary in front of them: `mod lab_support;`, then `Bench::new(…)`.
#![allow(dead_code, reason = "each test file uses the part that it needs")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a bench that cannot be set up fails its test")]

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use fleet::event::Event;
use fleet::journal;
use fleet::lab::{Host, HostSpec, Lab, OF_THIS_MACHINE};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

/// How long a real process is waited for.
const PATIENCE: Duration = Duration::from_secs(120);

/// A lab, and a folder for what the binary makes of it.
pub(crate) struct Bench {
    pub(crate) lab: Lab,
    /// What the binary finds its programs by, where it is not what the test does.
    pub(crate) programs: Option<OsString>,
    folder: tempfile::TempDir,
}

/// How the binary ended.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Ran {
    /// Asserts the exit code.
    #[track_caller]
    pub(crate) fn ends(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "stdout:\n{}\nstderr:\n{}", self.out, self.err);
        self
    }
}

impl Bench {
    pub(crate) fn new(specs: Vec<HostSpec>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let lab =
            Lab::start(&folder.path().join("lab"), specs, Path::new(env!("CARGO_BIN_EXE_fleet"))).unwrap();
        Self { lab, programs: None, folder }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn host(&self, name: &str) -> &Host {
        self.lab.host(name).unwrap_or_else(|| panic!("no host {name}"))
    }

    /// The binary with the bench's own places.
    pub(crate) fn command(&self, words: &[&str]) -> Command {
        let mut command = fleet(words);
        command
            .current_dir(self.folder.path())
            .env("FLEET_INVENTORY", self.lab.inventory())
            .env("FLEET_RUNS", self.path("runs"))
            .env("FLEET_BACKUPS", self.path("backups"));
        if let Some(programs) = &self.programs {
            command.env("PATH", programs);
        }
        command
    }

    pub(crate) fn fleet(&self, words: &[&str]) -> Ran {
        run(&mut self.command(words))
    }

    /// The words of an upgrade in which what the test machine is like does not matter.
    pub(crate) fn upgrade(&self, more: &[&str]) -> Ran {
        self.fleet(&acknowledging(&["upgrade", "--parallel", "12"], more))
    }

    /// The newest run.
    pub(crate) fn run(&self) -> PathBuf {
        // Ids of one second are in no order.
        let last = fs::read_to_string(self.path("runs/.last")).unwrap();
        self.path("runs").join(last.trim())
    }

    /// A cluster's report in the newest run.
    pub(crate) fn report(&self, cluster: &str) -> Value {
        let path = self.run().join(cluster).join("report.json");
        serde_json::from_slice(&fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display())))
            .unwrap()
    }

    /// A lost connection to this host is not made again.
    pub(crate) fn never_again(&self, name: &str) {
        self.reconnects(name, 0);
    }

    /// A lost connection to this host is tried to be made again for so long.
    pub(crate) fn reconnects(&self, name: &str, seconds: u32) {
        let inventory = self.lab.inventory().join("lab.toml");
        let text = fs::read_to_string(&inventory).unwrap();
        let table = format!("[clusters.\"{name}\"]\n");
        assert_eq!(text.matches(&table).count(), 1, "{text}");
        fs::write(&inventory, text.replace(&table, &format!("{table}reconnect_seconds = {seconds}\n")))
            .unwrap();
    }

    pub(crate) fn journal(&self, cluster: &str) -> Vec<Event> {
        journal::read(&self.run().join(cluster).join("journal.ndjson")).unwrap()
    }
}

/// The words with every warning of this machine acknowledged.
pub(crate) fn acknowledging<'a>(words: &[&'a str], more: &[&'a str]) -> Vec<&'a str> {
    let acks = OF_THIS_MACHINE.iter().flat_map(|id| ["--ack", id]);
    words.iter().copied().chain(acks).chain(more.iter().copied()).collect()
}

/// The binary, with nothing of the operator's own environment.
pub(crate) fn fleet(words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fleet"));
    command
        .args(words)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("HOME", "/nonexistent")
        .stdin(Stdio::null());
    command
}

pub(crate) fn run(command: &mut Command) -> Ran {
    let output = command.output().unwrap();
    Ran {
        code: output.status.code(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

/// The binary under way. It is ended with the value, whatever becomes of the test.
pub(crate) struct UnderWay {
    pub(crate) child: Child,
    said: Arc<Mutex<String>>,
}

impl UnderWay {
    pub(crate) fn start(bench: &Bench, words: &[&str]) -> Self {
        Self::of(&mut bench.command(words))
    }

    pub(crate) fn of(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let mut stderr = child.stderr.take().unwrap();
        let said = Arc::new(Mutex::new(String::new()));
        let heard = Arc::clone(&said);
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(read @ 1..) = stderr.read(&mut buffer) {
                heard.lock().unwrap().push_str(&String::from_utf8_lossy(&buffer[..read]));
            }
        });
        Self { child, said }
    }

    /// What Ctrl-C in its terminal does, or the system.
    pub(crate) fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
    }

    /// What it wrote to standard error so far.
    pub(crate) fn said(&self) -> String {
        self.said.lock().unwrap().clone()
    }

    pub(crate) fn says(&self, text: &str) -> bool {
        self.said.lock().unwrap().contains(text)
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Puts a program before the host's own of this name. `$real` in the script is what it replaces.
pub(crate) fn replace_program(host: &Host, name: &str, script: &str) {
    let path = host.folder().join("bin").join(name);
    let real = host.folder().join("bin").join(format!("{name}.real"));
    let real = if path.exists() {
        fs::rename(&path, &real).unwrap();
        real.display().to_string()
    } else {
        let found = std::env::split_paths(&std::env::var_os("PATH").unwrap())
            .map(|folder| folder.join(name))
            .find(|path| path.exists());
        found.unwrap().display().to_string()
    };
    fs::write(&path, format!("#!/bin/sh\nreal='{real}'\n{script}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
}

/// Waits for a real process. Looked at often: what is waited for takes a second at most, unless it never comes.
#[track_caller]
pub(crate) fn until(what: &str, mut there: impl FnMut() -> bool) {
    let began = Instant::now();
    while !there() {
        assert!(began.elapsed() < PATIENCE, "never: {what}");
        std::thread::park_timeout(Duration::from_millis(20));
    }
}

/// Every file below a folder: what it is, whose, of when, and the hash of its content.
pub(crate) fn tree(root: &Path, leave_out: &[&str]) -> BTreeMap<PathBuf, String> {
    let mut found = BTreeMap::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if leave_out.iter().any(|name| path.strip_prefix(root).unwrap() == Path::new(name)) {
                continue;
            }
            let about = fs::symlink_metadata(&path).unwrap();
            let content = if about.is_dir() {
                folders.push(path.clone());
                String::new()
            } else if about.is_symlink() {
                format!("{:?}", fs::read_link(&path).unwrap().as_os_str().as_bytes())
            } else if about.is_file() {
                format!("{:x?}", &Sha256::digest(fs::read(&path).unwrap())[..])
            } else {
                "special".to_owned()
            };
            let (mode, uid, gid, links) = (about.mode(), about.uid(), about.gid(), about.nlink());
            let changed = (about.mtime(), about.mtime_nsec());
            let name = path.strip_prefix(root).unwrap().to_owned();
            found.insert(name, format!("{mode:o} {uid} {gid} {links} {changed:?} {content}"));
        }
    }
    found
}

/// What is left in a host's spool, but for what stays there after a run: the counter of its locks, its runs' journals, who changed it last.
pub(crate) fn left_on_spool(host: &Host) -> Vec<PathBuf> {
    const STAYS: [&str; 4] = ["fence", "runs", "changed", "locks.log"];
    let Ok(spool) = fs::read_dir(host.folder().join("spool")) else { return Vec::new() };
    let mut left: Vec<PathBuf> = spool.map(|entry| entry.unwrap().path()).collect();
    left.retain(|path| !STAYS.iter().any(|name| path.ends_with(name)));
    left.sort();
    left
}

/// Every file below a folder with its bytes.
pub(crate) fn files(root: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let bytes = fs::read(&path).unwrap();
                found.push((path, bytes));
            }
        }
    }
    found
}

/// What in a command line changes the host or its cluster; `None` for one that only reads, or writes what is fleet's own in its spool: its
/// lock and its copy of the journal.
pub(crate) fn changes(line: &str) -> Option<String> {
    let line = fleet::lock::bare(line);
    let own = line.contains("\ns=$1 m=$2") || line.contains("/journal.ndjson");
    if own { None } else { writes(line) }
}

/// What in a command line writes; `None` for a line that reads only.
pub(crate) fn writes(line: &str) -> Option<String> {
    const WRITING: [&str; 26] = [
        "rm", "rmdir", "mv", "cp", "mkdir", "touch", "tee", "chmod", "chown", "ln", "dd", "kill", "pkill",
        "reboot", "truncate", "mktemp", "apt", "apt-get", "dpkg", "sed", "install", "rsync", "setsid",
        "nohup", "shutdown", "crictl",
    ];
    let words: Vec<&str> = line
        .split(|c: char| !(c.is_ascii_alphanumeric() || "-_./".contains(c)))
        .filter(|word| !word.is_empty())
        .collect();
    for (at, word) in words.iter().enumerate() {
        let next = words.get(at + 1).copied().unwrap_or("");
        // The list of programs that a host must have names some that write.
        let listed = words[..at].iter().rev().take(20).any(|word| *word == "in" || *word == "command");
        let writing = match *word {
            "kubectl" => next != "get",
            "systemctl" => {
                !matches!(next, "is-active" | "is-enabled" | "is-failed" | "status" | "show" | "list-units")
                    && !listed
            }
            "k3s-killall.sh" => !listed,
            "tar" => !(listed || next == "--version"),
            word => WRITING.contains(&word) && !listed,
        };
        if writing {
            return Some(format!("{word} {next}"));
        }
    }
    for (at, _) in line.match_indices('>') {
        let target = line[at + 1..].trim_start_matches(['>', '&', ' ']);
        let harmless = target.starts_with("/dev/null") || target.starts_with(['1', '2']);
        if !harmless && !line[..at].ends_with('-') {
            return Some(format!("> {}", target.chars().take(40).collect::<String>()));
        }
    }
    None
}

/// The first character that a terminal would act upon.
pub(crate) fn control(text: &str) -> Option<char> {
    text.chars().find(|c| {
        (c.is_control() && *c != '\n')
            || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    })
}

/// Whether bytes hold other bytes.
pub(crate) fn holds(bytes: &[u8], what: &[u8]) -> bool {
    bytes.windows(what.len()).any(|window| window == what)
}

/// Puts this machine's kubectl, where it has one, behind the host's `k3s kubectl`: it has its own mind about flags and answers.
pub(crate) fn real_kubectl(host: &Host) {
    let path = std::env::var_os("PATH").unwrap_or_default();
    if !std::env::split_paths(&path).any(|folder| folder.join("kubectl").is_file()) {
        // Not `println!`: what a test prints that passes is kept from the screen.
        let _ = writeln!(
            std::io::stderr(),
            "not with a real kubectl: none is installed (Debian's kubernetes-client)"
        );
        return;
    }
    let script = r#"here=$(dirname "$real")/..
[ "$1" = kubectl ] || exec "$real" "$@"
shift
exec kubectl --kubeconfig="$here/etc-rancher/k3s.yaml" --cache-dir="$here/cache" "$@""#;
    replace_program(host, "k3s", script);
}
