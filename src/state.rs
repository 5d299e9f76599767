//! The run folder: plain files that a person can read, grep and copy.
//!
//! ```text
//! scripts/<release>-<commit>-<checkout>/{tree,env}     a release of Stackspin laid out, for all runs (see upstream)
//! runs/.last                                          the id of the run that was begun last
//! runs/<run id>/run.json                              who, when, what was typed, which clusters
//! runs/<run id>/lock                                  held while a process works on the run
//! runs/<run id>/control                               what another terminal asks of that process
//! runs/<run id>/plan.json                             the plan file, where one is carried out
//! runs/<run id>/report.{md,json}                      the fleet's summary
//! runs/<run id>/ballast                               room for the journals' ends where the disk is full, while the run goes on
//! runs/<run id>/<cluster>/journal.ndjson              the cluster's events
//! runs/<run id>/<cluster>/report.{md,json}
//! runs/<run id>/<cluster>/<rung>/{plan,before,after}.json
//! runs/<run id>/<cluster>/<rung>/steps/<step>.log     what each step's commands printed (see step_log)
//! ```

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::backup::restore::MIGRATION;
use crate::files::{make_folder, read_json, write_json, write_whole};
use crate::plan::Plan;
use crate::version::Version;

mod control;
mod lock;

pub use control::{Control, Want};
pub use lock::{Holder, RunLock};

/// The version of the stored form of [`Run`].
pub const SCHEMA: u32 = 1;

/// The file that names the run that was begun last. A clock that was set back must not make an older run the last one.
const LAST: &str = ".last";

/// What `run.json` holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// [`SCHEMA`] at the time of writing.
    pub schema: u32,
    /// The run's id: its start in UTC and four random letters, so that a listing is in order of time.
    pub id: String,
    /// When it began.
    pub started: Timestamp,
    /// User and machine.
    pub by: String,
    /// The `fleet` that ran.
    pub fleet: String,
    /// The command line.
    pub typed: Vec<String>,
    /// The version aimed at; none where the run is no upgrade.
    pub target: Option<Version>,
    /// The clusters, in order of name.
    pub clusters: Vec<String>,
    /// Warnings the operator acknowledged, by check id.
    pub acknowledged: Vec<String>,
    /// The plan file that is carried out; none where each cluster is planned as the run goes.
    #[serde(default)]
    pub plan: Option<PlanUsed>,
}

/// The plan file of a run. A copy of it is in the run's folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanUsed {
    /// The file, as it was typed.
    pub file: String,
    /// Its checksum.
    pub checksum: String,
}

impl Run {
    /// Whether a backup is put back: by what was typed, `fleet restore ID --to CLUSTER`, where an upgrade has a version.
    #[must_use]
    pub fn is_restore(&self) -> bool {
        let onto =
            |pair: &[String]| matches!(pair, [to, name] if to == "--to" && self.clusters.contains(name));
        self.typed.iter().any(|word| word == "restore") && self.typed.windows(2).any(onto)
    }

    /// What it is for, in words: `to 0.7`, `restore`, `exec`, `lock break`, `window open`.
    #[must_use]
    pub fn aim(&self) -> String {
        const TWO_WORDS: [[&str; 2]; 6] = [
            ["lock", "break"],
            ["window", "open"],
            ["window", "close"],
            ["k3s-window", "open"],
            ["k3s-window", "close"],
            ["vars", "apply"],
        ];
        if self.is_restore() {
            return "restore".to_owned();
        }
        let typed = |words: &&[&str; 2]| self.typed.windows(2).any(|typed| typed == words.as_slice());
        let other =
            || TWO_WORDS.iter().find(typed).map_or_else(|| "exec".to_owned(), |words| words.join(" "));
        self.target.map_or_else(other, |target| format!("to {target}"))
    }
}

/// A run's folder.
#[derive(Debug, Clone)]
pub struct RunFolder {
    path: PathBuf,
}

impl RunFolder {
    /// Begins a new run: makes its folder, which this process holds from the first moment that others can see it.
    pub fn begin(root: &Path, run: &Run) -> io::Result<(Self, RunLock)> {
        make_folder(root)?;
        let folder = Self::open(root, &run.id);
        DirBuilder::new().mode(0o700).create(&folder.path)?;
        let lock = RunLock::take(&folder)?.ok_or_else(|| {
            io::Error::new(io::ErrorKind::ResourceBusy, "another process holds the new run")
        })?;
        write_json(&folder.path.join("run.json"), run)?;
        write_whole(&root.join(LAST), format!("{}\n", run.id).as_bytes())?;
        Ok((folder, lock))
    }

    /// Makes the folder of a run that nobody works on yet.
    pub fn create(root: &Path, run: &Run) -> io::Result<Self> {
        Self::begin(root, run).map(|(folder, _)| folder)
    }

    /// Opens the folder of a run that was.
    #[must_use]
    pub fn open(root: &Path, id: &str) -> Self {
        Self { path: root.join(id) }
    }

    /// The folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The run's id: the name of its folder.
    #[must_use]
    pub fn id(&self) -> String {
        self.path.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }

    /// Its `run.json`.
    pub fn run(&self) -> io::Result<Run> {
        read_json(&self.path.join("run.json"))
    }

    /// The journal of one of its clusters, which need not be there.
    #[must_use]
    pub fn journal(&self, cluster: &str) -> PathBuf {
        ClusterFolder { path: self.path.join(cluster) }.journal()
    }

    /// Where the copy of the plan file lies, in a run of `fleet apply`.
    #[must_use]
    pub fn plan(&self) -> PathBuf {
        self.path.join("plan.json")
    }

    /// The folder of one of its clusters; made if it is not there.
    pub fn cluster(&self, name: &str) -> io::Result<ClusterFolder> {
        let path = self.path.join(name);
        make_folder(&path)?;
        Ok(ClusterFolder { path })
    }
}

/// Every run below `root`, oldest first: by what its `run.json` says, as ids count in seconds. A folder without a readable `run.json` is
/// given with the reason, before all others.
pub fn runs(root: &Path) -> io::Result<Vec<(RunFolder, io::Result<Run>)>> {
    let entries = match fs::read_dir(root) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut folders: Vec<PathBuf> =
        entries.map(|entry| entry.map(|e| e.path())).collect::<io::Result<_>>()?;
    folders.retain(|path| path.is_dir());
    folders.sort();
    let mut runs: Vec<_> = folders
        .into_iter()
        .map(|path| {
            let folder = RunFolder { path };
            let run = folder.run();
            (folder, run)
        })
        .collect();
    // Stable: what cannot be told stays in order of its name.
    runs.sort_by_key(|(_, run)| run.as_ref().ok().map(|run| run.started));
    Ok(runs)
}

/// Which of these runs was begun last: the one that was written down as such, or the one with the latest start.
#[must_use]
pub fn last<'a>(
    root: &Path,
    runs: &'a [(RunFolder, io::Result<Run>)],
) -> Option<&'a (RunFolder, io::Result<Run>)> {
    let named = fs::read_to_string(root.join(LAST)).unwrap_or_default();
    let is_named = |folder: &RunFolder| folder.path.file_name().is_some_and(|name| name == named.trim());
    let told = || runs.iter().rev().filter(|(_, run)| run.is_ok());
    told().find(|(folder, _)| is_named(folder)).or_else(|| told().next())
}

/// A cluster's folder in a run.
#[derive(Debug, Clone)]
pub struct ClusterFolder {
    path: PathBuf,
}

impl ClusterFolder {
    /// The folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The id of the run that it belongs to: the name of the folder above.
    #[must_use]
    pub fn run(&self) -> String {
        let above = self.path.parent().and_then(Path::file_name).unwrap_or_default();
        above.to_string_lossy().into_owned()
    }

    /// Its journal.
    #[must_use]
    pub fn journal(&self) -> PathBuf {
        self.path.join("journal.ndjson")
    }

    /// The plan of the restore that the run is; none where it is none. Written before the cluster is contacted.
    pub fn restore(&self) -> io::Result<Option<Plan>> {
        match read_json(&self.path.join(MIGRATION).join("plan.json")) {
            Ok(plan) => Ok(Some(plan)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The folder of upstream's scripts, which all runs share: beside that of the runs.
    #[must_use]
    pub fn scripts(&self) -> PathBuf {
        let runs = self.path.ancestors().nth(2).unwrap_or(Path::new("."));
        runs.parent().unwrap_or(Path::new(".")).join("scripts")
    }

    /// The folder of one rung; made if it is not there.
    pub fn rung(&self, migration: &str) -> io::Result<PathBuf> {
        let path = self.path.join(migration);
        make_folder(&path.join("steps"))?;
        Ok(path)
    }
}

/// Where a step's log lies below its rung's folder: `steps/backup-copy.log` for the step `backup/copy`.
#[must_use]
pub fn step_log(step: &str) -> PathBuf {
    Path::new("steps").join(format!("{}.log", step.replace('/', "-")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn begun(root: &Path, id: &str, started: &str) {
        let run = Run {
            schema: SCHEMA,
            id: id.into(),
            started: started.parse().unwrap(),
            by: String::new(),
            fleet: String::new(),
            typed: vec![],
            target: None,
            clusters: vec![],
            acknowledged: vec![],
            plan: None,
        };
        RunFolder::create(root, &run).unwrap();
    }

    fn last_id(root: &Path) -> Option<String> {
        last(root, &runs(root).unwrap()).map(|(folder, _)| folder.id())
    }

    #[test]
    fn the_last_run_is_the_one_begun_last_though_the_clock_was_set_back() {
        let root = tempfile::tempdir().unwrap();
        assert_eq!(last_id(root.path()), None);
        begun(root.path(), "20361122T120000Z-aaaa", "2036-11-22T12:00:00Z");
        begun(root.path(), "20261122T120000Z-bbbb", "2026-11-22T12:00:00Z");
        assert_eq!(last_id(root.path()).as_deref(), Some("20261122T120000Z-bbbb"));
        // A folder that was copied here says nothing about it; nor does one that names a run that is gone.
        fs::write(root.path().join(LAST), "20201122T120000Z-gone\n").unwrap();
        assert_eq!(last_id(root.path()).as_deref(), Some("20361122T120000Z-aaaa"));
    }

    #[test]
    fn runs_of_one_second_are_in_order_of_their_beginning() {
        let root = tempfile::tempdir().unwrap();
        begun(root.path(), "20261122T120000Z-zzzz", "2026-11-22T12:00:00.1Z");
        begun(root.path(), "20261122T120000Z-aaaa", "2026-11-22T12:00:00.2Z");
        let ids: Vec<String> = runs(root.path()).unwrap().iter().map(|(folder, _)| folder.id()).collect();
        assert_eq!(ids, ["20261122T120000Z-zzzz", "20261122T120000Z-aaaa"]);
    }
}
