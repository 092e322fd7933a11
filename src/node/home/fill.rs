//! Fills this disk with what its jobs count on.

use std::{collections::BTreeMap, sync::Arc};

use reelraft_model::{Command, HomeFilled, Job, JobEntry, JobState};
use tracing::{debug, info};

use crate::node::context::NodeContext;

/// Fills this node for every job that counts on it: as a new home, and after
/// an absence in which parts were finished that only the other homes hold.
/// Remembers what was found whole, so that a quiet job costs nothing.
#[derive(Default)]
pub struct Filler(BTreeMap<String, FillMark>);

/// What a job was when this home was last found to hold all of it.
#[derive(PartialEq, Eq)]
struct FillMark {
    epoch: u64,
    state: JobState,
    blobs: usize,
    /// Blobs found damaged on this disk up to then, of whatever job.
    damaged: u64,
}

impl Filler {
    /// One pass over all jobs; whether nothing was found lacking at its end.
    pub async fn run(&mut self, context: &Arc<NodeContext>) -> bool {
        let mut all_whole = true;
        let node = context.node();
        let state = context.cluster.local();
        self.0.retain(|id, _| state.job(id).is_some());
        let mine: Vec<Arc<JobEntry>> = state
            .jobs()
            .filter(|entry| entry.job.state().keeps_bytes() && entry.is_home(node))
            .cloned()
            .collect();
        drop(state);
        let damaged = context.data.store().damaged();
        for entry in mine {
            let job = &entry.job;
            let unfilled = job
                .homes
                .iter()
                .any(|home| home.node == node && !home.filled);
            // The upload itself fills those that were homes from the start.
            if job.state() == JobState::Uploading && !unfilled {
                continue;
            }
            let mark = FillMark {
                epoch: job.epoch,
                state: job.state(),
                blobs: entry.blobs().len(),
                damaged,
            };
            if !unfilled && self.0.get(&job.id) == Some(&mark) {
                continue;
            }
            match context.data.fill(&entry).await {
                Err(error) => {
                    all_whole = false;
                    debug!(job = job.id, %error, "not filled yet");
                }
                Ok(()) if unfilled => propose_filled(context, job, node).await,
                Ok(()) => drop(self.0.insert(job.id.clone(), mark)),
            }
        }
        all_whole
    }
}

async fn propose_filled(context: &Arc<NodeContext>, job: &Job, node: u64) {
    info!(job = job.id, "filled as a new home");
    let command = HomeFilled {
        job: job.id.clone(),
        epoch: job.epoch,
        node,
    };
    if let Err(error) = context
        .cluster
        .propose(vec![Command::HomeFilled(command)])
        .await
    {
        debug!(job = job.id, %error, "the fill could not be proposed");
    }
}
