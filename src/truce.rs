//! The truce with what a cluster and its host do by themselves at night (promise M14): the commands that hold it and give it back, and
//! what their answers mean.
//!
//! Everything here is pure; `run::truce` carries it out. One script does all of it on the host, on a list of things that each know how
//! they were found, so that the very list that the host's timer gives back is the one that `fleet` gives back. How it all works is told in
//! `docs/truce.md`.

use std::time::Duration;

use crate::facts::schedule::Schedule;
use crate::jobs::Timer;
use crate::plan::{self, Shut};
use crate::remote::{Command, Output, printable};

mod seen;

pub use seen::Seen;

/// The lease of a hold: how long the host waits for a sign of life.
pub const LEASE: Duration = Duration::from_secs(3600);
/// The host gives back after this time whatever it hears.
pub const LONGEST: Duration = Duration::from_secs(24 * 3600);
/// How long the script may take: a nightly job that runs already is waited for.
const ALLOWED: Duration = Duration::from_secs(300);

/// `$1` is what to do with each thing: `look`, `hold` or `back`. Then five words a thing: what it is, its namespace, its name, how it was
/// found, and from when on (Unix time) it would have been shut by a nightly job, or `-`. A line is printed for each, with its state before
/// and after. Exit status 0: all is as wanted, which was read back. What is not there (any more) is left alone.
///
/// A cron job that missed its time while it was suspended would run at once when it is not any more: two that missed theirs, in any order.
/// So its schedule is made to count from now first, by its status.
const SCRIPT: &str = r#"
k() { k3s kubectl "$@"; }
see() { k get "$1" "$3" -n "$2" --ignore-not-found -o "jsonpath=$4"; }
of() { case $1 in job) echo cronjobs.batch ;; *) echo gitrepositories.source.toolkit.fluxcd.io ;; esac; }
state() {
    version='' busy=''
    case $1 in
    timer) is=$(systemctl is-active "$3" || :) ;;
    controller) is=$(see deployments.apps "$2" "$3" "{.spec.replicas}") || { is='?'; return 1; } ;;
    *)
        is=$(see "$(of "$1")" "$2" "$3" "{.apiVersion}|{.spec.suspend}|{.status.active}") || { is='?'; return 1; }
        [ -n "$is" ] || return 0
        version=${is%%|*} is=${is#*|}
        busy=${is#*|}
        case $is in true*) is=true ;; *) is=false ;; esac
        ;;
    esac
}
from_now() {
    at=/apis/$version/namespaces/$1/cronjobs/$2 t=$(date -u +%Y-%m-%dT%H:%M:%SZ) || return 1
    said=$(k get --raw "$at" | sed "s/\"lastScheduleTime\":\"[^\"]*\"/\"lastScheduleTime\":\"$t\"/
        s/\"status\":{}/\"status\":{\"lastScheduleTime\":\"$t\"}/" | k replace --raw "$at/status" -f -) || return 1
    case $said in *"\"lastScheduleTime\":\"$t\""*) ;; *) return 1 ;; esac
}
to() {
    case $1 in
    timer) case $4 in active) systemctl start "$3" ;; *) systemctl stop "$3" ;; esac ;;
    controller) k scale deployments.apps "$3" -n "$2" "--replicas=$4" ;;
    *)
        [ "$1 $4" != "job false" ] || from_now "$2" "$3" || return 1
        k patch "$(of "$1")" "$3" -n "$2" --type merge -p "{\"spec\":{\"suspend\":$4}}"
        ;;
    esac >/dev/null
}
mode=$1 bad=0
shift
now=$(date +%s) && echo "truce now $now" || exit 1
while [ $# -ge 5 ]; do
    kind=$1 ns=$2 name=$3 want=$4 shut=$5
    shift 5
    state "$kind" "$ns" "$name" || { echo "truce $kind $ns $name ? ?"; bad=1; continue; }
    was=$is
    [ "$shut" = - ] || [ "$now" -lt "$shut" ] || case $kind in source) want=true ;; controller) want=0 ;; esac
    case $mode.$kind in
    back.*) ;;
    hold.job) want=true ;;
    hold.controller) want=0 ;;
    hold.timer) want=inactive ;;
    *) want=$was ;;
    esac
    if [ -n "$was" ] && [ "$was" != "$want" ]; then
        to "$kind" "$ns" "$name" "$want"
        state "$kind" "$ns" "$name" && [ "$is" = "$want" ] || bad=1
    fi
    n=0
    while [ "$mode.$kind" = hold.job ] && [ -n "$busy" ]; do
        n=$((n + 1)); [ $n -lt 60 ] || { is=busy bad=1; break; }
        sleep 1
        state "$kind" "$ns" "$name" || break
    done
    echo "truce $kind $ns $name ${was:-gone} ${is:-gone}"
done
exit $bad
"#;

/// The name of the script among the host's processes; its words come after it on the last line of the timer's undo.
const NAME: &str = "fleet-truce";

/// What the host keeps of a truce: `$1` the timer's folder; and of the maintenance windows (`window`), whose timers stand beside it: each
/// with its state and the seconds of its lease that are left.
const STANDING: &str = r#"
if [ -d "$1" ]; then
    echo "truce there"
    for f in fired undone; do [ ! -e "$1/$f" ] || echo "truce $f"; done
    [ ! -e "$1/undo" ] || tail -n 1 "$1/undo" | head -c 65536 | sed "s/^/truce undo /"
fi
read -r up _ </proc/uptime
for d in "${1%/*}"/timer-*window; do
    [ -d "$d" ] || continue
    is=dead
    grep -qsF "$d/loop" "/proc/$(cat "$d/pid" 2>/dev/null)/cmdline" && is=waiting
    for f in fired gave-up undone; do [ ! -e "$d/$f" ] || is=$f; done
    echo "truce window ${d##*/timer-} $is $(($(cat "$d/lease" 2>/dev/null || echo 0) - ${up%.*}))"
done
echo "truce end"
"#;

/// One thing that is held, or recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Thing {
    /// What it is.
    pub kind: Kind,
    /// Its namespace; `-` for what has none.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// How it was found: `true` or `false` for suspended or not, replicas, systemd's word.
    pub found: String,
    /// From when on, in Unix time, a nightly job would have shut it.
    pub shut: Option<i64>,
}

/// What a thing is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A cron job.
    Job,
    /// A Flux source.
    Source,
    /// The Deployment of the system-upgrade-controller.
    Controller,
    /// A timer of the host's service manager.
    Timer,
}

impl Kind {
    const fn word(self) -> &'static str {
        match self {
            Self::Job => "job",
            Self::Source => "source",
            Self::Controller => "controller",
            Self::Timer => "timer",
        }
    }

    fn read(word: &str) -> Option<Self> {
        [Self::Job, Self::Source, Self::Controller, Self::Timer].into_iter().find(|kind| kind.word() == word)
    }
}

impl Thing {
    /// The same thing, whatever its state.
    #[must_use]
    pub fn is(&self, other: &Self) -> bool {
        (self.kind, &self.namespace, &self.name) == (other.kind, &other.namespace, &other.name)
    }

    /// For people.
    #[must_use]
    pub fn title(&self) -> String {
        let Self { kind, namespace, name, .. } = self;
        match kind {
            Kind::Job => format!("cron job {namespace}/{name}"),
            Kind::Source => format!("source {namespace}/{name}"),
            Kind::Controller => format!("{namespace}/{name}"),
            Kind::Timer => format!("the host's {name}"),
        }
    }

    fn words(&self) -> [String; 5] {
        let shut = self.shut.map_or_else(|| "-".to_owned(), |at| at.to_string());
        let Self { kind, namespace, name, found, .. } = self;
        [kind.word().to_owned(), namespace.clone(), name.clone(), found.clone(), shut]
    }

    fn read(words: &[&str]) -> Option<Self> {
        let [kind, namespace, name, found, shut] = words else { return None };
        let plain = |word: &str| word.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '.'));
        if ![namespace, name, found].into_iter().all(|word| plain(word)) {
            return None;
        }
        let shut = if *shut == "-" { None } else { Some(shut.parse().ok()?) };
        let owned = |word: &str| word.to_owned();
        let (namespace, name, found) = (owned(namespace), owned(name), owned(found));
        Some(Self { kind: Kind::read(kind)?, namespace, name, found, shut })
    }
}

/// The things that a plan names, as the facts had them.
#[must_use]
pub fn things(truce: &plan::Truce) -> Vec<Thing> {
    let of = |kind, found: &plan::Found| Thing {
        kind,
        namespace: found.object.namespace.clone(),
        name: found.object.name.clone(),
        found: found.suspended.to_string(),
        shut: None,
    };
    let jobs = truce.cron_jobs.iter().map(|job| of(Kind::Job, job));
    let sources = truce.sources.iter().map(|source| of(Kind::Source, source));
    let controller = truce.controller.iter().map(|(object, replicas)| Thing {
        kind: Kind::Controller,
        namespace: object.namespace.clone(),
        name: object.name.clone(),
        found: replicas.to_string(),
        shut: None,
    });
    let timers = truce.timers.iter().map(|timer| Thing {
        kind: Kind::Timer,
        namespace: "-".to_owned(),
        name: timer.clone(),
        found: "active".to_owned(),
        shut: None,
    });
    jobs.chain(sources).chain(controller).chain(timers).collect()
}

/// What is to be held or recorded of the things that a plan names, as a look has found them just now: a plan may be hours old. What is
/// suspended, stopped or not there is none of ours.
#[must_use]
pub fn to_hold(truce: &plan::Truce, seen: &Seen) -> Vec<Thing> {
    let next = |hours: &[Shut]| {
        let next = |shut: &Shut| Schedule::parse(&shut.schedule)?.next(seen.now, shut.offset_seconds);
        hours.iter().filter_map(next).min()
    };
    let (sources, controller) = (next(&truce.sources_shut), next(&truce.controller_shut));
    let now = things(truce).into_iter().filter_map(|thing| {
        let found = seen.is(&thing)?.to_owned();
        let shut = match thing.kind {
            Kind::Source => sources,
            Kind::Controller => controller,
            Kind::Job | Kind::Timer => None,
        };
        Some(Thing { found, shut, ..thing })
    });
    now.filter(|thing| match thing.kind {
        Kind::Job => thing.found == "false",
        Kind::Source => matches!(thing.found.as_str(), "true" | "false"),
        Kind::Controller => thing.found.parse::<u32>().is_ok_and(|replicas| replicas > 0),
        Kind::Timer => thing.found == "active",
    })
    .collect()
}

/// Looks at the things. Changes nothing.
#[must_use]
pub fn look(things: &[Thing]) -> Command {
    script("look", things.iter())
}

/// Holds them.
#[must_use]
pub fn hold(things: &[Thing]) -> Command {
    script("hold", things.iter())
}

/// Gives them back as they were found, the last first: cron jobs are resumed when everything that they act on is as it should be.
#[must_use]
pub fn give_back(things: &[Thing]) -> Command {
    script("back", things.iter().rev())
}

fn script<'a>(mode: &'static str, things: impl Iterator<Item = &'a Thing>) -> Command {
    Command::new("sh -c")
        .arg(SCRIPT)
        .arg(NAME)
        .arg(mode)
        .args(things.flat_map(Thing::words))
        .deadline(ALLOWED)
}

/// The host's timer that gives these things back if nobody else does. A host has one.
#[must_use]
pub fn timer(spool: &str, things: &[Thing]) -> Timer {
    Timer::new(spool, "truce", &give_back(things))
}

/// Renews the lease of whatever truce the host keeps. Exit status 3: it has fired, and nothing is held any more.
#[must_use]
pub fn renew(spool: &str, lease: Duration) -> Command {
    let timer = timer(spool, &[]);
    Command::new("test ! -d").arg(timer.folder()).then("||", &timer.renew(lease))
}

/// Runs the undo that the host keeps.
#[must_use]
pub fn undo(spool: &str) -> Command {
    Command::new("sh").arg(format!("{}/undo", timer(spool, &[]).folder())).deadline(ALLOWED)
}

/// What the host keeps of a truce.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// Nothing.
    None,
    /// Its timer waits, or would: these things are to be given back.
    Waiting(Vec<Thing>),
    /// Its timer has fired, and did not come to its end yet.
    Fired(Vec<Thing>),
    /// Its timer has fired, and everything was given back.
    Undone,
}

/// Asks what the host keeps of a truce. Changes nothing.
#[must_use]
pub fn standing(spool: &str) -> Command {
    Command::new("sh -c").arg(STANDING).arg("fleet-standing").arg(timer(spool, &[]).folder())
}

/// Reads the answer to [`standing`]; an error is one sentence.
pub fn read_standing(output: &Output) -> Result<Standing, String> {
    let text = output.text();
    let lines: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("truce ")).collect();
    if lines.last() != Some(&"end") {
        return Err(format!("what the host keeps of a truce cannot be read: {}", output.complaint()));
    }
    if !lines.contains(&"there") {
        return Ok(Standing::None);
    }
    if lines.contains(&"undone") {
        return Ok(Standing::Undone);
    }
    let undo = lines.iter().find_map(|line| line.strip_prefix("undo ")).unwrap_or_default();
    let things = read_things(undo)
        .ok_or_else(|| format!("the undo that the host keeps is none of a truce: {}", printable(undo)))?;
    Ok(if lines.contains(&"fired") { Standing::Fired(things) } else { Standing::Waiting(things) })
}

/// The things on the last line of an undo; none where the timer was never armed to its end.
fn read_things(undo: &str) -> Option<Vec<Thing>> {
    if undo.is_empty() {
        return Some(Vec::new());
    }
    let words: Vec<&str> = undo.strip_prefix("' fleet-truce back")?.split_whitespace().collect();
    words.chunks(5).rev().map(Thing::read).collect()
}

#[cfg(test)]
mod tests;
