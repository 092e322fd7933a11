//! What uploads have sent beyond their last whole chunk.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;

use super::limits::TAILS_MAX;

/// What came of uploads after their last whole chunk. It is kept for clients
/// that send less than a chunk at once; one whose rest was let go of is told
/// the lower offset, and sends it again.
#[derive(Default)]
pub struct Tails(Mutex<VecDeque<Tail>>);

struct Tail {
    job: String,
    /// Bytes before it.
    at: u64,
    rest: Bytes,
}

impl Tails {
    fn lock(&self) -> MutexGuard<'_, VecDeque<Tail>> {
        // Nothing is left half-done while it is held.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Remembers what came of a job's source after `at` bytes, and nothing else
    /// of it.
    pub fn keep(&self, job: &str, at: u64, rest: &[u8]) {
        let mut tails = self.lock();
        tails.retain(|tail| tail.job != job);
        if !rest.is_empty() {
            tails.truncate(TAILS_MAX - 1);
            tails.push_front(Tail {
                job: job.to_string(),
                at,
                // A part of a larger buffer would keep all of it.
                rest: Bytes::copy_from_slice(rest),
            });
        }
    }

    /// The same of a body that broke off, unless more is known: its client may have come
    /// again before that was noticed.
    pub fn keep_more(&self, job: &str, at: u64, rest: &[u8]) {
        let reached = |at: u64, rest: &[u8]| at + rest.len() as u64;
        let more = |tail: &Tail| {
            tail.job == job && tail.at >= at && reached(tail.at, &tail.rest) >= reached(at, rest)
        };
        if !rest.is_empty() && !self.lock().iter().any(more) {
            self.keep(job, at, rest);
        }
    }

    /// What follows `at` bytes of a job's source.
    pub fn after(&self, job: &str, at: u64) -> Bytes {
        let tails = self.lock();
        let found = tails.iter().find(|tail| tail.job == job && tail.at == at);
        found.map_or_else(Bytes::new, |tail| tail.rest.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tails_follow_what_is_safe_and_are_few() {
        let tails = Tails::default();
        tails.keep("a", 0, b"tail");
        assert_eq!(tails.after("a", 0), "tail");
        assert_eq!(tails.after("a", 1 << 20), "", "another node took more");
        assert_eq!(tails.after("b", 0), "");
        tails.keep("a", 1 << 20, b"");
        assert_eq!(tails.after("a", 0), "");
        tails.keep_more("a", 0, b"broken");
        tails.keep_more("a", 0, b"brok");
        assert_eq!(tails.after("a", 0), "broken");
        tails.keep("a", 1 << 20, b"then");
        tails.keep_more("a", 0, b"broken off late");
        assert_eq!(tails.after("a", 1 << 20), "then");
        for job in 0..2 * TAILS_MAX {
            tails.keep(&job.to_string(), 0, b"tail");
        }
        assert_eq!(tails.lock().len(), TAILS_MAX);
    }
}
