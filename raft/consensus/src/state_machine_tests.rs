//! What the state machine keeps through batches and snapshots.
#![allow(clippy::unwrap_used)]

use reelraft_model::{Command, CreateJob, Entry, limits::COMMANDS_PER_ENTRY_MAX};
use reelraft_storage::{LogPosition, Storage, UNWATCHED};

use super::*;
use crate::types::{self, EntryBytes};

#[test]
fn a_state_is_read_from_a_snapshot_row_by_row_and_says_so() {
    let mut state = State::default();
    for index in 1..=50 {
        let create = CreateJob {
            tenant: "t".into(),
            request_id: index.to_string(),
            source_bytes: 1,
            ..Default::default()
        };
        let entry = Entry::new(vec![Command::CreateJob(create)]);
        state.apply(index, &entry);
    }
    let dir = tempfile::tempdir().unwrap();
    let snapshots = Snapshots::open(dir.path()).unwrap();
    let head = SnapshotHead {
        last: Some(Default::default()),
        membership: Vec::new(),
    };
    let written = snapshots.write(&head, state.rows(), UNWATCHED).unwrap();
    let steps = AtomicU64::new(0);
    let step = || {
        steps.fetch_add(1, Ordering::SeqCst);
    };
    assert!(read_state(&written, &step).unwrap() == state);
    assert_eq!(steps.load(Ordering::SeqCst) as usize, state.rows().count());
}

#[tokio::test]
async fn a_batch_with_many_rows_is_written_in_parts() {
    const ENTRIES: u64 = 2 * (APPLY_BATCH_ROWS / COMMANDS_PER_ENTRY_MAX) as u64;
    let dir = tempfile::tempdir().unwrap();
    let storage = Storage::open(dir.path(), "c", 1).unwrap();
    let (table, rows) = (storage.table, storage.rows);
    let snapshots = storage.snapshots;
    let machine = StateMachine::new(table, rows, snapshots, None, Watchdog::default());
    let mut machine = machine.unwrap();
    let create = |index: u64, number: usize| {
        Command::CreateJob(CreateJob {
            tenant: "t".into(),
            request_id: format!("{index}-{number}"),
            source_bytes: 1,
            ..Default::default()
        })
    };
    let entries = (1..=ENTRIES).map(|index| {
        let commands = (0..COMMANDS_PER_ENTRY_MAX).map(|number| create(index, number));
        let at = log_id(LogPosition {
            index,
            ..Default::default()
        });
        let bytes = Entry::new(commands.collect()).encode();
        let payload = EntryPayload::Normal(EntryBytes(bytes.into()));
        (types::Entry::new(at, payload), None)
    });
    let mut batch = entries
        .collect::<Vec<EntryResponder<TypeConfig>>>()
        .into_iter();
    machine.apply_some(&mut batch).await.unwrap();
    let left = batch.len() as u64;
    assert!(0 < left && left < ENTRIES, "{left} of {ENTRIES} are left");
    machine.apply_batch(batch.collect()).await.unwrap();
    assert_eq!(machine.replica().table_hash().0, Some(ENTRIES));
}
