//! A script of upstream's that is run only where it is needed, and again after a fault that a remedy knows (guide, "From 1.0 to 2": "please run
//! the upgrade script again").

use tokio::time::Instant;

use super::local::{self, FAILED, Place};
use super::{Scribe, Trouble, wait};
use crate::plan::{Local, Probe, Step};
use crate::probes::{Progress, Stuck};
use crate::remedies::{self, Remedy};
use crate::remote::Remote;
use crate::version::Version;

/// Carries a script out, as often as its remedies allow and within the step's time.
pub(super) async fn carry<R: Remote>(
    remote: &R,
    step: &Step,
    script: &Local,
    place: &Place,
    scribe: &mut Scribe<'_>,
) -> Result<(), Trouble> {
    if let Some(probe) = &script.unless
        && let Progress::Reached(what) = wait::look(remote, probe, scribe).await?
    {
        return scribe.note(format!("not needed: {what}"));
    }
    let ends = Instant::now() + step.deadline;
    let allowed: Vec<&'static Remedy> = script.remedies.iter().filter_map(|id| remedies::find(id)).collect();
    let mut used = wait::Used::new();
    loop {
        let rest = Step { deadline: ends.saturating_duration_since(Instant::now()), ..step.clone() };
        match local::carry(remote, &rest, script, place, scribe).await {
            Err(Trouble::Failed(failure))
                if failure.cause == FAILED && cured(remote, script, &allowed, &mut used, scribe).await? =>
            {
                scribe.note(format!("run again after a remedy: {}", failure.message))?;
            }
            ended => return ended.map_err(explained),
        }
    }
}

/// What a script has said of a fault that is known leads to what is known of it.
fn explained(trouble: Trouble) -> Trouble {
    match trouble {
        Trouble::Failed(failure) if failure.cause == FAILED => {
            let message = failure.message.clone();
            let (namespace, name) = (String::new(), String::new());
            let said = Stuck { kind: "Script", namespace, name, message, terminal: true };
            Trouble::Failed(match remedies::known(&said) {
                Some(known) => failure.read(known.page()),
                None => failure,
            })
        }
        other => other,
    }
}

/// Whether the cluster showed a fault that was cured.
async fn cured<R: Remote>(
    remote: &R,
    script: &Local,
    allowed: &[&'static Remedy],
    used: &mut wait::Used,
    scribe: &mut Scribe<'_>,
) -> Result<bool, Trouble> {
    let source = Version::from_branch(&script.release).and_then(Version::source);
    let Some(source) = source.filter(|_| !allowed.is_empty()) else { return Ok(false) };
    let probe = Probe::Converged { source: source.to_owned() };
    match wait::look(remote, &probe, scribe).await? {
        Progress::NotYet(stuck) => wait::cure(remote, &stuck, allowed, used, scribe).await,
        Progress::Reached(_) | Progress::Never(_) => Ok(false),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::time::Duration;

    use tokio::io::AsyncWrite;

    use super::*;
    use crate::event::Failure;
    use crate::inventory::Cluster;
    use crate::journal::Journal;
    use crate::plan::{Action, Class};
    use crate::remote::{Command, Exit, Output, RemoteError};

    /// A host whose Helm release zulip is ready, or not.
    struct Zulip(&'static str);

    impl Remote for Zulip {
        async fn run(&self, _: &Command, _: &mut (dyn Write + Send)) -> Result<Output, RemoteError> {
            let ready = serde_json::json!([{"type": "Ready", "status": self.0, "reason": "", "message": ""}]);
            let release = serde_json::json!({"kind": "HelmRelease", "spec": {}, "metadata": {"name": "zulip",
                "namespace": "stackspin-apps", "generation": 1}, "status": {"observedGeneration": 1, "conditions": ready}});
            let list = serde_json::json!({"kind": "List", "items": [release]});
            let stdout = list.to_string().into_bytes();
            Ok(Output { exit: Exit::Code(0), stdout, stderr: Vec::new(), dropped: 0 })
        }

        async fn stream(
            &self,
            command: &Command,
            _: &mut (dyn AsyncWrite + Unpin + Send),
        ) -> Result<Output, RemoteError> {
            Err(RemoteError::Deadline(command.time_allowed()))
        }
    }

    /// Here is no checkout: a script that is to be run cannot be.
    async fn fix_zulip(status: &'static str) -> Result<(), Trouble> {
        let folder = tempfile::tempdir().unwrap();
        let mut journal = Journal::create(&folder.path().join("journal.ndjson"), "acme", None).unwrap();
        let mut scribe = Scribe::new(&mut journal, "to-2/fix-zulip", &folder.path().join("log")).unwrap();
        let script = Local {
            release: "v2".into(),
            commit: "1".repeat(40),
            argv: vec!["bin/upgrade-scripts/to-2.0/fix-app.sh".into()],
            needs: Vec::new(),
            unless: Some(Probe::ReleaseReady { name: "zulip".into() }),
            remedies: Vec::new(),
        };
        let step = Step::new("to-2/fix-zulip", "Fix it", Class::Irreversible, Action::Local(script.clone()))
            .takes(Duration::from_secs(1), Duration::from_secs(5));
        let place = Place {
            cluster: Cluster::new("acme", "203.0.113.7"),
            folder: folder.path().join("scripts"),
            run: "run".into(),
        };
        carry(&Zulip(status), &step, &script, &place, &mut scribe).await
    }

    #[test]
    fn what_a_script_says_of_a_known_fault_leads_to_its_page() {
        let failed = |said: &str| Trouble::Failed(Failure::new(FAILED, said).read("docs/scripts.md"));
        let page = |said: &str| match explained(failed(said)) {
            Trouble::Failed(failure) => failure.read,
            other @ Trouble::InDoubt(_) => panic!("{other:?}"),
        };
        let said = "`install/install-app.sh wekan` ended with exit code 1: resource is suspended";
        assert_eq!(page(said), "docs/remedies.md#suspended");
        assert_eq!(page("`install/install-app.sh wekan` ended with exit code 1"), "docs/scripts.md");
    }

    #[tokio::test]
    async fn a_script_is_run_only_where_it_is_needed() {
        assert_eq!(fix_zulip("True").await, Ok(()));
        let Err(Trouble::Failed(failure)) = fix_zulip("False").await else {
            panic!("it was not run although it is needed")
        };
        assert_eq!(failure.cause, local::NOT_STARTED);
    }
}
