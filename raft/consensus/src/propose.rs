//! Proposing commands: on the leader, or through it from any other node.
//!
//! A proposal without an answer is made again with the next leader. It may
//! then be applied twice; commands are conditional, so the second time changes
//! nothing.

use bytes::Bytes;
use openraft::errors::{ClientWriteError, RaftError};
use prost::Message;
use reelraft_model::{Command, Entry, Reply, limits::COMMANDS_PER_ENTRY_MAX};
use reelraft_proto::{problem, v1};
use tokio::time::{Instant, timeout_at};
use tonic::Status;

use crate::{
    core::Core,
    error::{ConsensusError, NOT_LEADER},
    limits::{CONFIRM_TIME, ENTRY_BYTES_MAX, TRY_PAUSE, TRY_TIME},
    peers::{ChannelKind, within},
    raft_clock::stretched,
    types::EntryBytes,
    wire::Replies,
};

/// A proposal that is committed and applied on the leader. To see its effect
/// on this replica, read [`crate::Cluster::state_at`] its index: that needs no
/// quorum.
#[derive(Clone, Debug, PartialEq)]
pub struct Committed {
    /// Its index in the log.
    pub index: u64,
    /// A reply for each command.
    pub replies: Vec<Reply>,
}

/// Why one try did not commit the proposal.
enum NotCommitted {
    /// It is certainly not in the log.
    NotProposed,
    /// It may be in the log.
    Unknown,
    /// Another try would be pointless.
    Final(ConsensusError),
}

/// Encodes commands as one entry.
///
/// # Errors
/// [`ConsensusError::TooManyCommands`] and [`ConsensusError::EntryTooLong`].
pub fn encode(commands: Vec<Command>) -> Result<Bytes, ConsensusError> {
    check_count(commands.len())?;
    let bytes = Entry::new(commands).encode();
    check_length(&bytes)?;
    Ok(bytes.into())
}

/// Refuses an entry that another node encoded and this one must not propose:
/// each replica would stop at what it can't store or apply.
///
/// # Errors
/// As [`encode`], and [`ConsensusError::BadEntry`] for foreign bytes and a
/// later version's command.
pub fn check_foreign(bytes: &[u8]) -> Result<(), ConsensusError> {
    check_length(bytes)?;
    let entry = Entry::decode(bytes).map_err(ConsensusError::BadEntry)?;
    check_count(entry.commands.len())
}

fn check_length(bytes: &[u8]) -> Result<(), ConsensusError> {
    match bytes.len() {
        0..=ENTRY_BYTES_MAX => Ok(()),
        bytes => Err(ConsensusError::EntryTooLong {
            bytes,
            limit_bytes: ENTRY_BYTES_MAX,
        }),
    }
}

fn check_count(found: usize) -> Result<(), ConsensusError> {
    match found {
        0..=COMMANDS_PER_ENTRY_MAX => Ok(()),
        found => Err(ConsensusError::TooManyCommands {
            found,
            limit: COMMANDS_PER_ENTRY_MAX,
        }),
    }
}

impl Core {
    /// Proposes through whoever leads.
    ///
    /// # Errors
    /// [`ConsensusError::NoLeader`], [`ConsensusError::Unconfirmed`] and
    /// [`ConsensusError::Stopped`].
    pub async fn propose(&self, entry: Bytes) -> Result<Committed, ConsensusError> {
        let waited_ms = self.leader_wait().as_millis() as u64;
        let deadline = Instant::now() + self.leader_wait();
        let mut leadership = self.leadership.subscribe();
        let mut unknown = false;
        loop {
            let leader = leadership.borrow_and_update().leader;
            let tried = match leader {
                Some(leader) if leader == self.node() => {
                    self.propose_as_leader(entry.clone(), deadline).await
                }
                Some(leader) => {
                    let asked = self.forward(leader, entry.clone());
                    let answer = self.while_leading(leader, deadline, asked).await;
                    answer.unwrap_or(Err(NotCommitted::Unknown))
                }
                None => Err(NotCommitted::NotProposed),
            };
            match tried {
                Ok(committed) => return Ok(committed),
                Err(NotCommitted::Final(error)) => return Err(error),
                Err(NotCommitted::Unknown) => unknown = true,
                Err(NotCommitted::NotProposed) => {}
            }
            if self.fatal.borrow().is_some() {
                return Err(self.stopped());
            }
            if Instant::now() >= deadline {
                return Err(match unknown {
                    true => ConsensusError::Unconfirmed { waited_ms },
                    false => ConsensusError::NoLeader { waited_ms },
                });
            }
            self.wait_for_change_of_leader(&mut leadership, TRY_PAUSE, deadline)
                .await;
        }
    }

    /// Proposes as the leader.
    ///
    /// # Errors
    /// [`ConsensusError::NotLeader`], [`ConsensusError::Unconfirmed`] and
    /// [`ConsensusError::Stopped`].
    pub async fn propose_local(&self, entry: Bytes) -> Result<Committed, ConsensusError> {
        if !self.leadership.borrow().leading {
            return Err(ConsensusError::NotLeader {
                leader: self.leader(),
            });
        }
        let written = self
            .propose_as_leader(entry, Instant::now() + CONFIRM_TIME)
            .await;
        written.map_err(|failed| match failed {
            NotCommitted::NotProposed => ConsensusError::NotLeader {
                leader: self.leader(),
            },
            NotCommitted::Unknown => ConsensusError::Unconfirmed {
                waited_ms: CONFIRM_TIME.as_millis() as u64,
            },
            NotCommitted::Final(error) => error,
        })
    }

    async fn propose_as_leader(
        &self,
        entry: Bytes,
        deadline: Instant,
    ) -> Result<Committed, NotCommitted> {
        let written = timeout_at(deadline, self.raft.client_write(EntryBytes(entry))).await;
        match written {
            Ok(Ok(written)) => Ok(Committed {
                index: written.log_id.index(),
                replies: written.data.replies,
            }),
            Ok(Err(RaftError::APIError(ClientWriteError::ForwardToLeader(_)))) => {
                Err(NotCommitted::NotProposed)
            }
            Ok(Err(RaftError::APIError(_))) | Err(_) => Err(NotCommitted::Unknown),
            Ok(Err(RaftError::Fatal(error))) => Err(NotCommitted::Final(ConsensusError::Stopped {
                cause: error.to_string(),
            })),
        }
    }

    async fn forward(&self, leader: u64, entry: Bytes) -> Result<Committed, NotCommitted> {
        let asked = self.ask_to_propose(leader, entry).await;
        asked.map_err(|status| {
            self.peers.note_refusal(&status);
            tracing::debug!(leader, %status, "not proposed");
            match problem::of_status(&status) {
                Some(problem) if problem.kind == NOT_LEADER => NotCommitted::NotProposed,
                _ => NotCommitted::Unknown,
            }
        })
    }

    /// Has another node propose, if it leads.
    ///
    /// # Errors
    /// Its status, with the problem [`NOT_LEADER`] if it does not lead.
    pub async fn ask_to_propose(&self, node: u64, entry: Bytes) -> Result<Committed, Status> {
        let mut client = self.peers.client(node, ChannelKind::Call)?;
        let request = v1::ProposeRequest {
            sender: Some(self.peers.sender()),
            command: entry,
        };
        let answer = within(stretched(TRY_TIME), client.propose(request)).await?;
        let replies =
            Replies::decode(answer.reply).map_err(|_| Status::internal("undecodable replies"))?;
        Ok(Committed {
            index: answer.index,
            replies: replies.replies,
        })
    }
}
