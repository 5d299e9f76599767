use std::fs;

use super::*;

const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f";
const MACHINE: &str = "4c1f0d6be8a14d0f9f1b2a3c4d5e6f70";
const OTHER: &str = "00000000000000000000000000000001";

fn acme(keys: &[(&'static str, &str)]) -> Pinning {
    let keys = keys.iter().map(|(key, value)| (*key, (*value).to_owned())).collect();
    Pinning { whose: Whose::Cluster, name: "acme".to_owned(), keys, replace: false }
}

/// Pins in a file of this text; gives what was written and the text that is there then.
fn pinned(text: &str, pinning: &Pinning) -> (Result<Vec<&'static str>, String>, String) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("clusters.toml");
    fs::write(&file, text).unwrap();
    let done = pin(std::slice::from_ref(&file), pinning);
    let done = done.map(|(_, keys)| keys).map_err(|error| error.to_string());
    (done, fs::read_to_string(&file).unwrap())
}

#[test]
fn pins_stand_behind_the_tables_other_keys_and_nothing_else_moves() {
    let text = "# Customers\n[defaults]\nuser   = 'root'  # always\n\n[clusters.acme] # the first\naddress = \"203.0.113.7\"   # rack 4\n\
                tags = [\n  \"a\", # one\n]\n\n# the second\n[clusters.oak]\naddress = \"203.0.113.8\"\n";
    let (done, after) = pinned(text, &acme(&[("host_key", KEY), ("machine_id", MACHINE)]));
    assert_eq!(done.unwrap(), ["host_key", "machine_id"]);
    let pins = format!("]\nhost_key = \"{KEY}\"\nmachine_id = \"{MACHINE}\"\n");
    assert_eq!(after, text.replacen("]\n\n# the second", &format!("{pins}\n# the second"), 1));
}

#[test]
fn every_way_to_write_a_table_is_understood() {
    for text in [
        "[clusters.acme]\naddress = \"203.0.113.7\"",
        "[clusters]\nacme.address = \"203.0.113.7\"\n",
        "clusters.acme.address = \"203.0.113.7\"\n",
        "[clusters]\nacme = { address = \"203.0.113.7\" }\n",
        "clusters = { acme = { address = \"203.0.113.7\" } } # all\n",
        "[clusters.\"acme\"]\naddress = \"203.0.113.7\"\n[clusters.acme.paths]\nspool = \"/srv/fleet\"\n",
        "[clusters.acme.paths]\nspool = \"/srv/fleet\"\n[clusters.acme]\naddress = \"203.0.113.7\"\n",
    ] {
        let (done, after) = pinned(text, &acme(&[("machine_id", MACHINE)]));
        assert_eq!(done.as_deref(), Ok(&["machine_id"][..]), "{text}");
        let said: toml::Table = after.parse().unwrap();
        assert_eq!(said["clusters"]["acme"]["machine_id"].as_str(), Some(MACHINE), "{after}");
        assert!(!after.contains(" ,"), "{after}");
        // What is there already is not written again.
        assert_eq!(pinned(&after, &acme(&[("machine_id", MACHINE)])), (Ok(Vec::new()), after));
    }
}

#[test]
fn line_ends_and_a_byte_order_mark_stay() {
    let text = "\u{feff}# one\r\n[clusters.acme]\r\naddress = \"203.0.113.7\"\r\n";
    let (done, after) = pinned(text, &acme(&[("machine_id", MACHINE)]));
    done.unwrap();
    assert_eq!(after, format!("{text}machine_id = \"{MACHINE}\"\r\n"));
}

#[test]
fn another_value_stays_unless_it_is_to_be_replaced() {
    let text = format!("[clusters.acme]\nmachine_id = '{OTHER}' # by hand\naddress = \"203.0.113.7\"\n");
    let pinning = acme(&[("domain", "acme.example.org"), ("machine_id", MACHINE)]);
    let (done, after) = pinned(&text, &pinning);
    let why = done.unwrap_err();
    assert!(why.contains(OTHER) && why.contains("[clusters.acme]") && why.contains("`machine_id`"), "{why}");
    assert_eq!(after, text);

    let (done, after) = pinned(&text, &Pinning { replace: true, ..pinning });
    assert_eq!(done.unwrap(), ["domain", "machine_id"]);
    let new = text.replace(&format!("'{OTHER}'"), &format!("\"{MACHINE}\""));
    assert_eq!(after, format!("{new}domain = \"acme.example.org\"\n"));
}

#[test]
fn one_value_in_another_spelling_is_no_other_value() {
    let text = format!(
        "[clusters.acme]\nmachine_id = \"{}\"\nhost_key = \"{KEY} root@acme\"\ndomain = \"Acme.example.org.\"\n",
        MACHINE.to_uppercase()
    );
    let keys = [("machine_id", MACHINE), ("host_key", KEY), ("domain", "acme.example.org")];
    assert_eq!(pinned(&text, &acme(&keys)), (Ok(Vec::new()), text.clone()));
    // The letters of a key are no spelling.
    let (_, data) = KEY.split_once(' ').unwrap();
    let other = format!("ssh-ed25519 {}", data.replace("HR4f", "HR4g"));
    assert!(pinned(&text, &acme(&[("host_key", &other)])).0.is_err());
    assert!(!same("host_key", "ssh-ed25519 AAAa", "ssh-ed25519 AAAA"));
}

#[test]
fn what_a_host_says_must_be_what_the_key_takes() {
    let text = "[clusters.acme]\naddress = \"203.0.113.7\"\n";
    for (key, value) in [
        ("machine_id", "\"\nhost_key = \"x"),
        ("machine_id", ""),
        ("cluster_uid", "a b"),
        ("domain", "a\u{1b}[31m"),
        ("host_key", "ssh-ed25519 AAAA"),
    ] {
        let (done, after) = pinned(text, &acme(&[("domain", "acme.example.org"), (key, value)]));
        assert!(done.unwrap_err().contains(key));
        assert_eq!(after, text);
    }
}

#[test]
fn jump_hosts_have_tables_of_their_own_and_the_right_one_of_several_files_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let files = [folder.path().join("a.toml"), folder.path().join("b.toml")];
    fs::write(&files[0], "[clusters.oak]\naddress = \"203.0.113.8\"\n").unwrap();
    fs::write(&files[1], "[jumps.acme]\naddress = \"203.0.113.9\"\n").unwrap();
    let pinning = Pinning { whose: Whose::Jump, ..acme(&[("host_key", KEY)]) };
    let (place, keys) = pin(&files, &pinning).unwrap();
    assert_eq!((place, keys), (format!("{} [jumps.acme]", files[1].display()), vec!["host_key"]));
    let after = fs::read_to_string(&files[1]).unwrap();
    assert_eq!(after, format!("[jumps.acme]\naddress = \"203.0.113.9\"\nhost_key = \"{KEY}\"\n"));
    let error = pin(&files, &acme(&[("host_key", KEY)])).unwrap_err();
    assert_eq!(error.to_string(), "[clusters.acme] is no longer in the inventory; nothing was written to it");
}

#[test]
fn a_known_hosts_line_names_the_host_as_it_is_looked_up() {
    let host = |address: &str, port| super::super::Host { port, ..super::super::Host::new("acme", address) };
    assert_eq!(known_hosts_line(&host("203.0.113.7", 22), KEY), format!("203.0.113.7 {KEY}"));
    assert_eq!(
        known_hosts_line(&host("acme.example.org", 2222), KEY),
        format!("[acme.example.org]:2222 {KEY}")
    );
    let alias = super::super::Host { host_key_alias: Some("Acme".into()), ..host("203.0.113.7", 2222) };
    assert_eq!(known_hosts_line(&alias, KEY), format!("acme {KEY}"));
}
