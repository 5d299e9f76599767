//! Laying a release out: its files at the plan's commit, and its virtual environment. Once, whoever else wants it at the same time.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf, absolute};
use std::process::Command;
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use sha2::{Digest as _, Sha256};
use tokio::time::{Instant, sleep};

use super::{End, Place, Release, Running};
use crate::facts::scripts::{clean, find, git};
use crate::files::{append_file, make_folder, write_whole};
use crate::form::hex;
use crate::plan::Local;
use crate::remote::{printable, quote};
use crate::version::Version;

/// How often a release is looked at that another is laying out.
const LOOK: Duration = Duration::from_millis(100);
/// Written last: what has it is whole.
const READY: &str = "ready";

/// The release of this script, laid out before `ends`. What the programs that do it print goes to `log`.
///
/// # Errors
/// One sentence: what is missing on this machine, or went wrong. No script was started.
pub async fn lay(
    place: Place<'_>,
    script: &Local,
    ends: Instant,
    log: &mut (dyn Write + Send),
) -> Result<Release, String> {
    if let Some(missing) = script.needs.iter().find(|name| find(Path::new(name)).is_none()) {
        return Err(format!("{missing} is not in the PATH of this machine"));
    }
    let folder = folder(place, script)?;
    let release = Release { tree: folder.join("tree"), env: folder.join("env") };
    if release.is_whole(&folder) {
        return Ok(release);
    }
    let _lock = lock(&folder, ends).await?;
    if release.is_whole(&folder) {
        return Ok(release);
    }
    // Of one that was begun nobody knows what is right.
    remove(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    files(place, script, &release, ends, log).await?;
    environment(place, &release, ends, log).await?;
    let done = write_whole(&folder.join(READY), format!("{}\n", script.commit).as_bytes());
    done.map_err(|error| format!("{}: {error}", folder.display()))?;
    Ok(release)
}

impl Release {
    fn is_whole(&self, folder: &Path) -> bool {
        // The python that it was made with may have gone since.
        folder.join(READY).exists() && self.tree.exists() && find(&self.env.join("bin/python")).is_some()
    }
}

/// The folder of one release of one checkout at one commit.
fn folder(place: Place<'_>, script: &Local) -> Result<PathBuf, String> {
    let Local { release, commit, .. } = script;
    let is_commit = (40..=64).contains(&commit.len()) && commit.bytes().all(|byte| byte.is_ascii_hexdigit());
    if Version::from_branch(release).is_none() || !is_commit {
        return Err(format!("the plan names no release of Stackspin: {release} at {commit}"));
    }
    let path = |path: &Path| absolute(path).map_err(|error| format!("{}: {error}", path.display()));
    let of = hex(&Sha256::digest(path(place.checkout)?.as_os_str().as_encoded_bytes()));
    Ok(path(place.folder)?.join(format!("{release}-{}-{}", &commit[..12], &of[..8])))
}

/// Waits until nobody else lays this release out. Given back with the value.
async fn lock(folder: &Path, ends: Instant) -> Result<File, String> {
    let path = folder.with_extension("lock");
    let said = |error: io::Error| format!("{}: {error}", path.display());
    make_folder(folder.parent().unwrap_or(Path::new("."))).map_err(said)?;
    let file = append_file(&path).map_err(said)?;
    loop {
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(file),
            Err(Errno::WOULDBLOCK | Errno::INTR) if Instant::now() < ends => sleep(LOOK).await,
            Err(Errno::WOULDBLOCK) => return Err(format!("another fleet holds {}", path.display())),
            Err(error) => return Err(said(error.into())),
        }
    }
}

fn remove(folder: &Path) -> io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => make_folder(folder),
    }
}

/// The files: a clone of its own, since upstream's `install-stackspin.sh` reads branch and address from the repository that it stands in
/// (facts section 2.1), and a worktree would stand in the operator's.
async fn files(
    place: Place<'_>,
    script: &Local,
    release: &Release,
    ends: Instant,
    log: &mut (dyn Write + Send),
) -> Result<(), String> {
    let Local { release: branch, commit, .. } = script;
    let tree = &release.tree;
    let checkout = absolute(place.checkout).map_err(|error| error.to_string())?;
    let mut clone = git(Path::new("/"));
    clone.args(["clone", "--local", "--no-checkout", "--quiet", "--origin", "checkout", "--"]);
    clone.arg(&checkout).arg(tree);
    demand(clone, ends, log).await?;
    let mut switch = git(tree);
    switch.args(["checkout", "--quiet", "--no-track", "-B", branch, commit]);
    demand(switch, ends, log).await?;
    let mut forget = git(tree);
    forget.args(["remote", "remove", "checkout"]);
    demand(forget, ends, log).await?;
    let url = origin(&checkout, ends).await;
    bind(tree, &checkout.join("clusters"), url.as_deref(), branch)
        .map_err(|error| format!("{}: {error}", tree.display()))
}

/// The address of the checkout's `origin`; none where it has none.
async fn origin(checkout: &Path, ends: Instant) -> Option<String> {
    let mut said = Vec::new();
    let mut ask = git(checkout);
    ask.args(["config", "--get", "remote.origin.url"]);
    let mut running = Running::start(ask, None).ok()?;
    let end = running.follow(ends, &mut said).await.ok()?;
    let url = String::from_utf8(said).ok()?.trim().to_owned();
    matches!(end, End::Exited(status) if status.success() && !url.is_empty()).then_some(url)
}

/// Binds the operator's clusters in, and gives the branch the address that it has in the operator's checkout. The address may hold a login:
/// it goes into the file and onto no command line.
fn bind(tree: &Path, clusters: &Path, url: Option<&str>, branch: &str) -> io::Result<()> {
    if let Some(url) = url {
        let url = url.replace('\\', "\\\\").replace('"', "\\\"");
        let said = format!(
            "[remote \"origin\"]\n\turl = \"{url}\"\n\tfetch = +refs/heads/*:refs/remotes/origin/*\n\
             [branch \"{branch}\"]\n\tremote = origin\n\tmerge = refs/heads/{branch}\n"
        );
        append_file(&tree.join(".git/config"))?.write_all(said.as_bytes())?;
    }
    let link = tree.join("clusters");
    // A release may keep an example there.
    if fs::symlink_metadata(&link).is_ok_and(|there| there.is_dir()) {
        fs::remove_dir_all(&link)?;
    }
    symlink(clusters, link)
}

/// The virtual environment with what the release requires.
async fn environment(
    place: Place<'_>,
    release: &Release,
    ends: Instant,
    log: &mut (dyn Write + Send),
) -> Result<(), String> {
    let python =
        find(place.python).ok_or_else(|| format!("{} is not on this machine", place.python.display()))?;
    let mut venv = clean(&python);
    venv.args(["-m", "venv"]).arg(&release.env);
    demand(venv, ends, log).await?;
    let mut pip = clean(&release.env.join("bin/python"));
    pip.args(["-m", "pip", "install", "--disable-pip-version-check", "--no-input", "-r", "requirements.txt"]);
    pip.current_dir(&release.tree);
    demand(pip, ends, log).await
}

/// Runs a program that must end well.
async fn demand(command: Command, ends: Instant, log: &mut (dyn Write + Send)) -> Result<(), String> {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let line: Vec<String> = words.map(|word| quote(&word.to_string_lossy())).collect();
    let line = printable(&line.join(" "));
    let failed = |why: &dyn std::fmt::Display| format!("on this machine `{line}` {why}");
    writeln!(log, "$ {line}").map_err(|error| failed(&error))?;
    let mut running = Running::start(command, None).map_err(|error| failed(&error))?;
    match running.follow(ends, log).await.map_err(|error| failed(&error))? {
        End::Exited(status) if status.success() => Ok(()),
        End::Exited(status) => Err(failed(&format!("ended with {status}: {}", running.complaint()))),
        End::Overdue => Err(failed(&"did not end within the step's time, and was ended")),
    }
}
