//! Secrets by reference: the inventory says where one is, never what it is.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use secrecy::SecretString;
use secrecy::zeroize::Zeroizing;

use super::prompt;

/// How long a command may take.
const DEADLINE: Duration = Duration::from_secs(30);

/// Longest answer that is read; a passphrase is shorter.
const LIMIT: u64 = 64 * 1024;

/// Where a secret comes from.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum SecretRef {
    /// The first line of a file that only its owner may read.
    File(PathBuf),
    /// An environment variable.
    Env(String),
    /// The first line that a local command prints.
    Command(String),
    /// The operator's keyboard.
    Prompt,
}

impl fmt::Display for SecretRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "file {}", path.display()),
            Self::Env(name) => write!(f, "variable {name}"),
            Self::Command(line) => write!(f, "command {line}"),
            Self::Prompt => f.write_str("prompt"),
        }
    }
}

/// Why a secret could not be had. Never holds any of it.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct SecretError(pub String);

impl SecretRef {
    /// Fetches the secret. `what` tells a person what is asked for.
    ///
    /// Blocking: until the person has typed, or for at most 30 seconds where a command is asked. Each call asks anew.
    pub fn fetch(&self, what: &str) -> Result<SecretString, SecretError> {
        let fetched = match self {
            Self::File(path) => from_file(path),
            Self::Env(name) => from_env(name),
            Self::Command(line) => from_command(line, DEADLINE),
            Self::Prompt => prompt::ask(what),
        };
        fetched.map_err(|why| SecretError(format!("{what}: {why}")))
    }
}

fn from_file(path: &Path) -> Result<SecretString, String> {
    let shown = path.display();
    let refuse = |error: io::Error| format!("the file {shown} cannot be read: {error}");
    // Asked before it is opened: opening a pipe would wait for whoever fills it.
    if !path.metadata().map_err(refuse)?.is_file() {
        return Err(format!("{shown} is no regular file"));
    }
    let file = File::open(path).map_err(refuse)?;
    let mode = file.metadata().map_err(refuse)?.permissions().mode();
    if mode & 0o077 != 0 {
        return Err(format!(
            "others may read or change the file {shown} (mode {:03o}): chmod 600 it",
            mode & 0o777
        ));
    }
    let text = read(file).map_err(refuse)?;
    first_line(&text).map_err(|why| format!("the file {shown} {why}"))
}

fn from_env(name: &str) -> Result<SecretString, String> {
    let value =
        std::env::var_os(name).ok_or_else(|| format!("the environment variable {name} is not set"))?;
    match value.into_string() {
        Ok(value) if value.is_empty() => Err(format!("the environment variable {name} is empty")),
        Ok(value) => Ok(SecretString::from(value)),
        Err(_) => Err(format!("the environment variable {name} is no UTF-8 text")),
    }
}

/// Runs the command in a process group of its own, so that its end ends whatever it started. It gets no input; what it
/// says on standard error goes straight to the operator and is kept nowhere. Messages do not repeat the line: people do
/// write secrets into commands.
fn from_command(line: &str, deadline: Duration) -> Result<SecretString, String> {
    let mut child = Command::new("sh")
        .args(["-c", line])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .process_group(0)
        .spawn()
        .map_err(|error| format!("`sh` cannot be started: {error}"))?;
    let group = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    let (tell, told) = mpsc::channel();
    thread::spawn(move || {
        let text = child.stdout.take().map_or_else(|| Ok(Zeroizing::default()), read);
        let status = child.wait();
        // Nobody listens any more once the deadline is over.
        let _ = tell.send((text, status));
    });
    let Ok((text, status)) = told.recv_timeout(deadline) else {
        if let Some(group) = group {
            // It may have ended just now; then there is nothing to end.
            let _ = kill_process_group(group, Signal::KILL);
        }
        return Err(format!("the command for it did not end within {} s and was ended", deadline.as_secs()));
    };
    let status = status.map_err(|error| format!("the command for it was lost: {error}"))?;
    if !status.success() {
        return Err(format!("the command for it failed ({status})"));
    }
    let text = text.map_err(|error| format!("what the command for it printed cannot be read: {error}"))?;
    first_line(&text).map_err(|why| format!("what the command for it printed {why}"))
}

/// Everything up to the limit, in memory that is wiped; no larger copy is left behind.
fn read(source: impl Read) -> io::Result<Zeroizing<Vec<u8>>> {
    let mut text = Zeroizing::new(Vec::with_capacity(usize::try_from(LIMIT).unwrap_or(usize::MAX) + 32));
    source.take(LIMIT).read_to_end(&mut text)?;
    Ok(text)
}

fn first_line(text: &[u8]) -> Result<SecretString, &'static str> {
    let line = text.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    match std::str::from_utf8(line) {
        Ok("") => Err("has an empty first line"),
        Ok(line) => Ok(SecretString::from(line)),
        Err(_) => Err("is no UTF-8 text"),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::time::Instant;

    use secrecy::ExposeSecret as _;

    use super::*;

    fn told(secret: &SecretRef) -> Result<String, String> {
        secret.fetch("key").map(|secret| secret.expose_secret().to_owned()).map_err(|error| error.to_string())
    }

    fn file(text: &[u8], mode: u32) -> (tempfile::TempDir, SecretRef) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        (folder, SecretRef::File(path))
    }

    #[test]
    fn a_file_gives_its_first_line() {
        for text in ["hunter2", "hunter2\n", "hunter2\r\nmore\n"] {
            let (_folder, secret) = file(text.as_bytes(), 0o400);
            assert_eq!(told(&secret).as_deref(), Ok("hunter2"));
        }
    }

    #[test]
    fn a_file_that_others_may_read_is_refused_without_telling_it() {
        for mode in [0o640, 0o604, 0o620, 0o666] {
            let (_folder, secret) = file(b"hunter2\n", mode);
            let error = told(&secret).unwrap_err();
            assert!(error.contains("chmod 600") && !error.contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn a_file_that_is_missing_empty_or_none_is_refused() {
        let (folder, secret) = file(b"\nhunter2\n", 0o600);
        assert!(told(&secret).unwrap_err().ends_with("has an empty first line"));
        assert!(told(&SecretRef::File(folder.path().join("no"))).unwrap_err().contains("cannot be read"));
        assert!(told(&SecretRef::File(folder.path().to_owned())).unwrap_err().contains("no regular file"));
        let (_folder, secret) = file(&[0xff, 0xfe], 0o600);
        assert!(told(&secret).unwrap_err().contains("UTF-8"));
    }

    #[test]
    fn a_variable_gives_its_value_or_its_name() {
        assert_eq!(told(&SecretRef::Env("CARGO_PKG_NAME".into())).as_deref(), Ok("stackspin-fleet"));
        let error = told(&SecretRef::Env("FLEET_NO_SUCH_VARIABLE".into())).unwrap_err();
        assert_eq!(error, "key: the environment variable FLEET_NO_SUCH_VARIABLE is not set");
    }

    #[test]
    fn a_command_gives_the_first_line_that_it_prints() {
        assert_eq!(told(&SecretRef::Command("printf 'hunter2\\nmore\\n'".into())).as_deref(), Ok("hunter2"));
        assert!(told(&SecretRef::Command("true".into())).unwrap_err().ends_with("has an empty first line"));
    }

    #[test]
    fn a_command_that_fails_tells_nothing_of_what_it_printed() {
        let error = told(&SecretRef::Command("echo hunter2; exit 3".into())).unwrap_err();
        assert!(error.contains("exit status: 3") && !error.contains("hunter2"), "{error}");
    }

    #[test]
    fn a_command_that_does_not_end_is_ended_with_all_that_it_started() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        let begun = Instant::now();
        let line = format!("exec 9>'{}'; sleep 60 & wait", pipe.display());
        // The pipe ends for its reader when the last process that may write into it is gone.
        let reader = thread::spawn(move || fs::read(pipe));
        let error = from_command(&line, Duration::from_millis(300)).unwrap_err();
        assert!(error.contains("did not end"), "{error}");
        assert_eq!(reader.join().unwrap().unwrap(), b"");
        assert!(begun.elapsed() < Duration::from_secs(30), "the `sleep` outlived its command");
    }
}
