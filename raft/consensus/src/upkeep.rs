//! Background tasks of a node: they watch who leads and whether Raft still
//! runs, flush the table, have snapshots made, and keep table and membership
//! complete.

use std::sync::Arc;

use openraft::{
    Instant, RaftMetrics, ServerState, async_runtime::watch::WatchReceiver, errors::Fatal,
};
use reelraft_storage::TableFlusher;
use tokio::task::spawn_blocking;

use crate::{
    core::{Core, Leadership},
    limits::{LEADERSHIP_EVERY, QUORUM_SILENCE, TABLE_FLUSH_EVERY, UPKEEP_AT_REST, UPKEEP_EVERY},
    propose::encode,
    raft_clock::stretched,
    snapshot_pace::SnapshotPace,
    types::TypeConfig,
    watchdog::Operation,
};

/// Publishes who leads until Raft has stopped, and then publishes that.
pub async fn watch_raft(core: Arc<Core>) {
    let mut metrics = core.raft.metrics();
    loop {
        let now = metrics.borrow_watched().clone();
        if let Err(error) = &now.running_state {
            core.forget_leader();
            // A planned stop is not a failure.
            if *error != Fatal::Stopped {
                core.stop_for_good(error.to_string());
            }
            return;
        }
        if core.watchdog.fenced() {
            core.forget_leader();
            return;
        }
        let leadership = reliable_leadership(&now, core.leader_silence() < QUORUM_SILENCE);
        core.leadership.send_if_modified(|known| {
            let changed = *known != leadership;
            *known = leadership;
            changed
        });
        // Wake up regularly: a quorum that falls silent is not an event.
        let pause = stretched(LEADERSHIP_EVERY);
        if let Ok(Err(_)) = tokio::time::timeout(pause, metrics.changed()).await {
            core.stop_for_good("raft ended without a word".to_string());
            return;
        }
    }
}

/// Leading is more than being elected: the leader must have applied its own
/// first entry, and a quorum must have answered lately. A leader that is not
/// heard from, or that hears from no quorum, is not named, so that nobody is
/// sent to it.
fn reliable_leadership(now: &RaftMetrics<TypeConfig>, leader_heard: bool) -> Leadership {
    let voters = now.membership_config.voter_ids().count();
    let elected = now.state == ServerState::Leader;
    let current = now
        .last_applied
        .is_some_and(|id| *id.committed_leader_id() == now.vote.leader_id);
    let heard = voters == 1
        || now
            .last_quorum_acked
            .as_ref()
            .is_some_and(|at| at.elapsed() < QUORUM_SILENCE);
    let reliable = if elected { heard } else { leader_heard };
    Leadership {
        term: now.current_term,
        leader: now.current_leader.filter(|_| reliable),
        leading: elected && current && heard,
    }
}

/// Flushes the table a moment after each change, beside the work. If that hangs,
/// the watchdog sees it.
pub async fn flush_table(core: Arc<Core>, flusher: TableFlusher) {
    let mut applied = core.replica.applied();
    while applied.changed().await.is_ok() {
        tokio::time::sleep(TABLE_FLUSH_EVERY).await;
        applied.borrow_and_update();
        let mark = core.watchdog.begin(Operation::TableFlush);
        let flusher = flusher.clone();
        let flushed = spawn_blocking(move || flusher.flush()).await;
        drop(mark);
        if let Ok(Err(error)) = flushed {
            core.stop_for_good(error.to_string());
            return;
        }
    }
}

/// Has a snapshot made whenever the log has outgrown the last one.
pub async fn make_snapshots(core: Arc<Core>) {
    let mut pace = SnapshotPace::new(core.node());
    let mut applied = core.replica.applied();
    loop {
        let _ = tokio::time::timeout(UPKEEP_AT_REST, applied.changed()).await;
        tokio::time::sleep(UPKEEP_EVERY).await;
        let last = {
            let metrics = core.raft.metrics();
            let now = metrics.borrow_watched();
            if now.running_state.is_err() {
                return;
            }
            now.snapshot.as_ref().map(|id| id.index)
        };
        let (snapshot_bytes, applied_bytes) = core.replica.written_bytes();
        if !pace.is_due(last, snapshot_bytes, applied_bytes) {
            continue;
        }
        if let Err(error) = core.raft.trigger().snapshot().await {
            tracing::debug!(%error, "no snapshot could be asked for");
        }
    }
}

/// Registers what the table lacks, follows where the others listen, and as the leader
/// makes members of all that the table has.
pub async fn maintain_members(core: Arc<Core>) {
    let mut applied = core.replica.applied();
    let mut complete = false;
    loop {
        if complete {
            let _ = tokio::time::timeout(UPKEEP_AT_REST, applied.changed()).await;
        }
        tokio::time::sleep(UPKEEP_EVERY).await;
        applied.borrow_and_update();
        complete = false;
        core.learn_addresses();
        if !*core.admitted.borrow() || core.leader().is_none() {
            continue;
        }
        let missing = core.missing_registrations();
        complete = missing.is_empty();
        if !complete {
            let entry = match encode(missing.clone()) {
                Ok(entry) => entry,
                Err(error) => {
                    tracing::error!(%error, "this node can't be registered");
                    return;
                }
            };
            match core.propose(entry).await {
                Ok(committed) if core.is_refused(&missing, &committed.replies) => return,
                Ok(_) => {}
                Err(error) => tracing::debug!(%error, "not registered yet"),
            }
        }
        if core.leadership.borrow().leading {
            complete &= add_learners(&core).await;
        }
    }
}

/// A learner becomes a member once the table has it: the leader would try in vain
/// to reach one that was never started. Whether all that it has are members.
async fn add_learners(core: &Core) -> bool {
    let missing = core.missing_learners(&core.replica.state());
    if missing.is_empty() {
        return true;
    }
    let nodes: Vec<u64> = missing.keys().copied().collect();
    match core.add_learners(missing).await {
        Ok(()) => tracing::info!(?nodes, "learners were added"),
        Err(error) => tracing::debug!(?nodes, %error, "learners were not added yet"),
    }
    false
}
