//! Detached commands on a host: they belong to the host, not to an SSH channel.
//!
//! So far there is one: the watchdog, which starts k3s again when nobody renews its lease. It is a shell loop in a session of its own
//! (`setsid`, no terminal, no open descriptors of ours), and its state is plain files in its folder:
//!
//! ```text
//! lease      the host's uptime, in seconds, until which k3s may stay stopped
//! renew      the script that renews it
//! pid        its process
//! started    made by the one who starts it: a second start of the same id finds it and starts nothing
//! fired      the lease was over, k3s is being started
//! disarmed   its work is done, it ends
//! log        what it printed
//! ```
//!
//! Leases count the host's uptime, not its clock: a clock that jumps does not end one. A reboot ends the watchdog, and starts k3s.

use std::time::Duration;

use crate::remote::Command;

/// The loop. `$1` its folder, `$2` seconds after which it fires whatever the lease says. That it fires is written with `echo`: where the
/// file cannot be written (a full disk), `:` would end the shell, being a special builtin, and k3s would stay stopped.
const LOOP: &str = r#"
cd "$1" || exit 1
echo $$ >pid.new && mv pid.new pid || exit 1
read -r up _ </proc/uptime; end=$((${up%.*} + $2))
while [ ! -e disarmed ]; do
    read -r up _ </proc/uptime; now=${up%.*}
    lease=$(cat lease)
    if [ "$now" -gt "${lease:-0}" ] || [ "$now" -gt "$end" ]; then
        echo fired >fired
        tries=0
        until [ -e disarmed ] || systemctl start k3s; do
            tries=$((tries + 1)); [ $tries -lt 120 ] || exit 1
            sleep 5
        done
        exit 0
    fi
    sleep 1
done
"#;

/// Renews the lease from its own folder. `$1` seconds.
const RENEW: &str = r#"read -r up _ </proc/uptime && echo $((${up%.*} + $1)) >"${0%/*}/lease.$$" && mv "${0%/*}/lease.$$" "${0%/*}/lease""#;

/// Starts the loop once. `$1` its folder, `$2` seconds of the first lease, `$3` seconds at most, `$4` the loop, `$5` what renews.
const ARM: &str = r#"
umask 077
mkdir -p "$1" && echo "$5" >"$1/renew.$$" && mv "$1/renew.$$" "$1/renew" && sh "$1/renew" "$2" || exit 1
if mkdir "$1/started" 2>/dev/null; then
    setsid sh -c "$4" fleet-watchdog "$1" "$3" </dev/null >"$1/log" 2>&1 &
fi
tries=0
until [ -s "$1/pid" ]; do
    tries=$((tries + 1)); [ $tries -lt 100 ] || exit 1
    sleep 0.1
done
grep -qF "$1" "/proc/$(cat "$1/pid")/cmdline"
"#;

/// Ends the loop and removes its folder. `$1` its folder. A process is known by its command line, which names the folder: a number alone
/// may be another's by now, and a process that has ended keeps its number until it is reaped.
const DISARM: &str = r#"
[ -d "$1" ] || exit 0
: >"$1/disarmed"
pid=$(cat "$1/pid" 2>/dev/null)
tries=0
while grep -qsF "$1" "/proc/${pid:-none}/cmdline"; do
    kill -9 "$pid" 2>/dev/null
    tries=$((tries + 1)); [ $tries -lt 100 ] || exit 1
    sleep 0.02
done
rm -rf "$1"
rmdir "${1%/*}" 2>/dev/null || :
"#;

/// The watchdog of one copy.
#[derive(Debug, Clone)]
pub struct Watchdog {
    folder: String,
}

impl Watchdog {
    /// The watchdog of this id, in the host's spool folder. Nothing is asked of the host yet.
    #[must_use]
    pub fn new(spool: &str, id: &str) -> Self {
        Self { folder: format!("{}/watchdog-{id}", spool.trim_end_matches('/')) }
    }

    /// Starts it with a first lease. Doing this twice starts it once and renews the lease. It fires after `longest` whatever
    /// happens to the lease.
    #[must_use]
    pub fn arm(&self, lease: Duration, longest: Duration) -> Command {
        Command::new("sh -c")
            .arg(ARM)
            .arg("fleet-arm")
            .arg(&self.folder)
            .arg(lease.as_secs().to_string())
            .arg(longest.as_secs().to_string())
            .arg(LOOP)
            .arg(RENEW)
    }

    /// Renews the lease from now on.
    #[must_use]
    pub fn renew(&self, lease: Duration) -> Command {
        Command::new("sh").arg(format!("{}/renew", self.folder)).arg(lease.as_secs().to_string())
    }

    /// The command, with the lease renewed just before it.
    #[must_use]
    pub fn guard(&self, lease: Duration, command: &Command) -> Command {
        let guarded = self
            .renew(lease)
            .then("&&", command)
            .deadline(command.time_allowed())
            .limit(command.memory_allowed());
        if command.is_sensitive() { guarded.sensitive() } else { guarded }
    }

    /// Asks whether it is still waiting: exit status 0 when it lives and has not fired.
    #[must_use]
    pub fn is_waiting(&self) -> Command {
        Command::new("test ! -e")
            .arg(format!("{}/fired", self.folder))
            .fixed("&& grep -qF")
            .arg(&self.folder)
            .fixed("/proc/$(cat")
            .arg(format!("{}/pid", self.folder))
            .fixed(")/cmdline")
    }

    /// Ends it and removes its folder.
    #[must_use]
    pub fn disarm(&self) -> Command {
        Command::new("sh -c").arg(DISARM).arg("fleet-disarm").arg(&self.folder)
    }
}
