//! What is left to do after 0.8, on simulated hosts: the clean-up, and whose files are whose in Nextcloud.
#![expect(clippy::unwrap_used, reason = "what cannot be set up fails its test")]

mod lab_support;
mod shim;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use fleet::lab::{Fault, Host, HostSpec, Nextcloud};
use fleet::version::Version;
use lab_support::{Bench, files, holds, left_on_spool, real_kubectl, run};
use serde_json::{Value, json};

const FLUX: &str = "flux-system";
const BEFORE: &str = "stackspin-fleet/policy-before-move";
const RECORD: &str = "stackspin-fleet/new-claim";

fn renamed_cluster(name: &str) -> HostSpec {
    HostSpec::new(name).version(Version::V0_8).apps(["wordpress"])
}

fn names(host: &Host, plural: &str) -> Vec<String> {
    let text = |object: &Value, key: &str| object["metadata"][key].as_str().unwrap_or("").to_owned();
    host.objects(plural)
        .iter()
        .map(|object| format!("{}/{}", text(object, "namespace"), text(object, "name")))
        .collect()
}

fn secrets(host: &Host, prefix: &str) -> Vec<String> {
    let of = |name: &String| name.split_once('/').is_some_and(|(_, name)| name.starts_with(prefix));
    names(host, "secrets").into_iter().filter(of).collect()
}

/// Leaves a cluster as the way to 0.8 does: volumes are retained and have the record of their move, the old secrets and an override are
/// still there beside their copies.
fn leave(host: &Host) {
    let copies = copies(host);
    let mut store = host.store();
    for copy in copies {
        let name = copy["metadata"]["name"].as_str().unwrap().replacen("stackspin-", "oas-", 1);
        let mut old = json!({"kind": "Secret", "type": "Opaque", "data": copy["data"],
            "metadata": {"name": name, "namespace": copy["metadata"]["namespace"]}});
        if name == "oas-cluster-variables" {
            old["data"]["domain"] = json!(STANDARD.encode("hunter2.example.org"));
        }
        store.apply(&old);
    }
    store
        .apply(&json!({"kind": "Secret", "type": "Opaque", "data": {"a": STANDARD.encode("hunter2-rocket")},
        "metadata": {"name": "oas-rocketchat-variables", "namespace": FLUX}}));
    for prefix in ["oas", "stackspin"] {
        store.apply(&json!({"kind": "ConfigMap", "data": {"values.yaml": "a: hunter2-path\n"},
            "metadata": {"name": format!("{prefix}-local-path-provisioner-override"), "namespace": "kube-system"}}));
    }
    let container = json!({"name": "flux", "image": "x", "command": ["flux", "suspend", "source", "git", "openappstack"]});
    store.apply(&json!({"kind": "CronJob", "metadata": {"name": "suspend-old", "namespace": FLUX},
        "spec": {"schedule": "0 4 * * *", "jobTemplate": {"spec": {"template": {"spec": {"containers": [container]}}}}}}));
    drop(store);
    for name in names(host, "persistentvolumes") {
        host.edit("persistentvolumes", "", name.trim_start_matches('/'), |volume| {
            volume["spec"]["persistentVolumeReclaimPolicy"] = json!("Retain");
            volume["metadata"]["annotations"][BEFORE] = json!("Delete");
            volume["metadata"]["annotations"][RECORD] = json!("{}");
        });
    }
}

/// The secrets that have a new name.
fn copies(host: &Host) -> Vec<Value> {
    let is_copy = |secret: &Value| {
        let name = secret["metadata"]["name"].as_str().unwrap();
        name.starts_with("stackspin-") && name.ends_with("-variables")
    };
    host.objects("secrets").into_iter().filter(is_copy).collect()
}

fn policies(host: &Host) -> Vec<String> {
    let policy =
        |volume: &Value| volume["spec"]["persistentVolumeReclaimPolicy"].as_str().unwrap().to_owned();
    host.objects("persistentvolumes").iter().map(policy).collect()
}

#[test]
fn volumes_get_their_policy_back_and_what_was_copied_goes_once_all_is_well() {
    let sick = renamed_cluster("sick").fault(Fault::FailingPod);
    let old = HostSpec::new("old").version(Version::V0_7).apps(["wordpress"]);
    let bench = Bench::new(vec![renamed_cluster("one"), sick, old]);
    let one = bench.host("one");
    for name in ["one", "sick"] {
        leave(bench.host(name));
    }
    let before = (secrets(one, "oas-"), secrets(one, "stackspin-"));
    let volumes = policies(one).len();
    assert!(before.0.len() > 5 && volumes > 2, "{before:?}");

    let shown = bench.fleet(&["cleanup", "0.8", "--all"]).ends(64);
    for text in [
        "old: refused. 0.7 is installed",
        "fleet upgrade --to 0.8 --on old",
        "sick: refused. warnings that nobody acknowledged: pods",
        "fleet check --on sick",
        "flux-system/oas-cluster-variables stays: flux-system/stackspin-cluster-variables has not the same in domain",
        "flux-system/oas-rocketchat-variables stays: there is no flux-system/stackspin-rocketchat-variables",
        "kube-system/oas-local-path-provisioner-override is deleted (configmaps)",
        "CronJob flux-system/suspend-old acts on a source that is no more",
        "gets policy Delete back: deleted claims then take their data along",
    ] {
        assert!(shown.out.replace("\n    ", " ").contains(text), "{text:?}: {}", shown.out);
    }
    assert_eq!((secrets(one, "oas-"), policies(one)), (before.0.clone(), vec!["Retain".to_owned(); volumes]));

    let ran = bench.fleet(&["cleanup", "0.8", "--all", "--yes"]).ends(5);
    assert_eq!(policies(one), vec!["Delete".to_owned(); volumes]);
    for volume in one.objects("persistentvolumes") {
        let annotations = &volume["metadata"]["annotations"];
        assert!(annotations[BEFORE].is_null() && annotations[RECORD].is_null(), "{volume:#}");
    }
    let kept = ["flux-system/oas-cluster-variables", "flux-system/oas-rocketchat-variables"];
    assert_eq!(secrets(one, "oas-"), kept);
    assert_eq!(secrets(one, "stackspin-"), before.1);
    assert!(one.object("configmaps", "kube-system", "oas-local-path-provisioner-override").is_none());
    assert!(one.object("configmaps", "kube-system", "stackspin-local-path-provisioner-override").is_some());
    assert!(one.object("cronjobs", FLUX, "suspend-old").is_some(), "what is only told is left alone");
    // The refused ones are as they were.
    assert!(policies(bench.host("sick")).iter().all(|policy| policy == "Retain"));
    assert!(!secrets(bench.host("old"), "oas-").is_empty());

    // Again: nothing. By its name, one that has no copy goes as well, and its copy here can be put back.
    let again = bench.fleet(&["cleanup", "0.8", "--on", "one", "--yes"]).ends(0);
    assert!(again.out.contains("one: nothing to clean up"), "{}", again.out);
    let words = ["cleanup", "0.8", "--on", "one", "--yes", "--also", kept[1], "--also", "flux-system/oas-x"];
    let also = bench.fleet(&words).ends(0);
    assert!(also.out.contains("flux-system/oas-x, of --also, is not there"), "{}", also.out);
    assert_eq!(secrets(one, "oas-"), kept[..1]);
    let copy = bench.run().join("one/kept/secrets_flux-system_oas-rocketchat-variables.json");
    assert_eq!(fs::metadata(&copy).unwrap().permissions().mode() & 0o777, 0o600);
    let line = format!("k3s kubectl create --validate=false -f - < {}", copy.display());
    let line = format!("PATH={}:$PATH; {line}", one.folder().join("bin").display());
    assert!(std::process::Command::new("sh").arg("-c").arg(line).status().unwrap().success());
    assert_eq!(secrets(one, "oas-"), kept);

    // No value is anywhere but in the copies.
    let said = format!("{}{}{}{}", shown.out, ran.out, also.out, one.commands().join("\n"));
    assert!(!said.contains("hunter2") && !said.contains(&STANDARD.encode("hunter2-rocket")), "{said}");
    for (path, bytes) in files(&bench.path("runs")) {
        let copy = path.parent().unwrap().ends_with("kept");
        assert!(copy || !holds(&bytes, STANDARD.encode("hunter2-rocket").as_bytes()), "{path:?}");
    }
}

#[test]
fn a_clean_up_that_failed_in_the_middle_is_gone_on_with_and_what_is_unwell_meanwhile_is_refused() {
    let bench = Bench::new(vec![renamed_cluster("one")]);
    let one = bench.host("one");
    leave(one);
    real_kubectl(one);
    let fault = Fault::CommandFails("kubectl delete secrets".to_owned());
    one.inject(fault.clone());
    bench.fleet(&["cleanup", "0.8", "--on", "one", "--yes"]).ends(3);
    assert_eq!(bench.report("one")["failure"]["cause"], "not-deleted");
    assert!(policies(one).iter().all(|policy| policy == "Delete"));
    assert!(!secrets(one, "oas-").is_empty());
    one.heal(&fault);

    one.edit("kustomizations", FLUX, "core", |object| object["spec"]["suspend"] = json!(true));
    let refused = bench.fleet(&["cleanup", "0.8", "--on", "one", "--yes"]).ends(5);
    assert!(refused.out.replace("\n    ", " ").contains("core is suspended"), "{}", refused.out);
    // What is deleted may be deleted twice: a lost line is made again.
    one.inject(Fault::ConnectionDropsAfter("kubectl delete secrets".to_owned()));
    bench.fleet(&["cleanup", "0.8", "--on", "one", "--yes", "--ack", "converged"]).ends(0);
    assert_eq!(secrets(one, "oas-").len(), 2);
}

/// The lock of a process that was killed is broken, as an operator does once its last sign of life is old.
fn break_lock(bench: &Bench, host: &Host, cluster: &str) {
    let beats = fs::read_dir(host.folder().join("spool")).unwrap().map(|entry| entry.unwrap().path());
    for beat in beats.filter(|path| path.file_name().unwrap().to_str().unwrap().starts_with("beat.")) {
        fs::write(beat, format!("another-boot {:>12}\n", 0)).unwrap();
    }
    bench.fleet(&["lock", "break", cluster, "--why", "killed by this test"]).ends(0);
}

#[test]
fn a_clean_up_that_is_killed_after_any_of_its_commands_is_ended_by_the_next_and_nothing_goes_without_its_copy()
 {
    let bench = Bench::new(vec![renamed_cluster("one")]);
    let one = bench.host("one");
    leave(one);
    let (olds, volumes) = (secrets(one, "oas-").len(), policies(one).len());
    let words = ["cleanup", "0.8", "--on", "one", "--yes"];
    let mut killed = 0;
    loop {
        let mut command = bench.command(&words);
        shim::strike(&mut command, "before", r#""what":"ran","step":"cleanup"#);
        command.env("CRASH_NTH", "3");
        let ran = run(&mut command);
        for name in ["cluster-variables", "rocketchat-variables"] {
            assert!(one.object("secrets", FLUX, &format!("oas-{name}")).is_some(), "{name} has no copy");
        }
        let Some(code) = ran.code else {
            killed += 1;
            assert!(killed < 30, "it does not come to its end: {}", ran.err);
            break_lock(&bench, one, "one");
            continue;
        };
        assert_eq!(code, 0, "{}{}", ran.out, ran.err);
        break;
    }
    assert!(killed > 2, "it was killed {killed} times");
    assert_eq!(policies(one), vec!["Delete".to_owned(); volumes]);
    assert_eq!(secrets(one, "oas-").len(), 2, "of {olds}");
    assert!(left_on_spool(one).is_empty(), "{:?}", left_on_spool(one));
}

/// What the Nextcloud of a host knows.
fn cloud(host: &Host) -> Nextcloud {
    serde_json::from_slice(&fs::read(host.folder().join("container/nextcloud.json")).unwrap()).unwrap()
}

/// Gives a host's Nextcloud users with a file each; the one of the last cannot be transferred.
fn people(host: &Host, ids: &[&str]) {
    let users = ids.iter().map(|id| ((*id).to_owned(), format!("{id} of acme"))).collect();
    let files = ids.iter().map(|id| ((*id).to_owned(), vec!["a.txt".to_owned()])).collect();
    let broken = (*ids.last().unwrap()).to_owned();
    let cloud = Nextcloud { users, files, broken, ..Nextcloud::default() };
    fs::create_dir_all(host.folder().join("container")).unwrap();
    fs::write(host.folder().join("container/nextcloud.json"), serde_json::to_vec(&cloud).unwrap()).unwrap();
}

#[test]
fn files_go_to_who_their_users_are_now_once_and_one_that_fails_leaves_the_others() {
    let bench = Bench::new(vec![
        HostSpec::new("one").version(Version::V0_8).apps(["nextcloud"]),
        renamed_cluster("none"),
    ]);
    let one = bench.host("one");
    let (hostile, new) = ("oas-o'h $(reboot)", "stackspin-2");
    people(one, &["oas-editor", hostile, "stackspin-1", new, "stackspin-3", "oas-guest"]);
    let map = bench.path("map.csv");
    fs::write(
        &map,
        "old,new\nguest,stackspin-3\neditor,stackspin-1\no'h $(reboot),stackspin-2\nboard,stackspin-4\n",
    )
    .unwrap();
    let words = ["nextcloud", "transfer-files", "one", "--map", map.to_str().unwrap()];

    let listed = bench.fleet(&["nextcloud", "users", "one"]).ends(0);
    assert!(listed.out.contains("oas-editor of acme"), "{}", listed.out);
    let none = bench.fleet(&["nextcloud", "users", "none"]).ends(3);
    assert!(none.err.contains("Nextcloud cannot be asked"), "{}", none.err);

    let shown = bench.fleet(&words).ends(64);
    for text in [
        "oas-editor -> stackspin-1: to be transferred",
        "oas-board -> stackspin-4: not transferred: there is no user oas-board",
        "3 of 4 users",
    ] {
        assert!(shown.out.contains(text), "{text:?}: {}", shown.out);
    }
    assert!(cloud(one).files["oas-editor"] == ["a.txt"], "nobody has said yes");

    let yes = [&words[..], &["--yes"]].concat();
    bench.fleet(&yes).ends(3);
    let report = bench.report("one");
    assert_eq!(
        (&report["failure"]["cause"], &report["outcome"]),
        (&json!("command-failed"), &json!("failed"))
    );
    let after = cloud(one);
    assert_eq!(after.files["stackspin-1"], ["a.txt", "Transferred from oas-editor/a.txt"]);
    assert_eq!(after.files[new], ["a.txt".to_owned(), format!("Transferred from {hostile}/a.txt")]);
    assert_eq!(after.files["oas-guest"], ["a.txt"]);
    assert_eq!(left_on_spool(one), Vec::<std::path::PathBuf>::new());

    // Those that are transferred are not transferred twice; what became of the other nobody knows, and a person says.
    let again = bench.fleet(&yes).ends(3);
    for text in
        ["was transferred to stackspin-1 before", "a transfer to stackspin-3 was begun", "0 of 4 users"]
    {
        assert!(again.out.replace("\n    ", " ").contains(text), "{text:?}: {}", again.out);
    }
    assert_eq!(cloud(one), after);
    let mut mended = after;
    mended.broken.clear();
    fs::write(one.folder().join("container/nextcloud.json"), serde_json::to_vec(&mended).unwrap()).unwrap();
    fs::write(&map, "guest,stackspin-3\n").unwrap();
    bench.fleet(&[&yes[..], &["--again"]].concat()).ends(0);
    assert_eq!(cloud(one).files["stackspin-3"], ["a.txt", "Transferred from oas-guest/a.txt"]);
}

#[test]
fn a_transfer_whose_line_is_lost_is_followed_to_its_end() {
    let bench = Bench::new(vec![HostSpec::new("one").version(Version::V0_8).apps(["nextcloud"])]);
    let one = bench.host("one");
    people(one, &["oas-editor", "stackspin-1", "broken"]);
    one.inject(Fault::ConnectionDropsAfter("files:transfer-ownership".to_owned()));
    let map = bench.path("map.toml");
    fs::write(&map, "editor = \"stackspin-1\"\n").unwrap();
    bench.fleet(&["nextcloud", "transfer-files", "one", "--map", map.to_str().unwrap(), "--yes"]).ends(0);
    assert_eq!(cloud(one).files["stackspin-1"], ["a.txt", "Transferred from oas-editor/a.txt"]);
    assert_eq!(cloud(one).settings["oas-editor"]["stackspin-fleet transfer"], "done stackspin-1");
}
