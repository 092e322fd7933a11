//! Whether all replicas have the same table: the leader names an index, all say
//! the hash of their table there, and what most voters have is right. It decides
//! nothing for others: a replica that has something else stops by itself.

use std::collections::{BTreeMap, BTreeSet};

use tokio::time::Instant;
use tracing::error;

use crate::{limits::COMPARE_EVERY, node::messages::TablePoint};

/// What the tables' hashes at one index say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Judgement {
    /// All that were heard are the same.
    Same,
    /// Some differ from what most voters have.
    Majority(String),
    /// Some differ, and none is that of most voters.
    Undecided,
}

/// Judges the hashes that nodes gave at one index.
pub fn judge(hashes: &BTreeMap<u64, String>, voters: &BTreeSet<u64>) -> Judgement {
    let different: BTreeSet<&String> = hashes.values().collect();
    if different.len() < 2 {
        return Judgement::Same;
    }
    let votes = |hash: &String| {
        let given = hashes.iter().filter(|(_, other)| *other == hash);
        given.filter(|(node, _)| voters.contains(node)).count()
    };
    match different
        .into_iter()
        .find(|hash| 2 * votes(hash) > voters.len())
    {
        Some(hash) => Judgement::Majority(hash.clone()),
        None => Judgement::Undecided,
    }
}

/// The comparison that goes on in a term.
#[derive(Debug, Default)]
pub struct Comparison {
    /// The index that was named last, and when.
    named: Option<(Instant, u64)>,
    /// The index of which was said last that replicas differ.
    said: u64,
    /// The right table where some replica has another.
    pub majority: Option<TablePoint>,
}

impl Comparison {
    /// The index at which all are to say their hashes; 0 if there is none.
    /// `latest` is the newest at which this replica can be compared.
    pub fn index(&mut self, latest: Option<u64>) -> u64 {
        match (self.named, latest) {
            (Some((at, index)), _) if at.elapsed() < COMPARE_EVERY => index,
            (_, Some(latest)) => {
                self.named = Some((Instant::now(), latest));
                latest
            }
            (_, None) => 0,
        }
    }

    /// Takes what nodes said for the index that was named.
    pub fn hear(&mut self, hashes: &BTreeMap<u64, String>, voters: &BTreeSet<u64>) {
        let Some((_, index)) = self.named else {
            return;
        };
        let judgement = judge(hashes, voters);
        if judgement != Judgement::Same && self.said != index {
            self.said = index;
            error!(index, ?hashes, "replicas differ");
        }
        if let Judgement::Majority(hash) = judgement {
            self.majority = Some(TablePoint { index, hash });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(hashes: &[(u64, &str)], voters: &[u64]) -> Judgement {
        let hashes = hashes.iter().map(|(node, hash)| (*node, hash.to_string()));
        judge(&hashes.collect(), &voters.iter().copied().collect())
    }

    #[test]
    fn most_voters_are_right_and_without_them_nobody_is() {
        let right = Judgement::Majority("a".into());
        assert_eq!(judged(&[], &[1, 2, 3]), Judgement::Same);
        assert_eq!(judged(&[(1, "a"), (3, "a")], &[1, 2, 3]), Judgement::Same);
        let one_differs = [(1, "a"), (2, "b"), (3, "a")];
        assert_eq!(judged(&one_differs, &[1, 2, 3]), right);
        // The third voter is away, or two of two differ.
        let undecided = Judgement::Undecided;
        assert_eq!(judged(&[(1, "a"), (2, "b")], &[1, 2, 3]), undecided);
        assert_eq!(judged(&[(1, "a"), (2, "b")], &[1, 2]), undecided);
        let all_differ = [(1, "a"), (2, "b"), (3, "c")];
        assert_eq!(judged(&all_differ, &[1, 2, 3]), undecided);
        // Learners have no say, and may be wrong like others.
        let learners = [(1, "a"), (2, "a"), (4, "b"), (5, "b"), (6, "b")];
        assert_eq!(judged(&learners, &[1, 2, 3]), right);
    }
}
