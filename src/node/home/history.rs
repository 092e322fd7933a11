//! Writes down the tasks of finished jobs, so that they may leave the table.
//! Every home makes the same bytes from its own replica, and says so; with the
//! word of the last one the tasks go.

use std::sync::Arc;

use reelraft_model::{
    Command, History, JobEntry, KeepHistory, foldable_at_once, home_rules::owes_history,
    limits::HOUSEKEEPING_LEVEL,
};
use tokio::{
    sync::watch,
    task::spawn_blocking,
    time::{MissedTickBehavior, interval},
};
use tracing::debug;

use crate::{limits::DUTY_TICK, node::context::NodeContext};

/// Writes histories until `stop` is set. What was not written or not told is
/// found again by the next look.
pub async fn run(context: Arc<NodeContext>, mut stop: watch::Receiver<bool>) {
    let mut ticks = interval(DUTY_TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = stop.wait_for(|stop| *stop) => return,
            _ = ticks.tick() => {}
        }
        keep_histories(&context).await;
    }
}

async fn keep_histories(context: &NodeContext) {
    let node = context.node();
    let owed: Vec<Arc<JobEntry>> = {
        let state = context.cluster.local();
        if state.feature_level() < HOUSEKEEPING_LEVEL {
            return;
        }
        let owed = state.without_history();
        foldable_at_once(owed.filter(|entry| owes_history(entry, node)))
            .into_iter()
            .cloned()
            .collect()
    };
    let mut kept = Vec::new();
    for entry in owed {
        let (job, epoch) = (entry.job.id.clone(), entry.job.epoch);
        let Ok(history) = spawn_blocking(move || History::blob(&entry)).await else {
            continue;
        };
        match context.data.keep_local_bytes(&job, history.bytes).await {
            Ok(_) => kept.push(Command::KeepHistory(KeepHistory {
                job,
                epoch,
                node,
                history_hash: history.hash,
            })),
            Err(error) => debug!(job, %error, "its history could not be written yet"),
        }
    }
    if kept.is_empty() {
        return;
    }
    if let Err(error) = context.cluster.propose(kept).await {
        debug!(%error, "histories could not be proposed");
    }
}
