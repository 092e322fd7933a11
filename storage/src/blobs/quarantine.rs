//! How a damaged blob loses its name.

use std::{fs, sync::atomic::Ordering};

use super::{
    error::BlobError,
    limits::QUARANTINE_FILES_MAX,
    names::{names_in, remove_if_there},
    store::{BlobStore, QUARANTINE_FOLDER, blocks_path},
};

impl BlobStore {
    /// Moves a damaged blob aside and logs it.
    pub(super) fn quarantine(&self, job: &str, hash: &str) -> BlobError {
        let path = self.inner.root.join(job).join(hash);
        let aside = self.inner.root.join(QUARANTINE_FOLDER);
        let kept = names_in(&aside).map_or(QUARANTINE_FILES_MAX, |names| names.len());
        let moved = kept < QUARANTINE_FILES_MAX
            && fs::rename(&path, aside.join(format!("{job}.{hash}"))).is_ok();
        if !moved && let Err(error) = remove_if_there(&path) {
            tracing::error!(job, hash, %error, "a damaged blob could not be moved aside");
        }
        // Its block hashes are made again with the next put.
        let _ = remove_if_there(&blocks_path(&path));
        self.inner.damaged.fetch_add(1, Ordering::Relaxed);
        tracing::warn!(
            file = %path.display(),
            moved,
            "a blob is damaged on this disk: it is moved aside, to be copied from another home"
        );
        BlobError::Corrupt {
            job: job.to_string(),
            hash: hash.to_string(),
        }
    }
}
