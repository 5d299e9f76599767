//! What was changed in a cluster: told to those who watch, remembered for those who ask later, noted for the controllers.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use serde_json::Value;
use tokio::sync::broadcast::{Receiver, Sender};

use super::store::Key;

/// How many past events a watch may still ask for.
const REMEMBERED: usize = 128;

/// What happened to an object.
#[derive(Debug, Clone)]
pub struct Change {
    /// `ADDED`, `MODIFIED` or `DELETED`.
    pub what: &'static str,
    /// The object.
    pub key: Key,
    /// As it is now; as it was last, where it is deleted.
    pub object: Arc<Value>,
    /// The store's revision with this change.
    pub revision: u64,
}

/// The latest changes, and who is told of the next.
#[derive(Debug)]
pub(super) struct Changes {
    remembered: VecDeque<Change>,
    dirty: BTreeSet<Key>,
    watchers: Sender<Change>,
}

impl Default for Changes {
    fn default() -> Self {
        Self { remembered: VecDeque::new(), dirty: BTreeSet::new(), watchers: Sender::new(64) }
    }
}

impl Changes {
    /// Tells of a change.
    pub(super) fn tell(&mut self, change: Change) {
        self.dirty.insert(change.key.clone());
        // Nobody may be watching.
        let _ = self.watchers.send(change.clone());
        if self.remembered.len() == REMEMBERED {
            self.remembered.pop_front();
        }
        self.remembered.push_back(change);
    }

    /// Follows changes from now on; with the past ones after `revision`. `None` where they are no longer remembered. `now` is the
    /// store's revision.
    #[must_use]
    pub(super) fn watch(&self, revision: u64, now: u64) -> Option<(Vec<Change>, Receiver<Change>)> {
        let oldest = self.remembered.front().map_or(now, |change| change.revision);
        if revision != 0 && revision + 1 < oldest {
            return None;
        }
        let past = self.remembered.iter().filter(|change| change.revision > revision).cloned().collect();
        Some((past, self.watchers.subscribe()))
    }

    /// The keys changed since this was last asked.
    pub(super) fn take_dirty(&mut self) -> BTreeSet<Key> {
        std::mem::take(&mut self.dirty)
    }

    /// Whether something was changed since.
    #[must_use]
    pub(super) fn is_dirty(&self) -> bool {
        !self.dirty.is_empty()
    }
}
