//! Going on with one node where most voters are lost for good. No election can end
//! there any more, so the node's disk is changed while nobody runs on it: its log gets
//! an entry after which it alone votes.
//!
//! What the others had acknowledged and this node's log lacks is lost. Nodes that come
//! back in spite of it must not go on with the old voters: the entry is of a term that
//! they can't reach by elections, so that they follow this node as soon as they hear
//! it. One that knows entries to be committed in whose places this node has others can't:
//! films were made of them. It ends, and says so ([`ConsensusError::LeftOut`]).

use std::{io, path::Path, sync::mpsc};

use openraft::{EntryPayload, entry::RaftEntry};
use reelraft_storage::{LogPosition, Storage, StorageError, Vote, known_identity};

use crate::{
    alone::alone,
    error::ConsensusError,
    limits::{RECOVERY_SYNC_TIME, RECOVERY_TERMS},
    types::Entry,
    wire::{entry_to_disk, log_id},
};

/// What a disk knows, for the choice of the one to go on with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Survivor {
    /// The cluster's id.
    pub cluster: String,
    /// Its node.
    pub node: u64,
    /// Term and index of the last entry of its log. The disk with the highest term,
    /// and of those the highest index, lacks least.
    pub last: (u64, u64),
}

/// Reads what a disk knows. Nothing is changed.
///
/// # Errors
/// [`ConsensusError::Storage`]: also where a node runs on it, or where it is nobody's.
pub fn survivor(data: &Path) -> Result<Survivor, ConsensusError> {
    Ok(describe(&open(data)?))
}

/// Has this disk's node vote alone from its next start on.
///
/// # Errors
/// As [`survivor`].
pub fn recover(data: &Path) -> Result<Survivor, ConsensusError> {
    let storage = open(data)?;
    let (node, last) = (storage.identity().node, last_of(&storage));
    let voted = storage.log.vote().map_or(0, |vote| vote.term);
    let term = voted.max(last.term).saturating_add(RECOVERY_TERMS);
    let vote = Vote {
        term,
        node,
        committed: false,
    };
    synced(|done| storage.log.save_vote(vote, done))?;
    let alone = alone(node)?;
    let at = LogPosition {
        term,
        node,
        index: last.index + 1,
    };
    let entry: Entry = Entry::new(log_id(at), EntryPayload::Membership(alone));
    synced(|done| storage.log.append([entry_to_disk(&entry)], done))?;
    Ok(describe(&storage))
}

fn open(data: &Path) -> Result<Storage, ConsensusError> {
    let identity = known_identity(data)?.ok_or_else(|| StorageError::DamagedIdentity {
        path: data.to_path_buf(),
        cause: "it is no node's".to_string(),
    })?;
    Ok(Storage::open(data, &identity.cluster_id, identity.node)?)
}

fn last_of(storage: &Storage) -> LogPosition {
    let bounds = storage.log.bounds();
    let last = bounds.last.max(bounds.purged);
    last.unwrap_or(LogPosition {
        term: 0,
        node: 0,
        index: 0,
    })
}

fn describe(storage: &Storage) -> Survivor {
    let last = last_of(storage);
    Survivor {
        cluster: storage.identity().cluster_id.clone(),
        node: storage.identity().node,
        last: (last.term, last.index),
    }
}

/// Waits until what was written is on the disk.
fn synced(
    write: impl FnOnce(Box<dyn FnOnce(io::Result<()>) + Send>) -> Result<(), StorageError>,
) -> Result<(), ConsensusError> {
    let (sender, receiver) = mpsc::channel();
    write(Box::new(move |result| {
        let _ = sender.send(result);
    }))?;
    let answer = receiver.recv_timeout(RECOVERY_SYNC_TIME);
    let stopped = |cause: String| ConsensusError::Stopped { cause };
    match answer {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(stopped(error.to_string())),
        Err(_) => Err(stopped("the disk did not sync in time".into())),
    }
}
