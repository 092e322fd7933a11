//! Index of deleted jobs: which is to be forgotten next, when its time is over or
//! when there is no room for another job.

use std::cmp::Reverse;

use rpds::{RedBlackTreeMapSync as Map, RedBlackTreeSetSync as Set};

use crate::{open_index::with, pages::Pages, rows::Job};

/// When a job was deleted, by the cluster's time, and its age.
pub(crate) type Tombstone = (u64, u64);

/// The index.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Tombstones {
    all: Pages<Tombstone, ()>,
    of_tenant: Map<String, Pages<Tombstone, ()>>,
    /// For each tenant how many it has, and its oldest.
    most: Set<(Reverse<usize>, Tombstone)>,
}

impl Tombstones {
    /// Enters a deleted job.
    pub fn insert(&mut self, job: &Job) {
        self.change(job, |stones, stone| stones.insert_mut(stone, ()));
        self.all.insert_mut(stone(job), ());
    }

    /// Takes a deleted job out.
    pub fn remove(&mut self, job: &Job) {
        self.change(job, |stones, stone| {
            stones.remove_mut(&stone);
        });
        self.all.remove_mut(&stone(job));
    }

    fn change(&mut self, job: &Job, change: impl FnOnce(&mut Pages<Tombstone, ()>, Tombstone)) {
        let (before, after) = with(&mut self.of_tenant, job.tenant.clone(), |stones| {
            let before = place(stones);
            change(stones, stone(job));
            (before, place(stones))
        });
        if let Some(before) = before {
            self.most.remove_mut(&before);
        }
        match after {
            Some(after) => self.most.insert_mut(after),
            None => drop(self.of_tenant.remove_mut(&job.tenant)),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// All of them, the first that was deleted first.
    pub fn iter(&self) -> impl Iterator<Item = Tombstone> {
        self.all.iter().map(|(stone, ())| stone)
    }

    /// The oldest of all.
    pub fn oldest(&self) -> Option<Tombstone> {
        self.iter().next()
    }

    /// The oldest of the tenant that has the most: none makes the cluster forget
    /// what the others did.
    pub fn oldest_of_most(&self) -> Option<Tombstone> {
        self.most.first().map(|(_, stone)| *stone)
    }
}

fn stone(job: &Job) -> Tombstone {
    (job.deleted_cluster_ms, job.created_index)
}

fn place(stones: &Pages<Tombstone, ()>) -> Option<(Reverse<usize>, Tombstone)> {
    let (oldest, ()) = stones.iter().next()?;
    Some((Reverse(stones.size()), oldest))
}
