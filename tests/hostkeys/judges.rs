//! The two judges: `ssh` and `fleet`, each asked whether it would connect to the same host with the same known_hosts files.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use fleet::inventory::Host;
use fleet::remote::RemoteError;
use fleet::ssh::connect;

use crate::sshd::{self, Options, Sshd};

/// A host, and what is known about it.
pub(crate) struct Scene {
    /// The host.
    pub(crate) sshd: Sshd,
    /// Its known_hosts files.
    pub(crate) files: Vec<PathBuf>,
    /// `HostKeyAlias`.
    pub(crate) alias: Option<String>,
}

impl Scene {
    /// A host with host keys of these kinds, of which nothing is known.
    pub(crate) fn with(kinds: &[&'static str]) -> Self {
        Self::of(Sshd::start_with(&Options { host_keys: kinds.to_vec(), ..Options::default() }))
    }

    /// This host, of which nothing is known.
    pub(crate) fn of(sshd: Sshd) -> Self {
        let files = vec![sshd.dir().join("known")];
        Self { sshd, files, alias: None }
    }

    /// The host as the inventory has it: nothing pinned.
    pub(crate) fn host(&self) -> Host {
        Host {
            host_key: None,
            host_key_alias: self.alias.clone(),
            known_hosts: self.files.clone(),
            ..self.sshd.host()
        }
    }

    /// Writes known_hosts, and asks both judges, who must agree: `Ok` where they accept, what `fleet` says where they refuse.
    pub(crate) async fn both(&self, known_hosts: &str) -> Result<(), String> {
        fs::write(&self.files[0], known_hosts).unwrap();
        let verdict = self.fleet().await;
        let (accepted, said) = self.ssh();
        assert_eq!(
            accepted,
            verdict.is_ok(),
            "ssh (left) and fleet (right) differ about\n{known_hosts}\nfleet: {verdict:?}\nssh: {said}"
        );
        verdict
    }

    /// Whether `fleet` connects; what it says where it does not.
    pub(crate) async fn fleet(&self) -> Result<(), String> {
        match connect(&self.host()).await {
            Ok(session) => {
                session.close().await;
                Ok(())
            }
            Err(RemoteError::HostKey(text)) => Err(text),
            Err(error) => panic!("neither accepted nor refused: {error}"),
        }
    }

    /// Whether `ssh` accepts the host key, and what it says. It does not log in: it would only take time.
    pub(crate) fn ssh(&self) -> (bool, String) {
        self.ssh_with(&[])
    }

    /// The same with further options.
    pub(crate) fn ssh_with(&self, options: &[&str]) -> (bool, String) {
        let mut ssh = Command::new(sshd::find("ssh"));
        ssh.args(["-F", "none", "-v", "-p", &self.sshd.port().to_string()]);
        let files: Vec<String> = self.files.iter().map(|file| file.display().to_string()).collect();
        let (own, global) = files.split_first().unwrap();
        let global = if global.is_empty() { "/dev/null".to_owned() } else { global.join(" ") };
        for option in [
            "BatchMode=yes",
            "StrictHostKeyChecking=yes",
            "PreferredAuthentications=none",
            "KexAlgorithms=curve25519-sha256",
            &format!("UserKnownHostsFile={own}"),
            &format!("GlobalKnownHostsFile={global}"),
        ] {
            ssh.args(["-o", option]);
        }
        for option in options {
            ssh.args(["-o", option]);
        }
        if let Some(alias) = &self.alias {
            ssh.args(["-o", &format!("HostKeyAlias={alias}")]);
        }
        let output = ssh.args(["127.0.0.1", "true"]).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let (accepted, refused) =
            (said.contains("Permission denied"), said.contains("Host key verification failed"));
        assert!(accepted != refused, "ssh neither accepted nor refused:\n{said}");
        (accepted, said)
    }
}

/// Makes a key in the host's folder and tells its public half, `ssh-ed25519 AAAA…`.
pub(crate) fn new_key(sshd: &Sshd, kind: &str, name: &str) -> String {
    let file = sshd.dir().join(name);
    sshd::keygen(kind, &file, "");
    sshd::public(&file.with_extension("pub"))
}

/// `SHA256:…` of a public key file, as ssh-keygen tells it.
pub(crate) fn fingerprint(public_key_file: &std::path::Path) -> String {
    let output = Command::new(sshd::find("ssh-keygen")).arg("-lf").arg(public_key_file).output().unwrap();
    String::from_utf8(output.stdout).unwrap().split(' ').nth(1).unwrap().to_owned()
}
