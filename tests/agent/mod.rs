//! An ssh-agent for one test: `mod agent;` beside `mod sshd;`. Its socket is named by the environment, which belongs to the whole process,
//! so a test that needs one runs itself [`again`], in a process of its own.
#![allow(clippy::unwrap_used, reason = "an agent that cannot be set up fails its test")]

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::sshd;

const OUTSIDE: &str = "FLEET_TEST_OUTSIDE";

/// The folder that the outer run of a test has made, in the inner run.
pub(crate) fn outside() -> Option<PathBuf> {
    std::env::var_os(OUTSIDE).map(PathBuf::from)
}

/// Runs a test of this file again, with this agent and this folder.
pub(crate) fn again(test: &str, socket: &Path, dir: &Path) {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env("SSH_AUTH_SOCK", socket)
        .env(OUTSIDE, dir)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
}

/// An ssh-agent that ends with the value.
pub(crate) struct Agent(Child);

impl Agent {
    /// With these keys; ssh-add takes the certificate beside each with it.
    pub(crate) fn start(socket: &Path, keys: &[&Path]) -> Self {
        let child = Command::new(sshd::find("ssh-agent"))
            .args(["-D", "-a"])
            .arg(socket)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut agent = Self(child);
        // It prints where it listens once it does.
        let mut line = String::new();
        BufReader::new(agent.0.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert!(line.contains("SSH_AUTH_SOCK"), "{line}");
        for key in keys {
            let added =
                Command::new(sshd::find("ssh-add")).arg("-q").arg(key).env("SSH_AUTH_SOCK", socket).status();
            assert!(added.unwrap().success());
        }
        agent
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}
