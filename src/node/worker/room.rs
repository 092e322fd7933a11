//! What work takes of this disk beside what is put: encoders and assemblies write to it
//! without asking, and must leave the log its room.

use std::time::Duration;

use reelraft_media::Cancel;
use reelraft_model::{AttemptKey, FailureClass, JobEntry, TaskKind};
use reelraft_storage::blobs::{BlobError, BlobStore};
use tokio::time::{Instant, sleep};
use tracing::warn;

use crate::{
    data::DataError,
    limits::{ROOM_LOOK_EVERY, ROOM_PATIENCE},
    node::{joined_ahead::JoinedAhead, messages::Failed},
};

/// Waits for room to assemble a film, a while: that it lacks is nobody's fault, and no
/// reason for a job to fail.
///
/// # Errors
/// `disk-full`, as something to wait for; and what the disk refuses.
pub async fn await_room(
    store: &BlobStore,
    entry: &JobEntry,
    joined: Option<&JoinedAhead>,
    cancel: &Cancel,
) -> Result<(), Failed> {
    let wanted = assembly_bytes(entry, |number| {
        joined.is_some_and(|joined| joined.has(number))
    });
    let patience = (ROOM_PATIENCE, ROOM_LOOK_EVERY);
    wait_for(store, wanted, cancel, patience).await
}

async fn wait_for(
    store: &BlobStore,
    wanted: u64,
    cancel: &Cancel,
    (patience, look_every): (Duration, Duration),
) -> Result<(), Failed> {
    let begun = Instant::now();
    loop {
        let Err(error) = store.check_work_room(wanted) else {
            return Ok(());
        };
        let full = matches!(error, BlobError::DiskFull { .. });
        let problem = DataError::from(error).problem();
        if !full {
            return Err(Failed::new(FailureClass::NodeFault, problem));
        }
        if begun.elapsed() >= patience || cancel.is_cancelled() {
            return Err(Failed::new(FailureClass::OutOfReach, problem));
        }
        warn!(%problem, "an assembly waits for room");
        tokio::select! {
            () = sleep(look_every) => {}
            () = cancel.cancelled() => {}
        }
    }
}

/// What an assembly writes before its film is kept: pictures are joined in one file, and
/// muxed with all else into another.
fn assembly_bytes(entry: &JobEntry, is_joined: impl Fn(u32) -> bool) -> u64 {
    let bytes = entry.parts().map(|task| {
        let joins = task.kind() == TaskKind::Shard && !is_joined(task.number);
        task.bytes_out.saturating_mul(if joins { 2 } else { 1 })
    });
    bytes.sum()
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    };

    use reelraft_model::{Job, Task};
    use reelraft_storage::blobs::{Space, SpaceProbe};

    use super::*;

    /// Two shards and a track of 100 bytes each.
    fn entry() -> JobEntry {
        let parts = [
            (TaskKind::Shard, 0),
            (TaskKind::Shard, 1),
            (TaskKind::Audio, 0),
        ];
        let task = |(kind, number): (TaskKind, u32)| {
            let task = Task {
                kind: kind.into(),
                number,
                bytes_out: 100,
                ..Default::default()
            };
            (task.key(), Arc::new(task))
        };
        JobEntry {
            job: Job::default(),
            tasks: parts.map(task).into_iter().collect(),
            pending: Default::default(),
            running: Default::default(),
            failed: Default::default(),
            fresh: Default::default(),
            counts: Default::default(),
        }
    }

    /// A disk of 10,000 bytes.
    fn disk(folder: &tempfile::TempDir, free: &Arc<AtomicU64>) -> BlobStore {
        let free = free.clone();
        let probe: SpaceProbe = Arc::new(move |_| {
            Ok(Space {
                free_bytes: free.load(Ordering::SeqCst),
                total_bytes: 10_000,
            })
        });
        BlobStore::open_with(folder.path(), probe).unwrap()
    }

    #[test]
    fn what_is_joined_is_not_joined_again() {
        assert_eq!(assembly_bytes(&entry(), |_| false), 500);
        assert_eq!(assembly_bytes(&entry(), |number| number == 0), 400);
        assert_eq!(assembly_bytes(&entry(), |_| true), 300);
    }

    #[tokio::test]
    async fn an_assembly_waits_for_room_and_blames_nobody() {
        let folder = tempfile::tempdir().unwrap();
        let free = Arc::new(AtomicU64::new(600));
        let (store, cancel) = (disk(&folder, &free), Cancel::new());
        let soon = Duration::from_millis(5);
        let refused = wait_for(&store, 500, &cancel, (soon, soon)).await;
        let refused = refused.unwrap_err();
        assert_eq!(refused.class, FailureClass::OutOfReach);
        assert_eq!(refused.problem.kind, "disk-full");
        let waits = wait_for(&store, 500, &cancel, (Duration::MAX, soon));
        let freed = async {
            sleep(2 * soon).await;
            free.store(625, Ordering::SeqCst);
        };
        let (came, ()) = tokio::join!(waits, freed);
        came.unwrap();
        free.store(600, Ordering::SeqCst);
        cancel.cancel();
        let ended = wait_for(&store, 500, &cancel, (Duration::MAX, Duration::MAX)).await;
        assert_eq!(ended.unwrap_err().problem.kind, "disk-full");
    }

    #[test]
    fn what_runs_ends_where_the_disk_is_full_to_the_last() {
        let folder = tempfile::tempdir().unwrap();
        let free = Arc::new(AtomicU64::new(125));
        let store = disk(&folder, &free);
        let (key, cancel) = (AttemptKey::default(), Cancel::new());
        spare_disk(&store, [(&key, &cancel)]);
        assert!(!cancel.is_cancelled());
        free.store(124, Ordering::SeqCst);
        spare_disk(&store, []);
        spare_disk(&store, [(&key, &cancel)]);
        assert!(cancel.is_cancelled());
    }
}
