//! A disk without which the cluster was recovered, and which knows of committed entries
//! that the recovered one lacks: what the others have in their places contradicts its
//! table. It can't follow, and must not drop them unasked, as films were made of them.

use std::sync::{Arc, OnceLock};

use crate::{error::ConsensusError, types::LogId, wire::position};

/// Says that it is so, once it is known. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct LeftOut(Arc<OnceLock<String>>);

impl LeftOut {
    /// The refusal that the node ends with, if it is left out.
    pub fn refusal(&self) -> Option<ConsensusError> {
        let cause = self.0.get().cloned()?;
        Some(ConsensusError::LeftOut { cause })
    }

    /// Refuses what comes from another history than this disk's, which knows all up to
    /// `known` to be committed: no leader that was elected has an entry of a later term
    /// in the place of one that is committed, or before it.
    pub fn check<'a>(
        &self,
        known: Option<LogId>,
        named: impl IntoIterator<Item = &'a LogId>,
    ) -> Result<(), String> {
        let Some(known) = known.as_ref().map(position) else {
            return Ok(());
        };
        let mut named = named.into_iter().map(position);
        let Some(other) = named.find(|it| it.index <= known.index && it.term > known.term) else {
            return Ok(());
        };
        let cause = format!(
            "the cluster's entry {} is of term {}, and this disk knows all up to {} to be \
             committed in term {}",
            other.index, other.term, known.index, known.term
        );
        Err(self.0.get_or_init(|| cause).clone())
    }
}
