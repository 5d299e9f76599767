//! The rungs that upstream's own scripts climb, on simulated hosts, with a stand-in for upstream's repository.
#![expect(clippy::unwrap_used, reason = "what cannot be set up fails its test")]

mod lab_support;
mod upstream_repo;

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::Stdio;

use fleet::lab::{Fault, Host, HostSpec};
use fleet::version::Version;
use lab_support::{acknowledging, left_on_spool, real_kubectl, tree, until};
use serde_json::Value;
use upstream_repo::bench::Upstream;

/// The data of all secrets that are nobody's but the applications'.
fn secrets(host: &Host) -> BTreeMap<String, Value> {
    let secrets = host.objects("secrets").into_iter().filter_map(|secret| {
        let name = secret["metadata"]["name"].as_str()?.to_owned();
        let kept = name.ends_with("-variables") || name.ends_with("-basic-auth");
        kept.then(|| (name, secret["data"].clone()))
    });
    secrets.collect()
}

/// The remedies that a report tells, each with the object it was used on.
fn remedies(report: &Value) -> Vec<String> {
    let used = report["remedies"].as_array().unwrap().iter();
    let mut used: Vec<String> = used.map(|used| used["remedy"].as_str().unwrap().to_owned()).collect();
    used.sort();
    used.dedup();
    used
}

#[test]
fn clusters_of_0_8_go_up_to_2_by_upstreams_scripts_through_every_fault_that_the_guide_knows() {
    let all = HostSpec::new("all").version(Version::V0_8);
    let up = Upstream::new(vec![
        all.fault(Fault::WebhookAway).fault(Fault::OldOnlyoffice),
        HostSpec {
            source_suspended: true,
            ..HostSpec::new("few").version(Version::V1_0).apps(["wordpress"])
        },
    ]);
    real_kubectl(up.bench.host("few"));
    let before: Vec<_> =
        up.bench.lab.hosts().map(|host| (host, secrets(host), tree(&host.storage(), &[]))).collect();
    up.upgrade(&["--all"]).ends(0);

    for (host, secrets_before, volumes) in before {
        let name = host.spec().name.as_str();
        let report = up.bench.report(name);
        assert_eq!(report["outcome"], "done", "{name}: {}", report["failure"]);
        let source = host.object("gitrepositories", "flux-system", "stackspin").unwrap();
        assert_eq!(source["spec"]["ref"]["branch"], "v2", "{name}");
        assert_eq!(source["spec"]["suspend"] == Value::Bool(true), host.spec().source_suspended, "{name}");
        for kustomization in host.objects("kustomizations") {
            let applied = kustomization["status"]["lastAppliedRevision"].as_str().unwrap();
            assert!(applied.starts_with("v2"), "{name}: {kustomization}");
        }
        assert!(
            !secrets_before.is_empty() && secrets_before == secrets(host),
            "{name}: its secrets have changed"
        );
        assert!(!volumes.is_empty(), "{name} has volumes to lose");
        assert!(volumes == tree(&host.storage(), &[]), "{name}: its volumes have changed");
        assert_eq!(left_on_spool(host), Vec::<PathBuf>::new(), "{name}");
    }

    let scripts = ["install", "upgrade", "upgrade", "upgrade"];
    assert_eq!(up.ran("all"), [&scripts[..], &["fix-app nextcloud", "fix-app zulip"]].concat());
    assert_eq!(up.ran("few"), ["upgrade", "upgrade"], "twice, for the DaemonSet");
    for (name, wanted) in
        [("all", &["node-exporter", "onlyoffice", "webhook"][..]), ("few", &["node-exporter"])]
    {
        let told = remedies(&up.bench.report(name));
        assert!(wanted.iter().all(|remedy| told.iter().any(|one| one == remedy)), "{name}: {told:?}");
    }
    let at = upstream_repo::git(&up.checkout, &["status", "--porcelain", "--branch"]);
    assert_eq!(at, "## main\n", "the operator's checkout is as it was");
}

#[test]
fn a_script_that_fails_stops_its_cluster_and_is_run_again_by_resume_where_the_guide_says_that_it_may() {
    let up = Upstream::new(vec![HostSpec::new("oak").version(Version::V1_0).apps(["wordpress"])]);
    let fails = up.checkout.join("clusters/oak/fails");
    fs::write(&fails, "").unwrap();
    up.upgrade(&["--all"]).ends(3);
    let report = up.bench.report("oak");
    assert_eq!(report["failed_step"], "to-2/upgrade");
    assert_eq!(report["failure"]["cause"], "script-failed");
    let said = report["failure"]["message"].as_str().unwrap();
    assert!(said.contains("it was told to fail"), "{said}");
    assert_eq!(remedies(&report), Vec::<String>::new(), "nothing of the cluster's is cured for it");
    assert_eq!(up.ran("oak"), ["upgrade"]);

    fs::remove_file(&fails).unwrap();
    up.resume().ends(0);
    assert_eq!(up.bench.report("oak")["outcome"], "done");
    assert_eq!(up.ran("oak"), ["upgrade", "upgrade", "upgrade"], "again, and once more for the DaemonSet");
}

#[test]
fn a_plan_to_2_says_which_scripts_run_and_when_and_asks_a_scriptless_machine_for_them() {
    let up = Upstream::new(vec![
        HostSpec::new("oak").version(Version::V1_0).apps(["zulip"]),
        HostSpec::new("elm").version(Version::V0_8).apps(["zulip"]),
    ]);
    let plan = up.fleet(&["plan", "--to", "2", "--on", "oak"]).ends(2).out;
    for said in [
        "$ bin/upgrade-scripts/to-2.0/upgrade.sh oak",
        "run again after a fault that a remedy knows: node-exporter",
        "$ bin/upgrade-scripts/to-2.0/fix-app.sh oak zulip",
        "only where this is not so: Helm release zulip is ready",
    ] {
        assert!(plan.contains(said), "no {said:?} in:\n{plan}");
    }
    assert!(!plan.contains("nextcloud"), "it is not installed:\n{plan}");
    let plan = up.fleet(&["plan", "--to", "2", "--on", "elm"]).ends(2).out;
    let outline = "to 2: about an hour and the copy, with Nextcloud or Zulip";
    for said in ["$ python -m stackspin elm install", "$ bin/upgrade-scripts/to-1.0/upgrade.sh elm", outline]
    {
        assert!(plan.contains(said), "no {said:?} in:\n{plan}");
    }
    upstream_repo::git(&up.checkout, &["branch", "-q", "-D", "v2"]);
    let refused = up.fleet(&["plan", "--to", "2", "--on", "oak"]).ends(5);
    assert!(refused.out.contains("has no branch v2"), "{refused:?}");
}

/// The data of the Secrets of an 0.7 cluster that go along, by their new names.
fn carried(host: &Host) -> BTreeMap<String, Value> {
    let new = |(name, data): (String, Value)| (name.replacen("oas-", "stackspin-", 1), data);
    secrets(host).into_iter().map(new).collect()
}

/// A ConfigMap or Secret with an operator's own values.
fn values(kind: &str, namespace: &str, name: &str, values: &str) -> Value {
    serde_json::json!({"apiVersion": "v1", "kind": kind, "data": {"values.yaml": values},
        "metadata": {"name": name, "namespace": namespace}})
}

/// Makes an object.
fn make(host: &Host, object: &Value) {
    host.store().apply(object);
    host.poke();
}

/// What would keep a claim in use, or start something that does: a cron job, a job, and a pod that has ended.
fn in_the_way(host: &Host) {
    let files = serde_json::json!({"containers": [], "volumes": [
        {"name": "files", "persistentVolumeClaim": {"claimName": "nextcloud-files"}}]});
    let named = |version: &str, kind: &str, name: &str| serde_json::json!({"apiVersion": version, "kind": kind, "metadata": {"name": name, "namespace": "oas-apps"}});
    let mut cron = named("batch/v1", "CronJob", "nc-cron");
    let template = serde_json::json!({"spec": {"template": {"spec": files}}});
    cron["spec"] = serde_json::json!({"schedule": "*/5 * * * *", "jobTemplate": template});
    let mut job = named("batch/v1", "Job", "nc-cron-1");
    job["spec"] = template["spec"].clone();
    let mut pod = named("v1", "Pod", "debug");
    pod["spec"] = files;
    pod["status"] = serde_json::json!({"phase": "Succeeded"});
    for object in [cron, job, pod] {
        make(host, &object);
    }
}

/// Claims by name, each with its namespace and volume.
fn claims(host: &Host) -> BTreeMap<String, (String, String)> {
    let claims = host.objects("persistentvolumeclaims").into_iter().map(|claim| {
        let text = |pointer: &str| claim.pointer(pointer).and_then(Value::as_str).unwrap_or("").to_owned();
        (text("/metadata/name"), (text("/metadata/namespace"), text("/spec/volumeName")))
    });
    claims.collect()
}

#[test]
fn clusters_of_0_7_become_stackspin_with_every_byte_of_volumes_secrets_and_overrides_and_only_their_own_applications()
 {
    let all = HostSpec::new("all").version(Version::V0_7);
    let two = HostSpec::new("two").version(Version::V0_7).apps(["nextcloud", "wordpress"]);
    let up = Upstream::new(vec![all.fault(Fault::OldOnlyoffice), HostSpec { source_suspended: true, ..two }]);
    real_kubectl(up.bench.host("two"));
    let mut before = Vec::new();
    for host in up.bench.lab.hosts() {
        make(host, &values("ConfigMap", "oas", "oas-loki-override", "replicas: 2\n"));
        make(
            host,
            &values("ConfigMap", "kube-system", "oas-local-path-provisioner-override", "keep: true\n"),
        );
        make(host, &values("Secret", "oas-apps", "oas-wordpress-override", "cGFzc3dvcmQ6IGh1bnRlcjIK"));
        in_the_way(host);
        before.push((host, carried(host), claims(host), tree(&host.storage(), &[])));
    }
    up.fleet(&acknowledging(&["upgrade", "--to", "0.8"], &["--all"])).ends(0);

    for (host, secrets_before, claims_before, volumes) in before {
        let name = host.spec().name.as_str();
        let report = up.bench.report(name);
        assert_eq!(report["outcome"], "done", "{name}: {}", report["failure"]);
        // Zulip has brought volumes of its own.
        let kept = tree(&host.storage(), &[]);
        let changed: Vec<_> = volumes.iter().filter(|(path, was)| kept.get(*path) != Some(*was)).collect();
        assert!(volumes.len() > 10 && changed.is_empty(), "{name}: its volumes have changed: {changed:?}");
        let (secrets, claims) = (secrets(host), claims(host));
        for (secret, data) in &secrets_before {
            assert_eq!(secrets.get(secret), Some(data), "{name}: {secret}");
        }
        for (claim, (namespace, volume)) in &claims_before {
            let new = (namespace.replacen("oas", "stackspin", 1), volume.clone());
            assert_eq!(claims.get(claim), Some(&new), "{name}: {claim}");
        }
        for (kind, namespace, object, values) in [
            ("configmaps", "stackspin", "stackspin-loki-override", "replicas: 2\n"),
            ("configmaps", "kube-system", "stackspin-local-path-provisioner-override", "keep: true\n"),
            (
                "configmaps",
                "stackspin-apps",
                "stackspin-nextcloud-override",
                "nextcloud:\n  defaultPhoneRegion: NL\n",
            ),
            ("secrets", "stackspin-apps", "stackspin-wordpress-override", "cGFzc3dvcmQ6IGh1bnRlcjIK"),
        ] {
            let found = host.object(kind, namespace, object).unwrap();
            assert_eq!(found["data"]["values.yaml"], values, "{name}: {object}");
        }
        let left: Vec<Value> = host
            .store()
            .all()
            .map(|(_, object)| (**object).clone())
            .filter(|object| {
                let of = |pointer: &str| {
                    matches!(object.pointer(pointer).and_then(Value::as_str), Some("oas" | "oas-apps"))
                };
                of("/metadata/namespace")
                    || of("/metadata/annotations/meta.helm.sh~1release-namespace")
                    || object["kind"] == "Namespace" && of("/metadata/name")
                    || object["kind"] == "GitRepository" && object["metadata"]["name"] == "openappstack"
            })
            .collect();
        assert!(left.is_empty(), "{name}: {left:#?}");
        assert_eq!(left_on_spool(host), Vec::<PathBuf>::new(), "{name}");
    }
    let apps = |name: &str| {
        let releases = up.bench.host(name).objects("helmreleases");
        let apps = releases.iter().filter(|release| release["metadata"]["namespace"] == "stackspin-apps");
        apps.map(|app| app["metadata"]["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(apps("all"), ["nextcloud", "wekan", "wordpress", "zulip"]);
    assert_eq!(apps("two"), ["nextcloud", "wordpress"]);
    let told = remedies(&up.bench.report("all"));
    assert!(told.iter().any(|remedy| remedy == "onlyoffice"), "{told:?}");
    assert_eq!(up.ran("two"), ["install-stackspin", "install-app nextcloud", "install-app wordpress"]);

    // All is well: what the renaming has left behind goes, and nothing else.
    let two = up.bench.host("two");
    let (kept, volumes) = (secrets(two), tree(&two.storage(), &[]));
    assert!(kept.keys().any(|name| name.starts_with("oas-")), "{kept:?}");
    up.fleet(&["cleanup", "0.8", "--on", "two", "--yes"]).ends(0);
    let new = kept.into_iter().filter(|(name, _)| !name.starts_with("oas-")).collect::<BTreeMap<_, _>>();
    assert_eq!(secrets(two), new);
    for volume in two.objects("persistentvolumes") {
        assert_eq!(volume["spec"]["persistentVolumeReclaimPolicy"], "Delete", "{volume:#}");
        assert_eq!(volume.pointer("/metadata/annotations/stackspin-fleet~1new-claim"), None);
    }
    assert!(volumes == tree(&two.storage(), &[]), "a volume has changed");
}

/// At the worst place: the claim is deleted, its volume is nobody's, and the next command never ends.
#[test]
fn a_fleet_that_is_killed_between_two_claims_of_one_volume_goes_on_where_it_was() {
    let hangs = Fault::CommandHangs("claimRef".to_owned());
    let oak = HostSpec::new("oak").version(Version::V0_7).apps(["wekan"]).fault(hangs.clone());
    let up = Upstream::new(vec![oak]);
    let host = up.bench.host("oak");
    let (secrets_before, claims_before) = (carried(host), claims(host));
    let before = tree(&host.storage(), &[]);
    let words = acknowledging(&["upgrade", "--to", "0.8"], &["--all"]);
    let mut fleet = up.command(&words).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    until("a volume is released", || {
        host.objects("persistentvolumes").iter().any(|volume| volume["status"]["phase"] == "Released")
    });
    fleet.kill().unwrap();
    fleet.wait().unwrap();

    let refused = up.fleet(&["plan", "--to", "0.8", "--on", "oak"]).ends(5);
    assert!(refused.out.contains("both GitRepositories openappstack and stackspin"), "{refused:?}");
    host.heal(&hangs);
    up.resume().ends(0);
    assert_eq!(up.bench.report("oak")["outcome"], "done");
    assert!(before == tree(&host.storage(), &[]), "its volumes have changed");
    let (secrets, claims) = (secrets(host), claims(host));
    assert!(secrets_before.iter().all(|(name, data)| secrets.get(name) == Some(data)));
    let moved = claims_before.iter().all(|(name, (namespace, volume))| {
        claims.get(name) == Some(&(namespace.replacen("oas", "stackspin", 1), volume.clone()))
    });
    assert!(moved && claims.len() == claims_before.len(), "{claims:#?}");
    assert_eq!(up.ran("oak"), ["install-stackspin", "install-app wekan"]);
}

#[test]
fn a_plan_from_0_6_shows_its_own_rung_exactly_and_the_others_in_outline() {
    let up = Upstream::new(vec![HostSpec::new("oak").apps(["wekan"])]);
    let plan = up.fleet(&["plan", "--to", "2", "--on", "oak"]).ends(2).out;
    for said in [
        "0.6 -> 0.7 (to-0.7)",
        "    to 0.8: about an hour and a half",
        "    to 1.0: about an hour",
        "    to 2: about an hour",
    ] {
        assert!(plan.contains(said), "no {said:?} in:\n{plan}");
    }
    assert!(!plan.contains("to-0.8/"), "{plan}");
}
