//! Private keys from files. They are read and unlocked before the host is knocked at: a login that is begun and left
//! counts against this machine there.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use russh::keys::{Certificate, PrivateKey, PublicKey, decode_secret_key};
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::Mutex;

use super::auth::certificates;
use crate::inventory::{Host, SecretRef};
use crate::remote::RemoteError;

/// What can be offered to a host, and what cannot and why.
#[derive(Debug, Default)]
pub(super) struct Keys {
    /// Unlocked keys, in the inventory's order, each with its file.
    pub(super) ready: Vec<(PathBuf, Arc<PrivateKey>)>,
    /// User certificates that hold today, each with its file.
    pub(super) certificates: Vec<(PathBuf, Certificate)>,
    /// Public keys of locked files whose passphrase nobody said: the agent may hold them.
    pub(super) locked: Vec<PublicKey>,
    /// One sentence for each file that is of no use.
    pub(super) troubles: Vec<String>,
}

/// Keys that a passphrase has unlocked, or why it did not, for as long as the process lives: a hundred clusters that share
/// a key must not ask the operator a hundred times, and unlocking is slow on purpose.
static UNLOCKED: Mutex<Vec<Unlocked>> = Mutex::const_new(Vec::new());

struct Unlocked {
    file: PathBuf,
    passphrase: SecretRef,
    key: Result<Arc<PrivateKey>, String>,
}

/// Reads the host's key files. A file that is of no use does not keep the next one from being tried.
pub(super) async fn load(host: &Host) -> Result<Keys, RemoteError> {
    let mut keys = certified(host.clone()).await?;
    for file in &host.identity {
        match read(file).await {
            Err(trouble) => keys.troubles.push(trouble),
            Ok(KeyFile::Open(key)) => keys.ready.push((file.clone(), Arc::new(*key))),
            Ok(KeyFile::Locked { text, public }) => match (&host.passphrase, public) {
                (Some(passphrase), _) => match unlock(file, text, passphrase).await {
                    Ok(key) => keys.ready.push((file.clone(), key)),
                    Err(trouble) => keys.troubles.push(trouble),
                },
                (None, Some(public)) if host.agent => keys.locked.push(public),
                (None, _) => keys.troubles.push(format!(
                    "{} is encrypted and the inventory does not say where its passphrase is (`passphrase`, for example {{ prompt = true }})",
                    file.display()
                )),
            },
        }
    }
    if keys.ready.is_empty() && !host.agent && host.password.is_none() {
        let what = if keys.troubles.is_empty() {
            "the inventory names no key file (`identity`) and no password (`password`), and does not allow the agent (`agent`)"
                .to_owned()
        } else {
            keys.troubles.join("; ")
        };
        return Err(RemoteError::Here(format!("no key to log in to {} with: {what}", host.login())));
    }
    Ok(keys)
}

/// The host's certificates; keys are still to come.
async fn certified(host: Host) -> Result<Keys, RemoteError> {
    let job = tokio::task::spawn_blocking(move || {
        let mut keys = Keys::default();
        keys.certificates = certificates::read(&host, &mut keys.troubles);
        keys
    });
    job.await.map_err(|error| RemoteError::Here(error.to_string()))
}

/// A private key file that could be read.
enum KeyFile {
    Open(Box<PrivateKey>),
    Locked { text: SecretString, public: Option<PublicKey> },
}

async fn read(file: &Path) -> Result<KeyFile, String> {
    let file = file.to_owned();
    let job = tokio::task::spawn_blocking(move || {
        let name = file.display();
        let cannot =
            |error: &std::io::Error| format!("cannot read key file {name}, which `identity` names: {error}");
        let meta = std::fs::metadata(&file).map_err(|error| cannot(&error))?;
        // Opening a pipe would wait for whoever fills it.
        if !meta.is_file() {
            return Err(format!("key file {name} is no regular file"));
        }
        let mode = meta.permissions().mode() & 0o777;
        if mode & 0o077 != 0 {
            return Err(format!(
                "key file {name} may be read or written by others (mode {mode:04o}); it is not used. Put it right: chmod 600 {name}"
            ));
        }
        let text = SecretString::from(std::fs::read_to_string(&file).map_err(|error| cannot(&error))?);
        classify(text).map_err(|error| format!("key file {name} cannot be understood: {error}"))
    });
    job.await.map_err(|error| error.to_string())?
}

/// Whether a key is locked is asked before any passphrase is tried, so that a wrong passphrase and a broken file are told
/// apart.
fn classify(text: SecretString) -> Result<KeyFile, russh::keys::Error> {
    let inside = text.expose_secret();
    let opened = PrivateKey::from_openssh(inside.trim());
    let locked = match &opened {
        Ok(key) => key.is_encrypted(),
        // The older formats say it in words.
        Err(_) => inside.contains("ENCRYPTED"),
    };
    if locked {
        let public = opened.ok().map(|key| key.public_key().clone());
        return Ok(KeyFile::Locked { text, public });
    }
    decode_secret_key(inside, None).map(|key| KeyFile::Open(Box::new(key)))
}

/// Unlocks a key file, once in the life of the process. Waiting for another host's unlocking is waiting for the same
/// answer.
async fn unlock(file: &Path, text: SecretString, passphrase: &SecretRef) -> Result<Arc<PrivateKey>, String> {
    let mut unlocked = UNLOCKED.lock().await;
    if let Some(known) = unlocked.iter().find(|known| known.file == file && known.passphrase == *passphrase) {
        return known.key.clone();
    }
    let name = file.display().to_string();
    let from = passphrase.clone();
    let job = tokio::task::spawn_blocking(move || {
        let secret = from.fetch(&format!("passphrase of {name}")).map_err(|error| error.to_string())?;
        open(&name, &text, &secret)
    });
    let key = job.await.map_err(|error| error.to_string()).flatten();
    unlocked.push(Unlocked { file: file.to_owned(), passphrase: passphrase.clone(), key: key.clone() });
    key
}

fn open(name: &str, text: &SecretString, passphrase: &SecretString) -> Result<Arc<PrivateKey>, String> {
    decode_secret_key(text.expose_secret(), Some(passphrase.expose_secret()))
        .map(Arc::new)
        .map_err(|error| format!("the passphrase does not open key file {name} ({error})"))
}

#[cfg(test)]
mod tests {
    use russh::keys::Algorithm;
    use russh::keys::ssh_key::LineEnding;

    use super::*;

    fn locked_with(passphrase: &str) -> SecretString {
        let key = PrivateKey::random(&mut rand::rng(), Algorithm::Ed25519).unwrap();
        let locked = key.encrypt(&mut rand::rng(), passphrase).unwrap();
        SecretString::from(locked.to_openssh(LineEnding::LF).unwrap().to_string())
    }

    #[test]
    fn a_locked_key_opens_with_its_passphrase_and_with_no_other() {
        let text = locked_with("correct horse");
        assert!(open("id", &text, &SecretString::from("correct horse")).is_ok());
        let error = open("id", &text, &SecretString::from("battery staple")).unwrap_err();
        assert!(error.contains("the passphrase does not open key file id"), "{error}");
        assert!(!error.contains("battery"), "{error}");
    }

    #[test]
    fn a_locked_key_tells_its_public_half() {
        let Ok(KeyFile::Locked { public: Some(public), .. }) = classify(locked_with("x")) else {
            panic!("not seen as locked");
        };
        assert_eq!(public.algorithm(), Algorithm::Ed25519);
    }

    #[test]
    fn a_file_that_holds_no_key_is_not_taken_for_a_locked_one() {
        assert!(classify(SecretString::from("hello")).is_err());
    }
}
