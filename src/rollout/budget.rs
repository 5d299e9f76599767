//! How much may go wrong before nothing new is begun (promise M10).

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::event::{Failure, Outcome};
use crate::form::count;

/// A run's budget of failures, and what of it is used.
///
/// A cluster is begun only while the failures so far and the clusters under way together are within the limit: each of those might
/// fail yet. So a run ends with at most one failure more than the limit, the one that told that it is over.
#[derive(Debug, Default)]
pub struct Budget {
    max_failures: Option<usize>,
    max_unreachable: Option<usize>,
    failures: AtomicUsize,
    unreachable: AtomicUsize,
}

impl Budget {
    /// A budget of so many failures, and of so many clusters that could not be reached in the first place; no limit where nothing is said.
    #[must_use]
    pub const fn new(max_failures: Option<usize>, max_unreachable: Option<usize>) -> Self {
        Self {
            max_failures,
            max_unreachable,
            failures: AtomicUsize::new(0),
            unreachable: AtomicUsize::new(0),
        }
    }

    /// Why nothing new may be begun, once it is used up. It stays so.
    #[must_use]
    pub fn exceeded(&self) -> Option<Failure> {
        let over = |seen: &AtomicUsize, limit: Option<usize>| {
            let seen = seen.load(Ordering::Relaxed);
            limit.filter(|limit| seen > *limit).map(|limit| (seen, limit))
        };
        let message = if let Some((seen, limit)) = over(&self.failures, self.max_failures) {
            format!(
                "never begun: {} failed or ended in doubt, and --max-failures allows {limit}",
                count(seen, "cluster")
            )
        } else {
            let (seen, limit) = over(&self.unreachable, self.max_unreachable)?;
            format!(
                "never begun: {} could not be reached, and --max-unreachable allows {limit}",
                count(seen, "cluster")
            )
        };
        Some(Failure::new("budget", message).read("docs/operating.md#the-budget-of-failures"))
    }

    /// Counts how a cluster ended.
    pub(super) fn take(&self, outcome: &Outcome) {
        let seen = match outcome {
            Outcome::Failed { .. } | Outcome::InDoubt { .. } => &self.failures,
            Outcome::Unreachable { .. } => &self.unreachable,
            Outcome::Done
            | Outcome::NothingToDo
            | Outcome::Refused { .. }
            | Outcome::Interrupted { .. }
            | Outcome::Asked { .. }
            | Outcome::Halted { .. } => return,
        };
        seen.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a cluster whose work ended by a fault of `fleet` itself: nobody knows what was done.
    pub(super) fn take_fault(&self) {
        self.failures.fetch_add(1, Ordering::Relaxed);
    }

    /// Whether one more may begin beside those under way. True when the budget is used up: whoever begins then is told so, and nothing else.
    pub(super) fn room_beside(&self, under_way: usize) -> bool {
        let within = |limit| self.failures.load(Ordering::Relaxed).saturating_add(under_way) <= limit;
        self.max_failures.is_none_or(within) || self.exceeded().is_some()
    }
}
