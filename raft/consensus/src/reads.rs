//! Linearizable reads, in rounds. Reads that arrive during a round share the
//! next one: it starts after all of them were called, so its index holds for
//! each.

use std::sync::Arc;

use openraft::{
    ReadPolicy,
    errors::{LinearizableReadError, RaftError},
};
use reelraft_model::State;
use reelraft_proto::v1;
use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, timeout, timeout_at},
};

use crate::{
    core::{Core, ReadWaiter},
    error::ConsensusError,
    limits::{READS_WAITING_MAX, TRY_PAUSE, TRY_TIME},
    peers::{ChannelKind, within},
    raft_clock::stretched,
};

pub fn queue() -> (mpsc::Sender<ReadWaiter>, mpsc::Receiver<ReadWaiter>) {
    mpsc::channel(READS_WAITING_MAX)
}

/// Runs the rounds, one after another.
pub async fn run_read_rounds(core: Arc<Core>, mut queue: mpsc::Receiver<ReadWaiter>) {
    while let Some(first) = queue.recv().await {
        let mut waiting = vec![first];
        while let Ok(next) = queue.try_recv() {
            waiting.push(next);
        }
        let index = core.agree_on_read_index().await;
        for reader in waiting {
            // A reader that went away needs no answer.
            let _ = reader.send(index.clone());
        }
    }
}

impl Core {
    /// The state with everything that was acknowledged before this call.
    ///
    /// # Errors
    /// [`ConsensusError::NoLeader`], [`ConsensusError::Behind`] and
    /// [`ConsensusError::Stopped`].
    pub async fn read(&self) -> Result<Arc<State>, ConsensusError> {
        let index = self.read_index().await?;
        self.state_at(index).await
    }

    fn no_leader(&self) -> ConsensusError {
        ConsensusError::NoLeader {
            waited_ms: self.leader_wait().as_millis() as u64,
        }
    }

    async fn read_index(&self) -> Result<u64, ConsensusError> {
        let (sender, receiver) = oneshot::channel();
        self.reads.send(sender).await.map_err(|_| self.stopped())?;
        // The previous round may take as long as this read's own.
        match timeout(self.leader_wait(), receiver).await {
            Ok(index) => index.map_err(|_| self.stopped())?,
            Err(_) => Err(self.no_leader()),
        }
    }

    /// One round, with whoever leads.
    async fn agree_on_read_index(&self) -> Result<u64, ConsensusError> {
        let deadline = Instant::now() + self.leader_wait();
        let mut leadership = self.leadership.subscribe();
        loop {
            let leader = leadership.borrow_and_update().leader;
            let found = match leader {
                Some(leader) => {
                    let asked = self.ask_read_index(leader);
                    self.while_leading(leader, deadline, asked).await.flatten()
                }
                None => None,
            };
            if let Some(index) = found {
                return Ok(index);
            }
            if self.fatal.borrow().is_some() {
                return Err(self.stopped());
            }
            if Instant::now() >= deadline {
                return Err(self.no_leader());
            }
            self.wait_for_change_of_leader(&mut leadership, TRY_PAUSE, deadline)
                .await;
        }
    }

    /// The read index of this node as the leader, confirmed by a quorum; `None`
    /// if it does not lead.
    pub async fn lead_read_index(&self) -> Option<u64> {
        let asked = self.raft.get_read_log_id(ReadPolicy::ReadIndex);
        match timeout_at(Instant::now() + stretched(TRY_TIME), asked).await {
            Ok(Ok((read, _))) => Some(read.index()),
            Ok(Err(RaftError::APIError(
                LinearizableReadError::ForwardToLeader(_)
                | LinearizableReadError::QuorumNotEnough(_),
            ))) => None,
            Ok(Err(RaftError::Fatal(error))) => {
                tracing::debug!(%error, "no read index");
                None
            }
            Err(_) => None,
        }
    }

    async fn ask_read_index(&self, leader: u64) -> Option<u64> {
        if leader == self.node() {
            return self.lead_read_index().await;
        }
        let mut client = self.peers.client(leader, ChannelKind::Call).ok()?;
        let request = v1::ReadIndexRequest {
            sender: Some(self.peers.sender()),
        };
        let answer = within(stretched(TRY_TIME), client.read_index(request)).await;
        answer
            .map(|answer| answer.index)
            .inspect_err(|status| tracing::debug!(leader, %status, "no read index"))
            .ok()
    }
}
