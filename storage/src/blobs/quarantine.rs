//! How a damaged blob loses its name.

use std::{fs, path::Path, sync::atomic::Ordering};

use super::{
    error::BlobError,
    limits::{QUARANTINE_BYTES_MAX, QUARANTINE_FILES_MAX},
    names::{QUARANTINE_FOLDER, names_in, remove_if_there},
    store::{BlobStore, blocks_path},
};

impl BlobStore {
    /// Moves a damaged blob aside and logs it.
    pub(super) fn quarantine(&self, job: &str, hash: &str) -> BlobError {
        let path = self.inner.root.join(job).join(hash);
        let aside = self.inner.root.join(QUARANTINE_FOLDER);
        let moved = has_room(&aside, &path)
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
            "a blob is damaged on this disk: it is moved aside, or removed where too much was, \
             and copied from another home"
        );
        BlobError::Corrupt {
            job: job.to_string(),
            hash: hash.to_string(),
        }
    }
}

/// Whether a damaged blob may be kept beside those that were before it.
fn has_room(aside: &Path, blob: &Path) -> bool {
    let bytes_of = |path: &Path| fs::metadata(path).map_or(0, |found| found.len());
    let Ok(names) = names_in(aside) else {
        return false;
    };
    let kept_bytes: u64 = names.iter().map(|name| bytes_of(&aside.join(name))).sum();
    names.len() < QUARANTINE_FILES_MAX && kept_bytes + bytes_of(blob) <= QUARANTINE_BYTES_MAX
}
