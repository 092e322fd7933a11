//! Rows that belong to no job: the nodes, the tokens that let new ones in, and the
//! cluster as a whole.

/// Whether a node is one of the cluster's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum NodeStanding {
    /// It works, keeps bytes, and may vote.
    Member = 0,
    /// It gets no new work, hands its bytes over, and then its vote.
    Draining = 1,
    /// It is refused everywhere, and its id is never given again.
    Removed = 2,
}

/// A node that has taken part, with the disk that it has.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Node {
    #[prost(uint64, tag = "1")]
    pub id: u64,
    /// Random, drawn when its disk was formatted.
    #[prost(string, tag = "2")]
    pub incarnation: String,
    /// Where it listens.
    #[prost(string, tag = "3")]
    pub address: String,
    /// Up to which [`crate::limits::FEATURE_LEVEL`] it can read the log.
    #[prost(uint32, tag = "4")]
    pub feature_level: u32,
    /// Whether that is what it must be able to read when it comes back, and not
    /// what it said itself.
    #[prost(bool, tag = "5")]
    pub left_behind: bool,
    #[prost(enumeration = "NodeStanding", tag = "45")]
    pub standing: i32,
    /// Whether a token has let it in, and given it its id.
    #[prost(bool, tag = "46")]
    pub let_in: bool,
}

impl Node {
    /// Whether it was removed for good.
    pub fn is_removed(&self) -> bool {
        self.standing() == NodeStanding::Removed
    }

    /// Whether it hands over what it has.
    pub fn is_draining(&self) -> bool {
        self.standing() == NodeStanding::Draining
    }
}

/// What lets one new node in, once.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct JoinToken {
    /// Of its secret, in hex: see [`crate::TokenText::digest`].
    #[prost(string, tag = "1")]
    pub digest: String,
    /// The wall clock of the node that made it.
    #[prost(uint64, tag = "2")]
    pub created_unix_ms: u64,
    /// From when on it lets nobody in, by the wall clock of the node that is asked.
    #[prost(uint64, tag = "3")]
    pub expires_unix_ms: u64,
    /// The node that it has let in; 0: none yet.
    #[prost(uint64, tag = "4")]
    pub node: u64,
}

/// What belongs to the cluster as a whole.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct ClusterRow {
    /// The cluster's own time: monotonic, agreed, without meaning outside.
    #[prost(uint64, tag = "1")]
    pub cluster_ms: u64,
    /// The least of all nodes': later commands and fields are not written.
    #[prost(uint32, tag = "2")]
    pub feature_level: u32,
    /// Raised with each key that is revoked and each quota that is set, so that
    /// what was proposed before comes too late.
    #[prost(uint64, tag = "10")]
    pub access_epoch: u64,
    /// How many voters are wanted; 0 where nobody has said.
    #[prost(uint32, tag = "50")]
    pub voters_wanted: u32,
    /// The highest id that a token has given.
    #[prost(uint64, tag = "51")]
    pub last_node: u64,
    /// How many engines were ever given an id.
    #[prost(uint64, tag = "65")]
    pub engines_made: u64,
}
