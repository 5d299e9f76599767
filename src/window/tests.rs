use super::*;
use crate::facts::Known;
use crate::facts::clock::Clock;
use crate::facts::flux::Source;
use crate::facts::k3s_plans::K3sPlan;
use crate::facts::nodes::Node;
use crate::facts::upgrades::Upgrades;
use crate::remote::Exit;

fn job(name: &str, schedule: &str, does: Does) -> Nightly {
    let (namespace, zone) = ("flux-system".to_owned(), "UTC".to_owned());
    Nightly { namespace, name: name.into(), schedule: schedule.into(), zone, suspended: false, does }
}

/// A cluster with both windows: the source suspended or not, the controller at so many replicas.
fn seen(suspended: bool, replicas: u64) -> Windows {
    let source =
        Source { namespace: "flux-system".into(), name: "stackspin".into(), suspended, ..Source::default() };
    let plan = K3sPlan {
        namespace: "system-upgrade".into(),
        name: "k3s-server".into(),
        version: "v1.21.5+k3s2".into(),
        owner: "system-upgrade-controller".into(),
        ..K3sPlan::default()
    };
    let node = Node { name: "n".into(), ready: true, version: "v1.21.5+k3s1".into(), pressure: Vec::new() };
    Windows {
        clock: Known::Is(Clock { ahead_seconds: 0, zone: "UTC".into(), offset: "+0000".into() }),
        sources: Known::Is(vec![source]),
        nightly: Known::Is(vec![
            job("resume", "0 2 * * *", Does::ResumeSource),
            job("suspend", "0 5 * * *", Does::SuspendSource),
        ]),
        upgrades: Known::Is(Upgrades {
            controller_replicas: Some(replicas),
            controller_namespace: "system-upgrade".into(),
            ..Upgrades::default()
        }),
        plans: Known::Is(vec![plan]),
        nodes: Known::Is(vec![node]),
    }
}

fn wanted(kind: Kind, wish: Wish) -> Wanted {
    Wanted { kind, wish }
}

/// `nothing`, `refused CAUSE`, or how the thing is to be, and the seconds of its timer.
fn said(decision: &Decision) -> String {
    match decision {
        Decision::Nothing(_) => "nothing".to_owned(),
        Decision::Refused(failure) => format!("refused {}", failure.cause),
        Decision::Do { to, time, .. } => {
            format!("{} for {}", state(to), time.map_or(0, |time| time.as_secs()))
        }
    }
}

#[test]
fn what_is_done_depends_on_how_the_window_and_its_timer_are_found() {
    let hour = Some(Duration::from_secs(3600));
    let table = [
        (Wish::Open(hour), true, Guard::None, "not suspended for 3600"),
        (Wish::Open(hour), true, Guard::Shut, "not suspended for 3600"),
        (Wish::Open(hour), true, Guard::GaveUp, "not suspended for 3600"),
        (Wish::Open(hour), true, Guard::Dead, "not suspended for 3600"),
        // Somebody else has shut it meanwhile.
        (Wish::Open(hour), true, Guard::Waiting(60), "not suspended for 3600"),
        (Wish::Open(hour), true, Guard::Shutting, "refused window-shuts"),
        (Wish::Open(hour), false, Guard::None, "nothing"),
        (Wish::Open(hour), false, Guard::Shut, "nothing"),
        (Wish::Open(hour), false, Guard::Waiting(60), "nothing"),
        // Nobody would shut it.
        (Wish::Open(hour), false, Guard::Dead, "not suspended for 3600"),
        (Wish::Open(hour), false, Guard::GaveUp, "not suspended for 3600"),
        // As long as the night keeps it open.
        (Wish::Open(None), true, Guard::None, "not suspended for 10800"),
        (Wish::Close, false, Guard::None, "suspended for 0"),
        (Wish::Close, false, Guard::Waiting(60), "suspended for 0"),
        (Wish::Close, false, Guard::Dead, "suspended for 0"),
        (Wish::Close, true, Guard::Waiting(60), "suspended for 0"),
        (Wish::Close, true, Guard::None, "nothing"),
        (Wish::Close, true, Guard::Shut, "nothing"),
    ];
    for (wish, suspended, guard, expected) in table {
        let decision = decide(wanted(Kind::Flux, wish), &seen(suspended, 0), &Standing::None, guard);
        assert_eq!(said(&decision), expected, "{wish:?}, suspended {suspended}, {guard:?}: {decision:?}");
    }
}

#[test]
fn a_window_without_a_night_is_open_for_the_usual_time() {
    let no_jobs = Windows { nightly: Known::Is(Vec::new()), ..seen(true, 0) };
    let decision = decide(wanted(Kind::Flux, Wish::Open(None)), &no_jobs, &Standing::None, Guard::None);
    assert_eq!(said(&decision), "not suspended for 7200");
}

#[test]
fn what_an_unfinished_upgrade_holds_is_not_touched() {
    for held in [Standing::Waiting(Vec::new()), Standing::Fired(Vec::new())] {
        for wish in [Wish::Open(None), Wish::Close] {
            let decision = decide(wanted(Kind::Flux, wish), &seen(true, 0), &held, Guard::None);
            assert_eq!(said(&decision), "refused held");
        }
    }
    let over = decide(wanted(Kind::Flux, Wish::Open(None)), &seen(true, 0), &Standing::Undone, Guard::None);
    assert_eq!(said(&over), "not suspended for 10800", "what the host has given back holds nothing any more");
}

#[test]
fn what_cannot_be_told_is_refused() {
    let open = wanted(Kind::Flux, Wish::Open(None));
    for sources in [Known::not("the API is away"), Known::Is(Vec::new())] {
        let decision = decide(open, &Windows { sources, ..seen(true, 0) }, &Standing::None, Guard::None);
        assert_eq!(said(&decision), "refused no-window");
    }
    let hostile = Source { namespace: "flux-system".into(), name: "x; reboot".into(), ..Source::default() };
    let sources = Known::Is(vec![hostile]);
    let decision = decide(open, &Windows { sources, ..seen(true, 0) }, &Standing::None, Guard::None);
    assert_eq!(said(&decision), "refused no-window");
}

#[test]
fn the_k3s_window_is_not_opened_onto_a_k3s_of_ones_own_and_can_always_be_shut() {
    let own = |replicas| Windows {
        nodes: Known::Is(vec![Node {
            name: "n".into(),
            ready: true,
            version: "v1.22.0+k3s1".into(),
            pressure: Vec::new(),
        }]),
        ..seen(true, replicas)
    };
    let unknown = |replicas| Windows { plans: Known::not("no such kind"), ..seen(true, replicas) };
    let decide =
        |wish, seen: &Windows| said(&decide(wanted(Kind::K3s, wish), seen, &Standing::None, Guard::None));
    assert_eq!(decide(Wish::Open(None), &seen(true, 0)), "at 1 for 7200");
    assert_eq!(decide(Wish::Open(None), &own(0)), "refused custom-k3s");
    assert_eq!(decide(Wish::Open(None), &unknown(0)), "refused custom-k3s");
    assert_eq!(decide(Wish::Close, &own(1)), "at 0 for 0");
    assert_eq!(decide(Wish::Close, &unknown(1)), "at 0 for 0");
}

#[test]
fn how_a_timer_is_is_read_from_what_the_host_says() {
    let said = "motd\ntruce window window waiting 90\ntruce window k3s-window dead 0\ntruce end\n";
    let output = Output { exit: Exit::Code(0), stdout: said.into(), stderr: Vec::new(), dropped: 0 };
    assert_eq!(guard(Kind::Flux, &output), Guard::Waiting(90));
    assert_eq!(guarded(&output), [(Kind::Flux, Guard::Waiting(90)), (Kind::K3s, Guard::Dead)]);
}
