//! Removes what belongs to no job any more, and what a finished job no longer
//! needs.

use std::{collections::BTreeMap, sync::Arc};

use reelraft_model::{JobState, State, TaskKey};
use tokio::time::Instant;
use tracing::{debug, info, warn};

use crate::{limits::SWEEP_GRACE, node::context::NodeContext};

/// Folders of jobs that have no claim here, and since when.
#[derive(Default)]
pub struct Sweep(BTreeMap<String, Instant>);

impl Sweep {
    /// Removes the bytes of jobs that are gone. Judged only on a linearizable
    /// read: a node that was away must not act on what it remembers.
    pub async fn run(&mut self, context: &Arc<NodeContext>) {
        let Ok(held) = context.data.jobs_held().await else {
            return;
        };
        let Ok(state) = context.cluster.read().await else {
            return;
        };
        let node = context.node();
        let finished = |id: &String| {
            state
                .job(id)
                .filter(|entry| entry.job.state() == JobState::Succeeded)
        };
        for entry in held
            .iter()
            .filter_map(finished)
            .filter(|entry| entry.is_home(node))
        {
            match context.data.prune(entry).await {
                Ok(0) => {}
                Ok(removed) => debug!(job = entry.job.id, removed, "its parts are removed"),
                Err(error) => warn!(job = entry.job.id, %error, "its parts could not be removed"),
            }
        }
        let unwanted: Vec<String> = held
            .into_iter()
            .filter(|id| !wanted(&state, id, node))
            .collect();
        self.0.retain(|id, _| unwanted.contains(id));
        for id in unwanted {
            let since = *self.0.entry(id.clone()).or_insert_with(Instant::now);
            if since.elapsed() < SWEEP_GRACE {
                continue;
            }
            // Asked anew for each: an earlier removal may have taken minutes.
            match context.cluster.read().await {
                Ok(state) if !wanted(&state, &id, node) => {}
                _ => continue,
            }
            match context.data.remove_job(&id).await {
                Ok(()) => info!(job = id, "its bytes are removed"),
                Err(error) => warn!(job = id, %error, "its bytes could not be removed"),
            }
            self.0.remove(&id);
        }
    }
}

/// Whether a job's bytes may be needed on this node: as its home, for an
/// attempt that runs here, or as the former home that a new one is still
/// filled from.
fn wanted(state: &State, id: &str, node: u64) -> bool {
    state.job(id).is_some_and(|entry| {
        let here = |key: &TaskKey| entry.tasks.get(key).is_some_and(|task| task.node == node);
        let ended = matches!(entry.job.state(), JobState::Cancelled | JobState::Deleted);
        let filling = entry.job.homes.iter().any(|home| !home.filled);
        !ended && (filling || entry.is_home(node) || entry.running.iter().any(here))
    })
}
