//! The rungs that upstream's own scripts climb, on simulated hosts, with a stand-in for upstream's repository.
#![expect(clippy::unwrap_used, reason = "what cannot be set up fails its test")]

mod lab_support;
mod upstream_repo;

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use fleet::lab::{Fault, Host, HostSpec};
use fleet::version::Version;
use lab_support::{left_on_spool, real_kubectl, tree};
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
    let id = up.bench.run();
    let id = id.file_name().unwrap().to_str().unwrap();
    up.fleet(&["resume", id]).ends(0);
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
