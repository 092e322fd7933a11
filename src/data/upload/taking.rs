//! Which jobs still take bytes.

use std::sync::Arc;

use reelraft_model::{JobEntry, JobState, State};

use crate::data::error::DataError;

/// A job in a state of the table, if it still takes bytes.
pub(super) fn taking_bytes(state: &State, job: &str) -> Result<Arc<JobEntry>, DataError> {
    let gone = || DataError::NoSuchJob {
        job: job.to_string(),
    };
    let entry = state.job(job).ok_or_else(gone)?;
    match entry.job.state() {
        JobState::Deleted => Err(gone()),
        state @ (JobState::Failed | JobState::Cancelled) => Err(DataError::JobEnded {
            job: job.to_string(),
            state: state.name(),
        }),
        _ => Ok(entry),
    }
}
