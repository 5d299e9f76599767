//! What many hosts answered to one command: equal answers folded, the odd ones against the majority (promise E2).

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use serde::Serialize;
use similar::TextDiff;

use super::cluster::Ending;
use super::hosts::named;
use crate::event::Failure;
use crate::form::count;
use crate::remote::{Exit, Output, printable};
use crate::rollout::Answer;

/// Lines that are shown of an answer that is neither the majority's nor close to it.
const HEAD: usize = 20;
/// A difference of more lines than this is shown as the answer's head instead.
const DIFF: usize = 60;
/// Answers of more lines than this are not compared line by line.
const COMPARED: usize = 5000;
/// How long one comparison may take; then it is no longer the shortest, but still right.
const COMPARE_WITHIN: Duration = Duration::from_millis(200);
/// Odd answers that are shown; the hosts of the others are named.
const ODD: usize = 20;

/// Every cluster that was asked, and what it answered; nothing where it was never begun.
#[derive(Debug)]
pub struct Answered<'a> {
    all: Vec<(&'a str, Option<&'a Answer>)>,
}

/// Hosts that answered alike.
struct Alike<'a> {
    names: Vec<&'a str>,
    output: &'a Output,
}

impl<'a> Answered<'a> {
    /// These clusters, in order of name, with the answers that there are.
    #[must_use]
    pub fn new(clusters: &'a [String], answers: &'a BTreeMap<String, Answer>) -> Self {
        Self { all: clusters.iter().map(|name| (name.as_str(), answers.get(name))).collect() }
    }

    /// How each ended.
    pub fn endings(&self) -> impl Iterator<Item = Ending> {
        self.all
            .iter()
            .map(|(_, answer)| answer.map_or(Ending::NotBegun, |answer| Ending::of(&answer.outcome)))
    }

    /// For people: the most frequent answer whole, then the others as their difference from it, then the hosts without an answer.
    #[must_use]
    pub fn folded(&self) -> String {
        let groups = self.alike();
        let mut text = String::new();
        let majority = groups.first().filter(|group| group.names.len() > 1 || groups.len() == 1);
        if let Some(group) = majority {
            let _ = writeln!(text, "{}", self.title(group, ""));
            for line in lines(group.output) {
                let _ = writeln!(text, "{line}");
            }
            text.push('\n');
        }
        let odd = &groups[usize::from(majority.is_some())..];
        for group in &odd[..odd.len().min(ODD)] {
            self.tell_odd(&mut text, group, majority);
        }
        let more = &odd[odd.len().min(ODD)..];
        if !more.is_empty() {
            let names: Vec<&str> = more.iter().flat_map(|group| group.names.iter().copied()).collect();
            let _ = writeln!(
                text,
                "{} more, from {}. --each and --format json show them all.\n",
                count(more.len(), "different answer"),
                named(names)
            );
        }
        self.tell_unanswered(&mut text);
        let _ = writeln!(text, "{}", self.counts());
        text
    }

    /// For people: every host on its own, in order of name.
    #[must_use]
    pub fn each(&self) -> String {
        let mut text = String::new();
        for (name, answer) in &self.all {
            if let Some(output) = answer.and_then(|answer| answer.output.as_ref()) {
                let _ = writeln!(text, "{name}, {}{}:", output.exit, cut(output));
                for line in lines(output) {
                    let _ = writeln!(text, "{line}");
                }
                text.push('\n');
            }
        }
        self.tell_unanswered(&mut text);
        let _ = writeln!(text, "{}", self.counts());
        text
    }

    /// For programs: every host, and which answered alike. Control characters are escaped, the eight-bit ones too, so that nothing acts
    /// upon a terminal.
    pub fn json(&self, run: &str) -> serde_json::Result<String> {
        let hosts = self.all.iter().map(|(name, answer)| HostFile::new(name, *answer)).collect();
        let alike = self.alike().into_iter().map(|group| group.names).collect();
        let file = File { schema: SCHEMA, run, hosts, alike };
        let mut text = String::new();
        for c in serde_json::to_string_pretty(&file)?.chars() {
            // JSON itself escapes the seven-bit ones; line feeds outside of strings are its own.
            let harmless = |c: char| printable(c.encode_utf8(&mut [0; 4])).starts_with(c);
            if matches!(c, '\n' | ' '..='~') || harmless(c) {
                text.push(c);
            } else {
                let mut units = [0; 2];
                for unit in c.encode_utf16(&mut units) {
                    let _ = write!(text, "\\u{unit:04x}");
                }
            }
        }
        text.push('\n');
        Ok(text)
    }

    /// The answers, the most frequent first; of those equally frequent, the one whose first host comes first.
    fn alike(&self) -> Vec<Alike<'a>> {
        let mut groups: BTreeMap<_, Alike<'a>> = BTreeMap::new();
        for (name, answer) in &self.all {
            if let Some(output) = answer.and_then(|answer| answer.output.as_ref()) {
                let key = (output.exit.to_string(), &output.stdout, &output.stderr, output.dropped);
                groups.entry(key).or_insert_with(|| Alike { names: Vec::new(), output }).names.push(name);
            }
        }
        let mut groups: Vec<Alike<'a>> = groups.into_values().collect();
        groups.sort_by(|a, b| (b.names.len(), &a.names).cmp(&(a.names.len(), &b.names)));
        groups
    }

    fn title(&self, group: &Alike<'_>, but: &str) -> String {
        format!(
            "{} of {}, {}{}{but}: {}",
            group.names.len(),
            count(self.all.len(), "host"),
            group.output.exit,
            cut(group.output),
            named(group.names.iter().copied())
        )
    }

    fn tell_odd(&self, text: &mut String, group: &Alike<'_>, majority: Option<&Alike<'_>>) {
        let own = lines(group.output);
        let difference = majority.and_then(|majority| difference(&lines(majority.output), &own));
        if let Some(difference) = difference {
            let _ = writeln!(text, "{}", self.title(group, ", compared with the most frequent answer"));
            text.push_str(&difference);
        } else {
            let _ = writeln!(text, "{}", self.title(group, ""));
            for line in own.iter().take(HEAD) {
                let _ = writeln!(text, "{line}");
            }
            if own.len() > HEAD {
                let more = count(own.len() - HEAD, "more line");
                let _ = writeln!(text, "({more}; --each and --format json show all)");
            }
        }
        text.push('\n');
    }

    /// Hosts without an answer, the worst last, equal reasons once.
    fn tell_unanswered(&self, text: &mut String) {
        let mut groups: BTreeMap<Ending, BTreeMap<&str, Vec<&str>>> = BTreeMap::new();
        for (name, answer) in self.all.iter().filter(|(_, answer)| answer.is_none_or(|a| a.output.is_none()))
        {
            let ending = answer.map_or(Ending::NotBegun, |answer| Ending::of(&answer.outcome));
            let why =
                answer.and_then(|answer| answer.outcome.failure()).map_or("", |failure| &failure.message);
            groups.entry(ending).or_default().entry(why).or_default().push(name);
        }
        for (ending, whys) in groups {
            let names = whys.values().flatten().copied().collect::<Vec<_>>();
            let _ = writeln!(text, "{}, {}: {}", count(names.len(), "host"), ending.as_str(), named(names));
            for (why, names) in whys.into_iter().filter(|(why, _)| !why.is_empty()) {
                let _ = writeln!(text, "  {}: {}", named(names), printable(why));
            }
            text.push('\n');
        }
    }

    /// `50 hosts: 47 done, 2 failed, 1 unreachable`.
    fn counts(&self) -> String {
        let mut counts: BTreeMap<Ending, usize> = BTreeMap::new();
        for ending in self.endings() {
            *counts.entry(ending).or_default() += 1;
        }
        let said: Vec<String> =
            counts.iter().map(|(ending, count)| format!("{count} {}", ending.as_str())).collect();
        format!("{}: {}", count(self.all.len(), "host"), said.join(", "))
    }

    /// The hosts to which the command was not sent, as `--on` takes them; none where it was sent to all.
    #[must_use]
    pub fn not_sent(&self) -> Option<String> {
        let left = |ending| matches!(ending, Ending::NotBegun | Ending::Halted | Ending::Interrupted);
        let names = self.all.iter().zip(self.endings()).filter(|(_, ending)| left(*ending));
        let names: Vec<&str> = names.map(|((name, _), _)| *name).collect();
        (!names.is_empty()).then(|| names.join(","))
    }
}

/// What a host printed, as lines that are safe to show.
fn lines(output: &Output) -> Vec<String> {
    let of = |bytes: &[u8], before: &str| -> Vec<String> {
        let text = String::from_utf8_lossy(bytes);
        text.lines().map(|line| format!("{before}{}", printable(line))).collect()
    };
    [of(&output.stdout, ""), of(&output.stderr, "stderr: ")].concat()
}

/// That something is missing.
fn cut(output: &Output) -> String {
    if output.dropped == 0 {
        return String::new();
    }
    format!(", {} bytes more not kept (see --limit)", output.dropped)
}

/// The difference as a unified diff; none where the answer itself is no longer than that, or it would be too long to read.
fn difference(majority: &[String], own: &[String]) -> Option<String> {
    if majority.len().max(own.len()) > COMPARED {
        return None;
    }
    if majority == own {
        return Some(
            "(equal as shown here: they differ in how they ended, or in bytes that cannot be shown)\n".into(),
        );
    }
    let whole = |lines: &[String]| lines.iter().fold(String::new(), |text, line| text + line + "\n");
    let (majority, whole_own) = (whole(majority), whole(own));
    let diff = TextDiff::configure().timeout(COMPARE_WITHIN).diff_lines(&*majority, &*whole_own);
    let text = diff.unified_diff().context_radius(2).to_string();
    let length = text.lines().count();
    (length <= DIFF && length <= own.len().max(HEAD)).then_some(text)
}

/// The version of the form of `--format json`.
const SCHEMA: u32 = 1;

/// `fleet exec --format json`.
#[derive(Serialize)]
struct File<'a> {
    schema: u32,
    run: &'a str,
    hosts: Vec<HostFile<'a>>,
    alike: Vec<Vec<&'a str>>,
}

#[derive(Serialize)]
struct HostFile<'a> {
    cluster: &'a str,
    outcome: Ending,
    exit: Option<&'a Exit>,
    stdout: Option<String>,
    stderr: Option<String>,
    bytes_not_kept: u64,
    took_ms: Option<u64>,
    failure: Option<&'a Failure>,
}

impl<'a> HostFile<'a> {
    fn new(cluster: &'a str, answer: Option<&'a Answer>) -> Self {
        let output = answer.and_then(|answer| answer.output.as_ref());
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Self {
            cluster,
            outcome: answer.map_or(Ending::NotBegun, |answer| Ending::of(&answer.outcome)),
            exit: output.map(|output| &output.exit),
            stdout: output.map(|output| text(&output.stdout)),
            stderr: output.map(|output| text(&output.stderr)),
            bytes_not_kept: output.map_or(0, |output| output.dropped),
            took_ms: answer.map(|answer| answer.took_ms),
            failure: answer.and_then(|answer| answer.outcome.failure()),
        }
    }
}

#[cfg(test)]
mod tests;
