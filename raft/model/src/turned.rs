//! What those who follow jobs are told: that one came into another state, and the
//! place in the log where it did.

use crate::rows::{Job, JobState, Problem};

/// A job came into a state.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Turned {
    pub job: String,
    pub tenant: String,
    pub state: JobState,
    pub source_name: String,
    /// 0 without an output.
    pub output_bytes: u64,
    /// Why it failed.
    pub problem: Option<Problem>,
}

impl Turned {
    /// A job in the state that it is in.
    pub fn of(job: &Job) -> Self {
        Turned {
            job: job.id.clone(),
            tenant: job.tenant.clone(),
            state: job.state(),
            source_name: job.source_name.clone(),
            output_bytes: job.output_bytes,
            problem: job.problem.clone(),
        }
    }
}

/// A place among the turns of jobs: an entry of the log, and which of its turns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mark {
    pub index: u64,
    pub position: u32,
}

impl Mark {
    /// Behind all turns of an entry.
    pub fn after(index: u64) -> Self {
        let position = u32::MAX;
        Mark { index, position }
    }
}
