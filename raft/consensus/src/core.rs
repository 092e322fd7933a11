//! What the parts of this crate share: Raft, the replica and the peers of one
//! node, and what it tells about itself.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Arc, Mutex, RwLock},
    time::Duration,
};

use reelraft_storage::{Identity, Snapshots};
use tokio::{
    sync::{mpsc, watch},
    time::Instant,
};

use crate::{
    config::ClusterConfig, error::ConsensusError, peers::Peers, reads::Waiting,
    state_machine::Replica, types::Raft, watchdog::Watchdog,
};

/// Who leads, as this node sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Leadership {
    /// The term.
    pub term: u64,
    /// The leader, if one is known.
    pub leader: Option<u64>,
    /// Whether this node leads and its state holds all that was committed
    /// before: only then may it plan.
    pub leading: bool,
}

/// One node's consensus, without what keeps it alive.
#[derive(Debug)]
pub struct Core {
    pub config: ClusterConfig,
    pub raft: Raft,
    pub replica: Replica,
    pub peers: Arc<Peers>,
    pub snapshots: Snapshots,
    /// Where the founders are written down.
    pub data: PathBuf,
    pub leadership: watch::Sender<Leadership>,
    pub fatal: watch::Sender<Option<String>>,
    /// Whether this disk may take part in Raft.
    pub admitted: watch::Sender<bool>,
    /// The disks that founded the cluster, as this node saw it.
    pub founders: RwLock<BTreeMap<u64, String>>,
    pub reads: mpsc::Sender<Waiting>,
    /// When a leader last sent this node anything.
    pub heard_leader: Mutex<Option<Instant>>,
    /// Marks what the disk is asked for, and fences the node where it hangs.
    pub watchdog: Watchdog,
}

impl Core {
    /// Whose disk this is.
    pub fn identity(&self) -> &Identity {
        self.peers.identity()
    }

    /// This node's id.
    pub fn node(&self) -> u64 {
        self.identity().node
    }

    /// Notes that a leader has just sent something.
    pub fn note_leader(&self) {
        let mut heard = self
            .heard_leader
            .lock()
            .expect("no holder of this lock panics");
        *heard = Some(Instant::now());
    }

    /// How long no leader has sent anything; for ever if none has.
    pub fn silence_of_leader(&self) -> Duration {
        let heard = self
            .heard_leader
            .lock()
            .expect("no holder of this lock panics");
        heard.map_or(Duration::MAX, |at| at.elapsed())
    }

    /// The leader, if one is known.
    pub fn leader(&self) -> Option<u64> {
        self.leadership.borrow().leader
    }

    /// Names no leader any more, as nothing is heard of one.
    pub fn lose_leadership(&self) {
        self.leadership.send_modify(|now| {
            now.leader = None;
            now.leading = false;
        });
    }

    /// Tells that this node's part is over for good, and why.
    pub fn end(&self, cause: String) {
        tracing::error!(cause, "raft has stopped");
        self.lose_leadership();
        self.fatal.send_replace(Some(cause));
    }

    /// The incarnation under which a node is known, by the table or, before
    /// it is written there, by the founding.
    pub fn known_incarnation(&self, node: u64) -> Option<String> {
        let founding = || {
            let founders = self.founders.read().expect("no code that holds it panics");
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

    /// Why Raft has stopped.
    pub fn stopped(&self) -> ConsensusError {
        let cause = self.fatal.borrow().clone();
        ConsensusError::Stopped {
            cause: cause.unwrap_or_else(|| "the node is shutting down".to_string()),
        }
    }

    /// Asks a leader, until `deadline` or until another one is known: one that
    /// was replaced may never answer. `None` where it did not.
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

    /// Waits until who leads may have changed, or for `pause`, or until
    /// `deadline`.
    pub async fn leader_may_change(
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
