//! Imports: what each source becomes, what is told of the rest, and that no secret goes along. The oracle for Ansible's formats is
//! `ansible-inventory` itself.

#![expect(clippy::unwrap_used, clippy::panic, reason = "also used outside of the test functions themselves")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use fleet::inventory::import::{self, Asked, Imported};
use fleet::inventory::{Cluster, Inventory, Sudo};
use proptest::prelude::*;
use serde_json::Value;

fn root(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/import").join(path)
}

fn try_import(source: &str, asked: &Asked) -> Result<Imported, String> {
    let source = import::ALL.iter().find(|one| one.id == source).unwrap();
    import::import(source, asked).map_err(|error| error.to_string())
}

fn bring(source: &str, path: &Path) -> Imported {
    let asked = Asked { path: path.to_owned(), ..Asked::default() };
    try_import(source, &asked).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn told(imported: &Imported) -> String {
    imported.notes.iter().fold(String::new(), |text, note| text + &note.to_string() + "\n")
}

/// A text with this machine's own folders taken out.
fn plain(text: &str) -> String {
    text.replace(root("").to_str().unwrap(), "tests/import/")
}

fn snapshot(name: &str, imported: &Imported) {
    let mut beside = insta::Settings::clone_current();
    beside.set_snapshot_path("import");
    beside.set_prepend_module_to_snapshot(false);
    beside.set_omit_expression(true);
    beside.bind(|| insta::assert_snapshot!(name, plain(&imported.text)));
}

// Ansible.

/// `ansible-inventory`, where `tests/run` puts it.
fn oracle() -> PathBuf {
    let usual = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/ansible/bin/ansible-inventory");
    let path = std::env::var_os("FLEET_ANSIBLE_INVENTORY").map_or(usual, PathBuf::from);
    assert!(path.exists(), "{} is missing: tests/run installs it with Debian's python3-venv", path.display());
    path
}

/// What Ansible makes of an inventory.
fn listed(path: &Path) -> Value {
    let empty = tempfile::tempdir().unwrap();
    let config = empty.path().join("ansible.cfg");
    fs::write(&config, "").unwrap();
    let out = Command::new(oracle())
        .arg("-i")
        .arg(path)
        .arg("--list")
        .current_dir(empty.path())
        .env("HOME", empty.path())
        .env("ANSIBLE_CONFIG", config)
        .env("ANSIBLE_INVENTORY_UNPARSED_FAILED", "true")
        .output()
        .unwrap();
    assert!(out.status.success(), "{}: {}", path.display(), String::from_utf8_lossy(&out.stderr));
    serde_json::from_slice(&out.stdout).unwrap()
}

/// What counts of one host.
#[derive(Debug, PartialEq)]
struct Host {
    groups: BTreeSet<String>,
    address: String,
    port: u64,
    user: Option<String>,
    identity: Option<String>,
    sudo: bool,
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

fn as_ansible_has_it(list: &Value) -> BTreeMap<String, Host> {
    let groups = list.as_object().unwrap();
    let mut inside: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (name, group) in groups.iter().filter(|(name, _)| *name != "_meta") {
        let members = |key: &str| group[key].as_array().into_iter().flatten().filter_map(Value::as_str);
        inside.entry(name).or_default().extend(members("hosts").chain(members("children")));
    }
    let mut hosts = BTreeMap::new();
    // Groups without a host are listed as children alone.
    let names = groups.values().flat_map(|group| group["hosts"].as_array().into_iter().flatten());
    let names: BTreeSet<&str> = names.filter_map(Value::as_str).collect();
    for name in names {
        let vars = &list["_meta"]["hostvars"][name];
        let latest = |keys: [&str; 2]| keys.iter().rev().find_map(|key| text(&vars[*key]));
        let mut of = BTreeSet::new();
        let mut open = vec![name];
        while let Some(member) = open.pop() {
            for (group, _) in inside.iter().filter(|(_, members)| members.contains(member)) {
                if *group != "all" && of.insert((*group).to_owned()) {
                    open.push(group);
                }
            }
        }
        of.remove("ungrouped");
        let user = latest(["ansible_user", "ansible_ssh_user"]);
        let yes = ["true", "yes", "on", "1"];
        let become_root = match &vars["ansible_become"] {
            Value::Bool(flag) => *flag,
            other => text(other).is_some_and(|text| yes.contains(&text.to_lowercase().as_str())),
        };
        let method = text(&vars["ansible_become_method"]).is_none_or(|method| method == "sudo");
        let host = Host {
            groups: of,
            address: latest(["ansible_host", "ansible_ssh_host"])
                .unwrap_or_else(|| name.to_owned())
                .to_lowercase(),
            port: latest(["ansible_port", "ansible_ssh_port"]).map_or(22, |port| port.parse().unwrap()),
            sudo: become_root && method && user.as_deref() != Some("root"),
            user,
            identity: latest(["ansible_private_key_file", "ansible_ssh_private_key_file"]),
        };
        let local = text(&vars["ansible_connection"]).is_some_and(|way| way == "local");
        if !local && !host.address.contains("{{") {
            hosts.insert(name.to_owned(), host);
        }
    }
    hosts
}

fn as_fleet_has_it(inventory: &Inventory) -> BTreeMap<String, Host> {
    let home = std::env::var("HOME").unwrap();
    let host = |cluster: &Cluster| Host {
        groups: cluster
            .tags
            .iter()
            .chain([&cluster.group])
            .filter(|group| !group.is_empty())
            .cloned()
            .collect(),
        address: cluster.host.address.clone(),
        port: cluster.host.port.into(),
        user: Some(cluster.host.user.clone()),
        identity: cluster.host.identity.first().map(|path| path.display().to_string().replace(&home, "~")),
        sudo: cluster.host.sudo != Sudo::Never,
    };
    inventory.clusters.values().map(|cluster| (cluster.name.clone(), host(cluster))).collect()
}

/// Compares, where Ansible's names and users are ones that `fleet` can have; others are in the snapshots.
fn agree(list: &Value, inventory: &Inventory, of: &str) {
    let safe = |text: &str| text.replace([' ', ':'], "-").trim_start_matches('-').to_owned();
    let expected: BTreeMap<String, Host> = as_ansible_has_it(list)
        .into_iter()
        .map(|(name, host)| {
            let usable = |user: &String| !user.contains(' ') && !user.contains("{{");
            let user = Some(host.user.filter(usable).unwrap_or_else(|| "root".to_owned()));
            let groups = host.groups.iter().map(|group| safe(group)).collect();
            (safe(&name), Host { groups, user, ..host })
        })
        .collect();
    assert_eq!(as_fleet_has_it(inventory), expected, "{of}");
}

#[test]
fn an_ansible_inventory_is_what_ansible_makes_of_it() {
    let mut seen = 0;
    let mut folders: Vec<PathBuf> =
        fs::read_dir(root("ansible")).unwrap().map(|entry| entry.unwrap().path()).collect();
    folders.sort();
    for folder in folders {
        let name = folder.file_name().unwrap().to_str().unwrap().to_owned();
        let source = match name.split('-').next() {
            Some("ini") => "ansible-ini",
            Some("yaml") => "ansible-yaml",
            _ => "program",
        };
        let file = ["hosts", "hosts.yml", "hosts.yaml", "hosts.sh"].map(|file| folder.join(file));
        let file = file.into_iter().find(|file| file.exists()).unwrap();
        let imported = bring(source, &file);
        assert!(!imported.text.contains("hunter2"), "{name} carries a secret:\n{}", imported.text);
        agree(&listed(&file), &imported.inventory, &name);
        snapshot(&format!("ansible-{name}"), &imported);
        seen += 1;
    }
    assert!(seen >= 12, "only {seen} inventories");
}

/// The lines of an INI inventory over few names, so that they meet.
fn ini() -> impl Strategy<Value = String> {
    const ALL: &str = "[g1]\n[g2]\n[g3]\n[g4]\n[k1]\n[k2]\n[k3]\n[k4]\n";
    const HOSTS: &str = "h[1-5]( ansible_(host=10\\.0\\.[0-9]\\.[1-9][0-9]?|port=2[0-9]{3}|user=[a-c]|become=(true|no|True))){0,2}\
                         |h\\[[1-3]:[3-5]\\]";
    const SAID: &str = "ansible_(port=2[0-9]{3}|user=[a-c]|become=(true|no|True)|group_priority=[1-4])";
    let hosts = ("[gk][1-4]", prop::collection::vec(HOSTS, 0..4))
        .prop_map(|(group, lines)| format!("[{group}]\n{}\n", lines.join("\n")));
    let said = ("[gk][1-4]|all", prop::collection::vec(SAID, 1..3))
        .prop_map(|(group, lines)| format!("[{group}:vars]\n{}\n", lines.join("\n")));
    // Only from one half of the groups into the other: Ansible refuses circles.
    let children = ("g[1-4]", prop::collection::vec("k[1-4]", 1..3))
        .prop_map(|(group, lines)| format!("[{group}:children]\n{}\n", lines.join("\n")));
    prop::collection::vec(prop_oneof![hosts, said, children], 1..9).prop_map(|parts| parts.concat() + ALL)
}

proptest! {
    // Ansible needs a second for each.
    #![proptest_config(ProptestConfig { cases: 6, max_shrink_iters: 20, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_ansible_inventory_is_what_ansible_makes_of_it(text in ini()) {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("hosts");
        fs::write(&file, format!("first ansible_host=192.0.2.1\n{text}")).unwrap();
        let imported = bring("ansible-ini", &file);
        let mut list = listed(&file);
        // Two names of one host are one cluster here; the second name is told.
        let kept = as_fleet_has_it(&imported.inventory);
        let hosts: Vec<String> = as_ansible_has_it(&list).into_keys().filter(|name| !kept.contains_key(name)).collect();
        for name in &hosts {
            prop_assert!(told(&imported).contains(&format!("{name} is left out: it has the address of")), "{name}\n{text}");
        }
        for group in list.as_object_mut().unwrap().values_mut() {
            if let Some(members) = group.get_mut("hosts").and_then(Value::as_array_mut) {
                members.retain(|name| !hosts.iter().any(|left| name == left.as_str()));
            }
        }
        agree(&list, &imported.inventory, &text);
    }
}

// The other sources.

#[test]
fn a_stackspin_checkout_gives_a_cluster_a_folder_and_tells_of_the_odd_ones() {
    let imported = bring("stackspin", &root("stackspin"));
    let good = &imported.inventory.clusters["good"];
    assert_eq!(good.login(), "root@203.0.113.1:2222", "Ansible's inventory before .flux.env");
    assert_eq!(good.domain.as_deref(), Some("good.example.org"));
    assert_eq!(good.directory, Some(root("stackspin/clusters/good")));
    assert_eq!(imported.inventory.clusters["env-only"].host.address, "203.0.113.2");
    assert_eq!(imported.inventory.clusters["old"].domain.as_deref(), Some("old.example.org"));
    assert_eq!(imported.inventory.clusters["only-kubeconfig"].host.address, "203.0.113.4");
    assert!(imported.inventory.clusters.contains_key("bad-name"));
    assert_eq!(imported.inventory.clusters.len(), 5);
    let told = told(&imported);
    for (place, why) in [
        ("clusters/half:", "neither inventory.yml nor .flux.env"),
        ("clusters/odd/inventory.yml:", "this is no YAML"),
        ("clusters/odd:", "odd is left out: nothing in its folder says"),
        ("clusters/loop/.flux.env:", "cannot be read"),
        ("clusters/old/inventory.yml:5:", "ansible_ssh_pass is a secret"),
        ("clusters/old/inventory.yml:6:", "host second.example.org is left out"),
        ("clusters/only-kubeconfig/kube_config_cluster.yml:", "Kubernetes API"),
        ("clusters/bad name:", "`bad name` is no name of a cluster: it is called `bad-name`"),
        ("clusters/bad name:", "`domain` is not carried over"),
    ] {
        let found = told.lines().any(|line| line.contains(place) && line.contains(why));
        assert!(found, "{place} {why}:\n{told}");
    }
    assert!(!imported.text.contains("hunter2") && !imported.text.contains("aHVudGVyMg"), "{}", imported.text);
    snapshot("stackspin", &imported);

    let below = bring("stackspin", &root("stackspin/clusters"));
    assert_eq!(below.inventory.clusters.len(), 5, "the folder of clusters does too");
    let nothing = Asked { path: root("ansible/ini-plain"), ..Asked::default() };
    assert!(try_import("stackspin", &nothing).unwrap_err().contains("no cluster here"));
}

#[test]
fn a_checkout_that_is_a_repository_is_where_upstreams_scripts_are() {
    let checkout = tempfile::tempdir().unwrap();
    let folder = checkout.path().join("clusters/acme");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join(".flux.env"), "ip_address=203.0.113.9\ndomain=acme.example.org\n").unwrap();
    let stackspin = || bring("stackspin", checkout.path()).inventory.clusters["acme"].stackspin.clone();
    assert_eq!(stackspin(), None, "what was copied out of a checkout has no branches");
    // A worktree of another repository has a file there.
    fs::write(checkout.path().join(".git"), "gitdir: elsewhere\n").unwrap();
    assert_eq!(stackspin(), Some(checkout.path().to_owned()));
}

#[test]
fn a_table_gives_a_cluster_a_row() {
    let imported = bring("csv", &root("hosts.csv"));
    let two = &imported.inventory.clusters["two.example.org"];
    assert_eq!(two.login(), "ops@two.example.org:2222", "a name is the address where none is said");
    assert_eq!((two.host.sudo.clone(), two.group.as_str()), (Sudo::Free, "shops"));
    assert_eq!(two.host.identity, [root("keys/two")], "a path starts at the table's folder");
    assert_eq!(two.host.jump.as_ref().unwrap().login(), "jump@gate.example.org:2200");
    assert!(!imported.text.contains("hunter2"), "{}", imported.text);
    snapshot("csv", &imported);
}

#[test]
fn an_ssh_config_gives_its_hosts_as_ssh_resolves_them() {
    let imported = bring("ssh-config", &root("ssh_config"));
    let web = &imported.inventory.clusters["web1"].host;
    assert_eq!(web.login(), "ops@web1.example.org:22");
    assert_eq!(web.jump.as_ref().unwrap().login(), "keeper@gate.example.org:2022");
    assert_eq!(web.connect_timeout.as_secs(), 9);
    assert_eq!(web.known_hosts, [PathBuf::from("/etc/fleet/known_hosts")]);
    assert!(!web.agent);
    let names: Vec<&str> = imported.inventory.clusters.keys().map(String::as_str).collect();
    assert_eq!(names, ["gate", "web1", "web2"], "patterns are no hosts, www is web1 by the same way");
    let told = told(&imported);
    assert!(told.contains("ssh_config:15: behind is left out") && told.contains("ProxyJump there"), "{told}");
    assert!(told.contains("www is left out: it has the address of web1"), "{told}");
    assert!(told.contains("ssh_config:7: StrictHostKeyChecking is not heard"), "{told}");
}

#[test]
fn hosts_of_included_files_are_listed_too() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    write(
        "config",
        &format!("Include {0}/*.conf\nHost one\n HostName one.example.org\n", folder.path().display()),
    );
    write("a.conf", "Host two\n HostName two.example.org\nHost *\n User ops\n");
    let imported = bring("ssh-config", &folder.path().join("config"));
    let names: Vec<String> = imported.inventory.clusters.values().map(Cluster::login).collect();
    assert_eq!(names, ["ops@one.example.org:22", "ops@two.example.org:22"]);
}

#[test]
fn a_program_tells_its_clusters_and_secrets_only_by_reference() {
    let asked =
        Asked { path: root("clusters.sh"), args: vec!["list".into(), "all".into()], ..Asked::default() };
    let imported = try_import("program", &asked).unwrap();
    assert!(!imported.text.contains("hunter2"), "{}", imported.text);
    let one = &imported.inventory.clusters["one"];
    assert!(one.host.passphrase.is_some() && one.host.password.is_none());
    assert_eq!(one.paths.k3s_data, "/srv/k3s");
    assert!(imported.inventory.clusters["three.example.org"].host.password.is_some());
    let told = told(&imported);
    for name in
        ["`password` is not carried over", "`api_token` is not carried over", "without a name", "no object"]
    {
        assert!(told.contains(name), "{name}: {told}");
    }
    snapshot("program", &imported);
    let wrong = Asked { args: vec!["nothing".into()], ..asked };
    let error = try_import("program", &wrong).unwrap_err();
    assert!(error.contains("exit status: 64") && error.contains("called with: nothing"), "{error}");
}

#[test]
fn names_that_are_aliases_stay_aliases_where_that_is_asked() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("hosts");
    fs::write(&file, "localhost ansible_ssh_common_args='-J 203.0.113.1'\n192.0.2.1\n").unwrap();
    let asked = Asked { path: file, aliases: true, group: Some("mine".into()), ..Asked::default() };
    let imported = try_import("ansible-ini", &asked).unwrap();
    assert!(imported.text.contains("ssh_alias = \"localhost\"\n"), "{}", imported.text);
    assert!(imported.text.contains("address = \"192.0.2.1\"\ngroup = \"mine\""), "{}", imported.text);
}

#[test]
fn a_host_whose_way_cannot_be_carried_over_is_left_out() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("hosts");
    let line = "a ansible_host=10.0.0.1 ansible_ssh_common_args='-o ProxyCommand=\"nc hunter2 %p\"'\nb\n";
    fs::write(&file, line).unwrap();
    let imported = bring("ansible-ini", &file);
    assert_eq!(imported.inventory.clusters.keys().collect::<Vec<_>>(), ["b"]);
    let told = told(&imported);
    assert!(told.contains("a is left out: its jump host cannot") && told.contains("ProxyCommand"), "{told}");
    assert!(!imported.text.contains("hunter2"));

    // What cannot be read may name one.
    for unread in ["-J \\\"gate", "-J {{ bastion }}"] {
        let name = "ansible_ssh_common_args";
        fs::write(&file, format!("a ansible_host=10.0.0.1 {name}=\"{unread}\"\nb {name}=\nc\n")).unwrap();
        let imported = bring("ansible-ini", &file);
        assert_eq!(imported.inventory.clusters.keys().collect::<Vec<_>>(), ["b", "c"], "{unread}");
        let told = self::told(&imported);
        assert!(told.contains("a is left out: its jump host cannot") && told.contains(name), "{told}");
    }
}

#[test]
fn the_same_address_behind_another_jump_host_is_another_host() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("hosts");
    let lines: Vec<String> = [("a", "one"), ("b", "two"), ("c", "two")]
        .map(|(name, jump)| {
            format!("{name} ansible_host=10.0.0.1 ansible_ssh_common_args='-J {jump}.example.org'\n")
        })
        .into();
    fs::write(&file, lines.concat()).unwrap();
    let imported = bring("ansible-ini", &file);
    assert_eq!(imported.inventory.clusters.keys().collect::<Vec<_>>(), ["a", "b"]);
    let told = told(&imported);
    assert!(told.contains("c is left out: it has the address of b"), "{told}");
}

#[test]
fn what_is_no_source_is_refused_with_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    let told = |source: &str, bytes: &[u8]| {
        fs::write(&file, bytes).unwrap();
        try_import(source, &Asked { path: file.clone(), ..Asked::default() }).unwrap_err()
    };
    for source in ["ansible-ini", "ansible-yaml", "csv", "ssh-config"] {
        assert!(told(source, b"# x\n\xff\xfe").contains("file:2: this is no UTF-8 text"), "{source}");
        let missing = Asked { path: folder.path().join("no"), ..Asked::default() };
        assert!(try_import(source, &missing).unwrap_err().contains("cannot be read"), "{source}");
        let itself = Asked { path: folder.path().to_owned(), ..Asked::default() };
        assert!(try_import(source, &itself).unwrap_err().contains("no regular file"), "{source}");
    }
    assert!(told("csv", b"colour,size\nred,1\n").contains("must name the columns"));
    assert!(told("csv", b"name,address\n").contains("no cluster in it"));
    assert!(told("ansible-ini", b"[web]\n").contains("no cluster in it"));
    assert!(told("ansible-ini", b"web[1:99999999]\n").contains("more than"));
    assert!(told("program", b"").contains("cannot be started"));
}

// The command.

fn fleet(args: &[&str], paths: &[&Path]) -> (Option<i32>, String, String) {
    let mut command = assert_cmd::Command::cargo_bin("fleet").unwrap();
    let out = command.args(["inventory", "import"]).args(args).args(paths).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (out.status.code(), text(&out.stdout), text(&out.stderr))
}

#[test]
fn an_import_is_written_whole_or_not_at_all_and_never_over_what_is_there() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("clusters.toml");
    let to = out.to_str().unwrap();
    let source = root("hosts.csv");
    let (code, printed, _) = fleet(&["csv", "-o", to], &[&source]);
    assert_eq!(code, Some(0));
    assert!(printed.starts_with("3 clusters in 1 group, written to"), "{printed}");
    assert!(printed.contains("hosts.csv:1: column `Password` is or may be a secret"), "{printed}");
    let first = fs::read_to_string(&out).unwrap();
    fleet::inventory::load(&out).unwrap_or_else(|error| panic!("{error}"));

    fs::write(&out, "mine").unwrap();
    let (code, _, error) = fleet(&["csv", "-o", to], &[&source]);
    assert_eq!((code, fs::read_to_string(&out).unwrap().as_str()), (Some(64), "mine"));
    assert!(error.contains("is there already and was not changed; --replace"), "{error}");
    assert_eq!(fleet(&["csv", "--replace", "-o", to], &[&source]).0, Some(0));
    assert_eq!(fs::read_to_string(&out).unwrap(), first);

    let nothing = folder.path().join("nothing.csv");
    fs::write(&nothing, "name,address\n").unwrap();
    assert_eq!(fleet(&["csv", "--replace", "-o", to], &[&nothing]).0, Some(64));
    assert_eq!(fs::read_to_string(&out).unwrap(), first, "as it was");
    let (code, printed, _) = fleet(&["csv"], &[&source]);
    assert_eq!((code, printed), (Some(0), first), "without -o it is printed");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2, "nothing is left behind");
}

fn word() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-c]{1,3}",
        "[A-Za-z0-9._@!/ üé'\"\\[\\]-]{1,9}",
        Just("none".to_owned()),
        Just("..".to_owned())
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_names_and_groups_there_are_what_is_written_loads_to_the_same(
        rows in prop::collection::vec((word(), word(), 0u16..3, prop::option::of(word()), word()), 1..9)
    ) {
        let mut writer = csv::Writer::from_writer(Vec::new());
        writer.write_record(["name", "group", "port", "jump", "user", "address"]).unwrap();
        for (number, (name, group, port, jump, user)) in rows.iter().enumerate() {
            let address = format!("203.0.113.{}", number + 1);
            let port = (22 + port).to_string();
            writer.write_record([name, group, &port, jump.as_deref().unwrap_or(""), user, &address]).unwrap();
        }
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("hosts.csv");
        fs::write(&file, writer.into_inner().unwrap()).unwrap();
        let asked = Asked { path: file, ..Asked::default() };
        let imported = match try_import("csv", &asked) {
            Ok(imported) => imported,
            Err(why) => {
                prop_assert!(why.contains("no cluster in it"), "{why}");
                return Ok(());
            }
        };
        let out = folder.path().join("out.toml");
        fs::write(&out, &imported.text).unwrap();
        let again = fleet::inventory::load(&out).map_err(|error| TestCaseError::fail(format!("{error}\n{}", imported.text)))?;
        let plain = |inventory: &Inventory| {
            let clusters: Vec<Cluster> = inventory.clusters.values().cloned().collect();
            fleet::inventory::write(&clusters).unwrap()
        };
        prop_assert_eq!(plain(&again), plain(&imported.inventory));
    }
}
