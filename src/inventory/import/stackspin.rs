//! A Stackspin checkout: each folder below `clusters/` is a cluster (facts section 2.1). What lies there grew over years and by
//! hand, so nothing is taken for granted: what is odd becomes a note.

use std::path::{Path, PathBuf};

use super::ansible::vars_of;
use super::value::yaml;
use super::{Asked, Draft, Found, ImportError, Notes, Source, ansible_ini, ansible_yaml, is_template};

pub(super) const SOURCE: Source =
    Source { id: "stackspin", about: "a Stackspin checkout: every folder below its clusters/", read };

/// Where Ansible's inventory of one cluster may lie.
const INVENTORIES: [&str; 4] = ["inventory.yml", "inventory.yaml", "inventory", "inventory.ini"];

/// Where its settings may lie.
const SETTINGS: [&str; 2] = ["group_vars/all/settings.yml", "settings.yml"];

/// The variables of Flux, since 0.6.
const FLUX: &str = ".flux.env";

/// The kubeconfig that the installer wrote.
const KUBECONFIG: &str = "kube_config_cluster.yml";

fn read(asked: &Asked) -> Result<Found, ImportError> {
    let below = asked.path.join("clusters");
    let folder = if below.is_dir() { below } else { asked.path.clone() };
    let unreadable =
        |error: std::io::Error| ImportError::at(folder.display(), format!("cannot be read: {error}"));
    let mut folders: Vec<PathBuf> = Vec::new();
    for entry in folder.read_dir().map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        if !entry.file_name().as_encoded_bytes().starts_with(b".") && entry.path().is_dir() {
            folders.push(entry.path());
        }
    }
    folders.sort();
    let mut found = Found::default();
    for folder in folders {
        if let Some(draft) = cluster(&folder, asked, &mut found.notes) {
            found.clusters.push(draft);
        }
    }
    if found.clusters.is_empty() && found.notes.0.is_empty() {
        let what = "there is no cluster here: a checkout has folders below clusters/, each with inventory.yml or .flux.env";
        return Err(ImportError::at(folder.display(), what));
    }
    Ok(found)
}

fn cluster(folder: &Path, asked: &Asked, notes: &mut Notes) -> Option<Draft> {
    let place = folder.display().to_string();
    let Some(name) = folder.file_name().and_then(|name| name.to_str()) else {
        notes.add(place, "the folder is left out: its name is no UTF-8 text");
        return None;
    };
    let known = INVENTORIES.iter().chain(&SETTINGS).chain(&[FLUX, KUBECONFIG]);
    if !known.into_iter().any(|file| folder.join(file).symlink_metadata().is_ok()) {
        notes.add(place, format!("{name} is left out: there is neither inventory.yml nor .flux.env in it"));
        return None;
    }
    let said = Said::of(folder, notes);
    let mut draft = host(folder, asked, notes).unwrap_or_default();
    name.clone_into(&mut draft.name);
    draft.place.clone_from(&place);
    draft.groups.clear();
    if !draft.keys.contains_key("address") && !draft.keys.contains_key("ssh_alias") {
        let Some(address) = said.address.or_else(|| server(folder, notes)) else {
            notes.add(place, format!("{name} is left out: nothing in its folder says an address"));
            return None;
        };
        draft.set("address", address);
    }
    if let Some(domain) = said.domain {
        draft.set("domain", domain);
    }
    let folder = std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned());
    let Some(directory) = folder.to_str() else {
        notes.add(place, format!("{name} is left out: the path of its folder is no UTF-8 text"));
        return None;
    };
    draft.set("directory", directory);
    if let Some(checkout) = checkout(&folder) {
        draft.set("stackspin", checkout);
    }
    Some(draft)
}

/// The checkout in whose `clusters/` this folder is, if it is one: upstream's scripts are run out of a repository.
fn checkout(folder: &Path) -> Option<&str> {
    let clusters = folder.parent().filter(|clusters| clusters.ends_with("clusters"))?;
    clusters.parent().filter(|checkout| checkout.join(".git").exists())?.to_str()
}

/// The SSH end, from Ansible's inventory.
fn host(folder: &Path, asked: &Asked, notes: &mut Notes) -> Option<Draft> {
    let file =
        INVENTORIES.iter().map(|name| folder.join(name)).find(|file| file.symlink_metadata().is_ok())?;
    let is_yaml = file.extension().is_some_and(|end| end == "yml" || end == "yaml");
    let parsed = super::text(&file).and_then(|text| {
        if is_yaml { ansible_yaml::parse(&file, &text, notes) } else { ansible_ini::parse(&file, &text) }
    });
    match parsed.and_then(|tree| tree.found(&file, Some(folder), asked)) {
        Ok(found) => {
            notes.0.extend(found.notes.0);
            let mut hosts = found.clusters.into_iter();
            let first = hosts.next();
            if first.is_none() {
                notes.add(file.display(), "there is no host in it");
            }
            for other in hosts {
                notes.add(
                    other.place,
                    format!(
                        "host {} is left out: a cluster is one host, and another stands before it",
                        other.name
                    ),
                );
            }
            first
        }
        Err(error) => {
            notes.add(file.display(), format!("it is not read: {error}"));
            None
        }
    }
}

/// What the cluster's own variables say.
#[derive(Default)]
struct Said {
    domain: Option<String>,
    address: Option<String>,
}

impl Said {
    /// `.flux.env` first, then what was before it. Of the secrets in them nothing is read.
    fn of(folder: &Path, notes: &mut Notes) -> Self {
        let mut said = Self::default();
        let files = [FLUX].iter().chain(&SETTINGS).map(|name| folder.join(name));
        for file in files.filter(|file| file.symlink_metadata().is_ok()) {
            let read = super::text(&file).and_then(|text| {
                if file.ends_with(FLUX) { Ok(Self::of_env(&text)) } else { Self::of_settings(&file, &text) }
            });
            match read {
                Ok(one) => {
                    said.domain = said.domain.or(one.domain);
                    said.address = said.address.or(one.address);
                }
                Err(error) => notes.add(file.display(), format!("it is not read: {error}")),
            }
        }
        said
    }

    fn of_env(text: &str) -> Self {
        let value = |name: &str| {
            let mut lines =
                text.lines().filter_map(|line| line.trim().trim_start_matches("export ").split_once('='));
            let value = lines.rfind(|(key, _)| key.trim() == name)?.1.trim();
            let bare = ['"', '\''].iter().find_map(|quote| value.strip_prefix(*quote)?.strip_suffix(*quote));
            Some(bare.unwrap_or(value).to_owned()).filter(|value| !value.is_empty() && !value.contains('$'))
        };
        Self { domain: value("domain"), address: value("ip_address") }
    }

    fn of_settings(file: &Path, text: &str) -> Result<Self, ImportError> {
        let vars = vars_of(file, text)?;
        let value = |name: &str| {
            let text = vars.get(name)?.value.text()?.trim();
            (!text.is_empty() && !is_template(text)).then(|| text.to_owned())
        };
        Ok(Self { domain: value("domain"), address: value("ip_address") })
    }
}

/// The address in the kubeconfig: the last resort, because the API may be reached by another name than the host.
fn server(folder: &Path, notes: &mut Notes) -> Option<String> {
    let file = folder.join(KUBECONFIG);
    file.symlink_metadata().ok()?;
    let read = match super::text(&file).and_then(|text| yaml(&file, &text)) {
        Ok(read) => read,
        Err(error) => {
            notes.add(file.display(), format!("it is not read: {error}"));
            return None;
        }
    };
    let clusters = read.get("clusters").map(|node| &node.value);
    let super::value::Value::List(list) = clusters? else { return None };
    let server = list.iter().find_map(|one| one.get("cluster")?.value.get("server")?.value.text());
    let place = server?.strip_prefix("https://")?.split('/').next()?;
    let (_, (address, _)) = crate::inventory::rules::login(place).ok()?;
    let own = matches!(address.as_str(), "127.0.0.1" | "localhost" | "::1");
    if !own {
        notes.add(file.display(), "the address is that of the Kubernetes API: see that it is the host's too");
    }
    (!own).then_some(address)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flux_env_is_read_as_a_shell_would_read_it() {
        let said = Said::of_env(
            "# x\nexport domain=\"a.example.org\"\nip_address='203.0.113.7'\ndomain=b.example.org\n",
        );
        assert_eq!(said.domain.as_deref(), Some("b.example.org"));
        assert_eq!(said.address.as_deref(), Some("203.0.113.7"));
        assert_eq!(Said::of_env("domain=$OTHER\nip_address=\n").domain, None);
    }

    #[test]
    fn a_cluster_whose_path_is_no_text_is_left_out_with_a_note() {
        use std::os::unix::ffi::OsStrExt as _;
        let above = tempfile::tempdir().unwrap();
        let checkout = above.path().join(std::ffi::OsStr::from_bytes(b"st\xffckspin"));
        let folder = checkout.join("clusters/acme");
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join(".flux.env"), "ip_address=203.0.113.7\n").unwrap();
        let found = read(&Asked { path: checkout, ..Asked::default() }).unwrap();
        assert_eq!(found.clusters, []);
        let said: Vec<&String> = found.notes.0.keys().collect();
        assert!(said.len() == 1 && said[0].contains("acme is left out"), "{said:?}");
    }
}
