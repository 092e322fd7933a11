//! Putting results: on every home of a job that can be reached, or on this
//! disk alone.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use bytes::Bytes;
use futures::future::join_all;
use reelraft_model::Job;

use super::{
    error::DataError,
    limits::PUT_OUTAGE,
    local_store::{PutTicket, blocking},
    peers::Payload,
    plane::DataPlane,
    read::home_ids,
    retry::RetryBudget,
};

/// Where a blob is after a put.
#[derive(Debug)]
pub struct PutOutcome {
    /// The epoch of the homes that were asked.
    pub epoch: u64,
    /// Homes that hold it, synced.
    pub stored: BTreeSet<u64>,
    /// Homes that could not be reached; they fetch it when they are back.
    pub missed: BTreeMap<u64, DataError>,
}

impl DataPlane {
    /// Puts a result on every reachable home; gives its hash.
    ///
    /// # Errors
    /// As [`DataPlane::put_to_homes`].
    pub async fn put_bytes(&self, job: &str, bytes: Vec<u8>) -> Result<String, DataError> {
        let bytes = Bytes::from(bytes);
        let hash = blake3::hash(&bytes).to_hex().to_string();
        let size = bytes.len() as u64;
        self.put_to_homes(job, &hash, size, Payload::Bytes(bytes))
            .await?;
        Ok(hash)
    }

    /// Puts a blob on every home that can be reached, at least on one; follows
    /// the job to other homes when they change meanwhile.
    ///
    /// # Errors
    /// [`DataError::NoSuchJob`], [`DataError::JobEnded`], and after a bounded
    /// time what keeps the homes from taking it.
    pub async fn put_to_homes(
        &self,
        job: &str,
        hash: &str,
        bytes: u64,
        payload: Payload,
    ) -> Result<PutOutcome, DataError> {
        let mut budget = RetryBudget::new(PUT_OUTAGE);
        let mut stored = BTreeSet::new();
        loop {
            let (ticket, homes) = self.homes_now(job)?;
            stored.retain(|node| homes.contains(node));
            let puts = homes
                .iter()
                .filter(|node| !stored.contains(*node))
                .map(|&node| {
                    let (ticket, payload) = (&ticket, payload.clone());
                    async move {
                        (
                            node,
                            self.homes.put(node, ticket, hash, bytes, payload).await,
                        )
                    }
                });
            let mut missed = BTreeMap::new();
            for (node, result) in join_all(puts).await {
                match result {
                    Ok(()) => drop(stored.insert(node)),
                    Err(error) => drop(missed.insert(node, error)),
                }
            }
            let away = |error: &DataError| matches!(error, DataError::Unreachable { .. });
            if !stored.is_empty() && missed.values().all(away) {
                let epoch = ticket.epoch;
                return Ok(PutOutcome {
                    epoch,
                    stored,
                    missed,
                });
            }
            // A refusal says more than a silence.
            let mut errors: Vec<DataError> = missed.into_values().collect();
            errors.sort_by_key(away);
            let error = errors
                .into_iter()
                .next()
                .unwrap_or_else(|| DataError::NoHomes {
                    job: job.to_string(),
                });
            budget.wait(error).await?;
        }
    }

    /// The job's homes and what a put to them relies on, as this node knows.
    fn homes_now(&self, job: &str) -> Result<(PutTicket, Vec<u64>), DataError> {
        // Read before the state, so that the state is at least as new.
        let log_index = *self.table.applied().borrow();
        let state = self.table.local();
        let entry = state.job(job).ok_or_else(|| DataError::NoSuchJob {
            job: job.to_string(),
        })?;
        Ok((ticket(&entry.job, log_index), home_ids(&entry.job)))
    }

    /// Keeps a finished file on this disk alone, taking it over from `path`;
    /// gives its hash and size.
    ///
    /// # Errors
    /// What the disk refuses.
    pub async fn keep_local_file(
        &self,
        job: &str,
        path: &Path,
    ) -> Result<(String, u64), DataError> {
        let (store, job, path) = (self.store.clone(), job.to_string(), path.to_path_buf());
        let stored = blocking(move || {
            store.check_room(0)?;
            Ok(store.adopt_file(&job, &path)?)
        })
        .await?;
        Ok((stored.hash, stored.bytes))
    }

    /// Keeps bytes on this disk alone; gives their hash.
    ///
    /// # Errors
    /// What the disk refuses.
    pub async fn keep_local_bytes(&self, job: &str, bytes: Vec<u8>) -> Result<String, DataError> {
        let (store, job) = (self.store.clone(), job.to_string());
        let stored = blocking(move || Ok(store.put_bytes(&job, None, &bytes)?)).await?;
        Ok(stored.hash)
    }
}

/// What a put to these homes relies on.
pub(super) fn ticket(job: &Job, log_index: u64) -> PutTicket {
    PutTicket {
        job: job.id.clone(),
        epoch: job.epoch,
        log_index,
    }
}
