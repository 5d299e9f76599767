//! The source controller: branches become artifacts.

use std::time::Instant;

use serde_json::json;

use super::{Controllers, World};
use crate::lab::encoding::{now as date, sha1};
use crate::lab::faults::Fault;
use crate::lab::kinds::SOURCE;
use crate::lab::spec::{RevisionFormat, Vintage};
use crate::lab::store::Store;
use crate::version::Version;

/// Branches besides those of releases that the simulated Git server has.
const OTHER_BRANCHES: [&str; 2] = ["main", "feature/new-theme"];

pub(super) fn look(controllers: &mut Controllers, store: &mut Store, world: &World<'_>, now: Instant) {
    for (key, source) in super::snapshot(store, SOURCE) {
        if super::leaving(&source) {
            super::let_go(store, &key);
            continue;
        }
        // A suspended source is not looked at: no fetch, and its spec is not even read (facts section 5.3).
        if super::suspended(&source) {
            controllers.due.remove(&key);
            continue;
        }
        let fetched = !source["status"]["artifact"].is_null();
        let needed = !fetched
            || !super::current(&source)
            || !super::is_ready(&source)
            || super::asked(&source)
            || controllers.planned(&key);
        if !needed || !controllers.turn(&key, now, world.spec.pace.fetch) {
            continue;
        }
        let branch = source["spec"]["ref"]["branch"].as_str().unwrap_or("master").to_owned();
        let known = Version::from_branch(&branch).is_some_and(|version| version >= Version::V0_6)
            || OTHER_BRANCHES.contains(&branch.as_str());
        let trouble = if world.has(&Fault::SourceWontFetch) {
            Some("unable to clone: Get \"https://git.example.org/openappstack/info/refs?service=git-upload-pack\": dial tcp 203.0.113.9:443: i/o timeout".to_owned())
        } else if known {
            None
        } else {
            Some(format!("unable to clone: couldn't find remote ref \"refs/heads/{branch}\""))
        };
        if trouble.is_some() {
            controllers.again(&key, now + world.spec.pace.retry);
        }
        store.edit(&key, |object| {
            super::hold(object);
            super::handled(object);
            let vintage = world.spec.flux;
            if let Some(trouble) = trouble {
                let text = super::message(world, trouble);
                super::set_condition(object, vintage, "Ready", "False", "GitOperationFailed", &text);
                return;
            }
            let revision = revision(&branch, world.spec.revisions);
            if object["status"]["artifact"]["revision"] != json!(revision) {
                let path = format!("gitrepository/{}/{}/{}.tar.gz", key.namespace, key.name, sha1(&branch));
                object["status"]["artifact"] = json!({"revision": revision, "path": path,
                    "url": format!("http://source-controller.flux-system.svc.cluster.local./{path}"),
                    "checksum": sha1(&path), "lastUpdateTime": date()});
            }
            let (reason, text) = if vintage == Vintage::Beta1 {
                ("GitOperationSucceed", format!("Fetched revision: {revision}"))
            } else {
                ("Succeeded", format!("stored artifact for revision '{revision}'"))
            };
            super::set_condition(object, vintage, "Ready", "True", reason, &super::message(world, text));
        });
    }
}

/// The revision of a branch, as Flux of the time writes it.
fn revision(branch: &str, format: RevisionFormat) -> String {
    let commit = sha1(&format!("commit of {branch}"));
    match format {
        RevisionFormat::Slash => format!("{branch}/{commit}"),
        RevisionFormat::Digest => format!("{branch}@sha1:{commit}"),
    }
}
