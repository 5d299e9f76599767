//! Hosts that are named by an alias of ssh_config: what `ssh -G` says of them is what the inventory has.

#![expect(clippy::unwrap_used, clippy::panic, reason = "also used outside of the test functions themselves")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use fleet::inventory::{self, Host, Inventory};
use proptest::prelude::*;

/// A folder with an ssh_config and an inventory that uses it.
struct Room(tempfile::TempDir);

impl Room {
    fn new(config: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("config"), config).unwrap();
        Self(folder)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn file(&self, name: &str) -> PathBuf {
        fs::write(self.path(name), "").unwrap();
        self.path(name)
    }

    /// Loads an inventory; `ssh_config` is said already.
    fn load(&self, text: &str) -> Result<Inventory, String> {
        let text = text.replacen("[defaults]", "[defaults]\nssh_config = \"config\"", 1);
        let text = if text.contains("[defaults]") {
            text
        } else {
            format!("[defaults]\nssh_config = \"config\"\n{text}")
        };
        fs::write(self.path("clusters.toml"), text).unwrap();
        inventory::load(&self.path("clusters.toml")).map_err(|error| error.to_string())
    }

    fn host(&self, text: &str) -> Host {
        let inventory = self.load(text).unwrap_or_else(|error| panic!("{error}"));
        inventory.clusters.into_values().next().unwrap().host
    }
}

/// The value that `ssh -G` prints for a keyword.
fn says(config: &Path, alias: &str, key: &str) -> Vec<String> {
    let out = Command::new("ssh").args(["-G", "-F"]).arg(config).args(["--", alias]).output();
    let out = out.unwrap_or_else(|error| panic!("ssh: {error}: install Debian's openssh-client"));
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let text = String::from_utf8(out.stdout).unwrap();
    let lines = text.lines().filter_map(|line| line.strip_prefix(key)?.strip_prefix(' '));
    lines.map(str::to_owned).collect()
}

const ALIAS: &str = "[clusters.acme]\nssh_alias = \"web1\"\n";

#[test]
fn an_alias_is_what_ssh_makes_of_it() {
    let room = Room::new("");
    let (first, second, certificate) =
        (room.file("web1.example.org_key"), room.file("second"), room.file("op-cert"));
    fs::write(room.path("more"), "Match host web1 user op\n  ConnectTimeout 7\n").unwrap();
    let folder = room.0.path().display();
    let config = format!(
        "Include {folder}/more\n\
         Host web1 web2\n  HostName %h.Example.org\n  User op\n  Port 2200\n  Port 2201\n  \
         IdentityFile {folder}/%h_key\n  IdentityFile {folder}/none\n  IdentityFile {folder}/second\n  \
         CertificateFile {folder}/%r-cert\n  IdentitiesOnly yes\n  HostKeyAlias acme\n  \
         UserKnownHostsFile {folder}/known_%n \"{folder}/with space\"\n  GlobalKnownHostsFile {folder}/global\n\
         Match originalhost web1 exec \"true\"\n  ConnectTimeout 9\n\
         Host *\n  User nobody\n  ConnectTimeout 11\n"
    );
    fs::write(room.path("config"), config).unwrap();
    let host = room.host(ALIAS);
    let says = |key| says(&room.path("config"), "web1", key).join(" ");
    assert_eq!(host.address, says("hostname"));
    assert_eq!(host.address, "web1.example.org");
    assert_eq!((host.port.to_string(), &host.user), (says("port"), &says("user")));
    assert_eq!(host.login(), "op@web1.example.org:2200");
    assert_eq!(host.identity, [first, second], "those that are there, in order");
    assert_eq!(host.certificates, [certificate]);
    assert!(!host.agent, "IdentitiesOnly");
    assert_eq!(host.host_key_alias.as_deref(), Some("acme"));
    let known = [room.path("known_web1"), room.path("with space"), room.path("global")];
    assert_eq!(host.known_hosts, known);
    assert_eq!(host.connect_timeout.as_secs().to_string(), says("connecttimeout"));
    assert!(host.defined_at.ends_with("clusters.toml:3, ssh_config Host web1"), "{}", host.defined_at);
}

#[test]
fn the_inventory_wins_over_ssh_config_and_ssh_config_over_what_is_assumed() {
    let room = Room::new(
        "Host web1\n HostName web1.example.org\n User op\n Port 2200\n ConnectTimeout 9\n ProxyJump bastion\n",
    );
    let host = room.host(
        "[defaults]\nuser = \"admin\"\n[groups.shops]\nport = 2222\nknown_hosts = []\n\
         [clusters.acme]\nssh_alias = \"web1\"\naddress = \"203.0.113.7\"\ngroup = \"shops\"\njump = \"none\"\n",
    );
    assert_eq!(host.login(), "admin@203.0.113.7:2222");
    assert!(host.known_hosts.is_empty() && host.jump.is_none());
    assert_eq!(host.connect_timeout.as_secs(), 9);
}

#[test]
fn a_chain_of_jump_hosts_is_each_resolved_and_shared() {
    let room = Room::new(
        "Host web*\n HostName %h.example.org\n ProxyJump near,ops@far:2200,[2001:db8::1]:22\n\
         Host near\n HostName near.example.org\n User jump\n Port 2022\n ProxyJump gate\n\
         Host gate\n HostName 203.0.113.9\n User keeper\n\
         Host far\n HostName far.example.org\n ProxyJump elsewhere\n Port 99\n",
    );
    let text = "[clusters.one]\nssh_alias = \"web1\"\n[clusters.two]\nssh_alias = \"web2\"\n\
                [jumps.far]\naddress = \"another.example.org\"\n";
    let inventory = room.load(text).unwrap();
    let way = |name: &str| {
        let mut way = Vec::new();
        let mut next = inventory.clusters[name].host.jump.clone();
        while let Some(host) = next {
            way.push((host.name.clone(), host.login()));
            next = host.jump.clone();
        }
        way
    };
    let me = says(&room.path("config"), "2001:db8::1", "user").join("");
    let named = |name: &str, login: &str| (name.to_owned(), login.to_owned());
    let expected = [
        named("2001-db8--1", &format!("{me}@[2001:db8::1]:22")),
        // `far` is another jump host of the inventory; its own ProxyJump does not count behind another hop, as with ssh.
        named("far-2", "ops@far.example.org:2200"),
        named("near", "jump@near.example.org:2022"),
        named("gate", "keeper@203.0.113.9:22"),
    ];
    assert_eq!(way("one"), expected);
    let last = |name: &str| inventory.clusters[name].host.jump.clone().unwrap();
    assert!(std::sync::Arc::ptr_eq(&last("one"), &last("two")), "one connection serves both");
    let jumps: Vec<&str> = inventory.jumps.keys().map(String::as_str).collect();
    assert_eq!(jumps, ["2001-db8--1", "far", "far-2", "gate", "near"]);

    let every: Vec<inventory::Cluster> = inventory.clusters.values().cloned().collect();
    let text = inventory::write(&every).unwrap();
    fs::write(room.path("again.toml"), text).unwrap();
    let again = inventory::load(&room.path("again.toml")).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(again.clusters["two"].login(), inventory.clusters["two"].login());
}

#[test]
fn a_jump_host_may_be_an_alias_too() {
    let room = Room::new("Host gate\n HostName gate.example.org\n User keeper\n ProxyJump outer\n");
    let host = room.host(
        "[jumps.door]\nssh_alias = \"gate\"\nport = 2022\n[clusters.acme]\naddress = \"10.0.0.1\"\njump = \"door\"\n",
    );
    let jump = host.jump.unwrap();
    assert_eq!((jump.name.as_str(), jump.login().as_str()), ("door", "keeper@gate.example.org:2022"));
    assert_eq!(jump.jump.as_ref().unwrap().address, "outer");
}

#[test]
fn what_cannot_be_honoured_is_a_fault_that_says_what_to_write() {
    for (line, told) in [
        ("ProxyCommand nc %h %p", "say ProxyJump there"),
        ("HostbasedAuthentication yes", "HostbasedAuthentication"),
        ("RevokedHostKeys /etc/ssh/revoked", "@revoked"),
        ("HostName a..b", "HostName of ssh_config is of no use"),
        ("ProxyJump a,b,c,d,e,f,g,h,i", "too many hosts"),
        ("ProxyJump web2\nHost web2\n  ProxyJump web1", "goes in a circle"),
        ("NoSuchKeyword yes", "openssh-client"),
    ] {
        let room = Room::new(&format!("Host web1\n  {line}\n"));
        let error = room.load(ALIAS).unwrap_err();
        assert!(error.contains(told), "{line}: {error}");
        assert!(error.contains("clusters.toml:4:13"), "{line}: {error}");
    }
}

#[test]
fn what_is_not_heard_is_noted_and_the_host_key_is_checked_all_the_same() {
    let room =
        Room::new("Host web1\n StrictHostKeyChecking no\n KnownHostsCommand /bin/true\n IdentityFile %C\n");
    let notes = room.load(ALIAS).unwrap().notes;
    assert_eq!(notes.len(), 3, "{notes:?}");
    assert!(notes[0].contains("clusters.toml:4: StrictHostKeyChecking is not heard"), "{notes:?}");
    assert!(notes[2].contains("%C is not understood"), "{notes:?}");
}

#[test]
fn two_aliases_of_one_host_are_told_as_the_same_address() {
    let room = Room::new("Host web1 www\n HostName web1.example.org\n");
    let error =
        room.load("[clusters.a]\nssh_alias = \"web1\"\n[clusters.b]\nssh_alias = \"www\"\n").unwrap_err();
    assert!(error.contains("cluster b has the address of cluster a at"), "{error}");
    let same = "[clusters.a]\nssh_alias = \"web1\"\n[clusters.b]\naddress = \"web1.example.org\"\n";
    assert!(room.load(same).unwrap_err().contains("cluster b has the address"));
}

#[test]
fn an_alias_is_never_an_option() {
    let room = Room::new("");
    for bad in ["-oProxyCommand=touch x", "a b", "$(id)", "op@web", "*", ""] {
        let error = room.load(&format!("[clusters.a]\nssh_alias = \"{bad}\"\n")).unwrap_err();
        assert!(error.contains("it is no alias"), "{bad}: {error}");
    }
}

#[test]
fn without_an_alias_no_ssh_client_is_needed() {
    let room = Room::new("");
    let file = room.path("plain.toml");
    let check = |text: &str| {
        fs::write(&file, text).unwrap();
        let mut command = assert_cmd::Command::cargo_bin("fleet").unwrap();
        let out = command
            .env("PATH", room.0.path())
            .args(["inventory", "check", "-i"])
            .arg(&file)
            .output()
            .unwrap();
        (out.status.code(), String::from_utf8_lossy(&out.stderr).into_owned())
    };
    assert_eq!(check("[clusters.acme]\naddress = \"203.0.113.7\"\n").0, Some(0));
    let (code, error) = check(ALIAS);
    assert_eq!(code, Some(64));
    assert!(error.contains("plain.toml:2:13") && error.contains("openssh-client"), "{error}");
}

#[test]
fn show_says_where_a_value_came_from_and_what_is_not_heard() {
    let room = Room::new("Host web1\n HostName web1.example.org\n StrictHostKeyChecking no\n");
    room.load(ALIAS).unwrap();
    let mut command = assert_cmd::Command::cargo_bin("fleet").unwrap();
    let out = command.args(["inventory", "show", "-i"]).arg(room.path("clusters.toml")).output().unwrap();
    let text = String::from_utf8(out.stdout).unwrap();
    assert!(text.contains("@web1.example.org:22") && text.contains("ssh_config Host web1"), "{text}");
    assert!(text.contains("StrictHostKeyChecking is not heard"), "{text}");
}

fn line() -> impl Strategy<Value = String> {
    prop_oneof![
        "User [a-z]{1,5}",
        "Port [1-9][0-9]{0,3}",
        "HostName ([a-z]{1,5}|%h)\\.example\\.(org|net)",
        "ConnectTimeout [1-9][0-9]?",
        "IdentitiesOnly (yes|no)",
        "HostKeyAlias [a-z]{1,6}",
        "UserKnownHostsFile /tmp/[a-z]{1,4} /tmp/%n",
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_order_of_hosts_and_lines_means_what_it_means_to_ssh(
        blocks in prop::collection::vec((prop_oneof!["Host web1", "Host w\\* !web2", "Host \\*", "Match host web1", "Host other"],
            prop::collection::vec(line(), 1..4)), 1..5)
    ) {
        let blocks = blocks.iter().map(|(head, lines)| format!("{head}\n  {}\n", lines.join("\n  ")));
        let config = blocks.collect::<Vec<_>>().concat();
        let room = Room::new(&config);
        let host = room.host(ALIAS);
        let says = |key| says(&room.path("config"), "web1", key).join(" ");
        prop_assert_eq!(&host.address, &says("hostname"));
        prop_assert_eq!(host.login(), format!("{}@{}:{}", says("user"), says("hostname"), says("port")));
        prop_assert_eq!(host.host_key_alias.unwrap_or_default(), says("hostkeyalias"));
        let known: Vec<String> = host.known_hosts.iter().map(|path| path.display().to_string()).collect();
        prop_assert_eq!(known.join(" "), format!("{} {}", says("userknownhostsfile"), says("globalknownhostsfile")));
        let timeout = host.connect_timeout.as_secs().to_string();
        prop_assert_eq!(timeout.as_str(), says("connecttimeout").replace("none", "20"));
    }
}
