//! Index of finished jobs whose sources are held: since when, and what that takes of
//! the disk of each home that holds one. So nobody has to read rows to know whether
//! something is to go.

use rpds::{RedBlackTreeMapSync as Map, RedBlackTreeSetSync as Set};

use crate::{open_index::with, rows::Job};

/// Jobs by age.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct HeldIndex {
    /// With the time since which they are held.
    since: Set<(u64, u64)>,
    /// By home that holds the source.
    at: Map<u64, HeldAt>,
}

/// What a home holds.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct HeldAt {
    bytes: u64,
    /// Bytes of each source, by whether it is needed now, the time since which it is
    /// held, and its job's age: in the order in which they go.
    sources: Map<(bool, u64, u64), u64>,
}

impl HeldIndex {
    /// Enters a job, if its source is held.
    pub fn insert(&mut self, job: &Job) {
        if !job.holds_source() {
            return;
        }
        let (since_ms, age) = (job.held_since_ms(), job.created_index);
        self.since.insert_mut((since_ms, age));
        for &node in &job.source_at {
            with(&mut self.at, node, |held| {
                let key = (job.is_measuring(), since_ms, age);
                held.sources.insert_mut(key, job.source_bytes);
                held.bytes = held.bytes.saturating_add(job.source_bytes);
            });
        }
    }

    /// Takes a job out, as it was entered.
    pub fn remove(&mut self, job: &Job) {
        if !job.holds_source() {
            return;
        }
        let (since_ms, age) = (job.held_since_ms(), job.created_index);
        self.since.remove_mut(&(since_ms, age));
        for node in &job.source_at {
            let Some(held) = self.at.get_mut(node) else {
                continue;
            };
            held.sources
                .remove_mut(&(job.is_measuring(), since_ms, age));
            held.bytes = held.bytes.saturating_sub(job.source_bytes);
            if held.sources.is_empty() {
                self.at.remove_mut(node);
            }
        }
    }

    /// Ages of the jobs with the times since which their sources are held, the longest
    /// first.
    pub fn since(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        self.since.iter().copied()
    }

    /// Ages of the jobs whose sources a home is to let go of, so that it holds no more
    /// than so many bytes.
    pub fn beyond(&self, node: u64, bytes_max: u64) -> impl Iterator<Item = u64> + '_ {
        let held = self.at.get(&node);
        let mut left = held.map_or(0, |held| held.bytes);
        let sources = held.into_iter().flat_map(|held| held.sources.iter());
        sources.map_while(move |((_, _, age), bytes)| {
            let goes = left > bytes_max;
            left = left.saturating_sub(*bytes);
            goes.then_some(*age)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rows::JobState;

    fn held(age: u64, since_ms: u64, source_bytes: u64, source_at: &[u64]) -> Job {
        Job {
            created_index: age,
            touched_cluster_ms: since_ms,
            source_bytes,
            source_at: source_at.to_vec(),
            state: JobState::Succeeded.into(),
            ..Default::default()
        }
    }

    #[test]
    fn the_sources_held_longest_go_first() {
        let mut index = HeldIndex::default();
        let jobs = [
            held(1, 30, 100, &[1, 2]),
            held(2, 10, 50, &[1]),
            held(3, 20, 10, &[2]),
        ];
        jobs.iter().for_each(|job| index.insert(job));
        let beyond = |index: &HeldIndex, node, bytes| index.beyond(node, bytes).collect::<Vec<_>>();
        assert_eq!(beyond(&index, 1, 150), [] as [u64; 0]);
        assert_eq!(beyond(&index, 1, 149), [2]);
        assert_eq!(beyond(&index, 1, 99), [2, 1]);
        assert_eq!(beyond(&index, 2, 0), [3, 1]);
        assert_eq!(beyond(&index, 3, 0), [] as [u64; 0]);
        assert_eq!(
            index.since().collect::<Vec<_>>(),
            [(10, 2), (20, 3), (30, 1)]
        );
        jobs.iter().for_each(|job| index.remove(job));
        assert_eq!(index, HeldIndex::default());
    }
}
