//! Whose turn it is: the first cluster that every cap has room for.

use std::collections::{BTreeMap, VecDeque};

use crate::inventory::{Cluster, Inventory};

/// How many clusters may be under way at once: in all, of a group, behind a jump host.
///
/// What a jump host takes stands in its own entry ([`channels`](crate::inventory::Host::channels)).
#[derive(Debug, Clone)]
pub struct Caps {
    all: usize,
    groups: BTreeMap<String, usize>,
}

impl Caps {
    /// At most `all` at once, and of each group as many as the inventory says.
    #[must_use]
    pub fn of(inventory: &Inventory, all: usize) -> Self {
        let groups = inventory.groups.iter();
        Self {
            all,
            groups: groups.filter_map(|(name, group)| Some((name.clone(), group.parallel?))).collect(),
        }
    }
}

impl From<usize> for Caps {
    /// No caps but the one on all.
    fn from(all: usize) -> Self {
        Self { all, groups: BTreeMap::new() }
    }
}

/// Who waits, and what is free.
///
/// Clusters that need the same room wait in one queue, so choosing looks at the head of each queue and never at the clusters behind.
#[derive(Debug)]
pub(super) struct Turns {
    rooms: Vec<Room>,
    queues: Vec<Queue>,
}

/// Room for so many clusters at once. It is never closed: a cap of 0 counts as 1, or whoever needs it would wait for ever.
#[derive(Debug)]
struct Room {
    cap: usize,
    used: usize,
}

#[derive(Debug)]
struct Queue {
    /// The rooms in which each of its clusters takes a place.
    needs: Vec<usize>,
    /// The clusters, each with its place in the order of all.
    waiting: VecDeque<(usize, Cluster)>,
}

/// A turn that was given; to be given back.
#[derive(Debug, Clone, Copy)]
pub(super) struct Turn {
    queue: usize,
}

impl Turns {
    /// Everyone waits, in the order given.
    pub(super) fn new(clusters: Vec<Cluster>, caps: &Caps) -> Self {
        let mut rooms = vec![Room { cap: caps.all.max(1), used: 0 }];
        let mut known: BTreeMap<(bool, String), usize> = BTreeMap::new();
        let mut queues: BTreeMap<Vec<usize>, VecDeque<(usize, Cluster)>> = BTreeMap::new();
        for (index, cluster) in clusters.into_iter().enumerate() {
            let group = caps.groups.get(&cluster.group).map(|cap| ((false, cluster.group.clone()), *cap));
            // A place on each jump host: on the farther ones that is more than it needs, as the hosts behind a jump host share one
            // connection to it, but it is never too little.
            let jumps = cluster.host.way().map(|jump| ((true, jump.name.clone()), jump.channels));
            let mut needs = vec![0];
            for (key, cap) in group.into_iter().chain(jumps) {
                needs.push(*known.entry(key).or_insert_with(|| {
                    rooms.push(Room { cap: cap.max(1), used: 0 });
                    rooms.len() - 1
                }));
            }
            queues.entry(needs).or_default().push_back((index, cluster));
        }
        let queues = queues.into_iter().map(|(needs, waiting)| Queue { needs, waiting }).collect();
        Self { rooms, queues }
    }

    /// The first in order that may begin now; none where all wait for room, or nobody waits.
    pub(super) fn next(&mut self) -> Option<(Cluster, Turn)> {
        let Self { rooms, queues } = self;
        let free = |queue: &Queue| queue.needs.iter().all(|room| rooms[*room].used < rooms[*room].cap);
        let heads = queues.iter().enumerate().filter(|(_, queue)| free(queue));
        let (_, queue) = heads.filter_map(|(at, queue)| Some((queue.waiting.front()?.0, at))).min()?;
        let (_, cluster) = queues[queue].waiting.pop_front()?;
        for room in &queues[queue].needs {
            rooms[*room].used += 1;
        }
        Some((cluster, Turn { queue }))
    }

    /// Whether anybody waits.
    pub(super) fn is_waiting(&self) -> bool {
        self.queues.iter().any(|queue| !queue.waiting.is_empty())
    }

    /// Gives a turn back.
    pub(super) fn give_back(&mut self, turn: Turn) {
        for room in &self.queues[turn.queue].needs {
            self.rooms[*room].used -= 1;
        }
    }
}
