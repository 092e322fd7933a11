//! Trying a job again that ended without an output. Its sealed source outlives
//! its end for a while, so that nobody uploads it twice.

use crate::{
    job_entry::JobEntry,
    rows::{Job, JobState},
};

/// Makes a job anew, from the source that its homes keep.
#[derive(Clone, PartialEq, prost::Message)]
pub struct RetryJob {
    #[prost(string, tag = "1")]
    pub job: String,
    /// How often the job had been planned anew when the proposer looked. Entries of
    /// earlier versions do not say.
    #[prost(uint32, optional, tag = "2")]
    pub replans: Option<u32>,
}

/// Gives the source of an ended job up.
#[derive(Clone, PartialEq, prost::Message)]
pub struct DropSource {
    #[prost(string, tag = "1")]
    pub job: String,
    /// When it was folded, as the proposer saw it: it may have been tried again,
    /// and ended again, since then.
    #[prost(uint64, tag = "2")]
    pub folded_cluster_ms: u64,
}

impl Job {
    /// Whether its homes keep bytes of it.
    pub fn is_kept(&self) -> bool {
        self.state().keeps_bytes() || self.keeps_source()
    }

    /// Whether its homes keep its source though it ended without an output. They
    /// keep nothing else of it for anyone, and no other node takes the place of one
    /// that may come back.
    pub fn keeps_source(&self) -> bool {
        self.source_kept && matches!(self.state(), JobState::Failed | JobState::Cancelled)
    }
}

impl JobEntry {
    /// The highest number that an attempt of the job has had.
    pub(crate) fn last_attempt(&self) -> u32 {
        let attempts = self.tasks.values().map(|task| task.last_attempt());
        attempts.fold(self.job.attempts_before, u32::max)
    }
}
