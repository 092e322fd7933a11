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
