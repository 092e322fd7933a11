//! What one shard encodes.

/// A range of frames, as the analysis planned it: what one shard encodes.
/// Times are in the source's time base. Analyses keep it with serde, under these
/// names.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message, serde::Serialize, serde::Deserialize)]
pub struct ShardRange {
    /// The first frame's time.
    #[prost(sint64, tag = "1")]
    pub from_pts: i64,
    /// The first time after the range.
    #[prost(sint64, tag = "2")]
    pub to_pts: i64,
    /// How many frames the packets promise.
    #[prost(uint64, tag = "3")]
    pub frames: u64,
}
