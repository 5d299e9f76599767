//! What is on a host's spool: jobs and timers, how each is, and what an operator can do about it.

use std::time::Duration;

use serde::Serialize;

use super::job::{State, clean, script};
use super::keeper::STATE;
use super::{How, Why, mark, timer};
use crate::remote::{Command, Output, quote};

/// How many are told of one host.
const MOST: u32 = 200;

/// After so many seconds one that has not started will not.
const STARTS_WITHIN: u64 = 120;

/// Lists them. `$1` the spool, `$2` the mark, `$3` how many at most. A timer's state comes from its marks and its process. A folder whose name
/// `fleet` would not have made is counted, not named. Ages are the clock's, which may have been set: what was begun since the host was started
/// is no older than that.
const LIST: &str = r#"
timer() {
    pid=$(head -c 20 "$1/pid" 2>/dev/null | head -n 1)
    lives=
    case $pid in '' | *[!0-9]*) ;; *) ! grep -qsF "$1/loop" "/proc/$pid/cmdline" || lives=1 ;; esac
    read -r up _ </proc/uptime
    lease=$(head -c 20 "$1/lease" 2>/dev/null | head -n 1)
    case $lease in '' | *[!0-9]*) lease=0 ;; esac
    left=$((lease - ${up%.*})); [ $left -gt 0 ] || left=0
    if [ -e "$1/undone" ]; then echo undone
    elif [ -e "$1/gave-up" ]; then echo gave-up
    elif [ -e "$1/disarmed" ]; then echo disarmed
    elif [ ! -e "$1/pid" ]; then echo arming
    elif [ -z "$lives" ]; then echo dead
    elif [ -e "$1/fired" ]; then echo firing
    else echo armed $left; fi
}
n=0 strange=0
read -r up _ </proc/uptime
for d in "$1"/job-* "$1"/timer-*; do
    [ -d "$d" ] || continue
    name=${d##*/}
    case $name in *[!A-Za-z0-9._-]*) strange=$((strange + 1)); continue ;; esac
    n=$((n + 1)); [ $n -le "$3" ] || continue
    age=$(($(date +%s) - $(stat -c %Y "$d/line" 2>/dev/null || stat -c %Y "$d/undo" 2>/dev/null || stat -c %Y "$d")))
    case $(head -c 200 "$d/pid" "$d/boot" 2>/dev/null) in *"$boot"*) [ $age -le ${up%.*} ] || age=${up%.*} ;; esac
    case $name in
    job-*) printf '\n%s job %s %s %s\n' "$2" "${name#job-}" $age "$(state "$d")" ;;
    *) printf '\n%s timer %s %s %s\n' "$2" "${name#timer-}" $age "$(timer "$d")" ;;
    esac
    printf '%s about %s\n' "$2" "$(head -c 200 "$d/about" 2>/dev/null | head -n 1)"
done
printf '\n%s end %s %s\n' "$2" $n $strange
"#;

/// A question for all that is on a host's spool.
#[derive(Debug, Clone)]
pub struct Leftovers {
    spool: String,
    mark: String,
}

/// One job or timer on a host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Leftover {
    /// What it is.
    pub kind: Kind,
    /// Its id.
    pub id: String,
    /// The run that started it; empty where that is not written down.
    pub run: String,
    /// The step that started it; empty where that is not written down. What a file name cannot hold is `-` here.
    pub step: String,
    /// Seconds since it was started, by the host's clock; no more than the host is up, if it was started since.
    pub age: u64,
    /// How it is, for people.
    pub state: String,
    /// How it is, for programs.
    pub now: Now,
    /// Its folder on the host.
    pub folder: String,
}

/// A job or a timer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// A long command.
    Job,
    /// An undo that waits.
    Timer,
}

/// How a leftover is, as far as it says what to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Now {
    /// It runs, or waits, as it should.
    Alive,
    /// It is over, and its folder can go.
    Over,
    /// A change was not undone: a person must do it.
    NotUndone,
    /// Nobody knows how it ended; its folder is what there is to learn it from.
    InDoubt,
}

impl Leftovers {
    /// A question for this spool folder.
    #[must_use]
    pub fn on(spool: &str) -> Self {
        Self { spool: spool.trim_end_matches('/').to_owned(), mark: mark() }
    }

    /// The question. Changes nothing.
    #[must_use]
    pub fn command(&self) -> Command {
        script(&[STATE, LIST]).arg("fleet-list").arg(&self.spool).arg(&self.mark).arg(MOST.to_string())
    }

    /// The answer: what there is, and how many folders there are besides, too many or with names that are not `fleet`'s. `None` where
    /// the answer is not whole.
    #[must_use]
    pub fn read(&self, output: &Output) -> Option<(Vec<Leftover>, u64)> {
        let text = output.text();
        let mut found: Vec<Leftover> = Vec::new();
        let lines = text.lines().filter_map(|line| line.strip_prefix(self.mark.as_str())?.strip_prefix(' '));
        for line in lines {
            let words: Vec<&str> = line.split(' ').collect();
            match *words {
                ["end", all, strange] => {
                    let beyond = all.parse::<u64>().ok()?.saturating_sub(found.len() as u64);
                    return Some((found, beyond.saturating_add(strange.parse().ok()?)));
                }
                ["about", run, step] => {
                    if let Some(last) = found.last_mut() {
                        (last.run, last.step) = (super::plain(run), super::plain(step));
                    }
                }
                ["about", ..] => {}
                [kind, id, age, ref state @ ..] => {
                    let state = state.join(" ");
                    let age = age.parse().unwrap_or(0);
                    found.push(self.leftover(kind, id, age, &state)?);
                }
                _ => return None,
            }
        }
        None
    }

    fn leftover(&self, kind: &str, id: &str, age: u64, state: &str) -> Option<Leftover> {
        let (kind, (now, state)) = match kind {
            "job" => (Kind::Job, of_job(&State::read(state), age)),
            "timer" => (Kind::Timer, of_timer(state, age)),
            _ => return None,
        };
        let id = super::plain(id);
        let name = if kind == Kind::Job { "job" } else { "timer" };
        let folder = format!("{}/{name}-{id}", self.spool);
        Some(Leftover { kind, id, run: String::new(), step: String::new(), age, state, now, folder })
    }
}

fn of_job(state: &State, age: u64) -> (Now, String) {
    let now = match state {
        State::Starting if age > STARTS_WITHIN => return (Now::Over, "never started".to_owned()),
        State::Running | State::Starting => Now::Alive,
        State::Ended(How::Itself | How::Overdue | How::Stopped, _) | State::Absent => Now::Over,
        State::Gone(Why::Rebooted | Why::Vanished) | State::Strange => Now::InDoubt,
    };
    (now, state.to_string())
}

fn of_timer(state: &str, age: u64) -> (Now, String) {
    let (now, said) = match state {
        // The change is made only after the timer was seen.
        "arming" if age > STARTS_WITHIN => (Now::Over, "never armed: the change was not made"),
        "arming" => (Now::Alive, "being armed"),
        "undone" => (Now::Over, "fired: the change is undone"),
        "disarmed" => (Now::Over, "disarmed"),
        "firing" => (Now::Alive, "fired: the change is being undone"),
        "gave-up" => (Now::NotUndone, "fired, and the undo failed as often as it was tried"),
        "dead" => (Now::NotUndone, "dead: it ended before its lease, and the change was not undone"),
        armed => match armed.strip_prefix("armed ").and_then(|left| left.parse::<u64>().ok()) {
            Some(left) => {
                return (
                    Now::Alive,
                    format!("armed: fires in {} unless renewed", crate::form::seconds(left)),
                );
            }
            None => (Now::NotUndone, "in doubt: its files on the spool are damaged"),
        },
    };
    (now, said.to_owned())
}

impl Leftover {
    /// What to type on the host to look after it; for what is over, `None`: `fleet doctor --clean` removes it.
    #[must_use]
    pub fn by_hand(&self) -> Option<String> {
        let below = |name: &str| quote(&format!("{}/{name}", self.folder));
        match (self.kind, self.now) {
            (_, Now::Over) => None,
            (Kind::Job, Now::Alive) => Some(format!("tail -f {}", below("out"))),
            (Kind::Job, _) => Some(format!("cat {} {}; tail {}", below("line"), below("log"), below("out"))),
            (Kind::Timer, Now::Alive) => Some(format!("cat {}", below("undo"))),
            (Kind::Timer, _) => Some(format!("sh {} && touch {}", below("undo"), below("undone"))),
        }
    }

    /// Removes it, where it is over or in doubt; the host looks again and leaves a running job alone. `None` for what is not to be removed.
    #[must_use]
    pub fn clean(&self) -> Option<Command> {
        match (self.kind, self.now) {
            (_, Now::Alive | Now::NotUndone) => None,
            (Kind::Job, Now::Over | Now::InDoubt) => Some(clean(&self.folder)),
            (Kind::Timer, _) => Some(timer::disarm(&self.folder, &format!("fleet-timer-{}", self.id))),
        }
    }

    /// How long ago it was started.
    #[must_use]
    pub const fn age(&self) -> Duration {
        Duration::from_secs(self.age)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::remote::Exit;
    use crate::remote::shell::in_shell;

    fn read(text: &str) -> Option<(Vec<Leftover>, u64)> {
        let asked = Leftovers { spool: "/spool".into(), mark: "m1".into() };
        asked.read(&Output { exit: Exit::Code(0), stdout: text.into(), stderr: Vec::new(), dropped: 0 })
    }

    #[test]
    fn each_is_told_with_what_can_be_done() {
        let text = "motd\n\nm1 job r-s 60 running\nm1 about r s\n\nm1 job r-t 61 ended itself 0 now\nm1 about \n\
                    \nm1 timer k3s-b 9 armed 70\nm1 about \n\nm1 timer x 9 dead\nm1 about \n\nm1 end 5 1\n";
        let (found, more) = read(text).unwrap();
        assert_eq!(more, 2);
        let told: Vec<(Now, &str, Option<String>)> =
            found.iter().map(|one| (one.now, one.state.as_str(), one.by_hand())).collect();
        assert_eq!(
            told,
            [
                (Now::Alive, "running", Some("tail -f /spool/job-r-s/out".into())),
                (Now::Over, "ended with exit status 0", None),
                (
                    Now::Alive,
                    "armed: fires in 1 m 10 s unless renewed",
                    Some("cat /spool/timer-k3s-b/undo".into())
                ),
                (
                    Now::NotUndone,
                    "dead: it ended before its lease, and the change was not undone",
                    Some("sh /spool/timer-x/undo && touch /spool/timer-x/undone".into())
                ),
            ]
        );
        assert_eq!((found[0].run.as_str(), found[0].step.as_str()), ("r", "s"));
        assert!(found[0].clean().is_none() && found[1].clean().is_some());
        assert!(found[2].clean().is_none() && found[3].clean().is_none());
    }

    #[test]
    fn a_timer_that_was_never_armed_has_nothing_to_undo() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(folder.path().join("timer-fixed/started")).unwrap();
        let asked = Leftovers::on(folder.path().to_str().unwrap());
        let output = in_shell(&asked.command());
        let found = |text: &str| {
            let stdout = text.as_bytes().to_vec();
            asked.read(&Output { exit: Exit::Code(0), stdout, stderr: Vec::new(), dropped: 0 }).unwrap().0
        };
        let text = String::from_utf8(output.stdout).unwrap();
        assert_eq!(found(&text)[0].now, Now::Alive, "{text}");
        // Minutes later.
        let later: Vec<String> = text
            .lines()
            .map(|line| match line.split_once(" timer fixed ") {
                Some((mark, _)) => format!("{mark} timer fixed 600 arming"),
                None => line.to_owned(),
            })
            .collect();
        let later = found(&later.join("\n"));
        assert_eq!((later[0].now, later[0].by_hand()), (Now::Over, None), "{later:?}");
        assert!(later[0].clean().is_some());
    }

    #[test]
    fn a_clock_that_was_set_makes_nothing_older_than_the_host_is_up() {
        let folder = tempfile::tempdir().unwrap();
        let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
        for (name, boot) in [("job-now", format!("1 {boot}")), ("job-then", "1 another-boot\n".to_owned())] {
            let job = folder.path().join(name);
            std::fs::create_dir(&job).unwrap();
            std::fs::write(job.join("pid"), boot).unwrap();
            let line = std::fs::File::create(job.join("line")).unwrap();
            line.set_modified(std::time::SystemTime::UNIX_EPOCH).unwrap();
        }
        let asked = Leftovers::on(folder.path().to_str().unwrap());
        let (found, _) = asked.read(&in_shell(&asked.command())).unwrap();
        let up = std::fs::read_to_string("/proc/uptime").unwrap();
        let up: u64 = up.split('.').next().unwrap().parse().unwrap();
        assert!(found[0].age <= up && found[1].age > 20 * 365 * 86_400, "{found:?}");
    }

    #[test]
    fn an_answer_that_is_cut_is_none_and_nothing_of_a_host_is_printed_as_it_came() {
        assert_eq!(read("\nm1 job r-s 60 running\nm1 about r s\n"), None);
        let (found, _) =
            read("\nm1 job \u{1b}[31mx 60 \u{1b}c\nm1 about \u{1b}]0;a\u{7} b\n\nm1 end 1 0\n").unwrap();
        let all = format!("{} {} {} {}", found[0].id, found[0].run, found[0].step, found[0].state);
        assert!(!all.chars().any(char::is_control), "{all:?}");
        assert_eq!(found[0].now, Now::InDoubt);
    }
}
