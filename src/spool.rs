//! What a host keeps of a run, so that another machine can go on with it: commands that put it there, list it, bring it and remove it.
//!
//! Pure, as `jobs` is: commands and readers. It is plain files below the host's spool folder, folders 0700, files 0600, each written
//! beside its place and renamed once all that came with it are there:
//!
//! ```text
//! runs/<run>/run.json               as in the run's folder
//!            <rung>/plan.json
//!            <rung>/before.json
//!            kept/<set>/<object>    the secrets that a migration carries over, until the run is done
//!            journal.ndjson         the journal's lines, appended by every command that is sent
//! ```
//!
//! What comes back is a host's, and hostile: names are of these shapes or refused, sizes are bounded, and a journal's checksums are
//! looked at ([`lines()`]). How a hand-over goes is told in `docs/handover.md`.

use std::time::Duration;

use crate::jobs::mark;
use crate::remote::{Command, Output};

mod lines;

pub use lines::{Damaged, Kept, lines};

/// How many runs a host keeps, the newest.
pub const RUNS: usize = 5;
/// Bytes that one run may have on a host, all files together; and one file, but for the journal.
const MOST: usize = 64 << 20;
const MOST_OF_ONE: usize = 16 << 20;
/// How many files one run may have on a host.
const FILES: usize = 2000;
/// How many runs of a host are told.
const LISTED: usize = 50;

/// Puts files. `$1` the run's folder; then of each file its path below that and its bytes, whose contents follow each other on standard
/// input. A cut line ends that early: none of the files has its name before all of them are there whole.
const PUT: &str = r#"
umask 077
root=$1
shift
each() {
    what=$1
    shift
    while [ $# -gt 0 ]; do $what "$1" "$2" || return 1; shift 2; done
}
write() {
    case $1 in */*) mkdir -p "${1%/*}" ;; esac && head -c "$2" >"$1.$$.new" && [ "$(wc -c <"$1.$$.new")" -eq "$2" ] &&
        { sync "$1.$$.new" 2>/dev/null || :; } || { echo "$root/$1 cannot be written" >&2; return 1; }
}
place() { mv "$1.$$.new" "$1"; }
drop() { rm -f "$1.$$.new"; }
mkdir -p "$root" && cd "$root" && each write "$@" && each place "$@" && exit 0
each drop "$@"
exit 1
"#;

/// Lists the runs, the newest first. `$1` the folder of all, `$2` the mark, `$3` how many at most. The ids are times: their order is that.
const LIST: &str = r#"
n=0
for d in $(cd "$1" 2>/dev/null && ls -r); do
    [ -f "$1/$d/run.json" ] || continue
    n=$((n + 1)); [ $n -le "$3" ] || break
    printf '\n%s run %s\n' "$2" "$d"
done
printf '\n%s end\n' "$2"
"#;

/// Brings a run. `$1` its folder, `$2` the mark, `$3` how many files at most, `$4` bytes of one. The journal may have more. Links are not
/// followed. A file that grows meanwhile is brought as long as it was.
const FETCH: &str = r#"
cd "$1" 2>/dev/null || { printf '\n%s absent\n' "$2"; exit 0; }
find . -type f ! -name '*.new' | head -n "$3" | while IFS= read -r f; do
    size=$(wc -c 2>/dev/null <"$f") || size=0
    size=$((size + 0))
    [ $size -le "$4" ] || [ "$f" = ./journal.ndjson ] || size=0
    printf '\n%s file %s %s\n' "$2" $size "${f#./}"
    [ $size -eq 0 ] || head -c $size "$f" || exit 1
done || exit 1
printf '\n%s end\n' "$2"
"#;

/// Removes the runs beyond the newest. `$1` the folder of all, `$2` the run that begins, `$3` how many stay beside it. One that still has
/// secrets was never done: somebody may yet go on with it.
const PRUNE: &str = r#"
cd "$1" 2>/dev/null || exit 0
n=0
for d in $(ls -r); do
    [ "$d" != "$2" ] && [ -d "$d" ] && [ ! -L "$d" ] || continue
    n=$((n + 1))
    [ $n -le "$3" ] || [ -e "$d/kept" ] || rm -rf "./$d"
done
"#;

/// A file of a run on a host.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// `run.json`.
    Run,
    /// `journal.ndjson`.
    Journal,
    /// `<rung>/plan.json`.
    Plan(String),
    /// `<rung>/before.json`.
    Before(String),
    /// `kept/<set>/<file>`: secret.
    Kept {
        /// The set.
        set: String,
        /// The file.
        file: String,
    },
}

impl Place {
    /// The place that this path is; `None` for any other path.
    #[must_use]
    pub fn read(path: &str) -> Option<Self> {
        let words: Vec<&str> = path.split('/').collect();
        if !words.iter().all(|word| is_name(word)) {
            return None;
        }
        match *words {
            ["run.json"] => Some(Self::Run),
            ["journal.ndjson"] => Some(Self::Journal),
            ["kept", set, file] => Some(Self::Kept { set: set.to_owned(), file: file.to_owned() }),
            ["kept", _] => None,
            [rung, "plan.json"] => Some(Self::Plan(rung.to_owned())),
            [rung, "before.json"] => Some(Self::Before(rung.to_owned())),
            _ => None,
        }
    }

    /// Its path below the run's folder.
    fn path(&self) -> String {
        match self {
            Self::Run => "run.json".to_owned(),
            Self::Journal => "journal.ndjson".to_owned(),
            Self::Plan(rung) => format!("{rung}/plan.json"),
            Self::Before(rung) => format!("{rung}/before.json"),
            Self::Kept { set, file } => format!("kept/{set}/{file}"),
        }
    }
}

/// Whether a name can be a file's, here and there, and leads nowhere: letters, digits, `.`, `_` and `-`, no dot in front.
#[must_use]
pub fn is_name(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    !name.is_empty() && name.len() <= 255 && !name.starts_with(['.', '-']) && name.chars().all(plain)
}

/// The runs on a host's spool.
#[derive(Debug, Clone)]
pub struct Runs {
    folder: String,
}

impl Runs {
    /// Those of this spool folder. Nothing is asked of the host yet.
    #[must_use]
    pub fn on(spool: &str) -> Self {
        Self { folder: format!("{}/runs", spool.trim_end_matches('/')) }
    }

    /// The folder of one run.
    #[must_use]
    pub fn of(&self, run: &str) -> String {
        format!("{}/{run}", self.folder)
    }

    /// Puts files there in one command, whole or none at all; through standard input, so they stand in no process list. May be done twice.
    #[must_use]
    pub fn put(&self, run: &str, files: &[(Place, Vec<u8>)]) -> Command {
        let put = Command::new("sh -c").arg(PUT).arg("fleet-put").arg(self.of(run));
        let put =
            files.iter().fold(put, |put, (place, bytes)| put.arg(place.path()).arg(bytes.len().to_string()));
        put.stdin(files.iter().flat_map(|(_, bytes)| bytes).copied().collect())
    }

    /// Removes the oldest runs, so that this one and the newest before it stay, [`RUNS`] in all.
    #[must_use]
    pub fn prune(&self, run: &str) -> Command {
        let others = (RUNS - 1).to_string();
        Command::new("sh -c").arg(PRUNE).arg("fleet-prune").arg(&self.folder).arg(run).arg(others)
    }

    /// Removes the secrets of a run: its cluster is where it should be.
    #[must_use]
    pub fn forget_secrets(&self, run: &str) -> Command {
        Command::new("rm -rf").arg(format!("{}/kept", self.of(run)))
    }

    /// The question for the runs that are there.
    #[must_use]
    pub fn list(&self) -> Listing {
        let mark = mark();
        let command = Command::new("sh -c")
            .arg(LIST)
            .arg("fleet-runs")
            .arg(&self.folder)
            .arg(&mark)
            .arg(LISTED.to_string())
            .limit(64 << 10);
        Listing { mark, command }
    }

    /// The question for a run's files.
    #[must_use]
    pub fn fetch(&self, run: &str) -> Fetch {
        let mark = mark();
        let command = Command::new("sh -c")
            .arg(FETCH)
            .arg("fleet-fetch")
            .arg(self.of(run))
            .arg(&mark)
            .arg(FILES.to_string())
            .arg(MOST_OF_ONE.to_string())
            .limit(MOST)
            .deadline(Duration::from_secs(600))
            .sensitive();
        Fetch { mark, command }
    }
}

/// The question for a host's runs, and the key to its answer.
#[derive(Debug, Clone)]
pub struct Listing {
    mark: String,
    command: Command,
}

impl Listing {
    /// The question. Changes nothing.
    #[must_use]
    pub const fn command(&self) -> &Command {
        &self.command
    }

    /// The ids, the newest first; `None` where the answer is not whole. Names that `fleet` would not give are passed over.
    #[must_use]
    pub fn read(&self, output: &Output) -> Option<Vec<String>> {
        let text = output.text();
        let mut runs: Vec<String> = Vec::new();
        for line in text.lines().filter_map(|line| line.strip_prefix(self.mark.as_str())) {
            match *line.split(' ').collect::<Vec<_>>() {
                ["", "run", id] if is_name(id) => runs.push(id.to_owned()),
                ["", "end"] => {
                    runs.sort_by(|one, other| other.cmp(one));
                    return Some(runs);
                }
                _ => {}
            }
        }
        None
    }
}

/// The question for a run's files, and the key to its answer.
#[derive(Debug, Clone)]
pub struct Fetch {
    mark: String,
    command: Command,
}

/// Why a run could not be brought.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// The answer is more than `fleet` takes from a host.
    #[error("what its spool holds of the run is more than {} MiB", MOST >> 20)]
    TooMuch,
    /// The answer is not whole.
    #[error("its answer is cut off or damaged ({0})")]
    Cut(String),
    /// A file that `fleet` would not have put there.
    #[error("its spool holds a file in the run's folder that is not fleet's, or too large: {0}")]
    Strange(String),
}

/// Files that a host keeps of a run, with their bytes.
pub type Files = Vec<(Place, Vec<u8>)>;

impl Fetch {
    /// The question. Changes nothing. Its answer holds secrets.
    #[must_use]
    pub const fn command(&self) -> &Command {
        &self.command
    }

    /// The files with their bytes; `None` where the host has nothing of this run.
    pub fn read(&self, output: &Output) -> Result<Option<Files>, Unreadable> {
        if output.dropped > 0 {
            return Err(Unreadable::TooMuch);
        }
        let cut = || Unreadable::Cut(output.exit.to_string());
        let mark = format!("\n{} ", self.mark);
        let mut rest = output.stdout.as_slice();
        let mut files = Files::new();
        loop {
            // What a login shell prints stands before the first mark; between files there is nothing.
            let at = find(rest, mark.as_bytes()).filter(|at| files.is_empty() || *at == 0).ok_or_else(cut)?;
            rest = rest.get(at + mark.len()..).ok_or_else(cut)?;
            let end = find(rest, b"\n").ok_or_else(cut)?;
            let line = String::from_utf8_lossy(rest.get(..end).unwrap_or_default()).into_owned();
            rest = rest.get(end + 1..).unwrap_or_default();
            match *line.splitn(3, ' ').collect::<Vec<_>>() {
                ["absent"] => return Ok(None),
                ["end"] => return Ok(Some(files)),
                ["file", size, path] => {
                    let size: usize = size.parse().map_err(|_| cut())?;
                    let strange = || Unreadable::Strange(crate::remote::printable(path));
                    let place = Place::read(path).ok_or_else(strange)?;
                    if size == 0 && place != Place::Journal || files.iter().any(|(other, _)| *other == place)
                    {
                        return Err(strange());
                    }
                    let bytes = rest.get(..size).ok_or_else(cut)?;
                    files.push((place, bytes.to_vec()));
                    rest = rest.get(size..).unwrap_or_default();
                }
                _ => return Err(cut()),
            }
        }
    }
}

fn find(text: &[u8], what: &[u8]) -> Option<usize> {
    text.windows(what.len()).position(|window| window == what)
}

#[cfg(test)]
mod tests;
