//! When a node makes its next snapshot: as soon as the log since the last one
//! has outgrown it. A large table is so written seldom, and a long log is never
//! left to be read.

use crate::limits::{
    SNAPSHOT_LOG_BYTES_MAX, SNAPSHOT_LOG_BYTES_MIN, SNAPSHOT_LOG_RATIO, SNAPSHOT_SPREAD_PERCENT,
};

/// A limit as one node takes it: a little higher than another's, so that they
/// are not all reached at the same entry.
pub fn spread(node: u64, limit: u64) -> u64 {
    // The factor has no divisor in common with the range, so that neighbours
    // are far apart.
    let percent = node.wrapping_mul(37) % SNAPSHOT_SPREAD_PERCENT;
    limit.saturating_add(limit / 100 * percent)
}

/// What one node has written since its last snapshot.
#[derive(Debug)]
pub struct SnapshotPace {
    node: u64,
    /// The last snapshot's place in the log.
    last: Option<u64>,
    /// Bytes of the log that had been applied when it was first seen.
    bytes_then: u64,
    /// Whether the next one was asked for.
    asked: bool,
}

impl SnapshotPace {
    /// Nothing is known yet of what a former process wrote.
    pub fn new(node: u64) -> Self {
        SnapshotPace {
            node,
            last: None,
            bytes_then: 0,
            asked: false,
        }
    }

    /// Whether to ask for a snapshot now. `last` is the place of the newest one,
    /// `snapshot_bytes` its size, and `applied_bytes` grows with each entry.
    pub fn is_due(&mut self, last: Option<u64>, snapshot_bytes: u64, applied_bytes: u64) -> bool {
        if self.last != last {
            self.last = last;
            self.bytes_then = applied_bytes;
            self.asked = false;
        }
        let wanted = snapshot_bytes.saturating_mul(SNAPSHOT_LOG_RATIO);
        let wanted = wanted.clamp(SNAPSHOT_LOG_BYTES_MIN, SNAPSHOT_LOG_BYTES_MAX);
        let due = applied_bytes - self.bytes_then >= spread(self.node, wanted);
        due && !std::mem::replace(&mut self.asked, true)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const MIB: u64 = 1 << 20;

    /// At which of these lengths of the log a node asks for a snapshot.
    fn first_due(node: u64, snapshot_bytes: u64) -> u64 {
        let mut pace = SnapshotPace::new(node);
        assert!(!pace.is_due(Some(7), snapshot_bytes, 0));
        let mut lengths = (0..).map(|step| step * MIB / 8);
        let found = lengths.find(|&bytes| pace.is_due(Some(7), snapshot_bytes, bytes));
        found.unwrap_or(0)
    }

    #[test]
    fn a_large_table_is_written_after_as_long_a_log() {
        assert!(first_due(1, 0) >= SNAPSHOT_LOG_BYTES_MIN);
        assert!(first_due(1, 10 * MIB) >= 20 * MIB);
        assert!(first_due(1, 10 * MIB) <= 30 * MIB);
        let longest = SNAPSHOT_LOG_BYTES_MAX * (100 + SNAPSHOT_SPREAD_PERCENT) / 100;
        assert!(first_due(1, 10 << 30) <= longest);
    }

    #[test]
    fn nodes_do_not_write_together() {
        let due: BTreeSet<u64> = (1..=7).map(|node| first_due(node, 10 * MIB)).collect();
        assert_eq!(due.len(), 7, "{due:?}");
    }

    #[test]
    fn each_is_asked_for_once_and_counts_anew() {
        let mut pace = SnapshotPace::new(1);
        assert!(!pace.is_due(None, 0, 0));
        assert!(pace.is_due(None, 0, 10 * MIB));
        assert!(!pace.is_due(None, 0, 90 * MIB), "it is being written");
        assert!(!pace.is_due(Some(9), MIB, 91 * MIB));
        assert!(pace.is_due(Some(9), MIB, 101 * MIB));
    }
}
