//! A home's duties, which are a query over the table: fill what it lacks,
//! remove what belongs to no job of its own any more, and look for rot in what
//! it keeps. A missed wake-up costs
//! latency and never correctness.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use reelraft_model::{Command, HomeFilled, Job, JobEntry, JobState, State, TaskKey};
use tokio::sync::watch;
use tracing::{debug, info, warn};

use crate::{
    limits::{DUTY_TICK, SCRUB_FIRST, SWEEP_EVERY, SWEEP_GRACE},
    node::Shared,
};

/// Does the duties until `stop` is set.
pub async fn run(shared: Arc<Shared>, mut stop: watch::Receiver<bool>) {
    shared
        .work_threads
        .spawn(scrub(shared.clone(), stop.clone()));
    let mut filler = Filler::default();
    let mut sweep = Sweep::default();
    let mut swept = Instant::now();
    let mut caught_up = false;
    loop {
        // What a node remembers of before it was away is no ground to call
        // itself whole: the table is asked of the leader first.
        let current = !caught_up && shared.cluster.read().await.is_ok();
        let whole = filler.run(&shared).await;
        if current && whole {
            caught_up = true;
            info!("caught up: all that this home should hold is here");
        }
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

/// Reads all that this node keeps once in every round, on the threads that may
/// wait for a disk. The filler sees the count of damaged blobs grow, and copies
/// them from another home.
async fn scrub(shared: Arc<Shared>, mut stop: watch::Receiver<bool>) {
    let round = Duration::from_secs(shared.config.scrub_every_s);
    let mut pause = SCRUB_FIRST.min(round);
    loop {
        tokio::select! {
            _ = stop.wait_for(|stop| *stop) => return,
            () = tokio::time::sleep(pause) => {}
        }
        let begun = Instant::now();
        match shared.data.scrub(round, stop.clone()).await {
            Ok(scrubbed) if scrubbed.damaged + scrubbed.unread > 0 => {
                warn!(?scrubbed, "the scrub found damage");
            }
            Ok(scrubbed) => debug!(?scrubbed, "the scrub found all whole"),
            Err(error) => warn!(%error, "the scrub could not be done"),
        }
        pause = round.saturating_sub(begun.elapsed());
    }
}

/// Fills this node for every job that counts on it: as a new home, and after
/// an absence in which parts were finished that only the other homes hold.
/// Remembers what was found whole, so that a quiet job costs nothing.
#[derive(Default)]
struct Filler(BTreeMap<String, Whole>);

/// What a job was when this home was last found to hold all of it.
#[derive(PartialEq, Eq)]
struct Whole {
    epoch: u64,
    state: JobState,
    blobs: usize,
    /// Blobs found damaged on this disk up to then, of whatever job.
    damaged: u64,
}

impl Filler {
    /// One pass over all jobs; whether nothing was found lacking at its end.
    async fn run(&mut self, shared: &Arc<Shared>) -> bool {
        let mut all_whole = true;
        let node = shared.node();
        let state = shared.cluster.local();
        self.0.retain(|id, _| state.job(id).is_some());
        let mine: Vec<Arc<JobEntry>> = state
            .jobs()
            .filter(|entry| {
                !matches!(
                    entry.job.state(),
                    JobState::Failed | JobState::Cancelled | JobState::Deleted
                )
            })
            .filter(|entry| entry.is_home(node))
            .cloned()
            .collect();
        drop(state);
        let damaged = shared.data.store().damaged();
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
            let whole = Whole {
                epoch: job.epoch,
                state: job.state(),
                blobs: entry.blobs().len(),
                damaged,
            };
            if !unfilled && self.0.get(&job.id) == Some(&whole) {
                continue;
            }
            match shared.data.fill(&entry).await {
                Err(error) => {
                    all_whole = false;
                    debug!(job = job.id, %error, "not filled yet");
                }
                Ok(()) if unfilled => say_filled(shared, job, node).await,
                Ok(()) => drop(self.0.insert(job.id.clone(), whole)),
            }
        }
        all_whole
    }
}

async fn say_filled(shared: &Arc<Shared>, job: &Job, node: u64) {
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
            match shared.data.prune(entry).await {
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
            match shared.cluster.read().await {
                Ok(state) if !wanted(&state, &id, node) => {}
                _ => continue,
            }
            match shared.data.remove_job(&id).await {
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
