//! Removes what belongs to no job any more, and what a finished job no longer
//! needs.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use reelraft_model::{
    State,
    home_rules::{keeps_bytes_of, may_prune},
};
use reelraft_storage::blobs::Removal;
use tokio::{sync::watch, time::Instant};
use tracing::{debug, info, warn};

use crate::{
    limits::{SWEEP_EVERY, SWEEP_GRACE},
    node::context::NodeContext,
};

/// Sweeps until `stop` is set; first of all away what an earlier run of this
/// node had only begun to delete.
pub async fn run(context: Arc<NodeContext>, mut stop: watch::Receiver<bool>) {
    let mut sweep = Sweep::default();
    loop {
        if let Err(error) = context.data.empty_trash().await {
            warn!(%error, "removed bytes could not be deleted yet");
        }
        tokio::select! {
            _ = stop.wait_for(|stop| *stop) => return,
            () = tokio::time::sleep(SWEEP_EVERY) => {}
        }
        sweep.run(&context).await;
    }
}

/// What was seen by the sweeps before.
#[derive(Default)]
struct Sweep {
    /// Folders of jobs that have no claim here, and since when.
    unwanted: BTreeMap<String, Instant>,
    /// Finished jobs whose parts are gone, and since when. A late part may come
    /// for a moment after a job has succeeded.
    pruned: BTreeMap<String, Instant>,
}

impl Sweep {
    /// Removes the bytes of jobs that are gone. Judged only on a linearizable
    /// read: a node that was away must not act on what it remembers.
    async fn run(&mut self, context: &Arc<NodeContext>) {
        let Ok(held) = context.data.jobs_held().await else {
            return;
        };
        let Ok(state) = context.cluster.read().await else {
            return;
        };
        let node = context.node();
        self.prune(context, &state, &held).await;
        let unwanted: BTreeSet<String> = held
            .into_iter()
            .filter(|id| !keeps_bytes_of(&state, id, node))
            .collect();
        self.unwanted.retain(|id, _| unwanted.contains(id));
        for id in unwanted {
            let since = *self.unwanted.entry(id.clone()).or_insert_with(Instant::now);
            if since.elapsed() < SWEEP_GRACE {
                continue;
            }
            // Asked anew for each: an earlier removal may have taken minutes.
            match context.cluster.read().await {
                Ok(state) if !keeps_bytes_of(&state, &id, node) => {}
                _ => continue,
            }
            let job = id.clone();
            let unwanted = move |state: &State| !keeps_bytes_of(state, &job, node);
            match context.data.remove_job_if(&id, unwanted).await {
                Ok(Removal::Removed) => info!(job = id, "its bytes are removed"),
                Ok(Removal::Wanted) => debug!(job = id, "its bytes are wanted again"),
                // Tried again by the next sweep.
                Ok(Removal::InUse) => continue,
                Err(error) => warn!(job = id, %error, "its bytes could not be removed"),
            }
            self.unwanted.remove(&id);
        }
    }

    /// Removes the parts of finished jobs. What was found without any twice, a
    /// grace apart, has none any more.
    async fn prune(&mut self, context: &Arc<NodeContext>, state: &State, held: &[String]) {
        let node = context.node();
        self.pruned.retain(|id, _| state.has_job(id));
        for id in held {
            let clean = self.pruned.get(id);
            if clean.is_some_and(|since| since.elapsed() >= 2 * SWEEP_GRACE) {
                continue;
            }
            let Some(entry) = state.job(id).filter(|entry| may_prune(entry, node)) else {
                continue;
            };
            match context.data.prune(&entry).await {
                Ok(0) => drop(self.pruned.entry(id.clone()).or_insert_with(Instant::now)),
                Ok(removed) => {
                    self.pruned.remove(id);
                    debug!(job = id, removed, "its parts are removed");
                }
                Err(error) => warn!(job = id, %error, "its parts could not be removed"),
            }
        }
    }
}
