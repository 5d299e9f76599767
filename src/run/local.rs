//! One of upstream's scripts: laid out, given the cluster's API through SSH, and followed to its end.
//!
//! Its exit status decides. One that was ended, because its time was over or the line was lost, leaves a doubt: what it had asked of the
//! cluster may have been done or not.

use std::io::sink;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

use tokio::time::Instant;

use super::Wish;
use super::job::millis;
use super::scribe::{Scribe, Trouble, here, lost};
use crate::event::Failure;
use crate::facts::scripts::PYTHON;
use crate::inventory::Cluster;
use crate::kubeconfig::{self, KubeconfigError};
use crate::plan::{Local, Step};
use crate::remote::{Command, Exit, Forward, Remote, RemoteError};
use crate::upstream::{self, End, Release, Running};

/// Where to read on.
const READ: &str = "docs/scripts.md#when-a-script-fails";
/// How often the host is asked meanwhile whether its lock is still ours.
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// The cause of a script that ended by itself, and not well.
pub(super) const FAILED: &str = "script-failed";
/// The cause of a script that never began.
pub(super) const NOT_STARTED: &str = "script-not-started";

/// What the scripts of a run stand on.
#[derive(Debug)]
pub struct Place {
    /// The cluster.
    pub cluster: Cluster,
    /// The folder of all releases.
    pub folder: PathBuf,
    /// The run's id.
    pub run: String,
}

impl Place {
    /// That of this wish.
    #[must_use]
    pub fn of(wish: Wish<'_>) -> Self {
        let Wish { cluster, folder, .. } = wish;
        Self { cluster: cluster.clone(), folder: folder.scripts(), run: folder.run() }
    }

    /// What every process of a step's script carries.
    fn mark(&self, step: &str) -> String {
        format!("{}/{}/{step}", self.run, self.cluster.name)
    }
}

/// Carries a script out within the step's time.
pub async fn carry<R: Remote>(
    remote: &R,
    step: &Step,
    script: &Local,
    place: &Place,
    scribe: &mut Scribe<'_>,
) -> Result<(), Trouble> {
    let ends = Instant::now() + step.deadline;
    let release = lay(script, place, ends, scribe).await?;
    let kubeconfig = kubeconfig::read(remote, &place.cluster).await.map_err(|error| match error {
        KubeconfigError::Remote(error) => before(&error),
        other => not_started(&other.to_string()),
    })?;
    let way = remote.forward(kubeconfig.port()).await.map_err(|error| before(&error))?;
    let file = kubeconfig.file(way.port).map_err(|error| here(&error))?;
    let command =
        release.command(script, &file.path(), &place.mark(&step.id)).map_err(|why| not_started(&why))?;
    scribe.note(format!("starts {script} in {}", release.tree.display()))?;
    scribe.log(format!("$ {script}\n").as_bytes())?;
    let began = Instant::now();
    let running = Running::start(command, Some(&place.mark(&step.id)))
        .map_err(|error| not_started(&format!("{script} cannot be started: {error}")))?;
    let (exit, ended) = follow(remote, running, way, step, script, ends, scribe).await?;
    scribe.ran(&script.to_string(), &exit, millis(began))?;
    ended
}

async fn lay(
    script: &Local,
    place: &Place,
    ends: Instant,
    scribe: &mut Scribe<'_>,
) -> Result<Release, Trouble> {
    let Some(checkout) = &place.cluster.stackspin else {
        return Err(not_started("the inventory names no Stackspin checkout: stackspin = \"…\""));
    };
    let python = place.cluster.python.as_deref().unwrap_or(Path::new(PYTHON));
    let at = upstream::Place { checkout, python, folder: &place.folder };
    upstream::lay(at, script, ends, scribe.writer()).await.map_err(|why| not_started(&why))
}

/// Follows it to its end: what is to be written down of that, and what it means.
async fn follow<R: Remote>(
    remote: &R,
    mut running: Running,
    way: Forward,
    step: &Step,
    script: &Local,
    ends: Instant,
    scribe: &mut Scribe<'_>,
) -> Result<(String, Result<(), Trouble>), Trouble> {
    let mut serving = way.serving;
    let ended = tokio::select! {
        // A script that fails because its way is gone has not failed by itself.
        biased;
        gone = &mut serving => Err(gone),
        lost = fenced_off(remote) => Err(lost),
        end = running.follow(ends, scribe.writer()) => Ok(end.map_err(|error| lost_sight(script, &error))?),
    };
    Ok(match ended {
        Ok(End::Exited(status)) if status.success() => (exit(status).to_string(), Ok(())),
        Ok(End::Exited(status)) => {
            let exit = exit(status).to_string();
            let said = format!("`{script}` ended with {exit}: {}", running.complaint());
            (exit, Err(Trouble::Failed(Failure::new(FAILED, said).read(READ))))
        }
        Ok(End::Overdue) => {
            let seconds = step.deadline.as_secs();
            let said = format!(
                "`{script}` did not end within the step's {seconds} s and was ended with all that it had started; what it had asked of \
                 the cluster may have been done: {}",
                running.complaint()
            );
            let failure = Failure::new("deadline", said).read("docs/operating.md#in-doubt");
            (format!("no end within {seconds} s"), Err(Trouble::InDoubt(failure)))
        }
        Err(gone) => {
            running.end(scribe.writer()).await.map_err(|error| lost_sight(script, &error))?;
            let why = if matches!(gone, RemoteError::LockLost(_)) {
                "somebody else may be at work on the cluster"
            } else {
                "its way to the cluster is gone"
            };
            let said = format!(
                "`{script}` was ended, because {why}: {gone}; what it had asked of the cluster may have been done"
            );
            let failure = Failure::new(gone.kind(), said).read("docs/operating.md#in-doubt");
            (gone.to_string(), Err(Trouble::InDoubt(failure)))
        }
    })
}

/// Ends once the host says that its lock is not ours any more. A script's own requests go through the tunnel, past the guard that every command
/// has: until it ends, nothing but this would tell.
async fn fenced_off<R: Remote>(remote: &R) -> RemoteError {
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        // A host that does not answer now has not said so; that its line is gone, the way itself tells.
        if let Err(lost @ RemoteError::LockLost(_)) = remote.run(&Command::new(":"), &mut sink()).await {
            return lost;
        }
    }
}

/// This machine could not follow it to its end.
fn lost_sight(script: &Local, error: &std::io::Error) -> Trouble {
    let said = format!("on this machine: nobody can tell how `{script}` ended: {error}");
    Trouble::InDoubt(Failure::new("this-machine", said).read("docs/operating.md#in-doubt"))
}

/// Why the step is not gone on with: what an earlier process started for it runs on, without a way to the cluster.
#[must_use]
pub fn still_runs(step: &Step, place: &Place) -> Option<Failure> {
    let alive: Vec<String> = upstream::alive(&place.mark(&step.id)).iter().map(ToString::to_string).collect();
    let pids = alive.join(" ");
    (!alive.is_empty()).then(|| {
        let said = format!(
            "the script that an earlier fleet started for {} still runs on this machine, and has no way to the cluster any more. End it \
             (kill {pids}) or wait for its end, then: fleet resume {}",
            step.id, place.run
        );
        Failure::new("script-runs", said).read(READ)
    })
}

fn exit(status: ExitStatus) -> Exit {
    use std::os::unix::process::ExitStatusExt as _;

    match status.code().and_then(|code| u32::try_from(code).ok()) {
        Some(code) => Exit::Code(code),
        None => Exit::Signal(status.signal().unwrap_or_default().to_string()),
    }
}

/// The host's trouble before the script was started: nothing is in doubt.
fn before(error: &RemoteError) -> Trouble {
    if error.in_doubt() { not_started(&error.to_string()) } else { lost(error) }
}

fn not_started(why: &str) -> Trouble {
    Trouble::Failed(Failure::new(NOT_STARTED, format!("the script was not started: {why}")).read(READ))
}

#[cfg(test)]
mod tests;
