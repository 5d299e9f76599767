//! A simulated host's folder and its entry in the inventory.

use std::fs;
use std::io;
use std::path::Path;

use super::host::Host;
use super::spec::{HostSpec, Vintage};
use super::{content, program};
use crate::remote::quote;

/// Programs that this binary stands in for.
const STAND_INS: [&str; 4] = ["curl", "k3s", "k3s-killall.sh", "systemctl"];

/// The user of a host whose root is reached through sudo alone.
pub(super) const OPERATOR: &str = "operator";

/// What such a user meets in place of each stand-in: never this machine's own program of that name.
const DENIED: &str = "#!/bin/sh\necho \"${0##*/}: permission denied\" >&2\nexit 1\n";

/// `id` of such a user.
const ID: &str = r#"#!/bin/sh
case "$1" in -un) echo operator ;; -u) echo 1000 ;; *) PATH=${PATH#*:} exec id "$@" ;; esac
"#;

/// sudo without a password: the flags go, the command runs.
const SUDO: &str = r#"
while [ $# -gt 0 ]; do
    case "$1" in
        -u|-g|-p|-C|-D|-h|-T) shift 2 ;;
        --) shift; break ;;
        -*) shift ;;
        [A-Za-z_]*=*) export "$1"; shift ;;
        *) break ;;
    esac
done
[ $# -gt 0 ] || exit 0
exec "$@"
"#;

/// Makes a host's folder and its cluster.
pub(super) fn host(path: &Path, spec: HostSpec, fleet: &Path, address: &str) -> io::Result<Host> {
    for folder in
        ["bin", "home", "spool", "local-storage", "etc-rancher", "rancher/server/db", "rancher/server/tls"]
    {
        fs::create_dir_all(path.join(folder))?;
    }
    let path = path.canonicalize()?;
    let fleet = fleet.canonicalize()?;
    for name in STAND_INS {
        let script = format!(
            "#!/bin/sh\nexec {} lab stand-in --host {} {name} \"$@\"\n",
            quote(&fleet.to_string_lossy()),
            quote(&path.to_string_lossy())
        );
        program(&path.join("bin").join(name), script)?;
    }
    program(&path.join("bin/sudo"), format!("#!/bin/sh{SUDO}"))?;
    if spec.sudo {
        operator(&path)?;
    }
    fs::write(path.join("lab-address"), address)?;
    let host = Host::make(&path, spec)?;
    let data = host.k3s_data();
    let token = format!(
        "K10{}::server:{}\n",
        super::encoding::sha1(&host.spec().name),
        super::release::letters("token")
    );
    private(&data.join("server/token"), &token)?;
    for name in ["client-admin", "serving-kube-apiserver", "server-ca"] {
        private(&data.join("server/tls").join(format!("{name}.crt")), content::CERTIFICATE)?;
        private(&data.join("server/tls").join(format!("{name}.key")), &super::release::letters(name))?;
    }
    let kubeconfig = format!(
        "apiVersion: v1\nkind: Config\nclusters:\n- name: default\n  cluster:\n    server: http://127.0.0.1:{}\n\
         contexts:\n- name: default\n  context:\n    cluster: default\n    user: default\n\
         current-context: default\nusers:\n- name: default\n  user: {{}}\n",
        host.api.number()
    );
    private(&path.join("etc-rancher/k3s.yaml"), &kubeconfig)?;
    host.faulty_programs();
    Ok(host)
}

/// What a user who is not root finds: a sudo behind which everything is as on any other host, and nothing else.
fn operator(path: &Path) -> io::Result<()> {
    let bin = path.join("bin-operator");
    fs::create_dir_all(&bin)?;
    for name in STAND_INS {
        program(&bin.join(name), DENIED)?;
    }
    program(&bin.join("id"), ID)?;
    let root = quote(&path.join("bin").to_string_lossy());
    let sudo = format!(
        "#!/bin/sh\nexport PATH={root}:${{PATH#*:}} USER=root LOGNAME=root SUDO_USER={OPERATOR}{SUDO}"
    );
    program(&bin.join("sudo"), sudo)?;
    // Behind that sudo is root, whoever runs the lab.
    program(&path.join("bin/id"), ID.replace("operator", "root").replace("1000", "0"))
}

/// The cluster's folder in a Stackspin checkout on the provisioning machine (facts section 2.1).
pub(super) fn directory(path: &Path, host: &Host) -> io::Result<()> {
    fs::create_dir_all(path)?;
    let domain = host.spec().domain();
    private(
        &path.join(".flux.env"),
        &format!(
            "domain={domain}\nip_address=203.0.113.10\nadmin_email=admin@{domain}\noutgoing_mail_enabled=false\n"
        ),
    )?;
    fs::copy(host.folder().join("etc-rancher/k3s.yaml"), path.join("kube_config_cluster.yml"))?;
    fs::write(
        path.join("kustomization.yaml"),
        "secretGenerator:\n- name: oas-cluster-variables\n  envs: [.flux.env]\n",
    )
}

fn private(path: &Path, text: &str) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    fs::write(path, text)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600))
}

/// The inventory's entries for the groups of hosts.
pub(super) fn groups<'a>(specs: impl Iterator<Item = &'a HostSpec>) -> String {
    let names: std::collections::BTreeSet<&str> =
        specs.map(|spec| spec.group.as_str()).filter(|group| !group.is_empty()).collect();
    let entries: Vec<String> = names
        .into_iter()
        .map(|name| format!("[groups.{}]\nabout = \"Simulated hosts\"\n\n", toml::Value::from(name)))
        .collect();
    entries.concat()
}

/// A host's entry in the inventory.
pub(super) fn cluster(host: &Host, identity: &Path, key: &str, directory: &Path) -> String {
    let spec = host.spec();
    let text = |value: &str| toml::Value::from(value).to_string();
    let path = |value: &Path| text(&value.to_string_lossy());
    let tags: Vec<String> = spec.tags.iter().map(|tag| text(tag)).collect();
    let group =
        if spec.group.is_empty() { String::new() } else { format!("group = {}\n", text(&spec.group)) };
    // A cluster of before 0.6 does not tell its domain, so nothing could be compared with a pin.
    let domain = match spec.flux {
        Vintage::Never | Vintage::None => String::new(),
        _ => format!("domain = {}\n", text(&spec.domain())),
    };
    let user = if spec.sudo { format!("{}\nsudo = true", text(OPERATOR)) } else { text("root") };
    format!(
        "[clusters.{}]\naddress = \"127.0.0.1\"\nport = {}\nuser = {user}\nidentity = {}\nhost_key = {}\n\
         cluster_uid = {}\n{domain}directory = {}\n{group}tags = [{}]\n\
         paths = {{ k3s_data = {}, k3s_config = {}, spool = {} }}\n\n",
        text(&spec.name),
        host.ssh.number(),
        path(identity),
        text(key),
        text(&host.cluster_uid()),
        path(directory),
        tags.join(", "),
        path(&host.k3s_data()),
        path(&host.folder().join("etc-rancher")),
        path(&host.folder().join("spool")),
    )
}
