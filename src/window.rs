//! Maintenance windows that an operator opens: the time in which Flux follows its source, and the one in which k3s may be upgraded (guide
//! rows G1 and G3; facts section 3.6).
//!
//! Pure: what is to be done is decided here from what was seen, `run::window` carries it out. A window is a thing of the
//! [`crate::truce`] that is set to open, with a timer on the host that sets it to shut whoever dies. How it all works is told in
//! `docs/windows.md`.

use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;

use crate::event::Failure;
use crate::facts::k3s_plans::undone;
use crate::facts::nightly::{Does, Nightly};
use crate::facts::windows::Windows;
use crate::form::{moment, seconds};
use crate::jobs::Timer;
use crate::remote::{Command, Output, printable};
use crate::truce::{self, Standing, Thing};

#[cfg(test)]
mod tests;

/// How long a window stays open where neither the operator nor the night says.
pub const USUAL: Duration = Duration::from_secs(2 * 3600);
/// How long it may stay open.
pub const LONGEST: Duration = Duration::from_secs(24 * 3600);
/// Where to read on.
pub const READ: &str = "docs/windows.md#when-a-window-is-refused";

/// Which of the two windows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Flux follows Stackspin's source.
    Flux,
    /// The system-upgrade-controller may upgrade k3s.
    K3s,
}

impl Kind {
    /// The name of the command and of the host's timer.
    #[must_use]
    pub const fn id(self) -> &'static str {
        match self {
            Self::Flux => "window",
            Self::K3s => "k3s-window",
        }
    }

    /// What a nightly job does that opens it, and what one does that shuts it.
    const fn does(self) -> (Does, Does) {
        match self {
            Self::Flux => (Does::ResumeSource, Does::SuspendSource),
            Self::K3s => (Does::ScaleUpgradeController, Does::ShutUpgradeController),
        }
    }

    const fn of(self) -> truce::Kind {
        match self {
            Self::Flux => truce::Kind::Source,
            Self::K3s => truce::Kind::Controller,
        }
    }

    const fn states(self) -> (&'static str, &'static str) {
        match self {
            Self::Flux => ("false", "true"),
            Self::K3s => ("1", "0"),
        }
    }
}

/// What is wanted of a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    /// Open it for a time; where none is said, for as long as the night would.
    Open(Option<Duration>),
    /// Shut it now.
    Close,
}

/// One window, and what is wanted of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wanted {
    /// Which.
    pub kind: Kind,
    /// What.
    pub wish: Wish,
}

impl Wanted {
    /// The id of the step: `window/open`.
    #[must_use]
    pub fn step(self) -> String {
        let way = if self.wish == Wish::Close { "close" } else { "open" };
        format!("{}/{way}", self.kind.id())
    }
}

/// How the host's timer of a window is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Guard {
    /// There is none.
    None,
    /// It shuts the window in so many seconds.
    Waiting(u64),
    /// It shuts the window just now.
    Shutting,
    /// It has shut the window.
    Shut,
    /// It could not shut the window.
    GaveUp,
    /// It died before it could: nobody shuts the window.
    Dead,
}

impl Guard {
    /// Whether the window is open by fleet, or may be, and is to be shut.
    #[must_use]
    pub const fn shuts(self) -> bool {
        matches!(self, Self::Waiting(_) | Self::GaveUp | Self::Dead)
    }
}

/// Reads from the answer to [`truce::standing`] how the timer of this window is.
#[must_use]
pub fn guard(kind: Kind, standing: &Output) -> Guard {
    let text = standing.text();
    let of = |line: &str| {
        let mut words = line.strip_prefix("truce window ")?.split(' ');
        let (id, state, left) = (words.next()?, words.next()?, words.next()?);
        (id == kind.id()).then(|| match state {
            "waiting" => Guard::Waiting(left.parse().unwrap_or(0)),
            "fired" => Guard::Shutting,
            "undone" => Guard::Shut,
            "gave-up" => Guard::GaveUp,
            _ => Guard::Dead,
        })
    };
    text.lines().find_map(of).unwrap_or(Guard::None)
}

/// The windows for which the answer to [`truce::standing`] has a timer.
#[must_use]
pub fn guarded(standing: &Output) -> Vec<(Kind, Guard)> {
    let all = [Kind::Flux, Kind::K3s].into_iter().map(|kind| (kind, guard(kind, standing)));
    all.filter(|(_, guard)| *guard != Guard::None).collect()
}

/// How a window was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// What is set to open or to shut: the source, or the controller.
    pub thing: Thing,
    /// Its timer.
    pub guard: Guard,
}

impl Found {
    /// Whether it is open.
    #[must_use]
    pub fn is_open(&self) -> bool {
        match self.thing.kind {
            truce::Kind::Source => self.thing.found == "false",
            _ => self.thing.found != "0",
        }
    }
}

/// What is set to open or to shut in this cluster; an error is one sentence.
pub fn thing(kind: Kind, seen: &Windows) -> Result<Thing, String> {
    let thing = |kind, namespace: &str, name: &str, found: String| {
        let plain = |name: &str| {
            !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-.".contains(&b))
        };
        let (namespace, name) = (namespace.to_owned(), name.to_owned());
        if plain(&namespace) && plain(&name) {
            Ok(Thing { kind, namespace, name, found, shut: None })
        } else {
            Err(format!("{} is no name", printable(&format!("{namespace}/{name}"))))
        }
    };
    match kind {
        Kind::Flux => {
            match seen.sources.get().map_err(ToString::to_string)?.as_slice() {
                [] => Err("flux-system has no source openappstack or stackspin".to_owned()),
                [one] => thing(truce::Kind::Source, &one.namespace, &one.name, one.suspended.to_string()),
                _ => Err("flux-system has both openappstack and stackspin: a renaming was left half done"
                    .to_owned()),
            }
        }
        Kind::K3s => {
            let upgrades = seen.upgrades.get().map_err(ToString::to_string)?;
            let replicas =
                upgrades.controller_replicas.ok_or("there is no Deployment system-upgrade-controller")?;
            let name = "system-upgrade-controller";
            thing(truce::Kind::Controller, &upgrades.controller_namespace, name, replicas.to_string())
        }
    }
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// It is as it is wanted.
    Nothing(String),
    /// It must not be done.
    Refused(Failure),
    /// Set it so.
    Do {
        /// The thing, as it is to be.
        to: Thing,
        /// The time of the timer; none where it is shut.
        time: Option<Duration>,
        /// What the operator should know.
        notes: Vec<String>,
    },
}

/// Decides. `held` is what the host keeps of a truce.
#[must_use]
pub fn decide(wanted: Wanted, seen: &Windows, held: &Standing, guard: Guard) -> Decision {
    let refused = |cause: &str, said: String| Decision::Refused(Failure::new(cause, said).read(READ));
    if matches!(held, Standing::Waiting(_) | Standing::Fired(_)) {
        let said = "an upgrade that did not come to its end has left its hold here. Go on with it (fleet resume), or let the host give it back";
        return refused("held", said.to_owned());
    }
    let found = match thing(wanted.kind, seen) {
        Ok(thing) => Found { thing, guard },
        Err(why) => return refused("no-window", why),
    };
    match wanted.wish {
        Wish::Close => close(wanted.kind, &found, seen),
        Wish::Open(time) => match against(wanted.kind, seen) {
            Some(why) if !found.is_open() => refused("custom-k3s", why),
            _ => open(wanted.kind, time, &found, seen),
        },
    }
}

/// Why the window must not be opened, whatever it is like.
#[must_use]
pub fn against(kind: Kind, seen: &Windows) -> Option<String> {
    let undone = || -> Result<Option<String>, String> {
        let (plans, nodes) = (seen.plans.get(), seen.nodes.get());
        Ok(undone(plans.map_err(ToString::to_string)?, nodes.map_err(ToString::to_string)?))
    };
    match kind {
        Kind::Flux => None,
        Kind::K3s => undone().unwrap_or_else(|why| Some(format!("what it would do cannot be told: {why}"))),
    }
}

fn open(kind: Kind, time: Option<Duration>, found: &Found, seen: &Windows) -> Decision {
    let title = found.thing.title();
    match (found.is_open(), found.guard) {
        (_, Guard::Shutting) => {
            let said = "the host's timer shuts the window just now: try it again in a minute";
            return Decision::Refused(Failure::new("window-shuts", said).read(READ));
        }
        (true, Guard::Waiting(left)) => {
            return Decision::Nothing(format!(
                "it is open already, and shut in {}: {title} is left as it is",
                seconds(left)
            ));
        }
        (true, Guard::None | Guard::Shut) => {
            return Decision::Nothing(format!(
                "it is open already: {title} is {}, and not by fleet, which does not shut it. {}",
                state(&found.thing),
                nightly(kind, seen)
            ));
        }
        // Nobody would shut it: it gets a timer anew. And one that is shut while its timer waits was shut by somebody else.
        (true, Guard::GaveUp | Guard::Dead) | (false, _) => {}
    }
    let time = time.or_else(|| night(kind, seen)).unwrap_or(USUAL).min(LONGEST);
    let mut notes = Vec::new();
    let ends = seen.now().saturating_add(i64::try_from(time.as_secs()).unwrap_or(i64::MAX));
    let (_, shuts) = kind.does();
    for job in jobs(seen).iter().filter(|job| job.does == shuts) {
        if let Some(at) = seen.next(job, seen.now()).filter(|at| *at < ends) {
            let name = format!("{}/{}", job.namespace, job.name);
            notes.push(format!("the nightly job {name} shuts it before that, at {}", told(at)));
        }
    }
    let (to, _) = kind.states();
    Decision::Do { to: Thing { found: to.to_owned(), ..found.thing.clone() }, time: Some(time), notes }
}

fn close(kind: Kind, found: &Found, seen: &Windows) -> Decision {
    let (_, shut) = kind.states();
    let to = Thing { found: shut.to_owned(), ..found.thing.clone() };
    if !found.is_open() && matches!(found.guard, Guard::None | Guard::Shut) {
        return Decision::Nothing(format!("it is shut already: {} is {}", to.title(), state(&to)));
    }
    Decision::Do { to, time: None, notes: vec![nightly(kind, seen)] }
}

/// How a thing is, in words.
#[must_use]
pub fn state(thing: &Thing) -> String {
    match (thing.kind, thing.found.as_str()) {
        (truce::Kind::Source, "true") => "suspended".to_owned(),
        (truce::Kind::Source, "false") => "not suspended".to_owned(),
        (_, found) => format!("at {}", printable(found)),
    }
}

fn jobs(seen: &Windows) -> &[Nightly] {
    seen.nightly.get().map(Vec::as_slice).unwrap_or_default()
}

/// How long the night would keep it open: from when it is opened next to when it is shut after that.
fn night(kind: Kind, seen: &Windows) -> Option<Duration> {
    let (opens, shuts) = kind.does();
    let first = |does: Does, after: i64| {
        jobs(seen).iter().filter(|job| job.does == does).filter_map(|job| seen.next(job, after)).min()
    };
    let from = first(opens, seen.now())?;
    let to = first(shuts, from)?;
    u64::try_from(to.saturating_sub(from)).ok().filter(|time| *time > 0).map(Duration::from_secs)
}

/// What the night does with it, one sentence.
#[must_use]
pub fn nightly(kind: Kind, seen: &Windows) -> String {
    let (opens, shuts) = kind.does();
    let told_of = |does: Does| {
        let each = jobs(seen).iter().filter(|job| job.does == does).map(|job| {
            let name = printable(&format!("{}/{} ({})", job.namespace, job.name, job.schedule));
            match seen.next(job, seen.now()) {
                Some(at) => format!("{name} next at {}", told(at)),
                None if job.suspended => format!("{name} is suspended"),
                None => format!("{name}, whose next time cannot be told"),
            }
        });
        each.collect::<Vec<_>>().join(", ")
    };
    match (seen.nightly.get(), told_of(opens), told_of(shuts)) {
        (Err(why), ..) => format!("The nightly jobs cannot be told: {why}"),
        (_, open, shut) if open.is_empty() && shut.is_empty() => {
            "No nightly job opens or shuts it".to_owned()
        }
        (_, open, shut) => {
            let or = |said: String| if said.is_empty() { "no job".to_owned() } else { said };
            format!("By night it is opened by {}; shut by {}", or(open), or(shut))
        }
    }
}

fn told(second: i64) -> String {
    Timestamp::from_second(second).map_or_else(|_| "?".to_owned(), moment)
}

/// The host's timer that shuts this window.
#[must_use]
pub fn timer(spool: &str, kind: Kind, thing: &Thing) -> Timer {
    let (_, shut) = kind.states();
    let shut = Thing { found: shut.to_owned(), ..thing.clone() };
    Timer::new(spool, kind.id(), &truce::give_back(&[shut]))
}

/// Ends whatever timer the host has for this window.
#[must_use]
pub fn forget(spool: &str, kind: Kind) -> Command {
    Timer::new(spool, kind.id(), &Command::new(":")).disarm()
}

/// Shuts this window by its timer's own line, and ends the timer.
#[must_use]
pub fn put_away(spool: &str, kind: Kind) -> Command {
    let undo = format!("{}/undo", Timer::new(spool, kind.id(), &Command::new(":")).folder());
    Command::new("sh").arg(undo).then("&&", &forget(spool, kind)).deadline(Duration::from_secs(300))
}

/// Records the things of windows that were opened by hand as they were before that: so they are given back shut.
pub fn take_over(things: &mut [Thing], windows: &[(Kind, Guard)]) {
    for (kind, _) in windows.iter().filter(|(_, guard)| guard.shuts()) {
        let (of, (_, shut)) = (kind.of(), kind.states());
        for thing in things.iter_mut().filter(|thing| thing.kind == of) {
            shut.clone_into(&mut thing.found);
        }
    }
}
