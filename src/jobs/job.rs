//! A long command that belongs to a host: the commands that start, look at, end and clean it, and what their answers mean.

use std::time::Duration;

use super::keeper::{CLEAN, END, KEEP, LOOK, START, STATE};
use super::{SERVED, mark, plain};
use crate::remote::{Command, Exit, Output, printable};

/// Bytes of output that the host keeps of a job, and of its last output beyond them.
const OUTPUT: u64 = 64 << 20;
const TAIL: usize = 64 << 10;
/// Bytes of output that one look brings at most.
const BITE: usize = 4 << 20;
/// Seconds between TERM and KILL.
const GRACE: u64 = 10;
/// How many seconds, about, a look waits on the host for news.
const WAIT: u64 = 20;

/// One long command of one step of one run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    folder: String,
    unit: String,
    about: String,
    line: String,
    deadline: Duration,
    fence: String,
}

/// How a job ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// By itself.
    Itself,
    /// The host ended it at its deadline.
    Overdue,
    /// It was told to end: by [`Job::end`], by a person, or by the host's service manager.
    Stopped,
}

/// Why nobody knows how a job ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// The host was started anew while it ran.
    Rebooted,
    /// What keeps it is dead and has not written down its end: somebody killed it, or the host had no memory left.
    Vanished,
}

/// How a job is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// There is none of this id.
    Absent,
    /// Its folder is there, its command was not started yet. It may be started again.
    Starting,
    /// It runs.
    Running,
    /// It ended.
    Ended(How, Exit),
    /// It runs no more, and nobody knows how it ended: in doubt.
    Gone(Why),
    /// The files on the spool are not what a job writes: in doubt.
    Strange,
}

/// What a look saw.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// How the job is.
    pub state: State,
    /// Bytes of output that the host has.
    pub size: u64,
    /// Output from the offset on that was asked for.
    pub news: Vec<u8>,
    /// Whether output was left out, because it was too much or because the host's disk was full.
    pub cut: bool,
}

/// An answer that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the host's answer about a job cannot be read: {0}")]
pub struct Unreadable(String);

impl Job {
    /// The job of this step of this run, in the host's spool folder. Nothing is asked of the host yet. Its id is made of the two names,
    /// so whoever knows them finds the job. Of the command only the line is taken: a job has no standard input. It is ended after
    /// `deadline`, in whole seconds, counted on the host.
    #[must_use]
    pub fn new(spool: &str, run: &str, step: &str, command: &Command, deadline: Duration) -> Self {
        let (run, step) = (plain(run), plain(step));
        Self {
            folder: format!("{}/job-{run}-{step}", spool.trim_end_matches('/')),
            unit: format!("fleet-job-{run}-{step}"),
            about: format!("{run} {step}"),
            line: command.line().to_owned(),
            deadline,
            fence: String::new(),
        }
    }

    /// The job under the host's lock with this number, which is this run's. Its keeper begins nothing once the lock is another's.
    #[must_use]
    pub fn fenced(self, run: &str, number: Option<u64>) -> Self {
        let fence = number.map_or_else(String::new, |number| format!("{number} {}", plain(run)));
        Self { fence, ..self }
    }

    /// Its folder on the host.
    #[must_use]
    pub fn folder(&self) -> &str {
        &self.folder
    }

    /// The command that it runs.
    #[must_use]
    pub fn line(&self) -> &str {
        &self.line
    }

    /// Starts it. Doing this twice, even at the same time, starts it once. Exit status 0: it was started, now or before. 3: it was not
    /// started, and standard error says why. 4: another command has this id. 6: not started, for the host's lock is another run's. Anything
    /// else: look.
    #[must_use]
    pub fn start(&self) -> Command {
        script(&[SERVED, START])
            .arg("fleet-start")
            .arg(&self.folder)
            .arg(&self.line)
            .arg(&self.about)
            .arg(KEEP)
            .arg(&self.unit)
            .arg(self.deadline.as_secs().max(1).to_string())
            .arg(OUTPUT.div_ceil(512).to_string())
            .arg(GRACE.to_string())
            .arg(&self.fence)
    }

    /// Looks at it: its state, and its output from this offset on. Waits on the host for news, for about 20 s.
    #[must_use]
    pub fn look(&self, offset: u64) -> Look {
        self.look_for(offset, WAIT)
    }

    /// Looks without waiting for news.
    #[must_use]
    pub fn glance(&self, offset: u64) -> Look {
        self.look_for(offset, 0)
    }

    fn look_for(&self, offset: u64, wait: u64) -> Look {
        let mark = mark();
        let command = script(&[STATE, LOOK])
            .arg("fleet-look")
            .arg(&self.folder)
            .arg(&mark)
            .arg(offset.to_string())
            .arg(BITE.to_string())
            .arg(wait.to_string())
            .deadline(Duration::from_secs(wait + 40))
            .limit(BITE + (64 << 10));
        Look { mark, command }
    }

    /// The last output of a job whose output was cut, as far as the host has it.
    #[must_use]
    pub fn tail(&self) -> Command {
        Command::new("cat").arg(format!("{}/tail", self.folder)).limit(TAIL)
    }

    /// Ends it with all its processes: TERM, and KILL ten seconds later. Exit status 0: nothing of it runs.
    #[must_use]
    pub fn end(&self) -> Command {
        script(&[SERVED, STATE, END])
            .arg("fleet-end")
            .arg(&self.folder)
            .arg(&self.unit)
            .arg(((GRACE + 20) * 10).to_string())
    }

    /// Removes what the host keeps of it. One that runs is left alone: exit status 3.
    #[must_use]
    pub fn clean(&self) -> Command {
        clean(&self.folder)
    }
}

/// Removes a job's folder, unless the job runs: exit status 3.
pub(super) fn clean(folder: &str) -> Command {
    script(&[STATE, CLEAN]).arg("fleet-clean").arg(folder)
}

/// `sh -c` with these parts of a script.
pub(super) fn script(parts: &[&'static str]) -> Command {
    Command::new("sh -c").arg(parts.concat())
}

/// A question about a job, and the key to its answer.
#[derive(Debug, Clone)]
pub struct Look {
    mark: String,
    command: Command,
}

impl Look {
    /// The question.
    #[must_use]
    pub const fn command(&self) -> &Command {
        &self.command
    }

    /// The answer. What a login shell prints around it does not matter; an answer that is not whole is none.
    pub fn read(&self, output: &Output) -> Result<Seen, Unreadable> {
        let no = |what: &str| Unreadable(format!("{what} ({}, {})", output.exit, output.complaint()));
        let begin = format!("\n{} ", self.mark);
        let text = &output.stdout;
        let at = find(text, begin.as_bytes()).ok_or_else(|| no("it is not there"))? + begin.len();
        let rest = text.get(at..).unwrap_or_default();
        let line = find(rest, b"\n").ok_or_else(|| no("it is cut off"))?;
        let words = String::from_utf8_lossy(rest.get(..line).unwrap_or_default()).into_owned();
        let rest = rest.get(line + 1..).unwrap_or_default();
        let (size, words) = words.split_once(' ').ok_or_else(|| no("it has no size"))?;
        let (count, words) = words.split_once(' ').ok_or_else(|| no("it has no length"))?;
        let (cut, state) = words.split_once(' ').ok_or_else(|| no("it has no state"))?;
        let size = size.parse().map_err(|_| no("its size is no number"))?;
        let count: usize = count.parse().map_err(|_| no("its length is no number"))?;
        if count > BITE {
            return Err(no("it is longer than was asked for"));
        }
        let end = format!("\n{} end\n", self.mark);
        if !rest.get(count..).is_some_and(|after| after.starts_with(end.as_bytes())) {
            return Err(no("it is not as long as it says"));
        }
        let news = rest.get(..count).unwrap_or_default().to_vec();
        Ok(Seen { state: State::read(state), size, news, cut: cut == "cut" })
    }
}

impl State {
    /// The state that a host told in its words.
    pub(super) fn read(words: &str) -> Self {
        match *words.split(' ').collect::<Vec<_>>() {
            ["absent"] => Self::Absent,
            ["starting"] => Self::Starting,
            ["running"] => Self::Running,
            ["rebooted"] => Self::Gone(Why::Rebooted),
            ["vanished"] => Self::Gone(Why::Vanished),
            ["ended", how, code, when] => {
                let Some(exit) = exit(code) else { return Self::Strange };
                match (how, when) {
                    ("itself", _) => Self::Ended(How::Itself, exit),
                    ("overdue", _) => Self::Ended(How::Overdue, exit),
                    // A host that goes down in order tells every job to end before.
                    ("stopped", "before") => Self::Gone(Why::Rebooted),
                    ("stopped", _) => Self::Ended(How::Stopped, exit),
                    _ => Self::Strange,
                }
            }
            _ => Self::Strange,
        }
    }
}

impl std::fmt::Display for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Absent => f.write_str("not there"),
            Self::Starting => f.write_str("not started yet"),
            Self::Running => f.write_str("running"),
            Self::Ended(How::Itself, exit) => write!(f, "ended with {}", printable(&exit.to_string())),
            Self::Ended(How::Overdue, exit) => write!(f, "ended by the host at its deadline ({exit})"),
            Self::Ended(How::Stopped, exit) => write!(f, "ended on request ({exit})"),
            Self::Gone(Why::Rebooted) => f.write_str("in doubt: the host was started anew while it ran"),
            Self::Gone(Why::Vanished) => {
                f.write_str("in doubt: it runs no more, and its end was not written down")
            }
            Self::Strange => f.write_str("in doubt: its files on the spool are damaged"),
        }
    }
}

/// A shell's exit status. Beyond 128 a shell tells signals: one that has a name there is told as that signal.
fn exit(code: &str) -> Option<Exit> {
    let code: u32 = code.parse().ok().filter(|code| *code < 256)?;
    let signal = match code.checked_sub(128) {
        Some(1) => "HUP",
        Some(2) => "INT",
        Some(3) => "QUIT",
        Some(4) => "ILL",
        Some(6) => "ABRT",
        Some(7) => "BUS",
        Some(8) => "FPE",
        Some(9) => "KILL",
        Some(11) => "SEGV",
        Some(13) => "PIPE",
        Some(14) => "ALRM",
        Some(15) => "TERM",
        Some(24) => "XCPU",
        Some(25) => "XFSZ",
        _ => return Some(Exit::Code(code)),
    };
    Some(Exit::Signal(signal.to_owned()))
}

fn find(text: &[u8], what: &[u8]) -> Option<usize> {
    text.windows(what.len()).position(|window| window == what)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(stdout: &str) -> (Look, Output) {
        let look = Look { mark: "m1".to_owned(), command: Command::new("true") };
        (look, Output { exit: Exit::Code(0), stdout: stdout.into(), stderr: Vec::new(), dropped: 0 })
    }

    #[test]
    fn an_answer_is_found_between_what_a_login_shell_prints() {
        let (look, output) = answer("motd\nm1\n\nm1 9 5 whole running\nab\nm1\nm1 end\nbye");
        assert_eq!(look.read(&output).unwrap().news, b"ab\nm1", "the length says where it ends");
        let (look, output) = answer("motd\nm1\n\nm1 9 5 cut running\nab\ncd\nm1 end\nbye");
        let seen = look.read(&output).unwrap();
        assert_eq!(seen, Seen { state: State::Running, size: 9, news: b"ab\ncd".to_vec(), cut: true });
    }

    #[test]
    fn an_answer_that_is_not_whole_or_not_possible_is_none() {
        for text in [
            "",
            "\nm1 ",
            "\nm1 9 5 whole running",
            "\nm1 9 5 whole running\nab",
            "\nm1 9 5 whole running\nabcdefgh\nm1 end\n",
            "\nm1 9 -5 whole running\nabcde\nm1 end\n",
            "\nm1 9 99999999999999999999 whole running\nabcde\nm1 end\n",
            "\nm1 9 5\nabcde\nm1 end\n",
        ] {
            let (look, output) = answer(text);
            assert!(look.read(&output).is_err(), "{text:?}");
        }
    }

    #[test]
    fn states_are_read_strictly() {
        assert_eq!(State::read("ended itself 0 now"), State::Ended(How::Itself, Exit::Code(0)));
        assert_eq!(State::read("ended itself 0 before"), State::Ended(How::Itself, Exit::Code(0)));
        assert_eq!(State::read("ended itself 200 now"), State::Ended(How::Itself, Exit::Code(200)));
        assert_eq!(
            State::read("ended overdue 143 now"),
            State::Ended(How::Overdue, Exit::Signal("TERM".into()))
        );
        assert_eq!(State::read("ended stopped 1 now"), State::Ended(How::Stopped, Exit::Code(1)));
        assert_eq!(State::read("ended stopped 1 before"), State::Gone(Why::Rebooted));
        for words in [
            "",
            "ended",
            "ended itself 0",
            "ended itself -1 now",
            "ended itself 256 now",
            "ended  0 now",
            "fine",
            "ended itself 0 now now",
        ] {
            assert_eq!(State::read(words), State::Strange, "{words:?}");
        }
    }
}
