//! What the script of a truce said.

use super::{Kind, Thing};
use crate::remote::{Output, printable};

/// What the script said of each thing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// The host's time, in Unix seconds.
    pub now: i64,
    states: Vec<(String, String, String)>,
}

impl Seen {
    /// Reads what the script printed. What a login shell prints around it does not matter.
    pub fn read(output: &Output) -> Result<Self, String> {
        let text = output.text();
        let mut now = None;
        let mut states = Vec::new();
        for line in text.lines().filter_map(|line| line.strip_prefix("truce ")) {
            match *line.split(' ').collect::<Vec<_>>() {
                ["now", seconds] => now = seconds.parse().ok(),
                [kind, namespace, name, was, is] => {
                    states.push((format!("{kind} {namespace} {name}"), was.to_owned(), is.to_owned()));
                }
                _ => {}
            }
        }
        let now = now.ok_or_else(|| {
            format!("the host did not say how its nightly jobs are: {}", output.complaint())
        })?;
        Ok(Self { now, states })
    }

    fn of(&self, thing: &Thing) -> Option<&(String, String, String)> {
        let key = format!("{} {} {}", thing.kind.word(), thing.namespace, thing.name);
        self.states.iter().find(|(known, _, _)| *known == key)
    }

    /// How a thing is; `None` where the script did not come to it.
    #[must_use]
    pub fn is(&self, thing: &Thing) -> Option<&str> {
        self.of(thing).map(|(_, _, is)| is.as_str())
    }

    /// What became of a thing that was held, one sentence.
    #[must_use]
    pub fn held(&self, thing: &Thing) -> String {
        let (title, is) = (thing.title(), self.is(thing).unwrap_or("?"));
        match (thing.kind, is) {
            (_, "gone") => format!("{title} is not there any more"),
            (Kind::Job, "true") => format!("{title} suspended"),
            (Kind::Job, "busy") => format!("{title} has a job that runs and does not end"),
            (Kind::Source, "true") => format!("{title} recorded: suspended"),
            (Kind::Source, "false") => format!("{title} recorded: not suspended"),
            (Kind::Controller, "0") => format!("{title} scaled from {} to 0", thing.found),
            (Kind::Timer, "inactive") => format!("{title} stopped"),
            (_, "?") => format!("{title} cannot be asked for"),
            (_, is) => format!("{title} is not held: {}", printable(is)),
        }
    }

    /// What became of a thing that was given back, one sentence.
    #[must_use]
    pub fn given_back(&self, thing: &Thing) -> String {
        let (title, is) = (thing.title(), self.is(thing).unwrap_or("?"));
        let shut = thing.found != is && thing.shut.is_some_and(|at| at <= self.now);
        match (thing.kind, is) {
            (_, "gone") => format!("{title} is not there any more"),
            (_, "?") => format!("{title} cannot be asked for"),
            (Kind::Source, "true") if shut => {
                format!("{title} suspended: the hour at which the night suspends it went by")
            }
            (Kind::Controller, "0") if shut => {
                format!("{title} left at 0: the hour at which the night scales it down went by")
            }
            (_, is) if is != thing.found => format!("{title} is not as it was found: {}", printable(is)),
            (Kind::Job, _) => format!("{title} resumed"),
            (Kind::Source, "true") => format!("{title} suspended, as it was found"),
            (Kind::Source, _) => format!("{title} not suspended, as it was found"),
            (Kind::Controller, _) => format!("{title} scaled to {is} again"),
            (Kind::Timer, _) => format!("{title} started"),
        }
    }
}
