//! How a blob gets its name durably, and how a damaged one loses it.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    sync::atomic::Ordering,
};

use super::{
    blocks::Blocks,
    error::BlobError,
    limits::QUARANTINE_FILES_MAX,
    names::{names_in, remove_if_there},
    store::{BlobStore, QUARANTINE_FOLDER, blocks_path, lock},
    sync::sync_folder,
    temp::TempFile,
};

impl BlobStore {
    /// The folder of a job. A new one is synced into the store.
    pub(super) fn job_folder(&self, job: &str) -> Result<PathBuf, BlobError> {
        let folder = self.inner.root.join(job);
        match fs::create_dir(&folder) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(BlobError::io("create", &folder)(error)),
        }
        // Once for each folder and run, even if it exists: the run that made it
        // may have ended before it was synced.
        if !lock(&self.inner.folders).contains_key(job) {
            sync_folder(&self.inner.root, &self.inner.failure)?;
            lock(&self.inner.folders)
                .entry(job.to_string())
                .or_default();
        }
        Ok(folder)
    }

    /// Makes a complete, hashed file a blob: sync, block hashes, rename, sync of
    /// the folder.
    pub(super) fn publish(
        &self,
        job: &str,
        hash: &str,
        blocks: &Blocks,
        file: &File,
        path: &Path,
    ) -> Result<(), BlobError> {
        let failure = &self.inner.failure;
        failure.check(path)?;
        let folder = self.job_folder(job)?;
        let target = folder.join(hash);
        // A blob that is here already counts only if it is whole. The check
        // moves a damaged one aside, and this one takes its place.
        let here = match self.verify(job, hash) {
            Ok(_) => true,
            Err(BlobError::Missing { .. } | BlobError::Corrupt { .. }) => false,
            Err(other) => return Err(other),
        };
        if !here {
            failure.keep(path, file.sync_data())?;
            if blocks.hashes.len() > 1 {
                self.write_blocks(job, hash, blocks)?;
            }
            fs::rename(path, &target).map_err(BlobError::io("name", &target))?;
        }
        // Even if it was here: another put may not have synced it yet.
        let group = lock(&self.inner.folders)
            .entry(job.to_string())
            .or_default()
            .clone();
        group.wait(|| sync_folder(&folder, failure))
    }

    /// Writes the list of block hashes beside its blob.
    pub(super) fn write_blocks(
        &self,
        job: &str,
        hash: &str,
        blocks: &Blocks,
    ) -> Result<(), BlobError> {
        let temp = TempFile(self.temp_path());
        fs::write(&temp.0, blocks.encode(hash)).map_err(BlobError::io("write", &temp.0))?;
        let file = File::open(&temp.0).map_err(BlobError::io("open", &temp.0))?;
        self.inner.failure.keep(&temp.0, file.sync_data())?;
        let target = blocks_path(&self.inner.root.join(job).join(hash));
        fs::rename(&temp.0, &target).map_err(BlobError::io("name", &target))
    }

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
