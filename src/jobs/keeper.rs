//! The shell of a job: what starts, keeps, shows, ends and cleans one. POSIX shell, coreutils, grep, and util-linux' `setsid`, which every
//! Debian and Ubuntu has.
//!
//! ```text
//! job-<id>/about     the run and the step, for people
//!          line      the command, a shell script
//!          fence     number and run of the host's lock under which it was started last, where it was under one
//!          unfenced  there when the keeper found that the lock is another's by now: it did not begin
//!          keep      the keeper, a shell script
//!          pid       the keeper's process and the host's boot id: also the lock, made by `ln`, so that it is whole or not there
//!          group     the command's process group
//!          out       its output, both streams, at most LIMIT; `tail` has the last of what came after
//!          whole     renamed to `cut` when output was left out
//!          ontime    renamed to `overdue` when the deadline comes
//!          ended     how it ended, exit status, boot id
//!          log       what the keeper itself printed
//! ```
//!
//! `ended` gets its room on the disk before the command is started, `overdue` and `cut` are renamed: a disk that the command fills does
//! not keep its end from being written down.

/// Keeps one command from its start to its end, if the host's lock is still the one under which it was started. `$1` the folder, `$2` seconds until the deadline, `$3` blocks of 512 bytes of output,
/// `$4` seconds between TERM and KILL, `$5` the umask of the command.
///
/// The deadline is one `sleep`, which counts time and not the clock. A process group of its own each for command, deadline and output,
/// so that each can be ended whole. `wait` tells the exit status. A TERM to the keeper (from [`END`]) ends the command first; systemd gives it to every
/// process of the unit, and looks for new ones until it finds none, so those of the keeper ignore it: output without a reader would hold up the
/// command's start for ever, and without the last one nothing would end a command that does not listen.
pub(super) const KEEP: &str = r#"
umask 077
if [ -e "$1/fence" ]; then
    now=
    { read -r word number run _ <"${1%/*}/lock"; } 2>/dev/null && now="$word $number $run"
    if [ "$now" != "lock $(cat "$1/fence")" ]; then
        echo "the host's lock is another run's by now"
        touch "$1/unfenced"
        exit 1
    fi
fi
read -r boot </proc/sys/kernel/random/boot_id
[ -p "$1/pipe" ] || mkfifo "$1/pipe" 2>/dev/null || [ -p "$1/pipe" ] || exit 1
{ touch "$1/whole" "$1/ontime" && printf '%126s\n' ' ' >"$1/ended.$$" && echo "$$ $boot" >"$1/pid.$$"; } ||
    { rm -f "$1/ended.$$" "$1/pid.$$"; exit 1; }
told=
trap 'told=1' TERM
if ! ln "$1/pid.$$" "$1/pid" 2>/dev/null; then rm -f "$1/ended.$$" "$1/pid.$$"; exit 0; fi
rm -f "$1/pid.$$"
(trap '' TERM; exec setsid sh -c '(ulimit -f "$2"; exec cat >"$1/out") || { mv "$1/whole" "$1/cut"; tail -c 65536 >"$1/tail"; }' \
    out "$1" "$3" <"$1/pipe") &
out=$!
(umask "$5"; cd "${HOME:-/}"; exec setsid sh "$1/line" </dev/null >"$1/pipe" 2>&1) &
group=$!
echo $group >"$1/group"
(trap '' TERM; exec setsid sh -c 'sleep "$2"; [ ! -e "$1/ended" ] || exit; mv "$1/ontime" "$1/overdue"; kill -TERM -"$3"; sleep "$4"
    kill -KILL -"$3"' limit "$1" "$2" $group "$4") &
limit=$!
last=
end() {
    told=1 hit=1
    trap '' TERM
    kill -TERM -$group 2>/dev/null || kill -TERM $group 2>/dev/null
    [ -n "$last" ] || { setsid sh -c 'sleep "$1"; kill -KILL "$2"; kill -KILL -"$2"' last "$4" $group & last=$!; }
    trap 'end "$@"' TERM
}
trap 'end "$@"' TERM
[ -z "$told" ] || end "$@"
code=
while :; do
    hit=
    wait $group
    now=$?
    [ $now = 127 ] && [ -n "$code" ] || code=$now
    [ -n "$hit" ] || break
done
for left in $limit $last; do kill -KILL $left; kill -KILL -$left; done 2>/dev/null
kill -KILL -$group 2>/dev/null
tries=0
while kill -0 $out 2>/dev/null; do
    tries=$((tries + 1)); [ $tries -lt 100 ] || break
    [ $tries -lt 50 ] || kill -KILL -$out 2>/dev/null
    sleep 0.1
done
how=itself
[ ! -e "$1/overdue" ] || how=overdue
[ -z "$told" ] || how=stopped
printf '%s %s %s\n' $how $code "$boot" 1<>"$1/ended.$$"
mv "$1/ended.$$" "$1/ended"
"#;

/// Starts a job unless it was started. `$1` the folder, `$2` the command's line, `$3` about, `$4` the keeper, `$5` its unit, then what
/// the keeper wants from its `$2` on but for the umask, and `$9` number and run of the host's lock, empty where there is none. Exit status 0:
/// the keeper has the job; 3: nothing was started; 4: another command has this id; 5: started, but not seen yet; 6: not started, the lock is
/// another's.
///
/// Any number of keepers may be started; one gets the lock and the others leave. So one who dies half way here has done no harm.
pub(super) const START: &str = r#"
mask=$(umask)
umask 077
d=$1 began=
no() { cat "$d/log" >&2 2>/dev/null; [ ! -e "$d/unfenced" ] || exit 6; echo "it was not started; its disk: $(df -Pk "$d" | tail -n 1)" >&2; exit 3; }
mkdir -p "$d" || exit 3
if [ ! -e "$d/pid" ]; then
    [ -e "$d/line" ] || put line "$2" || no
    put about "$3" && put keep "$4" || no
    rm -f "$d/unfenced"
    if [ -n "$9" ]; then put fence "$9" || no; else rm -f "$d/fence"; fi
fi
[ "$(cat "$d/line")" = "$(printf '%s\n' "$2")" ] || { echo "this id stands for another command" >&2; exit 4; }
if [ ! -e "$d/pid" ]; then
    if served; then
        systemd-run --quiet --collect --unit="$5" --description="fleet: $3" --property=UMask=0077 --property=TimeoutStopSec=30 \
            --property=RuntimeMaxSec=$(($6 + 120)) --setenv=HOME="$HOME" --setenv=PATH="$PATH" \
            sh "$d/keep" "$d" "$6" "$7" "$8" "$mask" 2>"$d/log" || [ -e "$d/pid" ] || { sleep 1; [ -e "$d/pid" ]; } ||
            no
    else
        setsid sh "$d/keep" "$d" "$6" "$7" "$8" "$mask" </dev/null >>"$d/log" 2>&1 &
        began=$!
    fi
fi
tries=0
until [ -e "$d/pid" ]; do
    tries=$((tries + 1)); [ $tries -lt 200 ] || exit 5
    [ ! -e "$d/unfenced" ] || no
    if [ -n "$began" ] && ! kill -0 "$began" 2>/dev/null && [ ! -e "$d/pid" ]; then no; fi
    sleep 0.1
done
"#;

/// `state`: how the job in the folder `$1` is. A process is known by its command line, which names the folder: a number alone may be
/// another's by now.
pub(super) const STATE: &str = r#"
read -r boot </proc/sys/kernel/random/boot_id
state() {
    [ -d "$1" ] || { echo absent; return; }
    if [ ! -e "$1/ended" ]; then
        [ -e "$1/pid" ] || { echo starting; return; }
        kept=$(head -c 100 "$1/pid" | head -n 1)
        case ${kept%% *} in '' | *[!0-9]*) echo unreadable; return ;; esac
        [ "${kept#* }" = "$boot" ] || { [ -e "$1/ended" ] || { echo rebooted; return; }; }
        if grep -qsF "$1/keep" "/proc/${kept%% *}/cmdline"; then echo running; return; fi
        [ -e "$1/ended" ] || { echo vanished; return; }
    fi
    ended=$(head -c 100 "$1/ended" | head -n 1)
    if [ "${ended##* }" = "$boot" ]; then when=now; else when=before; fi
    printf 'ended %s %s\n' "${ended% *}" $when
}
"#;

/// Shows a job: its state, and its output from an offset. `$1` the folder, `$2` the mark, `$3` the offset, `$4` bytes at most, `$5` for how
/// many looks of a second to wait for news. The state is looked at before the output: what an ended job has printed is all there.
pub(super) const LOOK: &str = r#"
looks=0 more=
while :; do
    state=$(state "$1")
    size=$(wc -c 2>/dev/null <"$1/out" || echo 0)
    case $state in running | starting) ;; *) break ;; esac
    [ $looks -lt "$5" ] || break
    # A command that prints all the time is asked once a second, not as fast as the line is.
    if [ "$size" -gt "$3" ]; then [ -z "$more" ] || break; more=1; fi
    looks=$((looks + 1))
    if [ $looks -lt 5 ]; then sleep 0.2; else sleep 1; fi
done
count=$((size > $3 ? size - $3 : 0))
[ $count -le "$4" ] || count=$4
if [ -e "$1/cut" ]; then cut=cut; else cut=whole; fi
printf '\n%s %s %s %s %s\n' "$2" $((size)) $count $cut "$state"
[ $count = 0 ] || tail -c +$(($3 + 1)) "$1/out" | head -c $count
printf '\n%s end\n' "$2"
"#;

/// Ends a job: TERM, and KILL by the keeper. `$1` the folder, `$2` its unit, `$3` tenths of a second to wait for the end.
pub(super) const END: &str = r#"
case $(state "$1") in
running)
    read -r pid _ <"$1/pid" && kill -TERM "$pid"
    tries=0
    until [ -e "$1/ended" ]; do
        tries=$((tries + 1)); [ $tries -lt "$3" ] || exit 1
        sleep 0.1
    done ;;
vanished)
    # Its keeper is dead; the command may live, if the host has no systemd to end it.
    read -r group <"$1/group" && grep -qsF "$1/line" "/proc/$group/cmdline" && kill -KILL -"$group" ;;
esac
if served; then systemctl stop "$2" 2>/dev/null; fi
exit 0
"#;

/// Removes a job that is over. `$1` the folder. Exit status 3: it runs.
pub(super) const CLEAN: &str = r#"
case $(state "$1") in running) echo "it runs" >&2; exit 3 ;; esac
rm -rf "$1" || exit 1
rmdir "${1%/*}" 2>/dev/null || :
"#;
