//! What uploads have sent beyond their last whole chunk.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;

use super::limits::TAILS_MAX;

/// How far an upload has come.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Reached {
    /// Bytes from the beginning on that are safe on all homes.
    pub bytes: u64,
    /// What came after them, too little for a chunk.
    pub rest: Bytes,
}

/// What came of uploads after their last whole chunk. It is kept for clients
/// that send less than a chunk at once; one whose rest was let go of is told
/// the lower offset, and sends it again.
#[derive(Default)]
pub struct Tails(Mutex<VecDeque<(String, Reached)>>);

impl Tails {
    fn lock(&self) -> MutexGuard<'_, VecDeque<(String, Reached)>> {
        // Nothing is left half-done while it is held.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Remembers where an upload stands.
    pub fn keep(&self, job: &str, reached: Reached) {
        let mut tails = self.lock();
        tails.retain(|(of, _)| of != job);
        if !reached.rest.is_empty() {
            tails.truncate(TAILS_MAX - 1);
            tails.push_front((job.to_string(), reached));
        }
    }

    /// The rest that follows `bytes` of a job's source.
    pub fn after(&self, job: &str, bytes: u64) -> Bytes {
        let tails = self.lock();
        let mut of_job = tails.iter().filter(|(of, _)| of == job);
        let found = of_job.find(|(_, reached)| reached.bytes == bytes);
        found.map_or_else(Bytes::new, |(_, reached)| reached.rest.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tails_follow_what_is_safe_and_are_few() {
        let tails = Tails::default();
        let reached = |bytes, rest: &'static [u8]| Reached {
            bytes,
            rest: Bytes::from_static(rest),
        };
        tails.keep("a", reached(0, b"tail"));
        assert_eq!(tails.after("a", 0), "tail");
        assert_eq!(tails.after("a", 1 << 20), "", "another node took more");
        assert_eq!(tails.after("b", 0), "");
        tails.keep("a", reached(1 << 20, b""));
        assert_eq!(tails.after("a", 0), "");
        for job in 0..2 * TAILS_MAX {
            tails.keep(&job.to_string(), reached(0, b"tail"));
        }
        assert_eq!(tails.lock().len(), TAILS_MAX);
    }
}
