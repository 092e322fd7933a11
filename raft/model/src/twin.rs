//! Twins: a second attempt at a shard whose end is far off, when nodes are free. The
//! first valid result is taken, and the other attempt ends.

/// The other attempt at a shard, beside the one that its row names.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Twin {
    #[prost(uint32, tag = "1")]
    pub attempt: u32,
    #[prost(uint64, tag = "2")]
    pub node: u64,
    /// Wall clock of its assignment, for display only.
    #[prost(uint64, tag = "3")]
    pub started_unix_ms: u64,
    /// Whether it runs no more: it failed, or the other was done first. Its number is
    /// not given again, and what it gives after all must be the same.
    #[prost(bool, tag = "4")]
    pub over: bool,
}
