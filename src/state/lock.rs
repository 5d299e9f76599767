//! The run lock: which process works on a run, seen from every other one on this machine (promise M13).
//!
//! The lock is the kernel's (`flock`), so it ends with its process, however that ends; what stands in the file is only for people.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;
use std::time::Duration;

use jiff::Timestamp;
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::{Control, RunFolder};

/// Whoever asks whether a run is held holds it for a moment; so often, and so far apart, it is tried for.
const TRIES: usize = 20;
const PAUSE: Duration = Duration::from_millis(5);

/// A run that this process works on. Let go of when it is dropped.
#[derive(Debug)]
pub struct RunLock {
    // Held by being open.
    _file: fs::File,
}

/// The process that works on a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// Its number.
    pub pid: u32,
    /// Its machine.
    pub machine: String,
    /// When it began with the run, by the machine's clock.
    pub since: Timestamp,
    /// The machine's boot, and the seconds of it that had gone by then: ages come from these, as a clock may be set.
    pub boot: String,
    /// Seconds since that boot.
    pub uptime: u64,
}

impl RunLock {
    /// Takes the lock; `None` where another process has it. What was asked of the process before is asked no more.
    pub fn take(run: &RunFolder) -> io::Result<Option<Self>> {
        let mut file =
            OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path(run))?;
        if !try_exclusively(&file)? {
            return Ok(None);
        }
        file.set_len(0)?;
        file.write_all(&serde_json::to_vec(&Holder::this_process())?)?;
        Control::forget(run)?;
        Ok(Some(Self { _file: file }))
    }

    /// The living process that works on the run; none where nobody does, whatever the file says.
    pub fn holder(run: &RunFolder) -> io::Result<Option<Holder>> {
        let file = match fs::File::open(path(run)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            file => file?,
        };
        match flock(&file, FlockOperation::NonBlockingLockShared) {
            Ok(()) => Ok(None),
            // Just taken, perhaps, and not written yet: held all the same.
            Err(Errno::WOULDBLOCK) => {
                Ok(Some(serde_json::from_slice(&fs::read(path(run))?).unwrap_or_else(|_| Holder::unknown())))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Whether a living process works on the run.
    pub fn is_held(run: &RunFolder) -> io::Result<bool> {
        Ok(Self::holder(run)?.is_some())
    }
}

impl Holder {
    fn this_process() -> Self {
        let machine = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        let (boot, uptime) = boot();
        let machine = machine.trim().to_owned();
        Self { pid: std::process::id(), machine, since: Timestamp::now(), boot, uptime }
    }

    fn unknown() -> Self {
        let (boot, uptime) = boot();
        Self { pid: 0, machine: String::new(), since: Timestamp::now(), boot, uptime }
    }

    /// Seconds that it has worked on the run; none where this is another machine or boot than its own.
    #[must_use]
    pub fn age(&self) -> Option<u64> {
        let (boot, now) = boot();
        (boot == self.boot).then(|| now.saturating_sub(self.uptime))
    }
}

/// This machine's boot and the seconds since.
fn boot() -> (String, u64) {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let uptime = fs::read_to_string("/proc/uptime").unwrap_or_default();
    let whole = uptime.split('.').next().and_then(|seconds| seconds.trim().parse().ok());
    (boot.trim().to_owned(), whole.unwrap_or(0))
}

fn path(run: &RunFolder) -> PathBuf {
    run.path().join("lock")
}

#[expect(
    clippy::disallowed_methods,
    reason = "a tenth of a second at most, before the run has begun with any host"
)]
fn try_exclusively(file: &fs::File) -> io::Result<bool> {
    for _ in 0..TRIES {
        match flock(file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(true),
            Err(Errno::WOULDBLOCK) => std::thread::sleep(PAUSE),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_held_by_one_until_it_lets_go() {
        let root = tempfile::tempdir().unwrap();
        let run = RunFolder::open(root.path(), "r");
        fs::create_dir(run.path()).unwrap();
        assert!(!RunLock::is_held(&run).unwrap());
        let lock = RunLock::take(&run).unwrap().unwrap();
        assert!(RunLock::take(&run).unwrap().is_none());
        let holder = RunLock::holder(&run).unwrap().unwrap();
        assert_eq!(holder.pid, std::process::id());
        assert!(holder.age().is_some_and(|age| age < 3600));
        assert_eq!(Holder { boot: "another".into(), ..holder }.age(), None);
        drop(lock);
        assert!(!RunLock::is_held(&run).unwrap(), "the file is still there, and holds nothing");
        assert!(RunLock::take(&run).unwrap().is_some());
    }

    #[test]
    fn what_was_asked_of_the_process_before_is_asked_no_more() {
        let root = tempfile::tempdir().unwrap();
        let run = RunFolder::open(root.path(), "r");
        fs::create_dir(run.path()).unwrap();
        Control::new(super::super::Want::Pause, "b@desk").write(&run).unwrap();
        let _lock = RunLock::take(&run).unwrap().unwrap();
        assert_eq!(Control::read(&run).unwrap(), None);
    }
}
