//! What the row of a folded job still says of its tasks.

use crate::engine_rows::EngineShare;

/// The tasks of a folded job, counted.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Summary {
    /// One for each kind that the job had tasks of, in the order of kinds.
    #[prost(message, repeated, tag = "1")]
    pub kinds: Vec<KindSummary>,
    /// How many nodes had a latest attempt.
    #[prost(uint32, tag = "2")]
    pub nodes: u32,
    /// What engines made of it, as far as there is room.
    #[prost(message, repeated, tag = "85")]
    pub engines: Vec<EngineShare>,
}

/// The tasks of one kind, counted.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct KindSummary {
    /// As in the rows of tasks.
    #[prost(int32, tag = "1")]
    pub kind: i32,
    #[prost(uint32, tag = "2")]
    pub total: u32,
    #[prost(uint32, tag = "3")]
    pub done: u32,
    /// Attempts at all of them.
    #[prost(uint64, tag = "4")]
    pub attempts: u64,
    /// Frames of those that are done.
    #[prost(uint64, tag = "5")]
    pub frames: u64,
    /// The size of the results.
    #[prost(uint64, tag = "6")]
    pub bytes_out: u64,
}
