//! A step whose line was lost in its middle: what its rule says about doing it again.

use super::{Scribe, wait};
use crate::event::Failure;
use crate::plan::{Action, Redo, Step};
use crate::probes::Progress;
use crate::remote::Remote;

/// Whether a step may be done again whose line was lost in its middle.
pub(super) enum Again {
    /// Its rule says so.
    Yes,
    /// It need not: a probe says so.
    IsDone(String),
    /// Nobody knows, or nobody but a person may say.
    No,
}

/// Asks the step's rule, and the host where the rule says so. A copy has made its own end: it is not one of one moment any more.
pub(super) async fn may_repeat<R: Remote>(remote: &R, step: &Step, scribe: &mut Scribe<'_>) -> Again {
    match &step.redo {
        _ if matches!(step.action, Action::Backup(_)) => Again::No,
        _ if !step.class.changes() => Again::Yes,
        Redo::Never => Again::No,
        Redo::Repeatable => Again::Yes,
        Redo::Unless(probe) => match wait::look(remote, probe, scribe).await {
            Ok(Progress::Reached(what)) => Again::IsDone(what),
            // An API that is away has not said no.
            Ok(Progress::NotYet(stuck)) if stuck.iter().all(|stuck| stuck.kind != "API") => Again::Yes,
            _ => Again::No,
        },
    }
}

/// Whether the command was not run, because the host could not be asked.
pub(super) fn was_not_run(failure: &Failure) -> bool {
    matches!(
        failure.cause.as_str(),
        "unreachable" | "host-key" | "authentication" | "refused-by-host" | "lock-lost" | "this-machine"
    )
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::io::Write;
    use std::sync::Mutex;
    use std::time::Duration;

    use tokio::io::AsyncWrite;

    use super::super::{Ground, Trouble};
    use super::*;
    use crate::backup::Folder;
    use crate::journal::Journal;
    use crate::plan::{Class, Probe};
    use crate::remote::{Command, Exit, Output, RemoteError};

    /// A host that gives these answers and then no more.
    struct Script(Mutex<VecDeque<Result<Output, RemoteError>>>);

    impl Remote for Script {
        async fn run(&self, _: &Command, _: &mut (dyn Write + Send)) -> Result<Output, RemoteError> {
            self.0.lock().unwrap().pop_front().expect("one command too many")
        }

        async fn stream(
            &self,
            command: &Command,
            _: &mut (dyn AsyncWrite + Unpin + Send),
        ) -> Result<Output, RemoteError> {
            panic!("streams nothing: {}", command.line())
        }
    }

    #[expect(clippy::unnecessary_wraps, reason = "one of the answers in a row of them")]
    fn says(text: &str) -> Result<Output, RemoteError> {
        Ok(Output { exit: Exit::Code(0), stdout: text.into(), stderr: Vec::new(), dropped: 0 })
    }

    #[expect(clippy::unnecessary_wraps, reason = "one of the answers in a row of them")]
    fn fails() -> Result<Output, RemoteError> {
        Ok(Output { exit: Exit::Code(1), stdout: Vec::new(), stderr: Vec::new(), dropped: 0 })
    }

    fn cut() -> Result<Output, RemoteError> {
        Err(RemoteError::Lost("cut".into()))
    }

    fn away() -> Result<Output, RemoteError> {
        Err(RemoteError::Unreachable { address: "oak".into(), why: "gone".into() })
    }

    const HAS_CHART: &str = r#"{"kind":"List","items":[{"apiVersion":"helm.toolkit.fluxcd.io/v2beta1","kind":"HelmRelease","metadata":{"name":"oas-secrets","namespace":"oas"}}]}"#;
    const HAS_NONE: &str = r#"{"kind":"List","items":[]}"#;

    /// How a step of this class and rule ends on a host that gives these answers; all of them must be asked for.
    async fn ended(class: Class, redo: Redo, answers: Vec<Result<Output, RemoteError>>) -> String {
        let folder = tempfile::tempdir().unwrap();
        let mut journal = Journal::create(&folder.path().join("journal.ndjson"), "oak", None).unwrap();
        let mut scribe = Scribe::new(&mut journal, "to-0.7/step", &folder.path().join("log")).unwrap();
        let folder = Folder::create(&folder.path().join("backups"), "oak", "1").unwrap();
        let mut ground = Ground {
            folder,
            proven: None,
            run: String::new(),
            spool: String::new(),
            reconnect: Duration::ZERO,
            held: false,
        };
        let step = Step::new("to-0.7/step", "Do it", class, Action::Run(Command::new("do it"))).redo(redo);
        let host = Script(Mutex::new(answers.into()));
        let ended = match ground.settle(&host, &step, &mut scribe).await {
            Ok(()) => "done".to_owned(),
            Err(Trouble::Failed(failure)) => format!("failed: {}", failure.cause),
            Err(Trouble::InDoubt(failure)) => format!("in doubt: {}", failure.cause),
        };
        assert_eq!(host.0.lock().unwrap().len(), 0, "not all was asked for");
        ended
    }

    #[tokio::test]
    async fn what_was_cut_is_done_again_as_its_rule_says_and_never_guessed_at() {
        let unless = || Redo::Unless(Probe::ReleaseGone { name: "oas-secrets".into() });
        let (change, read) = (Class::Undoable, Class::ReadOnly);
        let table = [
            (read, Redo::Repeatable, vec![cut(), says("")], "done"),
            (read, Redo::Never, vec![cut(), cut(), says("")], "done"),
            (read, Redo::Repeatable, vec![cut(), cut(), cut()], "failed: connection-lost"),
            (read, Redo::Repeatable, vec![cut(), away()], "failed: unreachable"),
            (change, Redo::Repeatable, vec![cut(), says("")], "done"),
            (change, Redo::Repeatable, vec![cut(), cut(), cut()], "in doubt: connection-lost"),
            (change, Redo::Repeatable, vec![cut(), away()], "in doubt: connection-lost"),
            (change, Redo::Repeatable, vec![cut(), cut(), away()], "in doubt: connection-lost"),
            (change, Redo::Repeatable, vec![cut(), fails()], "failed: command-failed"),
            (change, Redo::Repeatable, vec![away()], "failed: unreachable"),
            (change, Redo::Never, vec![cut()], "in doubt: connection-lost"),
            (change, unless(), vec![cut(), says(HAS_NONE)], "done"),
            (change, unless(), vec![cut(), says(HAS_CHART), says("")], "done"),
            (change, unless(), vec![cut(), cut(), says(HAS_CHART), says("")], "done"),
            // An API that does not answer has not said that it is not done.
            (change, unless(), vec![cut(), fails()], "in doubt: connection-lost"),
            (change, unless(), vec![cut(), away()], "in doubt: connection-lost"),
        ];
        for (n, (class, redo, answers, expected)) in table.into_iter().enumerate() {
            assert_eq!(ended(class, redo, answers).await, expected, "row {n}");
        }
    }
}
