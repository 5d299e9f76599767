//! The cluster's own kubeconfig, for programs of this machine: read from the host, judged, pointed at a tunnel, and put
//! into a file that is gone with this process.
//!
//! It is the host's text, and kubectl believes what it reads: an `exec:` or `client-key:` of a hostile host would run a program
//! or send a file of the operator's. So it is taken only if every line of it is one that k3s writes.

use std::fmt;
use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::AsRawFd as _;
use std::path::PathBuf;

use rustix::fs::{MemfdFlags, Mode, SealFlags, fchmod, fcntl_add_seals, memfd_create};
use secrecy::zeroize::Zeroize as _;
use secrecy::{ExposeSecret as _, SecretString};

use crate::inventory::Cluster;
use crate::remote::{Command, Remote, RemoteError, printable};

/// What a kubeconfig of k3s says, and a few harmless things beside.
const KNOWN: [&str; 19] = [
    "apiVersion",
    "certificate-authority-data",
    "client-certificate-data",
    "client-key-data",
    "cluster",
    "clusters",
    "context",
    "contexts",
    "current-context",
    "kind",
    "name",
    "namespace",
    "password",
    "preferences",
    "server",
    "token",
    "user",
    "username",
    "users",
];
/// Longest kubeconfig that is taken, in bytes; k3s' own has 3 KiB.
const LIMIT: usize = 64 << 10;

/// A kubeconfig that was read and judged. It opens the whole cluster: it is shown nowhere.
pub struct Kubeconfig {
    before: SecretString,
    scheme: &'static str,
    port: u16,
    after: SecretString,
}

impl fmt::Debug for Kubeconfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Kubeconfig(port {})", self.port)
    }
}

/// Why there is no kubeconfig.
#[derive(Debug, thiserror::Error)]
pub enum KubeconfigError {
    /// The host could not be asked.
    #[error(transparent)]
    Remote(#[from] RemoteError),
    /// The file cannot be read on the host.
    #[error("the host's {file} cannot be read: {why}")]
    Unreadable {
        /// The file on the host.
        file: String,
        /// The host's own words, cleaned.
        why: String,
    },
    /// The file is not what k3s writes.
    #[error("the host's {file} is not used: {why}")]
    Strange {
        /// The file on the host.
        file: String,
        /// What is strange about it.
        why: String,
    },
}

/// Reads the kubeconfig of k3s from the host (facts section 3.1).
pub async fn read(remote: &impl Remote, cluster: &Cluster) -> Result<Kubeconfig, KubeconfigError> {
    let file = format!("{}/k3s.yaml", cluster.paths.k3s_config.trim_end_matches('/'));
    // The limit is one byte beyond what is taken, so that a longer file shows.
    let command = Command::new("cat --").arg(&file).limit(LIMIT + 1).sensitive();
    let mut output = remote.ask(&command, &mut io::sink()).await?;
    if !output.success() {
        return Err(KubeconfigError::Unreadable { file, why: output.complaint() });
    }
    let judged = std::str::from_utf8(&output.stdout)
        .map_err(|_| "it is no UTF-8 text".to_owned())
        .and_then(Kubeconfig::parse);
    output.stdout.zeroize();
    judged.map_err(|why| KubeconfigError::Strange { file, why })
}

impl Kubeconfig {
    /// Judges a kubeconfig line by line. The error repeats nothing that may be secret.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.len() > LIMIT {
            return Err(format!("it is longer than {LIMIT} bytes"));
        }
        let (mut before, mut after) = (String::with_capacity(text.len()), String::with_capacity(text.len()));
        let mut server = None;
        for (index, line) in text.lines().enumerate() {
            let body = line.trim_start_matches(' ');
            if body.is_empty() || body.starts_with('#') || line == "---" {
                continue;
            }
            let body = body.strip_prefix("- ").unwrap_or(body);
            let strange = |why: &str| format!("line {}: {why}", index + 1);
            let (key, value) =
                body.split_once(':').ok_or_else(|| strange("it is not a name with a value"))?;
            if !KNOWN.contains(&key) {
                let key: String = key.chars().take(40).collect();
                return Err(strange(&format!("k3s writes no `{}`", printable(&key))));
            }
            let value =
                plain(value).ok_or_else(|| strange(&format!("the value of `{key}` is not a plain word")))?;
            if key == "server" {
                if server.is_some() {
                    return Err(strange("a second `server`"));
                }
                server = Some(local(value).ok_or_else(|| {
                    strange(&format!(
                        "its server is {}, not this host by 127.0.0.1 and a port",
                        printable(value)
                    ))
                })?);
                before.push_str(&line[..line.len() - line.trim_start_matches(' ').len()]);
                if line.trim_start_matches(' ').starts_with("- ") {
                    before.push_str("- ");
                }
            } else {
                let part = if server.is_none() { &mut before } else { &mut after };
                part.push_str(line);
                part.push('\n');
            }
        }
        let (scheme, port) = server.ok_or("it names no server")?;
        Ok(Self { before: SecretString::from(before), scheme, port, after: SecretString::from(after) })
    }

    /// The port of the API on the host's loopback.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// The file that leads to this port of 127.0.0.1 on this machine. Names, certificates and keys are as they were.
    pub fn file(&self, port: u16) -> io::Result<KubeconfigFile> {
        let memory = memfd_create("kubeconfig", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
        fchmod(&memory, Mode::RUSR | Mode::WUSR)?;
        let mut memory = File::from(memory);
        memory.write_all(self.before.expose_secret().as_bytes())?;
        writeln!(memory, "server: {}://127.0.0.1:{port}", self.scheme)?;
        memory.write_all(self.after.expose_secret().as_bytes())?;
        // What is read through the path must stay what was judged.
        fcntl_add_seals(&memory, SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL)?;
        Ok(KubeconfigFile(memory))
    }
}

/// A value without any of YAML's syntax, quotes taken off. `{}` and nothing are values too.
fn plain(value: &str) -> Option<&str> {
    let value = match value.strip_prefix(' ') {
        Some(value) => value.trim_matches(' '),
        None if value.is_empty() => value,
        None => return None,
    };
    let bare = match value.strip_prefix('"') {
        Some(rest) => rest.strip_suffix('"')?,
        None => value,
    };
    let harmless = |c: char| c.is_ascii_alphanumeric() || "+/=:._@-".contains(c);
    let starts_well = !bare.starts_with(['-', '@', '=']) || value.starts_with('"');
    (value == "{}" || (bare.chars().all(harmless) && !bare.ends_with(':') && starts_well)).then_some(bare)
}

/// Scheme and port of a server on the host's loopback.
fn local(server: &str) -> Option<(&'static str, u16)> {
    let (scheme, rest) = [("https", "https://"), ("http", "http://")]
        .into_iter()
        .find_map(|(scheme, prefix)| Some((scheme, server.strip_prefix(prefix)?)))?;
    let port = rest.strip_prefix("127.0.0.1:").or_else(|| rest.strip_prefix("localhost:"))?;
    let port = port.trim_end_matches('/');
    let digits = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    port.parse().ok().filter(|port| digits && *port != 0).map(|port| (scheme, port))
}

/// A kubeconfig in memory alone, readable by this user through a path, for as long as this process holds it: however the
/// process ends, it is gone.
#[derive(Debug)]
pub struct KubeconfigFile(File);

impl KubeconfigFile {
    /// The path, for `KUBECONFIG` of a child.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        PathBuf::from(format!("/proc/{}/fd/{}", std::process::id(), self.0.as_raw_fd()))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    const OF_K3S: &str = "apiVersion: v1\nclusters:\n- cluster:\n    certificate-authority-data: LS0tCg==\n    server: https://127.0.0.1:6443\n  \
                          name: default\ncontexts:\n- context:\n    cluster: default\n    user: default\n  name: default\ncurrent-context: default\n\
                          kind: Config\npreferences: {}\nusers:\n- name: default\n  user:\n    client-certificate-data: QUJD\n    client-key-data: hunter2=\n";

    #[test]
    fn only_the_server_of_k3s_own_file_is_changed() {
        let config = Kubeconfig::parse(OF_K3S).unwrap();
        assert_eq!(config.port(), 6443);
        let file = config.file(1234).unwrap();
        let expected = OF_K3S.replace("127.0.0.1:6443", "127.0.0.1:1234");
        assert_eq!(std::fs::read_to_string(file.path()).unwrap(), expected);
        assert!(!format!("{config:?} {file:?}").contains("hunter2"));
    }

    #[test]
    fn the_file_is_its_owners_alone_cannot_be_changed_and_is_gone_with_its_value() {
        let file = Kubeconfig::parse(OF_K3S).unwrap().file(1).unwrap();
        let path = file.path();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(std::fs::write(&path, "server: https://example.org").is_err());
        assert!(std::fs::read_to_string(&path).unwrap().contains("hunter2"));
        drop(file);
        // Another test may have taken the number for a file of its own.
        assert!(!std::fs::read_to_string(&path).unwrap_or_default().contains("127.0.0.1:1\n"));
    }

    #[test]
    fn a_server_may_stand_first_in_its_list_be_quoted_and_plain() {
        for (line, written) in [
            ("- server: \"https://localhost:7443/\"", "- server: https://127.0.0.1:9\n"),
            ("    server: http://127.0.0.1:7443", "    server: http://127.0.0.1:9\n"),
        ] {
            let config = Kubeconfig::parse(line).unwrap();
            assert_eq!(config.port(), 7443);
            assert_eq!(std::fs::read_to_string(config.file(9).unwrap().path()).unwrap(), written);
        }
    }

    #[test]
    fn what_could_make_kubectl_do_more_than_talk_to_the_host_is_refused_and_never_repeated() {
        let refused = |line: &str| {
            let error = Kubeconfig::parse(&format!("{OF_K3S}{line}\n")).unwrap_err();
            assert!(error.starts_with("line 20: ") && !error.contains("hunter2"), "{error}");
            error
        };
        for key in [
            "exec",
            "command",
            "auth-provider",
            "client-key",
            "tokenFile",
            "proxy-url",
            "insecure-skip-tls-verify",
        ] {
            assert!(refused(&format!("    {key}: hunter2")).contains(&format!("`{key}`")));
        }
        for value in [
            "&a hunter2",
            "*hunter2",
            "!!binary hunter2",
            "|",
            ">-",
            "{exec: hunter2}",
            "[hunter2]",
            "'hunter2'",
            "hunter2 # x",
            "\"hunter2\\n\"",
            "\"a\": b",
            "- hunter2",
            "a: hunter2",
            "x\u{85}y",
        ] {
            assert!(refused(&format!("    token: {value}")).contains("not a plain word"), "{value}");
        }
        assert!(refused("    {exec: {command: hunter2}}").contains("k3s writes no"));
        assert!(refused("? exec").contains("not a name with a value"));
        assert!(refused("\ttoken: hunter2").contains("k3s writes no"));
        assert!(refused("    \"exec\": hunter2").contains("k3s writes no"));
        assert!(refused("    server: https://127.0.0.1:1").contains("second"));
    }

    #[test]
    fn a_server_that_is_not_the_host_itself_is_refused() {
        for server in [
            "https://203.0.113.7:6443",
            "https://127.0.0.1",
            "https://127.0.0.1:0",
            "https://127.0.0.1:+1",
            "https://127.0.0.1:99999",
            "https://127.0.0.1.example.org:1",
            "https://root@127.0.0.1:1",
            "ftp://127.0.0.1:1",
        ] {
            assert!(
                Kubeconfig::parse(&format!("server: {server}\n")).unwrap_err().contains("not this host"),
                "{server}"
            );
        }
        assert_eq!(Kubeconfig::parse("kind: Config\n").unwrap_err(), "it names no server");
        assert!(Kubeconfig::parse(&"#".repeat(LIMIT + 1)).unwrap_err().contains("longer"));
    }
}
