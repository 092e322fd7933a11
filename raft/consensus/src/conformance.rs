//! openraft's own test suite, run on our log store and state machine, each
//! time in a fresh folder.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use openraft::testing::log::{StoreBuilder, Suite};
use reelraft_storage::{DataFolder, Storage};
use tempfile::TempDir;

use crate::{
    log_store::LogStore, state_machine::StateMachine, types::TypeConfig, watchdog::Watchdog,
};

struct OnDisk;

impl StoreBuilder<TypeConfig, LogStore, StateMachine, (DataFolder, TempDir)> for OnDisk {
    async fn build(
        &self,
    ) -> Result<((DataFolder, TempDir), LogStore, StateMachine), openraft::StorageError<TypeConfig>>
    {
        let dir = tempfile::tempdir().unwrap();
        let storage = Storage::open(dir.path(), "c", 1).unwrap();
        let machine = StateMachine::new(
            storage.table,
            storage.rows,
            storage.snapshots,
            storage.newest.map(Arc::new),
            Watchdog::default(),
        );
        Ok((
            (storage.folder, dir),
            LogStore::new(storage.log, Watchdog::default()),
            machine.unwrap(),
        ))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_storage_suite_passes() {
    Suite::test_all(OnDisk).await.unwrap();
}
