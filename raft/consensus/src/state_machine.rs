//! The replica: the state in memory, its table on the disk and snapshots, as
//! openraft's state machine.
//!
//! Entries are applied in memory first, and readers and proposers see that at
//! once. The table on the disk follows: after a crash it may lag, and then
//! catches up from the log. An entry that can't be decoded stops the node:
//! skipping it would let replicas differ.

use std::{
    collections::BTreeMap,
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Mutex, MutexGuard, RwLock, RwLockReadGuard,
        atomic::{AtomicU64, Ordering},
    },
};

use futures::{Stream, StreamExt};
use openraft::{
    EntryPayload, OptionalSend, RaftSnapshotBuilder,
    entry::RaftEntry,
    storage::{EntryResponder, RaftStateMachine},
};
use reelraft_model::{
    Applied, State,
    check::{Violation, check_jobs},
};
use reelraft_storage::{
    Changes, Progress, SnapshotFile, SnapshotHead, Snapshots, StorageError, Table, TableHash,
    TableHead,
};
use tokio::{sync::watch, task::spawn_blocking};

use crate::{
    error::ConsensusError,
    limits::{APPLY_BATCH_ENTRIES, APPLY_BATCH_ROWS, TABLE_HASHES_KEPT, VIOLATIONS_LOGGED_MAX},
    turns::Turns,
    types::{LogId, Outcome, Snapshot, SnapshotData, SnapshotMeta, StoredMembership, TypeConfig},
    watchdog::{Operation, Watchdog},
    wire::{log_id, membership_from_disk, membership_to_disk, position},
};

/// The reading side of the replica. Clones share it.
#[derive(Clone, Debug)]
pub struct Replica {
    now: Arc<RwLock<AppliedState>>,
    table: Arc<Mutex<Table>>,
    applied: watch::Sender<u64>,
    turns: Turns,
    /// The table's hashes after its latest writes, by index.
    hashes: Arc<Mutex<BTreeMap<u64, TableHash>>>,
    /// Bytes of all entries that this process has applied.
    applied_bytes: Arc<AtomicU64>,
    newest: NewestSnapshot,
}

/// The state, and up to which entry it was applied.
#[derive(Debug)]
struct AppliedState {
    state: Arc<State>,
    applied: Option<LogId>,
    membership: StoredMembership,
}

/// The writing side. There is one, and openraft owns it.
#[derive(Debug)]
pub struct StateMachine {
    replica: Replica,
    snapshots: Snapshots,
    watchdog: Watchdog,
}

/// The newest snapshot, shared with the builders.
type NewestSnapshot = Arc<Mutex<Option<SnapshotData>>>;

impl Replica {
    pub fn state(&self) -> Arc<State> {
        self.now().state.clone()
    }

    /// The state, and the last index that is in it.
    pub fn state_and_index(&self) -> (Arc<State>, u64) {
        let now = self.now();
        (now.state.clone(), now.applied.map_or(0, |id| id.index()))
    }

    /// The latest turns of jobs.
    pub fn turns(&self) -> &Turns {
        &self.turns
    }

    /// The last applied index. It changes with each apply.
    pub fn applied(&self) -> watch::Receiver<u64> {
        self.applied.subscribe()
    }

    /// The size of the newest snapshot, and how many bytes of the log this
    /// process has applied.
    pub fn written_bytes(&self) -> (u64, u64) {
        let snapshot = lock(&self.newest)
            .as_ref()
            .map_or(0, |newest| newest.bytes());
        (snapshot, self.applied_bytes.load(Ordering::Relaxed))
    }

    /// The table's index and its hash there. Waits for a write in progress.
    pub fn table_hash(&self) -> (Option<u64>, TableHash) {
        let table = lock(&self.table);
        let head = table.head();
        (head.applied.map(|at| at.index), head.hash)
    }

    /// The table's hash after the write that ended with an index, if there was
    /// such a write lately.
    pub fn hash_at(&self, index: u64) -> Option<TableHash> {
        lock(&self.hashes).get(&index).copied()
    }

    /// The latest index for which there is a hash.
    pub fn hashed_index(&self) -> Option<u64> {
        lock(&self.hashes).keys().next_back().copied()
    }

    fn note_hash(&self, head: &TableHead) {
        let Some(at) = &head.applied else {
            return;
        };
        let mut hashes = lock(&self.hashes);
        hashes.insert(at.index, head.hash);
        if hashes.len() > TABLE_HASHES_KEPT {
            hashes.pop_first();
        }
    }

    /// Blocks writes to the table while `held` runs.
    pub fn hold_table<T>(&self, held: impl FnOnce() -> T) -> T {
        let _table = lock(&self.table);
        held()
    }

    fn now(&self) -> RwLockReadGuard<'_, AppliedState> {
        self.now.read().expect("applying catches its panics")
    }
}

impl StateMachine {
    /// A replica of the table, from its rows.
    ///
    /// # Errors
    /// [`ConsensusError::Model`] if the rows are not a state.
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
        let state = State::from_rows(rows)?;
        report_violations(&state);
        let now = AppliedState {
            state: Arc::new(state),
            applied,
            membership,
        };
        let replica = Replica {
            applied: watch::Sender::new(applied.map_or(0, |id| id.index())),
            turns: Turns::new(applied.map_or(0, |id| id.index())),
            now: Arc::new(RwLock::new(now)),
            hashes: Arc::default(),
            table: Arc::new(Mutex::new(table)),
            applied_bytes: Arc::default(),
            newest: Arc::new(Mutex::new(newest)),
        };
        replica.note_hash(lock(&replica.table).head());
        Ok(StateMachine {
            replica,
            snapshots,
            watchdog,
        })
    }

    /// The reading side.
    pub fn replica(&self) -> Replica {
        self.replica.clone()
    }

    /// Applies a batch, and writes its rows to the table: so many at once that
    /// a slow disk takes them in time.
    async fn apply_batch(&mut self, batch: Vec<EntryResponder<TypeConfig>>) -> io::Result<()> {
        let mut batch = batch.into_iter().peekable();
        while batch.peek().is_some() {
            self.apply_some(&mut batch).await?;
        }
        Ok(())
    }

    async fn apply_some(
        &mut self,
        batch: &mut impl Iterator<Item = EntryResponder<TypeConfig>>,
    ) -> io::Result<()> {
        let _mark = self.watchdog.begin(Operation::TableWrite);
        let mut changes = Changes::new();
        let mut membership = None;
        let mut answers = Vec::new();
        let mut turned = Vec::new();
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
                        let applied_bytes = &self.replica.applied_bytes;
                        applied_bytes.fetch_add(bytes.0.len() as u64, Ordering::Relaxed);
                        let applied = apply_entry(state, id.index(), &bytes.0)?;
                        let touched = applied.touched.into_iter();
                        changes.extend(touched.map(|key| (key, None)));
                        turned.push((id.index(), applied.turned));
                        Outcome {
                            replies: applied.replies,
                        }
                    }
                };
                now.applied = Some(id);
                answers.push((responder, outcome));
                if changes.len() >= APPLY_BATCH_ROWS {
                    break;
                }
            }
            for (key, bytes) in &mut changes {
                *bytes = state.row(key);
            }
            applied = now.applied;
            if let Some(applied) = &applied {
                // Before anybody sees the state that has them.
                self.replica.turns.add(turned, applied.index());
            }
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

    /// The table waits for the disk, so a blocking thread writes it.
    async fn with_table(
        &self,
        write: impl FnOnce(&mut Table) -> Result<(), StorageError> + Send + 'static,
    ) -> io::Result<()> {
        let replica = self.replica.clone();
        let write = move || {
            let mut table = lock(&replica.table);
            write(&mut table)?;
            replica.note_hash(table.head());
            Ok::<_, StorageError>(())
        };
        spawn_blocking(write)
            .await
            .map_err(io::Error::other)?
            .map_err(io::Error::other)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("no holder of this lock panics")
}

/// Applies one entry.
fn apply_entry(state: &mut State, index: u64, bytes: &[u8]) -> io::Result<Applied> {
    let refused = |cause: String| {
        io::Error::new(
            io::ErrorKind::InvalidData,
            format!("entry {index} can't be applied: {cause}"),
        )
    };
    let entry = reelraft_model::Entry::decode(bytes).map_err(|error| refused(error.to_string()))?;
    // A panic here would leave openraft waiting for ever. As an error it stops
    // the node and names the entry.
    catch_unwind(AssertUnwindSafe(|| state.apply(index, &entry)))
        .map_err(|_| refused("it panicked".to_string()))
}

impl RaftStateMachine<TypeConfig> for StateMachine {
    type SnapshotData = SnapshotData;
    type SnapshotBuilder = SnapshotBuilder;

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

    async fn get_snapshot_builder(&mut self) -> SnapshotBuilder {
        let now = self.replica.now();
        SnapshotBuilder {
            state: now.state.clone(),
            applied: now.applied,
            membership: now.membership.clone(),
            snapshots: self.snapshots.clone(),
            newest: self.replica.newest.clone(),
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
            let adopted = snapshots.adopt(&snapshot, &|| steps.step());
            let snapshot = adopted.map_err(io::Error::other)?;
            let state = read_state(&snapshot, &|| steps.step())?;
            io::Result::Ok((Arc::new(snapshot), state))
        })
        .await
        .map_err(io::Error::other)??;

        *lock(&self.replica.newest) = Some(snapshot.clone());
        let former = {
            let mut now = self
                .replica
                .now
                .write()
                .expect("applying catches its panics");
            now.applied = Some(last);
            now.membership = meta.last_membership.clone();
            self.replica.turns.skip_to(last.index());
            std::mem::replace(&mut now.state, Arc::new(state))
        };
        // A large one takes seconds to be freed, and nobody waits for that.
        spawn_blocking(move || drop(former));
        self.replica.applied.send_replace(last.index());
        self.with_table(move |table| {
            let rows = snapshot.rows()?;
            table.replace(rows, position(&last), membership, &|| mark.step())
        })
        .await
    }

    async fn get_current_snapshot(&mut self) -> io::Result<Option<Snapshot>> {
        lock(&self.replica.newest)
            .as_ref()
            .map(describe)
            .transpose()
    }
}

/// The state that a snapshot is of. Rows are taken one by one, so that the table
/// is in memory once.
fn read_state(snapshot: &SnapshotFile, progress: Progress<'_>) -> io::Result<State> {
    let mut damage = None;
    let rows = snapshot.rows().map_err(io::Error::other)?;
    let rows = rows.map_while(|row| {
        progress();
        row.map_err(|error| damage = Some(error)).ok()
    });
    let state = State::from_rows(rows);
    match damage {
        Some(error) => Err(io::Error::other(error)),
        None => state.map_err(io::Error::other),
    }
}

/// Says what is wrong with the table that a node starts with. It goes on: the
/// other replicas have the same table, or a snapshot mends this one.
fn report_violations(state: &State) {
    let violations = check_jobs(state);
    for Violation(text) in violations.iter().take(VIOLATIONS_LOGGED_MAX) {
        tracing::error!(violation = text, "the table breaks its own rules");
    }
    if violations.len() > VIOLATIONS_LOGGED_MAX {
        let count = violations.len();
        tracing::error!(count, "the table breaks more of its own rules");
    }
}

/// A snapshot with openraft's description of it, which its file holds.
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
pub struct SnapshotBuilder {
    state: Arc<State>,
    applied: Option<LogId>,
    membership: StoredMembership,
    snapshots: Snapshots,
    newest: NewestSnapshot,
    watchdog: Watchdog,
}

impl RaftSnapshotBuilder<TypeConfig> for SnapshotBuilder {
    type SnapshotData = SnapshotData;

    async fn build_snapshot(&mut self) -> io::Result<Snapshot> {
        let head = SnapshotHead {
            last: self.applied.as_ref().map(position),
            membership: membership_to_disk(&self.membership),
        };
        let state = self.state.clone();
        let snapshots = self.snapshots.clone();
        let mark = self.watchdog.begin(Operation::SnapshotWrite);
        let writing = move || snapshots.write(&head, state.rows(), &|| mark.step());
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

#[cfg(test)]
#[path = "state_machine_tests.rs"]
mod tests;
