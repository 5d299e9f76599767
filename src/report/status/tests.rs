//! How runs stand, from what their journals tell.

use super::*;
use crate::event::{Failure, Left, Outcome, What};
use crate::plan::Class;
use crate::report::board::tests::{event, planned, started};
use crate::version::Version;

fn run() -> Run {
    Run {
        schema: crate::state::SCHEMA,
        id: "20261122T120000Z-abcd".into(),
        started: "2026-11-22T12:00:00Z".parse().unwrap(),
        by: "operator@desk".into(),
        fleet: "0.1.0".into(),
        typed: vec!["fleet".into(), "--runs".into(), "r".into(), "upgrade".into()],
        target: Some(Version::V0_7),
        clusters: vec!["acme".into(), "birch".into(), "cedar".into(), "dogwood".into()],
        acknowledged: vec![],
        plan: None,
    }
}

fn clusters() -> Vec<(String, Result<Underway, String>)> {
    let mut acme = Underway::default();
    acme.see(&planned("acme", "to-0.7", &["backup/copy", "to-0.7/wait"]));
    acme.see(&started("acme", "to-0.7/wait"));
    let mut birch = Underway::default();
    birch.see(&event("birch", crate::event::What::Finished { outcome: Outcome::Done }));
    let mut cedar = Underway::default();
    let outcome = Outcome::Interrupted { state: Left::Clean };
    cedar.see(&event("cedar", crate::event::What::Finished { outcome }));
    vec![
        ("acme".into(), Ok(acme)),
        ("birch".into(), Ok(birch)),
        ("cedar".into(), Ok(cedar)),
        ("dogwood".into(), Ok(Underway::default())),
    ]
}

/// Whoever holds the run, for so many seconds by what counts up whatever the clock says.
fn holder(age: u64) -> Holder {
    let root = tempfile::tempdir().unwrap();
    let (folder, _lock) = crate::state::RunFolder::begin(root.path(), &run()).unwrap();
    let holder = crate::state::RunLock::holder(&folder).unwrap().unwrap();
    Holder { uptime: holder.uptime.saturating_sub(age), ..holder }
}

fn status(process: Option<Holder>, asked: Option<Want>, now: &str) -> Status {
    let asked = asked.map(|want| Control::new(want, "b@desk"));
    Status::new(&run(), process, asked, &clusters(), now.parse().unwrap())
}

#[test]
fn a_run_that_goes_on_tells_each_cluster_and_the_totals() {
    // The step began at 12:03:07.
    let status = status(Some(holder(600)), None, "2026-11-22T12:04:10Z");
    assert_eq!(status.state, RunState::Running);
    let acme = &status.clusters[0];
    assert_eq!((acme.state.as_str(), acme.step, acme.steps, acme.seconds), ("under way", 2, 2, Some(63)));
    let totals = Totals { clusters: 4, done: 1, not_done: 1, under_way: 1, waiting: 1 };
    assert_eq!(status.totals, totals);
    let text = status.text(Look::PLAIN);
    assert!(text.contains("fleet --runs r watch 20261122T120000Z-abcd"), "{text}");
    assert!(text.contains("1 m 03 s") && !text.contains("birch") && !text.contains("dogwood"), "{text}");
}

#[test]
fn a_clock_that_is_set_makes_no_time_negative_or_longer_than_the_process_has_worked() {
    for (now, most) in [("2026-11-21T00:00:00Z", 0), ("2036-01-01T00:00:00Z", 605)] {
        let seconds = status(Some(holder(600)), None, now).clusters[0].seconds.unwrap();
        assert!(seconds <= most, "{now}: {seconds}");
    }
    // Nobody knows for how long a dead process has done something.
    assert_eq!(status(None, None, "2026-11-22T12:04:10Z").clusters[0].seconds, None);
}

#[test]
fn what_to_type_next_is_told_for_every_state() {
    let now = "2026-11-22T12:04:10Z";
    let words = |process: Option<Holder>, asked| {
        let status = status(process, asked, now);
        let words: Vec<String> =
            status.next.iter().map(|next| next.command.split(' ').nth(3).unwrap().to_owned()).collect();
        (status.state, words.join(" "))
    };
    let held = || Some(holder(1));
    assert_eq!(words(held(), None), (RunState::Running, "watch pause abort".into()));
    assert_eq!(words(held(), Some(Want::Go)), (RunState::Running, "watch pause abort".into()));
    assert_eq!(words(held(), Some(Want::Pause)), (RunState::Paused, "resume abort watch".into()));
    assert_eq!(words(held(), Some(Want::Abort)), (RunState::Stopping, "watch".into()));
    assert_eq!(words(None, Some(Want::Pause)), (RunState::Unfinished, "resume report".into()));
}

#[test]
fn a_cluster_that_was_left_within_a_rung_is_told_the_way_back_once_nothing_works_on_it() {
    let at = "2026-11-22T12:00:01Z";
    let mut acme = Underway::default();
    let proven = What::Proven { backup: "b1".into(), folder: "/b/b1".into(), files: 1, bytes: 1 };
    let failure = Failure::new("deadline", "not ready");
    let state = Left::Dirty { at: "to-0.7/switch".into() };
    let failed = Outcome::Failed { step: Some("to-0.7/switch".into()), state, failure };
    let mut switched = started("acme", "to-0.7/switch");
    let What::StepStarted { class, .. } = &mut switched.what else { panic!() };
    *class = Class::Irreversible;
    acme.see(&planned("acme", "to-0.7", &["backup/copy", "to-0.7/switch"]));
    acme.see(&event("acme", proven));
    acme.see(&switched);
    let restores = |acme: &Underway, process| {
        let told = vec![("acme".to_owned(), Ok(acme.clone()))];
        let status = Status::new(&run(), process, None, &told, at.parse().unwrap());
        let next = status.next.into_iter().map(|next| next.command);
        next.filter(|command| command.contains(" restore ")).collect::<Vec<_>>()
    };
    assert_eq!(restores(&acme, Some(holder(1))), Vec::<String>::new(), "it is still being worked on");
    assert_eq!(restores(&acme, None), ["fleet --runs r restore b1 --to acme"]);
    acme.see(&event("acme", What::Finished { outcome: failed }));
    assert_eq!(restores(&acme, None), ["fleet --runs r restore b1 --to acme"]);
    acme.see(&event("acme", What::Finished { outcome: Outcome::Done }));
    assert_eq!(restores(&acme, None), Vec::<String>::new());
}
