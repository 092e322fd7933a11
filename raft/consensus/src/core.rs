//! What the parts of this crate share: Raft, the replica and the peers of one
//! node, and what it knows about the leader and about itself.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, RwLock},
    time::Duration,
};

use openraft::async_runtime::watch::WatchReceiver;
use reelraft_model::State;
use reelraft_storage::{Identity, Snapshots};
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::Instant,
};

use crate::{
    config::ClusterConfig,
    error::ConsensusError,
    heard::Heard,
    left_out::LeftOut,
    limits::APPLY_WAIT,
    peers::Peers,
    raft_clock,
    state_machine::{Replica, StateMachine},
    types::{LogId, TypeConfig, Vote},
    watchdog::Watchdog,
};

/// openraft over our state machine.
pub type Raft = openraft::Raft<TypeConfig, StateMachine>;

/// Someone who waits for the read index of the next round.
pub type ReadWaiter = oneshot::Sender<Result<u64, ConsensusError>>;

/// Who leads, as this node sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Leadership {
    pub term: u64,
    /// The leader, if one is known.
    pub leader: Option<u64>,
    /// Whether this node leads and has applied all that was committed before:
    /// only then may it plan.
    pub leading: bool,
}

/// One node's consensus, without the runtime that keeps it alive.
#[derive(Debug)]
pub struct Core {
    pub config: ClusterConfig,
    pub raft: Raft,
    pub replica: Replica,
    pub peers: Arc<Peers>,
    pub snapshots: Snapshots,
    /// The data folder, where the founders are written down.
    pub data: PathBuf,
    pub leadership: watch::Sender<Leadership>,
    /// Why Raft has stopped, once it has.
    pub fatal: watch::Sender<Option<String>>,
    /// Says why, where the cluster was recovered without this disk.
    pub left_out: LeftOut,
    /// Why the others refuse this node's program, once they do.
    pub outdated: watch::Sender<Option<String>>,
    /// Whether this disk may take part in Raft.
    pub admitted: watch::Sender<bool>,
    /// The disks that founded the cluster, by node, as far as this node knows.
    pub founders: RwLock<BTreeMap<u64, String>>,
    /// The queue of linearizable reads.
    pub reads: mpsc::Sender<ReadWaiter>,
    /// What this node heard of leaders.
    pub heard: Mutex<Heard>,
    /// Marks each disk operation, and fences the node if one hangs.
    pub watchdog: Watchdog,
    /// Held while the membership is changed: two changes at once could leave the
    /// cluster between two sets of voters.
    pub changing: tokio::sync::Mutex<()>,
}

impl Core {
    pub fn identity(&self) -> &Identity {
        self.peers.identity()
    }

    pub fn node(&self) -> u64 {
        self.identity().node
    }

    /// Records that a leader has just sent something, and the stretch that it
    /// needs. One that was replaced has no say in that.
    pub fn hear_leader(&self, vote: &Vote, stretch_percent: u32) {
        let mut heard = self.heard();
        heard.hear(*vote, Instant::now());
        if heard.is_newest(*vote) {
            raft_clock::note_told(stretch_percent);
        }
    }

    /// How long it is in Raft's time since a leader sent anything; the maximum
    /// if none ever did.
    pub fn leader_silence(&self) -> Duration {
        self.heard().silence()
    }

    fn heard(&self) -> MutexGuard<'_, Heard> {
        self.heard.lock().expect("no holder of this lock panics")
    }

    /// How long a proposal or a read looks for a leader.
    pub fn leader_wait(&self) -> Duration {
        raft_clock::stretched_search(self.config.leader_wait)
    }

    /// The leader, if one is known.
    pub fn leader(&self) -> Option<u64> {
        self.leadership.borrow().leader
    }

    /// Stops naming a leader, because nothing is heard from one.
    pub fn forget_leader(&self) {
        self.leadership.send_modify(|now| {
            now.leader = None;
            now.leading = false;
        });
    }

    /// Announces that Raft has stopped on this node for good, and why.
    pub fn stop_for_good(&self, cause: String) {
        tracing::error!(cause, "raft has stopped");
        self.forget_leader();
        self.fatal.send_replace(Some(cause));
    }

    /// Refuses what comes from another history than this disk's, and ends the node.
    ///
    /// # Errors
    /// [`ConsensusError::LeftOut`].
    pub fn check_history<'a>(
        &self,
        named: impl IntoIterator<Item = &'a LogId>,
    ) -> Result<(), ConsensusError> {
        let known = {
            let metrics = self.raft.metrics();
            let now = metrics.borrow_watched();
            now.local_committed.max(now.last_applied)
        };
        self.left_out.check(known, named).map_err(|cause| {
            self.stop_for_good(cause.clone());
            ConsensusError::LeftOut { cause }
        })
    }

    /// The incarnation under which a node is known: from the table, or from the
    /// founding before the table has it.
    pub fn known_incarnation(&self, node: u64) -> Option<String> {
        let founding = || {
            let founders = self.founders.read().expect("no holder of this lock panics");
            founders.get(&node).cloned()
        };
        self.replica.state().incarnation_of(node).or_else(founding)
    }

    /// Waits until this replica has applied an index.
    ///
    /// # Errors
    /// [`ConsensusError::Behind`] and [`ConsensusError::Stopped`].
    pub async fn wait_applied(&self, index: u64, limit: Duration) -> Result<(), ConsensusError> {
        let mut applied = self.replica.applied();
        let mut fatal = self.fatal.subscribe();
        tokio::select! {
            reached = tokio::time::timeout(limit, applied.wait_for(|now| *now >= index)) => {
                match reached {
                    Ok(Ok(_)) => Ok(()),
                    Ok(Err(_)) => Err(self.stopped()),
                    Err(_) => Err(ConsensusError::Behind {
                        index,
                        waited_ms: limit.as_millis() as u64,
                    }),
                }
            }
            _ = fatal.wait_for(Option::is_some) => Err(self.stopped()),
        }
    }

    /// This replica's state, once it has applied an index.
    ///
    /// # Errors
    /// [`ConsensusError::Behind`] and [`ConsensusError::Stopped`].
    pub async fn state_at(&self, index: u64) -> Result<Arc<State>, ConsensusError> {
        self.wait_applied(index, raft_clock::stretched(APPLY_WAIT))
            .await?;
        Ok(self.replica.state())
    }

    /// Why Raft has stopped.
    pub fn stopped(&self) -> ConsensusError {
        let cause = self.fatal.borrow().clone();
        ConsensusError::Stopped {
            cause: cause.unwrap_or_else(|| "the node is shutting down".to_string()),
        }
    }

    /// Waits for a leader's answer until `deadline`, or until another leader is
    /// known: one that was replaced may never answer. `None` if it did not.
    pub async fn while_leading<T>(
        &self,
        leader: u64,
        deadline: Instant,
        asked: impl Future<Output = T>,
    ) -> Option<T> {
        let mut leadership = self.leadership.subscribe();
        let replaced =
            leadership.wait_for(|now| now.leader.is_some() && now.leader != Some(leader));
        tokio::select! {
            answer = tokio::time::timeout_at(deadline, asked) => answer.ok(),
            _ = replaced => None,
        }
    }

    /// Waits until the leader may have changed, but no longer than `pause` and
    /// not beyond `deadline`.
    pub async fn wait_for_change_of_leader(
        &self,
        seen: &mut watch::Receiver<Leadership>,
        pause: Duration,
        deadline: Instant,
    ) {
        let until = (Instant::now() + pause).min(deadline);
        // The sender lives in this core.
        let _ = tokio::time::timeout_at(until, seen.changed()).await;
    }
}
