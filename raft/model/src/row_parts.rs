//! What rows of jobs and tasks are made of.

/// One node that keeps a job's bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, prost::Message)]
pub struct Home {
    #[prost(uint64, tag = "1")]
    pub node: u64,
    /// Whether it holds all that was acknowledged before it became a home; of
    /// a retiring one, before it began to retire.
    #[prost(bool, tag = "2")]
    pub filled: bool,
    /// Whether another node has taken its place and is not filled yet. Until
    /// then it is read from, takes no new bytes, and may take its place again.
    #[prost(bool, tag = "3")]
    pub retiring: bool,
    /// Whether it took its place again after it had begun to retire, and has
    /// not said yet that it has what was made meanwhile. Until then those that
    /// retire are kept.
    #[prost(bool, tag = "4")]
    pub returned: bool,
}

impl Home {
    /// Whether it takes new bytes, and may lack some of those before.
    pub fn is_unsure(&self) -> bool {
        !self.retiring && (!self.filled || self.returned)
    }
}

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
