//! Root's rights for a user who is not root: through sudo, whose password, where it wants one, goes to standard input alone.
//!
//! Before the first command of a connection sudo is asked once, by itself, with nothing but the password on standard input: so a wrong
//! password is one attempt and no more (sudo would take the next lines for further attempts, and hosts lock users out), and everything else
//! that may be wrong is told apart here. Told in `docs/ssh.md#users-other-than-root`.

use std::io;

use secrecy::zeroize::Zeroizing;
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::OnceCell;

use super::Line;
use super::frame::Rights;
use super::passwords::{self, Gate};
use crate::inventory::{Host, Sudo};
use crate::remote::{Command, Output, RemoteError, printable};

/// Asks sudo for the user number that it gives, in the language that [`Trouble::of`] reads. `$1` and further: sudo's options.
const ASK: &str = concat!(
    "if command -v sudo >/dev/null 2>&1; then LC_ALL=C exec sudo \"$@\" -- /bin/sh -c 'id -u'; fi; ",
    "if command -v doas >/dev/null 2>&1; then echo fleet: doas alone >&2; else echo fleet: no sudo >&2; fi; exit 127",
);

/// How the commands of one connection become root's.
#[derive(Debug)]
pub(super) struct Root {
    host: Host,
    /// There once sudo has said yes; with the password that it was asked with.
    proven: OnceCell<Option<SecretString>>,
}

impl Root {
    /// As the inventory says.
    pub(super) fn new(host: &Host) -> Self {
        Self { host: host.clone(), proven: OnceCell::new() }
    }

    /// The rights for the next command. An error means that it was not sent.
    pub(super) async fn rights(&self, line: &Line) -> Result<Rights<'_>, RemoteError> {
        if self.host.sudo == Sudo::Never {
            return Ok(Rights::Own);
        }
        let password = self.proven.get_or_try_init(|| self.prove(line)).await?;
        Ok(password.as_ref().map_or(Rights::Sudo, Rights::SudoWith))
    }

    async fn prove(&self, line: &Line) -> Result<Option<SecretString>, RemoteError> {
        let Sudo::Password(reference) = &self.host.sudo else {
            self.ask(line, Command::new("set -- -n;").fixed(ASK)).await?;
            return Ok(None);
        };
        if passwords::was_refused(Gate::Sudo, &self.host, reference) {
            return Err(self.refusal(Trouble::Password, ""));
        }
        let password = passwords::fetch(&self.host.user, reference).await.map_err(RemoteError::Here)?;
        let first = Zeroizing::new(format!("{}\n", password.expose_secret()).into_bytes());
        let ask = Command::new("set -- -k -S -p '';").fixed(ASK).stdin(first.to_vec()).sensitive();
        match self.ask(line, ask).await {
            Ok(()) => Ok(Some(password)),
            Err(error) => {
                if matches!(error, RemoteError::Auth(_)) {
                    passwords::remember_refused(Gate::Sudo, &self.host, reference);
                }
                Err(error)
            }
        }
    }

    async fn ask(&self, line: &Line, ask: Command) -> Result<(), RemoteError> {
        let ask = ask.deadline(self.host.connect_timeout).limit(4 << 10);
        // The command itself was not sent, so nothing that happens here leaves it in doubt.
        let output = match line.send(Rights::Own, &ask, &mut io::sink()).await {
            Ok(output) => output,
            Err(RemoteError::Deadline(within)) => {
                let why =
                    format!("sudo gave no answer within {} s; the command was not sent", within.as_secs());
                return Err(RemoteError::Refused(why));
            }
            Err(RemoteError::Lost(why)) => {
                let why = format!("{why}, while sudo was asked; the command was not sent");
                return Err(RemoteError::Unreachable { address: self.host.login(), why });
            }
            Err(error) => return Err(error),
        };
        if output.success() && output.text().trim() == "0" {
            return Ok(());
        }
        Err(self.refusal(Trouble::of(&output), &output.complaint()))
    }

    /// What is wrong and what to change, in the inventory or on the host.
    fn refusal(&self, trouble: Trouble, said: &str) -> RemoteError {
        let (login, user) = (self.host.login(), printable(&self.host.user));
        let line = format!("`{user} ALL=(root) NOPASSWD: ALL`");
        let text = match trouble {
            Trouble::Password => {
                let from = match &self.host.sudo {
                    Sudo::Password(reference) => passwords::say(reference),
                    Sudo::Never | Sudo::Free => "none".to_owned(),
                };
                return RemoteError::Auth(format!(
                    "sudo refused the password of {login} (`sudo_password`, from {from}). It was tried once and is not tried again in \
                     this run, so that the user is not locked out. Nothing was run"
                ));
            }
            Trouble::PasswordWanted => format!(
                "sudo wants a password of {login} and the inventory names none: say where it is with `sudo_password`, or let the user \
                 do without on the host, in /etc/sudoers.d: {line}"
            ),
            Trouble::NotAllowed => format!(
                "sudo does not let {login} run commands as root. On the host, in /etc/sudoers.d: {line} (or `{user} ALL=(root) ALL` \
                 with `sudo_password` in the inventory)"
            ),
            Trouble::Terminal => format!(
                "sudo of {login} wants a terminal, and there is none. On the host, in /etc/sudoers.d: `Defaults:{user} !requiretty`"
            ),
            Trouble::Doas => format!(
                "{login} has doas and no sudo. doas takes a password from a terminal alone, never from standard input, so fleet does not \
                 use it: install sudo there, or log in as root"
            ),
            Trouble::Missing => {
                format!("{login} has no sudo: install it there, or log in as root (`user`, and no `sudo`)")
            }
            Trouble::Other => format!("sudo of {login} does not give root's rights"),
        };
        let said = if said.is_empty() || matches!(trouble, Trouble::Doas | Trouble::Missing) {
            String::new()
        } else {
            format!(". It said: {said}")
        };
        RemoteError::Refused(format!("{text}{said}"))
    }
}

/// Why sudo did not say yes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trouble {
    Password,
    PasswordWanted,
    NotAllowed,
    Terminal,
    Doas,
    Missing,
    Other,
}

impl Trouble {
    /// From what sudo says in English, which [`ASK`] sees to.
    fn of(output: &Output) -> Self {
        let text = String::from_utf8_lossy(&output.stderr);
        let says = |words: &[&str]| words.iter().any(|words| text.contains(words));
        if says(&["fleet: doas alone"]) {
            Self::Doas
        } else if says(&["fleet: no sudo"]) {
            Self::Missing
        } else if says(&["must have a tty"]) {
            Self::Terminal
        } else if says(&["not in the sudoers", "may not run sudo", "not allowed to"]) {
            Self::NotAllowed
        } else if says(&["incorrect password attempt", "Sorry, try again", "Authentication failure"]) {
            Self::Password
        } else if says(&["a password is required", "no password was provided", "a terminal is required"]) {
            Self::PasswordWanted
        } else {
            Self::Other
        }
    }
}
