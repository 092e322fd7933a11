//! What the nodes of a fake cluster share.

use std::collections::BTreeMap;

use bytes::Bytes;
use reelraft_proto::v1::{Job, JobState, Problem};

/// What the nodes share: one job at most, and the faults to show.
#[derive(Default)]
pub struct World {
    pub job: Option<Job>,
    pub chunks: BTreeMap<u64, Bytes>,
    pub output: Bytes,
    pub submits: usize,
    pub cancels: usize,
    /// Every call is refused as without a leader while this is above 0.
    pub leaderless: usize,
    /// The upload stream breaks, once, after this many chunks.
    pub break_upload_after: Option<usize>,
    /// The fetch stream breaks, once, after this many bytes.
    pub break_fetch_after: Option<usize>,
    /// Offsets at which fetches began.
    pub fetches: Vec<u64>,
    /// Ids on the last page of the list.
    pub listed: Vec<String>,
    /// Their state.
    pub listed_as: JobState,
    /// So many deletions are done; the next are refused.
    pub deletes: usize,
    /// The next stream of this kind opens and says nothing.
    pub watch_is_silent: bool,
    /// The next fetches are refused so, one for each.
    pub refuse_fetches: Vec<Problem>,
    /// Runs when a fetch begins, with its offset.
    pub on_fetch: Option<Box<dyn FnMut(u64) + Send>>,
    /// Chunk numbers as they were sent.
    pub sent: Vec<u64>,
    /// Runs when a chunk has come.
    pub on_chunk: Option<Box<dyn FnMut(u64) + Send>>,
    /// A chunk that another client sends just before the seal.
    pub sealed_with: Option<(u64, Bytes)>,
    /// How the job ends once it is sealed; unset leaves it encoding.
    pub end: Option<JobState>,
    /// What a job that ends is noted to lack.
    pub note: String,
    /// The watch says so and breaks, once.
    pub watch_breaks: bool,
    pub refuse_submit: Option<Problem>,
}
