//! Judgements over facts, before and after an upgrade; one file a check.
//!
//! A check is pure: it needs no host to be tested, and the same check serves before and after.

use crate::event::{Judgement, Level};
use crate::facts::{Facts, Unknown};

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
pub const ALL: &[Check] = &[];

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
