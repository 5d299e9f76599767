//! The loop of the verbs that remember nothing: look at the cluster, do the one thing that is next, and look again.
//!
//! Where such a verb stands is read from the cluster alone. So it may be done again by its nature: one that was cut off anywhere goes on
//! where it is, and what is done already is not done twice.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use super::{Scribe, Trouble};
use crate::event::Failure;
use crate::facts::kubernetes::List;
use crate::plan::Object;
use crate::remote::{Command, Remote};

/// Where to read on.
const READ: &str = "docs/claims.md#when-it-stops";
/// How often the same thing is done within one go: what has no effect by then will have none.
const ATTEMPTS: u32 = 3;
/// How much longer a command may take for each object that it is about: a small host needs seconds for one kubectl.
const EACH: Duration = Duration::from_secs(5);
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// What is to be done next.
#[derive(Debug)]
pub(super) enum Next {
    /// Nothing: it is as it should be.
    Done(String),
    /// This, and then another look.
    Do(Act),
    /// Waiting: what the failure is called if it is in vain, and for what.
    Wait(&'static str, String),
    /// Nothing more without a person: what the failure is called, and why.
    Stop(&'static str, String),
}

/// One change of the cluster.
#[derive(Debug)]
pub(super) struct Act {
    /// What the failure is called if it has no effect.
    pub cause: &'static str,
    /// What is done, for people.
    pub says: String,
    /// The command.
    pub command: Command,
}

/// The question after the objects of these kinds. It ends on the host before its own deadline here, as every question does that is asked
/// again.
pub(super) fn objects(kinds: &str) -> Command {
    Command::new("timeout 50 k3s kubectl get").arg(kinds).fixed("-A -o json").limit(64 << 20)
}

/// The same for each of these objects, in one command.
pub(super) fn each(
    cause: &'static str,
    done: &str,
    objects: &[&Object],
    act: impl Fn(&Object) -> Command,
) -> Act {
    let names: Vec<String> = objects.iter().map(ToString::to_string).collect();
    let command = objects.iter().map(|object| act(object)).reduce(|all, one| all.then("&&", &one));
    let command = command.unwrap_or_else(|| Command::new(":"));
    let time = EACH.saturating_mul(u32::try_from(objects.len()).unwrap_or(u32::MAX));
    let deadline = command.time_allowed().saturating_add(time);
    Act { cause, says: format!("{done}: {}", names.join(", ")), command: command.deadline(deadline) }
}

/// Goes on until it is done. What is not so at the deadline is a failure and no doubt: it was looked at.
pub(super) async fn go<R: Remote>(
    remote: &R,
    ask: &Command,
    next: impl Fn(&List) -> Result<Next, String> + Send + Sync,
    deadline: Duration,
    scribe: &mut Scribe<'_>,
) -> Result<(), Trouble> {
    let ends = Instant::now() + deadline;
    let mut done: BTreeMap<&'static str, u32> = BTreeMap::new();
    let (mut told, mut complaint) = (String::new(), String::new());
    let mut pause = FIRST_PAUSE;
    loop {
        let found = look(remote, ask, &next, scribe).await?;
        let (cause, why) = match found {
            Next::Done(said) => return scribe.note(said),
            Next::Stop(cause, why) => return Err(failed(cause, why)),
            Next::Wait(cause, why) => (cause, why),
            Next::Do(act) => {
                let times = done.entry(act.cause).or_insert(0);
                if *times == ATTEMPTS {
                    let why = format!("{}: {ATTEMPTS} times, without effect{complaint}", act.says);
                    return Err(failed(act.cause, why));
                }
                *times += 1;
                scribe.note(&act.says)?;
                let output = scribe.ask(remote, &act.command).await?;
                if output.success() {
                    complaint.clear();
                    pause = FIRST_PAUSE;
                    continue;
                }
                complaint = format!(" ({})", output.complaint());
                (act.cause, format!("{}{complaint}", act.says))
            }
        };
        if why != told {
            scribe.note(format!("waiting: {why}"))?;
            told.clone_from(&why);
        }
        let left = ends.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(failed(cause, format!("not within {} s: {why}", deadline.as_secs())));
        }
        tokio::time::sleep(pause.min(left)).await;
        pause = pause.mul_f32(1.5).min(LONGEST_PAUSE);
    }
}

/// One look. An API that does not answer, or not so that it can be read, is waited for.
async fn look<R: Remote>(
    remote: &R,
    ask: &Command,
    next: impl Fn(&List) -> Result<Next, String> + Send + Sync,
    scribe: &mut Scribe<'_>,
) -> Result<Next, Trouble> {
    let away = |why: String| Next::Wait("api-away", format!("the API does not answer: {why}"));
    Ok(match scribe.look(remote, ask).await? {
        None => away("no answer in time".to_owned()),
        Some(output) if !output.success() => away(output.complaint()),
        Some(output) if output.dropped > 0 => away("its answer is larger than 64 MiB".to_owned()),
        Some(output) => match List::read(&output.text()).and_then(|list| next(&list)) {
            Ok(next) => next,
            Err(why) => Next::Wait("api-away", format!("the API's answer cannot be read: {why}")),
        },
    })
}

fn failed(cause: &str, message: String) -> Trouble {
    Trouble::Failed(Failure::new(cause, message).read(READ))
}
