//! What ssh_config says of a host that is named by its alias. OpenSSH's own `ssh -G` reads it, so that `Match`, `Include`, tokens and
//! all else mean what they mean to `ssh`; without an alias in the inventory no `ssh` is needed.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use super::settings::Settings;
use super::{Host, child, rules};

/// How long one `ssh -G` may take. It may look up names (`CanonicalizeHostname`) and run commands (`Match exec`).
const DEADLINE: Duration = Duration::from_secs(20);

/// Longest answer of `ssh -G`, in bytes; a usual one has 4000.
const LIMIT: u64 = 256 * 1024;

/// How many `ssh -G` run at once.
const AT_ONCE: usize = 8;

/// Longest way through jump hosts: more is a circle.
const HOPS: usize = 8;

/// What ssh would do and `fleet` cannot, where that may change who is reached: keyword, the value that asks for nothing, what follows.
const REFUSED: [(&str, &str, &str); 4] = [
    ("proxycommand", "none", "ProxyCommand cannot be honoured: say ProxyJump there, or `jump` here"),
    ("hostbasedauthentication", "no", "HostbasedAuthentication cannot be honoured: set it to no"),
    (
        "revokedhostkeys",
        "none",
        "RevokedHostKeys is not read: put its keys into known_hosts as @revoked lines",
    ),
    ("proxyusefdpass", "no", "ProxyUseFdpass cannot be honoured: set it to no"),
];

/// What ssh would do and `fleet` does not, without another host being reached: keyword, the values that ask for nothing, what follows.
const IGNORED: [(&str, &[&str], &str); 7] = [
    (
        "stricthostkeychecking",
        &["ask", "yes", "true"],
        "StrictHostKeyChecking is not heard: the host key is always checked",
    ),
    ("pkcs11provider", &["none"], "PKCS11Provider is not used: load the card's keys into the agent"),
    ("securitykeyprovider", &["internal", "none"], "SecurityKeyProvider is not used: the agent does it"),
    (
        "identityagent",
        &["none", "SSH_AUTH_SOCK"],
        "IdentityAgent is not heard: the agent is the one at SSH_AUTH_SOCK",
    ),
    ("knownhostscommand", &["none"], "KnownHostsCommand is not run: pin the key with `host_key`"),
    ("bindaddress", &["none"], "BindAddress is not heard: the system chooses the way"),
    ("bindinterface", &["none"], "BindInterface is not heard: the system chooses the way"),
];

/// A host as `ssh` is asked for it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Asked {
    alias: String,
    user: Option<String>,
    port: Option<u16>,
}

/// What ssh_config says of one host.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Answer {
    /// `HostName`.
    pub(super) address: String,
    /// `HostKeyAlias`.
    pub(super) host_key_alias: Option<String>,
    /// What was said there and is not done, for people.
    pub(super) notes: Vec<String>,
    settings: Settings,
    /// `ProxyJump`, the hop nearest to this machine first.
    hops: Vec<Asked>,
}

impl Answer {
    /// The layer that it is: below the defaults, above what is assumed.
    pub(super) fn settings(&self) -> Settings {
        self.settings.clone()
    }
}

/// The answers of `ssh -G` to one inventory, each alias asked once.
#[derive(Debug, Default)]
pub(super) struct Aliases {
    answers: BTreeMap<Asked, Result<Answer, String>>,
    /// The jump hosts made of `ProxyJump`, by name.
    made: BTreeMap<String, Arc<Host>>,
    /// Names in lower case that the inventory's own jump hosts have.
    taken: BTreeSet<String>,
}

impl Aliases {
    /// Asks `ssh` for all of these, and for the jump hosts that it names. `config` is read in place of ssh's own files where it is said;
    /// `taken` are the names of the inventory's jump hosts. Blocking.
    pub(super) fn ask<'a>(
        aliases: impl IntoIterator<Item = &'a str>,
        config: Option<&Path>,
        home: Option<&Path>,
        taken: BTreeSet<String>,
    ) -> Self {
        let whole = |alias: &str| Asked { alias: alias.to_owned(), user: None, port: None };
        let mut open: BTreeSet<Asked> = aliases.into_iter().map(whole).collect();
        let mut answers = BTreeMap::new();
        // Jump hosts may have jump hosts; what is still open after so many rounds is told as a circle by `way`.
        for _ in 0..=HOPS {
            let list: Vec<Asked> = open.into_iter().collect();
            let next = Mutex::new(list.iter());
            let found = Mutex::new(Vec::new());
            thread::scope(|scope| {
                for _ in 0..AT_ONCE.min(list.len()) {
                    scope.spawn(|| {
                        loop {
                            let one = next.lock().unwrap_or_else(PoisonError::into_inner).next();
                            let Some(one) = one else { break };
                            let answer = resolve(one, config, home);
                            found.lock().unwrap_or_else(PoisonError::into_inner).push((one.clone(), answer));
                        }
                    });
                }
            });
            answers.extend(found.into_inner().unwrap_or_else(PoisonError::into_inner));
            let hops = answers.values().flatten().flat_map(|answer: &Answer| answer.hops.iter());
            open = hops.filter(|hop| !answers.contains_key(hop)).cloned().collect();
            if open.is_empty() {
                break;
            }
        }
        Self { answers, made: BTreeMap::new(), taken }
    }

    /// What ssh_config says of an alias. The error is for people: why it is of no use.
    pub(super) fn of(&self, alias: &str) -> Result<&Answer, String> {
        self.answer(&Asked { alias: alias.to_owned(), user: None, port: None })
    }

    /// The whole host that an alias stands for, and what was said of it and is not done.
    pub(super) fn host(&mut self, alias: &str) -> Result<(Host, Vec<String>), String> {
        let jump = self.jump(alias)?;
        let answer = self.of(alias)?;
        Ok((answer.host(alias, jump), answer.notes.clone()))
    }

    fn answer(&self, asked: &Asked) -> Result<&Answer, String> {
        match self.answers.get(asked) {
            Some(answer) => answer.as_ref().map_err(Clone::clone),
            None => Err("ProxyJump goes in a circle, or through too many hosts".to_owned()),
        }
    }

    /// The jump host that `ProxyJump` names for an alias, if there is one; those before it are its own.
    pub(super) fn jump(&mut self, alias: &str) -> Result<Option<Arc<Host>>, String> {
        self.way(&Asked { alias: alias.to_owned(), user: None, port: None }, HOPS)
    }

    /// The way to a host. Only the first hop's own `ProxyJump` counts: ssh gives the later ones theirs on the command line.
    fn way(&mut self, to: &Asked, left: usize) -> Result<Option<Arc<Host>>, String> {
        let hops = self.answer(to)?.hops.clone();
        if hops.len() > left {
            return Err("ProxyJump goes in a circle, or through too many hosts".to_owned());
        }
        let mut last: Option<Arc<Host>> = None;
        for (number, hop) in hops.iter().enumerate() {
            let named = |why: String| format!("jump host {} of ProxyJump: {why}", hop.alias);
            if number == 0 {
                last = self.way(hop, left - hops.len()).map_err(named)?;
            }
            let answer = self.answer(hop).map_err(named)?;
            let host = answer.host(&hop.alias, last.take());
            last = Some(self.shared(host));
        }
        Ok(last)
    }

    /// The same host for all that go through it, under a name of its own.
    fn shared(&mut self, host: Host) -> Arc<Host> {
        let base = rules::safe_name(&host.name);
        let mut name = base.clone();
        for number in 2_usize.. {
            let host = Host { name: name.clone(), ..host.clone() };
            match self.made.get(&name.to_lowercase()) {
                Some(made) if **made == host => return Arc::clone(made),
                None if !self.taken.contains(&name.to_lowercase()) => {
                    let made = Arc::new(host);
                    self.made.insert(name.to_lowercase(), Arc::clone(&made));
                    return made;
                }
                _ => name = format!("{base}-{number}"),
            }
        }
        Arc::new(host)
    }

    /// The jump hosts made of `ProxyJump`, by name.
    pub(super) fn made(&self) -> impl Iterator<Item = (String, Arc<Host>)> + '_ {
        self.made.values().map(|host| (host.name.clone(), Arc::clone(host)))
    }
}

impl Answer {
    fn host(&self, name: &str, jump: Option<Arc<Host>>) -> Host {
        let usual = Host::new(name, self.address.clone());
        let settings = self.settings();
        Host {
            port: settings.port.unwrap_or(usual.port),
            user: settings.user.unwrap_or(usual.user),
            identity: settings.identity.unwrap_or_default(),
            certificates: settings.certificates.unwrap_or_default(),
            agent: settings.agent.unwrap_or(true),
            host_key_alias: self.host_key_alias.clone(),
            known_hosts: settings.known_hosts.unwrap_or_default(),
            connect_timeout: settings.connect_timeout.unwrap_or(usual.connect_timeout),
            jump,
            defined_at: format!("ssh_config, Host {name}"),
            name: usual.name,
            address: usual.address,
            ..Host::new("", "")
        }
    }
}

fn resolve(asked: &Asked, config: Option<&Path>, home: Option<&Path>) -> Result<Answer, String> {
    let mut command = Command::new("ssh");
    command.arg("-G");
    if let Some(config) = config {
        command.arg("-F").arg(config);
    }
    if let Some(user) = &asked.user {
        command.arg("-l").arg(user);
    }
    if let Some(port) = asked.port {
        command.arg("-p").arg(port.to_string());
    }
    command.arg("--").arg(&asked.alias);
    let text =
        child::ask(&mut command, DEADLINE, LIMIT).map_err(|why| format!("`ssh -G {}` {why}", asked.alias))?;
    read(&asked.alias, &text, home)
}

/// Reads what `ssh -G` prints: a keyword and its value on each line.
fn read(alias: &str, text: &str, home: Option<&Path>) -> Result<Answer, String> {
    let lines: Vec<(&str, &str)> = text.lines().filter_map(|line| line.split_once(' ')).collect();
    let all = |key: &str| {
        lines.iter().filter(|(word, _)| *word == key).map(|(_, value)| *value).collect::<Vec<_>>()
    };
    let one = |key: &str| all(key).first().copied();
    let bad = |key: &str, why: String| format!("{key} of ssh_config is of no use: {why}");
    for (key, harmless, what) in REFUSED {
        if one(key).is_some_and(|value| !value.eq_ignore_ascii_case(harmless)) {
            return Err(format!("what ssh_config says of it is not what fleet can do: {what}"));
        }
    }
    let address = rules::address(one("hostname").unwrap_or(alias)).map_err(|why| bad("HostName", why))?;
    let port = one("port").unwrap_or("22");
    let port: u16 = port.parse().map_err(|_| bad("Port", format!("`{port}` is no port")))?;
    let user = one("user").map(rules::user).transpose().map_err(|why| bad("User", why))?;
    let host_key_alias = one("hostkeyalias").filter(|alias| *alias != "none").map(rules::address);
    let host_key_alias = host_key_alias.transpose().map_err(|why| bad("HostKeyAlias", why))?;
    let mut notes: Vec<String> = IGNORED
        .iter()
        .filter(|(key, harmless, _)| {
            one(key).is_some_and(|value| !harmless.iter().any(|one| one.eq_ignore_ascii_case(value)))
        })
        .map(|(.., what)| (*what).to_owned())
        .collect();

    let tokens = Tokens {
        alias,
        address: &address,
        port,
        user: user.as_deref(),
        home,
        host_key_alias: host_key_alias.as_deref(),
    };
    let mut files = |key: &str| {
        let mut found = Vec::new();
        for value in all(key).into_iter().filter(|value| *value != "none") {
            match tokens.path(value) {
                // ssh lists its defaults too, and passes over what is not there.
                Ok(path) if path.is_file() => found.push(path),
                Ok(_) => {}
                Err(why) => notes.push(format!("the file {value} of ssh_config is not used: {why}")),
            }
        }
        found
    };
    let (identity, certificates) = (files("identityfile"), files("certificatefile"));
    // A public key names a key that the agent holds.
    let (public, identity): (Vec<PathBuf>, Vec<PathBuf>) =
        identity.into_iter().partition(|path| path.extension().is_some_and(|end| end == "pub"));
    let only_files = one("identitiesonly") == Some("yes") && public.is_empty();
    let hops = match one("proxyjump").filter(|value| !value.eq_ignore_ascii_case("none")) {
        Some(list) => list.split(',').map(|spec| hop(spec, &tokens)).collect::<Result<_, _>>(),
        None => Ok(Vec::new()),
    };
    let known = ["userknownhostsfile", "globalknownhostsfile"];
    let settings = Settings {
        port: Some(port),
        agent: Some(!only_files && one("identityagent") != Some("none")),
        identity: Some(identity),
        certificates: Some(certificates),
        known_hosts: Some(known.iter().filter_map(|key| one(key)).flat_map(paths).collect()),
        connect_timeout: one("connecttimeout")
            .and_then(|seconds| seconds.parse().ok())
            .map(|seconds: u64| Duration::from_secs(seconds.clamp(1, 600))),
        user,
        ..Settings::default()
    };
    let hops = hops.map_err(|why| bad("ProxyJump", why))?;
    Ok(Answer { address, host_key_alias, notes, settings, hops })
}

/// Several paths on one line, as ssh prints them: without quotes. Each begins with `/`; what does not goes on with the one before.
fn paths(line: &str) -> Vec<PathBuf> {
    let mut found: Vec<String> = Vec::new();
    for word in line.split(' ').filter(|word| *word != "none") {
        match found.last_mut() {
            Some(last) if !word.starts_with(['/', '~']) => {
                last.push(' ');
                last.push_str(word);
            }
            _ => found.push(word.to_owned()),
        }
    }
    found.into_iter().map(PathBuf::from).collect()
}

/// One host of `ProxyJump`: `[ssh://][user@]host[:port]`.
fn hop(spec: &str, tokens: &Tokens<'_>) -> Result<Asked, String> {
    let spec = tokens.expand(spec.trim().strip_prefix("ssh://").unwrap_or(spec.trim()))?;
    let (user, place) = rules::login(&spec)?;
    let (alias, port) = place;
    rules::alias(&alias)?;
    Ok(Asked { alias, user, port })
}

/// What the tokens of `ssh_config(5)` stand for: `ssh -G` prints some values with them.
struct Tokens<'a> {
    alias: &'a str,
    address: &'a str,
    port: u16,
    user: Option<&'a str>,
    home: Option<&'a Path>,
    host_key_alias: Option<&'a str>,
}

impl Tokens<'_> {
    fn path(&self, text: &str) -> Result<PathBuf, String> {
        rules::local_path(&self.expand(text)?, Path::new(""), self.home)
    }

    fn expand(&self, text: &str) -> Result<String, String> {
        let mut whole = String::new();
        let mut rest = text;
        while let Some(at) = rest.find(['%', '$']) {
            whole.push_str(&rest[..at]);
            let (value, length) = if rest[at..].starts_with('%') {
                let token = rest[at + 1..].chars().next().ok_or("it ends with %")?;
                (self.token(token)?, 1 + token.len_utf8())
            } else if let Some((name, _)) =
                rest[at..].strip_prefix("${").and_then(|rest| rest.split_once('}'))
            {
                let value = std::env::var(name).map_err(|_| format!("the variable {name} is not set"))?;
                (value, name.len() + 3)
            } else {
                ("$".to_owned(), 1)
            };
            whole.push_str(&value);
            rest = &rest[at + length..];
        }
        whole.push_str(rest);
        Ok(whole)
    }

    fn token(&self, token: char) -> Result<String, String> {
        let unknown = || format!("%{token} is not understood");
        match token {
            '%' => Ok("%".to_owned()),
            'd' => self.home.map(|home| home.display().to_string()).ok_or_else(unknown),
            'h' => Ok(self.address.to_owned()),
            'i' => Ok(rustix::process::getuid().as_raw().to_string()),
            'k' => Ok(self.host_key_alias.unwrap_or(self.alias).to_owned()),
            'n' => Ok(self.alias.to_owned()),
            'p' => Ok(self.port.to_string()),
            'r' => self.user.map(str::to_owned).ok_or_else(unknown),
            'u' => std::env::var("USER").map_err(|_| unknown()),
            _ => Err(unknown()),
        }
    }
}
