//! A shard that an engine encodes: what it is given, what it may take, and what the
//! proof says of it.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use reelraft_media::{BytesServed, Index, Input, MadeByEngine};
use reelraft_model::{AttemptKey, JobEntry, ShardRange, spec::Spec};

use crate::{
    data::Source,
    limits::ROOM_BYTES_MIN,
    node::{
        context::NodeContext,
        engines::{Budget, EngineMachine},
    },
};

/// An attempt of an engine.
pub(super) struct EngineShard<'a> {
    pub context: &'a Arc<NodeContext>,
    pub engine: u64,
    pub key: &'a AttemptKey,
    pub index: &'a Index,
    pub spec: &'a Spec,
    pub range: ShardRange,
}

impl EngineShard<'_> {
    /// The source as the engine reads it, which runs ffmpeg in this node's place. `read`
    /// counts the bytes.
    pub fn input(&self, source: &Source, read: &Arc<AtomicU64>) -> Input {
        let counter = read.clone();
        Input::Elsewhere {
            machine: Arc::new(EngineMachine {
                here: self.context.engines.clone(),
                engine: self.engine,
                key: self.key.clone(),
                source: source.clone(),
                source_bytes: self.index.source_bytes(),
                budget: Arc::new(self.budget()),
                served: read.clone(),
            }),
            served: BytesServed::new(move || counter.load(Ordering::Relaxed)),
        }
    }

    fn budget(&self) -> Budget {
        let store = self.context.data.store().clone();
        Budget {
            source_bytes_max: self.index.source_bytes_max(self.spec, self.range),
            output_bytes_max: self.index.encoded_bytes_max(self.range.frames),
            frames: self.range.frames,
            files: self.context.engines.files_of(self.engine),
            has_room: Arc::new(move || store.check_room(ROOM_BYTES_MIN).is_ok()),
            read: Mutex::default(),
        }
    }
}

/// Which engines made which shards, by the table that all homes see.
pub(super) fn made_by_engines(entry: &JobEntry) -> BTreeMap<u32, MadeByEngine> {
    let shards = entry.shards();
    let made = shards.filter_map(|task| Some((task.number, task.made_by_engine()?)));
    let made = made.map(|(shard, share)| {
        let made = MadeByEngine {
            number: share.number,
            name: share.name,
            checked: share.checked > 0,
        };
        (shard, made)
    });
    made.collect()
}
