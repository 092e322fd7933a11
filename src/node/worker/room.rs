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
    node::{cramped::Cramped, joined_ahead::JoinedAhead, messages::Failed},
};

/// The kind of a refusal for want of room.
const DISK_FULL: &str = "disk-full";

/// What an assembly needs of a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Needs {
    /// What it writes before its film is kept: pictures are joined in one file, and muxed
    /// with all else into another.
    work_bytes: u64,
    /// About what is kept of that.
    kept_bytes: u64,
}

impl Needs {
    fn of(entry: &JobEntry, is_joined: impl Fn(u32) -> bool) -> Self {
        let mut needs = Needs {
            work_bytes: 0,
            kept_bytes: 0,
        };
        for task in entry.parts() {
            let joins = task.kind() == TaskKind::Shard && !is_joined(task.number);
            let writes = task.bytes_out.saturating_mul(if joins { 2 } else { 1 });
            needs.work_bytes = needs.work_bytes.saturating_add(writes);
            needs.kept_bytes = needs.kept_bytes.saturating_add(task.bytes_out);
        }
        needs
    }
}

/// The disk that an assembly needs room on.
pub struct Room<'a> {
    pub store: &'a BlobStore,
    pub cramped: &'a Cramped,
    pub cancel: &'a Cancel,
}

impl Room<'_> {
    /// Waits for room to assemble a film, a while: that it lacks is nobody's fault, and
    /// no reason for a job to fail. Meanwhile this node says that it is full, so that
    /// another home takes its place where there is one.
    ///
    /// # Errors
    /// `disk-full`, as something to wait for; and what the disk refuses.
    pub async fn await_for(
        &self,
        entry: &JobEntry,
        joined: Option<&JoinedAhead>,
    ) -> Result<(), Failed> {
        let needs = Needs::of(entry, |number| {
            joined.is_some_and(|joined| joined.has(number))
        });
        self.wait(needs, (ROOM_PATIENCE, ROOM_LOOK_EVERY)).await
    }

    async fn wait(
        &self,
        needs: Needs,
        (patience, look_every): (Duration, Duration),
    ) -> Result<(), Failed> {
        let begun = Instant::now();
        let mut waits = None;
        loop {
            let room = self
                .store
                .check_work_room(needs.work_bytes, needs.kept_bytes);
            let Err(error) = room else {
                return Ok(());
            };
            let full = matches!(error, BlobError::DiskFull { .. });
            let problem = DataError::from(error).problem();
            if !full {
                return Err(Failed::new(FailureClass::NodeFault, problem));
            }
            if waits.is_none() {
                warn!(%problem, "an assembly waits for room");
            }
            waits.get_or_insert_with(|| self.cramped.enter());
            if begun.elapsed() >= patience || self.cancel.is_cancelled() {
                return Err(Failed::new(FailureClass::OutOfReach, problem));
            }
            tokio::select! {
                () = sleep(look_every) => {}
                () = self.cancel.cancelled() => {}
            }
        }
    }
}

/// An assembly whose room others took meanwhile has not failed either; it is tried again
/// after a pause.
pub async fn after_full(failed: Failed, cramped: &Cramped, cancel: &Cancel) -> Failed {
    if failed.problem.kind != DISK_FULL || failed.class == FailureClass::OutOfReach {
        return failed;
    }
    let _waits = cramped.enter();
    tokio::select! {
        () = sleep(ROOM_LOOK_EVERY) => {}
        () = cancel.cancelled() => {}
    }
    Failed {
        class: FailureClass::OutOfReach,
        ..failed
    }
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

    use reelraft_model::{Job, Problem, Task};
    use reelraft_storage::blobs::{Space, SpaceProbe};

    use super::*;

    const GIB: u64 = 1 << 30;

    /// Two shards and a track of 100 GiB each.
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
                bytes_out: 100 * GIB,
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

    /// A disk of 10,000 GiB.
    fn disk(folder: &tempfile::TempDir, free: &Arc<AtomicU64>) -> BlobStore {
        let free = free.clone();
        let probe: SpaceProbe = Arc::new(move |_| {
            Ok(Space {
                free_bytes: free.load(Ordering::SeqCst),
                total_bytes: 10_000 * GIB,
            })
        });
        BlobStore::open_with(folder.path(), probe).unwrap()
    }

    #[test]
    fn what_is_joined_is_not_joined_again() {
        let work = |is_joined: fn(u32) -> bool| {
            let needs = Needs::of(&entry(), is_joined);
            assert_eq!(needs.kept_bytes, 300 * GIB);
            needs.work_bytes / GIB
        };
        assert_eq!(work(|_| false), 500);
        assert_eq!(work(|number| number == 0), 400);
        assert_eq!(work(|_| true), 300);
    }

    #[tokio::test]
    async fn an_assembly_waits_for_room_and_blames_nobody() {
        let folder = tempfile::tempdir().unwrap();
        let free = Arc::new(AtomicU64::new(799 * GIB));
        let (store, cancel, cramped) = (disk(&folder, &free), Cancel::new(), Cramped::default());
        let room = Room {
            store: &store,
            cramped: &cramped,
            cancel: &cancel,
        };
        let needs = Needs::of(&entry(), |_| false);
        let soon = Duration::from_millis(5);
        let refused = room.wait(needs, (soon, soon)).await.unwrap_err();
        assert_eq!(refused.class, FailureClass::OutOfReach);
        assert_eq!(refused.problem.kind, DISK_FULL);
        assert!(!cramped.any(), "it waits no more");
        let freed = async {
            sleep(2 * soon).await;
            assert!(cramped.any(), "the node says that it is full");
            free.store(800 * GIB, Ordering::SeqCst);
        };
        let (came, ()) = tokio::join!(room.wait(needs, (Duration::MAX, soon)), freed);
        came.unwrap();
        assert!(!cramped.any());
        free.store(799 * GIB, Ordering::SeqCst);
        cancel.cancel();
        let ended = room.wait(needs, (Duration::MAX, Duration::MAX)).await;
        assert_eq!(ended.unwrap_err().problem.kind, DISK_FULL);
    }

    #[tokio::test]
    async fn room_that_was_taken_meanwhile_is_no_fault_either() {
        let (cramped, cancel) = (Cramped::default(), Cancel::new());
        cancel.cancel();
        let class = async |kind: &str| {
            let problem = Problem::new(kind, "", "");
            let failed = Failed::new(FailureClass::NodeFault, problem);
            after_full(failed, &cramped, &cancel).await.class
        };
        assert_eq!(class(DISK_FULL).await, FailureClass::OutOfReach);
        assert_eq!(class("disk-error").await, FailureClass::NodeFault);
    }

    #[test]
    fn what_runs_ends_where_the_disk_is_full_to_the_last() {
        let folder = tempfile::tempdir().unwrap();
        let free = Arc::new(AtomicU64::new(125 * GIB));
        let store = disk(&folder, &free);
        let (key, cancel) = (AttemptKey::default(), Cancel::new());
        spare_disk(&store, [(&key, &cancel)]);
        assert!(!cancel.is_cancelled());
        free.store(124 * GIB, Ordering::SeqCst);
        spare_disk(&store, []);
        spare_disk(&store, [(&key, &cancel)]);
        assert!(cancel.is_cancelled());
    }
}
