//! Group sync: one sync serves all writers that were waiting for it.
//!
//! A failed sync is never tried again, because the kernel may have dropped the
//! dirty pages and would report success. The failure is kept, and every later
//! put of this store is refused; the node then stops.

use std::{
    fs::File,
    io,
    path::Path,
    sync::{
        Mutex, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
};

use super::error::BlobError;

/// The first failed sync of a store, if there was one.
#[derive(Debug, Default)]
pub(super) struct Failure(OnceLock<String>);

impl Failure {
    /// Refuses if a sync has failed before.
    pub fn check(&self, path: &Path) -> Result<(), BlobError> {
        match self.0.get() {
            Some(cause) => Err(BlobError::SyncFailed {
                path: path.to_path_buf(),
                cause: cause.clone(),
            }),
            None => Ok(()),
        }
    }

    /// Passes on the result of a sync, and remembers a failure.
    pub fn keep(&self, path: &Path, result: io::Result<()>) -> Result<(), BlobError> {
        result.map_err(|error| {
            let cause = error.to_string();
            let _ = self.0.set(format!("{}: {cause}", path.display()));
            BlobError::SyncFailed {
                path: path.to_path_buf(),
                cause,
            }
        })
    }

    /// What failed, if anything has.
    pub fn cause(&self) -> Option<&str> {
        self.0.get().map(String::as_str)
    }
}

/// One file or folder that several threads write to and sync.
#[derive(Debug, Default)]
pub(super) struct GroupSync {
    written: AtomicU64,
    synced: Mutex<u64>,
}

impl GroupSync {
    /// Returns when all that the caller wrote before is on the disk. Callers that
    /// arrive during a sync share the next one.
    pub fn wait(&self, sync: impl FnOnce() -> Result<(), BlobError>) -> Result<(), BlobError> {
        let mine = self.written.fetch_add(1, Ordering::SeqCst) + 1;
        let mut synced = self.synced.lock().expect("no holder of this lock panics");
        if *synced >= mine {
            return Ok(());
        }
        let all = self.written.load(Ordering::SeqCst);
        sync()?;
        *synced = all;
        Ok(())
    }
}

/// Syncs a folder, so that names created or moved in it are durable.
pub(super) fn sync_folder(path: &Path, failure: &Failure) -> Result<(), BlobError> {
    failure.check(path)?;
    let folder = File::open(path).map_err(BlobError::io("open", path))?;
    failure.keep(path, folder.sync_all())
}
