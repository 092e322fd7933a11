//! The commands that keep the table small: what has ended is folded, what is
//! abandoned ends, and what is made is bounded.

/// Records that a home has written down the tasks of a finished job. With the
/// last of its homes, the tasks leave the table.
#[derive(Clone, PartialEq, prost::Message)]
pub struct KeepHistory {
    #[prost(string, tag = "1")]
    pub job: String,
    /// The epoch of the homes that are to have it.
    #[prost(uint64, tag = "2")]
    pub epoch: u64,
    #[prost(uint64, tag = "3")]
    pub node: u64,
    /// The blob's name: that of the rows as they are.
    #[prost(string, tag = "4")]
    pub history_hash: String,
}

/// Takes the tasks of a job that failed or was cancelled out of the table.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Fold {
    #[prost(string, tag = "1")]
    pub job: String,
}

/// Records that an upload makes progress, now and then.
#[derive(Clone, PartialEq, prost::Message)]
pub struct TouchUpload {
    #[prost(string, tag = "1")]
    pub job: String,
    /// The stamp that the proposer saw.
    #[prost(uint64, tag = "2")]
    pub touched_cluster_ms: u64,
}

/// Ends an upload that has been abandoned.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ExpireUpload {
    #[prost(string, tag = "1")]
    pub job: String,
    /// The stamp that the proposer saw.
    #[prost(uint64, tag = "2")]
    pub touched_cluster_ms: u64,
    /// The proposer's wall clock, for display only.
    #[prost(uint64, tag = "3")]
    pub unix_ms: u64,
}

/// How many jobs there may be when another is made.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct JobBounds {
    /// Of one tenant, those that have ended included, until they are deleted.
    #[prost(uint64, tag = "1")]
    pub jobs: u64,
    /// Of one tenant, those that still upload.
    #[prost(uint64, tag = "2")]
    pub uploading: u64,
    /// Of all tenants, deleted ones included while their requests are remembered.
    #[prost(uint64, tag = "3")]
    pub rows: u64,
}
