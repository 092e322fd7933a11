//! A cluster of one node that begins with a table which is there already: its log
//! counts as applied and purged up to an index, as after a snapshot that it was sent.

use reelraft_storage::{Identity, LogPosition, Restoring, Row, SnapshotHead};

use crate::{
    alone::alone,
    error::ConsensusError,
    types::StoredMembership,
    wire::{log_id, membership_to_disk},
};

/// Makes a folder that of the only voter of a new cluster, whose table has these rows.
///
/// # Errors
/// [`ConsensusError::Storage`].
pub fn plant(
    folder: Restoring,
    (cluster_id, node): (&str, u64),
    index: u64,
    rows: impl IntoIterator<Item = Row>,
) -> Result<Identity, ConsensusError> {
    let last = LogPosition {
        term: 1,
        node,
        index,
    };
    let alone = alone(node)?;
    let head = SnapshotHead {
        last: Some(last),
        membership: membership_to_disk(&StoredMembership::new(Some(log_id(last)), alone)),
    };
    Ok(folder.finish((cluster_id, node), &head, rows)?)
}
