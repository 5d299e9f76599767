//! Carrying out `Action::Job`: started on the host, followed from here, judged by what the host wrote down.
//!
//! A lost line says nothing about a job: it is asked for again until the host answers, cannot be reached any more, or the step's time is
//! over. Only the host's own record of the end is a success or a failure; without one the step is in doubt, or its redo rule settles it.

use std::time::Duration;

use tokio::time::Instant;

use super::{Scribe, Trouble, wait};
use crate::event::Failure;
use crate::jobs::{How, Job, Seen, State, Why};
use crate::plan::{Probe, Redo, Step};
use crate::probes::{self, Progress};
use crate::remote::{Command, Exit, Output, Remote, RemoteError, printable};

/// How much longer than the host's own deadline a job is followed.
const MARGIN: Duration = Duration::from_secs(40);
/// Pauses between questions that had no answer.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(15);
/// How long a job may be about to start.
const STARTS_WITHIN: Duration = Duration::from_secs(60);
/// How often a job is started anew in one step, after reboots of its host.
const RESTARTS: u32 = 3;
/// How many answers in a row may be unreadable.
const UNREADABLE: u32 = 3;
/// How much of the last output a message is made of.
const LAST: usize = 4 << 10;
/// Where to read on.
const READ: &str = "docs/jobs.md#when-a-job-fails";

/// Where a step's job is: with the step's id that makes the job's own.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    /// The run's id.
    pub run: &'a str,
    /// The cluster's name, for what an operator is told to type.
    pub cluster: &'a str,
    /// The spool folder on the host.
    pub spool: &'a str,
}

/// Carries out a step's job: starts it unless it was started, by whomever, follows it to its end, and cleans up. Its output goes into the
/// step's log from its beginning. The step's deadline is held on the host.
pub async fn carry<R: Remote>(
    remote: &R,
    step: &Step,
    command: &Command,
    place: Place<'_>,
    scribe: &mut Scribe<'_>,
) -> Result<(), Trouble> {
    if command.input().is_some() || command.is_sensitive() {
        let said =
            format!("{} would leave a secret on the host's disk; a job takes none. Not started", step.id);
        return Err(failed("job-with-a-secret", said));
    }
    let job =
        Job::new(place.spool, place.run, &step.id, command, step.deadline).fenced(place.run, remote.fence());
    let mut follow = Follow {
        remote,
        job,
        place,
        ends: Instant::now() + step.deadline + MARGIN,
        pause: FIRST_PAUSE,
        sent: false,
        last: Vec::new(),
    };
    let mut began = Instant::now();
    scribe.log(format!("$ {}\n", command.line()).as_bytes())?;
    for _ in 0..=RESTARTS {
        let why = match follow.until_it_ends(scribe).await? {
            Came::Ended(how, exit) => return follow.judge(step, how, &exit, began, scribe).await,
            Came::Gone(why) => why,
        };
        scribe.ran(command.line(), why, millis(began))?;
        began = Instant::now();
        let again = follow.settle(&step.redo, why, scribe).await?;
        follow.clean(scribe).await?;
        if !again {
            return Ok(());
        }
        scribe.note(format!("{why}; the step may be repeated: started anew"))?;
    }
    let said = format!("{} times in this step it was gone without an end", RESTARTS + 1);
    Err(follow.doubt("job-gone", &said))
}

/// Removes what the host keeps of a step's job, so that it is started anew. One that runs is left alone, and re-attached to.
pub(super) async fn forget<R: Remote>(
    remote: &R,
    step: &Step,
    command: &Command,
    place: Place<'_>,
    scribe: &mut Scribe<'_>,
) {
    let job = Job::new(place.spool, place.run, &step.id, command, step.deadline);
    // Where the host cannot be asked now, what comes next tells.
    let _ = scribe.quietly(remote, &job.clean()).await;
}

/// What became of a job.
enum Came {
    /// The host wrote its end down.
    Ended(How, Exit),
    /// Nobody did; why.
    Gone(&'static str),
}

/// A job that is followed.
struct Follow<'a, R> {
    remote: &'a R,
    job: Job,
    place: Place<'a>,
    ends: Instant,
    pause: Duration,
    /// Whether the host may have been asked to start it.
    sent: bool,
    /// The end of its output.
    last: Vec<u8>,
}

impl<R: Remote> Follow<'_, R> {
    async fn until_it_ends(&mut self, scribe: &mut Scribe<'_>) -> Result<Came, Trouble> {
        let started = self.answer(&self.job.start(), scribe).await?;
        match started.exit {
            Exit::Code(3) => {
                let said = format!("the host could not start it: {}. It did not run", started.complaint());
                return Err(failed("job-not-started", said));
            }
            Exit::Code(4) => {
                let said = format!(
                    "{} on the host belongs to another command. This one did not run",
                    self.job.folder()
                );
                return Err(failed("job-of-another", said));
            }
            Exit::Code(6) => {
                let said = "the host's lock is another run's by now: it was not started, and did not run";
                return Err(Trouble::Failed(Failure::new("lock-lost", said).read("docs/locks.md#lock-lost")));
            }
            // Whatever else it says, a look tells.
            _ => {}
        }
        let (mut offset, mut unreadable, asked) = (0, 0, Instant::now());
        loop {
            let look = self.job.look(offset);
            let output = self.answer(look.command(), scribe).await?;
            let Seen { state, size, news, cut } = match look.read(&output) {
                Ok(seen) => seen,
                Err(error) => {
                    unreadable += 1;
                    if unreadable >= UNREADABLE {
                        return Err(self.doubt("strange-answer", &printable(&error.to_string())));
                    }
                    self.rest().await;
                    continue;
                }
            };
            unreadable = 0;
            scribe.log(&news)?;
            self.remember(&news);
            offset += news.len() as u64;
            match state {
                State::Running => {}
                State::Starting if asked.elapsed() < STARTS_WITHIN => {}
                State::Starting => {
                    let within = STARTS_WITHIN.as_secs();
                    return Err(
                        self.doubt("job-not-started", &format!("it was not seen to start within {within} s"))
                    );
                }
                State::Strange => {
                    return Err(self.doubt("strange-answer", "its files on the host's spool are damaged"));
                }
                // Not by a reboot: whoever removed it may have read its end, so no redo rule settles this.
                State::Absent => {
                    return Err(self.doubt("job-removed", "somebody removed it from the host's spool"));
                }
                State::Gone(Why::Rebooted) => {
                    return Ok(Came::Gone("the host was started anew while it ran"));
                }
                State::Gone(Why::Vanished) => {
                    return Ok(Came::Gone("it runs no more, and its end was not written down"));
                }
                // What it printed last is still to come.
                State::Ended(..) if offset < size && !news.is_empty() => {}
                State::Ended(how, exit) => {
                    if cut {
                        self.last_words(scribe).await?;
                    }
                    return Ok(Came::Ended(how, exit));
                }
            }
        }
    }

    /// An answer, asked for until there is one. `Err` is a doubt, or a failure where nothing was sent.
    async fn answer(&mut self, command: &Command, scribe: &mut Scribe<'_>) -> Result<Output, Trouble> {
        loop {
            if Instant::now() >= self.ends {
                let said = "the host did not tell of its end in the step's time";
                return Err(self.doubt("deadline", said));
            }
            match scribe.quietly(self.remote, command).await {
                Ok(output) => {
                    self.sent = true;
                    self.pause = FIRST_PAUSE;
                    return Ok(output);
                }
                Err(error) if error.in_doubt() => self.sent = true,
                Err(RemoteError::Refused(_)) if self.sent => {}
                Err(error) if self.sent => return Err(self.doubt(error.kind(), &error.to_string())),
                Err(error) => return Err(super::scribe::lost(&error)),
            }
            self.rest().await;
        }
    }

    async fn rest(&mut self) {
        tokio::time::sleep(self.pause).await;
        self.pause = self.pause.mul_f32(1.5).min(LONGEST_PAUSE);
    }

    fn remember(&mut self, news: &[u8]) {
        self.last.extend_from_slice(news);
        let beyond = self.last.len().saturating_sub(LAST);
        self.last.drain(..beyond);
    }

    /// The last output of a job whose output was too much for the host.
    async fn last_words(&mut self, scribe: &mut Scribe<'_>) -> Result<(), Trouble> {
        scribe.note("the host kept only the beginning and the end of its output")?;
        let tail = self.answer(&self.job.tail(), scribe).await?;
        scribe.log(b"\n# output was left out here\n")?;
        scribe.log(&tail.stdout)?;
        self.remember(&tail.stdout);
        Ok(())
    }

    /// The end that the host wrote down as the end of the step. It is on disk here before the host forgets it.
    async fn judge(
        &mut self,
        step: &Step,
        how: How,
        exit: &Exit,
        began: Instant,
        scribe: &mut Scribe<'_>,
    ) -> Result<(), Trouble> {
        scribe.ran(self.job.line(), &printable(&exit.to_string()), millis(began))?;
        self.clean(scribe).await?;
        let stdout = std::mem::take(&mut self.last);
        let said = Output { exit: exit.clone(), stdout, stderr: Vec::new(), dropped: 0 }.complaint();
        let line: String = self.job.line().chars().take(120).collect();
        match how {
            How::Itself if *exit == Exit::Code(0) => Ok(()),
            How::Itself => Err(failed("command-failed", format!("`{line}` ended with {exit}: {said}"))),
            How::Overdue => {
                let seconds = step.deadline.as_secs();
                Err(failed(
                    "deadline",
                    format!("`{line}` took longer than {seconds} s and the host ended it: {said}"),
                ))
            }
            How::Stopped => Err(failed(
                "job-stopped",
                format!("`{line}` was ended on request, by somebody on the host: {said}"),
            )),
        }
    }

    /// What the step's redo rule says about a job whose end nobody knows: whether to start it anew. `false`: it is done.
    async fn settle(
        &mut self,
        redo: &Redo,
        why: &'static str,
        scribe: &mut Scribe<'_>,
    ) -> Result<bool, Trouble> {
        match redo {
            Redo::Never => Err(self.doubt("job-gone", why)),
            Redo::Repeatable => Ok(true),
            Redo::Unless(probe) => {
                let left = self.ends.saturating_duration_since(Instant::now());
                // A cluster that has just come up again answers late; its silence is not a "no".
                wait::until(self.remote, &Probe::ClusterReady, &[], left, scribe).await.map_err(
                    |trouble| {
                        let (Trouble::Failed(failure) | Trouble::InDoubt(failure)) = trouble;
                        self.doubt(
                            "job-gone",
                            &format!("{why}, and the cluster cannot be asked: {}", failure.message),
                        )
                    },
                )?;
                let output = self.answer(&probes::ask(probe), scribe).await?;
                if !output.success() {
                    let said = format!("{why}, and the cluster cannot be asked: {}", output.complaint());
                    return Err(self.doubt("job-gone", &said));
                }
                match probes::judge(probe, &output.text()) {
                    Progress::Reached(what) => {
                        scribe.note(format!("{why}, but the step is done: {what}"))?;
                        Ok(false)
                    }
                    Progress::NotYet(_) | Progress::Never(_) => Ok(true),
                }
            }
        }
    }

    async fn clean(&mut self, scribe: &mut Scribe<'_>) -> Result<(), Trouble> {
        let cleaned = scribe.quietly(self.remote, &self.job.clean()).await;
        if cleaned.is_ok_and(|output| output.success()) {
            return Ok(());
        }
        let cluster = self.place.cluster;
        scribe.note(format!("the host's spool was not cleaned; later: fleet doctor --on {cluster} --clean"))
    }

    fn doubt(&self, cause: &str, why: &str) -> Trouble {
        let said = format!(
            "nobody knows yet how the step's job ended: {why}. It belongs to the host and may still run. Look with: fleet doctor --on {}",
            self.place.cluster
        );
        Trouble::InDoubt(Failure::new(cause, said).read("docs/jobs.md#in-doubt"))
    }
}

pub(super) fn millis(began: Instant) -> u64 {
    u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX)
}

fn failed(cause: &str, said: String) -> Trouble {
    Trouble::Failed(Failure::new(cause, said).read(READ))
}
