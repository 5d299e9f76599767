//! The variables of `.flux.env` and those in the cluster, on simulated hosts.
#![expect(clippy::unwrap_used, reason = "what cannot be set up fails its test")]

mod lab_support;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use fleet::lab::{Fault, Host, HostSpec};
use lab_support::{Bench, files, holds};
use serde_json::{Value, json};

const FLUX: &str = "flux-system";
const SECRET: &str = "oas-cluster-variables";
const ENV: &str = ".flux.env";

/// The variables in the cluster.
fn live(host: &Host) -> BTreeMap<String, String> {
    let secret = host.object("secrets", FLUX, SECRET).unwrap();
    let plain = |text: &str| String::from_utf8(STANDARD.decode(text).unwrap()).unwrap();
    let data = secret["data"].as_object().unwrap().clone();
    data.into_iter().map(|(key, value)| (key, plain(value.as_str().unwrap()))).collect()
}

/// Makes each cluster's file say what its Secret says.
fn directories(bench: &Bench) {
    for host in bench.lab.hosts() {
        write(bench, host, &live(host));
    }
}

fn env(bench: &Bench, host: &Host) -> PathBuf {
    bench.path("lab/clusters").join(&host.spec().name).join(ENV)
}

fn write(bench: &Bench, host: &Host, variables: &BTreeMap<String, String>) {
    let lines: Vec<String> = variables.iter().map(|(key, value)| format!("{key}={value}\n")).collect();
    fs::write(env(bench, host), lines.concat()).unwrap();
}

fn suspend(host: &Host, kustomization: &str) {
    host.edit("kustomizations", FLUX, kustomization, |object| object["spec"]["suspend"] = json!(true));
}

fn requested(host: &Host, kustomization: &str) -> bool {
    let object = host.object("kustomizations", FLUX, kustomization).unwrap();
    !object["metadata"]["annotations"]["reconcile.fluxcd.io/requestedAt"].is_null()
}

#[test]
fn what_differs_is_shown_without_values_applied_reconciled_and_can_be_put_back() {
    let bench = Bench::new(vec![HostSpec::new("one").apps(["wordpress"])]);
    directories(&bench);
    let host = bench.host("one");
    bench.fleet(&["vars", "diff", "--all"]).ends(0);
    bench.fleet(&["vars", "apply", "--all", "--yes"]).ends(0);

    let before = live(host);
    let mut wanted = before.clone();
    wanted.insert("outgoing_mail_smtp_password".into(), "hunter2-new".into());
    wanted.insert("org_name".into(), "Acme-hunter2".into());
    let gone = wanted.remove("ip_address").unwrap();
    write(&bench, host, &wanted);
    let shown = bench.fleet(&["vars", "diff", "--all"]).ends(2);
    for line in [
        "  ip_address is in the cluster alone, and stays\n",
        "  org_name (set), is not in the cluster\n",
        "  outgoing_mail_smtp_password (",
    ] {
        assert!(shown.out.contains(line), "{line:?}: {}", shown.out);
    }
    let json = bench.fleet(&["vars", "diff", "--all", "--format", "json"]).ends(2).out;
    assert!(!json.contains("hunter2") && json.contains("\"org_name\": \"added\""), "{json}");

    bench.fleet(&["vars", "apply", "--all"]).ends(64);
    assert_eq!(live(host), before, "nobody has said yes");

    suspend(host, "wordpress");
    let ran = bench.fleet(&["vars", "apply", "--all", "--yes"]).ends(0);
    wanted.insert("ip_address".into(), gone);
    assert_eq!(live(host), wanted);
    assert!(ran.out.contains("suspended, and left alone: flux-system/wordpress"), "{}", ran.out);
    assert!(requested(host, "core") && !requested(host, "wordpress"));

    // The values are in the kept Secret alone, which is for its owner's eyes.
    let kept = bench.run().join("one/kept").join(format!("{SECRET}.json"));
    assert_eq!(fs::metadata(&kept).unwrap().permissions().mode() & 0o777, 0o600);
    let said = format!("{}{}{}{}", shown.out, ran.out, ran.err, host.commands().join("\n"));
    assert!(!said.contains("hunter2") && !said.contains(&STANDARD.encode("hunter2-new")), "{said}");
    for (path, bytes) in files(&bench.path("runs")).into_iter().filter(|(path, _)| *path != kept) {
        assert!(
            !holds(&bytes, b"hunter2") && !holds(&bytes, STANDARD.encode("hunter2-new").as_bytes()),
            "{path:?}"
        );
    }
    let put_back = format!("k3s kubectl replace -f - < {}", kept.display());
    assert!(ran.out.replace("\n  ", " ").contains(&put_back), "{}", ran.out);
    let line = format!("PATH={}:$PATH; {put_back}", host.folder().join("bin").display());
    assert!(std::process::Command::new("sh").arg("-c").arg(line).status().unwrap().success());
    assert_eq!(live(host), before);
}

#[test]
fn a_file_that_is_wrong_is_told_with_its_line_before_any_host_is_asked() {
    let bench = Bench::new(vec![HostSpec::new("one"), HostSpec::new("two")]);
    for host in bench.lab.hosts() {
        fs::write(env(&bench, host), "domain=a\npassword=hunter$2\n").unwrap();
    }
    let ran = bench.fleet(&["vars", "apply", "--all", "--yes"]).ends(64);
    for name in ["one", "two"] {
        assert!(
            ran.err.contains(&format!("{name}/.flux.env:2: the value of password holds $")),
            "{}",
            ran.err
        );
    }
    assert!(!ran.err.contains("hunter"), "{}", ran.err);
    assert!(bench.lab.hosts().all(|host| host.commands().is_empty()));
}

#[test]
fn a_secret_that_cannot_be_set_and_a_kustomization_that_does_not_become_ready_are_told() {
    let fails =
        HostSpec::new("fails").apps(["wordpress"]).fault(Fault::CommandFails("kubectl replace".to_owned()));
    let bench = Bench::new(vec![fails, HostSpec::new("stuck").apps(["wordpress"])]);
    directories(&bench);
    for host in bench.lab.hosts() {
        let mut wanted = live(host);
        wanted.insert("admin_email".into(), "b@example.org".into());
        write(&bench, host, &wanted);
    }
    // It waits for itself, and would for ever. None that comes from another, which would put it right.
    let stuck = bench.host("stuck");
    let comes_from =
        |object: &Value| object["metadata"]["labels"]["kustomize.toolkit.fluxcd.io/name"].is_string();
    let root = stuck.objects("kustomizations").into_iter().find(|object| !comes_from(object)).unwrap();
    let root = root["metadata"]["name"].as_str().unwrap();
    stuck.edit("kustomizations", FLUX, root, |object| object["spec"]["dependsOn"] = json!([{"name": root}]));
    let ran = bench.fleet(&["vars", "apply", "--all", "--yes"]).ends(3);
    assert_eq!(bench.report("fails")["failure"]["cause"], "vars-not-set");
    assert_ne!(live(bench.host("fails"))["admin_email"], "b@example.org");
    assert_eq!(bench.report("stuck")["failure"]["cause"], "not-reconciled", "{}", ran.out);
    assert_eq!(live(bench.host("stuck"))["admin_email"], "b@example.org");
}

/// The settings of a 0.5 cluster, with a password that a shell would read in another way.
const SETTINGS: &str = "ip_address: 203.0.113.7\ndomain: acme.example.org\nadmin_email: admin@acme.example.org\nacme_staging: false\n\
outgoing_mail:\n  enabled: true\n  smtp:\n    password: 'hunter$2'\n    host: smtp.example.org\nenabled_applications:\n  - ingress\n  - nextcloud\n";

#[test]
fn old_settings_become_variables_that_diff_takes_and_what_a_person_must_do_is_told() {
    let bench = Bench::new(vec![HostSpec::new("one")]);
    let host = bench.host("one");
    let settings = bench.path("settings.yml");
    fs::write(&settings, SETTINGS).unwrap();
    let (settings, out) = (settings.to_str().unwrap(), env(&bench, host));
    let words = ["vars", "convert", settings, "--out", out.to_str().unwrap()];
    let _ = fs::remove_file(&out);
    let ran = bench.fleet(&words).ends(2);
    for line in [
        "settings.yml:4 acme_staging (true or false): no variable of this name is known",
        "outgoing_mail_smtp_password: ",
        "settings.yml:8 outgoing_mail.smtp.password holds $",
        "outgoing_mail_smtp_user: not in ",
        "install/install-app.sh nextcloud",
    ] {
        assert!(ran.out.replace("\n    ", " ").contains(line), "{line:?}: {}", ran.out);
    }
    assert!(!ran.out.contains("hunter") && !ran.err.contains("hunter"), "{}{}", ran.out, ran.err);
    assert_eq!(fs::metadata(&out).unwrap().permissions().mode() & 0o777, 0o600);
    let diff = bench.fleet(&["vars", "diff", "--on", "one"]).ends(2);
    assert!(diff.out.contains("domain (changed)"), "{}", diff.out);

    let ran = bench.fleet(&words).ends(64);
    assert!(ran.err.contains("--replace writes over it"), "{}", ran.err);
    fs::write(
        settings,
        "domain: acme.example.org\nip_address: 203.0.113.7\nadmin_email: a@acme.example.org\n",
    )
    .unwrap();
    bench.fleet(&[&words[..], &["--replace"]].concat()).ends(0);
    let text = fs::read_to_string(&out).unwrap();
    assert!(text.contains("admin_email=a@acme.example.org\n") && !text.contains("filled in"), "{text}");
    assert!(host.commands().iter().all(|line| !line.contains("acme.example.org")));
}
