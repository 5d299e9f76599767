use super::*;
use crate::remote::Exit;

fn thing(kind: Kind, namespace: &str, name: &str, found: &str, shut: Option<i64>) -> Thing {
    Thing { kind, namespace: namespace.into(), name: name.into(), found: found.into(), shut }
}

fn things_of_all_kinds() -> Vec<Thing> {
    vec![
        thing(Kind::Job, "flux-system", "resume", "false", None),
        thing(Kind::Source, "flux-system", "openappstack", "true", Some(1_800_000_000)),
        thing(Kind::Controller, "system-upgrade", "system-upgrade-controller", "1", None),
        thing(Kind::Timer, "-", "apt-daily.timer", "active", None),
    ]
}

fn said(text: &str) -> Output {
    Output { exit: Exit::Code(0), stdout: text.into(), stderr: Vec::new(), dropped: 0 }
}

fn undo_of(things: &[Thing]) -> String {
    give_back(things).line().lines().last().unwrap().to_owned()
}

#[test]
fn what_an_undo_gives_back_is_read_from_its_last_line() {
    let things = things_of_all_kinds();
    let answer = format!("motd\ntruce there\ntruce undo {}\ntruce end\n", undo_of(&things));
    assert_eq!(read_standing(&said(&answer)), Ok(Standing::Waiting(things.clone())));
    let fired = answer.replace("truce there", "truce there\ntruce fired");
    assert_eq!(read_standing(&said(&fired)), Ok(Standing::Fired(things)));
    let undone = answer.replace("truce there", "truce there\ntruce fired\ntruce undone");
    assert_eq!(read_standing(&said(&undone)), Ok(Standing::Undone));
    assert_eq!(read_standing(&said("truce end\n")), Ok(Standing::None));
    let begun = "truce there\ntruce end\n";
    assert_eq!(read_standing(&said(begun)), Ok(Standing::Waiting(Vec::new())), "armed half way");
}

#[test]
fn an_undo_that_is_none_of_a_truce_is_not_run_as_one() {
    let good = undo_of(&things_of_all_kinds());
    for undo in [
        "rm -rf /".to_owned(),
        good.replace("flux-system resume", "flux-system $(reboot)"),
        good.replace("flux-system resume", "flux-system"),
        good.replace("job ", "volume "),
        good.replace("1800000000", "soon"),
    ] {
        let answer = format!("truce there\ntruce undo {undo}\ntruce end\n");
        let why = read_standing(&said(&answer)).unwrap_err();
        assert!(why.contains("none of a truce"), "{undo}: {why}");
    }
    assert!(read_standing(&said("truce there\n")).is_err(), "an answer that is cut is none");
}

#[test]
fn only_what_runs_just_now_is_held_whatever_the_plan_says_and_each_source_is_recorded() {
    let object = |name: &str| plan::Object { kind: String::new(), namespace: "ns".into(), name: name.into() };
    let found = |name: &str, suspended| plan::Found { object: object(name), suspended };
    let shut = |schedule: &str| Shut { schedule: schedule.into(), offset_seconds: 0 };
    let truce = plan::Truce {
        cron_jobs: vec![found("was-active", false), found("was-suspended", true), found("gone", false)],
        sources: vec![found("source", false)],
        controller: Some((object("controller"), 0)),
        timers: vec!["apt-daily.timer".into(), "apt-daily-upgrade.timer".into()],
        sources_shut: vec![shut("30 5 * * *"), shut("0 4 * * *"), shut("@daily")],
        controller_shut: vec![shut("0 2 * * *")],
    };
    // 2024-03-01T01:30:00Z.
    let now = 1_709_256_600;
    let seen = Seen::read(&said(&format!(
        "truce now {now}\ntruce job ns was-active true true\ntruce job ns was-suspended false false\ntruce job ns gone gone gone\n\
         truce source ns source true true\ntruce controller ns controller 2 2\ntruce timer - apt-daily.timer inactive inactive\n\
         truce timer - apt-daily-upgrade.timer active active\n"
    )))
    .unwrap();
    assert_eq!(
        to_hold(&truce, &seen),
        [
            thing(Kind::Job, "ns", "was-suspended", "false", None),
            thing(Kind::Source, "ns", "source", "true", Some(now + 9000)),
            thing(Kind::Controller, "ns", "controller", "2", Some(now + 1800)),
            thing(Kind::Timer, "-", "apt-daily-upgrade.timer", "active", None),
        ]
    );
}

#[test]
fn what_became_of_each_thing_is_told_in_a_sentence() {
    let source = thing(Kind::Source, "ns", "source", "false", Some(100));
    let back = |now: i64, is: &str| {
        let answer = format!("truce now {now}\ntruce source ns source false {is}\n");
        Seen::read(&said(&answer)).unwrap().given_back(&source)
    };
    assert_eq!(back(99, "false"), "source ns/source not suspended, as it was found");
    assert_eq!(
        back(100, "true"),
        "source ns/source suspended: the hour at which the night suspends it went by"
    );
    assert_eq!(back(99, "true"), "source ns/source is not as it was found: true");
    assert_eq!(back(99, "gone"), "source ns/source is not there any more");
    assert_eq!(back(99, "\u{1b}[31m"), "source ns/source is not as it was found: ·[31m");
    assert!(Seen::read(&said("k3s: not found\n")).is_err());
}
