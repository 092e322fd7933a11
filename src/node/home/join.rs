//! Joins films whose last shards are still encoded: what comes is checked and
//! copied at once, so that less is left to do after the last one.

use std::sync::Arc;

use reelraft_model::{JobEntry, JobState};
use tokio::{sync::watch, time::sleep};
use tracing::debug;

use crate::{limits::JOIN_TICK, node::context::NodeContext};

/// Joins until `stop` is set.
pub async fn run(context: Arc<NodeContext>, mut stop: watch::Receiver<bool>) {
    let mut seen = 0;
    loop {
        tokio::select! {
            _ = stop.wait_for(|stop| *stop) => return,
            () = sleep(JOIN_TICK) => {}
        }
        let applied = *context.cluster.applied().borrow();
        if std::mem::replace(&mut seen, applied) != applied {
            look(&context).await;
        }
    }
}

/// Whether a film of several shards is encoded, and this node is to assemble it.
fn is_joined_here(entry: &JobEntry, node: u64) -> bool {
    let job = &entry.job;
    job.state() == JobState::Encoding
        && entry.is_home(node)
        && !job.index_hash.is_empty()
        && job.shards_total > 1
}

async fn look(context: &NodeContext) {
    let (node, state) = (context.node(), context.cluster.local());
    let has_room = context.has_room();
    // What waits to be assembled is kept.
    let is_wanted = |job: &str| {
        let entry = state.current(job);
        has_room && entry.is_some_and(|entry| entry.is_home(node))
    };
    context.joined.retain(is_wanted).await;
    let all = state.eventful();
    let mut jobs: Vec<Arc<JobEntry>> = all
        .filter(|entry| has_room && is_joined_here(entry, node))
        .cloned()
        .collect();
    drop(state);
    jobs.sort_by_key(|entry| entry.job.created_index);
    for entry in jobs {
        if let Err(error) = join(context, &entry).await {
            debug!(job = entry.job.id, error, "not joined ahead");
        }
    }
}

/// Joins what has come of a film since the last look.
async fn join(context: &NodeContext, entry: &JobEntry) -> Result<(), String> {
    let lacking = context.joined.lacking(entry).await;
    if lacking.is_empty() {
        return Ok(());
    }
    let (root, job) = (context.work_root(), &entry.job);
    let index = context.index(entry).await.map_err(|error| error.cause)?;
    for task in lacking {
        let part = context.data.part(entry, task).await;
        let part = part.map_err(|error| error.to_string())?;
        let is_current = || {
            let state = context.cluster.local();
            let now = state.current(&job.id);
            now.is_some_and(|now| now.job.state() == JobState::Encoding)
        };
        let film = (root.as_path(), entry, index.as_ref());
        context.joined.add(film, task, part, is_current).await?;
    }
    Ok(())
}
