//! What defaults, groups and clusters can all say: one layer over another.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use toml::Spanned;
use toml::de::DeValue;

use super::fields::Fields;
use super::{Paths, SecretRef, Sudo, rules};

/// The jump host that is none.
pub(super) const DIRECT: &str = "none";

/// The keys of a layer.
pub(super) const KEYS: [&str; 17] = [
    "port",
    "user",
    "tags",
    "identity",
    "certificate",
    "passphrase",
    "agent",
    "password",
    "sudo",
    "sudo_password",
    "jump",
    "known_hosts",
    "paths",
    "connect_timeout_seconds",
    "reconnect_seconds",
    "stackspin",
    "python",
];

/// One layer; `None` where it says nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Settings {
    pub(super) port: Option<u16>,
    pub(super) user: Option<String>,
    pub(super) tags: BTreeSet<String>,
    pub(super) identity: Option<Vec<PathBuf>>,
    pub(super) certificates: Option<Vec<PathBuf>>,
    pub(super) passphrase: Option<SecretRef>,
    pub(super) agent: Option<bool>,
    pub(super) password: Option<SecretRef>,
    pub(super) sudo: Option<Sudo>,
    /// A jump host's name, or [`DIRECT`].
    pub(super) jump: Option<Spanned<String>>,
    pub(super) known_hosts: Option<Vec<PathBuf>>,
    pub(super) connect_timeout: Option<Duration>,
    pub(super) reconnect: Option<Duration>,
    pub(super) k3s_data: Option<String>,
    pub(super) k3s_config: Option<String>,
    pub(super) spool: Option<String>,
    pub(super) stackspin: Option<PathBuf>,
    pub(super) python: Option<PathBuf>,
}

impl Settings {
    /// Reads a layer out of a table that may hold other keys too.
    pub(super) fn read(fields: &mut Fields<'_>) -> Self {
        let (page, of) = (fields.page, fields.of.clone());
        let local = |text: &str| rules::local_path(text, page.folder(), page.home.as_deref());
        let program = |text: &str| match text {
            // A name is looked for in PATH.
            name if !name.contains('/') => rules::name(name).map(PathBuf::from),
            path => local(path),
        };
        let mut settings = Self {
            port: fields.number("port", 1..=u64::from(u16::MAX)).and_then(|port| u16::try_from(port).ok()),
            user: fields.text("user", rules::user).map(Spanned::into_inner),
            tags: plain(fields.texts("tags", rules::name)).unwrap_or_default().into_iter().collect(),
            identity: plain(fields.texts("identity", local)),
            certificates: plain(fields.texts("certificate", local)),
            passphrase: secret(fields, "passphrase"),
            agent: fields.flag("agent"),
            password: secret(fields, "password"),
            sudo: sudo(fields),
            jump: fields.text("jump", rules::name),
            known_hosts: plain(fields.texts("known_hosts", local)),
            connect_timeout: fields.number("connect_timeout_seconds", 1..=600).map(Duration::from_secs),
            reconnect: fields.number("reconnect_seconds", 0..=86_400).map(Duration::from_secs),
            stackspin: fields.text("stackspin", local).map(Spanned::into_inner),
            python: fields.text("python", program).map(Spanned::into_inner),
            ..Self::default()
        };
        if let Some(table) = fields.table("paths") {
            let mut paths = fields.inner(format!("`paths` of {of}"), table);
            paths.only(&["k3s_data", "k3s_config", "spool"], &[]);
            let mut path = |key| paths.text(key, rules::host_path).map(Spanned::into_inner);
            (settings.k3s_data, settings.k3s_config, settings.spool) =
                (path("k3s_data"), path("k3s_config"), path("spool"));
        }
        settings
    }

    /// This layer over another: what this one leaves open comes from there; tags are united.
    pub(super) fn over(&self, below: &Self) -> Self {
        let upper = self.clone();
        let below = below.clone();
        Self {
            port: upper.port.or(below.port),
            user: upper.user.or(below.user),
            tags: upper.tags.into_iter().chain(below.tags).collect(),
            identity: upper.identity.or(below.identity),
            certificates: upper.certificates.or(below.certificates),
            passphrase: upper.passphrase.or(below.passphrase),
            agent: upper.agent.or(below.agent),
            password: upper.password.or(below.password),
            sudo: upper.sudo.or(below.sudo),
            jump: upper.jump.or(below.jump),
            known_hosts: upper.known_hosts.or(below.known_hosts),
            connect_timeout: upper.connect_timeout.or(below.connect_timeout),
            reconnect: upper.reconnect.or(below.reconnect),
            k3s_data: upper.k3s_data.or(below.k3s_data),
            k3s_config: upper.k3s_config.or(below.k3s_config),
            spool: upper.spool.or(below.spool),
            stackspin: upper.stackspin.or(below.stackspin),
            python: upper.python.or(below.python),
        }
    }

    /// The paths, those of a real host where nothing is said.
    pub(super) fn paths(&self) -> Paths {
        let usual = Paths::default();
        Paths {
            k3s_data: self.k3s_data.clone().unwrap_or(usual.k3s_data),
            k3s_config: self.k3s_config.clone().unwrap_or(usual.k3s_config),
            spool: self.spool.clone().unwrap_or(usual.spool),
        }
    }
}

fn plain<T>(list: Option<Vec<Spanned<T>>>) -> Option<Vec<T>> {
    list.map(|list| list.into_iter().map(Spanned::into_inner).collect())
}

/// `sudo`, and where its password comes from.
fn sudo(fields: &mut Fields<'_>) -> Option<Sudo> {
    let password = secret(fields, "sudo_password");
    let wanted = fields.flag("sudo");
    match (wanted, password) {
        (Some(false), Some(_)) => {
            let span = fields.key_span("sudo_password");
            let what = format!("`sudo_password` of {} is of no use with `sudo = false`", fields.of);
            fields.fault(&span, what, Some("leave one of the two out".to_owned()));
            None
        }
        (_, Some(password)) => Some(Sudo::Password(password)),
        (Some(true), None) => Some(Sudo::Free),
        (Some(false), None) => Some(Sudo::Never),
        (None, None) => None,
    }
}

/// The reference to a secret. A secret itself is refused.
pub(super) fn secret(fields: &mut Fields<'_>, key: &'static str) -> Option<SecretRef> {
    let value = fields.value(key)?;
    let table = match value.get_ref() {
        DeValue::Table(table) => table,
        DeValue::String(_) => {
            let what = format!("`{key}` of {} is written in plain: an inventory holds no secrets", fields.of);
            let help = "say where it is: { file = \"~/.config/fleet/key.pass\" }, { env = \"KEY_PASSPHRASE\" }, \
                        { command = \"pass show fleet\" } or { prompt = true }";
            fields.fault(&value.span(), what, Some(help.to_owned()));
            return None;
        }
        _ => {
            fields.wrong_type(key, value, "a reference such as { prompt = true }");
            return None;
        }
    };
    let of = format!("`{key}` of {}", fields.of);
    if table.len() != 1 {
        let what = format!("{of} must say exactly one of file, env, command and prompt");
        fields.fault(&value.span(), what, None);
        return None;
    }
    let page = fields.page;
    let mut inner = fields.inner(of, table);
    inner.only(&["file", "env", "command", "prompt"], &[]);
    let local = |text: &str| rules::local_path(text, page.folder(), page.home.as_deref());
    let command = |text: &str| match text.trim() {
        "" => Err("it is empty".to_owned()),
        command => Ok(command.to_owned()),
    };
    let file = inner.text("file", local).map(|path| SecretRef::File(path.into_inner()));
    let env = inner.text("env", rules::variable).map(|name| SecretRef::Env(name.into_inner()));
    let command = inner.text("command", command).map(|line| SecretRef::Command(line.into_inner()));
    let prompt = inner.flag("prompt").and_then(|prompt| {
        if prompt {
            return Some(SecretRef::Prompt);
        }
        let span = inner.value("prompt").map_or(0..0, Spanned::span);
        inner.fault(&span, "`prompt = false` says nothing", Some(format!("leave `{key}` out")));
        None
    });
    file.or(env).or(command).or(prompt)
}
