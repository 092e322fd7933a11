//! Engines: programs that encode shards and are no members. They keep nothing, have
//! no vote, and are not trusted: what one makes is checked, and some of it is made
//! again by a member before it counts.
//!
//! A row is a permit: a name, and what is kept of a token. That an engine lives,
//! what it can do and what it runs stays out of the log.

use std::sync::Arc;

use prost::Message;
use rpds::RedBlackTreeMapSync as Map;

use crate::{
    limits::ENGINE_SECRET_BYTES,
    rows::{Job, JobState, Task, TaskKind},
    state::State,
};

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

/// What the text of every engine's token begins with.
pub const ENGINE_TOKEN_PREFIX: &str = "rre_";

/// Keeps a digest of an engine's secret from being of use anywhere else.
const DIGEST_CONTEXT: &str = "reelraft 2026-11 digest of an engine token's secret";

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

/// An engine's token as its holder has it: `rre_NUMBER_SECRET`, shown once.
#[derive(Clone, PartialEq, Eq)]
pub struct EngineText {
    pub id: u64,
    secret: [u8; ENGINE_SECRET_BYTES],
}

impl std::fmt::Debug for EngineText {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "EngineText({})", engine_number(self.id))
    }
}

impl EngineText {
    /// The token of an engine with this id.
    pub fn new(id: u64, secret: [u8; ENGINE_SECRET_BYTES]) -> Self {
        EngineText { id, secret }
    }

    /// Reads a token's text; `None` for what is none.
    pub fn parse(text: &str) -> Option<Self> {
        let (number, secret) = text.strip_prefix(ENGINE_TOKEN_PREFIX)?.split_once('_')?;
        let id = ENGINE_ID_MIN.checked_add(number.parse().ok()?)?;
        let secret = *blake3::Hash::from_hex(secret).ok()?.as_bytes();
        let token = EngineText { id, secret };
        // Of one token there is one text.
        (token.reveal() == text).then_some(token)
    }

    /// Whether this is the token of a row. Takes the same time whatever differs.
    pub fn opens(&self, engine: &Engine) -> bool {
        let known = <[u8; blake3::OUT_LEN]>::try_from(engine.digest.as_slice());
        let given = blake3::Hash::from(digest_of(&self.secret));
        known.is_ok_and(|known| given == blake3::Hash::from(known))
    }

    /// The text, to be shown to its holder and to nobody else.
    pub fn reveal(&self) -> String {
        let secret = blake3::Hash::from(self.secret).to_hex();
        format!("{ENGINE_TOKEN_PREFIX}{}_{secret}", engine_number(self.id))
    }
}

/// What the table keeps of an engine's secret.
pub fn engine_digest(secret: &[u8; ENGINE_SECRET_BYTES]) -> Vec<u8> {
    digest_of(secret).to_vec()
}

fn digest_of(secret: &[u8; ENGINE_SECRET_BYTES]) -> [u8; blake3::OUT_LEN] {
    blake3::derive_key(DIGEST_CONTEXT, secret)
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

impl State {
    /// An engine's row.
    pub fn engine(&self, id: u64) -> Option<&Arc<Engine>> {
        self.engines.get(id)
    }

    /// All engines, by id.
    pub fn engines(&self) -> impl ExactSizeIterator<Item = &Arc<Engine>> {
        self.engines.all()
    }

    /// Whether an engine may be given work, and its results may count.
    pub fn takes_engine(&self, id: u64) -> bool {
        let engine = self.engines.get(id);
        engine.is_some_and(|engine| engine.quarantine.is_none())
    }
}

impl Claim {
    /// What an engine gave for a task that is done, to be compared.
    pub(crate) fn unconfirmed(task: &Task) -> Self {
        Claim {
            engine: task.node,
            hash: task.hash.clone(),
            confirmed: false,
        }
    }
}

impl Job {
    /// Whether engines may make shards of it. What decides over other shards, or is
    /// compared with the source, is made by members: a wrong number would change what
    /// is made of the others. So is a film of one shard: there is nothing to compare.
    pub(crate) fn takes_engines(&self) -> bool {
        self.state() == JobState::Encoding && !self.single && !self.spec.aims_or_measures()
    }
}

impl Task {
    /// Whether an engine may make it: a shard that no engine has failed at, and of
    /// which none gave a result that is still to be confirmed.
    pub(crate) fn takes_engines(&self) -> bool {
        let failed = self.failures.iter().any(|failure| {
            let class = failure.class();
            is_engine(failure.node) && class.is_blamed()
        });
        self.kind() == TaskKind::Shard && self.claim.is_none() && self.hash.is_empty() && !failed
    }

    /// Whether it rests on the word of an engine alone.
    pub fn is_by_engine(&self) -> bool {
        is_engine(self.node)
    }

    /// What an engine gave that no member has made yet.
    pub fn open_claim(&self) -> Option<&Claim> {
        self.claim.as_ref().filter(|claim| !claim.confirmed)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_token_has_one_text_and_opens_its_own_row_alone() {
        let text = EngineText::new(ENGINE_ID_MIN + 7, [9; ENGINE_SECRET_BYTES]);
        let shown = text.reveal();
        assert_eq!(shown, format!("rre_7_{}", "09".repeat(32)));
        assert_eq!(EngineText::parse(&shown), Some(text.clone()));
        assert!(!format!("{text:?}").contains("09"));
        let row = Engine {
            id: text.id,
            digest: engine_digest(&[9; ENGINE_SECRET_BYTES]),
            ..Default::default()
        };
        assert!(text.opens(&row));
        assert!(!EngineText::new(text.id, [8; ENGINE_SECRET_BYTES]).opens(&row));
        assert!(!text.opens(&Engine::default()));
        for other in [
            "",
            "rre_7_",
            &shown[1..],
            &shown.replace("_7_", "_07_"),
            &shown.replace("_7_", "_-7_"),
            &shown.replace("_7_", "_18446744073709551615_"),
            &shown.to_uppercase(),
        ] {
            assert_eq!(EngineText::parse(other), None, "{other}");
        }
    }
}
