//! One cell of the table: one fault at one place of a run, then `fleet resume` until all is done.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use fleet::lab::{Host, HostSpec};
use fleet::plan::Action;
use fleet::version::Version;

use crate::lab_support::{Bench, acknowledging, until};
use crate::strike::{self, Held};
use crate::upstream_repo::bench::Upstream;
use crate::{ends, laws, shim};

/// The name of the host of every cell: what the lab makes up of it is the same everywhere.
pub(crate) const HOST: &str = "oak";
/// How long one process of `fleet` may take. One needs six seconds.
const PATIENCE: Duration = Duration::from_secs(240);
/// How long a cluster may take to come to rest.
const REST: Duration = Duration::from_secs(15);
/// By how many seconds a clock jumps, ahead or back: a day, as the lab's.
const JUMP: i64 = 24 * 3600;
/// How often a run is gone on with before it counts as one that never ends.
const RESUMES: usize = 4;

/// The rungs that the table climbs. The first is there with all that is around every rung, of the others the steps of their own.
pub(crate) const RUNGS: [Rung; 4] = [
    Rung { id: "to-0.7", from: Version::V0_6, to: "0.7" },
    Rung { id: "to-0.8", from: Version::V0_7, to: "0.8" },
    Rung { id: "to-1.0", from: Version::V0_8, to: "1.0" },
    Rung { id: "to-2", from: Version::V1_0, to: "2" },
];

/// A rung of the ladder.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rung {
    pub(crate) id: &'static str,
    from: Version,
    to: &'static str,
}

impl Rung {
    /// The words of an upgrade over it alone.
    pub(crate) fn upgrade(self) -> Vec<&'static str> {
        acknowledging(&["upgrade", "--to", self.to], &["--all"])
    }
}

/// Where a fault comes: a step, or a moment beside the steps.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    pub(crate) rung: Rung,
    pub(crate) name: String,
    /// What its first line in the journal holds.
    pub(crate) begin: String,
    /// What its last line holds.
    pub(crate) end: String,
    /// What the lines of its commands hold, and how many of those there are.
    pub(crate) ran: (String, usize),
    /// What the step does; none at a moment beside the steps.
    pub(crate) action: Option<Action>,
}

impl Place {
    pub(crate) fn step(rung: Rung, id: &str, ran: usize, action: Option<Action>) -> Self {
        let line = |what: &str| format!(r#""what":"{what}","step":"{id}""#);
        Self {
            rung,
            name: id.to_owned(),
            begin: line("step-started"),
            end: line("step-ended"),
            ran: (line("ran"), ran),
            action,
        }
    }

    /// A moment that is one line: `locked`, `planned`, `finished`.
    pub(crate) fn moment(rung: Rung, what: &str) -> Self {
        let line = format!(r#""what":"{what}""#);
        Self {
            rung,
            name: format!("({what})"),
            begin: line.clone(),
            end: line.clone(),
            ran: (line, 0),
            action: None,
        }
    }
}

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wrong {
    KilledBefore,
    KilledAfter,
    Torn,
    KilledWithin,
    KilledAtEnd,
    CutBefore,
    CutAfter,
    SshdAway,
    RebootBefore,
    RebootAfter,
    FullHere,
    FullThere,
    ApiAway,
    Second,
    StepFails,
    GivenUp,
    ClockHere,
    ClockThere,
}

impl Wrong {
    /// Every fault and what the table calls it.
    pub(crate) const ALL: [(Self, &str); 18] = [
        (Self::KilledBefore, "killed before its line"),
        (Self::KilledAfter, "killed after its line"),
        (Self::Torn, "killed within its line"),
        (Self::KilledWithin, "killed between its commands"),
        (Self::KilledAtEnd, "killed after the effect"),
        (Self::CutBefore, "line cut before a command"),
        (Self::CutAfter, "line cut after a command"),
        (Self::SshdAway, "sshd away"),
        (Self::RebootBefore, "reboot before a command"),
        (Self::RebootAfter, "reboot after a command"),
        (Self::FullHere, "disk full here"),
        (Self::FullThere, "disk full there"),
        (Self::ApiAway, "API away"),
        (Self::Second, "second operator"),
        (Self::StepFails, "step fails"),
        (Self::GivenUp, "host given up"),
        (Self::ClockHere, "clock jumps here"),
        (Self::ClockThere, "clock jumps there"),
    ];

    pub(crate) fn name(self) -> &'static str {
        Self::ALL.iter().find(|(wrong, _)| *wrong == self).map_or("", |(_, name)| name)
    }

    /// What the shim does, and at which line of the place.
    fn shim(self) -> (&'static str, At) {
        match self {
            Self::KilledBefore => ("before", At::Begin),
            Self::KilledAfter => ("after", At::Begin),
            Self::Torn => ("torn", At::Begin),
            Self::KilledWithin => ("before", At::Ran),
            Self::KilledAtEnd => ("before", At::End),
            Self::FullHere => ("full", At::End),
            Self::ClockHere => ("jump", At::Begin),
            _ => ("hold", At::Begin),
        }
    }

    /// Whether there is such a fault at this place.
    pub(crate) fn fits(self, place: &Place) -> bool {
        match self {
            Self::KilledWithin => place.ran.1 > 0,
            Self::KilledAtEnd => place.begin != place.end,
            // After the last line there is no command that it could strike.
            _ if place.name == "(finished)" => {
                matches!(self, Self::KilledBefore | Self::KilledAfter | Self::Torn | Self::FullHere)
            }
            // Before the pre-flight a clock that is wrong is what it is there to find.
            Self::ClockHere | Self::ClockThere => place.name != "(locked)",
            // The lock is given back already: a second operator may come in, and finds nothing to do.
            Self::Second => place.name != "(unlocked)",
            // What is waited for, and what looks before each thing that it does, does not fail by a command that fails: it is asked again.
            Self::StepFails => place.action.as_ref().is_some_and(|action| {
                !matches!(
                    action,
                    Action::WaitUntil { .. }
                        | Action::Disown(_)
                        | Action::Stop(_)
                        | Action::MoveClaim(_)
                        | Action::RemoveNamespaces(_)
                )
            }),
            _ => true,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    Begin,
    Ran,
    End,
}

/// What became of a cell.
#[derive(Debug)]
pub(crate) struct Told {
    pub(crate) place: String,
    pub(crate) wrong: Wrong,
    /// How the processes of the run ended, one after the other: an exit code, `killed`, or `hung`.
    pub(crate) ended: Vec<String>,
    /// What differs from an unbroken run, or was done twice.
    pub(crate) differs: Vec<String>,
}

impl Told {
    pub(crate) fn is_well(&self) -> bool {
        self.differs.is_empty()
    }
}

/// The host of a cell: small, with a source that was found suspended and an application that lacks a password, so that its plan has every
/// step that there is.
pub(crate) fn spec(rung: Rung) -> HostSpec {
    let mut spec = HostSpec::new(HOST).version(rung.from).apps(["wordpress"]);
    spec.source_suspended = true;
    spec
}

/// A bench with that host, and with secrets that no chart makes again.
pub(crate) fn bench(rung: Rung) -> Bench {
    // Its repository lies in the bench's own folder.
    let bench = match rung.id {
        "to-0.7" => Bench::new(vec![spec(rung)]),
        _ => Upstream::new(vec![spec(rung)]).bench,
    };
    ends::make_secrets_own(bench.host(HOST));
    bench
}

/// Lets it go wrong there and goes on until all is done. `chance` decides what is left open.
pub(crate) fn run(place: &Place, wrong: Wrong, chance: u64, unbroken: &ends::End) -> Told {
    let bench = bench(place.rung);
    let host = bench.host(HOST);
    let gate = bench.path("gate");
    fs::create_dir(&gate).unwrap();
    let (does, at) = wrong.shim();
    let (text, nth) = match at {
        At::Begin => (&place.begin, 1),
        At::End => (&place.end, 1),
        At::Ran => (&place.ran.0, 1 + usize::try_from(chance).unwrap_or(0) % place.ran.1.max(1)),
    };
    let ahead = chance.is_multiple_of(2);
    let mut command = bench.command(&place.rung.upgrade());
    command
        .env("CRASH_JUMP", (if ahead { JUMP } else { -JUMP }).to_string())
        .env("LD_PRELOAD", shim::library())
        .env("CRASH_DO", does)
        .env("CRASH_AT", text)
        .env("CRASH_NTH", nth.to_string())
        .env("CRASH_GATE", &gate);
    if does == "hold" && place.begin != place.end {
        command.env("CRASH_END", &place.end);
    }
    strike::before(&bench, host, place, wrong);
    let found = ends::held(host);
    let mut differs = Vec::new();
    let mut first = start(&bench, command, "upgrade");
    if does == "hold" {
        until("the held line", || gate.join("here").exists() || first.try_wait().unwrap().is_some());
        if !gate.join("here").exists() {
            differs.push("the place was never come to".to_owned());
        }
        let mut held = Held { bench: &bench, host, process: &mut first, gate: &gate, ahead };
        differs.extend(held.strike(place, wrong));
    }
    let mut ended = vec![wait(first)];
    differs.extend(laws::ahead_of_the_journal(&bench, host, place.rung));
    if ended[0] != "0" {
        differs.extend(strike::out_of_order(&bench, host, place, wrong, &found));
    }
    strike::heal(host);
    if wrong == Wrong::StepFails && ended[0] != "3" {
        differs.push(format!("the step did not fail: the run ended with {}", ended[0]));
    }
    if matches!(wrong, Wrong::ClockHere | Wrong::ClockThere) && ended[0] != "0" {
        differs.push(format!("no step hangs on the clock of the wall: it ended with {}", ended[0]));
    }
    if !["hold", "jump"].contains(&does) && at != At::End && ended[0] != "killed" && wrong != Wrong::FullHere
    {
        differs.push(format!("it was not struck: it ended with {}", ended[0]));
    }
    while ended.last().is_none_or(|last| last != "0" && last != "hung") && ended.len() <= RESUMES {
        let settle = ended.last().filter(|last| *last == "6").and_then(|_| settle(&bench));
        let mut words = vec!["resume", "last"];
        words.extend(settle.iter().flat_map(|settle| ["--settle", settle]));
        let command = bench.command(&words);
        ended.push(wait(start(&bench, command, &format!("resume-{}", ended.len()))));
    }
    if ended.last().is_none_or(|last| last != "0") {
        differs.push(format!("never done: {}", said(&bench, ended.len() - 1)));
    } else {
        differs.extend(settled(host, unbroken));
    }
    differs.extend(laws::broken(&bench, place.rung));
    if !differs.is_empty() || ended.iter().any(|ended| ended == "101") {
        keep(&bench, place, wrong);
    }
    Told { place: place.name.clone(), wrong, ended, differs }
}

/// What a person says of a step that nobody else may repeat. None where no person was asked for.
fn settle(bench: &Bench) -> Option<String> {
    let report = bench.report(HOST);
    let step = report["failed_step"].as_str().filter(|_| report["failure"]["cause"] == fleet::run::ASK)?;
    Some(format!("{HOST}:{step}=again"))
}

/// What differs when the cluster has come to rest: one that was started anew at the very end is still getting up.
fn settled(host: &Host, unbroken: &ends::End) -> Vec<String> {
    let ends = Instant::now() + REST;
    loop {
        let differs = unbroken.differs(&ends::End::of(host));
        if differs.is_empty() || Instant::now() > ends {
            return differs;
        }
        pass(Duration::from_millis(200));
    }
}

pub(crate) fn start(bench: &Bench, mut command: Command, name: &str) -> Child {
    let out = File::create(bench.path(&format!("{name}.out"))).unwrap();
    command.stdout(out.try_clone().unwrap()).stderr(out).spawn().unwrap()
}

pub(crate) fn wait(mut child: Child) -> String {
    let began = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status.code().map_or_else(|| "killed".to_owned(), |code| code.to_string());
        }
        if began.elapsed() > PATIENCE {
            child.kill().unwrap();
            child.wait().unwrap();
            return "hung".to_owned();
        }
        pass(Duration::from_millis(20));
    }
}

/// A bounded wait for other processes, on the test's own thread.
pub(crate) fn pass(time: Duration) {
    let ends = Instant::now() + time;
    while Instant::now() < ends {
        std::thread::park_timeout(ends.saturating_duration_since(Instant::now()));
    }
}

fn said(bench: &Bench, resumes: usize) -> String {
    last_lines(&fs::read_to_string(bench.path(&format!("resume-{resumes}.out"))).unwrap_or_default())
}

pub(crate) fn last_lines(text: &str) -> String {
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    lines[lines.len().saturating_sub(6)..].join(" | ")
}

/// Keeps what is left of a cell that went wrong, where `FLEET_CRASH_KEEP` names a folder.
fn keep(bench: &Bench, place: &Place, wrong: Wrong) {
    let Some(folder) = std::env::var_os("FLEET_CRASH_KEEP") else { return };
    let name = format!("{}-{}", place.name, wrong.name()).replace(['/', ' '], "-");
    let to = Path::new(&folder).join(name);
    fs::create_dir_all(&to).unwrap();
    let copied = Command::new("cp").arg("-a").arg(bench.path(".")).arg(&to).status().unwrap();
    assert!(copied.success(), "cannot keep {}", to.display());
}
