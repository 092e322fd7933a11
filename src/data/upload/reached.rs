//! How far an upload is, without taking part in it: nothing is copied, and no
//! place among the uploads is taken.

use std::{collections::BTreeMap, sync::Arc};

use futures::future::join_all;
use reelraft_model::{JobEntry, JobState};
use reelraft_storage::journal::Chunk;

use super::taking::taking_bytes;
use crate::data::{
    error::DataError,
    limits::{CHUNK_BYTES, READ_OUTAGE},
    local_store::blocking,
    merge::merge,
    plane::DataPlane,
    retry::RetryBudget,
};

/// How many bytes of a job's source are safe, from its beginning on: those on
/// every filled home that answers. A home that has just taken another's place
/// has them copied, so it does not count yet. All was acknowledged by all homes,
/// so that this is never less than what a client was told.
///
/// # Errors
/// [`DataError::NoSuchJob`], [`DataError::JobEnded`], and after a bounded time
/// what keeps all homes from answering.
pub async fn reached(data: &DataPlane, entry: Arc<JobEntry>) -> Result<u64, DataError> {
    let mut entry = entry;
    let mut budget = RetryBudget::new(READ_OUTAGE);
    loop {
        match try_reached(data, &entry).await {
            Ok(bytes) => return Ok(bytes),
            Err(error) => budget.wait(error).await?,
        }
        let state = data.table.read().await.map_err(DataError::Table)?;
        entry = taking_bytes(&state, &entry.job.id)?;
    }
}

async fn try_reached(data: &DataPlane, entry: &JobEntry) -> Result<u64, DataError> {
    let job = &entry.job;
    if job.state() != JobState::Uploading {
        return Ok(job.source_bytes);
    }
    let log_index = *data.table.applied().borrow();
    let filled = job.current_homes().filter(|home| home.filled);
    let asked: Vec<_> = filled
        .map(|home| data.homes.journal(home.node, &job.id, log_index))
        .collect();
    if asked.is_empty() {
        // It has no homes yet.
        return Ok(0);
    }
    let mut journals: Vec<BTreeMap<u64, Chunk>> = Vec::new();
    let mut silent = None;
    for answer in join_all(asked).await {
        match answer {
            Ok(journal) => journals.push(journal),
            Err(error) => silent = Some(error),
        }
    }
    match silent {
        Some(error) if journals.is_empty() => return Err(error),
        _ => {}
    }
    let id = job.id.clone();
    // Those of a long source take seconds.
    let chunks = blocking(move || {
        let safe = merge(&id, &journals)?.on_all;
        let in_order = safe.into_keys().zip(0..);
        Ok(in_order.take_while(|(number, at)| number == at).count())
    });
    Ok((chunks.await? as u64 * CHUNK_BYTES as u64).min(job.source_bytes))
}
