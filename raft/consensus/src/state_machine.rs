//! The replica: the state in memory, its table on the disk and snapshots, as
//! openraft's state machine.
//!
//! Entries are applied to the memory first; readers, waiters and proposers
//! learn of it at once. The table follows: it is a view that may lag after a
//! crash, and is brought up from the log then. An entry that can't be decoded
//! stops the node: skipping it would let replicas differ.

use std::{
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex, MutexGuard, RwLock, RwLockReadGuard},
};

use futures::{Stream, StreamExt};
use openraft::{
    EntryPayload, OptionalSend, RaftSnapshotBuilder,
    entry::RaftEntry,
    storage::{EntryResponder, RaftStateMachine},
};
use reelraft_model::State;
use reelraft_storage::{Changes, SnapshotHead, Snapshots, StorageError, Table, TableHash};
use tokio::{sync::watch, task::spawn_blocking};

use crate::{
    error::ConsensusError,
    limits::APPLY_BATCH_ENTRIES,
    types::{LogId, Outcome, Snapshot, SnapshotData, SnapshotMeta, StoredMembership, TypeConfig},
    watchdog::{Operation, Watchdog},
    wire::{log_id, membership_from_disk, membership_to_disk, position},
};

/// The reading side of the replica. Clones share it.
#[derive(Clone, Debug)]
pub struct Replica {
    now: Arc<RwLock<Now>>,
    table: Arc<Mutex<Table>>,
    applied: watch::Sender<u64>,
}

/// The state and how far it is.
#[derive(Debug)]
struct Now {
    state: Arc<State>,
    applied: Option<LogId>,
    membership: StoredMembership,
}

/// The writing side; openraft owns the one that there is.
#[derive(Debug)]
pub struct StateMachine {
    replica: Replica,
    snapshots: Snapshots,
    newest: Newest,
    watchdog: Watchdog,
}

/// The newest snapshot, shared with the builders.
type Newest = Arc<Mutex<Option<SnapshotData>>>;

impl Replica {
    /// The state as it is now.
    pub fn state(&self) -> Arc<State> {
        self.now().state.clone()
    }

    /// The last applied entry.
    pub fn applied_id(&self) -> Option<LogId> {
        self.now().applied
    }

    /// The last applied index, changed on each apply.
    pub fn applied(&self) -> watch::Receiver<u64> {
        self.applied.subscribe()
    }

    /// The table's hash and the index that it stands for. Waits for a write
    /// under way.
    pub fn table_hash(&self) -> (Option<u64>, TableHash) {
        let table = lock(&self.table);
        let head = table.head();
        (head.applied.map(|at| at.index), head.hash)
    }

    /// Runs `held` while nothing can be written to the table.
    pub fn hold_table<T>(&self, held: impl FnOnce() -> T) -> T {
        let _table = lock(&self.table);
        held()
    }

    fn now(&self) -> RwLockReadGuard<'_, Now> {
        self.now.read().expect("applying catches its panics")
    }
}

impl StateMachine {
    /// Over an open table and its rows.
    ///
    /// # Errors
    /// [`ConsensusError::Model`] if the rows are no state.
    pub fn new(
        table: Table,
        rows: Vec<(Vec<u8>, Vec<u8>)>,
        snapshots: Snapshots,
        newest: Option<SnapshotData>,
        watchdog: Watchdog,
    ) -> Result<Self, ConsensusError> {
        let head = table.head();
        let applied = head.applied.map(log_id);
        let membership =
            membership_from_disk(&head.membership).map_err(|error| ConsensusError::Stopped {
                cause: error.to_string(),
            })?;
        let now = Now {
            state: Arc::new(State::from_rows(rows)?),
            applied,
            membership,
        };
        Ok(StateMachine {
            replica: Replica {
                applied: watch::Sender::new(applied.map_or(0, |id| id.index())),
                now: Arc::new(RwLock::new(now)),
                table: Arc::new(Mutex::new(table)),
            },
            snapshots,
            newest: Arc::new(Mutex::new(newest)),
            watchdog,
        })
    }

    /// The reading side.
    pub fn replica(&self) -> Replica {
        self.replica.clone()
    }

    async fn apply_batch(&mut self, batch: Vec<EntryResponder<TypeConfig>>) -> io::Result<()> {
        let _mark = self.watchdog.begin(Operation::TableWrite);
        let mut changes = Changes::new();
        let mut membership = None;
        let mut answers = Vec::with_capacity(batch.len());
        let applied;
        {
            let mut now = self
                .replica
                .now
                .write()
                .expect("applying catches its panics");
            let now = &mut *now;
            let state = Arc::make_mut(&mut now.state);
            for (entry, responder) in batch {
                let id = entry.log_id();
                let outcome = match entry.payload {
                    EntryPayload::Blank => Outcome::default(),
                    EntryPayload::Membership(new) => {
                        now.membership = StoredMembership::new(Some(id), new);
                        membership = Some(membership_to_disk(&now.membership));
                        Outcome::default()
                    }
                    EntryPayload::Normal(bytes) => {
                        apply_entry(state, id.index(), &bytes.0, &mut changes)?
                    }
                };
                now.applied = Some(id);
                answers.push((responder, outcome));
            }
            for (key, bytes) in &mut changes {
                *bytes = state.row(key);
            }
            applied = now.applied;
        }
        let Some(applied) = applied else {
            return Ok(());
        };
        self.replica.applied.send_replace(applied.index());
        for (responder, outcome) in answers {
            if let Some(responder) = responder {
                responder.send(outcome);
            }
        }
        self.with_table(move |table| table.write(&changes, position(&applied), membership))
            .await
    }

    /// The table waits for the disk, so it is written off the async threads.
    async fn with_table(
        &self,
        write: impl FnOnce(&mut Table) -> Result<(), StorageError> + Send + 'static,
    ) -> io::Result<()> {
        let table = self.replica.table.clone();
        spawn_blocking(move || write(&mut lock(&table)))
            .await
            .map_err(io::Error::other)?
            .map_err(io::Error::other)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("no code that holds it panics")
}

/// Applies one entry and notes which rows it touched.
fn apply_entry(
    state: &mut State,
    index: u64,
    bytes: &[u8],
    changes: &mut Changes,
) -> io::Result<Outcome> {
    let refused = |cause: String| {
        io::Error::new(
            io::ErrorKind::InvalidData,
            format!("entry {index} can't be applied: {cause}"),
        )
    };
    let entry = reelraft_model::Entry::decode(bytes).map_err(|error| refused(error.to_string()))?;
    // A panic here would leave the core waiting for ever; as an error it ends
    // the node by name.
    let applied = catch_unwind(AssertUnwindSafe(|| state.apply(index, &entry)))
        .map_err(|_| refused("it panicked".to_string()))?;
    for key in applied.touched {
        changes.insert(key, None);
    }
    Ok(Outcome {
        replies: applied.replies,
    })
}

impl RaftStateMachine<TypeConfig> for StateMachine {
    type SnapshotData = SnapshotData;
    type SnapshotBuilder = Builder;

    async fn applied_state(&mut self) -> io::Result<(Option<LogId>, StoredMembership)> {
        let now = self.replica.now();
        Ok((now.applied, now.membership.clone()))
    }

    async fn apply<S>(&mut self, entries: S) -> io::Result<()>
    where
        S: Stream<Item = io::Result<EntryResponder<TypeConfig>>> + Unpin + OptionalSend,
    {
        let mut batches = entries.ready_chunks(APPLY_BATCH_ENTRIES);
        while let Some(batch) = batches.next().await {
            let batch = batch.into_iter().collect::<io::Result<Vec<_>>>()?;
            self.apply_batch(batch).await?;
        }
        Ok(())
    }

    async fn get_snapshot_builder(&mut self) -> Builder {
        let now = self.replica.now();
        Builder {
            state: now.state.clone(),
            applied: now.applied,
            membership: now.membership.clone(),
            snapshots: self.snapshots.clone(),
            newest: self.newest.clone(),
            watchdog: self.watchdog.clone(),
        }
    }

    async fn install_snapshot(
        &mut self,
        meta: &SnapshotMeta,
        snapshot: SnapshotData,
    ) -> io::Result<()> {
        let last = meta
            .last_log_id
            .ok_or_else(|| io::Error::other("a snapshot of nothing"))?;
        let membership = membership_to_disk(&meta.last_membership);
        let snapshots = self.snapshots.clone();
        let mark = Arc::new(self.watchdog.begin(Operation::SnapshotInstall));
        let steps = mark.clone();
        let (snapshot, state) = spawn_blocking(move || {
            let snapshot = snapshots.adopt(&snapshot).map_err(io::Error::other)?;
            let rows = snapshot.rows().map_err(io::Error::other)?;
            let rows = rows.inspect(|_| steps.step());
            let rows = rows.collect::<Result<Vec<_>, _>>();
            let rows = rows.map_err(io::Error::other)?;
            let state = State::from_rows(rows).map_err(io::Error::other)?;
            io::Result::Ok((Arc::new(snapshot), state))
        })
        .await
        .map_err(io::Error::other)??;

        *lock(&self.newest) = Some(snapshot.clone());
        {
            let mut now = self
                .replica
                .now
                .write()
                .expect("applying catches its panics");
            now.state = Arc::new(state);
            now.applied = Some(last);
            now.membership = meta.last_membership.clone();
        }
        self.replica.applied.send_replace(last.index());
        self.with_table(move |table| {
            let rows = snapshot.rows()?.inspect(|_| mark.step());
            table.replace(rows, position(&last), membership)
        })
        .await
    }

    async fn get_current_snapshot(&mut self) -> io::Result<Option<Snapshot>> {
        lock(&self.newest).as_ref().map(describe).transpose()
    }
}

/// A snapshot with openraft's description of it, taken from the file itself.
pub fn describe(snapshot: &SnapshotData) -> io::Result<Snapshot> {
    let head = snapshot.head();
    Ok(Snapshot {
        meta: SnapshotMeta {
            last_log_id: head.last.map(log_id),
            last_membership: membership_from_disk(&head.membership).map_err(io::Error::other)?,
        },
        snapshot: snapshot.clone(),
    })
}

/// Writes a snapshot of the state as it was when the builder was made.
#[derive(Debug)]
pub struct Builder {
    state: Arc<State>,
    applied: Option<LogId>,
    membership: StoredMembership,
    snapshots: Snapshots,
    newest: Newest,
    watchdog: Watchdog,
}

impl RaftSnapshotBuilder<TypeConfig> for Builder {
    type SnapshotData = SnapshotData;

    async fn build_snapshot(&mut self) -> io::Result<Snapshot> {
        let head = SnapshotHead {
            last: self.applied.as_ref().map(position),
            membership: membership_to_disk(&self.membership),
        };
        let state = self.state.clone();
        let snapshots = self.snapshots.clone();
        let mark = self.watchdog.begin(Operation::SnapshotWrite);
        let writing = move || {
            let rows = state.rows().inspect(|_| mark.step());
            snapshots.write(&head, rows)
        };
        let written = spawn_blocking(writing)
            .await
            .map_err(io::Error::other)?
            .map_err(io::Error::other)?;
        let written = Arc::new(written);
        let mut newest = lock(&self.newest);
        let newer = newest
            .as_ref()
            .is_none_or(|newest| newest.head().last < written.head().last);
        if newer {
            *newest = Some(written.clone());
        }
        describe(&written)
    }
}
