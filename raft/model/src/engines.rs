//! Engines: programs that encode shards and are no members. They keep nothing, have
//! no vote, and are not trusted: what one makes is checked, and some of it is made
//! again by a member before it counts.
//!
//! A row is a permit: a name, and what is kept of a token. That an engine lives,
//! what it can do and what it runs stays out of the log.

use std::{collections::BTreeMap, sync::Arc};

use crate::{
    engine_rows::{Claim, ENGINE_ID_MIN, Engine, EngineShare, engine_number, is_engine},
    job_entry::JobEntry,
    limits::{ENGINE_SECRET_BYTES, ENGINE_SHARES_MAX},
    rows::{Job, JobState, Problem, Task, TaskKind, TaskState},
    state::State,
};

/// What the text of every engine's token begins with.
pub const ENGINE_TOKEN_PREFIX: &str = "rre_";

/// Keeps a digest of an engine's secret from being of use anywhere else.
const DIGEST_CONTEXT: &str = "reelraft 2026-11 digest of an engine token's secret";

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
        let several = !self.single && self.shards_total > 1;
        self.state() == JobState::Encoding && several && !self.spec.aims_or_measures()
    }
}

impl Task {
    /// Whether an engine may make it: a shard that no engine has failed at, and of
    /// which none gave a result that is still to be confirmed.
    pub(crate) fn takes_engines(&self) -> bool {
        let failed = self.failures.iter().any(|failure| {
            let class = failure.class();
            let unfit = failure.problem.kind == Problem::NOT_FOR_ENGINES;
            is_engine(failure.node) && (class.is_blamed() || unfit)
        });
        self.kind() == TaskKind::Shard && self.claim.is_none() && self.hash.is_empty() && !failed
    }

    /// Whether it rests on the word of an engine alone.
    pub fn is_by_engine(&self) -> bool {
        is_engine(self.node) && self.taken_from.is_empty()
    }

    /// Which engine made it, once it is done; one shard, which a member may have made as
    /// well. It is the same whoever asks, as long as the job's parts stay.
    pub fn made_by_engine(&self) -> Option<EngineShare> {
        if self.state() != TaskState::Done {
            return None;
        }
        let confirmed = self.claim.as_ref().filter(|claim| claim.confirmed);
        let engine = match confirmed {
            Some(claim) => claim.engine,
            None => Some(self.node).filter(|_| self.is_by_engine())?,
        };
        Some(EngineShare {
            number: engine_number(engine),
            name: self.engine_name.clone(),
            shards: 1,
            checked: confirmed.is_some().into(),
        })
    }

    /// What an engine gave that no member has made yet.
    pub fn open_claim(&self) -> Option<&Claim> {
        self.claim.as_ref().filter(|claim| !claim.confirmed)
    }
}

impl JobEntry {
    /// What engines made of it so far, those with most shards first.
    pub fn made_by_engines(&self) -> Vec<EngineShare> {
        let mut shares: BTreeMap<u64, EngineShare> = BTreeMap::new();
        for made in self.shards().filter_map(|task| task.made_by_engine()) {
            let share = shares.entry(made.number).or_insert_with(|| EngineShare {
                shards: 0,
                checked: 0,
                ..made.clone()
            });
            share.shards += made.shards;
            share.checked += made.checked;
        }
        let mut shares: Vec<EngineShare> = shares.into_values().collect();
        shares.sort_by_key(|share| std::cmp::Reverse(share.shards));
        shares.truncate(ENGINE_SHARES_MAX);
        shares
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
