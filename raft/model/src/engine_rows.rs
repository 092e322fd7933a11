//! The rows of engines, and the commands that write them. See `engines.rs`.

use std::sync::Arc;

use prost::Message;
use rpds::RedBlackTreeMapSync as Map;

/// The least id of an engine. Nodes count from 1, and both stand in the same fields;
/// a number in JSON is exact up to twice as much.
pub const ENGINE_ID_MIN: u64 = 1 << 52;

/// Whether an id is an engine's.
pub fn is_engine(id: u64) -> bool {
    id >= ENGINE_ID_MIN
}

/// An engine's number as people see it, from 1.
pub fn engine_number(id: u64) -> u64 {
    id.saturating_sub(ENGINE_ID_MIN)
}

/// Who runs or ran something, in words: `node 2` or `engine 1`.
pub fn worker_words(id: u64) -> String {
    match is_engine(id) {
        true => format!("engine {}", engine_number(id)),
        false => format!("node {id}"),
    }
}

/// An engine's row.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Engine {
    /// From [`ENGINE_ID_MIN`] on, and never given again.
    #[prost(uint64, tag = "1")]
    pub id: u64,
    /// No two engines have one name.
    #[prost(string, tag = "2")]
    pub name: String,
    /// Of its token's secret.
    #[prost(bytes = "vec", tag = "3")]
    pub digest: Vec<u8>,
    /// The creating node's wall clock, for display only.
    #[prost(uint64, tag = "4")]
    pub created_unix_ms: u64,
    /// Why it gets no work any more, if it gave a wrong result.
    #[prost(message, optional, tag = "5")]
    pub quarantine: Option<Quarantine>,
}

/// What an engine gave that was not what a member made of the same.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Quarantine {
    #[prost(string, tag = "1")]
    pub job: String,
    #[prost(uint32, tag = "2")]
    pub shard: u32,
    /// The hash of what it gave.
    #[prost(string, tag = "3")]
    pub gave: String,
    /// The hash of what the member made.
    #[prost(string, tag = "4")]
    pub right: String,
    /// That member.
    #[prost(uint64, tag = "5")]
    pub node: u64,
    /// Wall clock, for display only.
    #[prost(uint64, tag = "6")]
    pub unix_ms: u64,
}

/// What an engine gave for a shard that a member is to make as well.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Claim {
    #[prost(uint64, tag = "1")]
    pub engine: u64,
    #[prost(string, tag = "2")]
    pub hash: String,
    /// Whether a member has made the same.
    #[prost(bool, tag = "3")]
    pub confirmed: bool,
}

/// What an engine made of a job, or of one shard of it.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct EngineShare {
    /// As people see it.
    #[prost(uint64, tag = "1")]
    pub number: u64,
    /// As it was called then.
    #[prost(string, tag = "2")]
    pub name: String,
    #[prost(uint32, tag = "3")]
    pub shards: u32,
    /// Shards of these that a member has made as well, with the same hash.
    #[prost(uint32, tag = "4")]
    pub checked: u32,
}

/// Makes an engine's row. The id is given by `apply`.
#[derive(Clone, PartialEq, Message)]
pub struct CreateEngine {
    #[prost(message, required, tag = "1")]
    pub engine: Engine,
    /// How many there may be.
    #[prost(uint64, tag = "2")]
    pub engines_max: u64,
}

/// Ends an engine's token for good.
#[derive(Clone, PartialEq, Message)]
pub struct RevokeEngine {
    #[prost(uint64, tag = "1")]
    pub id: u64,
}

/// Engines by their ids.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Engines(Map<u64, Arc<Engine>>);

impl Engines {
    pub fn get(&self, id: u64) -> Option<&Arc<Engine>> {
        self.0.get(&id)
    }

    pub fn put(&mut self, engine: Engine) {
        self.0.insert_mut(engine.id, Arc::new(engine));
    }

    pub fn remove(&mut self, id: u64) {
        self.0.remove_mut(&id);
    }

    pub fn all(&self) -> impl ExactSizeIterator<Item = &Arc<Engine>> {
        self.0.values()
    }

    /// Their rows, by key.
    pub fn rows(&self) -> impl Iterator<Item = (Vec<u8>, Vec<u8>)> + '_ {
        let engines = self.0.values();
        engines.map(|it| (engine_key(it.id), it.encode_to_vec()))
    }
}

pub(crate) fn engine_key(id: u64) -> Vec<u8> {
    format!("e/{id:020}").into_bytes()
}
