//! The scrub: reads all blobs of this disk slowly, round after round, so that
//! rot is found while another home still has the bytes. What is found damaged
//! is moved aside and counted by the store; filling it again is the business
//! of whoever watches that count.

use std::{
    thread,
    time::{Duration, Instant},
};

use reelraft_storage::blobs::{BlobError, BlobStore};
use tokio::sync::watch;

use super::{error::DataError, limits::SCRUB_BYTES_PER_S, local_store::blocking, plane::DataPlane};

/// What one round over a disk's blobs came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Scrubbed {
    /// Blobs that were read.
    pub blobs: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Of those, how many were damaged and moved aside.
    pub damaged: u64,
    /// Blobs that the disk could not give; nothing is known of them.
    pub unread: u64,
}

impl DataPlane {
    /// Checks every blob on this disk once, within `round` where the disk can
    /// do that, and ends early once `stop` is set. It sleeps on a thread where
    /// that is allowed.
    ///
    /// # Errors
    /// What the disk refuses when it is asked for its blobs.
    pub async fn scrub(
        &self,
        round: Duration,
        stop: watch::Receiver<bool>,
    ) -> Result<Scrubbed, DataError> {
        let store = self.store.clone();
        blocking(move || scrub(&store, round, &stop)).await
    }
}

fn scrub(
    store: &BlobStore,
    round: Duration,
    stop: &watch::Receiver<bool>,
) -> Result<Scrubbed, DataError> {
    let stopped = || *stop.borrow();
    let jobs = store.jobs()?;
    let mut held_bytes = 0;
    for job in &jobs {
        held_bytes += store.list(job)?.iter().map(|blob| blob.bytes).sum::<u64>();
    }
    let bytes_per_s = rate(held_bytes, round);
    let mut scrubbed = Scrubbed::default();
    for job in &jobs {
        // Asked anew: a round takes hours, in which blobs come and go.
        for blob in store.list(job)? {
            let mut last = Instant::now();
            let checked = store.verify_slowly(job, &blob.hash, |bytes| {
                let due = Duration::from_secs_f64(bytes as f64 / bytes_per_s as f64);
                thread::sleep(due.saturating_sub(last.elapsed()));
                last = Instant::now();
                !stopped()
            });
            if stopped() {
                return Ok(scrubbed);
            }
            match checked {
                // Pruned, or found by a reader before us.
                Err(BlobError::Missing { .. }) => continue,
                Err(BlobError::Corrupt { .. }) => scrubbed.damaged += 1,
                Err(error) => {
                    scrubbed.unread += 1;
                    tracing::warn!(job, hash = blob.hash, %error, "a blob can't be checked");
                }
                Ok(_) => {}
            }
            scrubbed.blobs += 1;
            scrubbed.bytes += blob.bytes;
        }
    }
    Ok(scrubbed)
}

/// Bytes a second of a round: the usual ones, or as many as get it done.
fn rate(held_bytes: u64, round: Duration) -> u64 {
    SCRUB_BYTES_PER_S.max(held_bytes / round.as_secs().max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_disk_is_read_faster_so_that_a_round_ends() {
        let day = Duration::from_secs(24 * 3600);
        assert_eq!(rate(1 << 30, day), SCRUB_BYTES_PER_S);
        let rate = rate(20 << 40, day);
        assert!(rate * 24 * 3600 > (20 << 40) - (1 << 20), "{rate}");
    }
}
