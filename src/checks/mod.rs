//! Judgements over facts, before and after an upgrade; one file a check.
//!
//! A check is pure: it needs no host to be tested, and the same check serves before and after.

use std::fmt;

use crate::event::{Judgement, Level};
use crate::facts::flux::Ready;
use crate::facts::scripts::{self, Scripts};
use crate::facts::{Facts, Installed, Unknown};
use crate::version::{Revision, Version};

mod backup_space;
mod certificates;
mod claims;
mod clock;
mod cluster_variables;
mod converged;
mod disk_space;
mod flux_source;
mod identity;
mod inodes;
mod k3s;
mod login;
mod memory;
mod network;
mod nightly_window;
mod node;
mod os;
mod package_manager;
mod pods;
mod programs_here;
mod releases;
mod secrets;
mod secrets_unchanged;
mod stackspin_checkout;
mod time_zone;
mod tools;
mod upgrade_running;
mod version;
mod version_changed;
mod volumes;
mod volumes_unchanged;
mod web;

/// A check.
#[derive(Debug, Clone, Copy)]
pub struct Check {
    /// Kebab-case, never changed: file name, heading in `docs/checks.md`, journal, report, `--ack`.
    pub id: &'static str,
    /// What is judged, in a few words.
    pub title: &'static str,
    /// When it is judged.
    pub when: When,
    /// The judgement. `before` is there for after-checks only.
    pub judge: fn(before: Option<&Facts>, now: &Facts) -> Verdict,
    /// What an operator does about it: one or two sentences.
    pub remedy: &'static str,
}

/// When a check is judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// Before anything is changed.
    Before,
    /// After the rung's steps.
    After,
    /// Both.
    Always,
}

/// What a check says: a level and what was seen, in one sentence. A fact that is not known blocks (`?` on a [`Known::get`](crate::facts::Known::get)
/// does so by itself inside [`judged`]).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// Pass, warn or block.
    pub level: Level,
    /// What was seen.
    pub said: String,
}

impl Verdict {
    /// All is well.
    #[must_use]
    pub fn pass(said: impl Into<String>) -> Self {
        Self { level: Level::Pass, said: said.into() }
    }

    /// An operator must say that he has seen it.
    #[must_use]
    pub fn warn(said: impl Into<String>) -> Self {
        Self { level: Level::Warn, said: said.into() }
    }

    /// Nothing may be changed.
    #[must_use]
    pub fn block(said: impl Into<String>) -> Self {
        Self { level: Level::Block, said: said.into() }
    }
}

impl From<&Unknown> for Verdict {
    /// A check that cannot be judged blocks.
    fn from(why: &Unknown) -> Self {
        Self::block(format!("cannot be judged: {why}"))
    }
}

/// Runs a judgement that may lack a fact: its `Err` is a verdict as good as its `Ok`.
#[must_use]
pub fn judged(judge: impl FnOnce() -> Result<Verdict, Verdict>) -> Verdict {
    judge().unwrap_or_else(|verdict| verdict)
}

/// Every check, in the order in which they are shown.
pub const ALL: &[Check] = &[
    os::CHECK,
    login::CHECK,
    clock::CHECK,
    time_zone::CHECK,
    disk_space::CHECK,
    inodes::CHECK,
    memory::CHECK,
    backup_space::CHECK,
    tools::CHECK,
    stackspin_checkout::CHECK,
    programs_here::CHECK,
    package_manager::CHECK,
    network::CHECK,
    identity::CHECK,
    k3s::CHECK,
    node::CHECK,
    version::CHECK,
    flux_source::CHECK,
    converged::CHECK,
    releases::CHECK,
    pods::CHECK,
    volumes::CHECK,
    claims::CHECK,
    secrets::CHECK,
    cluster_variables::CHECK,
    certificates::CHECK,
    web::CHECK,
    upgrade_running::CHECK,
    nightly_window::CHECK,
    version_changed::CHECK,
    secrets_unchanged::CHECK,
    volumes_unchanged::CHECK,
];

/// Judges every check of the time: `before` is `None` ahead of the upgrade.
#[must_use]
pub fn judge_all(before: Option<&Facts>, now: &Facts, acknowledged: &[String]) -> Vec<Judgement> {
    ALL.iter()
        .filter(|check| match check.when {
            When::Before => before.is_none(),
            When::After => before.is_some(),
            When::Always => true,
        })
        .map(|check| {
            let Verdict { level, said } = (check.judge)(before, now);
            Judgement {
                check: check.id.to_owned(),
                level,
                said: crate::remote::printable(&said),
                acknowledged: level == Level::Warn && acknowledged.iter().any(|id| id == check.id),
            }
        })
        .collect()
}

/// The check of this id.
#[must_use]
pub fn find(id: &str) -> Option<&'static Check> {
    ALL.iter().find(|check| check.id == id)
}

/// What there is here for upstream's scripts; a verdict where none of them takes this cluster on.
fn of_scripts(now: &Facts) -> Result<&Scripts, Verdict> {
    now.flux.get()?;
    now.identity.get()?;
    match now.installed() {
        Installed::Version(version) if scripts::climb(version).is_some() => Ok(now.scripts.get()?),
        Installed::Version(version) => {
            Err(Verdict::pass(format!("no script of upstream's takes a cluster on from {version}")))
        }
        // Another check says so.
        _ => Err(Verdict::pass("no script of upstream's takes a cluster on whose version cannot be told")),
    }
}

/// What a check finds wrong with several like things; the worst speaks.
#[derive(Debug, Default)]
struct Findings {
    block: Vec<String>,
    warn: Vec<String>,
}

impl Findings {
    fn add(&mut self, level: Level, found: String) {
        match level {
            Level::Pass => {}
            Level::Warn => self.warn.push(found),
            Level::Block => self.block.push(found),
        }
    }

    /// The verdict: what blocks, else what warns, else that all is `well`.
    fn verdict(self, well: impl Into<String>) -> Verdict {
        if !self.block.is_empty() {
            Verdict::block(listed(self.block, "; "))
        } else if !self.warn.is_empty() {
            Verdict::warn(listed(self.warn, "; "))
        } else {
            Verdict::pass(well)
        }
    }
}

/// The first few of many, and how many more there are: a verdict is one line of a screen.
fn listed(texts: impl IntoIterator<Item = impl Into<String>>, between: &str) -> String {
    const SHOWN: usize = 4;
    let mut texts: Vec<String> = texts.into_iter().map(Into::into).collect();
    let more = texts.len().saturating_sub(SHOWN);
    texts.truncate(SHOWN);
    let shown = texts.join(between);
    if more == 0 { shown } else { format!("{shown}{between}and {more} more") }
}

/// The beginning of a controller's message, which may be pages of Helm output.
fn short(message: &str) -> String {
    const SHOWN: usize = 120;
    match message.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &message[..end]),
        None => message.to_owned(),
    }
}

/// `1 pod`, `2 pods`.
fn counted(number: impl fmt::Display, what: &str) -> String {
    let text = format!("{number} {what}");
    if text.starts_with("1 ") { text } else { text + "s" }
}

/// What a Flux object's condition lacks for being Ready now; `None` where it is.
fn not_ready(ready: &Ready) -> Option<String> {
    let Ready { status, reason, message, current } = ready;
    if !current {
        // Whatever the condition says, it speaks of what the object was told before (facts section 5.2).
        Some("has not yet done what it was last told to".to_owned())
    } else if status == "True" {
        None
    } else if reason.is_empty() && message.is_empty() {
        Some("has not said yet whether it is Ready".to_owned())
    } else {
        Some(format!("is not Ready ({reason}): {}", short(message)))
    }
}

/// A Flux revision for people: `v0.7 at 6d5f1e9`.
fn shown_revision(revision: &str) -> String {
    match Revision::parse(revision) {
        // A commit is hexadecimal and has seven digits or more.
        Some(Revision { branch, commit }) => format!("{branch} at {}", &commit[..7]),
        None if revision.is_empty() => "nothing".to_owned(),
        None => format!("{revision:?}"),
    }
}

/// The facts from before the upgrade, without which an after-check has nothing to compare with.
fn earlier(before: Option<&Facts>) -> Result<&Facts, Verdict> {
    before.ok_or_else(|| Verdict::block("cannot be judged: there are no facts from before the upgrade"))
}

/// Whether a Flux source of this name is Stackspin's own, of whatever version.
fn is_stackspin(source: &str) -> bool {
    Version::ALL.iter().any(|version| version.source() == Some(source))
}

/// Whole percent that `part` is of `whole`, rounded down; of nothing it is 0.
fn percent(part: u64, whole: u64) -> u128 {
    (u128::from(part) * 100).checked_div(u128::from(whole)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_list_says_how_many_are_left_out() {
        assert_eq!(listed(["a", "b"], ", "), "a, b");
        assert_eq!(listed((1..=7).map(|n| n.to_string()), ", "), "1, 2, 3, 4, and 3 more");
    }

    #[test]
    fn an_empty_filesystem_has_no_percent_to_divide_by() {
        assert_eq!(percent(5, 0), 0);
        assert_eq!(percent(u64::MAX, u64::MAX), 100);
    }

    #[test]
    fn a_warning_is_acknowledged_by_its_own_id_only_and_a_block_never() {
        let facts = Facts {
            clock: crate::facts::Known::Is(crate::facts::clock::Clock {
                ahead_seconds: 30,
                zone: "CET".into(),
                offset: "+0100".into(),
            }),
            ..Facts::default()
        };
        let acknowledged = |ids: &[&str]| -> Vec<String> {
            let ids: Vec<String> = ids.iter().map(|id| (*id).to_owned()).collect();
            judge_all(None, &facts, &ids).into_iter().filter(|j| j.acknowledged).map(|j| j.check).collect()
        };
        assert_eq!(acknowledged(&["clock", "os"]), ["clock"]);
        assert!(acknowledged(&["time", "all", "*"]).is_empty());
    }

    #[test]
    fn before_and_after_have_their_own_checks() {
        let facts = Facts::default();
        let ids = |before| -> Vec<String> {
            judge_all(before, &facts, &[]).into_iter().map(|judgement| judgement.check).collect()
        };
        assert!(ids(None).contains(&"disk-space".to_owned()));
        assert!(!ids(None).contains(&"version-changed".to_owned()));
        assert!(!ids(Some(&facts)).contains(&"disk-space".to_owned()));
        assert!(ids(Some(&facts)).contains(&"version-changed".to_owned()));
        assert!(ids(Some(&facts)).contains(&"converged".to_owned()));
    }
}
