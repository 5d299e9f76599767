//! Settings of 0.5, and what becomes of them.

use proptest::prelude::*;

use super::*;

const SETTINGS: &str = r#"
# the cluster
ip_address: "203.0.113.7"
domain: acme.example.org
admin_email: admin@acme.example.org
acme_staging: false
outgoing_mail:
  enabled: yes
  from_address: "noreply@acme.example.org"
  smtp:
    host: smtp.example.org
    port: 587
    user: acme
    password: 'hunter$2'
backup:
  velero:
    enabled: true
    url: "https://store.greenhost.net"
    region: "ceph"
    bucket: "openappstack-backup"
    prefix: 1.10
enabled_applications:
  - 'cert-manager'
  - 'velero'
  - 'grafana'
  - 'nextcloud'
admin_password: hunter2
"#;

fn of(text: &str) -> Converted {
    convert(Path::new("settings.yml"), text, None).unwrap()
}

#[test]
fn what_is_known_is_taken_and_all_else_is_named_with_its_line_and_without_its_value() {
    let made = of(SETTINGS);
    let env = made.env();
    for line in [
        "ip_address=203.0.113.7\n",
        "domain=acme.example.org\n",
        "outgoing_mail_enabled=true\n",
        "outgoing_mail_smtp_port=587\n",
        "backup_s3_url=https://store.greenhost.net\n",
        "# to be filled in: backup_s3_aws_access_key_id=\n",
        "# to be filled in: outgoing_mail_smtp_password=\n",
    ] {
        assert!(env.contains(line), "{line:?}: {}", *env);
    }
    assert_eq!(made.taken["domain"], "settings.yml:4 domain");
    assert_eq!(
        made.missing["outgoing_mail_smtp_password"],
        "settings.yml:14 outgoing_mail.smtp.password holds $, which upstream's installer refuses"
    );
    assert!(made.missing["backup_s3_prefix"].contains("put it in quotes"), "{:?}", made.missing);
    assert_eq!(
        made.left,
        [
            "settings.yml:6 acme_staging (true or false): no variable of this name is known",
            "settings.yml:19 backup.velero.region (a text): no variable of this name is known",
            "settings.yml:27 admin_password (a text): no variable of this name is known",
        ]
    );
    assert_eq!(made.apps, ["grafana", "nextcloud"]);
    let said = format!("{:?}{:?}{:?}", made.taken, made.missing, made.left);
    assert!(!said.contains("hunter") && !env.contains("hunter"), "{said}");
    let read = crate::flux_env::parse(Path::new(".flux.env"), env.as_bytes()).unwrap();
    assert_eq!(read.len(), made.taken.len());
}

#[test]
fn an_example_says_what_else_is_a_variable_and_what_must_be_filled_in() {
    let keys =
        example("# A comment, with = in it\nip_address=\n#backup_s3_region=x\nacme_staging=false\ndomain=\n");
    assert_eq!(
        keys.iter().map(String::as_str).collect::<Vec<_>>(),
        ["acme_staging", "backup_s3_region", "domain", "ip_address"]
    );
    let made = convert(Path::new("s.yml"), SETTINGS, Some(&keys)).unwrap();
    let env = made.env();
    assert!(env.contains("acme_staging=false\n") && env.contains("backup_s3_region=ceph\n"), "{}", *env);
    assert!(
        made.left.iter().any(|left| left.ends_with("is taken as admin_email, which the example has not"))
    );
    let short = convert(Path::new("s.yml"), "domain: a\n", Some(&keys)).unwrap();
    assert_eq!(short.missing["acme_staging"], "not in s.yml; the example has it");
}

#[test]
fn what_ansible_alone_can_read_is_asked_for() {
    let made = of(
        "domain: '{{ name }}.example.org'\nip_address: !vault |\n  $ANSIBLE_VAULT;1.1;AES256\n  00\nadmin_email:\noutgoing_mail_domain:\n",
    );
    assert!(made.missing["domain"].contains("a template"), "{:?}", made.missing);
    assert!(made.missing["ip_address"].contains("encrypted"), "{:?}", made.missing);
    assert_eq!(made.missing["admin_email"], "settings.yml:5 admin_email is empty");
    assert!(!made.missing.contains_key("outgoing_mail_domain"), "{:?}", made.missing);
    let why = |text: &str| convert(Path::new("s.yml"), text, None).unwrap_err();
    assert!(why("- a\n").contains("no settings"));
    assert!(why("a: \"hunter2\n").contains("no YAML"));
    assert!(why("$ANSIBLE_VAULT;1.1;AES256\n00").contains("decrypt"));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_text_is_refused_or_becomes_a_file_that_is_read(
        text in "( {0,4}(domain|ip_address|backup|velero|url|prefix|outgoing_mail|enabled|enabled_applications|- a|.{0,4}):( [^\n]{0,6})?\n){0,9}"
    ) {
        if let Ok(made) = convert(Path::new("settings.yml"), &text, None) {
            let read = crate::flux_env::parse(Path::new(".flux.env"), made.env().as_bytes());
            prop_assert_eq!(read.map_or(0, |read| read.len()), made.taken.len());
        }
    }
}
