//! Why a login did not come to be, in words that an operator can act on.

use russh::MethodSet;

use super::Login;
use crate::remote::RemoteError;
use crate::ssh::unreachable;

impl Login<'_> {
    /// The host ended the connection instead of answering.
    pub(super) async fn cut_off(&self) -> RemoteError {
        let password = if self.sent.is_some() { " and the password" } else { "" };
        RemoteError::Auth(format!(
            "{} cut the connection off while logging in, after {}{password} ({}); this is not a plain refusal of the key: look \
             at the host's sshd log, and offer fewer keys if it says \"Too many authentication failures\"",
            self.host.login(),
            count(self.tried.len()),
            self.told.why().await
        ))
    }

    /// The host had ended the connection before there was a password to send.
    pub(super) async fn hung_up(&self) -> RemoteError {
        RemoteError::Auth(format!(
            "{} hung up while the password was fetched ({}), so it was not sent. A host waits two minutes for a login \
             (LoginGraceTime): type it sooner, or let it come from a file or a command that is quick",
            self.host.login(),
            self.told.why().await
        ))
    }

    /// The host, or the agent, did not answer in time.
    pub(super) fn late(&self) -> RemoteError {
        let seconds = self.host.connect_timeout.as_secs();
        let who = if self.host.agent { "the host, or the SSH agent" } else { "the host" };
        unreachable(self.host, format!("the login was not over within {seconds} s: {who} does not answer"))
    }

    /// Some hosts answer a password that has expired with a request for a new one, which the library drops.
    pub(super) fn unanswered(&self) -> RemoteError {
        RemoteError::Auth(format!(
            "{login} did not answer to {} within {} s. A host that wants the password changed looks like this: log in by hand \
             once (ssh -p {} {}@{})",
            self.sent.as_deref().unwrap_or("the password"),
            self.host.connect_timeout.as_secs(),
            self.host.port,
            self.host.user,
            self.host.address,
            login = self.host.login(),
        ))
    }

    /// The host asked for what is not answered.
    pub(super) fn asked(&self, what: &str) -> RemoteError {
        RemoteError::Auth(format!(
            "{login} {what}. fleet answers one question that is not shown while it is typed, with the password, and no other; \
             a password that must be changed, or a one-time code, is asked for like this. Log in by hand once to see \
             (ssh -p {} {}@{}), or use a key",
            self.host.port,
            self.host.user,
            self.host.address,
            login = self.host.login(),
        ))
    }

    /// Everything was tried that may be: what, in which order, what the host takes, and what was left out.
    pub(super) fn refused(self) -> RemoteError {
        let login = self.host.login();
        let takes = self.methods.as_ref().map_or_else(|| "nothing that it names".to_owned(), say_methods);
        let notes = self.notes.join("; ");
        if self.tried.is_empty() && self.sent.is_none() {
            return RemoteError::Auth(format!(
                "no key could be offered to {login}: {notes}. It takes: {takes}"
            ));
        }
        let notes = if notes.is_empty() { notes } else { format!(" Besides: {notes}.") };
        let tried: Vec<&str> = self.tried.iter().chain(&self.sent).map(String::as_str).collect();
        let tried = tried.join(", ");
        if !self.taken.is_empty() {
            return RemoteError::Auth(format!(
                "{login} took {}, but wants more than {} to log in: {takes}. Tried, in order: {tried}. See AuthenticationMethods \
                 in the host's sshd_config.{notes}",
                self.taken.join(" and "),
                if self.sent.as_ref().is_some_and(|sent| self.taken.contains(sent)) {
                    "that"
                } else {
                    "a key"
                }
            ));
        }
        let (what, advice) = match &self.sent {
            None => (
                "every key it was offered",
                "Put one of these keys into that user's authorized_keys on the host, or name the right key in the inventory \
                 (`identity`)",
            ),
            Some(_) if self.tried.is_empty() => ("the password", PASSWORD_ADVICE),
            Some(_) => ("every key it was offered, and the password", PASSWORD_ADVICE),
        };
        RemoteError::Auth(format!("{login} refused {what}: {tried}. It takes: {takes}. {advice}.{notes}"))
    }
}

const PASSWORD_ADVICE: &str =
    "Correct what `password` refers to: it was sent once, and is not sent to this host again";

fn count(keys: usize) -> String {
    if keys == 1 { "1 key".to_owned() } else { format!("{keys} keys") }
}

fn say_methods(methods: &MethodSet) -> String {
    methods.iter().map(<&str>::from).collect::<Vec<_>>().join(", ")
}
