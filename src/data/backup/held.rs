//! Which blobs a file has: there may be millions of chunks, so that each is known by
//! sixteen bytes of a hash over its name.

use std::collections::HashSet;

/// A set of blobs.
#[derive(Debug, Default)]
pub struct Held(HashSet<u128>);

impl Held {
    /// Adds one; whether it is new.
    pub fn insert(&mut self, job: &str, hash: &str) -> bool {
        self.0.insert(short(job, hash))
    }

    pub fn has(&self, job: &str, hash: &str) -> bool {
        self.0.contains(&short(job, hash))
    }
}

fn short(job: &str, hash: &str) -> u128 {
    let mut hasher = blake3::Hasher::new();
    hasher.update(job.as_bytes());
    hasher.update(&[0]);
    hasher.update(hash.as_bytes());
    let mut first = [0; 16];
    hasher.finalize_xof().fill(&mut first);
    u128::from_le_bytes(first)
}
