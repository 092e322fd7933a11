//! Group sync: many writers, one sync for all that were waiting.
//!
//! A sync that failed is never tried again, since the kernel may have dropped
//! the dirty pages and would report success: the failure is kept, and every
//! later put of this store is refused (the node then stops).

use std::{
    fs::File,
    io,
    path::Path,
    sync::{
        Mutex, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
};

use super::BlobError;

/// The first failed sync of a store, if there was one.
#[derive(Debug, Default)]
pub(crate) struct Failure(OnceLock<String>);

impl Failure {
    /// Refuses when a sync has failed before.
    pub fn check(&self, path: &Path) -> Result<(), BlobError> {
        match self.0.get() {
            Some(cause) => Err(BlobError::SyncFailed {
                path: path.to_path_buf(),
                cause: cause.clone(),
            }),
            None => Ok(()),
        }
    }

    /// Passes a sync's success on and keeps its failure.
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
pub(crate) struct GroupSync {
    written: AtomicU64,
    synced: Mutex<u64>,
}

impl GroupSync {
    /// Returns when all that the caller wrote before is on the disk. Callers
    /// that come while a sync runs share the next one.
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

/// Syncs a folder, so that names made or moved in it last.
pub(crate) fn sync_folder(path: &Path, failure: &Failure) -> Result<(), BlobError> {
    failure.check(path)?;
    let folder = File::open(path).map_err(BlobError::io("open", path))?;
    failure.keep(path, folder.sync_all())
}
