//! Upstream's own scripts on this machine: a release of Stackspin laid out with its virtual environment, and a program of it at work.
//!
//! Everything lies in a folder of `fleet`'s own beside the runs, one a commit, made once and used by all clusters at the same time. The
//! operator's checkout is read, and nothing in it is changed. See `docs/scripts.md`.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::facts::scripts::{clean, find};
use crate::plan::Local;

mod lay;
mod marks;
mod program;

pub use lay::lay;
pub use marks::alive;
pub use program::{End, Running};

/// The variable that marks every process of a step's script, children's children too.
pub const MARK: &str = "FLEET_STEP";

/// Where releases come from and where they are laid out.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    /// The operator's Stackspin checkout.
    pub checkout: &'a Path,
    /// The python that makes virtual environments.
    pub python: &'a Path,
    /// The folder of all releases.
    pub folder: &'a Path,
}

/// A release that is laid out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Release {
    /// Its files, on a branch of the release's name.
    pub tree: PathBuf,
    /// Its virtual environment.
    pub env: PathBuf,
}

impl Release {
    /// The script as a command: in the tree, in a clean environment, with the virtual environment first in `PATH`, with this kubeconfig and
    /// this mark.
    ///
    /// # Errors
    /// The release has no such file, or `PATH` no such program.
    pub fn command(&self, script: &Local, kubeconfig: &Path, mark: &str) -> Result<Command, String> {
        let (name, words) = script.argv.split_first().ok_or("the plan names no program")?;
        let mut command = clean(&self.program(name, &script.release)?);
        let own = self.env.join("bin");
        let path = std::env::var_os("PATH").unwrap_or_default();
        let path = std::env::join_paths(std::iter::once(own).chain(std::env::split_paths(&path)))
            .map_err(|error| format!("PATH: {error}"))?;
        command
            .args(words)
            .current_dir(&self.tree)
            .env("PATH", path)
            .env("VIRTUAL_ENV", &self.env)
            .env("KUBECONFIG", kubeconfig)
            .env(MARK, mark);
        Ok(command)
    }

    fn program(&self, name: &str, release: &str) -> Result<PathBuf, String> {
        if name.contains('/') {
            let file = self.tree.join(name);
            return find(&file).ok_or_else(|| format!("Stackspin {release} has no program {name}"));
        }
        let own = find(&self.env.join("bin").join(name));
        own.or_else(|| find(Path::new(name))).ok_or_else(|| format!("there is no program {name}"))
    }
}
