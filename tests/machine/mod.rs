//! Whole machines for tests, as far as namespaces make them: processes of their own, a boot id of their own, and if it is wanted a real
//! systemd as process 1. Network and disk are those of whoever runs the tests.
//!
//! Needs root (mounts, process 1), util-linux' `unshare` and `nsenter`, and for systemd Debian's `systemd` with cgroup v2. Units of the
//! machine that runs the tests are not seen: systemd gets a folder of empty targets.
#![allow(dead_code, reason = "each test file uses the part that it needs")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use crate::sshd::{Options, Sshd};

/// What is done before process 1 is what it stays. `$1` the machine's folder, `$2` the disk's size.
const BEFORE: &str = r#"
set -e
mount --make-rprivate /
mount --bind "$1/boot_id" /proc/sys/kernel/random/boot_id
[ -z "$2" ] || mountpoint -q "$1/disk" || mount -t tmpfs -o "size=$2" tmpfs "$1/disk"
"#;

/// Process 1 that only reaps.
const PLAIN: &str = r#"touch "$1/up"; while :; do sleep 1000 & wait $! || :; done"#;

/// systemd, with a world of empty targets. What is enabled stays in the machine's own folder over a reboot.
const SYSTEMD: &str = r#"
mount -t tmpfs tmpfs /usr/lib/systemd/system
mount -t tmpfs tmpfs /usr/lib/systemd/system-generators
for target in basic sysinit shutdown multi-user; do
    printf '[Unit]\nDescription=%s\nDefaultDependencies=no\n' $target >/usr/lib/systemd/system/$target.target
done
mount --bind "$1/units" /etc/systemd/system
mount -t tmpfs tmpfs /run
mkdir -p /run/sshd /run/systemd /run/lock
umount -R /sys/fs/cgroup 2>/dev/null || :
mount -t cgroup2 cgroup2 /sys/fs/cgroup
touch "$1/up"
exec env -i container=docker PATH="$PATH" HOME=/root /lib/systemd/systemd --system --unit=multi-user.target --log-target=console --show-status=no
"#;

/// A machine; everything on it ends with the value.
#[derive(Debug)]
pub(crate) struct Machine {
    folder: TempDir,
    systemd: bool,
    disk: Option<&'static str>,
    boots: u32,
    first: Child,
    sshd: Sshd,
}

impl Machine {
    /// One whose process 1 does nothing.
    pub(crate) fn plain() -> Self {
        Self::boot(false, None)
    }

    /// One with a real systemd.
    pub(crate) fn systemd() -> Self {
        Self::boot(true, None)
    }

    /// One without systemd, whose folder `disk` is a disk of this size, as mount takes it. It is empty after a reboot.
    pub(crate) fn with_disk(size: &'static str) -> Self {
        Self::boot(false, Some(size))
    }

    fn boot(systemd: bool, disk: Option<&'static str>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for below in ["units", "disk", "bin"] {
            fs::create_dir(folder.path().join(below)).unwrap();
        }
        let first = first(folder.path(), systemd, disk, 1);
        let within = within(&first, systemd);
        let path_prefix = Some(folder.path().join("bin"));
        let sshd = Sshd::start_with(&Options { path_prefix, within, ..Options::default() });
        Self { folder, systemd, disk, boots: 1, first, sshd }
    }

    /// Its sshd.
    pub(crate) fn sshd(&self) -> &Sshd {
        &self.sshd
    }

    /// Whether its process 1 is systemd.
    pub(crate) fn is_systemd(&self) -> bool {
        self.systemd
    }

    /// A file or folder that it shares with the tests.
    pub(crate) fn path(&self, below: &str) -> PathBuf {
        self.folder.path().join(below)
    }

    /// Its power goes off and on: every process is gone at once, the boot id is another, and what was enabled is started. Its sshd has the
    /// same port and keys.
    pub(crate) fn reboot(&mut self) {
        self.off();
        self.boots += 1;
        self.first = first(self.folder.path(), self.systemd, self.disk, self.boots);
        self.sshd.restart_within(within(&self.first, self.systemd));
    }

    fn off(&mut self) {
        // With the process that it waits for, which is process 1 there, all others of the namespace end.
        self.first.kill().unwrap();
        self.first.wait().unwrap();
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.off();
    }
}

/// Starts process 1 and waits until it is there.
fn first(folder: &Path, systemd: bool, disk: Option<&str>, boots: u32) -> Child {
    let user = crate::sshd::user();
    assert_eq!(
        user, "root",
        "only root can make a machine of namespaces: run the tests as root, as in a container"
    );
    if systemd {
        let there = Path::new("/lib/systemd/systemd").exists() && Path::new("/usr/bin/systemd-run").exists();
        assert!(there, "systemd is not here: install Debian's systemd (apt-get install systemd)");
    }
    fs::write(folder.join("boot_id"), format!("00000000-0000-4000-8000-{boots:012}\n")).unwrap();
    let up = folder.join("up");
    fs::remove_file(&up).ok();
    let script = format!("{BEFORE}{}", if systemd { SYSTEMD } else { PLAIN });
    let log = fs::File::create(folder.join(format!("boot-{boots}.log"))).unwrap();
    let mut child = Command::new("unshare")
        .args([
            "--mount",
            "--pid",
            "--fork",
            "--kill-child=KILL",
            "--mount-proc",
            "--cgroup",
            "--uts",
            "--ipc",
        ])
        .args(["sh", "-c", &script, "machine"])
        .arg(folder)
        .arg(disk.unwrap_or_default())
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .spawn()
        .unwrap_or_else(|error| panic!("unshare (Debian's util-linux): {error}"));
    for _ in 0..1500 {
        let ready = up.exists() && (!systemd || answers(&child));
        if ready {
            return child;
        }
        if child.try_wait().unwrap().is_some() {
            break;
        }
        wait();
    }
    let said = fs::read_to_string(folder.join(format!("boot-{boots}.log"))).unwrap();
    child.kill().ok();
    panic!("the machine does not come up:\n{said}");
}

/// Whether its systemd takes commands.
fn answers(first: &Child) -> bool {
    let words = within(first, true);
    if words.is_empty() {
        return false;
    }
    let asked = Command::new(&words[0])
        .args(&words[1..])
        .args(["systemctl", "is-active", "--quiet", "multi-user.target"])
        .stderr(Stdio::null())
        .status();
    asked.unwrap().success()
}

/// The words that start something on it; none while it has no process.
fn within(first: &Child, systemd: bool) -> Vec<String> {
    let id = first.id();
    let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap_or_default();
    let Some(pid) = children.split_whitespace().next() else { return Vec::new() };
    let cgroup: &[&str] = if systemd { &["-C"] } else { &[] };
    ["nsenter", "-t", pid, "-m", "-p", "-u", "-i"].iter().chain(cgroup).map(|&word| word.to_owned()).collect()
}

#[expect(clippy::disallowed_methods, reason = "a bounded wait for another process, on the test's own thread")]
fn wait() {
    std::thread::sleep(Duration::from_millis(20));
}
