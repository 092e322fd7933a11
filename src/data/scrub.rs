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

use super::{
    error::DataError,
    limits::{SCRUB_ASKED_BYTES_PER_S, SCRUB_BYTES_PER_S},
    local_store::blocking,
    plane::DataPlane,
    upkeep::{Scrubbed, Upkeep},
};
use crate::clock::unix_ms;

impl DataPlane {
    /// Checks every blob on this disk once, within `round` where the disk can
    /// do that, or soon where somebody `asked` for it, and ends early once `stop` is
    /// set. It sleeps on a thread where that is allowed.
    ///
    /// # Errors
    /// What the disk refuses when it is asked for its blobs.
    pub async fn scrub(
        &self,
        round: Duration,
        asked: bool,
        stop: watch::Receiver<bool>,
    ) -> Result<Scrubbed, DataError> {
        let (store, upkeep) = (self.store.clone(), self.upkeep.clone());
        let least = match asked {
            true => SCRUB_ASKED_BYTES_PER_S,
            false => SCRUB_BYTES_PER_S,
        };
        blocking(move || {
            let found = scrub(&store, (round, least), &stop, &upkeep);
            let whole = found.as_ref().ok().filter(|_| !*stop.borrow());
            upkeep.scrub_ends(whole.copied(), unix_ms());
            found
        })
        .await
    }
}

fn scrub(
    store: &BlobStore,
    (round, least_bytes_per_s): (Duration, u64),
    stop: &watch::Receiver<bool>,
    upkeep: &Upkeep,
) -> Result<Scrubbed, DataError> {
    let stopped = || *stop.borrow();
    let jobs = store.jobs()?;
    let mut held_bytes = 0;
    for job in &jobs {
        held_bytes += store.list(job)?.iter().map(|blob| blob.bytes).sum::<u64>();
    }
    let bytes_per_s = rate(held_bytes, round).max(least_bytes_per_s);
    // Somebody may ask for a scrub while this one runs, and waits for it then.
    let asked = upkeep.scrubs_asked();
    let bytes_per_s = || match asked.has_changed() {
        Ok(true) => bytes_per_s.max(SCRUB_ASKED_BYTES_PER_S),
        _ => bytes_per_s,
    };
    upkeep.scrub_begins(held_bytes);
    let mut scrubbed = Scrubbed::default();
    for job in &jobs {
        // Asked anew: a round takes hours, in which blobs come and go.
        for blob in store.list(job)? {
            let mut last = Instant::now();
            let checked = store.verify_slowly(job, &blob.hash, |bytes| {
                let due = Duration::from_secs_f64(bytes as f64 / bytes_per_s() as f64);
                thread::sleep(due.saturating_sub(last.elapsed()));
                last = Instant::now();
                upkeep.scrub_goes_on(bytes as u64);
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
