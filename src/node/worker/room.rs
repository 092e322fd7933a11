//! What work takes of this disk beside what is put: encoders and assemblies write to it
//! without asking, and must leave the log its room.

use reelraft_media::Cancel;
use reelraft_model::{AttemptKey, JobEntry, TaskKind};
use reelraft_storage::blobs::BlobStore;
use tracing::warn;

use crate::{data::DataError, node::joined_ahead::JoinedAhead};

/// Refuses an assembly that the disk has no room for: pictures are joined in one file,
/// and muxed with all else into another.
///
/// # Errors
/// `disk-full`.
pub fn check_assembly(
    store: &BlobStore,
    entry: &JobEntry,
    joined: Option<&JoinedAhead>,
) -> Result<(), DataError> {
    let bytes = entry.parts().map(|task| {
        let is_joined = joined.is_some_and(|joined| joined.has(task.number));
        let joins = task.kind() == TaskKind::Shard && !is_joined;
        task.bytes_out * if joins { 2 } else { 1 }
    });
    Ok(store.check_room(bytes.sum())?)
}

/// Ends what runs here where the disk is full to the last: the log, and with it whoever
/// would make room, needs what is left. Others go on with it, and nothing is begun here
/// until there is room.
pub fn spare_disk<'a>(
    store: &BlobStore,
    running: impl IntoIterator<Item = (&'a AttemptKey, &'a Cancel)>,
) {
    let mut running = running.into_iter().peekable();
    if running.peek().is_none() || !store.is_disk_nearly_full() {
        return;
    }
    for (key, cancel) in running {
        if !cancel.is_cancelled() {
            warn!(%key, "the disk is nearly full, stopping");
        }
        cancel.cancel();
    }
}
