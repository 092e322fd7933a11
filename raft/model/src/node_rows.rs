//! Rows that belong to no job: the nodes, and the cluster as a whole.

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
}
