//! Carrying out `Action::Backup`: the copy of everything, with k3s stopped and started again whatever happens.
//!
//! Warm first (objects, sizes, the cluster's directory), then cold: the host's watchdog is armed, k3s stopped, every folder listed and
//! copied, k3s started, the watchdog disarmed. See `docs/backup.md`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::time::{Instant, timeout_at};

use super::scribe::{here, well};
use super::{Scribe, Trouble};
use crate::backup::manifest::{Manifest, Objects, Part, SCHEMA, Sealed, Volume, What};
use crate::backup::sink::Sink;
use crate::backup::{Folder, allowed, local, objects, sums};
use crate::event::Failure;
use crate::form;
use crate::jobs::Timer;
use crate::plan::Backup;
use crate::remote::{Command, Remote};

/// How long k3s stays stopped after the last sign of life of a copy under way; tar gives one every 10 MB.
const LEASE: Duration = Duration::from_secs(5 * 60);
/// How much longer than a command's own deadline its lease is.
const MARGIN: Duration = Duration::from_secs(60);
/// What is kept free on this machine.
const SPARE: u64 = 64 << 20;
/// Where to read on.
const READ: &str = "docs/backup.md#when-a-copy-fails";

/// The longest that starting k3s again and disarming the watchdog may take after a copy's own end.
pub const WAKING: Duration = Duration::from_secs(10 * 60);

/// Copies what the plan says into the folder. A stream that is cut is not begun again: when it would end, the copy is no longer one of
/// one moment. When this returns, k3s runs again, or the trouble says loudly that it does not. A copy that
/// is not done within `time` is given up; whoever drops it later than that must leave it [`WAKING`] besides, or k3s stays stopped until
/// the watchdog's lease is over.
pub async fn copy<R: Remote>(
    remote: &R,
    what: &Backup,
    folder: &Folder,
    time: Duration,
    scribe: &mut Scribe<'_>,
) -> Result<(), Trouble> {
    let ends = Instant::now() + time;
    let parts = parts(remote, what, scribe).await.map_err(not_stopped)?;
    room(remote, &parts, folder, scribe).await.map_err(not_stopped)?;
    let k3s = scribe.repeat(remote, &Command::new("k3s --version")).await.map_err(not_stopped)?;
    let k3s = k3s.text().split_whitespace().nth(2).map(crate::remote::printable).unwrap_or_default();
    let mut archived = Vec::new();
    if let Some(directory) = &what.cluster_dir {
        archived.push(cluster_directory(directory, folder).await?);
    }
    // Last before the stop, so that nothing new is in the datastore that is not in the saved objects.
    let objects = warm(remote, folder, scribe).await.map_err(not_stopped)?;
    let taken = Timestamp::now();
    let bytes = parts.iter().fold(0, |sum: u64, part| sum.saturating_add(part.used));
    let mut cold = Cold { watchdog: Timer::starts_k3s(&what.spool, folder.id()), until: taken };
    let copied =
        timeout_at(ends, cold.copy(remote, &parts, bytes, folder, scribe)).await.unwrap_or_else(|_| {
            Err(failed(
                "deadline",
                format!("the copy did not end within {} s and was given up", time.as_secs()),
            ))
        });
    archived.extend(cold.wake(remote, copied, scribe).await?);
    let manifest = Manifest {
        schema: SCHEMA,
        id: folder.id().to_owned(),
        cluster: folder.cluster().to_owned(),
        taken,
        k3s,
        fleet: env!("CARGO_PKG_VERSION").to_owned(),
        parts: archived,
        objects,
    };
    folder.close(&manifest).map_err(|error| here(&error))?;
    scribe.note(format!(
        "copied {} (compressed) to {}",
        form::bytes(manifest.bytes()),
        folder.path().display()
    ))
}

/// A folder of the host that is to be copied.
struct Source {
    what: What,
    folder: String,
    used: u64,
}

/// The folders to copy. A volume's name becomes a file's name here, so it must be one that Kubernetes allows.
async fn parts<R: Remote>(
    remote: &R,
    what: &Backup,
    scribe: &mut Scribe<'_>,
) -> Result<Vec<Source>, Trouble> {
    let mut parts = vec![Source { what: What::Server, folder: format!("{}/server", what.k3s_data), used: 0 }];
    if scribe.repeat(remote, &Command::new("test -d").arg(&what.k3s_config)).await?.success() {
        parts.push(Source { what: What::Config, folder: what.k3s_config.clone(), used: 0 });
    } else {
        scribe.note(format!("the host has no folder {}: nothing of it to copy", what.k3s_config))?;
    }
    for volume in &what.volumes {
        let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-.".contains(&byte);
        if !volume.volume.bytes().all(allowed) || volume.volume.starts_with('.') || volume.volume.is_empty() {
            let said = format!("{:?} is no name that a PersistentVolume can have", volume.volume);
            return Err(failed("strange-volume", said));
        }
        let map = Volume {
            volume: volume.volume.clone(),
            namespace: volume.namespace.clone(),
            claim: volume.claim.clone(),
        };
        parts.push(Source { what: What::Volume(map), folder: volume.folder.clone(), used: volume.used });
    }
    Ok(parts)
}

/// Measures the folders, which must all be there, and refuses to begin where the copy could not fit.
async fn room<R: Remote>(
    remote: &R,
    parts: &[Source],
    folder: &Folder,
    scribe: &mut Scribe<'_>,
) -> Result<(), Trouble> {
    let measure = Command::new("du -skc --")
        .args(parts.iter().map(|part| &part.folder))
        .fixed("| tail -n 1")
        .deadline(Duration::from_secs(15 * 60));
    let there = Command::new("ls -d --").args(parts.iter().map(|part| &part.folder)).fixed(">/dev/null");
    let measure = there.then("&&", &measure).deadline(measure.time_allowed());
    let measured = well(&measure, scribe.repeat(remote, &measure).await?)?;
    let text = measured.text();
    let kilobytes: u64 =
        text.split_whitespace().next().and_then(|word| word.parse().ok()).ok_or_else(|| {
            let said: String = crate::remote::printable(text.trim()).chars().take(80).collect();
            failed("strange-answer", format!("asked how large its folders are, the host says {said:?}"))
        })?;
    let needed = kilobytes.saturating_mul(1024).saturating_add(SPARE);
    let disk = rustix::fs::statvfs(folder.path()).map_err(|error| here(&error.into()))?;
    let free = disk.f_bavail.saturating_mul(disk.f_frsize);
    if free < needed {
        let said = format!(
            "the copy may need {}, but {} has {} free: make room or name another folder with --backups; k3s was not stopped",
            form::bytes(needed),
            folder.path().display(),
            form::bytes(free)
        );
        return Err(failed("disk-full-here", said));
    }
    Ok(())
}

async fn cluster_directory(directory: &Path, folder: &Folder) -> Result<Part, Trouble> {
    let (from, to): (PathBuf, PathBuf) = (directory.to_owned(), folder.path().to_owned());
    let stem = What::ClusterDirectory.stem();
    let (archive, sums) = blocking(move || local::archive(&from, &to, &stem)).await?;
    Ok(Part { what: What::ClusterDirectory, folder: directory.display().to_string(), archive, sums })
}

/// Saves every object that the API has, while it is up.
async fn warm<R: Remote>(
    remote: &R,
    folder: &Folder,
    scribe: &mut Scribe<'_>,
) -> Result<BTreeMap<String, Objects>, Trouble> {
    let limit = 16 << 20;
    let strange = |error: std::io::Error| failed("strange-answer", error.to_string());
    let ask = objects::command(["/apis"]).limit(limit);
    let apis = well(&ask, scribe.repeat(remote, &ask).await?)?;
    let paths = objects::kinds_to_ask(&apis.stdout).map_err(strange)?;
    let ask = objects::command(&paths).limit(limit).deadline(Duration::from_secs(300));
    let answers = well(&ask, scribe.repeat(remote, &ask).await?)?;
    let resources = objects::kinds(&answers.stdout, paths.len()).map_err(strange)?;
    let save = objects::command(resources.iter().map(objects::Resource::path))
        .sensitive()
        .deadline(Duration::from_secs(15 * 60));
    let below = folder.path().join("objects");
    let stream = below.join(".stream");
    let file = crate::files::make_file(&stream).map_err(|error| here(&error))?;
    let mut sink = tokio::fs::File::from_std(file);
    scribe.stream(remote, &save, &mut sink).await?;
    // tokio's file tells a failed write at the next call; only a sync that succeeds says that all is there.
    sink.sync_all().await.map_err(|error| here(&error))?;
    blocking(move || {
        let parts = objects::split(&stream, &resources, &below)?;
        std::fs::remove_file(&stream)?;
        Ok(parts)
    })
    .await
}

/// The time for which k3s is stopped.
struct Cold {
    watchdog: Timer,
    /// When the watchdog starts k3s if nothing more is heard, by this machine's clock.
    until: Timestamp,
}

impl Cold {
    /// Arms, stops, copies, and makes sure that k3s stayed stopped.
    async fn copy<R: Remote>(
        &mut self,
        remote: &R,
        parts: &[Source],
        bytes: u64,
        folder: &Folder,
        scribe: &mut Scribe<'_>,
    ) -> Result<Vec<Part>, Trouble> {
        self.leased(LEASE);
        // Each part may take its own allowed time; beyond the sum of them the watchdog trusts no lease.
        let longest = allowed(bytes).saturating_mul(u32::try_from(parts.len()).unwrap_or(u32::MAX));
        scribe.demand(remote, &self.watchdog.arm(LEASE, longest)).await?;
        let stop = Command::new("systemctl stop k3s").deadline(Duration::from_secs(180));
        self.demand(remote, &stop, scribe).await?;
        // Stopping the service leaves the containers running (facts section 3.1).
        let kill = Command::new("k3s-killall.sh").deadline(Duration::from_secs(180));
        self.demand(remote, &kill, scribe).await?;
        self.is_stopped(remote, scribe).await?;
        let mut archived = Vec::new();
        for part in parts {
            archived.push(self.part(remote, part, folder, scribe).await?);
        }
        self.is_stopped(remote, scribe).await?;
        Ok(archived)
    }

    /// The host's list first, then the archive: what changes in between is found by the proof.
    async fn part<R: Remote>(
        &mut self,
        remote: &R,
        part: &Source,
        folder: &Folder,
        scribe: &mut Scribe<'_>,
    ) -> Result<Part, Trouble> {
        let stem = part.what.stem();
        let deadline = allowed(part.used);
        let list = sums::command(&part.folder).deadline(deadline);
        self.leased(deadline.saturating_add(MARGIN));
        // However the list ends, by a cut line too, its long lease ends with it.
        let list = self
            .watchdog
            .guard(deadline.saturating_add(MARGIN), &list)
            .then("; ended=$?;", &self.watchdog.renew(LEASE))
            .fixed("; exit $ended");
        let sums = stream(remote, &list, folder, &format!("{stem}.sums.zst"), scribe).await?;
        // The stream itself renews the lease: when it is cut, k3s is started minutes later, not after the whole deadline.
        let archive = sums::archive_command(&part.folder, &self.watchdog.renew(LEASE)).deadline(deadline);
        let archive = self.watchdog.guard(LEASE, &archive);
        let archive = stream(remote, &archive, folder, &format!("{stem}.tar.zst"), scribe).await?;
        self.leased(LEASE);
        Ok(Part { what: part.what.clone(), folder: part.folder.clone(), archive, sums })
    }

    async fn is_stopped<R: Remote>(&mut self, remote: &R, scribe: &mut Scribe<'_>) -> Result<(), Trouble> {
        let ask = self.watchdog.guard(LEASE, &Command::new("systemctl is-active k3s"));
        self.leased(LEASE);
        let state = scribe.repeat(remote, &ask).await?;
        let waiting = scribe.repeat(remote, &self.watchdog.is_waiting()).await?;
        let word = crate::remote::printable(state.text().trim());
        if !matches!(word.as_str(), "inactive" | "failed") {
            return Err(failed(
                "k3s-not-stopped",
                format!("k3s should be stopped, but systemd calls it {word:?}: the copy is not consistent"),
            ));
        }
        if waiting.success() {
            Ok(())
        } else {
            let said = "the host's watchdog has started k3s during the copy: the copy is not consistent";
            Err(failed("watchdog-fired", said))
        }
    }

    async fn demand<R: Remote>(
        &mut self,
        remote: &R,
        command: &Command,
        scribe: &mut Scribe<'_>,
    ) -> Result<(), Trouble> {
        let lease = command.time_allowed().saturating_add(MARGIN);
        self.leased(lease);
        scribe.demand(remote, &self.watchdog.guard(lease, command)).await.map(drop)
    }

    fn leased(&mut self, lease: Duration) {
        let lease = SignedDuration::try_from(lease).unwrap_or(SignedDuration::MAX);
        self.until = Timestamp::now().checked_add(lease).unwrap_or(Timestamp::MAX);
    }

    /// Starts k3s again and disarms the watchdog, however the copy ended.
    async fn wake<R: Remote>(
        &self,
        remote: &R,
        copied: Result<Vec<Part>, Trouble>,
        scribe: &mut Scribe<'_>,
    ) -> Result<Vec<Part>, Trouble> {
        let start =
            Command::new("systemctl start k3s && systemctl is-active k3s").deadline(Duration::from_secs(300));
        let why = match &copied {
            Ok(_) => "the copy itself came to its end".to_owned(),
            Err(Trouble::Failed(failure) | Trouble::InDoubt(failure)) => failure.message.clone(),
        };
        // A lost line is made again for it, and starting what runs changes nothing.
        match scribe.repeat(remote, &start).await {
            Ok(output) if output.success() => {}
            Ok(output) => {
                // Nobody waits for anything any more: the watchdog takes over now, not when its lease is over.
                let handed = scribe.ask(remote, &self.watchdog.renew(Duration::ZERO)).await;
                let watchdog = match handed {
                    Ok(output) if output.success() => "The host's watchdog goes on trying for ten minutes",
                    _ => "The host's watchdog tries when its lease is over",
                };
                let said = format!(
                    "K3S IS STOPPED AND DOES NOT START: {} ({}). Type on the host: systemctl start k3s; if that fails: journalctl -u k3s -n 50. {watchdog}. Before that: {why}",
                    output.complaint(),
                    output.exit
                );
                return Err(Trouble::Failed(Failure::new("k3s-not-started", said).read(READ)));
            }
            Err(Trouble::Failed(lost) | Trouble::InDoubt(lost)) => {
                let cause = match &copied {
                    Err(Trouble::Failed(first) | Trouble::InDoubt(first)) => first.cause.clone(),
                    Ok(_) => lost.cause.clone(),
                };
                let said = format!(
                    "the host does not answer while k3s is stopped; its watchdog starts k3s by {} at the latest ({}). Before that: {why}",
                    self.until.strftime("%Y-%m-%d %H:%M:%S UTC"),
                    lost.message
                );
                return Err(Trouble::InDoubt(Failure::new(cause, said).read(READ)));
            }
        }
        match (scribe.repeat(remote, &self.watchdog.disarm()).await, &copied) {
            // What failed was refused its lease, or read what k3s was writing.
            (Ok(output), Err(Trouble::Failed(failure))) if Timer::had_fired(&output) => {
                let said = "the host's watchdog has started k3s during the copy: the copy is not consistent";
                return Err(failed("watchdog-fired", format!("{said}. Before that: {}", failure.message)));
            }
            (Ok(output), _) if output.success() => {}
            // It can do no harm: it starts what runs already, and ends.
            _ => scribe.note("the watchdog could not be disarmed; it ends by itself")?,
        }
        copied.map_err(|trouble| match trouble {
            Trouble::Failed(failure) => Trouble::Failed(failure),
            // Whatever the command did, k3s runs: nothing is in doubt any more.
            Trouble::InDoubt(failure) => {
                let said = format!("{}; k3s was started again", failure.message);
                Trouble::Failed(Failure::new(failure.cause, said).read(READ))
            }
        })
    }
}

/// One stream of the host into one compressed file here.
async fn stream<R: Remote>(
    remote: &R,
    command: &Command,
    folder: &Folder,
    name: &str,
    scribe: &mut Scribe<'_>,
) -> Result<Sealed, Trouble> {
    let mut sink = Sink::create(folder.path(), name).map_err(|error| here(&error))?;
    scribe.stream(remote, command, &mut sink).await?;
    sink.finish().await.map_err(|error| here(&error))
}

/// Work for a thread that may block.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> std::io::Result<T> + Send + 'static,
) -> Result<T, Trouble> {
    let done =
        tokio::task::spawn_blocking(work).await.map_err(|error| here(&std::io::Error::other(error)))?;
    done.map_err(|error| here(&error))
}

/// Trouble before k3s is stopped: only questions were asked so far, so a cut line leaves no doubt.
fn not_stopped(trouble: Trouble) -> Trouble {
    match trouble {
        Trouble::Failed(failure) => Trouble::Failed(failure),
        Trouble::InDoubt(failure) => {
            let said = format!("{}; k3s was not stopped", failure.message);
            Trouble::Failed(Failure::new(failure.cause, said).read(READ))
        }
    }
}

fn failed(cause: &str, said: impl Into<String>) -> Trouble {
    Trouble::Failed(Failure::new(cause, said).read(READ))
}
