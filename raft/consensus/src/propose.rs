//! Proposing commands: on the leader, or through it from any other node.
//!
//! A proposal that got no answer is made again with the next leader. It may
//! then be applied twice; commands are conditional, so the second time
//! changes nothing.

use bytes::Bytes;
use openraft::errors::{ClientWriteError, RaftError};
use prost::Message;
use reelraft_model::{Command, Entry, Reply, limits::COMMANDS_PER_ENTRY_MAX};
use reelraft_proto::v1;
use tokio::time::{Instant, timeout_at};
use tonic::{Code, Status};

use crate::{
    core::Core,
    error::ConsensusError,
    limits::{CONFIRM_TIME, ENTRY_BYTES_MAX, TRY_PAUSE, TRY_TIME},
    peers::{Line, within},
    types::EntryBytes,
    wire::Replies,
};

/// A proposal that is committed and applied on the leader.
#[derive(Clone, Debug, PartialEq)]
pub struct Committed {
    /// Its index in the log.
    pub index: u64,
    /// A reply for each command.
    pub replies: Vec<Reply>,
}

/// How one try ended without being committed.
enum Failed {
    /// It certainly is not in the log.
    Refused,
    /// It may be.
    Unknown,
    /// Trying on is pointless.
    Final(ConsensusError),
}

/// Encodes commands as one entry.
///
/// # Errors
/// [`ConsensusError::TooManyCommands`] and [`ConsensusError::EntryTooLong`].
pub fn encode(commands: Vec<Command>) -> Result<Bytes, ConsensusError> {
    if commands.len() > COMMANDS_PER_ENTRY_MAX {
        return Err(ConsensusError::TooManyCommands {
            found: commands.len(),
            limit: COMMANDS_PER_ENTRY_MAX,
        });
    }
    let bytes = Entry::new(commands).encode();
    if bytes.len() > ENTRY_BYTES_MAX {
        return Err(ConsensusError::EntryTooLong {
            bytes: bytes.len(),
            limit_bytes: ENTRY_BYTES_MAX,
        });
    }
    Ok(bytes.into())
}

impl Core {
    /// Proposes through whoever leads.
    ///
    /// # Errors
    /// [`ConsensusError::NoLeader`], [`ConsensusError::Unconfirmed`] and
    /// [`ConsensusError::Stopped`].
    pub async fn propose(&self, entry: Bytes) -> Result<Committed, ConsensusError> {
        let waited_ms = self.config.leader_wait.as_millis() as u64;
        let deadline = Instant::now() + self.config.leader_wait;
        let mut leadership = self.leadership.subscribe();
        let mut unknown = false;
        loop {
            let leader = leadership.borrow_and_update().leader;
            let tried = match leader {
                Some(leader) if leader == self.node() => self.write(entry.clone(), deadline).await,
                Some(leader) => {
                    let asked = self.ask(leader, entry.clone());
                    let answer = self.while_leading(leader, deadline, asked).await;
                    answer.unwrap_or(Err(Failed::Unknown))
                }
                None => Err(Failed::Refused),
            };
            match tried {
                Ok(committed) => return Ok(committed),
                Err(Failed::Final(error)) => return Err(error),
                Err(Failed::Unknown) => unknown = true,
                Err(Failed::Refused) => {}
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
            self.leader_may_change(&mut leadership, TRY_PAUSE, deadline)
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
        let written = self.write(entry, Instant::now() + CONFIRM_TIME).await;
        written.map_err(|failed| match failed {
            Failed::Refused => ConsensusError::NotLeader {
                leader: self.leader(),
            },
            Failed::Unknown => ConsensusError::Unconfirmed {
                waited_ms: CONFIRM_TIME.as_millis() as u64,
            },
            Failed::Final(error) => error,
        })
    }

    async fn write(&self, entry: Bytes, deadline: Instant) -> Result<Committed, Failed> {
        let written = timeout_at(deadline, self.raft.client_write(EntryBytes(entry))).await;
        match written {
            Ok(Ok(written)) => Ok(Committed {
                index: written.log_id.index(),
                replies: written.data.replies,
            }),
            Ok(Err(RaftError::APIError(ClientWriteError::ForwardToLeader(_)))) => {
                Err(Failed::Refused)
            }
            Ok(Err(RaftError::APIError(_))) | Err(_) => Err(Failed::Unknown),
            Ok(Err(RaftError::Fatal(error))) => Err(Failed::Final(ConsensusError::Stopped {
                cause: error.to_string(),
            })),
        }
    }

    async fn ask(&self, leader: u64, entry: Bytes) -> Result<Committed, Failed> {
        let asked = self.ask_to_propose(leader, entry).await;
        asked.map_err(|status| {
            tracing::debug!(leader, %status, "not proposed");
            match status.code() {
                Code::FailedPrecondition => Failed::Refused,
                _ => Failed::Unknown,
            }
        })
    }

    /// Has one other node propose, if it leads.
    ///
    /// # Errors
    /// Its status; `FAILED_PRECONDITION` if it does not lead.
    pub async fn ask_to_propose(&self, node: u64, entry: Bytes) -> Result<Committed, Status> {
        let mut client = self.peers.client(node, Line::Call)?;
        let request = v1::ProposeRequest {
            sender: Some(self.peers.sender()),
            command: entry,
        };
        let answer = within(TRY_TIME, client.propose(request)).await?;
        let replies = Replies::decode(answer.reply)
            .map_err(|_| Status::internal("replies that can't be understood"))?;
        Ok(Committed {
            index: answer.index,
            replies: replies.replies,
        })
    }
}
