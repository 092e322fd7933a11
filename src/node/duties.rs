//! A home's duties, which are a query over the table: fill what it lacks, and
//! remove what belongs to no job of its own any more. A missed wake-up costs
//! latency and never correctness.

use std::{collections::BTreeMap, sync::Arc, time::Instant};

use reelraft_model::{Command, HomeFilled, JobEntry, JobState};
use tokio::sync::watch;
use tracing::{debug, info, warn};

use crate::{
    limits::{DUTY_TICK, SWEEP_EVERY, SWEEP_GRACE},
    node::Shared,
};

/// Does the duties until `stop` is set.
pub async fn run(shared: Arc<Shared>, mut stop: watch::Receiver<bool>) {
    let mut applied = shared.cluster.applied();
    let mut sweep = Sweep::default();
    let mut swept = Instant::now();
    loop {
        applied.borrow_and_update();
        fill(&shared).await;
        if swept.elapsed() >= SWEEP_EVERY {
            swept = Instant::now();
            sweep.run(&shared).await;
        }
        tokio::select! {
            _ = stop.wait_for(|stop| *stop) => return,
            () = tokio::time::sleep(DUTY_TICK) => {}
        }
    }
}

/// Fills this node for every job that counts on it.
async fn fill(shared: &Arc<Shared>) {
    let node = shared.node();
    let state = shared.cluster.local();
    let unfilled: Vec<Arc<JobEntry>> = state
        .jobs()
        .filter(|entry| {
            !matches!(
                entry.job.state(),
                JobState::Failed | JobState::Cancelled | JobState::Deleted
            )
        })
        .filter(|entry| {
            entry
                .job
                .homes
                .iter()
                .any(|home| home.node == node && !home.filled)
        })
        .cloned()
        .collect();
    drop(state);
    for entry in unfilled {
        let job = &entry.job;
        if let Err(error) = shared.data.fill(&entry).await {
            debug!(job = job.id, %error, "not filled yet");
            continue;
        }
        info!(job = job.id, "filled as a new home");
        let command = HomeFilled {
            job: job.id.clone(),
            epoch: job.epoch,
            node,
        };
        if let Err(error) = shared
            .cluster
            .propose(vec![Command::HomeFilled(command)])
            .await
        {
            debug!(job = job.id, %error, "could not say that it is filled");
        }
    }
}

/// Folders of jobs that have no claim here, and since when.
#[derive(Default)]
struct Sweep(BTreeMap<String, Instant>);

impl Sweep {
    /// Removes the bytes of jobs that are gone. Judged only on a linearizable
    /// read: a node that was away must not act on what it remembers.
    async fn run(&mut self, shared: &Arc<Shared>) {
        let Ok(held) = shared.data.jobs_held().await else {
            return;
        };
        let Ok(state) = shared.cluster.read().await else {
            return;
        };
        let node = shared.node();
        let wanted = |id: &str| {
            state.job(id).is_some_and(|entry| {
                !matches!(entry.job.state(), JobState::Cancelled | JobState::Deleted)
                    && (entry.is_home(node)
                        || entry
                            .running
                            .iter()
                            .any(|key| entry.tasks[key].node == node))
            })
        };
        let unwanted: Vec<String> = held.into_iter().filter(|id| !wanted(id)).collect();
        self.0.retain(|id, _| unwanted.contains(id));
        for id in unwanted {
            let since = *self.0.entry(id.clone()).or_insert_with(Instant::now);
            if since.elapsed() < SWEEP_GRACE {
                continue;
            }
            match shared.data.remove_job(&id).await {
                Ok(()) => info!(job = id, "its bytes are removed"),
                Err(error) => warn!(job = id, %error, "its bytes could not be removed"),
            }
            self.0.remove(&id);
        }
    }
}
