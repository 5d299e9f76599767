//! `fleet trust`, and what its pins are for (promise M3): hosts are known by four things, and no host is worked on that differs in one.
#![expect(clippy::unwrap_used, reason = "what cannot be set up fails its test")]

mod lab_support;
mod sshd;

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use fleet::inventory::{self, Cluster};
use fleet::lab::HostSpec;
use lab_support::{Bench, Ran, changes, fleet, replace_program, run};
use serde_json::Value;
use sshd::{Options, Sshd, find, public};

const PINS: [&str; 4] = ["host_key", "machine_id", "cluster_uid", "domain"];

/// Simulated hosts with machine ids of their own, of which the inventory says only how they are reached.
struct Strangers {
    bench: Bench,
}

impl Strangers {
    fn new(names: &[&str]) -> Self {
        let bench = Bench::new(names.iter().map(|name| HostSpec::new(*name)).collect());
        for host in bench.lab.hosts() {
            let id = machine_id(&host.spec().name);
            let script =
                format!("[ \"$1\" = /etc/machine-id ] && echo {id} && exit 0\nexec \"$real\" \"$@\"");
            replace_program(host, "cat", &script);
        }
        Self { bench }
    }

    /// The same, with every pin taken out of the inventory.
    fn unpinned(names: &[&str]) -> Self {
        let strangers = Self::new(names);
        strangers.edit(|text| {
            let kept = |line: &&str| !PINS.iter().any(|key| line.starts_with(&format!("{key} =")));
            text.lines().filter(kept).flat_map(|line| [line, "\n"]).collect()
        });
        strangers
    }

    fn file(&self) -> PathBuf {
        self.bench.lab.inventory().join("lab.toml")
    }

    fn text(&self) -> String {
        fs::read_to_string(self.file()).unwrap()
    }

    fn edit(&self, change: impl FnOnce(String) -> String) {
        fs::write(self.file(), change(self.text())).unwrap();
    }

    fn cluster(&self, name: &str) -> Cluster {
        inventory::load(&self.bench.lab.inventory()).unwrap().clusters.remove(name).unwrap()
    }

    /// A key, pinned for one cluster.
    fn pin(&self, name: &str, key: &str, value: &str) {
        self.edit(|text| {
            let head = format!("[clusters.\"{name}\"]\n");
            assert!(text.contains(&head), "{text}");
            text.replace(&head, &format!("{head}{key} = \"{value}\"\n"))
        });
    }

    /// The fingerprint that OpenSSH gives the host's key, which the lab pins in an inventory of its own.
    fn fingerprint(&self, name: &str) -> String {
        let shown = self.json(&["--on", name]);
        fingerprint_of(shown["hosts"][0]["keys"][0]["key"].as_str().unwrap())
    }

    fn json(&self, words: &[&str]) -> Value {
        let ran = self.bench.fleet(&[&["trust", "--format", "json"], words].concat());
        serde_json::from_str(&ran.out).unwrap()
    }

    fn trust(&self, words: &[&str]) -> Ran {
        self.bench.fleet(&[&["trust"], words].concat())
    }

    fn untouched(&self, name: &str) -> bool {
        self.bench.host(name).commands().iter().all(|line| changes(line).is_none())
    }
}

fn machine_id(name: &str) -> String {
    let bytes: Vec<u8> = name.bytes().cycle().take(16).collect();
    fleet::form::hex(&bytes)
}

/// What `ssh-keygen -l` says.
fn fingerprint_of(key: &str) -> String {
    let mut child = Command::new(find("ssh-keygen"))
        .args(["-lf", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(key.as_bytes()).unwrap();
    let said = String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap();
    said.split_whitespace().nth(1).unwrap().to_owned()
}

/// The text with what differs from run to run named instead.
fn settled(text: &str, names: &[(&str, &str)]) -> String {
    names.iter().fold(text.to_owned(), |text, (what, name)| text.replace(what, name))
}

#[test]
fn hosts_whose_fingerprints_are_confirmed_are_pinned_by_all_four_and_the_file_stays_its_authors() {
    let strangers = Strangers::unpinned(&["acme", "oak"]);
    strangers.edit(|text| format!("# Our customers\n{text}"));
    let before = strangers.text();
    let (acme, oak) = (strangers.fingerprint("acme"), strangers.fingerprint("oak"));
    let said = strangers.trust(&["--all", "--confirm", &acme, "--confirm", &oak]).ends(0).out;
    for name in ["acme", "oak"] {
        let cluster = strangers.cluster(name);
        assert_eq!(fingerprint_of(cluster.host.host_key.as_ref().unwrap()), strangers.fingerprint(name));
        assert_eq!(cluster.machine_id, Some(machine_id(name)));
        assert_eq!(cluster.domain, Some(strangers.bench.host(name).spec().domain()));
        assert!(said.contains(&cluster.cluster_uid.unwrap()), "{said}");
        assert!(strangers.untouched(name));
    }
    let after = strangers.text();
    assert!(before.lines().all(|line| after.contains(line)), "{after}");
    let added: Vec<&str> = after.lines().filter(|line| !before.lines().any(|old| old == *line)).collect();
    assert_eq!(added.len(), 8, "{added:?}");

    // Nothing is left to do, and every later command finds what is pinned.
    let again = strangers.trust(&["--all"]).ends(0).out;
    assert!(again.contains("acme: nothing new to record"), "{again}");
    assert_eq!(strangers.text(), after);
    let facts: Value =
        serde_json::from_str(&strangers.bench.fleet(&["check", "--all", "--format", "json"]).out).unwrap();
    for name in ["acme", "oak"] {
        let verdicts = facts[name]["verdicts"].as_array().unwrap();
        let identity = verdicts.iter().find(|verdict| verdict["check"] == "identity").unwrap();
        assert!(identity["said"].as_str().unwrap().ends_with("all pinned"), "{identity}");
    }
}

#[test]
fn a_host_that_nobody_confirms_is_not_logged_in_to_and_not_pinned() {
    let strangers = Strangers::unpinned(&["acme", "oak"]);
    let before = strangers.text();
    let acme = strangers.fingerprint("acme");
    let said = strangers.trust(&["--all"]).ends(5).out;
    assert!(said.contains("acme: refused: nobody has confirmed"), "{said}");
    assert_eq!(strangers.text(), before);
    // The word on one host is none on another.
    let said = strangers.trust(&["--all", "--confirm", &acme]).ends(5).out;
    assert!(said.contains("acme: host_key, machine_id, cluster_uid, domain pinned in"), "{said}");
    assert!(said.contains("oak: refused: nobody has confirmed"), "{said}");
    assert_eq!(strangers.cluster("oak").host.host_key, None);
    assert_eq!(strangers.bench.host("oak").commands(), Vec::<String>::new());
    // A fingerprint from the console that no host shows is told: it may be another host that answers.
    let console = format!("SHA256:{}", "A".repeat(43));
    let said = strangers.trust(&["--on", "oak", "--confirm", &console]).ends(5).out;
    assert!(said.contains(&format!("No selected host shows {console}")), "{said}");
    assert_eq!(strangers.cluster("oak").host.host_key, None);
}

#[test]
fn json_shows_the_keys_and_writes_nothing() {
    let strangers = Strangers::unpinned(&["acme"]);
    let before = strangers.text();
    let ran = strangers.trust(&["--all", "--format", "json"]).ends(2);
    let said: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(said["schema"], 1);
    let host = &said["hosts"][0];
    assert_eq!((&host["name"], &host["kind"]), (&"acme".into(), &"cluster".into()));
    assert_eq!((&host["standing"], &host["keys"][0]["recorded"]), (&"new".into(), &"new".into()));
    assert_eq!(host["keys"][0]["fingerprint"], strangers.fingerprint("acme"));
    assert_eq!(strangers.text(), before);
    assert_eq!(strangers.bench.host("acme").commands(), Vec::<String>::new());
    let fingerprint = strangers.fingerprint("acme");
    let said = strangers.trust(&["--all", "--format", "json", "--confirm", &fingerprint]).ends(64).err;
    assert!(said.contains("writes nothing"), "{said}");
    strangers.trust(&["--all", "--confirm", "yes"]).ends(64);
    strangers.trust(&[]).ends(64);
}

#[test]
fn a_changed_key_is_refused_with_both_fingerprints_and_replaced_only_by_its_own_confirmed_one() {
    let strangers = Strangers::unpinned(&["acme"]);
    let old = public_key_of(1);
    strangers.pin("acme", "host_key", &old);
    let (old, new) = (fingerprint_of(&old), strangers.fingerprint("acme"));
    let before = strangers.text();
    for words in [&["--all"][..], &["--all", "--confirm", &new], &["--all", "--replace"]] {
        let said = strangers.trust(words).ends(5).out;
        for part in ["has changed", &old, &new, "lab.toml:", "--replace --confirm SHA256:"] {
            assert!(said.contains(part), "{words:?} should say {part:?}:\n{said}");
        }
        assert_eq!(strangers.text(), before);
    }
    assert_eq!(strangers.bench.host("acme").commands(), Vec::<String>::new());
    strangers.trust(&["--all", "--replace", "--confirm", &new]).ends(0);
    assert_eq!(fingerprint_of(&strangers.cluster("acme").host.host_key.unwrap()), new);
}

/// An Ed25519 key that is nobody's.
fn public_key_of(seed: u8) -> String {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join(format!("key{seed}"));
    sshd::keygen("ed25519", &file, "");
    public(&file.with_extension("pub"))
}

#[test]
fn a_revoked_key_is_never_pinned() {
    let strangers = Strangers::unpinned(&["acme"]);
    let shown = strangers.json(&["--all"]);
    let key = shown["hosts"][0]["keys"][0]["key"].as_str().unwrap();
    let known_hosts = strangers.bench.path("known_hosts");
    fs::write(&known_hosts, format!("@revoked * {key}\n")).unwrap();
    strangers.pin("acme", "known_hosts", known_hosts.to_str().unwrap());
    let before = strangers.text();
    let fingerprint = fingerprint_of(key);
    for words in
        [&["--all", "--confirm", &fingerprint][..], &["--all", "--replace", "--confirm", &fingerprint]]
    {
        let said = strangers.trust(words).ends(5).out;
        assert!(said.contains("REVOKED") && said.contains("known_hosts:1"), "{said}");
        assert_eq!(strangers.text(), before);
    }
    assert_eq!(strangers.bench.host("acme").commands(), Vec::<String>::new());
}

#[test]
fn a_pin_that_differs_is_refused_and_replaced_only_with_the_word_on_this_host() {
    let strangers = Strangers::unpinned(&["acme"]);
    let fingerprint = strangers.fingerprint("acme");
    let other = machine_id("other");
    strangers.pin("acme", "machine_id", &other);
    let before = strangers.text();
    let said = strangers.trust(&["--all", "--confirm", &fingerprint]).ends(5).out;
    for part in [&other, &machine_id("acme"), "Nothing was written", "docs/inventory.md#identity"] {
        assert!(said.contains(part), "should say {part:?}:\n{said}");
    }
    assert_eq!(strangers.text(), before, "not even the key that was confirmed");
    strangers.trust(&["--all", "--confirm", &fingerprint, "--replace"]).ends(0);
    assert_eq!(strangers.cluster("acme").machine_id, Some(machine_id("acme")));

    // The key is pinned now. To write over another pin still needs the word on it.
    strangers.edit(|text| text.replace(&machine_id("acme"), &other));
    strangers.trust(&["--all", "--replace"]).ends(5);
    assert_eq!(strangers.cluster("acme").machine_id, Some(other));
    strangers.trust(&["--all", "--replace", "--confirm", &fingerprint]).ends(0);
    assert_eq!(strangers.cluster("acme").machine_id, Some(machine_id("acme")));
}

#[test]
fn two_clusters_at_whose_addresses_one_host_answers_are_both_refused() {
    let strangers = Strangers::unpinned(&["acme", "oak"]);
    // The second leads to the first host, by another name of its address.
    let (acme, oak) = (strangers.cluster("acme").host.port, strangers.cluster("oak").host.port);
    strangers.edit(|text| {
        let at = text.find("[clusters.\"oak\"]").unwrap();
        let (first, second) = text.split_at(at);
        let second = second.replace("127.0.0.1", "localhost").replace(&oak.to_string(), &acme.to_string());
        format!("{first}{second}")
    });
    let before = strangers.text();
    let fingerprint = strangers.fingerprint("acme");
    let said = strangers.trust(&["--all", "--confirm", &fingerprint]).ends(5).out;
    assert!(
        said.contains("shows the key of cluster oak") && said.contains("shows the key of cluster acme"),
        "{said}"
    );
    assert_eq!(strangers.text(), before);

    // One after the other, the second is refused by the pins of the first.
    strangers.trust(&["--on", "acme", "--confirm", &fingerprint]).ends(0);
    let said = strangers.trust(&["--on", "oak", "--confirm", &fingerprint]).ends(5).out;
    assert!(said.contains("shows the key of cluster acme"), "{said}");
    let known_hosts = strangers.bench.path("known_hosts");
    let key = strangers.cluster("acme").host.host_key.unwrap();
    fs::write(&known_hosts, format!("[localhost]:{acme} {key}\n")).unwrap();
    strangers.pin("oak", "known_hosts", known_hosts.to_str().unwrap());
    let said = strangers.trust(&["--on", "oak"]).ends(5).out;
    assert!(said.contains("is the cluster that the inventory calls acme"), "{said}");
    assert_eq!(strangers.cluster("oak").cluster_uid, None);
}

#[test]
fn a_host_that_cannot_be_logged_in_to_is_pinned_by_its_key_alone_and_only_if_that_is_asked_for() {
    let strangers = Strangers::unpinned(&["acme"]);
    let fingerprint = strangers.fingerprint("acme");
    let key = strangers.cluster("acme").host.identity.remove(0);
    sshd::keygen("ed25519", &strangers.bench.path("stranger"), "");
    fs::copy(strangers.bench.path("stranger"), &key).unwrap();
    let before = strangers.text();
    let said = strangers.trust(&["--all", "--confirm", &fingerprint]).ends(3).out;
    assert!(said.contains("nothing was written") && said.contains("--only-keys"), "{said}");
    assert_eq!(strangers.text(), before);
    strangers.trust(&["--all", "--confirm", &fingerprint, "--only-keys"]).ends(0);
    let cluster = strangers.cluster("acme");
    assert!(cluster.host.host_key.is_some() && cluster.machine_id.is_none());
}

#[test]
fn what_is_shown_and_told_reads_well() {
    let strangers = Strangers::unpinned(&["acme", "oak"]);
    let old = public_key_of(1);
    strangers.pin("oak", "host_key", &old);
    let acme = strangers.fingerprint("acme");
    let said = strangers.trust(&["--all", "--confirm", &acme]).ends(5).out;
    let uid = strangers.cluster("acme").cluster_uid.unwrap();
    let (oak, old) = (strangers.fingerprint("oak"), fingerprint_of(&old));
    let folder = strangers.bench.lab.folder().display().to_string();
    let ports: Vec<String> =
        ["acme", "oak"].iter().map(|name| format!(":{}", strangers.cluster(name).host.port)).collect();
    let fixed = |letter: &str| format!("SHA256:{}", letter.repeat(43));
    let said = settled(
        &said,
        &[
            (&acme, &fixed("A")),
            (&oak, &fixed("B")),
            (&old, &fixed("C")),
            (&uid, "UID"),
            (&folder, "LAB"),
            (&ports[0], ":40001"),
            (&ports[1], ":40002"),
        ],
    );
    insta::assert_snapshot!(said);
}

/// Runs the binary at a terminal of its own, with these lines typed.
fn at_a_terminal(strangers: &Strangers, words: &[&str], typed: &str) -> (Option<i32>, String) {
    let program = find_script();
    let command = strangers.bench.command(words);
    let line: Vec<String> = std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(|word| fleet::remote::quote(word.to_str().unwrap()))
        .collect();
    let mut script = Command::new(program);
    script.env_clear().current_dir(command.get_current_dir().unwrap());
    script.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let mut child = script
        .args(["-qec", &line.join(" "), "/dev/null"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(typed.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    (output.status.code(), String::from_utf8_lossy(&output.stdout).replace('\r', ""))
}

fn find_script() -> &'static Path {
    let program = Path::new("/usr/bin/script");
    assert!(program.exists(), "script is not here: install Debian's bsdutils (apt-get install bsdutils)");
    program
}

#[test]
fn at_a_terminal_yes_is_the_word_on_all_new_hosts_and_never_on_a_changed_one() {
    let strangers = Strangers::unpinned(&["acme", "oak", "pine"]);
    strangers.pin("pine", "host_key", &public_key_of(1));
    let pinned = |name: &str| strangers.cluster(name).machine_id.is_some();
    let (code, said) = at_a_terminal(&strangers, &["trust", "--all"], "\n");
    assert_eq!(code, Some(5), "{said}");
    assert!(said.contains("2 hosts new: acme, oak") && !pinned("acme") && !pinned("oak"), "{said}");
    let words = ["trust", "--all", "--replace"];
    let (code, said) = at_a_terminal(&strangers, &words, "y\nyes\nyes\n\n");
    assert_eq!(code, Some(5), "{said}");
    assert!(pinned("acme") && pinned("oak") && !pinned("pine"), "{said}");
    let typed = format!("{}\n", strangers.fingerprint("pine"));
    let (code, said) = at_a_terminal(&strangers, &words, &typed);
    assert_eq!((code, pinned("pine")), (Some(0), true), "{said}");
}

/// A real sshd as the only cluster of an inventory.
fn real(sshd: &Sshd, more: &str) -> (tempfile::TempDir, impl Fn(&[&str]) -> Ran) {
    let folder = tempfile::tempdir().unwrap();
    let inventory = folder.path().join("clusters.toml");
    let text = format!(
        "[clusters.acme] # rack 4\naddress = \"127.0.0.1\"\nport = {}\nuser = \"{}\"\nidentity = \"{}\"\n{more}",
        sshd.port(),
        sshd::user(),
        sshd.dir().join("id").display()
    );
    fs::write(&inventory, text).unwrap();
    let at = folder.path().to_owned();
    let ask = move |words: &[&str]| {
        run(fleet(&[&["trust", "--all", "--only-keys"], words].concat())
            .current_dir(&at)
            .env("FLEET_INVENTORY", at.join("clusters.toml")))
    };
    (folder, ask)
}

#[test]
fn every_kind_of_key_of_a_real_sshd_is_shown_and_the_confirmed_one_is_pinned() {
    let kinds = vec!["rsa", "ecdsa", "ed25519"];
    let sshd = Sshd::start_with(&Options { host_keys: kinds.clone(), ..Options::default() });
    let (folder, trust) = real(&sshd, "");
    let shown = trust(&[]).ends(5).out;
    for kind in kinds {
        let fingerprint = fingerprint_of(&public(&sshd.dir().join(format!("host_{kind}.pub"))));
        assert!(shown.contains(&fingerprint), "{kind}:\n{shown}");
    }
    let ecdsa = public(&sshd.dir().join("host_ecdsa.pub"));
    trust(&["--confirm", &fingerprint_of(&ecdsa)]).ends(0);
    let text = fs::read_to_string(folder.path().join("clusters.toml")).unwrap();
    assert!(text.starts_with("[clusters.acme] # rack 4\n"), "{text}");
    assert!(text.ends_with(&format!("\nhost_key = \"{ecdsa}\"\n")), "{text}");
    // By that one key the host is known now, whatever else it shows.
    let said = trust(&[]).ends(0).out;
    assert!(said.contains("pinned") && said.contains("acme: nothing new to record"), "{said}");
    assert!(!sshd.log().contains("Accepted"), "{}", sshd.log());
}

#[test]
fn a_line_that_is_added_to_known_hosts_is_one_that_openssh_goes_by() {
    let sshd = Sshd::start();
    let (folder, trust) = real(&sshd, "known_hosts = \"known_hosts\"\n");
    let file = folder.path().join("known_hosts");
    fs::write(&file, "# no line end").unwrap();
    let inventory = fs::read_to_string(folder.path().join("clusters.toml")).unwrap();
    let fingerprint = fingerprint_of(&public(&sshd.dir().join("host_ed25519.pub")));
    let words = ["--known-hosts", "known_hosts", "--confirm", &fingerprint];
    let said = trust(&words).ends(0).out;
    assert!(said.contains("its key added to known_hosts"), "{said}");
    assert!(!said.contains("does not read"), "{said}");
    let ssh = Command::new(find("ssh"))
        .args(["-F", "none", "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=yes"])
        .arg(format!("-oUserKnownHostsFile={}", file.display()))
        .args(["-o", "GlobalKnownHostsFile=none", "-o", "IdentitiesOnly=yes", "-i"])
        .arg(sshd.dir().join("id"))
        .args(["-p", &sshd.port().to_string(), "127.0.0.1", "true"])
        .output()
        .unwrap();
    assert!(ssh.status.success(), "{}", String::from_utf8_lossy(&ssh.stderr));
    assert_eq!(fs::read_to_string(folder.path().join("clusters.toml")).unwrap(), inventory);
    // Known now: nothing to confirm, nothing to write.
    let text = fs::read_to_string(&file).unwrap();
    assert!(text.starts_with("# no line end\n[127.0.0.1]:"), "{text}");
    assert!(trust(&[]).ends(0).out.contains("known"));
    trust(&words).ends(0);
    assert_eq!(fs::read_to_string(&file).unwrap(), text);
    // A changed key is never written over a line.
    let said = trust(&["--known-hosts", "known_hosts", "--replace", "--confirm", &fingerprint]).ends(64).err;
    assert!(said.contains("--replace"), "{said}");
}

#[test]
fn two_hosts_with_addresses_swapped_are_refused_by_each_of_the_four_pins_and_nothing_is_changed() {
    let strangers = Strangers::new(&["acme", "oak"]);
    let values = |key: &str| {
        ["acme", "oak"].map(|name| {
            let cluster = strangers.cluster(name);
            match key {
                "host_key" => cluster.host.host_key.unwrap(),
                "machine_id" => machine_id(name),
                "cluster_uid" => cluster.cluster_uid.unwrap(),
                _ => cluster.domain.unwrap(),
            }
        })
    };
    strangers.pin("acme", "machine_id", &machine_id("acme"));
    strangers.pin("oak", "machine_id", &machine_id("oak"));
    let right = strangers.text();
    for key in PINS {
        // As if the addresses of both had been swapped, and all but this one pin with them.
        let [acme, oak] = values(key);
        fs::write(strangers.file(), swap(&right, key, &acme, &oak)).unwrap();
        let asked = |name: &str| strangers.bench.host(name).commands().len();
        let before = (asked("acme"), asked("oak"));
        // Runs that begin within a second have no order: this one is to be the only one.
        fs::remove_dir_all(strangers.bench.path("runs")).ok();
        strangers.bench.upgrade(&["--all"]).ends(5);
        for name in ["acme", "oak"] {
            let report = strangers.bench.report(name);
            let cause = if key == "host_key" { "host-key" } else { "identity-differs" };
            assert_eq!(report["outcome"], "refused", "{key}: {report}");
            assert_eq!(report["failure"]["cause"], cause, "{key}: {report}");
            let message = report["failure"]["message"].as_str().unwrap();
            let (pinned, found) = if name == "acme" { (&oak, &acme) } else { (&acme, &oak) };
            let both =
                key == "host_key" || (message.contains(pinned.as_str()) && message.contains(found.as_str()));
            assert!(
                both && message.contains(if key == "host_key" { "SHA256:" } else { key }),
                "{key}: {message}"
            );
            assert!(strangers.untouched(name), "{key}");
        }
        if key == "host_key" {
            assert_eq!((asked("acme"), asked("oak")), before, "nothing at all was asked");
        } else {
            // `fleet check` and `fleet plan` show it before anybody tries.
            let said = strangers.bench.fleet(&["check", "--on", "acme", "--format", "json"]).ends(5).out;
            let verdicts: Value = serde_json::from_str(&said).unwrap();
            let verdicts = verdicts["acme"]["verdicts"].as_array().unwrap();
            let identity = verdicts.iter().find(|verdict| verdict["check"] == "identity").unwrap();
            assert_eq!(identity["level"], "block", "{identity}");
            let said = strangers.bench.fleet(&["plan", "--on", "acme"]).ends(5).out;
            assert!(said.contains("acme: refused: ") && said.contains(key), "{said}");
        }
    }
    assert!(!strangers.bench.path("backups").exists(), "there is nothing to keep of them");
}

/// A text in which two values of a key are swapped.
fn swap(text: &str, key: &str, one: &str, other: &str) -> String {
    let line = |value: &str| format!("{key} = \"{value}\"\n");
    assert!(text.contains(&line(one)) && text.contains(&line(other)), "{key}: {text}");
    text.replace(&line(one), "swap\n").replace(&line(other), &line(one)).replace("swap\n", &line(other))
}

#[test]
fn a_jump_host_is_trusted_before_anything_is_asked_through_it() {
    let (bastion, acme) = (Sshd::start(), Sshd::start());
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("clusters.toml");
    let end = |sshd: &Sshd| {
        let (port, user, key) = (sshd.port(), sshd::user(), sshd.dir().join("id"));
        format!(
            "address = \"127.0.0.1\"\nport = {port}\nuser = \"{user}\"\nidentity = \"{}\"\n",
            key.display()
        )
    };
    let text =
        format!("[jumps.bastion]\n{}\n[clusters.acme]\n{}jump = \"bastion\"\n", end(&bastion), end(&acme));
    fs::write(&file, &text).unwrap();
    let trust = |words: &[&str]| {
        run(fleet(&[&["trust", "--all", "--only-keys"], words].concat()).env("FLEET_INVENTORY", &file))
    };
    let key = |sshd: &Sshd| public(&sshd.dir().join("host_ed25519.pub"));
    let (of_bastion, of_acme) = (fingerprint_of(&key(&bastion)), fingerprint_of(&key(&acme)));

    let said = trust(&["--confirm", &of_acme]).ends(5).out;
    assert!(said.contains(&of_bastion) && said.contains("jump host bastion is not trusted"), "{said}");
    assert_eq!(fs::read_to_string(&file).unwrap(), text);
    assert!(!bastion.log().contains("Accepted") && !acme.log().contains("Connection from"));

    // With the jump host's key believed, the host behind it can be looked at; it has a word of its own.
    let said = trust(&["--confirm", &of_bastion]).ends(5).out;
    assert!(said.contains(&of_acme) && said.contains("acme: refused: nobody has confirmed"), "{said}");
    let inventory = inventory::load(&file).unwrap();
    assert_eq!(inventory.jumps["bastion"].host_key, Some(key(&bastion)));
    assert_eq!(inventory.clusters["acme"].host.host_key, None);
    bastion.wait_for_log("Accepted publickey");
    assert_eq!(bastion.log().matches("Accepted publickey").count(), 1, "one login for all kinds of key");
    trust(&["--confirm", &of_acme]).ends(0);
    assert_eq!(inventory::load(&file).unwrap().clusters["acme"].host.host_key, Some(key(&acme)));
    assert!(!acme.log().contains("Accepted"), "{}", acme.log());
}
