//! Carrying out `Action::WaitUntil`: the loop of the house that changes nothing by itself.
//!
//! A probe is asked again and again, ever more slowly, until it is reached, can never be, or the step's deadline comes. Meanwhile the
//! remedies that the step names may be used, each bounded, each journalled. A lost answer is no answer: the API is away for seconds
//! while k3s restarts.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use super::{Scribe, Trouble};
use crate::event::{Failure, What};
use crate::plan::Probe;
use crate::probes::{self, Progress, Stuck};
use crate::remedies::{self, Remedy, SETTLE};
use crate::remote::Remote;

const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(15);
/// How many stuck objects a message names.
const NAMED: usize = 5;

/// How often each remedy was used on each object, and when last.
pub(super) type Used = BTreeMap<(&'static str, String), (u32, Instant)>;

/// Waits until the probe is reached.
pub async fn until<R: Remote>(
    remote: &R,
    probe: &Probe,
    allowed: &[String],
    deadline: Duration,
    scribe: &mut Scribe<'_>,
) -> Result<(), Trouble> {
    let ends = Instant::now() + deadline;
    let allowed: Vec<&'static Remedy> = allowed.iter().filter_map(|id| remedies::find(id)).collect();
    let mut used = Used::new();
    let mut told = String::new();
    let mut pause = FIRST_PAUSE;
    loop {
        let stuck = match look(remote, probe, scribe).await? {
            Progress::Reached(what) => return scribe.note(what),
            Progress::Never(why) => return Err(failed("never-so", format!("{probe}: {why}"), None)),
            Progress::NotYet(stuck) => stuck,
        };
        let now = summary(&stuck);
        if now != told {
            scribe.note(format!("waiting: {now}"))?;
            told = now;
        }
        cure(remote, &stuck, &allowed, &mut used, scribe).await?;
        if let Some(hopeless) = stuck.iter().find(|stuck| stuck.terminal && hopeless(stuck, &allowed, &used))
        {
            let said = format!("waiting will not help: {hopeless}");
            return Err(failed("terminal-state", said, remedies::known(hopeless)));
        }
        let left = ends.saturating_duration_since(Instant::now());
        if left.is_zero() {
            let why = format!("not so within {} minutes: {probe}; in the way: {told}", minutes(deadline));
            let root = stuck.iter().find(|stuck| !remedies::waits(stuck));
            return Err(failed("wait-deadline", why, root.and_then(remedies::known)));
        }
        tokio::time::sleep(pause.min(left)).await;
        pause = pause.mul_f32(1.5).min(LONGEST_PAUSE);
    }
}

/// One look. A command that fails, or has no end, is the API's absence; only a connection that stays lost is trouble
/// of its own.
pub(super) async fn look<R: Remote>(
    remote: &R,
    probe: &Probe,
    scribe: &mut Scribe<'_>,
) -> Result<Progress, Trouble> {
    let command = probes::ask(probe);
    let Some(output) = scribe.look(remote, &command).await? else {
        let allowed = command.time_allowed().as_secs();
        return Ok(probes::waiting_for_api(&format!("no answer within {allowed} s")));
    };
    Ok(if !output.success() {
        probes::waiting_for_api(&output.complaint())
    } else if output.dropped > 0 {
        probes::waiting_for_api("its answer is larger than 64 MiB")
    } else {
        probes::judge(probe, &output.text())
    })
}

/// Uses the remedies that these objects look like, each within its bound; whether there was one.
pub(super) async fn cure<R: Remote>(
    remote: &R,
    stuck: &[Stuck],
    allowed: &[&'static Remedy],
    used: &mut Used,
    scribe: &mut Scribe<'_>,
) -> Result<bool, Trouble> {
    let mut cured = false;
    for stuck in stuck {
        let Some(remedy) = allowed.iter().find(|remedy| (remedy.looks_like)(stuck)) else { continue };
        let key = key(remedy, stuck);
        let time = match used.get(&key) {
            Some((times, last)) if *times >= remedy.most || last.elapsed() < SETTLE => continue,
            Some((times, _)) => times + 1,
            None => 1,
        };
        scribe.record(What::Remedied {
            step: scribe.step().to_owned(),
            remedy: remedy.id.to_owned(),
            object: stuck.to_string(),
            time,
        })?;
        used.insert(key, (time, Instant::now()));
        cured = true;
        for command in (remedy.cure)(stuck, time) {
            // A cure that cannot be given now is tried again in its turn; the bound counts it all the same.
            scribe.ask(remote, &command).await?;
        }
    }
    Ok(cured)
}

/// A terminal state is hopeless when no remedy for it is left and the last one has had its time.
fn hopeless(stuck: &Stuck, allowed: &[&'static Remedy], used: &Used) -> bool {
    let Some(remedy) = allowed.iter().find(|remedy| (remedy.looks_like)(stuck)) else { return true };
    used.get(&key(remedy, stuck))
        .is_some_and(|(times, last)| *times >= remedy.most && last.elapsed() >= SETTLE)
}

fn key(remedy: &Remedy, stuck: &Stuck) -> (&'static str, String) {
    (remedy.id, format!("{} {}/{}", stuck.kind, stuck.namespace, stuck.name))
}

/// What is ill by itself comes before what only waits for it.
fn summary(stuck: &[Stuck]) -> String {
    let (waiting, ill): (Vec<&Stuck>, Vec<&Stuck>) = stuck.iter().partition(|stuck| remedies::waits(stuck));
    let mut named: Vec<String> = ill.iter().chain(&waiting).take(NAMED).map(ToString::to_string).collect();
    if stuck.len() > NAMED {
        named.push(format!("and {} more", stuck.len() - NAMED));
    }
    named.join("; ")
}

#[expect(clippy::integer_division, reason = "whole minutes are exact enough for a sentence")]
const fn minutes(duration: Duration) -> u64 {
    duration.as_secs() / 60
}

fn failed(cause: &str, message: String, known: Option<&Remedy>) -> Trouble {
    let page = known.map_or_else(|| "docs/operating.md#when-waiting-fails".to_owned(), Remedy::page);
    Trouble::Failed(Failure::new(cause, message).read(page))
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::atomic::{AtomicU32, Ordering};

    use tokio::io::AsyncWrite;

    use super::*;
    use crate::journal::Journal;
    use crate::remote::{Command, Exit, Output, RemoteError};

    /// A host whose API hangs for the first question and answers the second.
    struct Slow(AtomicU32);

    impl Remote for Slow {
        async fn run(&self, command: &Command, _: &mut (dyn Write + Send)) -> Result<Output, RemoteError> {
            if self.0.fetch_add(1, Ordering::Relaxed) == 0 {
                return Err(RemoteError::Deadline(command.time_allowed()));
            }
            let stdout = br#"{"kind":"List","items":[]}"#.to_vec();
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

    #[test]
    fn what_is_ill_is_named_before_whatever_waits_for_it() {
        let waits = |name: &str| {
            let message = "dependency 'flux-system/core' is not ready";
            crate::remedies::tests::stuck("Kustomization", "flux-system", name, message)
        };
        let mut stuck: Vec<Stuck> = (1..=6).map(|number| waits(&format!("app-{number}"))).collect();
        stuck.push(crate::remedies::tests::stuck("Kustomization", "flux-system", "core", "it is ill"));
        let said = summary(&stuck);
        assert!(said.starts_with("Kustomization flux-system/core: it is ill; "), "{said}");
        assert!(said.ends_with("app-4: dependency 'flux-system/core' is not ready; and 2 more"), "{said}");
    }

    #[tokio::test(start_paused = true)]
    async fn an_api_that_hangs_once_is_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let mut journal = Journal::create(&folder.path().join("journal.ndjson"), "acme", None).unwrap();
        let mut scribe = Scribe::new(&mut journal, "to-0.7/gone", &folder.path().join("log")).unwrap();
        let probe = Probe::ReleaseGone { name: "oas-secrets".into() };
        let waited =
            until(&Slow(AtomicU32::new(0)), &probe, &[], Duration::from_secs(600), &mut scribe).await;
        assert_eq!(waited, Ok(()));
    }
}
