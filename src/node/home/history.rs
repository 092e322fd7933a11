//! Writes down the tasks of finished jobs, so that they may leave the table.
//! Every home makes the same bytes from its own replica, and says so; with the
//! word of the last one the tasks go.

use std::sync::Arc;

use reelraft_model::{
    Command, History, JobEntry, KeepHistory, foldable_at_once, home_rules::owes_history,
    limits::HOUSEKEEPING_LEVEL,
};
use tokio::{sync::watch, task::spawn_blocking, time::sleep};
use tracing::debug;

use crate::{
    limits::{DUTY_TICK, HISTORIES_PAUSE},
    node::context::NodeContext,
};

/// Writes histories until `stop` is set. What was not written or not told is
/// found again by the next look.
pub async fn run(context: Arc<NodeContext>, mut stop: watch::Receiver<bool>) {
    loop {
        let pause = match keep_histories(&context).await {
            0 => DUTY_TICK,
            _ => HISTORIES_PAUSE,
        };
        tokio::select! {
            _ = stop.wait_for(|stop| *stop) => return,
            () = sleep(pause) => {}
        }
    }
}

/// Writes some histories that this home owes; returns how many.
async fn keep_histories(context: &NodeContext) -> usize {
    let node = context.node();
    let owed: Vec<Arc<JobEntry>> = {
        let state = context.cluster.local();
        if state.feature_level() < HOUSEKEEPING_LEVEL {
            return 0;
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
    let count = kept.len();
    if count == 0 {
        return 0;
    }
    if let Err(error) = context.cluster.propose(kept).await {
        debug!(%error, "histories could not be proposed");
        return 0;
    }
    count
}
