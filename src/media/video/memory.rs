//! What the encoding of a shard takes of a machine's memory.

use reelraft_model::spec::Spec;

use crate::facts::index::Index;

impl Index {
    /// What the encoding of one of its shards takes at most, in MiB.
    pub fn shard_memory_mib(&self, _spec: &Spec) -> u32 {
        0
    }
}
