//! The shell of a host's lock. POSIX shell, coreutils, and util-linux' `flock`, which every Debian and Ubuntu has.
//!
//! ```text
//! <spool>/fence         the newest fencing number; it outlives every lock. Its `flock` keeps takers, breakers and givers-back apart
//!         lock          `lock NUMBER RUN MACHINE`, owner, since, reason, `end`: whole or not there
//!         beat.NUMBER   boot id and uptime of the holder's last sign of life; written over in place, so a full disk is no death
//!         changed       number and run of the last one that began to change the cluster
//!         locks.log     every lock that was broken, by whom and why
//!         runs/RUN/     the run's journal, as its holder sends it
//! ```

/// What all of them begin with. `$1` the spool, `$2` the mark of the answer.
///
/// `idle` knows the newest sign of life: by the uptime, which no clock can turn back. One of an earlier boot says only that the host was started
/// anew since, so at least as long ago as it is up.
pub(super) const COMMON: &str = r#"
umask 077
s=$1 m=$2
say() { printf '\n%s %s\n' "$m" "$*"; }
cannot() { say cannot "$1"; exit 0; }
read -r boot </proc/sys/kernel/random/boot_id
read -r up _ </proc/uptime
up=${up%.*}
alone() {
    { mkdir -p "$s" && (: >>"$s/fence"); } 2>/dev/null || cannot "$s cannot be written; its disk: $(df -Pk "$s" 2>&1 | tail -n 1)"
    command -v flock >/dev/null || cannot "it has no flock (Debian's package util-linux)"
    exec 9<>"$s/fence"
    flock -w 20 9 || cannot "another fleet has kept its lock busy for 20 s"
}
idle() {
    kind=none age=0
    for f in "$s"/beat.*; do
        b='' u=''
        { read -r b u _ <"$f"; } 2>/dev/null
        case $u in '' | *[!0-9]*) continue ;; esac
        if [ "$b" != "$boot" ]; then
            [ $kind = since ] || kind=anew age=$up
        elif [ $kind != since ] || [ $((up - u)) -lt $age ]; then
            kind=since age=$((up > u ? up - u : 0))
        fi
    done
}
tell() {
    idle
    say "$1" $kind $age
    head -c 4096 "${2:-$s/lock}"
    say end
}
whole() {
    word='' number='' run='' machine=''
    { read -r word number run machine <"$s/lock"; } 2>/dev/null
    case $number in '' | *[!0-9]*) return 1 ;; esac
    [ "$word" = lock ] && [ "$(tail -n 1 "$s/lock")" = end ]
}
"#;

/// Looks.
pub(super) const LOOK: &str = r#"
if [ -e "$s/lock" ]; then tell held; else say free; fi
"#;

/// Takes it. `$3` run, `$4` machine, `$5` owner, `$6` since, `$7` reason. A lock of the same run from the same machine is taken again, with a new
/// number: whoever asks holds the run's own lock there, so the process before him is dead. `ln` besides `flock`: a `fence` that somebody has
/// removed meanwhile must not make two holders.
pub(super) const TAKE: &str = r#"
alone
again='' number=0
if [ -e "$s/lock" ]; then
    if whole && [ "$run $machine" = "$3 $4" ]; then again=1; else tell held; exit 0; fi
fi
read -r n _ <"$s/fence" || :
case $n in '') n=0 ;; *[!0-9]*) cannot "$s/fence is damaged: it holds no number" ;; esac
[ $n -ge $number ] || n=$number
n=$((n + 1))
trap 'rm -f "$s/lock.$$"' EXIT
{
    mkdir -p "$s/runs/$3" && printf '%20s\n' $n 1<>"$s/fence" && printf '%s %12s\n' "$boot" "$up" >"$s/beat.$n" &&
        printf 'lock %s %s %s\nowner %s\nsince %s\nreason %s\nend\n' $n "$3" "$4" "$5" "$6" "$7" >"$s/lock.$$" &&
        sync "$s/lock.$$" "$s/fence" &&
        if [ -n "$again" ]; then mv -f "$s/lock.$$" "$s/lock"; else ln "$s/lock.$$" "$s/lock"; fi
} 2>/dev/null || cannot "$s cannot be written; its disk: $(df -Pk "$s" | tail -n 1)"
for f in "$s"/beat.*; do [ "$f" = "$s/beat.$n" ] || rm -f "$f"; done
say taken $n
"#;

/// Gives it back. `$3` number, `$4` run.
pub(super) const RELEASE: &str = r#"
alone
if whole && [ "$number $run" = "$3 $4" ]; then
    rm -f "$s/lock" "$s/beat.$3" || cannot "$s/lock cannot be removed"
    say released
elif [ -e "$s/lock" ]; then tell held; else say free; fi
"#;

/// Breaks it. `$3` its number, or `-` for a damaged one; `$4` seconds for which a sign of life counts, `$5` who breaks it, `$6` why, `$7` when.
///
/// The lock is put aside before the last look at its holder's signs of life, and a holder shows one before its last look at the lock: so one of
/// the two sees the other.
pub(super) const BREAK: &str = r#"
alone
[ -e "$s/lock" ] || { say free; exit 0; }
if whole; then seen=$number; else seen=- run=-; fi
lives() { idle; [ $kind != none ] && [ $age -lt "$1" ]; }
if [ "$seen" != "$3" ] || lives "$4"; then tell held; exit 0; fi
log() {
    case $kind in since) life="no sign of life for $age s" ;; anew) life="started anew $age s ago" ;; *) life="no sign of life" ;; esac
    printf '%s %s %s the lock %s of run %s (%s): %s\n' "$1" "$2" "$3" "$seen" "$run" "$life" "$4" >>"$s/locks.log"
}
log "$7" "$5" broke "$6" || cannot "$s/locks.log cannot be written"
mv "$s/lock" "$s/lock.broken" || cannot "$s/lock cannot be moved"
if lives "$4"; then
    mv "$s/lock.broken" "$s/lock"
    log "$7" "$5" "put back" "its holder lives"
    tell held
    exit 0
fi
tell broken "$s/lock.broken"
rm -f "$s/lock.broken" "$s"/beat.*
"#;

/// What stands before each command of a holder: `s` the spool, `f` the number, `i` the run, `m` a mark, `l` bytes of journal on standard input
/// ahead of the command's own, `t` whether the journal's last line may be torn, `c` whether the cluster is about to be changed. One line: not
/// every login shell can be told a line feed. In a shell of its own, so that the command finds nothing of it.
///
/// The sign of life comes between two looks at the lock, see [`BREAK`]. Standard input that ends before it should is a lost line: then
/// nothing is appended. Exit status 97 with the mark on standard error: the command was not run.
pub(super) const GUARD: &str = concat!(
    r#"; no() { echo "$m $1" >&2; exit 97; }; "#,
    r#"ours() { w='' n='' r=''; { read -r w n r _ <"$s/lock"; } 2>/dev/null; [ "$w $n $r" = "lock $f $i" ]; }; "#,
    r"ours || no lost; ",
    r"read -r b </proc/sys/kernel/random/boot_id; read -r u _ </proc/uptime; ",
    r#"{ printf '%s %12s\n' "$b" "${u%.*}" 1<>"$s/beat.$f"; } 2>/dev/null || no full; "#,
    r"ours || no lost; ",
    r#"if [ "$l" != 0 ]; then x=$(head -c "$l"); case $x in *[}]?end) ;; *) no cut ;; esac; j=$s/runs/$i/journal.ndjson; "#,
    r#"{ [ "$t" = 0 ] || [ ! -s "$j" ] || echo >>"$j"; } 2>/dev/null && "#,
    r#"{ umask 077; printf %s "${x%end}" >>"$j"; } 2>/dev/null || no full; fi; "#,
    r#"[ "$c" = 0 ] || { echo "$f $i" >"$s/changed.$f" && mv "$s/changed.$f" "$s/changed"; } 2>/dev/null || no full"#,
);

/// What stands between the guard and the command.
pub(super) const THEN: &str = ") || exit;";

/// How a guard ends that did not let its command run.
pub(super) const UNGUARDED: u32 = 97;
