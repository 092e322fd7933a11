//! Which fill comes next: a few at once, so that a large one keeps nobody
//! waiting, and the jobs with the fewest copies first.

use std::collections::{BTreeMap, BTreeSet};

use crate::limits::FILLS_AT_ONCE;

/// A job that this home must look at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Due {
    /// The job.
    pub job: String,
    /// Homes that hold all of it.
    pub copies: usize,
    /// About what there is to copy.
    pub bytes: u64,
}

/// The jobs that wait for their fill, and those that are being filled.
#[derive(Default)]
pub struct FillQueue {
    /// The next one last.
    waiting: Vec<Due>,
    running: BTreeSet<String>,
    /// Jobs whose last fill failed, and in which turn that was.
    failed: BTreeMap<String, u64>,
    turn: u64,
}

impl FillQueue {
    /// Replaces those that wait. Fewest copies come first, then the smallest,
    /// but one that has failed comes after those that have not: what can't be
    /// filled now must not keep the others from it.
    pub fn wait_for(&mut self, due: Vec<Due>) {
        self.waiting = due;
        self.waiting.sort_by_key(|due| {
            let failed = self.failed.get(&due.job).copied();
            (failed, due.copies, due.bytes, due.job.clone())
        });
        self.waiting.reverse();
    }

    /// Begins the next fill, if there is a slot for it.
    pub fn begin(&mut self) -> Option<String> {
        while self.running.len() < FILLS_AT_ONCE {
            let job = self.waiting.pop()?.job;
            if self.running.insert(job.clone()) {
                return Some(job);
            }
        }
        None
    }

    /// A fill has ended.
    pub fn end(&mut self, job: &str, filled: bool) {
        self.running.remove(job);
        self.turn += 1;
        if filled {
            self.failed.remove(job);
        } else {
            self.failed.insert(job.to_string(), self.turn);
        }
    }

    /// Forgets the failures of jobs that are no business of this home any more.
    pub fn forget(&mut self, is_gone: impl Fn(&str) -> bool) {
        self.failed.retain(|job, _| !is_gone(job));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn due(job: &str, copies: usize, bytes: u64) -> Due {
        Due {
            job: job.to_string(),
            copies,
            bytes,
        }
    }

    fn begin_all(queue: &mut FillQueue) -> Vec<String> {
        std::iter::from_fn(|| queue.begin()).collect()
    }

    #[test]
    fn a_large_fill_keeps_nobody_waiting() {
        let mut queue = FillQueue::default();
        queue.wait_for(vec![due("large", 1, 100 << 30), due("safe", 2, 1)]);
        assert_eq!(begin_all(&mut queue), ["large", "safe"]);
        queue.end("safe", true);
        // The large one goes on, and is found due all the while.
        for job in ["a", "b", "c"] {
            queue.wait_for(vec![due("large", 1, 100 << 30), due(job, 1, 1)]);
            assert_eq!(begin_all(&mut queue), [job]);
            queue.end(job, true);
        }
        assert!(queue.waiting.is_empty() && !queue.running.is_empty());
        queue.end("large", true);
        assert!(queue.waiting.is_empty() && queue.running.is_empty());
    }

    #[test]
    fn the_fewest_copies_come_first_and_then_the_smallest() {
        let mut queue = FillQueue::default();
        let jobs = [("d", 2, 1), ("b", 1, 9), ("a", 1, 3), ("c", 1, 10)];
        queue.wait_for(
            jobs.map(|(job, copies, bytes)| due(job, copies, bytes))
                .into(),
        );
        assert_eq!(begin_all(&mut queue), ["a", "b", "c"]);
        queue.end("b", true);
        assert_eq!(begin_all(&mut queue), ["d"]);
    }

    #[test]
    fn what_cannot_be_filled_keeps_no_slot_from_the_others() {
        let mut queue = FillQueue::default();
        let jobs = ["a", "b", "c", "d"].map(|job| due(job, usize::from(job == "d"), 1));
        queue.wait_for(jobs.to_vec());
        for job in begin_all(&mut queue) {
            queue.end(&job, false);
        }
        queue.wait_for(jobs.to_vec());
        assert_eq!(begin_all(&mut queue), ["d", "a", "b"]);
        queue.end("d", true);
        queue.end("a", false);
        queue.wait_for(jobs[..3].to_vec());
        assert_eq!(begin_all(&mut queue), ["c", "a"]);
    }
}
