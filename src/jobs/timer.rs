//! A dead man's timer: undoes a temporary change on a host unless somebody renews its lease or says that all is well.
//!
//! It is armed *before* the change. It is a shell loop on the host whose state is plain files in its folder:
//!
//! ```text
//! timer-<id>/undo      the shell line that undoes the change; it must be harmless to run twice
//!            lease     the host's uptime, in seconds, until which the change may stay
//!            length    seconds of the newest lease
//!            renew     the script that renews it
//!            loop      the loop
//!            limits    seconds after which it fires whatever the lease says; how often the undo is tried
//!            arm       held (`flock`) by the one who arms it
//!            boot      the boot id for which the lease counts
//!            path      PATH of the one who armed it
//!            pid       its process
//!            started   made by the one who starts it: a second start of the same id finds it and starts nothing
//!            fired     the lease was over, the change is being undone
//!            undone    it is undone
//!            gave-up   the undo failed, as often as it was tried
//!            disarmed  its work is done, it ends
//!            log       what it printed
//! ```
//!
//! Leases count the host's uptime, not its clock: a clock that jumps does not end one. Where systemd is the host's service manager the
//! loop is a unit that is enabled, so it outlives a reboot, which gives it its newest lease anew. Elsewhere a reboot ends it.

use std::time::Duration;

use super::job::script;
use super::{SERVED, plain};
use crate::remote::{Command, Output};

/// How often an undo that fails is tried, five seconds apart: ten minutes.
const TRIES: u32 = 120;

/// The loop. `$1` its folder. That it fires is written with `echo`: where the file cannot be written (a full disk), `:` would end the shell,
/// being a special builtin, and the change would stay. What it needs is in its memory before it waits: that its folder is gone
/// does not keep it from firing. The lease is read again after `fired` is written, and a renewal looks for `fired` after it has
/// written: so one of the two sees the other.
const LOOP: &str = r#"
cd "$1" || exit 1
[ ! -e undone ] && [ ! -e disarmed ] && [ ! -e gave-up ] || exit 0
undo=$(cat undo) || exit 1
read -r longest tries <limits
[ ! -s path ] || PATH=$(cat path)
length=$(cat length)
{ echo $$ >pid.new && mv pid.new pid; } || [ -e pid ] || exit 1
read -r boot </proc/sys/kernel/random/boot_id
read -r up _ </proc/uptime; end=$((${up%.*} + longest))
if [ "$(cat boot)" != "$boot" ] && [ ! -e fired ]; then
    { sh "$1/renew" "$length" && echo "$boot" >boot.new && mv boot.new boot; } || end=$((${up%.*} + length))
fi
while [ ! -e disarmed ]; do
    read -r up _ </proc/uptime; now=${up%.*}
    lease=$(cat lease)
    if [ "$now" -gt "${lease:-0}" ] || [ "$now" -gt "$end" ] || [ -e fired ]; then
        echo fired >fired
        lease=$(cat lease)
        if [ "$now" -le "${lease:-0}" ] && [ "$now" -le "$end" ]; then rm -f fired; continue; fi
        n=0
        until [ -e disarmed ] || sh -c "$undo"; do
            n=$((n + 1)); [ $n -lt "$tries" ] || { echo gave-up >gave-up; exit 1; }
            sleep 5
        done
        [ -e disarmed ] || echo undone >undone
        exit 0
    fi
    sleep 1
done
"#;

/// Renews the lease from its own folder. `$1` seconds. Exit status 3: it has fired.
const RENEW: &str = r#"
d=${0%/*}
read -r up _ </proc/uptime && echo $((${up%.*} + $1)) >"$d/lease.$$" && echo "$1" >"$d/length.$$" &&
    mv "$d/length.$$" "$d/length" && mv "$d/lease.$$" "$d/lease" || exit 1
[ ! -e "$d/fired" ] || { echo "the timer has fired" >&2; exit 3; }"#;

/// Arms it once. `$1` its folder, `$2` seconds of the first lease, `$3` its limits, `$4` the loop, `$5` what renews, `$6` the undo, `$7` its
/// unit. A folder with a name that a unit would have to quote gets a loop alone. One that was left half armed (a power cut) is armed anew:
/// who began that is gone by then, for he waits 10 s for the loop. So is one whose loop is dead and has not fired. Those who arm it at the same
/// time come one after the other (`flock`, which the loop must not inherit).
const ARM: &str = r#"
umask 077
d=$1 unit=/etc/systemd/system/$7.service
alive() { grep -qsF "$d/loop" "/proc/$(cat "$d/pid")/cmdline"; }
mkdir -p "$d" && put renew "$5" && sh "$d/renew" "$2" && exec 9>"$d/arm" && flock -w 20 9 || exit 1
if [ ! -s "$d/pid" ]; then
    [ -z "$(find "$d/started" -prune -mmin +2 2>/dev/null)" ] || rmdir "$d/started"
elif ! alive; then
    [ ! -e "$d/fired" ] && rm -rf "$d/started" "$d/pid" "$d/disarmed" || exit 1
fi
if mkdir "$d/started" 2>/dev/null; then
    put undo "$6" && put limits "$3" && put path "$PATH" && put boot "$(cat /proc/sys/kernel/random/boot_id)" && put loop "$4" || exit 1
    case $d in *[!A-Za-z0-9/._-]*) named= ;; *) named=1 ;; esac
    if [ -n "$named" ] && served && { printf '%s\n' "[Unit]" "Description=fleet: undoes a temporary change (timer)" "[Service]" \
        "ExecStart=/bin/sh $d/loop $d" "KillMode=process" "Restart=on-abnormal" "[Install]" "WantedBy=multi-user.target" >"$unit"; } 2>/dev/null
    then
        systemctl enable --quiet --now "$7.service" || exit 1
    else
        setsid sh "$d/loop" "$d" </dev/null >"$d/log" 2>&1 9>&- &
    fi
fi
exec 9>&-
tries=0
until [ -s "$d/pid" ]; do
    tries=$((tries + 1)); [ $tries -lt 100 ] || exit 1
    sleep 0.1
done
alive || exit 1
if [ -e "$unit" ]; then echo "fleet-timer outlives a reboot"; fi
"#;

/// Ends the loop and removes its folder. `$1` its folder, `$2` its unit. A process is known by its command line, which names the folder: a
/// number alone may be another's by now, and a process that has ended keeps its number until it is reaped. An undo that is under way is
/// left to come to its end.
const DISARM: &str = r#"
d=$1 unit=/etc/systemd/system/$2.service
[ -d "$d" ] || exit 0
touch "$d/disarmed"
if [ -e "$unit" ]; then
    systemctl disable --quiet --now "$2.service"
    rm -f "$unit" && systemctl daemon-reload
fi
pid=$(cat "$d/pid" 2>/dev/null)
tries=0
while grep -qsF "$d/loop" "/proc/${pid:-none}/cmdline"; do
    kill -9 "$pid" 2>/dev/null
    tries=$((tries + 1)); [ $tries -lt 100 ] || exit 1
    sleep 0.02
done
[ ! -e "$d/fired" ] || echo "fleet-timer had fired"
rm -rf "$d" || exit 1
rmdir "${d%/*}" 2>/dev/null || :
"#;

/// The timer of one temporary change.
#[derive(Debug, Clone)]
pub struct Timer {
    folder: String,
    unit: String,
    undo: String,
}

impl Timer {
    /// The timer of this id, in the host's spool folder, and the command that undoes the change. Nothing is asked of the host yet.
    ///
    /// The undo may be run more than once, and also when the change was never made: it must be harmless then. Its line stands in a file
    /// on the host and must hold no secret; it gets no standard input.
    #[must_use]
    pub fn new(spool: &str, id: &str, undo: &Command) -> Self {
        let id = plain(id);
        Self {
            folder: format!("{}/timer-{id}", spool.trim_end_matches('/')),
            unit: format!("fleet-timer-{id}"),
            undo: undo.line().to_owned(),
        }
    }

    /// The watchdog of a copy: starts k3s again.
    #[must_use]
    pub fn starts_k3s(spool: &str, backup: &str) -> Self {
        Self::new(spool, &format!("k3s-{backup}"), &Command::new("systemctl start k3s"))
    }

    /// Its folder on the host.
    #[must_use]
    pub fn folder(&self) -> &str {
        &self.folder
    }

    /// Arms it with a first lease, in whole seconds. Doing this twice starts it once and renews the lease. It fires after `longest` whatever
    /// happens to the lease. Only after exit status 0 may the change be made: see [`Timer::outlives_reboot`].
    #[must_use]
    pub fn arm(&self, lease: Duration, longest: Duration) -> Command {
        script(&[SERVED, ARM])
            .arg("fleet-arm")
            .arg(&self.folder)
            .arg(lease.as_secs().to_string())
            .arg(format!("{} {TRIES}", longest.as_secs()))
            .arg(LOOP)
            .arg(RENEW)
            .arg(&self.undo)
            .arg(&self.unit)
    }

    /// Whether the host that answered [`Timer::arm`] so keeps the timer over a reboot.
    #[must_use]
    pub fn outlives_reboot(armed: &Output) -> bool {
        says(armed, "fleet-timer outlives a reboot")
    }

    /// Renews the lease from now on. It fails, with exit status 3, when the timer has fired: then the change is undone.
    #[must_use]
    pub fn renew(&self, lease: Duration) -> Command {
        Command::new("sh").arg(format!("{}/renew", self.folder)).arg(lease.as_secs().to_string())
    }

    /// The command, with the lease renewed just before it; when the timer has fired nothing of it is run, however many commands its line
    /// has.
    #[must_use]
    pub fn guard(&self, lease: Duration, command: &Command) -> Command {
        let guarded = self
            .renew(lease)
            .then("|| exit;", command)
            .deadline(command.time_allowed())
            .limit(command.memory_allowed());
        let guarded = if command.is_sensitive() { guarded.sensitive() } else { guarded };
        match command.input() {
            Some(input) => guarded.stdin(input.to_vec()),
            None => guarded,
        }
    }

    /// Asks whether it is still waiting: exit status 0 when it lives and has not fired.
    #[must_use]
    pub fn is_waiting(&self) -> Command {
        Command::new("test ! -e")
            .arg(format!("{}/fired", self.folder))
            .fixed("&& grep -qF")
            .arg(format!("{}/loop", self.folder))
            .fixed("/proc/$(cat")
            .arg(format!("{}/pid", self.folder))
            .fixed(")/cmdline")
    }

    /// Ends it and removes its folder: the change stays, or is taken back by other means. See [`Timer::had_fired`].
    #[must_use]
    pub fn disarm(&self) -> Command {
        disarm(&self.folder, &self.unit)
    }

    /// Whether the timer that answered [`Timer::disarm`] so had fired before: the change is undone, or was being undone just then.
    #[must_use]
    pub fn had_fired(disarmed: &Output) -> bool {
        says(disarmed, "fleet-timer had fired")
    }
}

/// Ends the timer of this folder and unit.
pub(super) fn disarm(folder: &str, unit: &str) -> Command {
    Command::new("sh -c").arg(DISARM).arg("fleet-disarm").arg(folder).arg(unit)
}

fn says(output: &Output, what: &str) -> bool {
    output.text().lines().any(|line| line == what)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::remote::Exit;
    use crate::remote::shell::in_shell;

    #[test]
    fn a_timer_that_was_left_half_armed_is_armed_anew() {
        let folder = tempfile::tempdir().unwrap();
        // A path with blanks gets no unit: nothing of this machine is touched.
        let spool = folder.path().join("the spool");
        let started = spool.join("timer-fixed/started");
        std::fs::create_dir_all(&started).unwrap();
        let begun = std::time::SystemTime::now() - Duration::from_secs(600);
        std::fs::File::open(&started).unwrap().set_modified(begun).unwrap();
        let timer = Timer::new(spool.to_str().unwrap(), "fixed", &Command::new("true"));
        let hour = Duration::from_secs(3600);
        for command in [timer.arm(hour, hour), timer.is_waiting(), timer.disarm()] {
            assert!(in_shell(&command).success(), "{command}");
        }
        assert!(!spool.exists());
    }

    #[test]
    fn a_timer_whose_loop_is_dead_is_armed_anew_and_one_that_has_fired_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let timer =
            Timer::new(folder.path().join("the spool").to_str().unwrap(), "fixed", &Command::new("true"));
        let (hour, waits) = (Duration::from_secs(3600), || in_shell(&timer.is_waiting()).success());
        let kill = Command::new("kill -KILL $(cat").arg(format!("{}/pid", timer.folder())).fixed(")");
        let dies = || {
            assert!(in_shell(&kill).success());
            assert!((0..1000).any(|_| !waits()), "it is dead");
        };
        assert!(in_shell(&timer.arm(hour, hour)).success() && waits());
        dies();
        for _ in 0..2 {
            let again = in_shell(&timer.arm(hour, hour));
            assert!(again.success() && waits(), "{}", again.complaint());
        }
        dies();
        std::fs::write(format!("{}/fired", timer.folder()), "fired").unwrap();
        assert_eq!(in_shell(&timer.arm(hour, hour)).exit, Exit::Code(1));
        assert!(Timer::had_fired(&in_shell(&timer.disarm())));
    }

    #[test]
    fn a_guard_holds_back_every_command_of_a_line_and_hands_on_its_input() {
        let folder = tempfile::tempdir().unwrap();
        let timer =
            Timer::new(folder.path().join("the spool").to_str().unwrap(), "fixed", &Command::new("true"));
        let hour = Duration::from_secs(3600);
        assert!(in_shell(&timer.arm(hour, hour)).success());
        let guarded = timer.guard(hour, &Command::new("cat; echo changed; exit 7").stdin(b"told, ".to_vec()));
        let ran = in_shell(&guarded);
        assert_eq!((ran.exit.clone(), ran.text().as_ref()), (Exit::Code(7), "told, changed\n"));
        std::fs::write(format!("{}/fired", timer.folder()), "fired").unwrap();
        let late = in_shell(&guarded);
        assert_eq!((late.exit.clone(), late.text().as_ref()), (Exit::Code(3), ""));
        in_shell(&timer.disarm());
    }
}
