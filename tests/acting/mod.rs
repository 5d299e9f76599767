//! One verb of a plan carried out on a host, and its user dying in its middle: `mod acting;`.
#![allow(dead_code, reason = "each test file uses the part that it needs")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a bench that cannot be set up fails its test")]

use std::io::Write;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use fleet::backup::Folder;
use fleet::event::{Event, Failure};
use fleet::journal::{self, Journal};
use fleet::plan::{Action, MoveClaim};
use fleet::remote::{self, Output, Remote, RemoteError};
use fleet::run::job::Place;
use fleet::run::{Scribe, Trouble, claim, disown, namespaces, objects};
use tokio::io::AsyncWrite;
use tokio::sync::Notify;

/// Longer than any of it takes.
pub(crate) const LONG: Duration = Duration::from_secs(60);

/// How a go at a move ended, and what it wrote down.
pub(crate) async fn go(
    remote: &impl Remote,
    what: &MoveClaim,
    time: Duration,
) -> (Result<(), Trouble>, Vec<Event>) {
    act(remote, &Action::MoveClaim(what.clone()), time).await
}

/// How a go at a step ended, and what it wrote down.
pub(crate) async fn act(
    remote: &impl Remote,
    action: &Action,
    time: Duration,
) -> (Result<(), Trouble>, Vec<Event>) {
    let folder = tempfile::tempdir().unwrap();
    let (lines, log) = (folder.path().join("journal.ndjson"), folder.path().join("log"));
    let mut journal = Journal::create(&lines, "one", None).unwrap();
    let mut scribe = Scribe::new(&mut journal, "to-0.8/step", &log).unwrap();
    let ended = match action {
        Action::MoveClaim(what) => claim::carry(remote, what, time, &mut scribe).await,
        Action::Disown(what) => disown::carry(remote, what, time, &mut scribe).await,
        Action::RemoveNamespaces(what) => namespaces::carry(remote, what, time, &mut scribe).await,
        Action::Objects(what) => {
            let kept = Folder::create(&folder.path().join("backups"), "one", "1").unwrap();
            let place = Place { run: "run", cluster: "one", spool: "/nonexistent" };
            objects::carry(remote, what, &kept, place, &mut scribe).await
        }
        other => panic!("{other:?}"),
    };
    let written = [std::fs::read_to_string(&log).unwrap(), std::fs::read_to_string(&lines).unwrap()].concat();
    assert!(!written.contains("hunter2") && !written.contains("aHVudGVyMg"), "a secret was written down");
    (ended, journal::read(&lines).unwrap())
}

/// Goes at it again and again, dying after one command more each time, until it comes to its end.
pub(crate) async fn dying(remote: &impl Remote, action: &Action) -> usize {
    for died in 0..20 {
        let line = Dying::after_any(remote, died + 1);
        tokio::select! {
            (ended, _) = act(&line, action, LONG) => { ended.unwrap(); return died }
            () = line.dead.notified() => {}
        }
    }
    panic!("it does not come to its end: {action:?}")
}

pub(crate) fn failure(ended: Result<(), Trouble>) -> Failure {
    match ended {
        Err(Trouble::Failed(failure)) => failure,
        other => panic!("no failure: {other:?}"),
    }
}

/// A line whose user dies once so many commands were done: it never answers again.
pub(crate) struct Dying<'a, R> {
    line: &'a R,
    left: AtomicUsize,
    counts: fn(&str) -> bool,
    pub(crate) dead: Notify,
}

impl<'a, R> Dying<'a, R> {
    /// Dies after so many of the commands that count.
    pub(crate) fn after(line: &'a R, left: usize, counts: fn(&str) -> bool) -> Self {
        Self { line, left: AtomicUsize::new(left), counts, dead: Notify::new() }
    }

    /// Dies after so many commands, whatever they are.
    pub(crate) fn after_any(line: &'a R, left: usize) -> Self {
        Self::after(line, left, |_| true)
    }
}

impl<R: Remote> Remote for Dying<'_, R> {
    async fn run(
        &self,
        command: &remote::Command,
        sink: &mut (dyn Write + Send),
    ) -> Result<Output, RemoteError> {
        let answer = self.line.run(command, sink).await;
        if (self.counts)(&command.to_string()) && self.left.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.dead.notify_one();
            std::future::pending::<()>().await;
        }
        answer
    }

    async fn stream(
        &self,
        command: &remote::Command,
        _: &mut (dyn AsyncWrite + Unpin + Send),
    ) -> Result<Output, RemoteError> {
        panic!("a move streams nothing: {command}")
    }
}
