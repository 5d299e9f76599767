//! What a restore asks of the host: whether it can be done, to unpack, and to swap. Pure.
//!
//! Each folder `X` has, besides, `X.fleet-restore` (what was unpacked) and `X.fleet-before-<run>` (what was live). Which of the three are
//! there tells how far the swap has come, so it can be taken up anywhere.

use crate::plan::{PutBack, Restore};
use crate::remote::Command;

/// What is unpacked for a folder, until it is swapped in.
pub const BESIDE: &str = ".fleet-restore";
/// What was live, with the run's id behind.
pub const BEFORE: &str = ".fleet-before-";

/// One line for the machine, one for k3s, one for each folder with its number: the device it would be written to and what is free there
/// (bytes, all inodes, free inodes), or why it cannot be swapped by renaming. Then the end.
const LOOK: &str = r#"
echo "restore machine $(cat /etc/machine-id 2>/dev/null)"
echo "restore k3s $(k3s --version 2>/dev/null | head -n 1)"
n=0
for x do
    n=$((n + 1)) up=$(dirname -- "$x")
    if [ ! -d "$up" ]; then echo "restore no $n its parent folder is not there"; continue; fi
    if [ -L "$x" ]; then echo "restore no $n it is a symbolic link"; continue; fi
    if [ -e "$x" ] && [ ! -d "$x" ]; then echo "restore no $n it is no folder"; continue; fi
    if [ -d "$x" ] && { mountpoint -q -- "$x" || [ "$(stat -c %d -- "$x")" != "$(stat -c %d -- "$up")" ]; }; then
        echo "restore no $n it is a filesystem of its own"; continue
    fi
    free=$(df -B1 --output=avail,itotal,iavail -- "$up" | tail -n 1) || free='? ? ?'
    echo "restore at $n $(stat -c %d -- "$up")" $free
done
echo "restore end"
"#;

/// `$1` the mode, `$2` the run's id, `$3` whether k3s' own folder is swapped too, `$4` that folder, then all that are swapped, it first. `swap` does all
/// of it; `finish`, for the host's watchdog, only what was begun, and starts k3s in any case.
///
/// A folder of k3s that is not swapped goes away as `X.fleet-hidden` and comes back the same.
///
/// k3s' own folder goes away first and comes last: a k3s that is started in between, by a reboot, finds no cluster, so no container of the
/// wrong state writes to a volume of the right one. What it makes anew is put aside as a stray. Where a rename fails, all are taken back. k3s
/// is never started without its folder. Two of these take turns.
const SWAP: &str = r#"
mode=$1 id=$2 own=$3 server=$4
shift 4
hidden=$server.fleet-hidden
start() { [ -d "$server" ] && systemctl start k3s; }
no() { echo "$1" >&2; start; exit 1; }
begun() {
    [ ! -d "$hidden" ] || return 0
    for x do [ ! -e "$x.fleet-before-$id" ] || return 0; done
    return 1
}
exec 9<"${server%/*}" && flock -w 600 9 || no "another swap is under way"
[ "$mode" = swap ] || begun "$@" || { start; exit; }
left=''
[ ! -d "$hidden" ] || left=1
for x do
    if [ -d "$x.fleet-restore" ]; then left=1
    elif [ ! -d "$x.fleet-before-$id" ] || [ ! -d "$x" ]; then no "$x.fleet-restore is not there: nothing was changed"; fi
done
[ -n "$left" ] || { start; exit; }
systemctl stop k3s && k3s-killall.sh </dev/null || no "k3s could not be stopped: nothing was changed"
case $(systemctl is-active k3s) in inactive | failed) ;; *) no "k3s runs though it was stopped: nothing was changed" ;; esac
stray() {
    [ -e "$1" ] || return 0
    n=1
    while [ -e "$1.fleet-stray-$n-$id" ]; do n=$((n + 1)); done
    mv -T -- "$1" "$1.fleet-stray-$n-$id"
}
aside() {
    [ -d "$1.fleet-restore" ] || return 0
    if [ -e "$1.fleet-before-$id" ]; then stray "$1"; return; fi
    [ -e "$1" ] || mkdir -- "$1" || return 1
    mv -T -- "$1" "$1.fleet-before-$id"
}
into() { [ ! -d "$1.fleet-restore" ] || mv -T -- "$1.fleet-restore" "$1"; }
hide() { if [ "$own" = own ]; then aside "$server"; else [ -d "$hidden" ] || mv -T -- "$server" "$hidden"; fi; }
show() {
    if [ "$own" = own ]; then into "$server"; return; fi
    [ ! -d "$hidden" ] || { stray "$server" && mv -T -- "$hidden" "$server"; }
}
swap() {
    hide || return 1
    for x do
        [ "$x" = "$server" ] || { aside "$x" && into "$x"; } || return 1
    done
    show
}
back() {
    for x do
        [ -d "$x.fleet-before-$id" ] || continue
        [ -e "$x.fleet-restore" ] || mv -T -- "$x" "$x.fleet-restore"
        [ -e "$x" ] || mv -T -- "$x.fleet-before-$id" "$x"
    done
    [ "$own" = own ] || show
}
swap "$@" || { back "$@"; no "not every folder could be swapped; those that were are taken back"; }
sync
start || { echo "everything is swapped in, but k3s does not start" >&2; exit 1; }
"#;

/// Asks whether the folders can be swapped and what is free. Changes nothing.
#[must_use]
pub fn look(folders: &[PutBack]) -> Command {
    Command::new("sh -c").arg(LOOK).arg("fleet-restore-look").args(folders.iter().map(|put| &put.folder))
}

/// Unpacks an archive from standard input beside a folder; what an earlier try has left there is removed.
#[must_use]
pub fn unpack(folder: &str) -> Command {
    let beside = format!("{folder}{BESIDE}");
    Command::new("rm -rf --")
        .arg(&beside)
        .fixed("&& mkdir -m 0700 --")
        .arg(&beside)
        .fixed("&& tar -C")
        .arg(&beside)
        .fixed("--numeric-owner --same-owner --xattrs --xattrs-include='*' --acls --delay-directory-restore -xpf - && sync -f")
        .arg(&beside)
}

/// Whether something is unpacked beside a folder. Changes nothing.
#[must_use]
pub fn is_beside(folder: &str) -> Command {
    Command::new("test -d").arg(format!("{folder}{BESIDE}"))
}

/// Swaps all folders, with k3s stopped meanwhile. Done twice it is done once, and what was begun is finished.
#[must_use]
pub fn swap(run: &str, what: &Restore) -> Command {
    mode("swap", run, what)
}

/// Finishes a swap that was begun, and starts k3s. Harmless where none was begun.
#[must_use]
pub fn finish(run: &str, what: &Restore) -> Command {
    mode("finish", run, what)
}

fn mode(mode: &'static str, run: &str, what: &Restore) -> Command {
    let folders = what.folders.iter().map(|put| put.folder.as_str());
    let (own, server) = match &what.onto {
        Some(onto) => ("other", Some(onto.server.as_str())),
        None => ("own", folders.clone().next()),
    };
    let command = Command::new("sh -c").arg(SWAP).arg("fleet-restore-swap").arg(mode).arg(run).arg(own);
    command.args(server.into_iter().chain(folders))
}

/// Removes for good what was live before. For an operator to type, when all is well.
#[must_use]
pub fn remove(run: &str, folders: &[PutBack]) -> Command {
    let before = folders.iter().map(|put| format!("{}{BEFORE}{run}", put.folder));
    Command::new("rm -rf --").args(before)
}

/// What the host answered to [`look`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Looked {
    /// Its machine's id; empty where it has none.
    pub machine: String,
    /// What `k3s --version` says first; empty where there is none.
    pub k3s: String,
    /// For each folder where it would be written, or why it cannot be.
    pub folders: Vec<Result<Place, String>>,
}

/// Where a folder would be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The filesystem's device.
    pub device: String,
    /// Bytes free.
    pub free: u64,
    /// Inodes free; none where the filesystem does not count them.
    pub inodes: Option<u64>,
}

impl Looked {
    /// Reads the answer about so many folders; an error is one sentence.
    pub fn read(text: &str, count: usize) -> Result<Self, String> {
        let lines: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("restore ")).collect();
        let strange = |line: &str| format!("asked what it has room for, the host says {line:?}");
        if lines.last() != Some(&"end") {
            return Err(strange(text.trim()));
        }
        let mut looked = Self::default();
        for line in lines {
            let words: Vec<&str> = line.split_whitespace().collect();
            match words.as_slice() {
                ["machine", id @ ..] => looked.machine = id.join(" "),
                ["k3s", "k3s", "version", version, ..] => (*version).clone_into(&mut looked.k3s),
                ["k3s", ..] | ["end"] => {}
                ["no", number, why @ ..] if number.parse() == Ok(looked.folders.len() + 1) => {
                    looked.folders.push(Err(why.join(" ")));
                }
                ["at", number, device, free, all, inodes]
                    if number.parse() == Ok(looked.folders.len() + 1) =>
                {
                    let free = free.parse().map_err(|_| strange(line))?;
                    let counted = all.parse().is_ok_and(|all: u64| all > 0);
                    let inodes =
                        if counted { Some(inodes.parse().map_err(|_| strange(line))?) } else { None };
                    looked.folders.push(Ok(Place { device: (*device).to_owned(), free, inodes }));
                }
                _ => return Err(strange(line)),
            }
        }
        if looked.folders.len() == count { Ok(looked) } else { Err(strange("too little")) }
    }
}

#[cfg(test)]
mod tests;
