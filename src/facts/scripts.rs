//! What upstream's scripts need of this machine: the Stackspin checkout, the release's branch in it, programs (facts section 2).

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Installed;
use crate::inventory::{Cluster, child};
use crate::plan::{Action, Local};
use crate::remote::printable;
use crate::version::Version;

/// The rungs that upstream's scripts climb: from, to, and the programs that they need besides git and python (facts sections 1.1 and 2.1;
/// guide rows G5 to G7).
const RUNGS: [(Version, Version, &[&str]); 3] = [
    (Version::V0_7, Version::V0_8, &["kubectl", "flux"]),
    (Version::V0_8, Version::V1_0, &["kubectl", "flux"]),
    (Version::V1_0, Version::V2, &["kubectl", "flux", "helm"]),
];

/// The python that is looked for where the inventory names none.
pub const PYTHON: &str = "python3";

/// Variables that a program of this machine gets along: who and where the operator is, his agent, and his way to the network.
const KEPT: [&str; 19] = [
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "TMPDIR",
    "TZ",
    "SSH_AUTH_SOCK",
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "PIP_CONFIG_FILE",
    "PIP_INDEX_URL",
    "PIP_CERT",
    "PYENV_ROOT",
    "REQUESTS_CA_BUNDLE",
    "SSL_CERT_FILE",
];

/// How long one question to a program of this machine may take.
const ANSWERS_WITHIN: Duration = Duration::from_secs(30);
/// How much it may say, in bytes.
const LIMIT: u64 = 64 << 10;

/// What there is here for the scripts of one release.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scripts {
    /// The release's branch: `v1.0`.
    pub release: String,
    /// The Stackspin checkout.
    pub checkout: String,
    /// The commit of the release's branch in it; that of `origin`'s where the checkout has no such branch of its own. None where it has
    /// neither.
    pub commit: Option<String>,
    /// What `origin` had there when it was fetched last, if that is another commit.
    pub fetched: Option<String>,
    /// The name of the cluster's folder below `clusters/`.
    pub folder: String,
    /// Whether that folder is there.
    pub folder_there: bool,
    /// Programs by name, each with its path; none where the `PATH` does not have it.
    pub programs: BTreeMap<String, Option<String>>,
    /// Why python makes no virtual environment; none where it does.
    pub no_venv: Option<String>,
}

impl Scripts {
    /// The action that runs a program of the release with these words, at the commit that its branch is at now.
    ///
    /// # Errors
    /// The checkout does not have the release's branch.
    pub fn run(&self, argv: &[&str]) -> Result<Action, String> {
        let Self { release, checkout, commit, .. } = self;
        let commit = commit.clone().ok_or_else(|| format!("{checkout} has no branch {release}"))?;
        let needs = RUNGS.iter().find(|(_, to, _)| to.branch() == *release);
        Ok(Action::Local(Local {
            release: release.clone(),
            commit,
            argv: argv.iter().map(|word| (*word).to_owned()).collect(),
            needs: needs
                .map(|(_, _, needs)| needs.iter().map(|name| (*name).to_owned()).collect())
                .unwrap_or_default(),
            unless: None,
            remedies: Vec::new(),
        }))
    }
}

/// The rung that upstream's scripts climb from this version, if they do: to which version, and with which programs.
#[must_use]
pub fn climb(from: Version) -> Option<(Version, &'static [&'static str])> {
    RUNGS.iter().find(|(version, _, _)| *version == from).map(|(_, to, needs)| (*to, *needs))
}

/// Looks at this machine, where the next rung is one of scripts.
pub async fn gather(cluster: &Cluster, installed: &Installed) -> Result<Scripts, String> {
    let Installed::Version(version) = installed else { return Err("the version is not known".to_owned()) };
    let Some((to, needs)) = climb(*version) else {
        return Err(format!("no script of upstream's takes a cluster on from {version}"));
    };
    let Some(checkout) = cluster.stackspin.clone() else {
        return Err("the inventory names no Stackspin checkout: stackspin = \"…\"".to_owned());
    };
    let (folder, python) = (folder(cluster), cluster.python.clone());
    let look = move || look(&checkout, folder, python.as_deref(), &to.branch(), needs);
    tokio::task::spawn_blocking(look).await.map_err(|error| error.to_string())?
}

/// The name of the cluster's folder below `clusters/`: that of its directory, or its own.
fn folder(cluster: &Cluster) -> String {
    let named = cluster.directory.as_deref().and_then(Path::file_name).and_then(OsStr::to_str);
    named.unwrap_or(&cluster.name).to_owned()
}

fn look(
    checkout: &Path,
    folder: String,
    python: Option<&Path>,
    release: &str,
    needs: &[&str],
) -> Result<Scripts, String> {
    let python = python.unwrap_or(Path::new(PYTHON));
    let mut programs: BTreeMap<String, Option<String>> = BTreeMap::new();
    for name in ["git"].iter().chain(needs).map(Path::new).chain([python]) {
        let found = find(name).map(|path| path.display().to_string());
        programs.insert(name.display().to_string(), found);
    }
    let (commit, fetched) = match programs.get("git") {
        Some(Some(_)) => commits(checkout, release)?,
        _ => (None, None),
    };
    let no_venv = find(python).and_then(|python| no_venv(&python));
    let folder_there = checkout.join("clusters").join(&folder).is_dir();
    let (release, checkout) = (release.to_owned(), checkout.display().to_string());
    Ok(Scripts { release, checkout, commit, fetched, folder, folder_there, programs, no_venv })
}

/// The commit of a branch, and the one that `origin` has, where that is another.
fn commits(checkout: &Path, release: &str) -> Result<(Option<String>, Option<String>), String> {
    let (own, theirs) = (format!("refs/heads/{release}"), format!("refs/remotes/origin/{release}"));
    let mut git = git(checkout);
    git.args(["for-each-ref", "--format=%(refname) %(objectname)", &own, &theirs]);
    let answer = child::ask(&mut git, ANSWERS_WITHIN, LIMIT).map_err(|why| format!("git {why}"))?;
    let of = |name: &str| {
        let lines = answer.lines().filter_map(|line| line.split_once(' '));
        lines.into_iter().find(|(found, _)| *found == name).map(|(_, commit)| commit.to_owned())
    };
    Ok(match (of(&own), of(&theirs)) {
        (Some(own), theirs) => (Some(own.clone()), theirs.filter(|theirs| *theirs != own)),
        (None, theirs) => (theirs, None),
    })
}

/// Why this python makes no virtual environment: Debian's does so only with the package python3-venv.
fn no_venv(python: &Path) -> Option<String> {
    let mut ask = clean(python);
    ask.args(["-c", "import venv, ensurepip"]);
    child::ask(&mut ask, ANSWERS_WITHIN, LIMIT).err().map(|why| printable(&why))
}

/// Git in the operator's checkout. It asks nothing and runs none of the operator's hooks.
#[must_use]
pub fn git(checkout: &Path) -> Command {
    let mut git = clean(Path::new("git"));
    git.args(["-c", "core.hooksPath=/dev/null", "-C"]).arg(checkout).env("GIT_TERMINAL_PROMPT", "0");
    git
}

/// A program of this machine in a clean environment.
#[must_use]
pub fn clean(program: &Path) -> Command {
    let mut command = Command::new(program);
    command.env_clear().envs(environment());
    command
}

/// What a program of this machine gets along of the environment.
pub fn environment() -> impl Iterator<Item = (OsString, OsString)> {
    let kept = KEPT.into_iter().filter_map(|name| Some((name.into(), std::env::var_os(name)?)));
    kept.chain([("LC_ALL".into(), "C.UTF-8".into())])
}

/// The file of a program: where a path says, or in `PATH`.
#[must_use]
pub fn find(program: &Path) -> Option<PathBuf> {
    use std::os::unix::fs::PermissionsExt as _;

    let runs = |path: &PathBuf| {
        path.metadata().is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
    };
    if program.components().count() > 1 {
        return Some(program.to_owned()).filter(runs);
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).map(|folder| folder.join(program)).find(runs)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(branches: &[(&str, &str)]) -> (tempfile::TempDir, Result<Scripts, String>) {
        let folder = tempfile::tempdir().unwrap();
        let script = branches.iter().fold(
            "git init -q . && git config user.name t && git config user.email t@example.org".to_owned(),
            |script, (name, text)| {
                format!(
                    "{script} && git commit -q --allow-empty -m {text} && git update-ref {name} HEAD && git rev-parse HEAD"
                )
            },
        );
        let mut shell = clean(Path::new("sh"));
        let told = child::ask(shell.args(["-c", &script]).current_dir(folder.path()), ANSWERS_WITHIN, LIMIT);
        told.unwrap();
        std::fs::create_dir_all(folder.path().join("clusters/oak")).unwrap();
        let python = Path::new("/bin/sh");
        let found = look(folder.path(), "oak".into(), Some(python), "v1.0", &["no-such-program"]);
        (folder, found)
    }

    #[test]
    fn a_branch_of_the_operators_own_comes_before_what_was_fetched_and_both_are_told() {
        let (_folder, both) = found(&[("refs/heads/v1.0", "a"), ("refs/remotes/origin/v1.0", "b")]);
        let both = both.unwrap();
        assert_eq!(both.commit.as_ref().map(String::len), Some(40));
        assert!(both.fetched.is_some() && both.fetched != both.commit, "{both:?}");
        let (_folder, theirs) = found(&[("refs/remotes/origin/v1.0", "a")]);
        let theirs = theirs.unwrap();
        assert!(theirs.commit.is_some() && theirs.fetched.is_none(), "{theirs:?}");
        let (_folder, neither) = found(&[("refs/heads/v1.0.1", "a"), ("refs/heads/v1.0-x/v1.0", "b")]);
        let neither = neither.unwrap();
        assert_eq!((&neither.commit, &neither.fetched), (&None, &None));
        assert!(neither.run(&["x"]).unwrap_err().ends_with("has no branch v1.0"));
    }

    #[test]
    fn programs_and_the_clusters_folder_are_found_or_said_to_be_missing() {
        let (_folder, found) = found(&[("refs/heads/v1.0", "a")]);
        let found = found.unwrap();
        assert_eq!(found.programs.get("no-such-program"), Some(&None));
        assert!(found.programs["git"].as_deref().is_some_and(|path| path.ends_with("/git")));
        assert!(found.no_venv.is_some(), "a shell makes no virtual environment: {found:?}");
        assert!(found.folder_there);
        let Ok(Action::Local(script)) = found.run(&["bin/upgrade.sh", "oak"]) else { panic!() };
        assert_eq!((script.to_string(), script.needs.len()), ("bin/upgrade.sh oak".into(), 2));
    }

    #[test]
    fn a_folder_that_is_no_checkout_says_so_in_gits_words() {
        let folder = tempfile::tempdir().unwrap();
        let why = look(folder.path(), "oak".into(), None, "v1.0", &[]).unwrap_err();
        assert!(why.starts_with("git failed") && why.contains("not a git repository"), "{why}");
    }
}
