//! What a simulated host runs: command lines, by a real shell in its own folder, until its power goes off.

use std::fs;
use std::io;
use std::path::Path;
use std::process::Stdio;
use std::sync::atomic::Ordering;

use rustix::process::{Pid, Signal, kill_process};
use tokio::process::Command;

use super::faults::Fault;
use super::host::{Host, Power, TIMERS};
use super::write::OPERATOR;

/// What a host that was started anew sees as its boot id: a file of its own, in a mount namespace of each command. Needs root.
const OWN_BOOT: &str = r#"mount --bind "$1" /proc/sys/kernel/random/boot_id || exit 125; "#;
/// Writing into a file fails, as on a full disk; pipes are not concerned.
const NO_ROOM: &str = "ulimit -f 0; trap '' XFSZ; ";

impl Host {
    /// The shell that runs this command line, as sshd starts it: its own process group, and nothing that ends it but itself.
    pub(super) fn shell(&self, line: &str) -> Command {
        let home = self.folder().join("home");
        let (user, bin) = if self.spec().sudo { (OPERATOR, "bin-operator") } else { ("root", "bin") };
        let bin = self.folder().join(bin);
        let path = std::env::var("PATH").unwrap_or_else(|_| "/usr/sbin:/usr/bin:/sbin:/bin".to_owned());
        let mut first = String::new();
        let mut command = if self.reboots.load(Ordering::Relaxed) == 0 {
            Command::new("/bin/sh")
        } else {
            first.push_str(OWN_BOOT);
            let mut command = Command::new("unshare");
            command.args(["--mount", "/bin/sh"]);
            command
        };
        if self.has(&Fault::NoRoom) {
            first.push_str(NO_ROOM);
        }
        if first.is_empty() {
            command.args(["-c", line]);
        } else {
            command.arg("-c").arg(format!(r#"{first}exec /bin/sh -c "$2""#)).arg("lab");
            command.arg(self.boot_id()).arg(line);
        }
        command
            .current_dir(&home)
            .env_clear()
            .env("PATH", format!("{}:{path}", bin.display()))
            .env("HOME", &home)
            .env("USER", user)
            .env("LOGNAME", user)
            .env("SHELL", "/bin/sh")
            .env("LANG", "C.UTF-8")
            .env("SSH_CONNECTION", "203.0.113.1 50000 203.0.113.10 22")
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    fn boot_id(&self) -> std::path::PathBuf {
        self.folder().join("boot-id")
    }

    /// Its power goes off and on: every process of its is gone at once, its boot id is another, and k3s, which is an enabled service,
    /// starts from what its datastore holds. Its uptime goes on, for it is this machine's.
    pub async fn reboot(&self) -> io::Result<()> {
        let number = self.reboots.load(Ordering::Relaxed) + 1;
        fs::write(self.boot_id(), format!("00000000-0000-4000-8000-{number:012}\n"))?;
        let ran = self.state().power == Power::Running;
        self.state.send_modify(|state| {
            state.faults.push(Fault::Unreachable);
            state.power = Power::Stopped;
            state.containers = false;
        });
        end_all(&self.folder().join("home"))?;
        if ran {
            self.flush()?;
        }
        self.reboots.store(number, Ordering::Relaxed);
        for timer in TIMERS {
            // They are enabled units as well: a stop does not outlive a reboot.
            self.set_timer(timer, true);
        }
        // A k3s that does not start is seen by whoever asks for it, as on a real host.
        let _ = self.start_k3s().await;
        self.heal(&Fault::Unreachable);
        Ok(())
    }
}

/// Kills every process that has this home, again until none is left: one may be starting another just now.
fn end_all(home: &Path) -> io::Result<()> {
    let home = format!("HOME={}", home.display());
    loop {
        let mut found = false;
        for entry in fs::read_dir("/proc")?.flatten() {
            let pid = entry.file_name().to_str().and_then(|name| name.parse().ok()).and_then(Pid::from_raw);
            // One that has ended meanwhile, or is another user's, has no readable environment.
            let (Some(pid), Ok(environment)) = (pid, fs::read(entry.path().join("environ"))) else {
                continue;
            };
            if environment.split(|byte| *byte == 0).any(|word| word == home.as_bytes()) {
                found = true;
                let _ = kill_process(pid, Signal::KILL);
            }
        }
        if !found {
            return Ok(());
        }
    }
}
