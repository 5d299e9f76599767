//! The inventory: what loads, what is refused in which words, what is selected.

#![expect(clippy::unwrap_used, reason = "also used outside of the test functions themselves")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use assert_cmd::Command;
use fleet::inventory::{self, Cluster, Host, Inventory, SecretRef, Selection, Sudo};
use proptest::prelude::*;

const FIXTURES: &str = "tests/inventory";

fn load_text(text: &str) -> Result<Inventory, inventory::InventoryError> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("clusters.toml");
    fs::write(&file, text).unwrap();
    inventory::load(&file)
}

fn selected(
    inventory: &Inventory,
    on: &[&str],
    all: bool,
    max_hosts: Option<usize>,
) -> Result<String, String> {
    let on = on.iter().map(|&term| term.to_owned()).collect();
    let clusters = Selection { on, all, max_hosts }.of(inventory).map_err(|error| error.to_string())?;
    Ok(clusters.into_iter().map(|cluster| cluster.name).collect::<Vec<_>>().join(" "))
}

#[test]
fn the_example_loads_with_six_clusters_in_two_groups_at_least() {
    let example = inventory::load(Path::new("inventory-example")).unwrap_or_else(|error| panic!("{error}"));
    assert!(example.clusters.len() >= 6);
    for group in ["cooperatives", "schools"] {
        assert!(example.clusters.values().filter(|cluster| cluster.group == group).count() >= 3, "{group}");
    }
    let printers = &example.clusters["printers"];
    assert_eq!(printers.login(), "root@[2001:db8::13]:22");
    assert_eq!(printers.paths.k3s_data, "/srv/data/k3s");
    assert_eq!(example.clusters["south-school"].host.port, 22);
    assert_eq!(example.clusters["north-school"].host.port, 2222);
    assert!(
        example.clusters["bakery"].tags.is_superset(&["canary".to_owned(), "production".to_owned()].into())
    );
}

#[test]
fn a_cluster_wins_over_its_group_and_the_group_over_the_defaults() {
    let good = inventory::load(&Path::new(FIXTURES).join("good.toml")).unwrap();
    let home = PathBuf::from(std::env::var_os("HOME").unwrap());
    let folder = Path::new(FIXTURES);
    let tags = |cluster: &Cluster| cluster.tags.iter().cloned().collect::<Vec<_>>().join(" ");

    let one = &good.clusters["one"];
    assert_eq!(one.login(), "root@one.example.org:22");
    assert_eq!(tags(one), "everywhere first shop");
    assert_eq!(one.host.identity, [folder.join("own")]);
    assert_eq!(one.host.passphrase, Some(SecretRef::Env("SHOP_KEY".into())));
    assert!(!one.host.agent && one.host.known_hosts.is_empty());
    let key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f";
    assert_eq!(one.host.host_key.as_deref(), Some(key));
    assert_eq!(one.directory, Some(folder.join("../clusters/one")));
    assert_eq!(one.host.connect_timeout.as_secs(), 1);
    let paths = [&one.paths.k3s_data, &one.paths.k3s_config, &one.paths.spool];
    assert_eq!(paths, ["/data/k3s", "/shops/config", "/one/fleet"]);
    assert_eq!(one.host.defined_at, "tests/inventory/good.toml:20");

    let two = &good.clusters["two"];
    assert_eq!(two.login(), "admin@203.0.113.2:2222");
    assert_eq!(tags(two), "everywhere shop");

    let three = &good.clusters["three"];
    assert_eq!(three.login(), "admin@[2001:db8::3]:2022");
    assert_eq!(tags(three), "everywhere");
    assert_eq!(three.host.identity, [folder.join("keys/a"), home.join("b"), "/c".into()]);
    assert_eq!(three.host.passphrase, Some(SecretRef::File(folder.join("secrets/key.pass"))));
    assert!(three.host.agent && three.group.is_empty());
    assert_eq!(three.host.known_hosts, [folder.join("known_hosts")]);
    assert_eq!(three.paths.k3s_config, "/data/config");
    assert_eq!(three.paths.spool, "/var/lib/fleet");

    assert_eq!(good.groups["shops"].about, "Shops");
    assert_eq!(good.groups["shops"].tags, ["shop".to_owned()].into());
}

#[test]
fn an_address_is_enough_and_the_rest_is_as_on_a_real_host() {
    let inventory = load_text("[clusters.acme]\naddress = \"203.0.113.1\"").unwrap();
    let acme = &inventory.clusters["acme"];
    assert_eq!(acme.login(), "root@203.0.113.1:22");
    assert_eq!(acme.paths, inventory::Paths::default());
    assert_eq!(acme.host.connect_timeout.as_secs(), 20);
    assert!(acme.host.agent, "without a key file the agent is the only way in");
    assert!(
        acme.host.known_hosts.iter().all(|path| path.ends_with(".ssh/known_hosts"))
            && !acme.host.known_hosts.is_empty()
    );
    let with_key = load_text("[clusters.acme]\naddress = \"203.0.113.1\"\nidentity = \"k\"").unwrap();
    assert!(!with_key.clusters["acme"].host.agent);
}

#[test]
fn every_fault_is_told_with_its_place_and_a_way_out() {
    let mut seen = 0;
    let mut entries: Vec<PathBuf> =
        fs::read_dir(FIXTURES).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let inventory = path.is_dir() || path.extension().is_some_and(|end| end == "toml");
        if !name.starts_with("bad-") || !inventory {
            continue;
        }
        let error = inventory::load(&path).err().unwrap_or_else(|| panic!("{name} loads"));
        let text = error.to_string();
        assert!(!text.contains("hunter2"), "{name} tells a secret:\n{text}");
        assert!(!text.contains('\u{1b}'), "{name} reaches the terminal");
        let mut beside = insta::Settings::clone_current();
        beside.set_snapshot_path("inventory");
        beside.set_prepend_module_to_snapshot(false);
        beside.set_omit_expression(true);
        beside.bind(|| insta::assert_snapshot!(name, text));
        seen += 1;
    }
    assert!(seen >= 28, "only {seen} fixtures");
}

#[test]
fn paths_that_hold_no_inventory_say_so() {
    let folder = tempfile::tempdir().unwrap();
    let told = |path: &Path| inventory::load(path).unwrap_err().to_string();
    assert!(told(&folder.path().join("no")).contains("no such file or folder"));
    assert!(told(folder.path()).contains("no *.toml in this folder"));
    fs::write(folder.path().join("latin.toml"), b"[clusters.acme]\naddress = \"\xfc\"").unwrap();
    let text = told(folder.path());
    assert!(text.contains("latin.toml:2:12: this is no UTF-8 text"), "{text}");
    let folder = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink("nowhere", folder.path().join("a.toml")).unwrap();
    assert!(told(folder.path()).contains("a.toml: cannot be read"));
}

#[test]
fn a_folder_is_one_inventory_without_hidden_files_and_folders() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    write("b.toml", "\u{feff}[clusters.acme]\naddress = \"203.0.113.1\"\ngroup = \"shops\"");
    write("a.toml", "[groups.shops]\nport = 2222\n");
    write(".b.toml.swp.toml", "this is no TOML");
    write("notes.md", "this is no TOML");
    fs::create_dir(folder.path().join("c.toml")).unwrap();
    let inventory = inventory::load(folder.path()).unwrap();
    assert_eq!(inventory.clusters["acme"].host.port, 2222);
    assert_eq!(inventory.files, [folder.path().join("a.toml"), folder.path().join("b.toml")]);
}

/// Terms of `--on`, `--all`, `--max-hosts`, and the names that they select or a part of the refusal.
type Row = (&'static [&'static str], bool, Option<usize>, Result<&'static str, &'static str>);

#[test]
fn selections_mean_what_an_operator_expects() {
    let inventory = inventory::load(Path::new("inventory-example")).unwrap();
    let every = "archive.example.org bakery bikes east-school north-school printers south-school";
    let table: &[Row] = &[
        (&["bakery"], false, None, Ok("bakery")),
        (&["schools"], false, None, Ok("east-school north-school south-school")),
        (&["@canary"], false, None, Ok("bakery north-school")),
        (&["b*"], false, None, Ok("bakery bikes")),
        (&["?ast-school"], false, None, Ok("east-school")),
        (&["schools", "bikes", "bikes"], false, None, Ok("bikes east-school north-school south-school")),
        (&["schools", "!@canary"], false, None, Ok("east-school south-school")),
        (&["!bakery", "cooperatives"], false, None, Ok("bikes printers")),
        (&["cooperatives", "!b*"], false, None, Ok("printers")),
        (&[" bakery "], false, None, Ok("bakery")),
        (&["archive.example.org"], false, None, Ok("archive.example.org")),
        (&[], true, None, Ok(every)),
        (&[], true, Some(7), Ok(every)),
        (&["!schools", "!archive.example.org"], true, None, Ok("bakery bikes printers")),
        (&[], false, None, Err("--on with names, groups or @tags, or --all")),
        (&[], true, Some(6), Err("7 clusters are selected, more than --max-hosts 6")),
        (&["bakery"], true, None, Err("leave out --all, or the term `bakery`")),
        (&["!bakery"], false, None, Err("or --all for every other one")),
        (&["bakry"], false, None, Err("did you mean `bakery`?")),
        (&["schools", "!bakry"], false, None, Err("did you mean `bakery`?")),
        (&["canary"], false, None, Err("did you mean `@canary`?")),
        (&["@schools"], false, None, Err("did you mean `schools`?")),
        (&["@canry"], false, None, Err("did you mean `@canary`?")),
        (&["zzz"], false, None, Err("`fleet inventory show` lists what there is")),
        (&["zzz*"], false, None, Err("no cluster's name is like `zzz*`")),
        (&["*"], false, None, Err("that is spelt --all")),
        (&[""], false, None, Err("an empty term")),
        (&["bakery", "!"], false, None, Err("an empty term")),
        (&["@"], false, None, Err("an empty term")),
        (&["bakery", "!bakery"], false, None, Err("no cluster is left by --on 'bakery,!bakery'")),
        (&["schools", "!@production"], false, None, Err("no cluster is left")),
    ];
    for (on, all, max_hosts, wanted) in table {
        let found = selected(&inventory, on, *all, *max_hosts);
        match wanted {
            Ok(names) => assert_eq!(found.as_deref(), Ok(*names), "{on:?}"),
            Err(part) => assert!(found.as_ref().is_err_and(|why| why.contains(part)), "{on:?}: {found:?}"),
        }
    }
    let lonely = load_text("[groups.none]\n[clusters.acme]\naddress = \"203.0.113.1\"").unwrap();
    assert_eq!(selected(&lonely, &["none"], false, None), Err("the group `none` has no cluster".to_owned()));
}

#[test]
fn the_docs_name_every_key_and_their_selections_give_what_they_say() {
    let docs = fs::read_to_string("docs/inventory.md").unwrap();
    // What fleet knows, in its own words.
    let error = load_text("[groups.g]\nxyzzy = 1\npaths.xyzzy = 1\n[clusters.c]\naddress = \"c\"\nxyzzy = 1")
        .unwrap_err();
    let known: Vec<&str> =
        error.faults().iter().filter_map(|one| one.help.as_deref()?.strip_prefix("known here: ")).collect();
    assert_eq!(known.len(), 3, "{error}");
    for key in known.iter().flat_map(|list| list.split(", ")) {
        assert!(
            docs.contains(&format!("| `{key}` |")) || docs.contains(&format!("| `paths.{key}` |")),
            "{key}"
        );
    }
    let example = inventory::load(Path::new("inventory-example")).unwrap();
    let mut rows = 0;
    for line in docs.lines().filter(|line| line.starts_with("| `--")) {
        let (typed, gives) = line.trim_matches(['|', ' ']).split_once(" | ").unwrap();
        let words: Vec<&str> = typed.trim_matches('`').split(' ').collect();
        let after =
            |option| words.iter().position(|word| *word == option).map(|at| words[at + 1].trim_matches('\''));
        let on: Vec<&str> = after("--on").into_iter().flat_map(|terms| terms.split(',')).collect();
        let max_hosts = after("--max-hosts").map(|max| max.parse().unwrap());
        let found = selected(&example, &on, words.contains(&"--all"), max_hosts);
        assert_eq!(found.unwrap_or_else(|why| format!("error: {why}")), gives, "{typed}");
        rows += 1;
    }
    assert_eq!(rows, 14);
}

fn fleet(args: &[&str]) -> (Option<i32>, String, String) {
    let output =
        Command::cargo_bin("fleet").unwrap().env_remove("FLEET_INVENTORY").args(args).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[test]
fn inventory_check_counts_or_tells_the_faults_with_exit_64() {
    let good = fleet(&["inventory", "check", "--inventory", "inventory-example"]);
    assert_eq!(good, (Some(0), "7 clusters in 2 groups, no faults\n".to_owned(), String::new()));
    let (code, stdout, stderr) = fleet(&["inventory", "check", "-i", "tests/inventory/bad-unknown-key.toml"]);
    assert_eq!((code, stdout.as_str()), (Some(64), ""));
    assert!(stderr.contains("bad-unknown-key.toml:2:1: unknown key `adress`"), "{stderr}");
    assert!(stderr.contains("did you mean `address`?"), "{stderr}");
}

#[test]
fn inventory_show_lists_clusters_and_shows_references_not_secrets() {
    let show = |more: &[&str]| fleet(&[&["inventory", "show", "-i", "inventory-example"], more].concat());
    let (code, table, _) = show(&[]);
    assert_eq!(code, Some(0));
    for word in ["bakery", "root@203.0.113.11:22", "pinned", "passphrase: command pass show fleet/archive"] {
        assert!(table.contains(word), "{word} is not in\n{table}");
    }
    let (_, json, _) = show(&["--format", "json", "--on", "archive.example.org"]);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    let clusters = json["clusters"].as_array().unwrap();
    assert_eq!((json["schema"].as_u64(), clusters.len()), (Some(1), 1));
    assert_eq!(clusters[0]["name"], "archive.example.org");
    assert_eq!(clusters[0]["passphrase"], serde_json::json!({ "command": "pass show fleet/archive" }));
    assert_eq!(clusters[0]["paths"]["k3s_data"], "/var/lib/rancher/k3s");
    assert_eq!(clusters[0]["defined_at"], "inventory-example/30-others.toml:3");
    assert_eq!(
        show(&["--on", "!schools"]).1.lines().count(),
        show(&["--all", "--on", "!schools"]).1.lines().count()
    );
    assert_eq!(show(&["--on", "nobody"]).0, Some(64));
    assert_eq!(show(&["--max-hosts", "3"]).0, Some(64));
}

#[test]
fn a_written_inventory_can_be_put_anywhere() {
    let text = "[clusters.acme]\naddress = \"203.0.113.1\"\nidentity = \"keys/a\"\ndirectory = \"../acme\"";
    let here = tempfile::tempdir().unwrap();
    fs::write(here.path().join("a.toml"), text).unwrap();
    let loaded = inventory::load(here.path()).unwrap();
    let clusters: Vec<Cluster> = loaded.clusters.into_values().collect();
    let moved = load_text(&inventory::write(&clusters).unwrap()).unwrap();
    assert_eq!(moved.clusters["acme"].host.identity, [here.path().join("keys/a")]);
    assert_eq!(moved.clusters["acme"].directory, Some(here.path().join("../acme")));
}

fn word() -> impl Strategy<Value = String> {
    "[a-z0-9][a-z0-9._-]{0,12}"
}

fn path() -> impl Strategy<Value = String> {
    // Any text that can be a path: quotes, blanks and letters of all scripts among it.
    "(/[^/\\p{C}]{1,8}){1,3}".prop_filter("`.` and `..` are detours", |path| {
        path.split('/').all(|part| part != "." && part != "..")
    })
}

fn reference() -> impl Strategy<Value = SecretRef> {
    prop_oneof![
        path().prop_map(|path| SecretRef::File(path.into())),
        "[A-Z_][A-Z0-9_]{0,8}".prop_map(SecretRef::Env),
        "[!-~]([ -~ü]{0,20}[!-~])?".prop_map(SecretRef::Command),
        Just(SecretRef::Prompt),
    ]
}

prop_compose! {
    fn cluster()(
        (group, tags) in (prop_oneof![Just(String::new()), "g-[a-c]"], prop::collection::btree_set(word(), 0..4)),
        (port, user, agent) in (1u16.., "[a-z][a-z0-9-]{0,8}", any::<bool>()),
        (identity, known_hosts) in (prop::collection::vec(path(), 0..3), prop::collection::vec(path(), 0..3)),
        passphrase in prop::option::of(reference()),
        pinned in any::<bool>(),
        (domain, directory) in (prop::option::of("[a-z]{1,9}\\.example\\.org"), prop::option::of(path())),
        (stackspin, python) in (prop::option::of(path()), prop::option::of(prop_oneof!["[a-z][a-z0-9.]{0,8}", path()])),
        (root, seconds, reconnect) in (path(), 1u64..=600, 0u64..=86_400),
        (certificates, alias) in (prop::collection::vec(path(), 0..2), prop::option::of("[a-z]{1,9}\\.example\\.org")),
        (password, sudo) in (prop::option::of(reference()), sudo()),
        (machine_id, jump) in (prop::option::of("[0-9a-f]{32}"), prop::option::of(jump())),
    ) -> Cluster {
        let key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f";
        Cluster {
            name: String::new(),
            group,
            tags,
            host: Host {
                port,
                user,
                identity: identity.into_iter().map(PathBuf::from).collect(),
                certificates: certificates.into_iter().map(PathBuf::from).collect(),
                passphrase,
                agent,
                password,
                sudo,
                host_key: pinned.then(|| key.to_owned()),
                host_key_alias: alias,
                known_hosts: known_hosts.into_iter().map(PathBuf::from).collect(),
                jump: jump.map(Arc::new),
                connect_timeout: std::time::Duration::from_secs(seconds),
                reconnect: std::time::Duration::from_secs(reconnect),
                ..Host::new("", "")
            },
            machine_id,
            cluster_uid: None,
            domain,
            directory: directory.map(PathBuf::from),
            stackspin: stackspin.map(PathBuf::from),
            python: python.map(PathBuf::from),
            paths: inventory::Paths {
                k3s_data: format!("{root}/k3s-data"),
                k3s_config: format!("{root}/k3s-config"),
                spool: format!("{root}/fleet"),
            },
        }
    }
}

fn sudo() -> impl Strategy<Value = Sudo> {
    prop_oneof![Just(Sudo::Never), Just(Sudo::Free), reference().prop_map(Sudo::Password)]
}

/// A jump host, perhaps behind another. Each word is the name of one host alone.
fn jump() -> impl Strategy<Value = Host> {
    let known = |name: &str, address: &str, channels| Host {
        channels,
        known_hosts: vec!["/known".into()],
        ..Host::new(name, address)
    };
    let outer = known("outer", "outer.example.org", 30);
    let inner = Host { jump: Some(Arc::new(outer.clone())), ..known("inner", "inner.example.org", 7) };
    prop_oneof![Just(outer), Just(inner)]
}

/// Clusters with names, addresses and UIDs of their own.
fn clusters() -> impl Strategy<Value = Vec<Cluster>> {
    prop::collection::vec((cluster(), any::<bool>()), 1..6).prop_map(|list| {
        let numbered = list.into_iter().enumerate();
        let own = numbered.map(|(n, (cluster, uid))| Cluster {
            name: format!("c{n}.example"),
            host: Host {
                name: format!("c{n}.example"),
                address: if uid { format!("2001:db8::{:x}", n + 1) } else { format!("host{n}.example.org") },
                ..cluster.host
            },
            cluster_uid: uid.then(|| format!("6f1d2c3b-58a4-4e0e-9d6c-{n:012}")),
            ..cluster
        });
        own.collect()
    })
}

#[test]
fn one_address_behind_two_jump_hosts_is_two_hosts_and_behind_one_it_is_one() {
    let text = |second: &str| {
        format!(
            "[jumps.a]\naddress = \"a.example.org\"\n[jumps.b]\naddress = \"b.example.org\"\n\
             [clusters.one]\naddress = \"10.0.0.7\"\njump = \"a\"\n[clusters.two]\naddress = \"10.0.0.7\"\njump = \"{second}\"\n"
        )
    };
    assert_eq!(load_text(&text("b")).unwrap().clusters.len(), 2);
    assert_eq!(load_text(&text("none")).unwrap().clusters.len(), 2);
    let error = load_text(&text("a")).unwrap_err().to_string();
    assert!(error.contains("cluster two has the address of cluster one"), "{error}");
}

proptest! {
    // A case that was found belongs into a fixture with a name, not into a file of seeds.
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_written_loads_back_to_the_same_clusters(clusters in clusters()) {
        let text = inventory::write(&clusters).unwrap();
        let loaded = load_text(&text).map_err(|error| TestCaseError::fail(format!("{error}\n{text}")))?;
        let plain = |cluster: &Cluster| {
            let nowhere = |host: &Host| Host { defined_at: String::new(), ..host.clone() };
            let mut host = nowhere(&cluster.host);
            // The way is at most two jump hosts long here.
            host.jump = host.jump.map(|jump| {
                let mut jump = nowhere(&jump);
                jump.jump = jump.jump.map(|outer| Arc::new(nowhere(&outer)));
                Arc::new(jump)
            });
            format!("{:?}", Cluster { host, ..cluster.clone() })
        };
        prop_assert_eq!(
            loaded.clusters.values().map(plain).collect::<Vec<_>>(),
            clusters.iter().map(plain).collect::<Vec<_>>()
        );
    }

    #[test]
    fn any_text_loads_or_is_refused(text in any::<String>()) {
        if let Err(error) = load_text(&text) {
            prop_assert!(!error.faults().is_empty());
            let escapes = error.to_string().contains('\u{1b}');
            prop_assert!(!escapes);
        }
    }

    #[test]
    fn text_that_is_nearly_an_inventory_loads_or_is_refused(
        parts in prop::collection::vec(prop_oneof![
            Just("[clusters.a]\n"), Just("[clusters.\"ü\"]\n"), Just("[groups.a]\n"), Just("[defaults]\n"),
            Just("clusters = 1\n"), Just("address = \"x\"\n"), Just("passphrase = \"hunter2\"\n"), Just("\t"),
            Just("passphrase = { value = \"hunter2\" }\n"), Just("password = [\"hunter2\", { a = \"hunter2\" }]\n"),
            Just("paths = { spool = \"/\", k3s_data = 1 }\n"), Just("group = \"é\"\n"), Just("port = 1_0\n"), Just("= ü\n"),
            Just("tags = [\"a\", [\"b\"]]\n"), Just("[[clusters]]\n"), Just("\r\n"), Just("# ü\n"), Just("x.y.z = 1\n"),
        ], 0..12)
    ) {
        if let Err(error) = load_text(&parts.concat()) {
            prop_assert!(!error.to_string().contains("hunter2"), "{}", error);
        }
    }

    #[test]
    fn a_selection_never_holds_what_was_not_selected(
        on in prop::collection::vec(prop_oneof![
            Just("bakery"), Just("schools"), Just("cooperatives"), Just("@canary"), Just("@production"), Just("b*"),
            Just("!bakery"), Just("!schools"), Just("!@canary"), Just("!*-school"), Just("!b*"), Just("*"), Just("none"),
        ], 0..5),
        all in any::<bool>(),
        max_hosts in prop::option::of(0usize..8),
    ) {
        let inventory = inventory::load(Path::new("inventory-example")).unwrap();
        let means = |term: &str, cluster: &Cluster| match term {
            "@canary" => cluster.tags.contains("canary"),
            "@production" => cluster.tags.contains("production"),
            "b*" => cluster.name.starts_with('b'),
            "*-school" => cluster.name.ends_with("-school"),
            name => cluster.name == name || cluster.group == name,
        };
        let Ok(found) = selected(&inventory, &on, all, max_hosts) else { return Ok(()) };
        let found: BTreeSet<&str> = found.split(' ').collect();
        prop_assert!(!found.is_empty() && max_hosts.is_none_or(|max| found.len() <= max));
        for cluster in inventory.clusters.values() {
            let taken = all || on.iter().any(|term| !term.starts_with('!') && means(term, cluster));
            let out = on.iter().filter_map(|term| term.strip_prefix('!')).any(|term| means(term, cluster));
            prop_assert_eq!(found.contains(cluster.name.as_str()), taken && !out, "{} by {:?}", cluster.name, on);
        }
    }
}
