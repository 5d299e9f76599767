//! The run folder: plain files that a person can read, grep and copy.
//!
//! ```text
//! runs/<run id>/run.json                              who, when, what was typed, which clusters
//! runs/<run id>/plan.json                             the plan file, where one is carried out
//! runs/<run id>/report.{md,json}                      the fleet's summary
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

use crate::files::{make_folder, read_json, write_json};
use crate::version::Version;

/// The version of the stored form of [`Run`].
pub const SCHEMA: u32 = 1;

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
    /// The version aimed at; none where the run is a command of `fleet exec`, or breaks a lock.
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
    /// What it is for, in words: `to 0.7`, `exec`, `lock break`.
    #[must_use]
    pub fn aim(&self) -> String {
        let breaks = self.typed.windows(2).any(|words| words == ["lock", "break"]);
        let other = || if breaks { "lock break" } else { "exec" }.to_owned();
        self.target.map_or_else(other, |target| format!("to {target}"))
    }
}

/// A run's folder.
#[derive(Debug, Clone)]
pub struct RunFolder {
    path: PathBuf,
}

impl RunFolder {
    /// Makes a new run's folder and writes its `run.json`.
    pub fn create(root: &Path, run: &Run) -> io::Result<Self> {
        make_folder(root)?;
        let path = root.join(&run.id);
        DirBuilder::new().mode(0o700).create(&path)?;
        write_json(&path.join("run.json"), run)?;
        Ok(Self { path })
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

    /// Its `run.json`.
    pub fn run(&self) -> io::Result<Run> {
        read_json(&self.path.join("run.json"))
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

/// Every run below `root`, oldest first. A folder without a readable `run.json` is given with the reason.
pub fn runs(root: &Path) -> io::Result<Vec<(RunFolder, io::Result<Run>)>> {
    let entries = match fs::read_dir(root) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut folders: Vec<PathBuf> =
        entries.map(|entry| entry.map(|e| e.path())).collect::<io::Result<_>>()?;
    folders.retain(|path| path.is_dir());
    folders.sort();
    Ok(folders
        .into_iter()
        .map(|path| {
            let folder = RunFolder { path };
            let run = folder.run();
            (folder, run)
        })
        .collect())
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
