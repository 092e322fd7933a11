//! openraft's types for this cluster. None of them leaves this crate: `wire`
//! converts them to ours for peers and for the disk.

use bytes::Bytes;
use openraft::alias::{EntryOf, LogIdOf, SnapshotMetaOf, SnapshotOf, StoredMembershipOf, VoteOf};
use reelraft_model::Reply;

#[allow(deprecated)] // The name under which openraft itself defaults to it.
mod declared {
    openraft::declare_raft_types!(
        pub TypeConfig:
            D = crate::types::EntryBytes,
            R = crate::types::Outcome,
            NodeId = u64,
            Node = openraft::BasicNode,
            AsyncRuntime = crate::raft_clock::PacedRuntime,
    );
}
pub(crate) use declared::TypeConfig;

/// An encoded log entry. It is decoded when it is applied, not before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntryBytes(pub Bytes);

impl std::fmt::Display for EntryBytes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

/// What applying an entry gives.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// A reply for each of its commands.
    pub replies: Vec<Reply>,
}

pub(crate) type Entry = EntryOf<TypeConfig>;
pub(crate) type LogId = LogIdOf<TypeConfig>;
pub(crate) type Vote = VoteOf<TypeConfig>;
pub(crate) type Membership = openraft::Membership<u64, openraft::BasicNode>;
pub(crate) type StoredMembership = StoredMembershipOf<TypeConfig>;
pub(crate) type SnapshotMeta = SnapshotMetaOf<TypeConfig>;
pub(crate) type SnapshotData = std::sync::Arc<reelraft_storage::SnapshotFile>;
pub(crate) type Snapshot = SnapshotOf<TypeConfig, SnapshotData>;
