//! One file of an inventory, from bytes to what it says.

use std::ops::Range;
use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::Group;
use super::fault::{Fault, Page, whole};
use super::fields::Fields;
use super::rules;
use super::settings::{DIRECT, KEYS, Settings};

/// Keys that only a cluster has.
const CLUSTER_KEYS: [&str; 9] = [
    "address",
    "ssh_alias",
    "group",
    "host_key",
    "host_key_alias",
    "machine_id",
    "cluster_uid",
    "domain",
    "directory",
];

/// The keys of a jump host. It takes nothing from the defaults: those are the clusters'.
const JUMP_KEYS: [&str; 15] = [
    "address",
    "ssh_alias",
    "port",
    "user",
    "identity",
    "certificate",
    "passphrase",
    "agent",
    "password",
    "host_key",
    "host_key_alias",
    "known_hosts",
    "jump",
    "channels",
    "connect_timeout_seconds",
];

/// Keys whose value says where a secret is.
const REFERENCES: [&str; 3] = ["passphrase", "password", "sudo_password"];

/// Words in a key that say that its value is a secret.
const SECRET_WORDS: [&str; 4] = ["pass", "secret", "token", "credential"];

/// What one file says, each thing with its place.
#[derive(Debug, Default)]
pub(super) struct Said {
    /// `[defaults]`.
    pub(super) defaults: Option<(Range<usize>, Settings)>,
    /// `ssh_config` of `[defaults]`: what `ssh -G` reads.
    pub(super) ssh_config: Option<PathBuf>,
    /// `[groups.NAME]`.
    pub(super) groups: Vec<SaidGroup>,
    /// `[jumps.NAME]`.
    pub(super) jumps: Vec<SaidJump>,
    /// `[clusters.NAME]`.
    pub(super) clusters: Vec<SaidCluster>,
}

/// `[groups.NAME]`.
#[derive(Debug)]
pub(super) struct SaidGroup {
    pub(super) name: Spanned<String>,
    pub(super) group: Group,
    pub(super) settings: Settings,
}

/// `[clusters.NAME]`.
#[derive(Debug)]
pub(super) struct SaidCluster {
    pub(super) name: Spanned<String>,
    pub(super) group: Option<Spanned<String>>,
    pub(super) place: SaidPlace,
    pub(super) machine_id: Option<String>,
    pub(super) cluster_uid: Option<Spanned<String>>,
    pub(super) domain: Option<String>,
    pub(super) directory: Option<PathBuf>,
    pub(super) settings: Settings,
}

/// `[jumps.NAME]`.
#[derive(Debug)]
pub(super) struct SaidJump {
    pub(super) name: Spanned<String>,
    pub(super) place: SaidPlace,
    pub(super) channels: Option<usize>,
    pub(super) settings: Settings,
}

/// Where one host is, and by what it is known.
#[derive(Debug)]
pub(super) struct SaidPlace {
    pub(super) address: Option<Spanned<String>>,
    /// The alias that ssh_config knows it by.
    pub(super) ssh_alias: Option<Spanned<String>>,
    pub(super) host_key: Option<String>,
    pub(super) host_key_alias: Option<String>,
}

/// Reads a file as text.
pub(super) fn open(number: usize, path: &Path, home: Option<&Path>) -> Result<Page, Box<Fault>> {
    let bytes = std::fs::read(path)
        .map_err(|error| Box::new(whole(number, path, format!("cannot be read: {error}"), None)))?;
    of_bytes(number, path, &bytes, home)
}

/// Takes bytes for a file's.
pub(super) fn of_bytes(
    number: usize,
    path: &Path,
    bytes: &[u8],
    home: Option<&Path>,
) -> Result<Page, Box<Fault>> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let mut page = Page {
        number,
        path: path.to_owned(),
        text: text(bytes),
        masked: Vec::new(),
        home: home.map(Path::to_owned),
    };
    if let Err(error) = std::str::from_utf8(bytes) {
        page.text = text(&bytes[..error.valid_up_to()]);
        let end = page.text.len();
        return Err(Box::new(page.blind_fault(&(end..end), "this is no UTF-8 text")));
    }
    // Some editors begin a file with a byte order mark; it says nothing.
    if let Some(rest) = page.text.strip_prefix('\u{feff}') {
        page.text = rest.to_owned();
    }
    Ok(page)
}

/// Reads what a page says. `None` where it is no TOML; then nothing of it is known.
pub(super) fn read(page: &mut Page, faults: &mut Vec<Fault>) -> Option<Said> {
    let text = page.text.clone();
    let root = match DeTable::parse(&text) {
        Ok(root) => root,
        Err(error) => {
            faults.push(syntax(page, &error));
            return None;
        }
    };
    mask(root.get_ref(), false, &mut page.masked);
    let mut said = Said::default();
    let mut top = Fields { page, of: "the inventory".to_owned(), table: root.get_ref(), faults };
    top.only(&["defaults", "groups", "jumps", "clusters"], &[]);
    if let Some(table) = top.table("defaults") {
        let span = top.key_span("defaults");
        let mut fields = top.inner("[defaults]".to_owned(), table);
        fields.only(&KEYS.iter().chain(&["ssh_config"]).copied().collect::<Vec<_>>(), &CLUSTER_KEYS);
        let local = |text: &str| rules::local_path(text, page.folder(), page.home.as_deref());
        said.ssh_config = fields.text("ssh_config", local).map(Spanned::into_inner);
        said.defaults = Some((span, Settings::read(&mut fields)));
    }
    for (name, table) in named(&mut top, "groups", "group") {
        said.groups.push(group(&mut top.inner(format!("group {}", name.get_ref()), table), name));
    }
    for (name, table) in named(&mut top, "jumps", "jump host") {
        said.jumps.push(jump(&mut top.inner(format!("jump host {}", name.get_ref()), table), name));
    }
    for (name, table) in named(&mut top, "clusters", "cluster") {
        said.clusters.push(cluster(&mut top.inner(format!("cluster {}", name.get_ref()), table), name));
    }
    Some(said)
}

/// The tables below `[groups]` or `[clusters]`, with good names.
fn named<'a>(top: &mut Fields<'a>, key: &str, one: &str) -> Vec<(Spanned<String>, &'a DeTable<'a>)> {
    let mut list = Vec::new();
    for (name, value) in top.table(key).into_iter().flatten() {
        if let Err(why) = rules::name(name.get_ref()) {
            top.fault(&name.span(), format!("bad name `{}` of a {one}: {why}", name.get_ref()), None);
        }
        if let DeValue::Table(table) = value.get_ref() {
            list.push((Spanned::new(name.span(), name.get_ref().to_string()), table));
        } else {
            let what = format!("`{}` in [{key}] must be a {one}, that is a table", name.get_ref());
            top.fault(&name.span(), what, Some(format!("write it under [{key}.NAME]")));
        }
    }
    list
}

fn group(fields: &mut Fields<'_>, name: Spanned<String>) -> SaidGroup {
    fields.only(&["about", "parallel"].iter().chain(&KEYS).copied().collect::<Vec<_>>(), &CLUSTER_KEYS);
    let about = fields.text("about", |text| Ok(text.trim().to_owned())).map(Spanned::into_inner);
    let parallel = fields.number("parallel", 1..=1000).and_then(|parallel| usize::try_from(parallel).ok());
    let settings = Settings::read(fields);
    let group = Group { about: about.unwrap_or_default(), tags: settings.tags.clone(), parallel };
    SaidGroup { name, group, settings }
}

fn cluster(fields: &mut Fields<'_>, name: Spanned<String>) -> SaidCluster {
    fields.only(&CLUSTER_KEYS.iter().chain(&KEYS).copied().collect::<Vec<_>>(), &[]);
    let place = place(fields, &name);
    let page = fields.page;
    let local = |text: &str| rules::local_path(text, page.folder(), page.home.as_deref());
    SaidCluster {
        group: fields.text("group", |name| Ok(name.to_owned())),
        place,
        machine_id: fields.text("machine_id", rules::machine_id).map(Spanned::into_inner),
        cluster_uid: fields.text("cluster_uid", rules::uid),
        domain: fields.text("domain", rules::domain).map(Spanned::into_inner),
        directory: fields.text("directory", local).map(Spanned::into_inner),
        settings: Settings::read(fields),
        name,
    }
}

fn jump(fields: &mut Fields<'_>, name: Spanned<String>) -> SaidJump {
    fields.only(&JUMP_KEYS, &[]);
    if name.get_ref() == DIRECT {
        let what = format!("a jump host cannot be called {DIRECT}: that is what no jump host is called");
        fields.fault(&name.span(), what, None);
    }
    let channels = fields.number("channels", 1..=10_000).and_then(|channels| usize::try_from(channels).ok());
    SaidJump { place: place(fields, &name), channels, settings: Settings::read(fields), name }
}

fn place(fields: &mut Fields<'_>, name: &Spanned<String>) -> SaidPlace {
    if fields.value("address").is_none() && fields.value("ssh_alias").is_none() {
        let what = format!("{} has no `address`", fields.of);
        fields.fault(&name.span(), what, Some("say where it is: address = \"203.0.113.7\"".to_owned()));
    }
    SaidPlace {
        address: fields.text("address", rules::address),
        ssh_alias: fields.text("ssh_alias", rules::alias),
        host_key: fields.text("host_key", rules::host_key).map(Spanned::into_inner),
        host_key_alias: fields.text("host_key_alias", rules::address).map(Spanned::into_inner),
    }
}

/// A syntax error. Where the words on its line cannot be told from a secret, the line is not shown.
fn syntax(page: &Page, error: &toml::de::Error) -> Fault {
    let at = error.span().unwrap_or(0..0);
    let what = format!("this is no TOML: {}", error.message().lines().collect::<Vec<_>>().join(", "));
    let (_, line) = page.line(at.start);
    // A text over several lines may be a secret whose key stands further up.
    if is_secret(line) || page.text.contains("\"\"\"") || page.text.contains("'''") {
        return page.blind_fault(&at, what);
    }
    page.fault(&at, what, None)
}

/// Whether a key sounds as if its value were a secret.
pub(super) fn is_secret(key: &str) -> bool {
    let lower = key.to_lowercase();
    SECRET_WORDS.iter().any(|word| lower.contains(word))
}

/// Notes where values stand that may be secrets: all under a key that sounds like one, but for a passphrase's
/// references. With `names` the table's keys are names that people chose, which say nothing.
fn mask(table: &DeTable<'_>, names: bool, masked: &mut Vec<Range<usize>>) {
    for (key, value) in table {
        let key: &str = key.get_ref();
        match value.get_ref() {
            DeValue::Table(inner) if names => mask(inner, false, masked),
            DeValue::Table(inner) if REFERENCES.contains(&key) => {
                let secret =
                    inner.iter().filter(|(key, value)| !is_reference(key.get_ref(), value.get_ref()));
                masked.extend(secret.map(|(_, value)| value.span()));
            }
            _ if is_secret(key) => masked.push(value.span()),
            DeValue::Table(inner) => mask(inner, matches!(key, "groups" | "jumps" | "clusters"), masked),
            DeValue::Array(list) => {
                let tables = list.iter().filter_map(|one| one.get_ref().as_table());
                tables.for_each(|inner| mask(inner, false, masked));
            }
            _ => {}
        }
    }
}

/// Whether this part of a secret says where it is, not what it is.
fn is_reference(key: &str, value: &DeValue<'_>) -> bool {
    match key {
        "file" | "command" | "prompt" => true,
        "env" => value.as_str().is_some_and(|name| rules::variable(name).is_ok()),
        _ => false,
    }
}
