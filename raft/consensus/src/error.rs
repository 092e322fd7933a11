//! Why the cluster refuses: one enum for the crate (P10).

use std::sync::Arc;

use reelraft_model::{ModelError, Problem};
use reelraft_storage::StorageError;

/// The kind of [`ConsensusError::NotLeader`], by which another node knows that
/// its proposal is not in the log.
pub const NOT_LEADER: &str = "not-leader";

/// A refusal of the consensus layer. Clones are cheap: readers that share a
/// round share its error.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ConsensusError {
    /// The configuration contradicts itself.
    #[error("the cluster's configuration is refused: {cause}")]
    BadConfig { cause: String },
    #[error("{0}")]
    Storage(Arc<StorageError>),
    /// The table can't be read as a state.
    #[error("{0}")]
    Model(#[from] ModelError),
    /// No leader was found in time. Nothing was proposed.
    #[error("no leader was found within {waited_ms} ms")]
    NoLeader { waited_ms: u64 },
    /// Only a leader can do that.
    #[error("this node does not lead{}", leader.map(|id| format!("; node {id} does")).unwrap_or_default())]
    NotLeader {
        /// Who leads, as far as this node knows.
        leader: Option<u64>,
    },
    /// A leader took the proposal but did not confirm it in time. It may or may
    /// not be applied. Commands are conditional, so trying again is safe.
    #[error("the cluster did not confirm within {waited_ms} ms")]
    Unconfirmed { waited_ms: u64 },
    /// This replica did not reach an index in time.
    #[error("this replica did not reach index {index} within {waited_ms} ms")]
    Behind { index: u64, waited_ms: u64 },
    #[error("{found} commands are more than the {limit} of one entry")]
    TooManyCommands { found: usize, limit: usize },
    #[error("an entry of {bytes} bytes is longer than the limit of {limit_bytes}")]
    EntryTooLong { bytes: usize, limit_bytes: usize },
    /// A peer asks to have something proposed that this version can't apply.
    #[error("a peer's proposal is refused: {0}")]
    BadEntry(ModelError),
    /// The cluster knows this node's id with another disk: what that disk
    /// acknowledged would be forgotten.
    #[error("the cluster knows node {node} with another disk (incarnation {known}, not {own})")]
    OtherIncarnation {
        node: u64,
        /// The incarnation that the cluster knows.
        known: String,
        /// The one of this disk.
        own: String,
    },
    /// The cluster has gone on without this node, and writes what its program
    /// can't read.
    #[error("{cause}")]
    OlderProgram { cause: String },
    /// The cluster was recovered from a disk that lacks what this one knows to be
    /// committed.
    #[error(
        "the cluster was recovered without this disk, or from older copies of the others: {cause}"
    )]
    LeftOut { cause: String },
    /// A configured peer belongs to another cluster.
    #[error("node {node} belongs to cluster {found}, not to {own}")]
    OtherCluster {
        node: u64,
        found: String,
        own: String,
    },
    /// The node was removed, and is refused by all others.
    #[error("node {node} was removed from the cluster")]
    Removed { node: u64 },
    /// The message is for another node, which listened here before.
    #[error("this is node {own}, and not node {asked}")]
    OtherNode { asked: u64, own: u64 },
    /// The members are not what they were to become.
    #[error("the members were not changed: {cause}")]
    MembersUnchanged { cause: String },
    /// Raft has stopped; the node must end.
    #[error("raft has stopped: {cause}")]
    Stopped { cause: String },
}

impl ConsensusError {
    /// The refusal's stable name, for programs.
    pub fn kind(&self) -> &'static str {
        match self {
            ConsensusError::BadConfig { .. } => "bad-config",
            ConsensusError::Storage(error) => error.kind(),
            ConsensusError::Model(_) => "damaged-state",
            ConsensusError::NoLeader { .. } => "no-leader",
            ConsensusError::NotLeader { .. } => NOT_LEADER,
            ConsensusError::Unconfirmed { .. } => "unconfirmed",
            ConsensusError::Behind { .. } => "behind",
            ConsensusError::TooManyCommands { .. } => "too-many-commands",
            ConsensusError::EntryTooLong { .. } => "entry-too-long",
            ConsensusError::BadEntry(_) => "bad-entry",
            ConsensusError::OtherIncarnation { .. } => "other-incarnation",
            ConsensusError::OlderProgram { .. } => Problem::OLDER_PROGRAM,
            ConsensusError::LeftOut { .. } => "recovered-without",
            ConsensusError::OtherCluster { .. } => "other-cluster",
            ConsensusError::Removed { .. } => Problem::NODE_REMOVED,
            ConsensusError::OtherNode { .. } => "other-node",
            ConsensusError::MembersUnchanged { .. } => "members-unchanged",
            ConsensusError::Stopped { .. } => "stopped",
        }
    }

    /// What to do next.
    pub fn hint(&self) -> &'static str {
        match self {
            ConsensusError::BadConfig { .. } => "correct --id, --peers and --voters",
            ConsensusError::Storage(error) => error.hint(),
            ConsensusError::Model(_) => "start the version that wrote this data",
            ConsensusError::NoLeader { .. } | ConsensusError::Unconfirmed { .. } => {
                "a majority of the voters must be up; see `reelraft cluster status`. Meanwhile \
                 finished jobs can be fetched, and `job show` and `job list` take --local"
            }
            ConsensusError::NotLeader { .. } => "ask the leader",
            ConsensusError::Behind { .. } => "ask another node, or try again",
            ConsensusError::TooManyCommands { .. } | ConsensusError::EntryTooLong { .. } => {
                "send less at once"
            }
            ConsensusError::BadEntry(_) => "run the same version on all nodes",
            ConsensusError::OtherIncarnation { .. } => {
                "start it with its own data folder, or let it in anew with --join and --token"
            }
            ConsensusError::OlderProgram { .. } => "start it with the program of the others",
            ConsensusError::LeftOut { .. } => {
                "keep its data folder: a film that no other node has is the file \
                 blobs/JOB/OUTPUT-HASH in it. To have the machine back, let it in anew with another, \
                 empty folder, --join and --token"
            }
            ConsensusError::OtherCluster { .. } => {
                "check the addresses in --peers, and that all data folders are of one cluster"
            }
            ConsensusError::Removed { .. } => "let it in anew with --join and --token",
            ConsensusError::OtherNode { .. } => "give each node an address of its own",
            ConsensusError::MembersUnchanged { .. } => {
                "the leader tries again; see `reelraft cluster nodes`"
            }
            ConsensusError::Stopped { .. } => {
                "see the first error of the node's log, then start it again"
            }
        }
    }

    /// The refusal as users see it.
    pub fn problem(&self) -> Problem {
        if let ConsensusError::Removed { node } = self {
            return Problem::node_removed(*node);
        }
        Problem::new(self.kind(), self.to_string(), self.hint())
    }
}

impl From<StorageError> for ConsensusError {
    fn from(error: StorageError) -> Self {
        ConsensusError::Storage(Arc::new(error))
    }
}
